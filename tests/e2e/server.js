// What every suite here stands on: the real binary on a port of its own, and programs and folders that are gone when the
// tests are.

import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** How long a condition may take to come true. Far more than needed, so that a slow machine is not a failure. */
export const PATIENCE = 30_000;

/** Runs a program beside the tests. `gone` resolves to its exit code, `stop` ends it. */
export function run(program, args, options = {}) {
  const process_ = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  const child = { stdout: process_.stdout, log: '' };
  process_.stderr.on('data', (chunk) => { child.log = (child.log + chunk).slice(-8_000); });
  child.gone = new Promise((resolve) => {
    process_.once('close', resolve);
    process_.once('error', (error) => { child.log += error; resolve(-1); });
  });
  const kill = () => process_.kill('SIGKILL');
  process.once('exit', kill);
  child.stop = async () => {
    process_.kill('SIGTERM');
    const hammer = setTimeout(kill, 20_000);
    await child.gone;
    clearTimeout(hammer);
    process.removeListener('exit', kill);
  };
  return child;
}

/** A folder that is gone when the tests are. */
export async function newFolder() {
  const path = await mkdtemp(join(tmpdir(), 'tidemark-e2e-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/** The binary, and an environment for it: it refuses settings that it does not know, and those of the tests are none of its. */
export function binary() {
  const path = process.env.TIDEMARK_BIN ?? fileURLToPath(new URL('../../bin/tidemark', import.meta.url));
  if (!existsSync(path)) throw new Error(`There is no server at ${path}: build it (make build) or name it in TIDEMARK_BIN.`);
  return { path, env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TIDEMARK_'))) };
}

/** Runs one command of the binary; resolves to what it prints. */
export async function command(words, settings) {
  const { path, env } = binary();
  return (await promisify(execFile)(path, words, { env: { ...env, ...settings }, timeout: PATIENCE })).stdout;
}

/** Starts `tidemark serve`, on SQLite in a temporary folder unless told otherwise. Resolves to its address and the way to end it. */
export async function startServer({ listen = '127.0.0.1:0', database, args = [], settings } = {}) {
  const { path, env } = binary();
  const folder = await newFolder();
  const url = database ?? `sqlite:${join(folder.path, 'tidemark.db')}`;
  const server = run(path, ['serve', '--listen', listen, '--database-url', url, ...args], { env: { ...env, ...settings }, cwd: folder.path });
  const stop = async () => {
    await server.stop();
    await folder.remove();
  };
  const origin = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`The server did not say where it listens within 30 s.\n${server.log}`)), 30_000);
    createInterface({ input: server.stdout }).on('line', (line) => {
      const address = /^tidemark: listening on (http:\/\/\S+)/.exec(line)?.[1];
      if (!address) return;
      clearTimeout(late);
      resolve(new URL(address).origin);
    });
    server.gone.then((code) => reject(new Error(`The server ended with ${code} before it listened.\n${server.log}`)));
  }).catch(async (error) => {
    await stop();
    throw error;
  });
  return { origin, stop };
}
