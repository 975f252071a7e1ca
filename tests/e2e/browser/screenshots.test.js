// The pictures that README shows, taken of the real page. Fixed viewport, no motion, no caret; only the measured times differ
// from run to run.

import { mkdir } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { newProfile, startWorld } from './harness.js';
import { add, ground, openBoard, rename, setOffline, settled, state, tick, titles, until } from './board.js';

const FOLDER = fileURLToPath(new URL('../screenshots/', import.meta.url));

let world;
before(async () => {
  world = await startWorld();
  await mkdir(FOLDER, { recursive: true });
});
after(() => world?.stop());

/** Takes a picture once the page is at rest: nothing flashes, nothing is focused, nothing is under way. */
async function shoot(page, name, options) {
  await page.evaluate(() => document.activeElement?.blur());
  await page.mouse.move(0, 0);
  await until(page, () => !document.querySelector('[data-flash]'));
  await page.screenshot({ path: `${FOLDER}${name}.png`, animations: 'disabled', caret: 'hide', ...options });
}

/** Some life on the board, so that the picture shows measurements: each edit is made when the one before was seen. */
async function live(page) {
  const seen = (n) => until(page, (wanted) => Number(document.querySelector('#samples').textContent) >= wanted, n);
  let edits = 0;
  for (const who of ['alice', 'bob', 'alice', 'alice', 'bob', 'bob', 'alice', 'bob']) {
    const all = await titles(page, who);
    await tick(page, who, all[1 + (edits % 3)]);
    await seen(++edits);
  }
  for (const title of (await titles(page, 'bob')).slice(1)) {
    const done = await page.locator('#bob .todo').evaluateAll((lines, wanted) => lines
      .some((line) => line.querySelector('.title').value === wanted && line.querySelector('.tick input').checked), title);
    if (!done) continue;
    await tick(page, 'bob', title);
    await seen(++edits);
  }
  await add(page, 'bob', 'Oat milk, and coffee');
  await seen(++edits);
  await settled(page, 5);
}

test('the board, light and dark', async (t) => {
  const page = await openBoard(await newProfile(t, world), 'summer-house');
  await live(page);
  await setOffline(page, 'bob', true);
  await rename(page, 'bob', 'Fix the bicycle light', 'Fix the bicycle light before Friday');
  await state(page, 'bob', 'Offline, 1 edit waiting');
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await ground(page, colorScheme);
    await shoot(page, `demo-${colorScheme}`, { fullPage: true });
  }
});

test('a conflict', async (t) => {
  const page = await openBoard(await newProfile(t, world, { viewport: { width: 1280, height: 1200 } }), 'groceries');
  await add(page, 'alice', 'Oat milk, and coffee');
  await settled(page, 5);
  await setOffline(page, 'bob', true);
  await rename(page, 'alice', 'Oat milk, and coffee', 'Oat milk, bread and coffee');
  await rename(page, 'bob', 'Oat milk, and coffee', 'Oat milk, and the good coffee');
  await state(page, 'alice', 'Up to date');
  await setOffline(page, 'bob', false);
  await page.locator('#bob .conflict').waitFor();
  await page.evaluate(() => document.activeElement?.blur());
  const box = await page.locator('#board').boundingBox();
  await shoot(page, 'conflict', { clip: { x: box.x - 20, y: box.y - 20, width: box.width + 40, height: box.height + 40 } });
});
