// RxDB: replicateRxCollection with its storage in memory.

import assert from 'node:assert/strict';
import { after } from 'node:test';
import { createRxDatabase } from 'rxdb/plugins/core';
import { getRxStorageMemory } from 'rxdb/plugins/storage-memory';
import { tidemark } from './adapters/rxdb.js';
import { cells, until } from './cell.js';
import { converged, openReplica, replicaTest } from './replica.js';
import { push, startServer } from './server.js';

const server = await startServer();
after(() => server.stop());
const test = cells('RxDB', 'rxdb');

const schema = {
  version: 0,
  primaryKey: 'id',
  type: 'object',
  properties: {
    id: { type: 'string', maxLength: 128 },
    version: { type: 'number' },
    title: { type: 'string' },
    done: { type: 'boolean' },
  },
  required: ['id'],
};

async function open({ url, space, network, name, storage = getRxStorageMemory(), conflictHandler }) {
  const database = await createRxDatabase({ name: `${space}-${name}`, storage, multiInstance: false });
  const { todos } = await database.addCollections({ todos: { schema, conflictHandler } });
  const replication = await tidemark({ url, space, collection: todos, fetch: network.fetch, retryTime: 20 });
  const conflicts = [];
  replication.conflict$.subscribe((conflict) => conflicts.push(conflict));
  await replication.awaitInitialReplication();
  const seen = [];
  todos.findOne('t1').$.subscribe((document) => {
    if (document?.title !== seen.at(-1)) seen.push(document?.title);
  });
  return {
    database,
    todos,
    replication,
    conflicts,
    seen,
    async all() {
      return (await todos.find().exec()).map(({ id, version, title, done }) => ({ id, version, data: { title, done } }));
    },
    async put(id, data) {
      const document = await todos.findOne(id).exec();
      if (document) await document.incrementalPatch(data);
      else await todos.insert({ id, ...data });
    },
    async remove(id) {
      await (await todos.findOne(id).exec()).incrementalRemove();
    },
    problems: () => conflicts.length,
    close: () => database.close(),
  };
}

replicaTest(test, server, open, {
  conflict: { title: 'Both, Alice', done: true }, // RxDB's own conflictHandler: what is on the server wins
  deletedAndEdited: { title: 'Edited by Alice', done: false },
});

/** A replica of a space where t1 is Milk and t2 is Tea. */
async function begin(t, name, options) {
  const { url } = server;
  const space = server.newSpace(name);
  await push(url, space, [{ id: 't1', data: { title: 'Milk', done: false } }, { id: 't2', data: { title: 'Tea', done: false } }]);
  const replica = await openReplica(t, open, { url, space, name: 'alice', ...options });
  const rename = async (title, id = 't1') => (await replica.todos.findOne(id).exec()).incrementalPatch({ title });
  return { ...replica, url, space, rename, replica };
}

test('trap: a quick second edit is no conflict', async (t) => {
  const { url, space, network, rename, replica, conflicts, seen } = await begin(t, 'quick');
  for (const title of ['B', 'Br', 'Bre', 'Brea']) {
    const gate = network.hold('POST');
    await rename(title);
    await gate.reached; // the next one is made while this one is under way
    await rename(`${title}!`);
    gate.pass();
    await converged(url, space, replica);
  }
  assert.deepEqual(conflicts, []);
  assert.deepEqual(seen, ['Milk', 'B', 'B!', 'Br', 'Br!', 'Bre', 'Bre!', 'Brea', 'Brea!']);
});

// RxDB passes over what a pull brings of a document until it has noted our push of it, because it holds ours for unsent:
// the change of somebody else that came on top of it would be lost.
const soon = (condition) => until(condition, 'soon', { within: 500 }).catch(() => {}); // what must not happen is given a chance

test('trap: a pull that begins before RxDB has noted our push loses nothing', async (t) => {
  const { url, space, network, rename, replica, replication } = await begin(t, 'noting');
  const errors = [];
  replication.error$.subscribe((error) => errors.push(error.parameters.direction));
  network.set(false);
  await until(() => errors.includes('pull'), 'a pull that RxDB tries again and again');
  const { metaInstance } = replication;
  const { bulkWrite } = metaInstance;
  const slow = {};
  slow.reached = new Promise((resolve) => { slow.reach = resolve; });
  slow.passed = new Promise((resolve) => { slow.pass = resolve; });
  metaInstance.bulkWrite = async (...rows) => {
    slow.reach();
    await slow.passed;
    return bulkWrite.apply(metaInstance, rows);
  };
  const pull = network.hold('GET');
  await pull.reached;
  await rename('Bread');
  network.set(true);
  pull.fail(); // and it is tried again
  await slow.reached; // the answer to the push is there, and being noted
  await push(url, space, [{ id: 't1', data: { title: 'Cheese', done: true } }]);
  const asked = network.requests.length;
  await soon(() => network.requests.slice(asked).some(({ status }) => status === 200));
  slow.pass();
  await converged(url, space, replica);
});

test('trap: a push that begins while a pull is under way loses nothing', async (t) => {
  const { url, space, network, rename, replica, replication } = await begin(t, 'turns');
  const pull = network.hold('GET');
  replication.reSync();
  await pull.reached;
  const answer = network.hold('POST', { answer: true });
  let pushed = false;
  answer.reached.then(() => { pushed = true; });
  await rename('Bread');
  await soon(() => pushed);
  await push(url, space, [{ id: 't1', data: { title: 'Cheese', done: true } }]);
  const asked = network.requests.length;
  pull.pass(); // it may bring Cheese
  await soon(() => network.requests.length > asked);
  answer.pass();
  await converged(url, space, replica);
});

test('lost answer', async (t) => {
  const { url, space, network, rename, replica, conflicts, seen } = await begin(t, 'lost');
  const gate = network.hold('POST');
  await rename('Bread');
  gate.lose();
  await rename('Butter');
  await converged(url, space, replica);
  assert.deepEqual([conflicts, seen], [[], ['Milk', 'Bread', 'Butter']]);
});

test('conflict, decided by the app', async (t) => {
  const conflictHandler = {
    isEqual: (a, b) => a.title === b.title && a.done === b.done && a._deleted === b._deleted && a.version === b.version,
    // By field: mine where I changed it, theirs elsewhere.
    resolve: ({ newDocumentState: mine, assumedMasterState: base, realMasterState: theirs }) => ({
      ...theirs,
      title: mine.title === base.title ? theirs.title : mine.title,
      done: mine.done === base.done ? theirs.done : mine.done,
    }),
  };
  const { url, space, network, rename, replica, conflicts } = await begin(t, 'handler', { conflictHandler });
  network.set(false);
  await push(url, space, [{ id: 't1', data: { title: 'Milk', done: true } }]);
  await rename('Bread');
  network.set(true);
  await until(() => conflicts.length === 1);
  await until(async () => (await replica.data('t1')).done);
  await converged(url, space, replica);
  assert.deepEqual(await replica.data('t1'), { title: 'Bread', done: true });
});

test('rejected: what is on the server comes back', async (t) => {
  const { url, space, rename, replica, conflicts, seen } = await begin(t, 'rejected');
  const long = 'x'.repeat(300_000);
  await rename(long);
  await until(() => conflicts.length === 1);
  await converged(url, space, replica);
  assert.deepEqual(seen, ['Milk', long, 'Milk']);
  await rename('Bread');
  await converged(url, space, replica);
});

test('a short page is not the end', async (t) => {
  const { url } = server;
  const space = server.newSpace('short');
  const title = 'x'.repeat(200_000); // a page ends at 1 MiB
  await push(url, space, Array.from({ length: 3 }, (_, i) => ({ id: `t${i}`, data: { title, done: false } })));
  for (let i = 3; i < 12; i += 3) await push(url, space, [0, 1, 2].map((at) => ({ id: `t${i + at}`, data: { title, done: false } })));
  const replica = await openReplica(t, open, { url, space, name: 'alice' });
  assert.equal((await replica.all()).length, 12, 'there after the first replication');
});

test('pull.stream$: what others do comes by itself, also after the network was away', async (t) => {
  const { url, space, network, replica } = await begin(t, 'stream');
  await push(url, space, [{ id: 't1', data: { title: 'Bread', done: false } }]);
  await converged(url, space, replica);
  network.set(false);
  await push(url, space, [{ id: 't1', data: { title: 'Cheese', done: false } }, { op: 'delete', id: 't2' }]);
  network.set(true);
  await converged(url, space, replica);
});

test('410: RESYNC brings everything anew, with what is not sent', async (t) => {
  const { url, space, network, rename, replica } = await begin(t, 'expired');
  network.set(false);
  await rename('Bread');
  await replica.put('t4', { title: 'New', done: false });
  await push(url, space, [{ op: 'delete', id: 't2' }, { id: 't3', data: { title: 'Jam', done: false } }]);
  await server.restart('gc', '--retention', '1ms');
  network.set(true);
  await converged(url, space, replica);
  assert.ok(network.requests.some(({ status }) => status === 410));
  assert.deepEqual((await replica.all()).map(({ data }) => data.title).sort(), ['Bread', 'Jam', 'New']);
});
