// The real server for one file of tests, and what is asked of it beside the libraries: a plain client that writes
// documents, and the whole of a space as the server has it, with its digest.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** How long anything may take to come true. Far more than needed, so that a slow machine is not a failure. */
export const PATIENCE = 60_000;

const binary = process.env.TIDEMARK_BIN ?? fileURLToPath(new URL('../../../bin/tidemark', import.meta.url));
if (!existsSync(binary)) throw new Error(`There is no server at ${binary}: build it (make build) or name it in TIDEMARK_BIN.`);
// The binary refuses settings that it does not know, and those of the tests are none of its.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TIDEMARK_')));

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  return port;
}

/** Starts `tidemark serve` on SQLite in a temporary folder; the test file's `after` must stop it. */
export async function startServer() {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-libraries-'));
  const database = `sqlite:${join(folder, 'tidemark.db')}`;
  const port = await freePort(); // the same after a restart
  let child;
  const kill = () => child?.kill('SIGKILL');
  process.once('exit', kill);

  async function start() {
    child = spawn(binary, ['serve', '--listen', `127.0.0.1:${port}`, '--database-url', database], { env, cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    let log = '';
    child.stderr.on('data', (chunk) => { log = (log + chunk).slice(-4_000); });
    const late = setTimeout(kill, PATIENCE);
    try {
      for await (const line of createInterface({ input: child.stdout })) if (line.startsWith('tidemark: listening on')) return;
    } finally {
      clearTimeout(late);
    }
    throw new Error(`The server did not start.\n${log}`);
  }
  async function end() {
    const gone = once(child, 'exit');
    if (child.exitCode !== null || child.signalCode !== null) return;
    const late = setTimeout(kill, PATIENCE);
    child.kill('SIGTERM');
    await gone;
    clearTimeout(late);
  }

  await start();
  let spaces = 0;
  return {
    url: `http://127.0.0.1:${port}`,
    /** A space that nobody has used. */
    newSpace: (name) => `${name}-${++spaces}`,
    /** Ends the server, runs a command of the binary on its database, and starts it again at the same address. */
    async restart(...command) {
      await end();
      if (command.length) await promisify(execFile)(binary, [...command, '--database-url', database], { env, cwd: folder, timeout: PATIENCE });
      await start();
    },
    async stop() {
      await end();
      process.removeListener('exit', kill);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function json(answer) {
  const body = await answer.json();
  assert.equal(answer.status, 200, JSON.stringify(body));
  return body;
}

let edits = 0;

/** Somebody else: a client of plain fetch. Each edit is `{ op, id, data }` with its base, by default with force. */
export async function push(url, space, list, collection = 'todos') {
  const results = [];
  for (let at = 0; at < list.length; at += 200) {
    const batch = list.slice(at, at + 200).map(({ base_version, ...edit }) => ({
      edit_id: `plain-${++edits}`, op: 'put', collection, ...edit, ...(base_version === undefined ? { force: true } : { base_version }),
    }));
    const body = JSON.stringify({ client_id: 'plain', edits: batch });
    const answer = await json(await fetch(`${url}/v1/spaces/${space}/push`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body }));
    results.push(...answer.results);
  }
  for (const result of results) assert.equal(result.status, 'applied', JSON.stringify(result));
  return results;
}

/** Everything in a space: its live documents by id, and the digest and count of exactly these. */
export async function snapshot(url, space) {
  const documents = new Map();
  let page = { cursor: '', has_more: true };
  while (page.has_more) {
    page = await json(await fetch(`${url}/v1/spaces/${space}/changes?limit=1000&cursor=${page.cursor}`));
    for (const { id, version, deleted, data } of page.changes) {
      if (deleted) documents.delete(id);
      else documents.set(id, { id, version, data });
    }
  }
  return { documents, digest: page.digest, count: page.count, version: page.version };
}

/** The digest of documents as openapi.yaml describes it: what a client holds, in 16 hexadecimal digits. */
export function digest(documents, collection = 'todos') {
  const mask = (1n << 64n) - 1n;
  let sum = 0n;
  for (const { id, version } of documents) {
    let h = 0xcbf29ce484222325n;
    for (const byte of new TextEncoder().encode(`${collection}\0${id}\0${version}`)) h = ((h ^ BigInt(byte)) * 0x100000001b3n) & mask;
    h = ((h ^ (h >> 33n)) * 0xff51afd7ed558ccdn) & mask;
    h = ((h ^ (h >> 33n)) * 0xc4ceb9fe1a85ec53n) & mask;
    sum = (sum + (h ^ (h >> 33n))) & mask;
  }
  return sum.toString(16).padStart(16, '0');
}
