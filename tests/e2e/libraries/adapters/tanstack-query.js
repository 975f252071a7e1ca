// TanStack Query over single documents: a document is a query, a write is an optimistic mutation.
//
//   const todos = tidemark({ url: "", space: "home", queryClient });
//   const { data: item } = useQuery(todos.query("todos", "t1"));        // { version, data, … }, or null: there is none
//   const { mutate, error } = useMutation(todos.mutation("todos", "t1"));
//   mutate({ ...item, data: { ...item.data, done: true } });            // or { ...item, data: null }: delete
//
// After a 412 `error.current` is what is there now, and is shown; `variables` of the mutation are what was wanted.

/** An answer that is none: the members of the server's problem+json, as `status`, `code` and `current`. */
const refused = (problem) => Object.assign(new Error(problem.detail), problem);
const nothing = (error) => (error.status === 404 ? null : Promise.reject(error)); // no document is no error

export function tidemark({ url, space, queryClient, fetch = globalThis.fetch }) {
  const lanes = {}; // by document: the item that the server confirmed, and our own writes in a row

  async function call(collection, id, init) {
    const answer = await fetch(`${url}/v1/spaces/${space}/documents/${collection}/${id}`, init);
    if (answer.ok) return answer.status === 204 ? null : answer.json();
    throw refused(await answer.json().catch(() => ({ status: answer.status, detail: answer.statusText })));
  }

  const query = (collection, id) => ({
    queryKey: ['tidemark', space, collection, id],
    queryFn: ({ signal }) => call(collection, id, { signal }).catch(nothing),
  });

  function mutation(collection, id) {
    const key = query(collection, id).queryKey;
    const lane = lanes[key.join('/')] ??= { seen: new Set() };
    const alone = () => queryClient.isMutating({ mutationKey: key, exact: true }) === 1;
    const show = (item) => queryClient.setQueryData(key, item?.deleted ? null : item ?? null);
    return {
      mutationKey: key,
      scope: { id: key.join('/') }, // one write of a document after another
      async mutationFn({ version = 0, data }) {
        // Who types on has not seen the answer to his last edit: what it was made on is what our own edits made of it.
        const base = lane.seen.has(version) ? lane.newest : version;
        const condition = base ? { 'If-Match': `"${base}"` } : { 'If-None-Match': '*' };
        const headers = { ...condition, 'Content-Type': 'application/json' };
        const item = await call(collection, id, { method: data ? 'PUT' : 'DELETE', headers, body: data && JSON.stringify(data) });
        lane.seen = base === lane.newest ? lane.seen.add(base) : new Set([base]);
        return Object.assign(lane, { newest: item?.version ?? 0, item }).item;
      },
      async onMutate(edit) {
        await queryClient.cancelQueries({ queryKey: key }); // an older answer must not overwrite what is shown now
        if (alone()) lane.item = queryClient.getQueryData(key);
        show(edit.data && edit);
      },
      onSuccess: (item) => { if (alone()) show(item); }, // a newer edit is shown already
      onError(error) {
        if (error.status === 412) lane.item = error.current;
        if (!alone()) return; // a newer edit is shown, and what becomes of it decides
        show(lane.item);
        if (error.status !== 412) queryClient.invalidateQueries({ queryKey: key }); // did it arrive?
      },
    };
  }
  return { query, mutation };
}
