// Cells of the table that `make e2e-all` ends with: client, scenario, result.

import { appendFileSync } from 'node:fs';
import { test } from 'node:test';

/** Adds a line of JSON to the file that TIDEMARK_E2E_RESULTS names, if it does. The result is `ok`, `failed` or `not here`. */
export function record(client, scenario, result, note) {
  const file = process.env.TIDEMARK_E2E_RESULTS;
  if (file) appendFileSync(file, `${JSON.stringify({ client, scenario, result, note })}\n`);
}

/** A test that is a cell of the table as well. */
export function cell(client, scenario, title, run) {
  test(title, async (t) => {
    let result = 'failed';
    try {
      await run(t);
      result = 'ok';
    } finally {
      record(client, scenario, result);
    }
  });
}
