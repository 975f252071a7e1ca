// What the tests stand on: a clock they turn, a store they can look into, and clients of a fake server.

import assert from "node:assert/strict";
import { connect } from "./module.js";
import { FakeServer } from "./fakeserver.js";

/** Lets everything that is due run: promises, and the immediates that fake-indexeddb works with. */
export async function turn(rounds = 12) {
  for (let i = 0; i < rounds; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Waits, without time passing for the client, until the condition holds. */
export async function until(condition, what = condition) {
  for (let i = 0; i < 2000; i++) {
    if (condition()) return;
    await turn(1);
  }
  assert.fail(`never came true: ${what}`);
}

/** Time passes only when told to. */
export class FakeClock {
  time = 1_000_000;
  chance = 0.5;
  #timers = new Map();
  #count = 0;

  now = () => this.time;
  random = () => this.chance;
  setTimeout = (run, ms) => {
    this.#timers.set(++this.#count, { run, at: this.time + ms, ms });
    return this.#count;
  };
  clearTimeout = (timer) => void this.#timers.delete(timer);

  /** In how many milliseconds each timer is due, soonest first; the time limits of requests left out. */
  get due() {
    return [...this.#timers.values()].filter(({ ms }) => ms !== 30_000).map(({ at }) => at - this.time).sort((a, b) => a - b);
  }

  get timers() {
    return this.#timers.size;
  }

  async advance(ms) {
    const end = this.time + ms;
    for (let ran = 0; ; ran++) {
      assert.ok(ran < 2000, "the client is spinning");
      await turn();
      const [next] = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at);
      if (!next) break;
      this.#timers.delete(next[0]);
      this.time = Math.max(this.time, next[1].at);
      next[1].run();
    }
    this.time = end;
    await turn();
  }
}

/** An own store that outlives its client. `fails` makes it refuse to save. */
export class KeptStore {
  records = new Map();
  fails = false;

  async load() {
    return structuredClone([...this.records]);
  }

  async save(batch) {
    if (this.fails) throw new Error("disk full");
    for (const [key, record] of structuredClone(batch)) {
      if (record === undefined) this.records.delete(key);
      else this.records.set(key, record);
    }
  }

  keys(kind) {
    return [...this.records.keys()].filter((key) => key.startsWith(`${kind}/`));
  }
}

/** Gives the client a document, a window's events and a device that may be offline. */
export function page(t) {
  const events = new EventTarget();
  const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  const surroundings = { document, navigator: { onLine: true }, addEventListener: events.addEventListener.bind(events) };
  for (const [name, value] of Object.entries(surroundings)) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    t.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
  }
  return {
    show(state) {
      document.visibilityState = state;
      document.dispatchEvent(new Event("visibilitychange"));
    },
    online(onLine) {
      surroundings.navigator.onLine = onLine;
      events.dispatchEvent(new Event(onLine ? "online" : "offline"));
    },
    focus: () => events.dispatchEvent(new Event("focus")),
    leave: () => events.dispatchEvent(new Event("pagehide")),
  };
}

/** A fake server, a clock, and clients that are closed when the test ends. They poll, unless a test says otherwise. */
export function world(t) {
  const server = new FakeServer();
  const clock = new FakeClock();
  const clients = [];
  t.after(async () => {
    await Promise.all([...clients].map((client) => client.close()));
    if (server.broken) return;
    const differed = clients.flatMap((client) => [...client.events("mismatch"), ...client.events("resync").filter(({ cause }) => cause === "digest")]);
    assert.deepEqual(differed, [], "what a client held was not what the server had");
  });

  /** A client that has pulled once. */
  async function client(options = {}) {
    const sync = start(options);
    await sync.ready;
    await clock.advance(0);
    return sync;
  }

  function start(options = {}) {
    const sync = connect({ url: "http://fake", space: "s", store: "memory", stream: false, fetch: server.fetch, clock, ...options });
    sync.seen = [];
    for (const type of ["request", "applied", "remote", "conflict", "resync", "mismatch"]) sync.on(type, (event) => sync.seen.push([type, event]));
    sync.events = (type) => sync.seen.filter(([seen]) => seen === type).map(([, event]) => event);
    clients.push(sync);
    return sync;
  }

  /** What a promise comes to without time passing. */
  async function soon(promise) {
    promise.catch(() => {});
    await clock.advance(0);
    return promise;
  }

  /** A client that has died can't be closed. */
  const bury = (sync) => void clients.splice(clients.indexOf(sync), 1);

  return { server, clock, client, start, soon, bury };
}

/** The documents of a collection as { id: data }. */
export const shown = (sync, name = "todos") =>
  Object.fromEntries(sync.collection(name).getSnapshot().map(({ id, data }) => [id, data]));

/** `settled` of a handle, which must have happened. */
export async function outcome(handle) {
  const open = Symbol();
  const result = await Promise.race([handle.settled, turn().then(() => open)]);
  assert.notEqual(result, open, `edit ${handle.editId} is not settled`);
  return result;
}
