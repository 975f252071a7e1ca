// The gallery: every example in two browsers, as two people would use it. Each test leaves a picture of its page, and the
// last one makes of them what README shows.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFile, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { io } from 'socket.io-client';
import * as Y from 'yjs';
import { record } from '../results.js';
import { PATIENCE, newFolder, run } from '../server.js';
import { ground, until } from './board.js';
import { newProfile, startWorld } from './harness.js';

let world;
before(async () => { world = await startWorld(); });
after(() => world?.stop());

const contexts = new Map(); // name of an example -> its test

/** The test of an example: with two browsers, and without a complaint of either. */
function example(name, title, run) {
  test(title, (t) => {
    contexts.set(name, t);
    return run(t);
  });
}

after(() => contexts.forEach((t, name) => record(`gallery ${name}`, 'two browsers', t.passed ? 'ok' : 'failed')));

/** One page of the gallery, as that person sees it, once its source is shown. */
async function open(t, name, as, options = {}) {
  const page = await (await newProfile(t, world, options)).newPage();
  await page.goto(`/gallery/${name}?${new URLSearchParams({ as, ...options.query })}`);
  await page.locator('.listing').last().waitFor();
  return page;
}

/** The same page in two browsers: Ada's and Ben's. */
const two = (t, name, options) => Promise.all(['Ada', 'Ben'].map((as) => open(t, name, as, options)));

/** Waits until the page shows exactly these texts in those places. */
const shows = (page, selector, wanted) => until(page, ([places, texts]) => {
  const found = [...document.querySelectorAll(places)].map((node) => node.innerText.trim());
  return JSON.stringify(found) === JSON.stringify(texts);
}, [selector, wanted]).catch(async (error) => {
  assert.deepEqual(await page.locator(selector).allInnerTexts(), wanted);
  throw error;
});

/** Waits until the function gives something true. */
async function eventually(what, condition) {
  for (const late = Date.now() + PATIENCE; !await condition();) assert.ok(Date.now() < late, `not within ${PATIENCE} ms: ${what}`);
}

const pictures = new Map(); // name of an example -> its page in light and in dark

/** Takes the pictures of a page that is at rest. */
async function picture(page, name) {
  await page.evaluate(() => document.activeElement?.blur());
  const taken = {};
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await ground(page, colorScheme);
    taken[colorScheme] = await page.screenshot({ animations: 'disabled', caret: 'hide' });
  }
  pictures.set(name, taken);
}

test('the demo leads to the gallery, and the gallery to every example', async (t) => {
  const page = await (await newProfile(t, world)).newPage();
  await page.goto('/?space=to-the-gallery');
  await page.getByRole('link', { name: 'Gallery', exact: true }).click();
  await page.waitForURL('**/gallery/');
  await page.locator('.top').waitFor();
  for (const name of await examples()) {
    await page.locator(`.needs a[href="${name}"]`).click();
    await page.locator('.listing').last().waitFor();
    assert.match(await page.title(), /· Tidemark gallery$/);
    await page.getByRole('link', { name: 'Gallery', exact: true }).click();
    await page.waitForURL('**/gallery/');
  }
  assert.equal((await fetch(`${world.origin}/gallery`)).url, `${world.origin}/gallery/`);
});

/** The names of all examples, from the index. */
async function examples() {
  const index = await (await fetch(`${world.origin}/gallery/`)).text();
  return [...index.matchAll(/<li><a href="(\w+)">/g)].map(([, name]) => name);
}

test('each example has at most 40 lines of app code, and its page shows all that it imports', async (t) => {
  const names = await examples();
  assert.equal(new Set(names).size, names.length);
  const readme = await readFile(new URL('../../../README.md', import.meta.url), 'utf8');
  const lenders = readme.split('\n\n').find((paragraph) => paragraph.includes('What they borrow'));
  for (const name of names) {
    const page = await open(t, name, 'Ada');
    const borrowed = (await page.locator('.source').getAttribute('data-borrowed'))?.split(' ') ?? [];
    const imports = new Set();
    const files = [];
    let app = 0;
    for (const listing of await page.locator('.listing').all()) {
      const [file, shown] = [await listing.locator('h3').evaluate((h) => h.firstChild.textContent), await listing.locator('code').textContent()];
      const served = await (await fetch(`${world.origin}/gallery/${file.replace('.html', '')}`)).text();
      const lines = shown.split('\n');
      files.push(file);
      for (const [, module] of shown.matchAll(/ from "\.\/([\w.]+)"/g)) imports.add(module);
      if (file === `${name}.html`) {
        assert.ok(lines.length <= 20, `${file}: ${lines.length} lines`);
        assert.ok(served.replace(/^ +/gm, '').includes(shown.replace(/^ +/gm, '')), `${file} is not what is shown`);
      } else {
        const most = file === 'bridge.mjs' ? 30 : 40;
        const code = lines.filter((line) => !/^\s*(\/\/|#|$)/.test(line));
        assert.ok(lines.length <= 40 && code.length <= most, `${file}: ${lines.length} lines`);
        assert.equal(`${shown}\n`, served, `${file} is not what is shown`);
        if (borrowed.includes(file)) assert.ok(lenders.includes(`[${file}]`), `README does not say that ${file} is borrowed`);
        else if (file.endsWith('.js')) app += lines.filter((line) => line.trim()).length; // what is no .js is a program of its own
      }
      for (const line of lines) assert.ok(line.length <= 93, `${file}: a line of ${line.length}: ${line}`);
    }
    assert.ok(app <= 40, `${name}: ${app} lines of script`);
    assert.ok(files.includes(`${name}.js`) && files.includes(`${name}.html`), `${name} shows ${files}`);
    // The frame says who one is; the bridge's copy of the client is on its page.
    for (const module of imports) assert.ok([...files, 'gallery.js', 'tidemark.mjs'].includes(module), `${name} imports ${module}, which it does not show`);
  }
});

test('on a phone nothing is wider than the screen', async (t) => {
  const profile = await newProfile(t, world, { viewport: { width: 360, height: 740 } });
  const page = await profile.newPage();
  for (const name of ['', ...await examples()]) {
    await page.goto(`/gallery/${name}`);
    await page.locator(name ? '.listing' : '.top').last().waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360, name);
  }
});

example('badge', 'badge: what is posted in one browser is a dot in the other, until it was looked at', async (t) => {
  const [ada, ben] = await two(t, 'badge');
  for (const page of [ada, ben]) await shows(page, 'output', ['News in 3 of 5']);
  await picture(ben, 'badge');

  for (const room of ['Harbour', 'Ferry', 'Kitchen']) await ben.getByRole('button', { name: room }).click();
  await shows(ben, 'output', ['News in 0 of 5']);
  await ada.locator('li', { hasText: 'Dunes' }).getByRole('button', { name: 'Post' }).click();
  await shows(ben, 'output', ['News in 1 of 5']);
  await shows(ben, '.news', ['Dunes\nPost']);
  await shows(ada, 'output', ['News in 4 of 5']);

  await ben.reload();
  await shows(ben, '.news', ['Dunes\nPost']);
  await ben.getByRole('button', { name: 'Dunes' }).click();
  await shows(ben, 'output', ['News in 0 of 5']);
});

example('list', 'list: added, ticked and deleted in one browser, seen in the other', async (t) => {
  const [ada, ben] = await two(t, 'list');
  const first = ['Two loaves of rye', 'Oat milk, and coffee', 'Lamp oil'];
  for (const page of [ada, ben]) await shows(page, 'li span', first);

  await ada.locator('form input').fill('Tar for the hull');
  await ada.keyboard.press('Enter');
  for (const page of [ada, ben]) await shows(page, 'li span', [...first, 'Tar for the hull']);
  await ben.getByRole('checkbox', { name: 'Tar for the hull' }).check();
  await until(ada, () => document.querySelector('li:last-child input').checked);
  await ada.locator('li', { hasText: 'Lamp oil' }).getByRole('button', { name: 'Delete' }).click();
  await shows(ben, 'li span', ['Two loaves of rye', 'Oat milk, and coffee', 'Tar for the hull']);
  for (const page of [ada, ben]) await shows(page, 'output', ['All sent']);
  await picture(ben, 'list');
});

example('comments', 'comments: a reply stands under its comment, and a deleted one leaves its place', async (t) => {
  const [ada, ben] = await two(t, 'comments');
  for (const page of [ada, ben]) await shows(page, 'li b', ['Cleo', 'Dev', 'Elif']);

  await ada.locator('textarea').fill('The first one is far too early.');
  await ada.getByRole('button', { name: 'Comment' }).click();
  await shows(ben, 'li b', ['Cleo', 'Dev', 'Elif', 'Ada']);
  await ben.locator('li', { hasText: 'Cleo' }).getByRole('button', { name: 'Reply' }).click();
  assert.equal(await ben.locator('textarea').getAttribute('placeholder'), 'Reply to Cleo');
  await ben.keyboard.type('It leaves when the bus is there.');
  await ben.getByRole('button', { name: 'Comment' }).click();
  await shows(ada, 'li b', ['Cleo', 'Ben', 'Dev', 'Elif', 'Ada']);
  await shows(ada, 'li.reply b', ['Ben', 'Elif']);
  await picture(ada, 'comments');

  assert.equal(await ben.locator('li', { hasText: 'too early' }).getByRole('button', { name: 'Delete' }).count(), 0, 'not his');
  await ada.locator('li', { hasText: 'too early' }).getByRole('button', { name: 'Delete' }).click();
  await shows(ben, 'li.gone p', ['Deleted.']);
  await shows(ben, 'li b', ['Cleo', 'Ben', 'Dev', 'Elif', 'Ada']);
});

example('form', 'form: two fields are merged, the third is asked about, in one browser only', async (t) => {
  const [ada, ben] = await two(t, 'form');
  const field = (page, name) => page.locator(`[name="${name}"]`);
  const holds = (page, name, value) => until(page, ([of, wanted]) => document.querySelector(`[name="${of}"]`).value === wanted, [name, value]);
  const fill = async (page, name, value) => {
    await field(page, name).fill(value);
    await field(page, name).blur();
  };
  for (const page of [ada, ben]) await holds(page, 'guest', 'Mira Dijkstra');

  await ada.getByLabel('Offline').check();
  await fill(ada, 'guest', 'Mira Dijkstra-Bos');
  await fill(ada, 'notes', 'Two bicycles and a dog.');
  await fill(ada, 'ferry', 'the late one');
  await shows(ada, 'output', ['3 to send']);
  await fill(ben, 'guest', 'M. Dijkstra and family');
  await fill(ben, 'telephone', '0222 555 099');
  await fill(ben, 'ferry', 'the early one');
  await shows(ben, 'output', ['All saved']);
  await holds(ben, 'notes', 'Two bicycles.');

  await ada.getByLabel('Offline').uncheck();
  await shows(ada, '.clash:not([hidden]) b', ['M. Dijkstra and family', 'the early one']);
  await shows(ada, 'output', ['Not settled yet']);
  await holds(ada, 'telephone', '0222 555 099');
  await holds(ada, 'guest', 'Mira Dijkstra-Bos');
  assert.equal(await ben.locator('.clash:not([hidden])').count(), 0);
  await picture(ada, 'form');

  await ada.locator('label:has([name="guest"]) + .clash').getByRole('button', { name: 'Keep mine' }).click();
  await shows(ada, '.clash:not([hidden]) b', ['the early one']);
  await ada.getByRole('button', { name: 'Take theirs' }).click();
  for (const page of [ada, ben]) {
    await holds(page, 'guest', 'Mira Dijkstra-Bos');
    await holds(page, 'telephone', '0222 555 099');
    await holds(page, 'ferry', 'the early one');
    await holds(page, 'notes', 'Two bicycles and a dog.');
    await shows(page, 'output', ['All saved']);
    await shows(page, '.clash:not([hidden])', []);
  }
});

example('presence', 'presence: who is there, and where they point', async (t) => {
  const [ada, ben] = await two(t, 'presence');
  await until(ada, () => [...document.querySelectorAll('.here li')].map((li) => li.textContent).sort().join() === 'Ada,Ben');
  await shows(ada, '.sea i', []);

  const pointTo = async (page, x, y) => {
    const box = await page.locator('.sea').boundingBox();
    await page.mouse.move(box.x + x * box.width, box.y + y * box.height, { steps: 5 });
  };
  const at = (page, name, x, y) => until(page, ([who, left, top]) => {
    const cursor = [...document.querySelectorAll('.sea i')].find((i) => i.textContent === who);
    return cursor && Math.abs(parseFloat(cursor.style.left) - left) < 1 && Math.abs(parseFloat(cursor.style.top) - top) < 1;
  }, [name, 100 * x, 100 * y]);
  await pointTo(ada, 0.25, 0.5);
  await at(ben, 'Ada', 0.25, 0.5);
  await pointTo(ada, 0.6, 0.3);
  await pointTo(ben, 0.2, 0.7);
  await at(ben, 'Ada', 0.6, 0.3);
  await at(ada, 'Ben', 0.2, 0.7);
  const cleo = await open(t, 'presence', 'Cleo');
  await pointTo(cleo, 0.4, 0.15);
  await at(ada, 'Cleo', 0.4, 0.15);
  await picture(ada, 'presence');

  await cleo.goto('about:blank');
  await shows(ada, '.sea i', ['Ben']);
  await ben.mouse.move(0, 0);
  await shows(ada, '.sea i', []);
  await until(ada, () => [...document.querySelectorAll('.here li')].map((li) => li.textContent).sort().join() === 'Ada,Ben');
});

example('chat', 'chat: a message arrives at once, the days before when they are asked for', async (t) => {
  // A store that followed other collections starts again: the browser logs the 410.
  const [ada, ben] = await two(t, 'chat', { expected: [/status of 410/] });
  const day = (ago) => new Date(Date.now() - ago * 86_400_000).toISOString().slice(0, 10);
  const today = day(0);
  const say = async (page, text) => {
    await page.locator('form input').fill(text);
    await page.keyboard.press('Enter');
  };
  await say(ada, 'Is the kayak down?');
  await shows(ben, 'li p', ['', 'Is the kayak down?']);
  await say(ben, 'Tomorrow, with Finn and a ladder.');
  await shows(ada, 'li b', [today, 'Ada', 'Ben']);

  // Nothing of the days before has been fetched yet, and the last thing said is in sight.
  const asked = [];
  ben.on('request', (request) => asked.push(new URL(request.url()).searchParams.get('collections')));
  const begins = () => ben.locator('li:has(time:empty) b').allInnerTexts();
  await ben.getByRole('button', { name: 'Earlier' }).click();
  await ben.getByText('It is in a tree.').waitFor();
  assert.deepEqual(await begins(), [day(1), today]);
  assert.equal(await ben.getByText('Which one?').count(), 0);
  await picture(ben, 'chat');
  await ben.getByRole('button', { name: 'Earlier' }).click();
  await ben.getByText('Which one?').waitFor();
  await ben.getByRole('button', { name: 'Earlier' }).click();
  await ben.getByText('The barometer fell').waitFor();
  assert.deepEqual(await begins(), [day(3), day(2), day(1), today]);
  await ben.getByRole('button', { name: 'Earlier' }).waitFor({ state: 'hidden' });
  assert.deepEqual(asked.filter((name) => name !== `days,${today}`), [day(1), day(2), day(3)]);

  // And what is said now still comes, below all of that.
  await say(ada, 'I will bring the ladder.');
  await until(ben, () => document.querySelector('.feed li:last-child p').textContent === 'I will bring the ladder.');
  assert.equal(await ben.locator('.feed li').count(), 4 + 6 + 7 + 6 + 3);

  // Tomorrow, in a browser that was here today: the page follows another collection, and today's is history.
  const tomorrow = await ada.context().newPage();
  await ada.close();
  await tomorrow.clock.setSystemTime(Date.now() + 86_400_000);
  await tomorrow.goto('/gallery/chat');
  await tomorrow.getByRole('button', { name: 'Earlier' }).waitFor();
  await shows(tomorrow, 'li b', [day(-1)]);
  await tomorrow.getByRole('button', { name: 'Earlier' }).click();
  await shows(tomorrow, 'li b', [today, 'Ada', 'Ben', 'Ada', day(-1)]);
});

example('dashboard', 'dashboard: what one window feeds moves the charts in the other', async (t) => {
  const [ada, ben] = await two(t, 'dashboard');
  const lines = (page) => page.locator('polyline').evaluateAll((all) => all.map((line) => line.getAttribute('points')));
  for (const page of [ada, ben]) await shows(page, 'h2', ['Texel', 'Harlingen', 'Delfzijl', 'Vlissingen']);
  const before = await lines(ben);
  assert.deepEqual(await lines(ada), before);
  for (const line of before) assert.equal(line.split(' ').length, 60);

  await ada.getByRole('switch').check();
  await until(ben, (was) => [...document.querySelectorAll('polyline')].every((line, i) => line.getAttribute('points') !== was[i]), before);
  await ada.getByRole('switch').uncheck();
  await eventually('both show the same', async () => JSON.stringify(await lines(ada)) === JSON.stringify(await lines(ben)));
  for (const [i, line] of (await lines(ben)).entries()) {
    assert.equal(line.split(' ').length, 60);
    const [last] = line.split(' ').slice(-1);
    assert.equal(`59,${-Number(await ben.locator('.charts b').nth(i).innerText())}`, last);
  }
  await picture(ben, 'dashboard');
});

example('yjs', 'yjs: two type at once, a third by itself in Node, and many updates become one', async (t) => {
  const [ada, ben] = await two(t, 'yjs');
  const area = 'textarea';
  const reads = (page, wanted) => until(page, (text) => document.querySelector('textarea').value === text, wanted).catch(async () => {
    assert.equal(await page.locator(area).inputValue(), wanted);
  });
  const seeded = 'Walking across to the island\n\nLow water is at a quarter past four. We leave the dike at two, in boots, and are back before the light goes.\n\n';
  for (const page of [ada, ben]) await reads(page, seeded);

  // Both in one text, at the same time, at different places; an emoji is two of JavaScript's letters.
  await ada.locator(area).focus();
  await ada.keyboard.press('Control+Home');
  await ben.locator(area).focus();
  await ben.keyboard.press('Control+End');
  await Promise.all([
    ada.keyboard.type('Saturday: ', { delay: 15 }),
    ben.keyboard.type('Bring a whistle \u{1F30A}', { delay: 15 }),
  ]);
  await reads(ada, `Saturday: ${seeded}Bring a whistle \u{1F30A}`);
  await reads(ben, `Saturday: ${seeded}Bring a whistle \u{1F30A}`);
  // Their carets have stayed where they were.
  await ada.keyboard.type('7 am, ');
  await ben.keyboard.press('Backspace');
  await ben.keyboard.type('\u{1F30D}.');
  const text = `Saturday: 7 am, ${seeded}Bring a whistle \u{1F30D}.`;
  for (const page of [ada, ben]) await reads(page, text);

  // Yjs as it is on npm, with nothing but fetch.
  const space = `${world.origin}/v1/spaces/gallery-yjs`;
  const load = async () => {
    const doc = new Y.Doc();
    const page = await (await fetch(`${space}/changes?collections=updates&limit=1000`)).json();
    for (const { data } of page.changes) Y.applyUpdate(doc, Buffer.from(data.update, 'base64'));
    return { doc, count: page.changes.length };
  };
  await shows(ada, 'output', [`Characters: ${text.length}. Updates: ${(await load()).count}.`]);
  const { doc } = await load();
  assert.equal(doc.getText('text').toString(), text);
  const before = Y.encodeStateVector(doc);
  doc.getText('text').insert(0, 'PS. ');
  await pushTo('gallery-yjs', { op: 'put', collection: 'updates', id: 'from-node', base_version: 0,
    data: { update: Buffer.from(Y.encodeStateAsUpdate(doc, before)).toString('base64') } });
  for (const page of [ada, ben]) await reads(page, `PS. ${text}`);
  await picture(ben, 'yjs');

  // Each letter typed is an update; a text of very many of them is one after that.
  await ben.locator(area).focus();
  await ben.keyboard.press('Control+End');
  await ben.keyboard.type(' And a flask of tea, hot, for each of those who walk with us.');
  const whole = `PS. ${text} And a flask of tea, hot, for each of those who walk with us.`;
  await reads(ada, whole);
  await eventually('the updates became one', async () => (await load()).count < 50);
  assert.equal((await load()).doc.getText('text').toString(), whole);
  await reads(await open(t, 'yjs', 'Cleo'), whole);
});

/** Pushes one edit as a client that is no browser. */
async function pushTo(space, edit) {
  const answer = await fetch(`${world.origin}/v1/spaces/${space}/push`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ client_id: 'test', edits: [{ edit_id: randomUUID(), ...edit }] }),
  });
  const { results: [{ status }] } = await answer.json();
  assert.equal(status, 'applied');
}

/** Runs the bridge as its page says, from what the server serves; only npm's packages are there already. */
async function startBridge(t) {
  const folder = await newFolder();
  t.after(() => folder.remove());
  for (const [from, to] of [['tidemark.js', 'tidemark.mjs'], ['gallery/bridge.mjs', 'bridge.mjs']]) {
    await writeFile(join(folder.path, to), await (await fetch(`${world.origin}/${from}`)).text());
  }
  await symlink(fileURLToPath(new URL('../node_modules', import.meta.url)), join(folder.path, 'node_modules'));
  const port = await freePort();
  const bridge = run(process.execPath, ['bridge.mjs', world.origin, String(port)], { cwd: folder.path });
  t.after(() => bridge.stop());
  const origin = `http://127.0.0.1:${port}`;
  let ended = false;
  bridge.gone.then(() => { ended = true; });
  await eventually('the bridge answers', async () => {
    assert.ok(!ended, bridge.log);
    return (await fetch(`${origin}/socket.io/?EIO=4&transport=polling`).catch(() => null))?.ok;
  });
  return origin;
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

example('socketio', 'Socket.IO: browsers talk to the bridge alone, and Tidemark has it all', async (t) => {
  const bridge = await startBridge(t);
  const pages = await two(t, 'socketio', { beside: [bridge] });
  const [ada, ben] = pages;
  for (const page of pages) {
    await page.locator('[name="bridge"]').fill(bridge);
    await page.getByRole('button', { name: 'Connect' }).click();
    await shows(page, 'li span', ['Lamp oil', 'Flour', 'Rope']);
    await shows(page, 'li b', ['North', 'North', 'South']);
  }
  await ada.locator('li', { hasText: 'Flour' }).getByRole('button').click();
  for (const page of pages) await shows(page, 'li b', ['North', 'South', 'South']);
  await shows(ada, 'output', ['Flour: applied']);
  await ben.locator('li', { hasText: 'Flour' }).getByRole('button').click();
  for (const page of pages) await shows(page, 'li b', ['North', 'North', 'South']);
  await picture(ben, 'socketio');

  // What others push to Tidemark comes to the sockets, and what they push is in Tidemark.
  await pushTo('gallery-bridge', { op: 'put', collection: 'crates', id: 'tar', base_version: 0, data: { name: 'Tar', quay: 'South' } });
  for (const page of pages) await shows(page, 'li span', ['Lamp oil', 'Flour', 'Rope', 'Tar']);
  await ben.locator('li', { hasText: 'Tar' }).getByRole('button').click();
  await shows(ada, 'li b', ['North', 'North', 'South', 'North']);
  const stored = await fetch(`${world.origin}/v1/spaces/gallery-bridge/documents/crates/tar`);
  assert.equal((await stored.json()).data.quay, 'North');
  await pushTo('gallery-bridge', { op: 'delete', collection: 'crates', id: 'tar', force: true });
  for (const page of pages) await shows(page, 'li span', ['Lamp oil', 'Flour', 'Rope']);

  // A socket that says it has seen less than there is gets a conflict, and no room is another's.
  const socket = io(bridge);
  t.after(() => socket.close());
  const all = await socket.emitWithAck('join', 'gallery-bridge', 'crates');
  assert.deepEqual(all.map(({ data }) => data.name), ['Lamp oil', 'Flour', 'Rope']);
  const late = { edit_id: randomUUID(), op: 'put', collection: 'crates', id: all[0].id, base_version: 0, data: { name: 'Mine', quay: 'North' } };
  const { status, current } = await socket.emitWithAck('push', 'gallery-bridge', late);
  assert.equal(status, 'conflict');
  assert.equal(current.data.name, 'Lamp oil');
  let answered = false;
  socket.emit('push', 'gallery-elsewhere', late, () => { answered = true; });
  assert.equal((await socket.emitWithAck('push', 'gallery-bridge', { ...late, edit_id: randomUUID() })).status, 'conflict');
  assert.equal(answered, false);
  const { heads: [elsewhere] } = await (await fetch(`${world.origin}/v1/heads?space=gallery-elsewhere`)).json();
  assert.equal(elsewhere.version, 0);
});

test('what is vendored is what npm has', async () => {
  const served = await (await fetch(`${world.origin}/assets/socket.io.js`)).text();
  const published = new URL('../node_modules/socket.io-client/dist/socket.io.esm.min.js', import.meta.url);
  assert.equal(served, await readFile(published, 'utf8'));
});

example('cron', 'curl and cron: each run reports, and hands on what is new since the last', async (t) => {
  const [ada, ben] = await two(t, 'cron');
  const folder = await newFolder();
  t.after(() => folder.remove());
  const script = join(folder.path, 'cron.sh');
  await writeFile(script, await (await fetch(`${world.origin}/gallery/cron.sh`)).text());
  const cron = async (origin = world.origin, ...command) => {
    const child = run('sh', [script, origin, join(folder.path, 'state'), ...command.length ? command : ['cat']]);
    let said = '';
    child.stdout.on('data', (chunk) => { said += chunk; });
    const code = await child.gone;
    return { code, log: child.log, notes: said.split('\n').filter(Boolean).flatMap((page) => JSON.parse(page).changes.map(({ data }) => data?.text)) };
  };
  const leave = async (page, text) => {
    await page.locator('form input').fill(text);
    await page.keyboard.press('Enter');
  };

  for (const page of [ada, ben]) await shows(page, 'ul:first-of-type li span', ['lighthouse: 1204884 kB free']);
  assert.deepEqual(await cron(), { code: 0, log: '', notes: ['Rotate the logs of the lamp room'] });
  const machine = hostname().replaceAll(/[^A-Za-z0-9]/g, '-');
  for (const page of [ada, ben]) {
    await until(page, (name) => [...document.querySelectorAll('ul:first-of-type li span')].some((row) => new RegExp(`^${name}: \\d+ kB free$`).test(row.textContent)), machine);
  }
  await leave(ada, 'Check the second battery');
  await leave(ben, 'Order wicks');
  for (const page of [ada, ben]) {
    await until(page, () => document.querySelectorAll('ul:last-of-type li').length === 3);
  }
  await eventually('both are on the server', async () => {
    const { changes } = await (await fetch(`${world.origin}/v1/spaces/gallery-cron/changes?collections=notes`)).json();
    return changes.length === 3;
  });
  await picture(ada, 'cron');

  // A command that fails is given the same again, one that is done never.
  const failed = await cron(world.origin, 'false');
  assert.equal(failed.code, 1);
  const { code, notes } = await cron();
  assert.deepEqual({ code, notes: notes.sort() }, { code: 0, notes: ['Check the second battery', 'Order wicks'] });
  assert.deepEqual(await cron(), { code: 0, log: '', notes: [] });

  // No server is an error that cron mails; a cursor of another server begins again.
  const dark = await cron(`http://127.0.0.1:${await freePort()}`);
  assert.notEqual(dark.code, 0);
  assert.match(dark.log, /curl: /);
});

test('the pictures of README', async (t) => {
  const names = await examples();
  assert.deepEqual([...pictures.keys()].sort(), names.toSorted(), 'the tests above took a picture of each example');
  const context = await world.browser.newContext({ viewport: { width: 960, height: 860 } }); // as wide as README shows it
  t.after(() => context.close());
  const page = await context.newPage();
  for (const [tone, gap] of [['light', '#c8d4d8'], ['dark', '#000506']]) {
    const images = names.map((name) => `<img src="data:image/png;base64,${pictures.get(name)[tone].toString('base64')}">`);
    await page.setContent(`<style>
      body { margin: 0; padding: 10px; display: grid; grid-template-columns: 1fr 1fr; gap: 10px; background: ${gap}; }
      img { width: 100%; border-radius: 6px; }
    </style>${images.join('')}`);
    await until(page, () => [...document.images].every((image) => image.complete && image.naturalWidth === 1280));
    await page.screenshot({ path: fileURLToPath(new URL(`../screenshots/gallery-${tone}.png`, import.meta.url)), fullPage: true });
  }
});
