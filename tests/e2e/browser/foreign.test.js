// Without auth nothing but the browser's word keeps pages of other sites out: that it is given, and that a front-end on a
// port of its own gets in, is seen in a real one.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { startWorld } from './harness.js';

let world;
let pages;
before(async () => {
  world = await startWorld();
  pages = createServer((request, response) => response.setHeader('Content-Type', 'text/html').end('<!doctype html><title>A page</title>'));
  await new Promise((resolve) => { pages.listen(0, '127.0.0.1', resolve); });
});
after(() => Promise.all([world?.stop(), pages?.close()]));

/** Opens a page of a host that is not the server's, and keeps the statuses of what it is answered by that, by what asked. */
async function openFrom(t, host) {
  const profile = await world.browser.newContext();
  t.after(() => profile.close());
  const page = await profile.newPage();
  const statuses = {};
  page.on('response', (response) => {
    const { origin, search } = new URL(response.url());
    if (origin === world.origin) statuses[search] = response.status();
  });
  await page.goto(`http://${host}:${pages.address().port}/`);
  return { page, statuses };
}

test('a page of another site is refused, whatever it has the browser send', async (t) => {
  const { page, statuses } = await openFrom(t, 'evil.localhost'); // not localhost, and the browser finds it here
  const heard = await page.evaluate(async (origin) => {
    const space = `${origin}/v1/spaces/home`;
    const add = (name, members) => new Promise((resolve) => {
      const element = Object.assign(document.createElement(name), members, { onload: () => resolve('loaded'), onerror: () => resolve('failed') });
      document.body.append(element);
    });
    const form = document.body.appendChild(Object.assign(document.createElement('form'), { action: `${space}/push?form`, method: 'post', enctype: 'text/plain', target: 'frame' }));
    const frame = add('iframe', { name: 'frame' });
    form.submit();
    await frame;
    return {
      read: await fetch(`${space}/changes?read`).then(() => 'read', () => 'failed'),
      post: await fetch(`${space}/push?post`, { method: 'POST', mode: 'no-cors', body: '{}' }).then(({ type }) => type),
      put: await fetch(`${space}/documents/c/d?put`, { method: 'PUT', body: '{}' }).then(() => 'read', () => 'failed'),
      script: await add('script', { src: `${space}/changes?script` }),
      image: await add('img', { src: `${space}/changes?image` }),
      stream: await new Promise((resolve) => {
        const source = new EventSource(`${space}/stream?stream`);
        source.onopen = () => resolve('open');
        source.onerror = () => resolve(source.readyState === EventSource.CLOSED ? 'failed' : 'lost');
      }),
    };
  }, world.origin);
  assert.deepEqual(heard, { read: 'failed', post: 'opaque', put: 'failed', script: 'failed', image: 'failed', stream: 'failed' });
  // What may be sent without leave. The browser tells nobody how the rest was answered; tests of api do.
  assert.deepEqual(statuses, { '?form': 403, '?post': 403 });
});

test('a front-end on another port of this machine gets in', async (t) => {
  const { page } = await openFrom(t, 'localhost'); // the server is at 127.0.0.1: another site, as browsers see it
  const answer = await page.evaluate(async (origin) => {
    const edits = [{ edit_id: 'e1', op: 'put', collection: 'todos', id: 't1', base_version: 0, data: {} }];
    const pushed = await fetch(`${origin}/v1/spaces/home/push`, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ client_id: 'page', edits }),
    });
    const { connect } = await import(`${origin}/tidemark.js`);
    return { status: (await pushed.json()).results[0].status, client: typeof connect };
  }, world.origin);
  assert.deepEqual(answer, { status: 'applied', client: 'function' });
});
