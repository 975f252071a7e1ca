// What the browser tests stand on: a headless Chromium, and pages that are watched: a test fails if its page logs an
// error or asks anything of another origin.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { PATIENCE, startServer } from '../server.js';

const BROWSER = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

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
