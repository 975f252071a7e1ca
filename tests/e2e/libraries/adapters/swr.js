// SWR over single documents: a hook that gives a document and an optimistic `save`.
//
//   const useItem = tidemark({ url: "", space: "home" });
//   const { item, save } = useItem("todos", "t1");        // { version, data, … }, or null: there is none
//   save({ ...item.data, done: true });                   // shown at once; `save(null)` deletes
//
// `save` rejects with what the server's problem+json has, after the screen was put right. After a 412 that is
// `error.current`, the document as somebody else made it.

import useSWR from 'swr';

const refused = (problem) => Object.assign(new Error(problem.detail), problem);

export function tidemark({ url, space, fetch = globalThis.fetch }) {
  const lanes = new Map(); // by document: its writes in a row, and the newest item that the server confirmed

  async function call(path, init) {
    const answer = await fetch(url + path, init);
    if (answer.ok) return answer.status === 204 ? null : answer.json();
    throw refused(await answer.json().catch(() => ({ status: answer.status, detail: answer.statusText })));
  }

  const load = (path) => call(path).catch((error) => (error.status === 404 ? null : Promise.reject(error)));

  async function write(path, lane, version, data) {
    // Who types on has not seen the answer to his last edit: what it was made on is what our own edits made of it.
    const base = lane.seen.has(version) ? lane.newest : version;
    const condition = base ? { 'If-Match': `"${base}"` } : { 'If-None-Match': '*' };
    const headers = { ...condition, 'Content-Type': 'application/json' };
    const item = await call(path, { method: data ? 'PUT' : 'DELETE', headers, body: data && JSON.stringify(data) });
    lane.seen = base === lane.newest ? lane.seen.add(base) : new Set([base]);
    return Object.assign(lane, { newest: item?.version ?? 0, item }).item;
  }

  return function useItem(collection, id) {
    const path = `/v1/spaces/${space}/documents/${collection}/${id}`;
    const { data: item, error, mutate } = useSWR(path, load);
    if (!lanes.has(path)) lanes.set(path, { seen: new Set(), waiting: 0, last: Promise.resolve() });

    async function save(data) {
      const lane = lanes.get(path);
      if (lane.waiting++ === 0) lane.item = item;
      const sent = lane.last.then(() => write(path, lane, item?.version ?? 0, data)); // one write after another
      lane.last = sent.catch(() => {}).then(() => { lane.waiting--; });
      // Not rolled back by SWR: what it would go back to is older than our own writes in between.
      const options = { populateCache: true, rollbackOnError: false, revalidate: false };
      await mutate(sent, { ...options, optimisticData: data && { ...item, data } }).catch(async (error) => {
        if (error.status === 412) lane.item = error.current?.deleted ? null : error.current ?? null;
        await lane.last; // while a newer edit is under way it is the one that is shown
        if (lane.waiting === 0) mutate(lane.item, { revalidate: error.status !== 412 }); // did it arrive?
        throw error;
      });
    }
    return { item, error, save };
  };
}
