// Pages of one browser on the client's own terms: Chromium's Web Locks, BroadcastChannel and IndexedDB, and a service
// worker. Whatever is opened, closed and taken over, they are one replica with one connection.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { after, before } from 'node:test';
import { newProfile, startWorld } from './harness.js';
import { until } from './board.js';
import { cell } from '../results.js';

let world;
before(async () => { world = await startWorld(); });
after(() => world?.stop());

/** A profile with an eye on its connections, and the way to open pages on a new space. */
async function tabs(t, options) {
  const profile = await newProfile(t, world, options);
  const space = `tabs-${randomUUID()}`;
  const streams = new Set();
  const pushes = [];
  let opened = 0;
  profile.on('request', (request) => {
    if (request.url().includes('/push')) pushes.push(request.postDataJSON());
    if (!request.url().includes('/stream?')) return;
    streams.add(request);
    opened++;
  });
  for (const end of ['requestfinished', 'requestfailed']) profile.on(end, (request) => streams.delete(request));
  profile.on('page', (page) => page.on('close', () => {
    for (const request of streams) if (request.frame().page() === page) streams.delete(request);
  }));

  async function start(page) {
    await page.evaluate(async (name) => {
      const { connect } = await import('/tidemark.js');
      window.sync = connect({ url: '', space: name });
      window.settled = [];
      window.put = (id, data) => window.sync.collection('todos').put(id, data).settled.then(({ status }) => window.settled.push(`${id} ${status}`));
      await window.sync.ready;
    }, space);
    return page;
  }

  async function open() {
    const page = await profile.newPage();
    await page.goto('/v1/config');
    return start(page);
  }

  /** What the browser says when somebody looks at a page or away from it. */
  const show = (page, state) => page.evaluate((value) => {
    Object.defineProperty(document, 'visibilityState', { value, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, state);
  const leader = () => [...streams].at(-1)?.frame().page();
  const documents = async () => (await (await fetch(`${world.origin}/v1/spaces/${space}/changes`)).json()).changes;
  return { profile, space, streams, pushes, open, start, show, leader, documents, opened: () => opened };
}

/** Waits until the page shows these documents, none of them waiting to be sent, and knows of the stream. */
const shows = (page, ids) => until(page, (wanted) => {
  const { sync } = window;
  const items = sync.collection('todos').getSnapshot();
  return sync.status.transport === 'stream' && sync.status.pending === 0 && items.map(({ id }) => id).join() === wanted && !items.some(({ pending }) => pending);
}, ids.join());

cell('tidemark.js', 'tabs: one connection', 'three pages: one stream, one queue, and each sees what the others do', async (t) => {
  const { open, streams, pushes, opened, leader } = await tabs(t);
  const pages = [await open(), await open(), await open()];
  for (const [i, page] of pages.entries()) await page.evaluate((n) => { window.put(`t${n}`, { n }); }, i);
  for (const [i, page] of pages.entries()) {
    await shows(page, ['t0', 't1', 't2']);
    await until(page, (n) => window.settled.join() === `t${n} applied`, i);
  }
  assert.deepEqual([streams.size, opened()], [1, 1]);
  assert.equal(leader(), pages[0]);
  assert.equal(new Set(pushes.map(({ client_id }) => client_id)).size, 1);
  assert.equal(new Set(await Promise.all(pages.map((page) => page.evaluate(() => window.sync.clientId)))).size, 1);
});

cell('tidemark.js', 'tabs: the lead changes hands', 'the page that is looked at takes over; the stream moves with it', async (t) => {
  const { open, streams, leader, show, opened } = await tabs(t);
  const [first, second] = [await open(), await open()];
  await shows(second, []);
  assert.equal(leader(), first);
  await show(second, 'hidden');
  await show(first, 'hidden');
  await show(second, 'visible');
  await first.evaluate(() => { window.put('a', {}); });
  await second.evaluate(() => { window.put('b', {}); });
  for (const page of [first, second]) await shows(page, ['a', 'b']);
  assert.deepEqual([streams.size, leader() === second, opened()], [1, true, 2]);
});

cell('tidemark.js', 'tabs: the leader is closed, pages are reloaded', 'the leader is closed with edits that nobody has sent, and pages are reloaded: none is lost, none is made twice', async (t) => {
  const { profile, open, start, streams, leader, documents, pushes } = await tabs(t, { expected: [/ERR_FAILED|ERR_CONNECTION/] });
  const [first, second, third] = [await open(), await open(), await open()];
  await shows(third, []);
  assert.equal(leader(), first);
  await profile.route('**/push', (route) => route.abort());
  await third.evaluate(() => { window.put('by-third', { n: 1 }); window.put('by-third', { n: 2 }); });
  await first.evaluate(() => { window.put('by-first', {}); });
  await until(second, () => window.sync.status.pending === 3);
  await first.close();
  await second.evaluate(() => { window.put('by-second', {}); });
  await third.evaluate(() => { window.put('last-word', {}); });
  await third.reload();
  await profile.unroute('**/push');
  await start(third);
  const ids = ['by-first', 'by-second', 'by-third', 'last-word'];
  for (const page of [second, third]) await shows(page, ids);
  assert.equal(streams.size, 1);
  await until(second, () => window.settled.join() === 'by-second applied');
  assert.equal(await second.evaluate(() => window.sync.problems.length), 0);
  const there = await documents();
  assert.deepEqual(there.map(({ id }) => id).sort(), ids);
  assert.deepEqual(there.find(({ id }) => id === 'by-third').data, { n: 2 });
  const sent = pushes.flatMap(({ edits }) => edits);
  assert.equal(new Set(sent.map(({ edit_id }) => edit_id)).size, 5, 'whatever was sent again had its id');
});

cell('tidemark.js', 'service worker', 'a service worker pushes and pulls, as one replica with the pages that are open', async (t) => {
  const script = `
    import { connect } from '${world.origin}/tidemark.js';
    self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
    self.addEventListener('message', (event) => event.waitUntil((async () => {
      const sync = connect({ url: '${world.origin}', space: event.data });
      const edit = sync.collection('todos').put('by-worker', {});
      await sync.push();
      await sync.pull();
      const { status } = await edit.settled;
      const ids = sync.collection('todos').getSnapshot().map(({ id }) => id);
      const { clientId, status: { store } } = sync;
      await sync.close();
      event.ports[0].postMessage({ status, ids, clientId, store });
    })()));`;
  const files = createServer(({ url }, response) => {
    response.setHeader('Content-Type', url === '/worker.js' ? 'text/javascript' : 'text/html');
    response.end(url === '/worker.js' ? script : '<!doctype html><title>A page</title>');
  });
  await new Promise((resolve) => { files.listen(0, '127.0.0.1', resolve); });
  t.after(() => files.close());
  const profile = await world.browser.newContext();
  t.after(() => profile.close());
  const page = await profile.newPage();
  await page.goto(`http://localhost:${files.address().port}/`);
  const ask = (space) => page.evaluate(async (name) => {
    const { active, installing, waiting } = await navigator.serviceWorker.register('/worker.js', { type: 'module' });
    await navigator.serviceWorker.ready;
    const { port1, port2 } = new MessageChannel();
    const answer = new Promise((resolve) => { port1.onmessage = ({ data }) => resolve(data); });
    (active ?? waiting ?? installing).postMessage(name, [port2]);
    return answer;
  }, space);
  const connectPage = (space) => page.evaluate(async ([origin, name]) => {
    const { connect } = await import(`${origin}/tidemark.js`);
    window.sync = connect({ url: origin, space: name });
    await window.sync.ready;
    await window.sync.collection('todos').put('by-page', {}).settled;
    return window.sync.clientId;
  }, [world.origin, space]);

  const alone = await ask(`worker-${randomUUID()}`);
  assert.deepEqual([alone.status, alone.ids, alone.store], ['applied', ['by-worker'], 'indexeddb']);
  const space = `worker-${randomUUID()}`;
  const clientId = await connectPage(space);
  const together = await ask(space);
  assert.deepEqual([together.status, together.ids, together.clientId], ['applied', ['by-page', 'by-worker'], clientId]);
  await until(page, () => window.sync.collection('todos').get('by-worker')?.pending === false);
});
