// Redux Toolkit Query over single documents: a query endpoint and a mutation that is shown at once.
//
//   const api = tidemark({ url: "", space: "home" });           // its reducer and middleware go into the store
//   const { data: item } = api.useItemQuery({ collection: "todos", id: "t1" });   // null: there is none
//   const [save] = api.useSaveMutation();
//   save({ ...item, data: { ...item.data, done: true } });      // or { …, data: null }: delete
//
// Of a save that failed `error.data` is the server's problem+json: after a 412 `error.data.current` is what is there now
// and is shown, and `originalArgs` of the mutation are what was wanted. Without React: `…/query` in place of `…/react`.

import { createApi, fetchBaseQuery } from '@reduxjs/toolkit/query/react';

export function tidemark({ url, space, fetch }) {
  const path = ({ collection, id }) => `/v1/spaces/${space}/documents/${collection}/${id}`;
  const lanes = {}; // by document: its writes in a row, and the newest item that the server confirmed
  const lane = (document) => lanes[path(document)] ??= { seen: new Set(), waiting: 0, last: Promise.resolve() };

  async function write({ collection, id, version = 0, data }, mine, ask) {
    // Who types on has not seen the answer to his last edit: what it was made on is what our own edits made of it.
    const base = mine.seen.has(version) ? mine.newest : version;
    const headers = base ? { 'If-Match': `"${base}"` } : { 'If-None-Match': '*' };
    const request = data ? { method: 'PUT', body: data } : { method: 'DELETE' };
    const answer = await ask({ url: path({ collection, id }), headers, ...request });
    if (answer.error) return answer;
    mine.seen = base === mine.newest ? mine.seen.add(base) : new Set([base]);
    return { data: Object.assign(mine, { newest: answer.data?.version ?? 0, item: answer.data }).item };
  }

  const api = createApi({
    reducerPath: `tidemark/${space}`,
    baseQuery: fetchBaseQuery({ baseUrl: url, fetchFn: fetch }),
    endpoints: (build) => ({
      item: build.query({
        queryFn: async (document, _api, _options, ask) => {
          const answer = await ask(path(document));
          return answer.error?.status === 404 ? { data: null } : answer;
        },
      }),
      save: build.mutation({
        // One write after another; none of these promises rejects.
        queryFn: (edit, _api, _options, ask) => (lane(edit).last = lane(edit).last.then(() => write(edit, lane(edit), ask))),
        async onQueryStarted(edit, { dispatch, getState, queryFulfilled }) {
          const document = { collection: edit.collection, id: edit.id };
          const mine = lane(document);
          const live = (item) => (item?.deleted ? null : item ?? null);
          const show = (item) => dispatch(api.util.updateQueryData('item', document, () => live(item)));
          if (mine.waiting++ === 0) mine.item = api.endpoints.item.select(document)(getState()).data;
          show(edit.data && edit);
          const { error } = await queryFulfilled.catch((failed) => failed);
          if (error?.status === 412) mine.item = error.data.current;
          if (--mine.waiting > 0) return; // a newer edit is shown, and what becomes of it decides
          show(mine.item);
          const again = api.endpoints.item.initiate(document, { forceRefetch: true, subscribe: false });
          if (error && error.status !== 412) dispatch(again); // did it arrive?
        },
      }),
    }),
  });
  return api;
}
