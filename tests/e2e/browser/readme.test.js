// README's "optimistic to-do list in 30 lines" is run as it stands there, so it can't rot.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { newProfile, startWorld } from './harness.js';
import { until } from './board.js';

const README = new URL('../../../README.md', import.meta.url);

let world;
before(async () => { world = await startWorld(); });
after(() => world?.stop());

/** The html block under the heading that promises 30 lines. */
async function example() {
  const text = await readFile(README, 'utf8');
  const section = text.split(/^(?=#{1,6} )/m).find((part) => /^#+ .*30 lines/.test(part));
  assert.ok(section, 'README.md has no heading that contains "30 lines"');
  const block = /^```html\n([\s\S]*?)^```$/m.exec(section);
  assert.ok(block, 'README.md has no ```html block under the heading that contains "30 lines"');
  return block[1];
}

test('the example is about 30 lines long', async () => {
  const lines = (await example()).trimEnd().split('\n').length;
  assert.ok(lines <= 32, `it has ${lines} lines`);
});

test('the example runs: what one page adds, ticks and deletes shows in another', async (t) => {
  const page = await example();
  const open = async () => {
    const profile = await newProfile(t, world);
    await profile.route('**/readme-example', (route) => route.fulfill({ contentType: 'text/html', body: page }));
    const opened = await profile.newPage();
    await opened.goto('/readme-example');
    return opened;
  };
  const [one, two] = [await open(), await open()];
  await one.locator('form input').fill('Milk');
  await one.keyboard.press('Enter');
  await one.locator('li', { hasText: 'Milk' }).waitFor();
  await two.locator('li', { hasText: 'Milk' }).waitFor();

  await two.locator('li', { hasText: 'Milk' }).locator('input').check();
  await until(one, () => document.querySelector('li input').checked);
  await one.locator('li', { hasText: 'Milk' }).locator('button').click();
  await until(two, () => document.querySelectorAll('li').length === 0);
});
