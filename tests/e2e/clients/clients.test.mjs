// Each client is generated, compiled and used against the server; what comes of it is a cell for each scenario.
// CLIENTS=rust,kotlin takes some of them only; `borrowed` are those that have their tests elsewhere.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { borrowed, clients, environment, here, root } from './catalog.mjs';
import { generate, missing } from './generate.mjs';
import { inspect } from './inspect.mjs';
import { must, run, there } from './programs.mjs';
import { record } from '../results.js';
import { command, startServer } from '../server.js';

const scenarios = ['push', 'conflict', 'pull pages', '304', '410', 'presence'];

const chosen = process.env.CLIENTS?.split(',');
const wanted = ({ folder }) => chosen === undefined || chosen.includes(folder);

// With authentication, so that the clients send their token as their generator has it.
const settings = { TIDEMARK_AUTH_SECRET: 'a secret of tests, nobody else has it' };

let server;
let token;
before(async () => {
  server = await startServer({ settings });
  token = (await command(['token', '--subject', 'alice', '--space', 'clients-*=rw', '--ttl', '2h'], settings)).trim();
});
after(() => server?.stop());

/** What a client says of its scenarios: "ok NAME" or "failed NAME: why". */
function verdicts(stdout) {
  const said = new Map();
  for (const [, result, name, why] of stdout.matchAll(/^(ok|failed) ([^:\n]+)(?:: (.*))?$/gm)) {
    assert.ok(!said.has(name), `${name} is told of twice`);
    said.set(name, result === 'ok' ? undefined : why ?? 'it does not say why');
  }
  return said;
}

/** Generates, compiles and runs a client. Returns its verdicts; what stops it before is the verdict of all scenarios. */
async function use(client, names) {
  try {
    await generate(client);
    // The first time compilers fetch what they need.
    const options = { cwd: here, env: environment, minutes: 20 };
    if (client.compile) await must(client.compile, options);
    const env = { ...environment, ...client.env, TIDEMARK_URL: server.origin, TIDEMARK_TOKEN: token, TIDEMARK_SPACE: `clients-${randomUUID()}` };
    const { code, stdout, output } = await run(client.run, { ...options, env, minutes: 5 });
    const said = verdicts(stdout);
    for (const name of names) if (!said.has(name)) said.set(name, `it says nothing of this and ended with ${code}: ${output.slice(-2_000)}`);
    return said;
  } catch (error) {
    return new Map(names.map((name) => [name, String(error.message)]));
  }
}

/** Generates a client of which there is no compiler here, and looks at it. */
async function look(client, names) {
  for (const name of names) record(client.name, name, 'not here', `generated, parsed and inspected: no ${client.language} compiler in the tests`);
  try {
    await generate(client);
    await inspect(client.folder);
  } catch (error) {
    record(client.name, 'generated', 'failed', error.message.slice(0, 200));
    throw error;
  }
  record(client.name, 'generated', 'ok');
}

for (const client of clients.filter(wanted)) {
  test(`${client.name}, ${client.language}`, async (t) => {
    const names = [...scenarios, ...client.more ?? []];
    const program = missing(client) ?? client.needs?.find((name) => !there(name));
    if (program) {
      for (const name of names) record(client.name, name, 'not here', `for want of ${program}`);
      return t.skip(`for want of ${program}`);
    }
    if (!client.run) return look(client, names);
    const said = await use(client, names);
    for (const [name, why] of said) {
      record(client.name, name, why === undefined ? 'ok' : 'failed', why?.slice(0, 200));
    }
    const failed = [...said].filter(([, why]) => why !== undefined);
    assert.deepEqual(failed, []);
    assert.deepEqual([...said.keys()].sort(), names.toSorted(), 'the scenarios told of');
  });
}

for (const client of borrowed) {
  test(`${client.name}, ${client.language}`, { skip: chosen !== undefined && !chosen.includes("borrowed") }, async () => {
    await generate(client);
    const { code, stdout, output } = await run(client.run, { cwd: root, env: { ...environment, ...client.env } });
    const passed = new Map([...stdout.matchAll(client.verdict)].map(([, result, name]) => [name, result === 'ok' || result === 'PASS']));
    for (const name of scenarios) {
      const by = client.tests[name];
      record(client.name, name, passed.get(by) ? 'ok' : 'failed', passed.has(by) ? undefined : 'its test did not run');
    }
    assert.equal(code, 0, output);
    for (const name of scenarios) assert.ok(passed.get(client.tests[name]), `${name}: ${output}`);
  });
}

test('README shows the commands that were run', async () => {
  const lines = (await readFile(join(root, 'README.md'), 'utf8')).split('\n');
  for (const { command } of [...clients, ...borrowed]) assert.ok(lines.includes(command), `README does not show: ${command}`);
});
