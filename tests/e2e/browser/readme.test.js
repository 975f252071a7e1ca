// README's "optimistic to-do list in 30 lines" is run as it stands there, from where README says that it is served.

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

test('the example has at most 30 lines, and is the page at /example', async () => {
  const shown = await example();
  assert.ok(shown.trimEnd().split('\n').length <= 30);
  assert.equal(await (await fetch(`${world.origin}/example`)).text(), shown);
});

test('the example runs: what one page adds, ticks and deletes shows in another', async (t) => {
  const open = async () => {
    // The page names no icon, so the browser looks for one where there is none.
    const opened = await (await newProfile(t, world, { expected: [/favicon\.ico/] })).newPage();
    await opened.goto('/example');
    return opened;
  };
  const [one, two] = [await open(), await open()];

  await one.locator('form input').fill('Milk');
  await one.keyboard.press('Enter');
  await one.locator('li:not([style*="0.5"])', { hasText: 'Milk' }).waitFor();
  await two.locator('li', { hasText: 'Milk' }).waitFor();

  await two.locator('li', { hasText: 'Milk' }).locator('input').check();
  await until(two, () => document.querySelector('li input').checked && !document.querySelector('li[style*="0.5"]'));
  await until(one, () => document.querySelector('li input').checked);
  await one.locator('li', { hasText: 'Milk' }).locator('button').click();
  await until(one, () => document.querySelectorAll('li').length === 0 && /^0 /.test(document.querySelector('output').value));
  await until(two, () => document.querySelectorAll('li').length === 0);
});
