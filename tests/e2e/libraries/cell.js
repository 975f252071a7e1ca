// The tests of a library are cells of the table client x scenario x result.

import { readFileSync } from 'node:fs';
import { cell } from '../results.js';
import { PATIENCE } from '../server.js';

const { devDependencies } = JSON.parse(readFileSync(new URL('package.json', import.meta.url)));

/** `cells('TanStack Query', '@tanstack/react-query')` returns the `test` of that client. */
export function cells(name, library) {
  const client = `${name} ${devDependencies[library]}`;
  return (scenario, run) => cell(client, scenario, `${client}: ${scenario}`, async (t) => {
    let timer;
    const late = new Promise((_, reject) => { timer = setTimeout(reject, 6 * PATIENCE, new Error('The test takes too long.')); });
    try {
      await Promise.race([run(t), late]);
    } finally {
      clearTimeout(timer);
    }
  });
}

/** Waits until `condition` (which may be async) returns something true, asked every few milliseconds; returns that. */
export async function until(condition, what = condition, { every = 5, within = PATIENCE } = {}) {
  const end = Date.now() + within;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`never came true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}
