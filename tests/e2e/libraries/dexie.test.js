// Dexie on fake-indexeddb: tables for liveQuery, an outbox that survives a reload.

import 'fake-indexeddb/auto';
import assert from 'node:assert/strict';
import { after } from 'node:test';
import Dexie, { liveQuery } from 'dexie';
import { tidemark } from './adapters/dexie.js';
import { cells, until } from './cell.js';
import { converged, openReplica, replicaTest } from './replica.js';
import { push, startServer } from './server.js';

const server = await startServer();
after(() => server.stop());
const test = cells('Dexie', 'dexie');

async function open({ url, space, network, name, onConflict }) {
  const db = new Dexie(`${space}-${name}`);
  db.version(1).stores({ todos: 'id, title', outbox: '' });
  const { sync, close } = await tidemark({ db, url, space, tables: [db.todos], fetch: network.fetch, onConflict });
  const todos = sync.collection('todos');
  return {
    db,
    client: sync,
    todos,
    // Its pause after a failure would be minutes long at worst.
    sync: () => Promise.allSettled([sync.push(), sync.pull()]),
    all: async () => (await db.todos.toArray()).map(({ id, version, title, done }) => ({ id, version, data: { title, done } })),
    async put(id, data) {
      todos.put(id, data);
      await until(async () => (await db.todos.get(id))?.title === data.title);
    },
    async remove(id) {
      todos.delete(id);
      await until(async () => !(await db.todos.get(id)));
    },
    problems: () => sync.problems.length,
    async close() {
      await close();
      db.close();
    },
  };
}

replicaTest(test, server, open, {
  conflict: { title: 'Both, Alice', done: true }, // the first one wins, the other is in `sync.problems`
  deletedAndEdited: { title: 'Edited by Alice', done: false },
});

test('the outbox survives a reload', async (t) => {
  const { url } = server;
  const space = server.newSpace('reload');
  await push(url, space, [{ id: 't1', data: { title: 'Milk', done: false } }, { id: 't2', data: { title: 'Tea', done: false } }]);
  const before = await openReplica(t, open, { url, space, name: 'alice' });
  await converged(url, space, before);
  before.network.set(false);
  await before.put('t1', { title: 'Bread', done: false });
  await before.remove('t2');
  await before.close();

  const after = await openReplica(t, open, { url, space, name: 'alice' });
  after.network.set(false);
  assert.deepEqual(await after.db.todos.toArray(), [{ id: 't1', title: 'Bread', done: false, version: (await after.all())[0].version, pending: 1 }]);
  after.network.set(true);
  await converged(url, space, after);
  assert.deepEqual(await after.data('t1'), { title: 'Bread', done: false });
  assert.equal(await after.data('t2'), undefined);
  await after.close();

  const again = await openReplica(t, open, { url, space, name: 'alice' });
  await again.client.push();
  assert.equal(again.network.requests.some(({ method }) => method === 'POST'), false, 'what was sent is no longer in the outbox');
});

test('liveQuery shows an edit at once, and when it has arrived', async (t) => {
  const { url } = server;
  const space = server.newSpace('live');
  const replica = await openReplica(t, open, { url, space, name: 'alice' });
  const seen = [];
  const watching = liveQuery(() => replica.db.todos.orderBy('title').toArray()).subscribe((rows) => {
    // The stream may bring the version before the push is answered: one more look at the same.
    const look = rows.map(({ title, pending }) => `${title}, pending ${pending}`).join();
    if (look !== seen.at(-1)) seen.push(look);
  });
  t.after(() => watching.unsubscribe());
  await until(() => seen.length === 1);
  const gate = replica.network.hold('POST');
  await replica.put('t1', { title: 'Milk', done: false });
  await gate.reached;
  await until(() => seen.length === 2);
  gate.pass();
  await converged(url, space, replica);
  await until(() => seen.length === 3);
  assert.deepEqual(seen, ['', 'Milk, pending 1', 'Milk, pending 0']);
});

test('conflict, decided by the app', async (t) => {
  const { url } = server;
  const space = server.newSpace('merge');
  const onConflict = ({ mine, theirs }) => ({ title: `${mine.title} and ${theirs.title}`, done: theirs.done });
  await push(url, space, [{ id: 't1', data: { title: 'Milk', done: false } }]);
  const replica = await openReplica(t, open, { url, space, name: 'alice', onConflict });
  await converged(url, space, replica);
  replica.network.set(false);
  await push(url, space, [{ id: 't1', data: { title: 'Cheese', done: true } }]);
  await replica.put('t1', { title: 'Bread', done: false });
  replica.network.set(true);
  await until(async () => {
    await replica.sync();
    return (await replica.data('t1'))?.title === 'Bread and Cheese';
  });
  await converged(url, space, replica);
  assert.equal(replica.problems(), 0);
});
