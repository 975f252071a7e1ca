// The real binary on a port of its own, on SQLite in a temporary folder and with authentication, so that the clients
// send their token as their generator has it.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { root } from './catalog.mjs';
import { must } from './programs.mjs';

/** Resolves to the server's address, a token of alice for the spaces `clients-*`, and the way to end it. */
export async function startServer() {
  const binary = process.env.TIDEMARK_BIN ?? join(root, 'bin/tidemark');
  if (!existsSync(binary)) throw new Error(`${binary} is not there: build the server (make build).`);
  // It refuses settings that it does not know, and those of the caller are not meant for it.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TIDEMARK_')));
  env.TIDEMARK_AUTH_SECRET = 'a secret of tests, nobody else has it';
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-clients-'));
  const server = spawn(binary, ['serve', '--listen', '127.0.0.1:0', '--database-url', `sqlite:${join(folder, 'tidemark.db')}`],
    { env, cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  server.stderr.on('data', (chunk) => { log = (log + chunk).slice(-8_000); });
  const gone = new Promise((resolve) => { server.once('close', resolve); server.once('error', resolve); });
  const kill = () => server.kill('SIGKILL');
  process.once('exit', kill);
  const stop = async () => {
    server.kill('SIGTERM');
    const hammer = setTimeout(kill, 20_000);
    await gone;
    clearTimeout(hammer);
    process.removeListener('exit', kill);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const url = await new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`The server did not say within 30 s where it listens.\n${log}`)), 30_000);
      createInterface({ input: server.stdout }).on('line', (line) => {
        const address = /^tidemark: listening on (http:\/\/\S+)/.exec(line)?.[1];
        if (!address) return;
        clearTimeout(late);
        resolve(new URL(address).origin);
      });
      gone.then((code) => {
        clearTimeout(late);
        reject(new Error(`The server ended with ${code} before it listened.\n${log}`));
      });
    });
    const { stdout } = await must([binary, 'token', '--subject', 'alice', '--space', 'clients-*=rw', '--ttl', '2h'], { env });
    return { url, token: stdout.trim(), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
