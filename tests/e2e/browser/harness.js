// What the browser tests stand on: the real binary on a port of its own, a headless Chromium, and pages that are
// watched: a test fails if its page logs an error or asks anything of another origin.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const BROWSER = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

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
  const path = await mkdtemp(join(tmpdir(), 'tidemark-browser-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/** The binary, and an environment for it: it refuses settings that it does not know, and TIDEMARK_BIN is one. */
export function binary() {
  const path = process.env.TIDEMARK_BIN;
  if (!path) throw new Error('TIDEMARK_BIN is not set: build the server (go build -o tidemark ./cmd/tidemark) and put its path there.');
  if (!existsSync(path)) throw new Error(`TIDEMARK_BIN names ${path}, and there is no such file.`);
  return { path, env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TIDEMARK_'))) };
}

/** Starts `tidemark serve`, on SQLite in a temporary folder unless told otherwise. Resolves to its address and the way to end it. */
export async function startServer({ listen = '127.0.0.1:0', database, args = [] } = {}) {
  const { path, env } = binary();
  const folder = await newFolder();
  const url = database ?? `sqlite:${join(folder.path, 'tidemark.db')}`;
  const server = run(path, ['serve', '--listen', listen, '--database-url', url, ...args], { env, cwd: folder.path });
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

/** Starts Chromium. */
export function startBrowser() {
  if (!existsSync(BROWSER)) throw new Error(`There is no Chromium at ${BROWSER}: install the package "chromium" or name it in CHROMIUM.`);
  return chromium.launch({ executablePath: BROWSER, args: FLAGS });
}

/** A server (or what stands for one) and a browser for the tests of one file. */
export async function startWorld(start = startServer) {
  const server = await start();
  const browser = await startBrowser().catch(async (error) => {
    await server.stop();
    throw error;
  });
  return {
    ...server,
    browser,
    async stop() {
      await browser.close();
      await server.stop();
    },
  };
}

/**
 * A browser profile of its own for one test. Its pages are watched until the test ends. `expected` are console errors
 * that the test provokes: the browser logs every lost or refused answer, whatever the page makes of it. `beside` are other
 * origins that its pages may ask.
 */
export async function newProfile(t, world, { expected = [], beside = [], ...options } = {}) {
  const profile = await world.browser.newContext({
    baseURL: world.origin, viewport: { width: 1280, height: 860 }, reducedMotion: 'reduce', ...options,
  });
  profile.setDefaultTimeout(PATIENCE);
  const complaints = [];
  profile.on('page', (page) => {
    page.on('console', (message) => {
      const text = `console: ${message.text()} (${message.location().url})`;
      if (message.type() === 'error' && !expected.some((pattern) => pattern.test(text))) complaints.push(text);
    });
    page.on('pageerror', (error) => complaints.push(`page: ${error.stack}`));
  });
  profile.on('request', (request) => {
    if (![world.origin, ...beside].includes(new URL(request.url()).origin)) complaints.push(`left the origin: ${request.url()}`);
  });
  t.after(async () => {
    await profile.close();
    assert.deepEqual(complaints, []);
  });
  return profile;
}
