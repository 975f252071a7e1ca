// Cells of the table "client, scenario, result": a line of JSON each in the file that TIDEMARK_E2E_RESULTS names, if it does.

import { appendFileSync } from 'node:fs';
import { test } from 'node:test';

const file = process.env.TIDEMARK_E2E_RESULTS;

/** A test that is a cell of the table as well. */
export function cell(client, scenario, title, run) {
  const write = (result) => file && appendFileSync(file, `${JSON.stringify({ client, scenario, result })}\n`);
  test(title, async (t) => {
    try {
      await run(t);
    } catch (error) {
      write('failed');
      throw error;
    }
    write('ok');
  });
}
