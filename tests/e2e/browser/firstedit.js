// What a newcomer does first: opens the demo of a server that runs, adds a to-do in one pane, looks at the other.
// `make stopwatch` times it.

import { startBrowser } from './harness.js';
import { add, line } from './board.js';

const browser = await startBrowser();
try {
  const page = await (await browser.newContext({ baseURL: process.argv[2] })).newPage();
  await page.goto('/');
  await add(page, 'alice', 'The first edit');
  await line(page, 'bob', 'The first edit');
} finally {
  await browser.close();
}
