// The real server for one file of tests, and what is asked of it beside the libraries: a plain client that writes
// documents, and the whole of a space as the server has it, with its digest.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { command, newFolder, startServer as start } from '../server.js';

/** Starts a server; the test file's `after` must stop it. */
export async function startServer() {
  const folder = await newFolder();
  const database = `sqlite:${join(folder.path, 'tidemark.db')}`;
  let server = await start({ database });
  const url = server.origin;
  let spaces = 0;
  return {
    url,
    /** A space that nobody has used. */
    newSpace: (name) => `${name}-${++spaces}`,
    /** Ends the server, runs a command of the binary on its database, and starts it again at the same address. */
    async restart(...words) {
      await server.stop();
      if (words.length) await command([...words, '--database-url', database]);
      server = await start({ database, listen: new URL(url).host });
    },
    async stop() {
      await server.stop();
      await folder.remove();
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
