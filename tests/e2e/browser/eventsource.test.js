// The browser's own EventSource against two nodes: what pages without /tidemark.js have. It can send no token, so each
// connection is opened with a ticket; what it does by itself is to connect again with the id of the last event.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { newProfile, startWorld } from './harness.js';
import { startNginx, startNode, startRelay, tokenFor, withAuth } from './nodes.js';
import { until } from './board.js';

let world;
before(async () => {
  world = await startWorld(async () => {
    const nodes = [await startNode(withAuth), await startNode(withAuth)];
    const relay = await startRelay(nodes[0].origin);
    const stop = () => Promise.all([relay, ...nodes].map((part) => part.stop()));
    return { origin: relay.origin, relay, nodes, stop };
  });
});
after(() => world?.stop());

/** Runs in the page. Follows a space into `window.feed`, as the manual says. */
function follow([space, token]) {
  const feed = { seen: [], byes: [], opened: 0, tickets: 0 };
  window.feed = feed;
  async function open(cursor) {
    const again = () => setTimeout(() => open(cursor), 200);
    const answer = await fetch(`/v1/spaces/${space}/stream-tickets`, { method: 'POST', headers: { Authorization: `Bearer ${token}` } }).catch(() => null);
    if (!answer?.ok) return again();
    const { ticket } = await answer.json();
    feed.tickets++;
    const source = new EventSource(`/v1/spaces/${space}/stream?${new URLSearchParams({ ticket, cursor })}`);
    source.addEventListener('open', () => { feed.opened++; });
    source.addEventListener('changes', (event) => {
      cursor = event.lastEventId;
      for (const change of JSON.parse(event.data).changes) feed.seen.push(change.data.n);
    });
    source.addEventListener('bye', (event) => feed.byes.push(JSON.parse(event.data).reason));
    source.addEventListener('error', () => {
      // Otherwise it connects again by itself, with the same ticket as long as that is good.
      if (source.readyState === EventSource.CLOSED) again();
    });
  }
  open('');
}

/** A page that follows a new space, and the way to write to that space. */
async function follower(t, at, { intercept, ...options } = {}) {
  const space = `events-${randomUUID()}`;
  const token = tokenFor(space, 'alice');
  const page = await (await newProfile(t, at, options)).newPage();
  const urls = [];
  page.on('request', (request) => urls.push(request.url()));
  if (intercept) await page.route('**/stream?**', intercept);
  await page.goto('/v1/config');
  await page.evaluate(follow, [space, token]);
  await until(page, () => window.feed.opened === 1);
  const write = async (n, origin = at.origin) => {
    const edits = [{ edit_id: randomUUID(), op: 'put', collection: 'todos', id: `t${n}`, base_version: 0, data: { n } }];
    const answer = await fetch(`${origin}/v1/spaces/${space}/push`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` },
      body: JSON.stringify({ client_id: 'writer', edits }),
    });
    return answer.ok;
  };
  const seen = (n) => until(page, (wanted) => window.feed.seen.includes(wanted), n);
  return { page, urls, token, write, seen, feed: () => page.evaluate(() => window.feed) };
}

test('a ticket opens the stream, and no token stands in a URL', async (t) => {
  const { write, seen, urls, token, feed } = await follower(t, world);
  for (const n of [1, 2, 3]) {
    assert.ok(await write(n));
    await seen(n);
  }
  assert.deepEqual(await feed(), { seen: [1, 2, 3], byes: [], opened: 1, tickets: 1 });
  assert.ok(urls.some((url) => url.includes('/stream?')));
  assert.ok(!urls.some((url) => url.includes(token)));
});

test('a bye, and another node: it goes on by itself where it was', async (t) => {
  const [first, second] = world.nodes;
  const { write, seen, feed } = await follower(t, world);
  assert.ok(await write(1));
  await seen(1);
  world.relay.to(second.origin);
  t.after(() => world.relay.to(first.origin));
  const restarted = first.restart();
  assert.ok(await write(2, second.origin));
  await seen(2);
  await restarted;
  assert.ok(await write(3, first.origin), 'on the node where it is not');
  await seen(3);
  assert.deepEqual(await feed(), { seen: [1, 2, 3], byes: ['shutdown'], opened: 2, tickets: 1 });
});

test('a ticket that is over by then: a new one, and nothing is missed', async (t) => {
  const [first, second] = world.nodes;
  let attempts = 0;
  const intercept = (route) => (++attempts === 2 ? route.fulfill({ status: 401, body: '' }) : route.continue());
  const { write, seen, feed } = await follower(t, world, { intercept, expected: [/status of 401/] });
  assert.ok(await write(1));
  await seen(1);
  world.relay.to(second.origin);
  t.after(() => world.relay.to(first.origin));
  const restarted = first.restart();
  assert.ok(await write(2, second.origin));
  await seen(2);
  await restarted;
  assert.deepEqual(await feed(), { seen: [1, 2], byes: ['shutdown'], opened: 2, tickets: 2 });
});

test('behind nginx as it comes: at once, and through a restart of each node', async (t) => {
  const nginx = await startNginx(world.nodes.map(({ host }) => host));
  t.after(() => nginx.stop());
  const at = { ...world, origin: nginx.origin };
  const { write, seen, feed } = await follower(t, at, { expected: [/status of 50\d/, /ERR_/] });
  let n = 0;
  for (const node of world.nodes) {
    assert.ok(await write(++n));
    await seen(n);
    await node.restart();
    do n++; while (!(await write(n))); // nginx may take a node for dead that has just come back
    await seen(n);
  }
  const { seen: numbers, byes } = await feed();
  assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b));
  assert.equal(new Set(numbers).size, numbers.length, 'nothing twice');
  assert.ok(byes.length > 0 && byes.every((reason) => reason === 'shutdown'), byes.join());
});
