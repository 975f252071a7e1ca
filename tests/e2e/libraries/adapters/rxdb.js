// RxDB: keeps an RxCollection, whose documents have the primary key `id` and a number `version`, in step with a space.
//   const replication = await tidemark({ url: "", space: "home", collection: database.todos });
import { replicateRxCollection } from 'rxdb/plugins/replication';
import { Subject } from 'rxjs';

export async function tidemark({ url, space, collection, fetch = globalThis.fetch, retryTime = 5000 }) {
  const client = await collection.database.storageToken; // of all tabs that share the storage one replicates
  const document = ({ id, version, deleted, data }) => ({ ...data, id, version, _deleted: deleted });
  const changes = (cursor, wait) => call(`changes?collections=${collection.name}&limit=500&wait=${wait}&cursor=${cursor}`);
  const inTurn = (work) => (last = last.catch(() => {}).then(work));
  let [cursor, last, stop, stream$] = ['', Promise.resolve(), new AbortController(), new Subject()];
  async function call(path, init) {
    const answer = await fetch(`${url}/v1/spaces/${space}/${path}`, { ...init, signal: stop.signal });
    return answer.ok ? answer.json() : Promise.reject(Object.assign(new Error('refused'), await answer.json()));
  }
  async function pull(checkpoint, batchSize) {
    const documents = [];
    for (let page = { cursor: checkpoint?.cursor ?? '', has_more: true }; page.has_more && documents.length < batchSize; ) {
      page = await changes(page.cursor, 0); // a short page is not the end, but fewer documents than batchSize are, to RxDB
      documents.push(...page.changes.map(document));
      cursor = page.cursor;
    }
    return { documents, checkpoint: { cursor } };
  }
  async function anew(error) { // away for too long: what the snapshot does not have is gone, unless it was never sent
    if (error.status !== 410) throw error;
    const { documents, checkpoint } = await pull(null, Infinity);
    const gone = await collection.find({ selector: { id: { $nin: documents.map(({ id }) => id) } } }).exec();
    return { documents: [...documents, ...gone.map((one) => ({ ...one.toJSON(), _deleted: true }))], checkpoint };
  }
  async function push(rows) {
    const edits = rows.map(({ newDocumentState: { id, version, _deleted, ...data }, assumedMasterState }) => ({
      edit_id: crypto.randomUUID(), collection: collection.name, id, base_version: assumedMasterState?.version ?? 0,
      ...(_deleted ? { op: 'delete' } : { op: 'put', data }),
    }));
    const init = { method: 'POST', headers: { 'Content-Type': 'application/json' } };
    const { results } = await inTurn(() => call('push', { ...init, body: JSON.stringify({ client_id: client, edits }) }));
    return (await Promise.all(results.map(({ status, current }, i) => { // for the conflictHandler; RxDB's own takes theirs
      if (status === 'applied') return [];
      // What RxDB takes for the master has not the version that our own last push made: that is no conflict.
      if (current?.client_id === client) return push([{ ...rows[i], assumedMasterState: current }]);
      if (current) return document(current);
      return (status === 'rejected' && rows[i].assumedMasterState) || { ...rows[i].newDocumentState, _deleted: true };
    }))).flat();
  }
  // RxDB passes over changes of a document until it has noted our push of it: so a pull begins when no push is under way.
  const idle = () => replication.internalReplicationState.streamQueue.up;
  const replication = replicateRxCollection({
    collection, replicationIdentifier: `tidemark/${url}/${space}`, retryTime, push: { handler: push, batchSize: 50 },
    pull: { handler: (...from) => idle().then(() => inTurn(() => pull(...from).catch(anew))), batchSize: 500, stream$ },
  });
  replication.onCancel.push(() => stop.abort());
  (async () => { // a bell that rings when there is something new, and when it can't tell: RxDB then pulls
    for (await replication.awaitInitialReplication(); !replication.isStopped(); await replication.awaitInSync()) {
      const page = await changes(cursor, 25).catch(() => null);
      if (page?.changes.length !== 0) stream$.next('RESYNC'); else cursor = page.cursor;
    }
  })();
  return replication;
}
