// `subscribe` and `getSnapshot` of tidemark.js fit React, Svelte and signals as they are; each test shows all the code
// that it takes.

import assert from 'node:assert/strict';
import { after } from 'node:test';
import { render } from './page.js'; // before React
import { effect, signal } from '@preact/signals-core';
import { createElement, useSyncExternalStore } from 'react';
import { derived, fromStore, get } from 'svelte/store';
import { connect } from '../../../api/web/dist/tidemark.js';
import { cells, until } from './cell.js';
import { Network } from './network.js';
import { push, startServer } from './server.js';

const server = await startServer();
after(() => server.stop());

/** A client of a space where t1 is Milk, offline until its network is turned on. */
async function begin(t, name) {
  const { url } = server;
  const space = server.newSpace(name);
  await push(url, space, [{ id: 't1', data: { title: 'Milk' } }]);
  const network = new Network();
  network.set(false);
  const sync = connect({ url, space, store: 'memory', fetch: network.fetch });
  t.after(() => sync.close());
  await sync.ready;
  const todos = sync.collection('todos');
  const online = async () => {
    network.set(true);
    await sync.pull();
    await sync.push();
  };
  /** What each must show in turn: nothing, what the server has, an edit while it is pending, the same when it has arrived. */
  async function scenario(shown) {
    await until(() => shown() === '');
    await online();
    await until(() => shown() === 'Milk');
    network.set(false);
    todos.put('t2', { title: 'Bread' });
    await until(() => shown() === 'Milk, Bread…');
    await online();
    await until(() => shown() === 'Milk, Bread');
    await push(url, space, [{ op: 'delete', id: 't1' }]);
    await until(() => shown() === 'Bread');
  }
  return { sync, todos, scenario };
}

const titles = (items) => items.map(({ data, pending }) => data.title + (pending ? '…' : '')).join(', ');

cells('React', 'react')('useSyncExternalStore', async (t) => {
  const { sync, todos, scenario } = await begin(t, 'react');
  let renders = 0;
  function Todos() {
    const items = useSyncExternalStore(todos.subscribe, todos.getSnapshot);
    renders++;
    return titles(items);
  }
  const page = render(createElement(Todos));
  t.after(() => page.close());
  await scenario(page.text);

  // Nothing new, no render: a snapshot that were a new object each time would make React render for ever.
  await sync.pull();
  const before = renders;
  await sync.pull();
  assert.equal(renders, before);
});

cells('Svelte', 'svelte')('stores', async (t) => {
  const { sync, todos, scenario } = await begin(t, 'svelte');
  const line = derived([todos, sync.status], ([items, { paused }]) => (paused ? 'paused' : titles(items)));
  let shown;
  const stop = line.subscribe((value) => { shown = value; });
  await scenario(() => shown);
  assert.deepEqual([get(line), get(todos), fromStore(todos).current], ['Bread', todos.getSnapshot(), todos.getSnapshot()]);
  sync.pause();
  await until(() => shown === 'paused', 'the status is a store, too');
  stop();
  sync.resume();
  assert.equal(shown, 'paused', 'whoever has stopped listening hears no more');
});

cells('Preact signals', '@preact/signals-core')('signals', async (t) => {
  const { todos, scenario } = await begin(t, 'signals');
  const items = signal();
  t.after(todos.subscribe((value) => { items.value = value; }));
  let shown;
  let runs = 0;
  t.after(effect(() => {
    runs++;
    shown = titles(items.value);
  }));
  await scenario(() => shown);
  const before = runs;
  items.value = todos.getSnapshot();
  assert.equal(runs, before, 'the same snapshot is the same value');
});
