// A browser with tabs, as far as the client sees one: Web Locks, Node's BroadcastChannel, an IndexedDB for all. A tab can
// be hidden, put to sleep, and killed at any of its steps: whatever it was about to do then never happens.

import { IDBFactory } from "fake-indexeddb";
import { until, world } from "./support.js";

const NodeChannel = globalThis.BroadcastChannel;

/** Web Locks. What a tab that is asleep is told of its locks waits until it wakes. */
class FakeLocks {
  #held = new Map();
  #queue = [];

  of = (tab) => ({ request: (name, options, run) => new Promise((resolve, reject) => this.#request({ tab, name, run, resolve, reject }, options)) });

  #request(entry, { steal, ifAvailable, signal }) {
    const held = this.#held.get(entry.name);
    if (signal && (steal || ifAvailable)) return entry.reject(new DOMException("signal", "NotSupportedError"));
    if (steal && held) {
      this.#held.delete(entry.name);
      held.tab.later(() => held.reject(new DOMException("stolen", "AbortError")));
    }
    if (steal || !held) return this.#grant(entry);
    if (ifAvailable) return void setImmediate(() => entry.tab.dead || entry.resolve(entry.run(null)));
    this.#queue.push(entry);
    signal?.addEventListener("abort", () => {
      if (!this.#queue.includes(entry)) return;
      this.#queue.splice(this.#queue.indexOf(entry), 1);
      entry.reject(signal.reason);
    });
  }

  #grant(entry) {
    this.#held.set(entry.name, entry);
    setImmediate(() => {
      const done = entry.tab.dead ? new Promise(() => {}) : Promise.resolve(entry.run({ name: entry.name }));
      done.then(entry.resolve, entry.reject).finally(() => this.#release(entry));
    });
  }

  #release(entry) {
    if (this.#held.get(entry.name) !== entry) return;
    this.#held.delete(entry.name);
    const next = this.#queue.findIndex(({ name }) => name === entry.name);
    if (next >= 0) this.#grant(this.#queue.splice(next, 1)[0]);
  }

  drop(tab) {
    this.#queue = this.#queue.filter((entry) => entry.tab !== tab);
    for (const entry of [...this.#held.values()]) if (entry.tab === tab) this.#release(entry);
  }

  get size() {
    return this.#held.size;
  }
}

/** A tab without a page yet. */
class Tab {
  dead = false;
  /** What happens at its next step, told by its name; see `kill` and `steps`. */
  onStep = () => {};
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  asleep = false;
  #end = new AbortController();
  #waiting = [];
  #locks;
  #channels = [];

  constructor(locks) {
    this.#locks = locks;
  }

  /** Runs what the world outside has for it, when it is awake. */
  later(run) {
    if (this.dead) return;
    if (this.asleep) this.#waiting.push(run);
    else run();
  }

  step(name) {
    if (!this.dead) this.onStep(name);
    return !this.dead;
  }

  kill() {
    this.dead = true;
    this.#end.abort();
    this.#locks.drop(this);
    this.#channels.forEach((channel) => channel.close());
  }

  /** Somebody's word just now. */
  hear(data) {
    this.#channels.forEach((channel) => channel.onmessage({ data }));
  }

  sleep() {
    this.asleep = true;
  }

  wake() {
    this.asleep = false;
    this.#waiting.splice(0).forEach((run) => this.later(run));
  }

  show(state) {
    this.document.visibilityState = state;
    this.document.dispatchEvent(new Event("visibilitychange"));
  }

  /** What its page finds in its global object. */
  globals(factory) {
    const tab = this;
    class Channel {
      #channel;
      constructor(name) {
        this.#channel = new NodeChannel(name);
        tab.#channels.push(this);
        this.#channel.onmessage = ({ data }) => tab.later(() => {
          if (!tab.step("hears")) return;
          this.onmessage?.({ data });
          tab.step("has heard");
        });
      }
      postMessage(message) {
        if (tab.step("tells")) this.#channel.postMessage(message);
        tab.step("has told");
      }
      close() {
        this.#channel.close();
        this.postMessage = () => {};
      }
    }
    const indexedDB = {
      open(...names) {
        const opening = factory.open(...names);
        opening.addEventListener("success", () => tab.#watch(opening.result));
        return opening;
      },
    };
    return { navigator: { locks: this.#locks.of(this) }, document: this.document, BroadcastChannel: Channel, indexedDB };
  }

  /** A transaction that its tab has not committed is undone with it. */
  #watch(db) {
    const begin = db.transaction.bind(db);
    db.transaction = (store, mode) => {
      if (!this.step("begins")) return db.transaction("no such store");
      const transaction = begin(store, mode);
      const commit = transaction.commit.bind(transaction);
      transaction.commit = () => {
        if (!this.step("writes")) return transaction.abort();
        commit();
        this.step("has written");
      };
      return transaction;
    };
  }

  fetch = (fetch) => async (url, init) => {
    if (!this.step("asks")) return new Promise(() => {});
    const signal = AbortSignal.any([init.signal, this.#end.signal]);
    const response = await fetch(url, { ...init, signal }).catch((error) => error);
    return new Promise((resolve, reject) => {
      this.later(() => this.step("is answered") && (response instanceof Error ? reject(response) : resolve(response)));
    });
  };

  clock = (clock) => ({
    now: clock.now,
    random: clock.random,
    setTimeout: (run, ms) => clock.setTimeout(() => this.later(run), ms),
    clearTimeout: clock.clearTimeout,
  });
}

let browsers = 0;

/** A world whose clients are tabs of one browser. With a `net`, that of a real server, they live in real time. */
export function browser(t, net) {
  const all = world(t);
  const clock = net ? { now: Date.now, random: Math.random, setTimeout, clearTimeout } : all.clock;
  const locks = new FakeLocks();
  const factory = new IDBFactory();
  const opened = [];
  const alive = [];
  const name = `browser ${++browsers}`; // Node has one BroadcastChannel for all tests

  t.after(() => opened.forEach(({ tab }) => tab.wake()));

  /** Opens a tab; resolves at once. `sync.tab` is what becomes of it. */
  function open({ state = "visible", onStep, ...options } = {}) {
    const tab = new Tab(locks);
    tab.document.visibilityState = state;
    if (onStep) tab.onStep = (name) => onStep(name, tab);
    const before = new Map();
    for (const [name, value] of Object.entries(tab.globals(factory))) {
      before.set(name, Object.getOwnPropertyDescriptor(globalThis, name));
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    }
    try {
      const sync = all.start({ store: "indexeddb", name, stream: true, fetch: tab.fetch(net ? fetch : all.server.fetch), clock: tab.clock(clock), ...net, ...options });
      const [kill, close] = [tab.kill.bind(tab), sync.close.bind(sync)];
      tab.kill = () => {
        if (tab.dead) return;
        kill();
        all.bury(sync);
        alive.splice(alive.indexOf(sync), 1);
      };
      sync.close = () => {
        if (alive.includes(sync)) alive.splice(alive.indexOf(sync), 1);
        return close();
      };
      sync.tab = tab;
      alive.push(sync);
      opened.push(sync);
      return sync;
    } finally {
      for (const [name, descriptor] of before) descriptor ? Object.defineProperty(globalThis, name, descriptor) : delete globalThis[name];
    }
  }

  /** A tab that knows what there is to know. */
  async function tab(options) {
    const sync = open(options);
    await when(() => sync.status.store !== "opening");
    await when(() => sync.status.paused || sync.status.lastSyncedAt !== null || sync.status.error);
    return sync;
  }

  /** Lets time pass, if need be, until it is so. */
  async function when(condition, what = condition) {
    for (let i = 0; i < 200; i++) {
      if (condition()) return;
      if (net) await new Promise((resolve) => setTimeout(resolve, 50));
      else await all.clock.advance(i < 20 ? 0 : 100);
    }
    await until(condition, what);
  }

  /** Until all that are alive have nothing to send and show what the server has. */
  const settled = () => when(() => alive.every((sync) => sync.tab.asleep || (!sync.status.pending && same(sync, all.server))), "all tabs show what the server has");

  return { ...all, locks, factory, open, tab, when, settled, alive };
}

function same(sync, server) {
  const has = [...server.documents.values()].filter(({ deleted }) => !deleted).map(({ id, data, version }) => [id, data, version]);
  const shows = sync.collection("todos").getSnapshot().map(({ id, data, version }) => [id, data, version]);
  return JSON.stringify(has.sort()) === JSON.stringify(shows);
}
