// A test that is a cell of the table client x scenario x result: what becomes of it is appended, as a line of JSON, to
// the file that TIDEMARK_E2E_RESULTS names.

import { appendFileSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { PATIENCE } from './server.js';

const { devDependencies } = JSON.parse(readFileSync(new URL('package.json', import.meta.url)));

/** `cell('TanStack Query', '@tanstack/react-query')` returns the `test` of that client. */
export function cells(name, library) {
  const client = `${name} ${devDependencies[library]}`;
  const record = (scenario, result) => {
    const file = process.env.TIDEMARK_E2E_RESULTS;
    if (file) appendFileSync(file, `${JSON.stringify({ client, scenario, result })}\n`);
  };
  return (scenario, run) => test(`${client}: ${scenario}`, async (t) => {
    let result = 'failed';
    let timer;
    const late = new Promise((_, reject) => { timer = setTimeout(reject, 3 * PATIENCE, new Error('The test takes too long.')); });
    try {
      await Promise.race([run(t), late]);
      result = 'ok';
    } finally {
      clearTimeout(timer);
      record(scenario, result);
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
