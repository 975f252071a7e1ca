// WatermelonDB: synchronize, on its LokiJS adapter in fake-indexeddb, as it runs in browsers.

import 'fake-indexeddb/auto';
import assert from 'node:assert/strict';
import { after } from 'node:test';
import watermelon from '@nozbe/watermelondb/index.js';
import loki from '@nozbe/watermelondb/adapters/lokijs/index.js';
import logger from '@nozbe/watermelondb/utils/common/logger/index.js';
import { tidemark } from './adapters/watermelondb.js';
import { cells } from './cell.js';
import { converged, openReplica, replicaTest } from './replica.js';
import { push, snapshot, startServer } from './server.js';

const { appSchema, Database, Model, tableSchema } = watermelon;
logger.default.silence();

const server = await startServer();
after(() => server.stop());
const test = cells('WatermelonDB', '@nozbe/watermelondb');

class Todo extends Model {
  static table = 'todos';
}
const schema = appSchema({
  version: 1,
  tables: [
    tableSchema({
      name: 'todos',
      columns: [{ name: 'version', type: 'number' }, { name: 'title', type: 'string' }, { name: 'done', type: 'boolean' }],
    }),
  ],
});

async function open({ url, space, network, name }) {
  const adapter = new loki.default({ dbName: `${space}-${name}`, schema, useWebWorker: false, useIncrementalIndexedDB: true });
  const database = new Database({ adapter, modelClasses: [Todo] });
  const todos = database.get('todos');
  const losses = [];
  const sync = tidemark({ database, url, space, tables: ['todos'], fetch: network.fetch, lost: (...loss) => losses.push(loss) });
  const set = (record, data) => Object.entries(data).forEach(([column, value]) => record._setRaw(column, value));
  return {
    database,
    losses,
    sync,
    all: async () => (await todos.query().fetch()).map(({ _raw: { id, version, title, done } }) => ({ id, version, data: { title, done } })),
    put: (id, data) => database.write(async () => {
      const record = await todos.find(id).catch(() => null);
      if (record) await record.update((changed) => set(changed, data));
      else await todos.create((created) => [(created._raw.id = id), set(created, data)]);
    }),
    remove: (id) => database.write(async () => (await todos.find(id)).markAsDeleted()),
    problems: () => losses.length,
    close() {
      adapter._driver.loki.autosaveDisable(); // its timer
    },
  };
}

replicaTest(test, server, open, {
  conflict: { title: 'Both, Bob', done: true }, // by column: the title is mine (Bob's, who came second), done is Alice's
  deletedAndEdited: undefined, // a delete is forced
});

/** A replica of a space where t1 is Milk and t2 is Tea. */
async function begin(t, name) {
  const { url } = server;
  const space = server.newSpace(name);
  await push(url, space, [{ id: 't1', data: { title: 'Milk', done: false } }, { id: 't2', data: { title: 'Tea', done: false } }]);
  const replica = await openReplica(t, open, { url, space, name: 'alice' });
  await replica.sync();
  return { ...replica, url, space, replica };
}

test('trap: a delete goes through, whatever was written since the pull', async (t) => {
  const { url, space, network, replica, remove, sync } = await begin(t, 'delete');
  await remove('t1');
  const gate = network.hold('POST');
  const syncing = sync();
  await gate.reached; // the pull is done
  await push(url, space, [{ id: 't1', data: { title: 'Bread', done: false } }]);
  gate.pass();
  await syncing;
  assert.equal((await snapshot(url, space)).documents.has('t1'), false);
  await converged(url, space, replica);
  const sent = network.requests.length;
  await sync();
  assert.deepEqual(network.requests.slice(sent).map(({ method }) => method), ['GET'], 'and that was that');
});

test('two edits merge by column', async (t) => {
  const { url, space, replica, put, sync } = await begin(t, 'columns');
  await push(url, space, [{ id: 't1', data: { title: 'Milk', done: true } }]);
  await put('t1', { title: 'Bread' });
  await sync();
  await converged(url, space, replica);
  assert.deepEqual(await replica.data('t1'), { title: 'Bread', done: true });
});

test('a conflict between pull and push is merged by the next sync', async (t) => {
  const { url, space, network, replica, put, sync } = await begin(t, 'race');
  await put('t1', { title: 'Bread' });
  const gate = network.hold('POST');
  const syncing = sync();
  await gate.reached;
  await push(url, space, [{ id: 't1', data: { title: 'Cheese', done: true } }]);
  gate.pass();
  await syncing;
  assert.deepEqual((await snapshot(url, space)).documents.get('t1').data, { title: 'Cheese', done: true });
  assert.equal((await replica.data('t1')).title, 'Bread', 'it is still there, and unsent');
  await converged(url, space, replica);
  assert.deepEqual(await replica.data('t1'), { title: 'Bread', done: true });
});

test('lost answer', async (t) => {
  const { url, space, network, replica, put, sync } = await begin(t, 'lost');
  await put('t1', { title: 'Bread' });
  await put('t3', { title: 'New', done: false });
  const gate = network.hold('POST');
  const syncing = sync();
  gate.lose();
  await assert.rejects(syncing, /the answer is lost/);
  await put('t3', { title: 'Newer', done: false });
  await converged(url, space, replica);
  assert.deepEqual([await replica.data('t1'), await replica.data('t3')], [{ title: 'Bread', done: false }, { title: 'Newer', done: false }]);
});

test('fields that the schema does not know stay', async (t) => {
  const { url, space, put, sync } = await begin(t, 'fields');
  await push(url, space, [{ id: 't1', data: { title: 'Milk', done: false, colour: 'red' } }]);
  await sync();
  await put('t1', { title: 'Bread' });
  await sync();
  assert.deepEqual((await snapshot(url, space)).documents.get('t1').data, { title: 'Bread', done: false, colour: 'red' });
});

test('rejected', async (t) => {
  const { url, space, replica, put, sync, losses } = await begin(t, 'rejected');
  await put('t1', { title: 'x'.repeat(300_000) });
  await put('t2', { title: 'Coffee' });
  await sync();
  assert.deepEqual(losses, [['todos', 't1', 'document_too_large']]);
  await put('t1', { title: 'Bread' });
  await converged(url, space, replica);
  assert.deepEqual([(await replica.data('t1')).title, (await replica.data('t2')).title], ['Bread', 'Coffee']);
});

test('410: everything anew, with what is not sent', async (t) => {
  const { url, space, network, replica, put, losses } = await begin(t, 'expired');
  await put('t1', { title: 'Bread' });
  await put('t2', { title: 'Coffee' });
  await put('t4', { title: 'New', done: false });
  await push(url, space, [{ op: 'delete', id: 't2' }, { id: 't3', data: { title: 'Jam', done: false } }]);
  await server.restart('gc', '--retention', '1ms');
  await converged(url, space, replica);
  assert.ok(network.requests.some(({ status }) => status === 410));
  assert.deepEqual((await replica.all()).map(({ data }) => data.title).sort(), ['Bread', 'Jam', 'New']);
  assert.deepEqual(losses, [['todos', 't2', 'deleted']]);
});

test('an empty space', async (t) => {
  const { url } = server;
  const space = server.newSpace('empty');
  const replica = await openReplica(t, open, { url, space, name: 'alice' });
  await replica.put('t0', { title: 'Before the first sync', done: false });
  await converged(url, space, replica);
  assert.equal((await replica.all()).length, 1);
});
