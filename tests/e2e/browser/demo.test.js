// The demo page, driven as a person would: two panes of one board, a bad network, conflicts, reloads.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { cell } from '../results.js';
import { newProfile, startWorld } from './harness.js';
import { add, ground, line, list, openBoard, rename, requests, setOffline, settled, state, tick, titles, until } from './board.js';

let world;
before(async () => { world = await startWorld(); });
after(() => world?.stop());

const FERRY = 'Book the ferry to Texel';
const LIGHT = 'Fix the bicycle light';
const TABLES = 'Ask Mira for the tide tables';

cell('tidemark.js', 'demo: an edit shows in the other pane', 'an edit in one pane shows in the other, and the time it took is measured', async (t) => {
  const page = await openBoard(await newProfile(t, world), 'travels');

  await add(page, 'alice', 'Buy stamps');
  await line(page, 'bob', 'Buy stamps');
  await settled(page, 5);
  assert.equal((await titles(page, 'alice')).at(-1), 'Buy stamps');

  await tick(page, 'bob', 'Buy stamps');
  await until(page, () => document.querySelector('#alice .todo:last-child .tick input').checked);
  await rename(page, 'bob', 'Buy stamps', 'Buy ten stamps');
  await line(page, 'alice', 'Buy ten stamps');

  await (await line(page, 'alice', 'Buy ten stamps')).locator('.delete').click();
  await settled(page, 4);

  await until(page, () => Number(document.querySelector('#samples').textContent) === 4);
  for (const id of ['#last', '#median', '#p95']) assert.match(await page.locator(id).textContent(), /^\d+( ms)?$/);
  assert.match(await page.locator('#gauge-chart').getAttribute('aria-label'), /^The last 4 edits: median \d+, p95 \d+ milliseconds$/);
  const seen = await requests(page);
  assert.ok(seen.some((r) => r.who === 'Alice' && r.what === 'push' && r.status === '200' && /1 edit applied/.test(r.carried)), JSON.stringify(seen));
  assert.ok(seen.some((r) => r.who === 'Bob' && /change/.test(r.carried)), JSON.stringify(seen));
});

test('idle pulls are one counted line per person', async (t) => {
  const page = await openBoard(await newProfile(t, world), 'idle');
  await page.locator('#block').check();
  await until(page, () => ['Alice', 'Bob'].every((who) => {
    const [last] = [...document.querySelectorAll('#timeline tr.quiet')].filter(({ cells }) => cells[1].textContent === who && cells[2].textContent === 'pull');
    return last && /^nothing new, ([3-9]|\d\d+) times$/.test(last.cells[4].textContent);
  }));
});

test('the first to-dos are put on a board once, by whichever window comes first, and never again', async (t) => {
  const [one, two] = [await newProfile(t, world), await newProfile(t, world)];
  const pages = await Promise.all([openBoard(one, 'seeds'), openBoard(two, 'seeds')]);
  for (const page of pages) {
    assert.equal(await page.locator('.conflict, .problem').count(), 0);
    assert.deepEqual((await list(page, 'alice')).map((todo) => todo.done), [true, false, false, false]);
  }

  for (let left = 4; left > 0; left--) {
    await pages[0].locator('#alice .todo .delete').first().click();
    await settled(pages[0], left - 1);
  }
  await settled(pages[1], 0);
  await pages[1].reload();
  await settled(pages[1], 0);
  await pages[1].locator('#alice .empty').waitFor();
  const fresh = await openBoard(await newProfile(t, world), 'seeds', 0);
  await fresh.locator('#bob .empty').waitFor();
});

test('two windows of one browser show one board: each person is one client in both', async (t) => {
  const profile = await newProfile(t, world);
  const one = await openBoard(profile, 'windows');
  const two = await openBoard(profile, 'windows');
  await add(one, 'alice', 'From the first window');
  await add(two, 'alice', 'From the second window');
  await settled(one, 6);
  await settled(two, 6);
  assert.deepEqual(new Set((await titles(one, 'bob')).slice(4)), new Set(['From the first window', 'From the second window']));
});

cell('tidemark.js', 'demo: offline and back', 'edits of different fields made apart are merged without a question', async (t) => {
  const page = await openBoard(await newProfile(t, world), 'fields');
  await setOffline(page, 'bob', true);
  await tick(page, 'alice', FERRY);
  await rename(page, 'bob', FERRY, 'Book the early ferry to Texel');
  await state(page, 'alice', 'Up to date');
  assert.deepEqual((await list(page, 'bob'))[1], { title: 'Book the early ferry to Texel', done: false, pending: true });

  await setOffline(page, 'bob', false);
  await settled(page, 4);
  for (const who of ['alice', 'bob']) {
    assert.deepEqual((await list(page, who))[1], { title: 'Book the early ferry to Texel', done: true, pending: false });
  }
  assert.equal(await page.locator('.conflict').count(), 0);
});

cell('tidemark.js', 'demo: three ways out of a conflict', 'a conflict shows base, mine and theirs, and a person chooses', async (t) => {
  const page = await openBoard(await newProfile(t, world), 'conflict');
  await setOffline(page, 'bob', true);
  for (const title of [FERRY, LIGHT, TABLES]) {
    await rename(page, 'alice', title, `${title} today`);
    await rename(page, 'bob', title, `Really ${title.toLowerCase()}`);
  }
  await state(page, 'alice', 'Up to date');
  assert.equal(await page.locator('#bob .state').textContent(), 'Offline, 3 edits waiting');
  assert.equal(await page.locator('.conflict').count(), 0);

  await setOffline(page, 'bob', false);
  await until(page, () => document.querySelectorAll('#bob .conflict').length === 3);
  assert.equal(await page.locator('#bob .state').textContent(), '3 conflicts to settle');
  const card = (await line(page, 'bob', `${FERRY} today`)).locator('.conflict');
  assert.deepEqual(await card.locator('.version-title').allTextContents(), [FERRY, 'Really book the ferry to texel', `${FERRY} today`]);
  assert.equal(await card.locator('.merge input').inputValue(), 'Really book the ferry to texel today');

  await card.locator('.merge input').fill('Really book the ferry today');
  await card.getByRole('button', { name: 'Merge' }).click();
  await (await line(page, 'bob', `${LIGHT} today`)).getByRole('button', { name: 'Keep mine' }).click();
  await (await line(page, 'bob', `${TABLES} today`)).getByRole('button', { name: 'Take theirs' }).click();
  await settled(page, 4);
  for (const who of ['alice', 'bob']) {
    assert.deepEqual((await titles(page, who)).slice(1), ['Really book the ferry today', `${TABLES} today`, 'Really fix the bicycle light']);
  }
});

test('a title changed here and deleted there is a conflict, and can come back', async (t) => {
  const page = await openBoard(await newProfile(t, world), 'deleted');
  await setOffline(page, 'bob', true);
  await rename(page, 'bob', FERRY, 'Book the night ferry');
  await (await line(page, 'alice', FERRY)).locator('.delete').click();
  await state(page, 'alice', 'Up to date');
  await setOffline(page, 'bob', false);
  await page.getByText('You changed this, Alice deleted it').waitFor();
  await page.locator('#bob .conflict').getByRole('button', { name: 'Keep mine' }).click();
  await settled(page, 4);
  assert.equal((await titles(page, 'alice'))[1], 'Book the night ferry');
});

test('a conflict outlives a reload', async (t) => {
  const page = await openBoard(await newProfile(t, world), 'conflict-reload');
  await setOffline(page, 'bob', true);
  await rename(page, 'alice', FERRY, 'Ferry at nine');
  await rename(page, 'bob', FERRY, 'Ferry at ten');
  await state(page, 'alice', 'Up to date');
  await setOffline(page, 'bob', false);
  await page.locator('#bob .conflict').waitFor();
  await page.reload();
  await page.locator('#bob .conflict').getByRole('button', { name: 'Keep mine' }).click();
  await settled(page, 4);
  assert.equal((await titles(page, 'alice'))[1], 'Ferry at ten');
});

cell('tidemark.js', 'demo: reload with offline edits', 'a reload in the middle of offline edits loses nothing', async (t) => {
  const page = await openBoard(await newProfile(t, world), 'reload');
  await setOffline(page, 'alice', true);
  await add(page, 'alice', 'Written offline');
  await rename(page, 'alice', FERRY, 'Book two ferries');
  await tick(page, 'alice', LIGHT);
  await until(page, () => document.querySelectorAll('#alice .todo[data-pending]').length === 3);

  await page.reload();
  await until(page, () => document.querySelectorAll('#alice .todo[data-pending]').length === 3);
  assert.equal(await page.locator('#alice .switch input').isChecked(), true);
  assert.equal(await page.locator('#alice .state').textContent(), 'Offline, 3 edits waiting');
  await until(page, () => document.querySelectorAll('#bob .todo').length === 4);

  await setOffline(page, 'alice', false);
  await settled(page, 5);
  const bob = await list(page, 'bob');
  assert.deepEqual(bob.map((todo) => todo.title).slice(1), ['Book two ferries', TABLES, LIGHT, 'Written offline']);
  assert.equal(bob[3].done, true);
});

test('an edit is kept even if the page is reloaded in the same breath', async (t) => {
  const page = await openBoard(await newProfile(t, world), 'breath');
  await setOffline(page, 'alice', true);
  for (let n = 1; n <= 10; n++) {
    await Promise.all([
      page.waitForEvent('load'),
      page.evaluate((title) => {
        document.querySelector('#alice .add input').value = title;
        document.querySelector('#alice .add').requestSubmit();
        location.reload();
      }, `Edit ${n}`),
    ]);
    await state(page, 'alice', n === 1 ? 'Offline, 1 edit waiting' : `Offline, ${n} edits waiting`);
  }
});

test('a reload while a push is on its way loses nothing and doubles nothing', async (t) => {
  const profile = await newProfile(t, world);
  const page = await openBoard(profile, 'reload-push');
  // The server gets the edit, the page never its answer.
  let reached;
  const arrived = new Promise((resolve) => { reached = resolve; });
  await page.route('**/push', async (route) => {
    await route.fetch();
    reached();
  });
  await add(page, 'alice', 'Sent into the fog');
  await arrived;
  await page.unroute('**/push');
  await page.reload();
  await settled(page, 5);
  assert.equal((await titles(page, 'alice')).filter((title) => title === 'Sent into the fog').length, 1);
  assert.equal(await page.locator('.conflict, .problem').count(), 0);
});

cell('tidemark.js', 'demo: lost answer', 'a lost answer heals without a second effect', async (t) => {
  const page = await openBoard(await newProfile(t, world, { expected: [/ERR_FAILED/] }), 'lost');
  let lost = 0;
  await page.route('**/push', async (route) => {
    if (lost++ > 0) return route.continue();
    await route.fetch();
    await route.abort();
  });
  const id = await (await line(page, 'alice', FERRY)).getAttribute('data-id');
  await rename(page, 'alice', FERRY, 'Book three ferries');
  await until(page, () => document.querySelector('#alice .state').dataset.tone === 'bad');
  const document = await (await page.request.get(`/v1/spaces/lost/documents/todos/${id}`)).json();
  assert.equal(document.data.title, 'Book three ferries');
  await settled(page, 4);
  assert.equal((await titles(page, 'bob'))[1], 'Book three ferries');
  const again = await (await page.request.get(`/v1/spaces/lost/documents/todos/${id}`)).json();
  assert.equal(again.version, document.version);
  assert.ok((await requests(page)).some((r) => r.status === 'lost'));
});

test('a 503 from the server heals', async (t) => {
  const page = await openBoard(await newProfile(t, world, { expected: [/status of 503/] }), 'unavailable');
  let refused = 0;
  await page.route('**/push', (route) => (refused++ === 0 ? route.fulfill({
    status: 503,
    headers: { 'Retry-After': '1' },
    contentType: 'application/problem+json',
    body: JSON.stringify({ type: '/problems/unavailable', title: 'Unavailable', status: 503, code: 'unavailable' }),
  }) : route.continue()));
  await add(page, 'bob', 'After the storm');
  await state(page, 'bob', 'Server away, trying again, 1 edit waiting');
  await settled(page, 5);
  assert.equal((await titles(page, 'alice')).at(-1), 'After the storm');
});

cell('tidemark.js', 'demo: 410 with unsent edits kept', 'break it, 410: both start again from a snapshot and keep what they have not sent', async (t) => {
  const page = await openBoard(await newProfile(t, world), 'break-410');
  await setOffline(page, 'bob', true);
  await add(page, 'bob', 'Not sent yet');
  await rename(page, 'alice', FERRY, 'Book a ferry');
  await state(page, 'alice', 'Up to date');

  await page.locator('#break-cursor').click();
  await until(page, () => [...document.querySelectorAll('#timeline tr')].some((row) => row.cells[1].textContent === 'Alice' && row.cells[3].textContent === '410'));
  await setOffline(page, 'bob', false);
  await until(page, () => [...document.querySelectorAll('#timeline tr')].some((row) => row.cells[1].textContent === 'Bob' && row.cells[3].textContent === '410'));
  await settled(page, 5);
  assert.deepEqual((await titles(page, 'alice')).slice(1), ['Book a ferry', TABLES, LIGHT, 'Not sent yet']);
  const seen = await requests(page);
  for (const who of ['Alice', 'Bob']) {
    const expired = seen.findIndex((r) => r.who === who && r.status === '410');
    assert.ok(seen.slice(0, expired).some((r) => r.who === who && /^snapshot/.test(r.carried)), JSON.stringify(seen));
  }
});

cell('tidemark.js', 'demo: 429', 'break it, 429: refused once, then through', async (t) => {
  const page = await openBoard(await newProfile(t, world), 'break-429');
  await page.locator('#break-rate').click();
  await until(page, () => ['Alice', 'Bob'].every((who) => [...document.querySelectorAll('#timeline tr')]
    .some((row) => row.cells[1].textContent === who && row.cells[3].textContent === '429')));
  await add(page, 'alice', 'Patience');
  await settled(page, 5);
  assert.equal(await page.locator('#break-rate[data-armed]').count(), 0);
});

cell('tidemark.js', 'demo: server away and back', 'break it, 503: edits wait while the server is away', async (t) => {
  const page = await openBoard(await newProfile(t, world), 'break-503');
  const away = page.getByRole('button', { name: 'Take the server away' });
  await away.click();
  assert.equal(await away.getAttribute('aria-pressed'), 'true');
  await add(page, 'alice', 'Written in the dark');
  await state(page, 'alice', 'Server away, trying again, 1 edit waiting');
  assert.equal((await list(page, 'alice')).at(-1).pending, true);
  assert.equal((await list(page, 'bob')).length, 4);
  await away.click();
  await settled(page, 5);
});

test('the network delay holds requests back', async (t) => {
  const page = await openBoard(await newProfile(t, world), 'delay');
  await page.locator('#delay').fill('400');
  assert.equal(await page.locator('#delay-value').textContent(), '400 ms');
  await add(page, 'alice', 'Slowly');
  await settled(page, 5);
  const pushes = await page.locator('#timeline tr').evaluateAll((rows) => rows
    .filter((row) => row.cells[2].textContent === 'push' && row.cells[1].textContent === 'Alice')
    .map((row) => Number(row.cells[5].textContent)));
  assert.ok(pushes[0] >= 395, `push took ${pushes[0]} ms`);
});

test('changes that arrive leave focus, caret and unfinished words alone', async (t) => {
  const page = await openBoard(await newProfile(t, world), 'caret');
  const input = (await line(page, 'bob', TABLES)).locator('.title');
  await input.focus();
  await page.keyboard.press('Home');
  await page.keyboard.type('Please ');

  const held = () => page.evaluate(() => {
    const { value, selectionStart } = document.activeElement;
    return { value, selectionStart, pane: document.activeElement.closest('.pane')?.id };
  });
  const before = { value: `Please ${TABLES}`, selectionStart: 7, pane: 'bob' };
  assert.deepEqual(await held(), before);

  // Elsewhere in the list, and in the very line; by the client, since a click in the other pane would take the focus.
  await page.evaluate(async ([ferry, tables]) => {
    const { connect } = await import('/tidemark.js');
    const eve = connect({ url: '', space: 'caret', store: 'memory' });
    await eve.pull();
    const todos = eve.collection('todos');
    const find = (title) => todos.getSnapshot().find((item) => item.data.title === title).id;
    todos.merge(find(tables), { title: 'Ask Mira tomorrow' });
    todos.delete(find(ferry));
    todos.put('00000000-0000-7000-8000-00000000000f', { title: 'Between the others', done: false });
    await eve.push();
    await eve.close();
  }, [FERRY, TABLES]);
  await line(page, 'bob', 'Between the others');
  await page.locator('#bob .meanwhile:visible').waitFor();
  assert.deepEqual(await held(), before);
  assert.match(await page.locator('#bob .meanwhile:visible').textContent(), /Ask Mira tomorrow/);

  await page.keyboard.press('Escape');
  assert.equal((await held()).value, 'Ask Mira tomorrow');
  assert.equal(await page.locator('#bob .meanwhile:visible').count(), 0);
});

test('everything works from the keyboard and has a name', async (t) => {
  const page = await openBoard(await newProfile(t, world), 'keyboard');
  const nameless = await page.evaluate(() => [...document.querySelectorAll('button, input, a, [role="region"]')]
    .filter((node) => !(node.getAttribute('aria-label') || node.getAttribute('aria-labelledby') || node.labels?.[0]?.textContent.trim() || node.textContent.trim()))
    .map((node) => node.outerHTML));
  assert.deepEqual(nameless, []);

  await page.locator('#alice .switch input').focus();
  await page.keyboard.press('Space');
  assert.equal(await page.locator('#alice .state').textContent(), 'Offline');
  await page.keyboard.press('Tab'); // the first tick
  await page.keyboard.press('Tab'); // its title
  await page.keyboard.press('End');
  await page.keyboard.type(', twice');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab'); // its delete button
  const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(ring, 'solid');
  await page.keyboard.press('Enter');
  await until(page, () => document.querySelectorAll('#alice .todo').length === 3);
  assert.equal(await page.evaluate(() => document.activeElement.closest('.todo')?.dataset.id), '00000000-0000-7000-8000-000000000002');
});

test('a phone gets one column and nothing sticks out', async (t) => {
  const page = await openBoard(await newProfile(t, world, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }), 'phone');
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.equal(width, 390);
  const [alice, bob] = [await page.locator('#alice').boundingBox(), await page.locator('#bob').boundingBox()];
  assert.equal(alice.x, bob.x);
  assert.ok(bob.y >= alice.y + alice.height);
});

test('light and dark follow the system, and the button overrides it for good', async (t) => {
  const page = await openBoard(await newProfile(t, world, { colorScheme: 'dark' }), 'theme');
  await ground(page, 'dark');
  await page.emulateMedia({ colorScheme: 'light' });
  await ground(page, 'light');
  await page.getByRole('button', { name: 'Switch between light and dark' }).click();
  await ground(page, 'dark');
  await page.reload();
  await ground(page, 'dark');
});
