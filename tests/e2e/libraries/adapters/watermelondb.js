// WatermelonDB: `synchronize` over push and pull. A table is the collection of its name, with a column for the server's
// version, a number. It merges by column, and of a column that both changed mine is kept. A delete wins over edits: mine, for
// it doesn't say what it was made on, and theirs. `lost` is told of my edits that went so, and of those that were rejected.
//   const sync = tidemark({ database, url: "", space: "home", tables: ["todos"] });  sync() after a write, when online, …
import { Q } from '@nozbe/watermelondb/index.js';
import { synchronize } from '@nozbe/watermelondb/sync/index.js';

export function tidemark({ database, url, space, tables, fetch = globalThis.fetch, lost = () => {} }) {
  const [client_id, kept] = [crypto.randomUUID(), `tidemark/${space}/cursor`];
  const perTable = (make) => Object.fromEntries(tables.map((table) => [table, make()]));
  let last = Promise.resolve();
  async function call(path, init) {
    const answer = await fetch(`${url}/v1/spaces/${space}/${path}`, init);
    return answer.ok ? answer.json() : Promise.reject(Object.assign(new Error('refused'), await answer.json()));
  }
  async function pull(from) {
    let [newest, page] = [perTable(() => new Map()), { cursor: from, has_more: true }]; // what changes meanwhile comes twice
    while (page.has_more) {
      page = await call(`changes?limit=1000&collections=${tables}&cursor=${page.cursor}`);
      for (const change of page.changes) newest[change.collection].set(change.id, change);
    }
    const changes = {};
    for (const table of tables) {
      const all = [...newest[table].values()];
      const updated = all.filter(({ deleted }) => !deleted).map(({ id, version, data }) => ({ ...data, id, version }));
      const deleted = all.filter((change) => change.deleted).map(({ id }) => id);
      const gone = from ? Q.oneOf(deleted) : Q.notIn(updated.map(({ id }) => id)); // a snapshot is all there is
      const edited = await database.get(table).query(Q.where('id', gone), Q.where('_status', 'updated')).fetch();
      for (const { id } of edited) lost(table, id, 'deleted');
      changes[table] = { created: [], updated, deleted };
    } // A timestamp is wanted, and must be a number; what counts is the cursor.
    return { changes, cursor: page.cursor, timestamp: Date.now(), experimentalStrategy: from ? 'incremental' : 'replacement' };
  }
  const anew = (error) => (error.status === 410 ? pull('') : Promise.reject(error)); // away for too long
  const pullChanges = async () => pull((await database.localStorage.get(kept)) ?? '').catch(anew);
  const onDidPullChanges = ({ cursor }) => database.localStorage.set(kept, cursor);
  const edit = ({ id, version, _status, _changed, ...data }) => {
    const columns = Object.fromEntries(_changed.split(',').map((name) => [name, data[name]]));
    return { id, base_version: version || 0, ...(_status === 'created' ? { op: 'put', data } : { op: 'patch', data: columns }) };
  };
  async function pushChanges({ changes }) {
    const edits = tables.flatMap((collection) => {
      const { created, updated, deleted } = changes[collection];
      const all = [...created.concat(updated).map(edit), ...deleted.map((id) => ({ op: 'delete', id, force: true }))];
      return all.map((one) => ({ edit_id: crypto.randomUUID(), collection, ...one }));
    });
    const experimentalRejectedIds = perTable(() => []); // they stay unsent: the next sync pulls, merges and sends them
    for (let batch = edits.splice(0, 100); batch.length; batch = edits.splice(0, 100)) {
      const init = { method: 'POST', headers: { 'Content-Type': 'application/json' } };
      const { results } = await call('push', { ...init, body: JSON.stringify({ client_id, edits: batch }) });
      batch.forEach(({ collection, id }, i) => {
        if (results[i].status !== 'applied') experimentalRejectedIds[collection].push(id);
        if (results[i].status === 'rejected') lost(collection, id, results[i].error.code);
      });
    }
    return { experimentalRejectedIds };
  }
  const run = () => synchronize({ database, sendCreatedAsUpdated: true, pullChanges, onDidPullChanges, pushChanges });
  return () => (last = last.catch(() => {}).then(run));
}
