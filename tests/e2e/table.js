// Prints what `make e2e-all` came to: a table of client x scenario x result, from the lines that the suites have
// appended to a file. Exit code 1 if a cell failed.

import { readFile } from 'node:fs/promises';

const MARKS = { ok: 'ok', failed: 'FAILED', 'not here': 'not here' };

const [file] = process.argv.slice(2);
const cells = (await readFile(file, 'utf8')).split('\n').filter(Boolean).map((line) => JSON.parse(line));
if (!cells.length) throw new Error('no suite has written what it came to');

// The last word of a cell counts: a suite may try it again.
const clients = new Map();
for (const { client, scenario, result, note } of cells) {
  if (!(result in MARKS)) throw new Error(`${client}, ${scenario}: ${result} is no result`);
  const row = clients.get(client) ?? new Map();
  clients.set(client, row.set(scenario, note && result !== 'ok' ? `${MARKS[result]}: ${note}` : MARKS[result]));
}

let failed = false;
console.log('\n| client | scenarios that pass | others |\n|---|---|---|');
for (const [client, row] of clients) {
  const passed = [...row].filter(([, mark]) => mark === 'ok').map(([scenario]) => scenario);
  const marks = new Set([...row.values()].filter((mark) => mark !== 'ok'));
  const others = [...marks].map((mark) => `${[...row.keys()].filter((scenario) => row.get(scenario) === mark).join(', ')}: ${mark}`);
  failed ||= others.some((other) => other.includes(MARKS.failed));
  console.log(`| ${client} | ${passed.join(', ')} | ${others.join('; ')} |`);
}
console.log(`\n${clients.size} clients, ${cells.length} cells${failed ? ', some FAILED' : ', none failed'}`);
process.exitCode = failed ? 1 : 0;
