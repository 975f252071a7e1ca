// The gallery: every example in two browsers, as two people would use it. Each test leaves a picture of its page, and the
// last one makes of them what README shows.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { newProfile, startWorld } from './harness.js';
import { ground, until } from './board.js';

let world;
before(async () => { world = await startWorld(); });
after(() => world?.stop());

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
  await page.getByRole('link', { name: 'Gallery' }).click();
  await page.waitForURL('**/gallery/');
  await page.locator('.top').waitFor();
  for (const name of await examples()) {
    await page.locator(`.needs a[href="${name}"]`).click();
    await page.locator('.listing').last().waitFor();
    assert.match(await page.title(), /· Tidemark gallery$/);
    await page.getByRole('link', { name: 'Gallery' }).click();
    await page.waitForURL('**/gallery/');
  }
  assert.equal((await fetch(`${world.origin}/gallery`)).url, `${world.origin}/gallery/`);
});

/** The names of all examples, from the index. */
async function examples() {
  const index = await (await fetch(`${world.origin}/gallery/`)).text();
  return [...index.matchAll(/<li><a href="(\w+)">/g)].map(([, name]) => name);
}

test('each example has at most 40 lines of app code, and its page shows them', async (t) => {
  const names = await examples();
  assert.equal(new Set(names).size, names.length);
  for (const name of names) {
    const page = await open(t, name, 'Ada');
    for (const listing of await page.locator('.listing').all()) {
      const [file, shown] = [await listing.locator('h3').evaluate((h) => h.firstChild.textContent), await listing.locator('code').textContent()];
      const served = await (await fetch(`${world.origin}/gallery/${file.replace('.html', '')}`)).text();
      const lines = shown.split('\n');
      if (file === `${name}.html`) {
        assert.ok(lines.length <= 20, `${file}: ${lines.length} lines`);
        assert.ok(served.replace(/^ +/gm, '').includes(shown.replace(/^ +/gm, '')), `${file} is not what is shown`);
      } else {
        assert.ok(lines.length <= 40, `${file}: ${lines.length} lines`);
        assert.equal(`${shown}\n`, served, `${file} is not what is shown`);
      }
      for (const line of lines) assert.ok(line.length <= 93, `${file}: a line of ${line.length}: ${line}`);
    }
    const files = await page.locator('.listing h3').evaluateAll((heads) => heads.map((h) => h.firstChild.textContent));
    assert.ok(files.includes(`${name}.js`) && files.includes(`${name}.html`), `${name} shows ${files}`);
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

test('badge: what is posted in one browser is a dot in the other, until it was looked at', async (t) => {
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

test('list: added, ticked and deleted in one browser, seen in the other', async (t) => {
  const [ada, ben] = await two(t, 'list');
  const first = ['Two loaves of rye', 'Oat milk, and coffee', 'Lamp oil'];
  for (const page of [ada, ben]) await shows(page, 'li span', first);

  await ada.locator('form input').fill('Tar for the hull');
  await ada.keyboard.press('Enter');
  for (const page of [ada, ben]) await shows(page, 'li span', [...first, 'Tar for the hull']);
  await ben.getByLabel('Tar for the hull').check();
  await until(ada, () => document.querySelector('li:last-child input').checked);
  await ada.locator('li', { hasText: 'Lamp oil' }).getByRole('button', { name: 'Delete' }).click();
  await shows(ben, 'li span', ['Two loaves of rye', 'Oat milk, and coffee', 'Tar for the hull']);
  for (const page of [ada, ben]) await shows(page, 'output', ['All sent']);
  await picture(ben, 'list');
});

test('comments: a reply stands under its comment, and a deleted one leaves its place', async (t) => {
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
