// How changes come to the demo page: by the stream, by polls where there is none, and through nginx and restarts.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { newProfile, startWorld } from './harness.js';
import { startNginx, startNode } from './nodes.js';
import { add, line, openBoard, requests, setOffline, settled, until } from './board.js';

let world;
let cluster;
before(async () => {
  world = await startWorld();
  const nodes = [await startNode(), await startNode()];
  const nginx = await startNginx(nodes.map(({ host }) => host));
  cluster = { ...world, origin: nginx.origin, nodes, stop: () => Promise.all([nginx, ...nodes].map((part) => part.stop())) };
});
after(() => Promise.all([world?.stop(), cluster?.stop()]));

/** Waits until both panes say that changes come this way. */
const comeBy = (page, transport) => until(page, (wanted) => [...document.querySelectorAll('.pane .transport')]
  .every((node) => node.textContent === wanted), transport);

/** The polls that a page makes from now on. */
function pollsOf(page) {
  const polls = [];
  page.on('request', (request) => { if (request.url().includes('/changes')) polls.push(request.url()); });
  return polls;
}

/** An edit on each side, seen by the other. */
async function talk(page, words) {
  for (const [who, other] of [['alice', 'bob'], ['bob', 'alice']]) {
    await add(page, who, `${words}, says ${who}`);
    await line(page, other, `${words}, says ${who}`);
  }
}

test('the stream brings what the other does; no poll is made', async (t) => {
  const page = await openBoard(await newProfile(t, world), 'by-stream');
  await comeBy(page, 'stream');
  const polls = pollsOf(page);
  await talk(page, 'Live');
  await settled(page, 6);
  assert.deepEqual(polls, []);
  const seen = await requests(page);
  for (const who of ['Alice', 'Bob']) {
    assert.ok(seen.some((r) => r.who === who && r.what === 'stream' && r.status === 'event' && r.carried === '1 change'), JSON.stringify(seen));
  }
});

for (const [how, block, expected] of [
  ['refused', (route) => route.fulfill({ status: 403, contentType: 'text/html', body: '<h1>No streams here</h1>' }), [/status of 403/]],
  ['cut off', (route) => route.abort(), [/ERR_FAILED/]],
  ['never answered', () => {}, []],
]) {
  test(`a stream that is ${how}: the page polls, and takes the stream when it can be had`, async (t) => {
    const space = `blocked-${how.replaceAll(' ', '-')}`;
    const profile = await newProfile(t, world, { expected });
    let tried = 0;
    await profile.route('**/stream?**', (route) => {
      tried++;
      return block(route);
    });
    const page = await openBoard(profile, space);
    const polls = pollsOf(page);
    await talk(page, 'By poll');
    await settled(page, 6);
    await comeBy(page, 'polling');
    assert.ok(tried >= 2, 'both clients have asked for it');
    assert.ok(polls.length > 0);
    await profile.unroute('**/stream?**');
    await page.reload();
    await comeBy(page, 'stream');
    const before = polls.length;
    await talk(page, 'By stream');
    await settled(page, 8);
    assert.ok(polls.length - before === 0, `${polls.length - before} polls`);
  });
}

test('the switch: blocked, both poll; let through, both stream', async (t) => {
  const page = await openBoard(await newProfile(t, world), 'switch');
  await comeBy(page, 'stream');
  await page.locator('#block').check();
  await comeBy(page, 'polling');
  await talk(page, 'Blocked');
  assert.ok((await requests(page)).some((r) => r.what === 'pull' && /change/.test(r.carried)));
  await page.locator('#block').uncheck();
  await comeBy(page, 'stream');
  const polls = pollsOf(page);
  await talk(page, 'Let through');
  await settled(page, 8);
  assert.deepEqual(polls, []);
});

test('offline ends the stream, and coming back opens it', async (t) => {
  const page = await openBoard(await newProfile(t, world), 'stream-offline');
  await comeBy(page, 'stream');
  await setOffline(page, 'bob', true);
  await until(page, () => document.querySelector('#bob .transport').textContent === '');
  await add(page, 'alice', 'While Bob was away');
  await setOffline(page, 'bob', false);
  await comeBy(page, 'stream');
  await settled(page, 5);
});

test('who is here: each sees the other, and who comes and goes in another window', async (t) => {
  const faces = (page, who, wanted) => until(page, ([pane, names]) => [...document.querySelectorAll(`#${pane} .others .face`)]
    .map((face) => face.getAttribute('aria-label')).sort().join() === names, [who, wanted]);
  const page = await openBoard(await newProfile(t, world), 'presence');
  await faces(page, 'alice', 'Bob');
  await faces(page, 'bob', 'Alice');
  const other = await openBoard(await newProfile(t, world), 'presence');
  await faces(page, 'alice', 'Alice,Bob,Bob');
  await faces(other, 'bob', 'Alice,Alice,Bob');
  await other.goto('about:blank');
  await faces(page, 'alice', 'Bob');
});

test('through nginx as it comes: the stream, and no poll', async (t) => {
  const page = await openBoard(await newProfile(t, cluster), 'nginx');
  await comeBy(page, 'stream');
  const polls = pollsOf(page);
  await talk(page, 'Through nginx');
  await settled(page, 6);
  assert.deepEqual(polls, []);
});

test('each node is restarted under the page: nothing is lost, and the stream comes back', async (t) => {
  const profile = await newProfile(t, cluster, { expected: [/status of 50\d/, /ERR_/] });
  const page = await openBoard(profile, 'restarts');
  await comeBy(page, 'stream');
  let edits = 0;
  for (const node of cluster.nodes) {
    const restarted = node.restart();
    await add(page, 'alice', `Alice ${++edits}`);
    await add(page, 'bob', `Bob ${edits}`);
    await restarted;
    await settled(page, 4 + 2 * edits);
    await comeBy(page, 'stream');
  }
  assert.equal(await page.locator('.conflict, .problem').count(), 0);
});
