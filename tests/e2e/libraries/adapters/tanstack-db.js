// TanStack DB: options for a collection that follows one collection of a space, by long poll. A row is a document with
// its `id` and `version`. Edits are shown at once; those made offline wait in memory.
//   const todos = createCollection(tidemark({ url: "", space: "home", collection: "todos" }));
//   todos.update("t1", (row) => { row.done = true; }).when("settled").catch(({ status, current }) => …); // "conflict"

export function tidemark({ url, space, collection, client = crypto.randomUUID(), fetch = globalThis.fetch, retryMs = 1000 }) {
  const known = new Map(); // by id, the newest that the server told: { version, data, client_id }
  const queued = new Map(); // by id, our newest edit that is not answered
  let [take, stop, last] = [null, null, Promise.resolve()];
  async function call(path, body) {
    const init = body && { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
    for (;;) {
      const answer = await fetch(`${url}/v1/spaces/${space}/${path}`, { ...init, signal: stop.signal }).catch((error) => error);
      if (answer.ok) return answer.json();
      if (stop.signal.aborted || answer.status < 429) throw Object.assign(new Error('refused'), await answer.json?.());
      await new Promise((resolve) => setTimeout(resolve, retryMs)); // offline, or the server is away or busy
    }
  }
  function sync({ begin, write, commit, truncate, markReady, markError }) {
    stop = new AbortController();
    take = (changes, anew) => {
      begin();
      if (anew) truncate();
      for (const { id, version, data, client_id } of changes) {
        if (!anew && version <= known.get(id)?.version) continue; // our own, coming back
        known.set(id, { version, data, client_id });
        write(data ? { type: 'update', value: { ...data, id, version } } : { type: 'delete', key: id });
      }
      commit();
    };
    async function follow(cursor, anew) {
      for (const changes = []; ; ) {
        const page = await call(`changes?collections=${collection}&limit=1000&wait=${cursor ? 25 : 0}&cursor=${cursor}`);
        changes.push(...page.changes);
        if (!page.has_more) [take(changes.splice(0), anew), markReady()];
        [cursor, anew] = [page.cursor, anew && page.has_more];
      }
    }
    (function run() { follow('', true).catch((error) => (error.status === 410 ? run() : markError(error))); })(); // 410: anew
    return () => stop.abort();
  }
  function send({ transaction }) {
    const edits = transaction.mutations.map(({ type, key, original, modified: { id, version, ...data }, mutationId }) => {
      // What is shown may be older than our own last write: syncs are held back while any transaction persists.
      const { version: newest = 0, data: live, client_id } = known.get(key) ?? {};
      const base_version = client_id === client ? newest : original.version ?? (live ? 0 : newest);
      const base = queued.has(key) ? { base_edit_id: queued.get(key) } : { base_version };
      queued.set(key, mutationId);
      return { edit_id: mutationId, collection, id: key, ...base, ...(type === 'delete' ? { op: type } : { op: 'put', data }) };
    });
    return (last = last.catch(() => {}).then(async () => { // not over before the answer is in the rows: they would flicker
      if (transaction.state !== 'persisting') throw new Error('rolled back with the edit that it was made on');
      const { results } = await call('push', { client_id: client, edits, atomic: true });
      const failed = results.find(({ status }) => status !== 'applied');
      take(results.flatMap((result, i) => (failed ? result.current ?? [] : { ...edits[i], client_id: client, ...result })));
      if (failed) throw Object.assign(new Error(failed.status), failed);
    }).finally(() => edits.forEach(({ id, edit_id }) => queued.get(id) === edit_id && queued.delete(id))));
  }
  return { getKey: (row) => row.id, sync: { sync, rowUpdateMode: 'full' }, onInsert: send, onUpdate: send, onDelete: send };
}
