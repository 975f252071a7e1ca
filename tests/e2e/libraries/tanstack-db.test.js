// TanStack DB: a custom collection; its core, which all its framework packages wrap.

import assert from 'node:assert/strict';
import { after } from 'node:test';
import { createCollection } from '@tanstack/db';
import { tidemark } from './adapters/tanstack-db.js';
import { cells } from './cell.js';
import { converged, openReplica, replicaTest } from './replica.js';
import { push, startServer } from './server.js';

const server = await startServer();
after(() => server.stop());
const test = cells('TanStack DB', '@tanstack/db');

async function open({ url, space, network, name }) {
  const todos = createCollection({
    ...tidemark({ url, space, collection: 'todos', client: name, fetch: network.fetch, retryMs: 20 }), id: `${space}/${name}`, startSync: true,
  });
  await todos.preload();
  const refused = [];
  const watch = (edit) => edit.when('settled').catch((error) => refused.push(error));
  // Everything that t1 has looked like, in order.
  const seen = [todos.get('t1')?.title];
  const watching = todos.subscribeChanges(() => {
    const title = todos.get('t1')?.title;
    if (title !== seen.at(-1)) seen.push(title);
  });
  return {
    todos,
    refused,
    seen,
    watch,
    all: () => todos.toArray.map(({ id, version, title, done }) => ({ id, version, data: { title, done } })),
    async put(id, data) {
      watch(todos.has(id) ? todos.update(id, (row) => { Object.assign(row, data); }) : todos.insert({ id, ...data }));
    },
    async remove(id) {
      watch(todos.delete(id));
    },
    problems: () => refused.length,
    close() {
      watching.unsubscribe();
      return todos.cleanup();
    },
  };
}

replicaTest(test, server, open, {
  conflict: { title: 'Both, Alice', done: true }, // the first one wins, the other is rolled back to what is there
  deletedAndEdited: { title: 'Edited by Alice', done: false },
});

/** A replica of a space where t1 is Milk and t2 is Tea. */
async function begin(t, name) {
  const { url } = server;
  const space = server.newSpace(name);
  await push(url, space, [{ id: 't1', data: { title: 'Milk', done: false } }, { id: 't2', data: { title: 'Tea', done: false } }]);
  const replica = await openReplica(t, open, { url, space, name: 'alice' });
  const rename = (id, title) => replica.todos.update(id, (row) => { row.title = title; });
  return { ...replica, url, space, rename, replica };
}

test('trap: the answer is in the collection before the handler returns', async (t) => {
  const { network, todos, seen, rename } = await begin(t, 'flicker');
  const pull = network.hold('GET'); // so that nothing but the push's own answer can bring the new state
  network.set(false);
  await pull.reached;
  network.set(true);
  const gate = network.hold('POST');
  const edit = rename('t1', 'Bread');
  await gate.reached;
  gate.pass();
  await edit.when('settled');
  assert.ok(todos.get('t1').$synced, 'what is shown is the server\'s');
  pull.pass();
  const next = rename('t1', 'Butter');
  await next.when('settled');
  assert.deepEqual(seen, ['Milk', 'Bread', 'Butter']);
});

test('quick second edit', async (t) => {
  const { url, space, network, seen, rename, replica } = await begin(t, 'quick');
  const gate = network.hold('POST');
  const edits = [rename('t1', 'B')];
  await gate.reached;
  edits.push(rename('t1', 'Br'), rename('t2', 'Coffee')); // on one that is under way
  gate.pass();
  await edits[1].when('settled');
  const later = network.hold('POST');
  edits.push(rename('t2', 'Cocoa'));
  await later.reached;
  edits.push(rename('t1', 'Bre')); // on one that is answered, but not in the rows while t2's edit is under way
  later.pass();
  for (const edit of edits) await edit.when('settled'); // rejects on a conflict with itself
  await converged(url, space, replica);
  assert.deepEqual(seen, ['Milk', 'B', 'Br', 'Bre'], 'and nothing flickers');
});

test('a late page does not take back what was edited since', async (t) => {
  const { url, space, network, seen, rename, replica } = await begin(t, 'late');
  const restart = network.hold('GET', { answer: true });
  network.set(false); // ends the long poll; the next one is the one that is held
  network.set(true);
  await rename('t1', 'B').when('settled');
  await restart.reached; // it brings B
  await rename('t1', 'Br').when('settled');
  restart.pass();
  await push(url, space, [{ id: 't2', data: { title: 'Coffee', done: false } }]);
  await converged(url, space, replica);
  assert.deepEqual(seen, ['Milk', 'B', 'Br']);
});

test('an edit that was rolled back in the queue is not sent', async (t) => {
  const { url, space, network, todos, rename, replica } = await begin(t, 'queue');
  const gate = network.hold('POST');
  const first = rename('t2', 'Coffee');
  await gate.reached;
  const edit = rename('t1', 'Bread');
  const settled = edit.when('settled').catch(() => 'rolled back');
  edit.rollback();
  assert.equal(await settled, 'rolled back');
  gate.pass();
  await first.when('settled');
  await rename('t2', 'Cocoa').when('settled');
  await converged(url, space, replica);
  assert.equal(todos.get('t1').title, 'Milk');
});

test('conflict: the row jumps to what is there, edits on top of it go too', async (t) => {
  const { url, space, network, seen, rename, replica } = await begin(t, 'conflict');
  network.set(false);
  await push(url, space, [{ id: 't1', data: { title: 'Cheese', done: false } }]);
  const edit = rename('t1', 'B');
  const onTop = rename('t1', 'Br').when('settled');
  network.set(true);
  await assert.rejects(edit.when('settled'), ({ status, current }) => status === 'conflict' && current.data.title === 'Cheese');
  await assert.rejects(onTop);
  await converged(url, space, replica);
  await rename('t1', 'Bread and cheese').when('settled');
  await converged(url, space, replica);
  assert.deepEqual(seen, ['Milk', 'B', 'Br', 'Cheese', 'Bread and cheese']);
});

test('lost answer', async (t) => {
  const { url, space, network, rename, replica } = await begin(t, 'lost');
  const gate = network.hold('POST');
  const edit = rename('t1', 'Bread');
  gate.lose();
  await edit.when('settled');
  await converged(url, space, replica);
  assert.equal(network.requests.filter(({ method }) => method === 'POST').length, 2);
});

test('create again what was deleted', async (t) => {
  const { url, space, replica, todos } = await begin(t, 'again');
  await todos.delete('t1').when('settled');
  await todos.insert({ id: 't1', title: 'Milk again', done: false }).when('settled');
  await push(url, space, [{ op: 'delete', id: 't2' }]);
  await converged(url, space, replica);
  await todos.insert({ id: 't2', title: 'Tea again', done: false }).when('settled');
  await converged(url, space, replica);
  assert.equal(todos.size, 2);
});

test('410: everything anew, with what is not sent', async (t) => {
  const { url, space, network, todos, rename, replica } = await begin(t, 'expired');
  network.set(false);
  const edit = rename('t1', 'Bread');
  await push(url, space, [{ op: 'delete', id: 't2' }, { id: 't3', data: { title: 'Jam', done: false } }]);
  await server.restart('gc', '--retention', '1ms');
  network.set(true);
  await edit.when('settled');
  await converged(url, space, replica);
  assert.ok(network.requests.some(({ status }) => status === 410));
  assert.deepEqual(todos.toArray.map(({ title }) => title).sort(), ['Bread', 'Jam']);
});
