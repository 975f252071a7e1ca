// What survives a reload. Tabs that share a store: tabs.test.js.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import "fake-indexeddb/auto";
import { IDBFactory } from "fake-indexeddb";
import { KeptStore, outcome, shown, until, world } from "./support.js";

beforeEach(() => {
  globalThis.indexedDB = new IDBFactory();
});

/** A client on IndexedDB that has pulled once. */
function indexed(t) {
  const all = world(t);
  async function tab(options = {}) {
    const sync = all.start({ store: "indexeddb", ...options });
    await sync.ready;
    await all.clock.advance(0);
    await until(() => sync.status.lastSyncedAt !== null || sync.status.paused || sync.status.error);
    return sync;
  }
  /** Time until nothing is pending. */
  async function drained(sync) {
    for (let i = 0; i < 50 && sync.status.pending; i++) await all.clock.advance(500);
    assert.equal(sync.status.pending, 0);
  }
  return { ...all, tab, drained };
}

test("IndexedDB is the default where it exists", async (t) => {
  const { tab, drained } = indexed(t);
  const sync = await tab({ store: undefined });
  assert.equal(sync.status.store, "indexeddb");
  sync.collection("todos").put("t1", { a: 1 });
  await drained(sync);
  await sync.close();
  const offline = await tab({ paused: true });
  assert.deepEqual(shown(offline), { t1: { a: 1 } });
  assert.equal(offline.clientId, sync.clientId);
});

test("names keep stores apart", async (t) => {
  const { tab } = indexed(t);
  const alice = await tab({ name: "alice", paused: true });
  alice.collection("todos").put("t1", {});
  await alice.close();
  const bob = await tab({ name: "bob", paused: true });
  assert.deepEqual(shown(bob), {});
  assert.notEqual(bob.clientId, alice.clientId);
});

test("a reload while offline loses nothing, and keeps the order", async (t) => {
  const { tab, server, drained } = indexed(t);
  server.other("put", "todos", "t1", { n: 0, by: "other" });
  let sync = await tab();
  for (let n = 1; n <= 12; n++) {
    sync.pause();
    sync.collection("todos").merge("t1", { n });
    sync.collection("todos").put(`new${n}`, { n });
    await sync.close();
    sync = await tab({ paused: true });
    assert.equal(sync.collection("todos").get("t1").data.n, n);
  }
  assert.equal(sync.status.pending, 24);
  sync.resume();
  await drained(sync);
  assert.deepEqual(server.data("todos", "t1"), { n: 12, by: "other" });
  assert.equal(server.documents.size, 13);
  assert.equal(sync.problems.length, 0);
});

test("a reload with a push under way repeats it as it was", async (t) => {
  const { tab, server, clock, drained } = indexed(t);
  const before = await tab();
  server.hold();
  before.collection("todos").put("t1", { n: 1 });
  await clock.advance(20);
  await until(() => server.held === 1);
  const version = server.head;
  before.collection("todos").merge("t1", { n: 2 });
  await before.close(); // the answer never arrives

  const after = await tab();
  await drained(after);
  const [first, second, third] = server.pushes();
  assert.equal(second.raw, first.raw);
  assert.deepEqual(third.body.edits.map(({ data }) => data), [{ n: 2 }]);
  assert.ok(server.documents.get("todos/t1").version > version);
  assert.deepEqual([server.data("todos", "t1"), after.problems.length], [{ n: 2 }, 0]);
  assert.equal(after.events("applied")[0].replayed, true);
});

test("an edit is in the store before it is sent, and so is the push", async (t) => {
  const { client, clock, server } = world(t);
  const store = new KeptStore();
  const sync = await client({ store });
  let stored;
  server.fault = ({ kind, body, raw }) => {
    if (kind !== "push") return;
    stored = body.edits.every((edit) => store.records.has(`edit/${edit.edit_id}`)) && store.records.get(store.keys("flight")[0]).body === raw;
  };
  sync.collection("todos").put("t1", {});
  await clock.advance(20);
  assert.equal(stored, true);
  await sync.close();
  assert.deepEqual([store.keys("edit"), store.keys("flight"), store.keys("document").length], [[], [], 1]);
});

test("nothing is sent while the store is still writing", async (t) => {
  const { client, clock, server } = world(t);
  const store = new KeptStore();
  const sync = await client({ store });
  const writes = [];
  store.save = (batch) => new Promise((resolve) => writes.push({ batch, resolve }));
  sync.collection("todos").put("t1", {});
  await clock.advance(1000);
  assert.equal(server.pushes().length, 0);
  writes.shift().resolve();
  await clock.advance(20);
  assert.equal(server.pushes().length, 0, "the push itself is not stored yet");
  assert.match(writes[0].batch[0][0], /^flight/);
  store.save = async () => {};
  writes.shift().resolve();
  await clock.advance(20);
  assert.equal(server.pushes().length, 1);
});

test("after a reload a stored push counts as one that may have arrived", async (t) => {
  const { client, clock, server } = world(t);
  const store = new KeptStore();
  const before = await client({ store });
  server.hold();
  before.collection("todos").put("t1", { n: 1 });
  await clock.advance(20);
  await before.close();
  server.epoch = "epoch-2";
  server.documents.clear();
  const after = await client({ store });
  await clock.advance(5000);
  assert.deepEqual([...after.problems].map(({ error, mine }) => [error.code, mine]), [["outcome_unknown", { n: 1 }]]);
  assert.equal(server.documents.size, 0, "not sent again");
});

test("the store holds only states the replica once had, whenever it stops", async (t) => {
  const { client, clock, server, start } = world(t);
  const states = [];
  class Recorder extends KeptStore {
    async save(batch) {
      await super.save(batch);
      states.push(structuredClone(this.records));
    }
  }
  const sync = await client({ store: new Recorder() });
  server.limit = 2;
  for (let i = 0; i < 6; i++) {
    server.other("put", "todos", `o${i}`, { i });
    sync.collection("todos").put("t1", { i });
    sync.collection("todos").merge("t1", { more: i });
    if (i % 2) server.loseAnswers(1);
    await clock.advance(300);
  }
  await clock.advance(10_000);
  await sync.close();
  const done = server.head;
  assert.ok(states.length > 20);

  for (const records of states) {
    const store = new KeptStore();
    store.records = records;
    const reloaded = start({ store });
    await reloaded.ready;
    await clock.advance(5000);
    assert.equal(reloaded.status.pending, 0);
    assert.equal(reloaded.problems.length, 0, "its own edits never conflict with it");
    assert.deepEqual(shown(reloaded), Object.fromEntries([...server.documents.values()].map(({ id, data }) => [id, data]).sort()));
    await reloaded.close();
  }
  assert.equal(server.head, done, "repeating had no second effect");
});

test("edits made before the store is open come after the stored ones, on top of them", async (t) => {
  const { client, clock, server, start } = world(t);
  const store = new KeptStore();
  server.other("put", "todos", "t1", { a: 1, b: 1 });
  const before = await client({ store });
  before.pause();
  before.collection("todos").merge("t1", { a: 2 });
  await before.close();

  const after = start({ store });
  const early = after.collection("todos").merge("t1", { b: 2 });
  const created = after.collection("todos").merge("t2", { c: 1 });
  assert.deepEqual(shown(after), { t1: { b: 2 }, t2: { c: 1 } });
  await after.ready;
  assert.deepEqual(shown(after), { t1: { a: 2, b: 2 }, t2: { c: 1 } });
  await clock.advance(50);
  for (const edit of [early, created]) assert.equal((await outcome(edit)).status, "applied");
  assert.deepEqual(server.data("todos", "t1"), { a: 2, b: 2 });
});

test("a reload in the middle of a resync goes on with it", async (t) => {
  const { client, clock, server } = world(t);
  const store = new KeptStore();
  for (let i = 0; i < 4; i++) server.other("put", "todos", `t${i}`, { i });
  const before = await client({ store });
  server.loseAnswers(1);
  before.collection("todos").put("mine", { n: 1 });
  await clock.advance(20);
  server.epoch = "epoch-2";
  server.limit = 2;
  server.fault = ({ kind, cursor }) => kind === "pull" && cursor && server.pulls().length > 3 && new Response("", { status: 503 });
  await clock.advance(3000);
  assert.equal(store.records.get("meta").resync, "epoch");
  await before.close();
  server.fault = () => undefined;
  const after = await client({ store });
  await clock.advance(3000);
  assert.deepEqual(after.events("resync"), [{ cause: "epoch" }]);
  assert.deepEqual([after.status.pending, after.problems.length], [0, 0]);
  assert.equal(Object.keys(shown(after)).length, 5);
});

test("a poll that brings nothing writes nothing and wakes nobody", async (t) => {
  const { client, clock, server } = world(t);
  server.other("put", "todos", "t1", {});
  const store = new KeptStore();
  const save = t.mock.method(store, "save");
  const sync = await client({ store });
  await sync.ready;
  const saved = save.mock.callCount();
  let calls = 0;
  sync.collection("todos").subscribe(() => calls++);
  sync.problems.subscribe(() => calls++);
  calls = 0; // they were told at once what there is
  await clock.advance(20_000);
  assert.ok(server.pulls().length > 5);
  assert.deepEqual([save.mock.callCount(), calls], [saved, 0]);
});

test("no IndexedDB to be had: memory, and status says so", async (t) => {
  const { client, clock, server } = world(t);
  globalThis.indexedDB = {
    open() {
      throw new DOMException("private mode", "SecurityError");
    },
  };
  const sync = await client({ store: "indexeddb" });
  assert.deepEqual([sync.status.store, sync.status.storeError.code], ["memory", "store_failed"]);
  sync.collection("todos").put("t1", {});
  await clock.advance(20);
  assert.deepEqual([server.documents.size, sync.status.error], [1, null]);
});

test("a store that fails later: everything goes on, nothing half is written", async (t) => {
  const { client, clock, server } = world(t);
  const store = new KeptStore();
  const sync = await client({ store });
  assert.equal(sync.status.store, "own");
  const before = structuredClone(store.records);
  store.fails = true;
  sync.collection("todos").put("t1", { n: 1 });
  await clock.advance(20);
  assert.deepEqual([sync.status.store, sync.status.storeError.code, server.documents.size], ["memory", "store_failed", 1]);
  store.fails = false;
  sync.collection("todos").merge("t1", { n: 2 });
  await clock.advance(20);
  await sync.close();
  assert.deepEqual(store.records, before, "a later batch without the lost one would be a state that never was");
});

test("a page without Web Locks does not share a store", async (t) => {
  globalThis.document = new EventTarget();
  t.after(() => delete globalThis.document);
  const { client } = world(t);
  const sync = await client({ store: "indexeddb" });
  assert.deepEqual([sync.status.store, sync.status.storeError.cause.code], ["memory", "no_web_locks"]);
});
