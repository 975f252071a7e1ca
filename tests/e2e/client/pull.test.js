// Pace, pages, failures, and starting again.

import assert from "node:assert/strict";
import { test } from "node:test";
import { readFileSync } from "node:fs";
import { documentHash, problem } from "./fakeserver.js";
import { KeptStore, outcome, page, shown, until, world } from "./support.js";

test("polls as often as the server says, spread by a fifth", async (t) => {
  const { client, clock, server } = world(t);
  server.pollAfterMs = 10_000;
  for (const [chance, ms] of [[0, 8000], [0.5, 10_000], [1, 12_000]]) {
    clock.chance = chance;
    const sync = await client();
    assert.deepEqual(clock.due, [ms]);
    await sync.close();
  }
});

test("changes of others arrive by the next poll", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  server.other("put", "todos", "t1", { a: 1 });
  await clock.advance(2000);
  assert.deepEqual(shown(sync), { t1: { a: 1 } });
  server.other("delete", "todos", "t1");
  await clock.advance(2000);
  assert.deepEqual(shown(sync), {});
  assert.equal(sync.status.lastSyncedAt, clock.now());
});

test("an own push brings them at once, in its answer", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  server.other("put", "todos", "t1", { a: 1 });
  sync.collection("todos").put("t2", {});
  await clock.advance(20);
  assert.deepEqual(shown(sync), { t1: { a: 1 }, t2: {} });
  assert.equal(server.pulls().length, 1, "only the first one");
});

test("nothing of a long answer is shown before its end", async (t) => {
  const { client, clock, server, start } = world(t);
  for (let i = 0; i < 5; i++) server.other("put", "todos", `t${i}`, { i });
  server.limit = 2;
  const sync = start();
  const sizes = [];
  sync.collection("todos").subscribe(() => sizes.push(sync.collection("todos").getSnapshot().length));
  await clock.advance(0);
  assert.deepEqual(sizes, [0, 5]);
  assert.equal(server.pulls().length, 3);

  for (let i = 5; i < 10; i++) server.other("put", "todos", `t${i}`, { i });
  sync.collection("todos").put("own", {}); // the push's page is the first of several
  await clock.advance(20);
  assert.deepEqual(sizes.filter((size, i) => size !== sizes[i - 1]), [0, 5, 6, 11]);
  assert.equal((await client()).collection("todos").getSnapshot().length, 11);
});

test("a document deleted between two pages is not shown", async (t) => {
  const { clock, server, start } = world(t);
  for (let i = 0; i < 4; i++) server.other("put", "todos", `t${i}`, { i });
  server.limit = 2;
  const sync = start();
  server.fault = () => {
    if (server.pulls().length === 2) server.other("delete", "todos", "t0");
  };
  await clock.advance(0);
  assert.deepEqual(Object.keys(shown(sync)), ["t1", "t2", "t3"]);
});

test("a pull overtaken by a push's page changes nothing back", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  server.other("put", "todos", "t1", { n: 1 });
  server.hold();
  await clock.advance(2000); // a pull that has seen n: 1 is on its way back
  server.other("patch", "todos", "t1", { n: 2 });
  sync.collection("todos").put("t2", {});
  await clock.advance(20);
  assert.equal(shown(sync).t1.n, 2);
  server.release();
  await clock.advance(0);
  assert.equal(shown(sync).t1.n, 2);
  await clock.advance(5000);
  assert.deepEqual(shown(sync), { t1: { n: 2 }, t2: {} });
});

test("a push overtaken by pulls changes nothing back, nor does it make us ask again", async (t) => {
  const { client, clock, server } = world(t);
  server.other("put", "todos", "t1", { a: 1, b: 1 });
  const sync = await client();
  server.other("patch", "todos", "t1", { b: 2 });
  server.hold();
  sync.collection("todos").merge("t1", { a: 2 }); // merged: the answer brings the document as it is now
  await clock.advance(20);
  server.other("patch", "todos", "t1", { b: 3 });
  await clock.advance(2500);
  assert.deepEqual(shown(sync), { t1: { a: 2, b: 3 } });
  server.release();
  await clock.advance(0);
  assert.deepEqual(shown(sync), { t1: { a: 2, b: 3 } });
  await clock.advance(3000);
  const positions = server.pulls().slice(1).map(({ cursor }) => JSON.parse(atob(cursor)).position);
  assert.deepEqual(positions, positions.toSorted((a, b) => a - b));
  assert.deepEqual([sync.status.pending, positions.at(-1)], [0, server.head]);
});

test("a merged edit shows what it was merged with, before the rest of the changes is here", async (t) => {
  const { client, clock, server } = world(t);
  server.other("put", "todos", "t1", { a: 1, b: 1 });
  const sync = await client();
  server.limit = 1;
  for (let i = 0; i < 3; i++) server.other("put", "todos", `o${i}`, {});
  server.other("patch", "todos", "t1", { b: 2 });
  server.hold(1);
  sync.collection("todos").merge("t1", { a: 2 });
  await clock.advance(20);
  server.hold(1); // the next pull
  server.release();
  await clock.advance(0);
  assert.equal(server.held, 1);
  assert.deepEqual(shown(sync), { t1: { a: 2, b: 2 } });
  server.release();
  await clock.advance(20);
  assert.equal(Object.keys(shown(sync)).length, 4);
});

test("only the collections asked for", async (t) => {
  const { client, clock, server } = world(t);
  server.other("put", "todos", "t1", {});
  server.other("put", "notes", "n1", {});
  const sync = await client({ collections: ["todos"] });
  sync.collection("todos").put("t2", {});
  await clock.advance(20);
  server.other("put", "notes", "n2", {});
  await clock.advance(2000);
  assert.deepEqual([shown(sync), shown(sync, "notes")], [{ t1: {}, t2: {} }, {}]);
  assert.deepEqual(sync.events("resync"), []);
});

test("other collections than last time: one resync", async (t) => {
  const { client, server } = world(t);
  const store = new KeptStore();
  server.other("put", "todos", "t1", {});
  server.other("put", "notes", "n1", {});
  await (await client({ store, collections: ["todos"] })).close();
  const sync = await client({ store });
  assert.deepEqual([shown(sync), shown(sync, "notes")], [{ t1: {} }, { n1: {} }]);
  assert.deepEqual(sync.events("resync"), [{ cause: "filter" }]);
});

test("failures back off: full jitter, doubling to a minute", async (t) => {
  const { client, clock, server } = world(t);
  clock.chance = 1;
  const sync = await client();
  server.down();
  await clock.advance(2400);
  const waits = [];
  for (let i = 0; i < 9; i++) {
    waits.push(clock.due[0]);
    await clock.advance(clock.due[0]);
  }
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
  assert.deepEqual([sync.status.online, sync.status.error.code], [false, "network"]);
  clock.chance = 0.25;
  await clock.advance(clock.due[0]);
  assert.equal(clock.due[0], 15_000);

  server.down(false);
  await clock.advance(15_000);
  assert.deepEqual([sync.status.online, sync.status.error], [true, null]);
  server.down();
  clock.chance = 1;
  await clock.advance(clock.due[0]);
  assert.equal(clock.due[0], 1000, "from the beginning");
});

test("an edit does not break the backoff", async (t) => {
  const { client, clock, server } = world(t);
  clock.chance = 1;
  const sync = await client();
  server.fault = () => problem(500, "internal");
  for (let i = 0; i < 50; i++) {
    sync.collection("todos").put(`t${i}`, {});
    await clock.advance(100);
  }
  assert.ok(server.pushes().length <= 4, `${server.pushes().length} pushes in 5 s`);
});

test("Retry-After wins, in seconds and as a date", async (t) => {
  for (const date of [false, true]) {
    const { client, clock, server } = world(t);
    clock.time = Date.UTC(2026, 0, 1);
    const sync = await client();
    const value = date ? new Date(clock.time + 2000 + 90_000).toUTCString() : "90";
    server.fault = () => problem(503, "unavailable", {}, { "Retry-After": value });
    await clock.advance(2000);
    assert.deepEqual(clock.due, [90_000]);
    assert.equal(sync.status.error.retryAfterMs, 90_000);
    const before = server.requests.length;
    sync.pause();
    sync.resume(); // reason to hope, but the server has named a time
    await clock.advance(89_000);
    assert.equal(server.requests.length, before);
    server.fault = () => undefined;
    await clock.advance(1000);
    assert.equal(sync.status.error, null);
  }
});

test("a Retry-After or a pace beyond reason does not turn into none", async (t) => {
  const { client, clock, server } = world(t);
  server.pollAfterMs = 0;
  const sync = await client();
  await clock.advance(10_000);
  assert.ok(server.requests.length < 10);
  server.fault = () => problem(503, "unavailable", {}, { "Retry-After": "99999999" });
  await clock.advance(2000);
  assert.deepEqual(clock.due, [2 ** 31 - 1]);
  assert.equal(sync.status.error.retryAfterMs, 99999999000);
});

test("401: once more with a fresh token", async (t) => {
  const { client, clock, server } = world(t);
  let good = "first";
  let asked = [];
  const getToken = async ({ refresh }) => (asked.push(refresh), refresh ? good : "first");
  server.fault = ({ token }) => token !== good && problem(401, "unauthenticated");
  const sync = await client({ getToken });
  assert.deepEqual(asked, [false]);
  good = "second";
  asked = [];
  sync.collection("todos").put("t1", {});
  await clock.advance(20);
  assert.deepEqual([asked, sync.status.pending, sync.status.error], [[false, true], 0, null]);
  assert.equal(server.requests.at(-1).token, "second");

  server.fault = () => problem(401, "unauthenticated");
  asked = [];
  sync.collection("todos").put("t2", {});
  await clock.advance(20);
  assert.deepEqual([asked, sync.status.error.code, sync.status.error.status], [[false, true], "unauthenticated", 401]);
  server.fault = () => undefined;
  await clock.advance(10_000);
  assert.equal(sync.status.pending, 0);
});

test("a getToken that fails is a failure like others", async (t) => {
  const { client, clock, server } = world(t);
  let fails = true;
  const getToken = () => {
    if (fails) throw new Error("no session");
    return "token";
  };
  const sync = await client({ getToken });
  assert.equal(server.requests.length, 0);
  assert.equal(sync.status.error.cause.message, "no session");
  fails = false;
  await clock.advance(2000);
  assert.equal(sync.status.error, null);
});

test("the request event tells of each request", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  server.other("put", "todos", "t1", {});
  sync.collection("todos").put("t2", {});
  await clock.advance(20);
  server.down();
  await clock.advance(2000);
  const [first, second, third] = sync.events("request");
  assert.deepEqual(first, { kind: "pull", status: 200, ms: 0, edits: 0, changes: 0 });
  assert.deepEqual(second, { kind: "push", status: 200, ms: 0, edits: 1, changes: 2 });
  assert.deepEqual([third.kind, third.status, third.error.code], ["pull", 0, "network"]);
});

// -- The page's surroundings

test("hidden: no polls, but own edits go out; visible: at once", async (t) => {
  const { show } = page(t);
  const { client, clock, server } = world(t);
  const sync = await client();
  show("hidden");
  await clock.advance(60_000);
  assert.equal(server.requests.length, 1);
  const edit = sync.collection("todos").put("t1", {});
  await clock.advance(60_000);
  assert.equal((await outcome(edit)).status, "applied");
  assert.equal(server.requests.length, 2);
  show("visible");
  await clock.advance(0);
  assert.equal(server.requests.length, 3);
  await clock.advance(2000);
  assert.equal(server.requests.length, 4);
});

test("offline: nothing; online: at once, whatever the backoff", async (t) => {
  const { online } = page(t);
  const { client, clock, server } = world(t);
  const sync = await client();
  server.hold();
  sync.collection("todos").put("t1", {});
  await clock.advance(20);
  online(false);
  await clock.advance(0);
  assert.deepEqual([sync.status.online, sync.status.inFlight, sync.status.error], [false, 0, null]);
  const before = server.requests.length;
  await clock.advance(120_000);
  assert.equal(server.requests.length, before);
  online(true);
  await clock.advance(0);
  assert.deepEqual([sync.status.online, sync.status.pending], [true, 0]);
});

test("a machine without network still reaches its own server", async (t) => {
  const { online } = page(t);
  const { client, server } = world(t);
  online(false);
  for (const [url, reaches] of [["http://127.0.0.1:8080", 1], ["http://localhost/x", 1], ["http://[::1]:80", 1], ["http://far", 0]]) {
    server.requests = [];
    const sync = await client({ url });
    assert.deepEqual([server.requests.length, sync.status.online], [reaches, reaches === 1], url);
  }
});

test("focus ends the backoff", async (t) => {
  const { focus } = page(t);
  const { client, clock, server } = world(t);
  const sync = await client();
  clock.chance = 1;
  server.down();
  sync.collection("todos").put("t1", {});
  await clock.advance(60_000);
  server.down(false);
  const before = server.requests.length;
  focus();
  await clock.advance(0);
  assert.equal(server.requests.length, before + 2);
  assert.equal(sync.status.pending, 0);
});

// -- 410

test("an expired cursor: everything anew, one event, what is gone is gone", async (t) => {
  const { client, clock, server } = world(t);
  for (const id of ["t1", "t2", "t3"]) server.other("put", "todos", id, { id });
  const sync = await client();
  server.other("delete", "todos", "t2");
  server.other("patch", "todos", "t3", { n: 1 });
  server.purge();
  server.limit = 1;
  await clock.advance(2000);
  assert.deepEqual(shown(sync), { t1: { id: "t1" }, t3: { id: "t3", n: 1 } });
  assert.deepEqual(sync.events("resync"), [{ cause: "retention" }]);
  assert.deepEqual(sync.events("remote"), []);
  await clock.advance(2000);
  assert.deepEqual([sync.events("resync").length, sync.status.error], [1, null]);
});

test("410 to a push that had no earlier try: its edits were not applied, and are sent again", async (t) => {
  const { client, clock, server } = world(t);
  server.other("put", "todos", "t1", { a: 1 });
  const sync = await client();
  server.other("put", "todos", "t2", {});
  server.other("delete", "todos", "t2");
  server.purge();
  const first = sync.collection("todos").merge("t1", { b: 1 });
  const second = sync.collection("todos").merge("t1", { c: 1 });
  const created = sync.collection("todos").put("t3", {});
  await clock.advance(20);
  assert.deepEqual(sync.events("resync").length, 1);
  for (const edit of [first, second, created]) assert.equal((await outcome(edit)).status, "applied");
  assert.deepEqual(server.data("todos", "t1"), { a: 1, b: 1, c: 1 });
  assert.equal(sync.problems.length, 0);
});

test("an edit shown by the snapshot was applied; those on top of it follow", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  const todos = sync.collection("todos");
  server.loseAnswers(1);
  const put = todos.put("t1", { a: 1 });
  const patch = todos.merge("t1", { b: 1 });
  await clock.advance(20);
  const queued = todos.merge("t1", { c: 1 });
  server.epoch = "epoch-2";
  server.receipts.clear();
  await clock.advance(10_000);
  for (const edit of [put, patch, queued]) assert.equal((await outcome(edit)).status, "applied");
  assert.deepEqual(server.data("todos", "t1"), { a: 1, b: 1, c: 1 });
  assert.deepEqual([sync.problems.length, sync.events("resync").length], [0, 1]);
  // The second is the retry that met the 410; with the new history only the edit that was never sent is sent.
  assert.deepEqual(server.pushes().map(({ body }) => body.edits.length), [2, 2, 1]);
});

test("an edit whose fate nobody knows is handed over, with those on top of it", async (t) => {
  const { client, clock, server } = world(t);
  server.other("put", "todos", "t1", { a: 0 });
  const sync = await client();
  const todos = sync.collection("todos");
  const backup = server.backup();
  server.loseAnswers(1);
  const sent = todos.merge("t1", { a: 1 });
  const elsewhere = todos.put("t2", { b: 1 });
  await clock.advance(20);
  const queued = todos.merge("t1", { c: 1 });
  const unrelated = todos.put("t3", {});
  server.restore(backup);
  await clock.advance(10_000);
  assert.deepEqual(await Promise.all([sent, elsewhere, queued].map(async (edit) => (await outcome(edit)).status)), ["conflict", "conflict", "skipped"]);
  assert.equal((await outcome(unrelated)).status, "applied");
  assert.deepEqual(shown(sync), { t1: { a: 0 }, t3: {} });
  const [first, second] = sync.problems;
  assert.deepEqual([first.error.code, first.mine, first.theirs], ["outcome_unknown", { a: 1, c: 1 }, { a: 0 }]);
  assert.deepEqual([second.mine, second.theirs], [{ b: 1 }, null]);
  first.keepMine();
  second.keepMine();
  await clock.advance(20);
  assert.deepEqual([server.data("todos", "t1"), server.data("todos", "t2")], [{ a: 1, c: 1 }, { b: 1 }]);
});

test("a sent delete of what is gone needs no question", async (t) => {
  const { client, clock, server } = world(t);
  server.other("put", "todos", "t1", {});
  const sync = await client();
  server.loseAnswers(1);
  const edit = sync.collection("todos").delete("t1");
  await clock.advance(20);
  server.purge();
  server.epoch = "epoch-2";
  await clock.advance(10_000);
  assert.equal((await outcome(edit)).status, "applied");
  assert.deepEqual([sync.problems.length, shown(sync)], [0, {}]);
});

test("edits never sent outlive a resync, also over documents that are gone", async (t) => {
  const { client, clock, server } = world(t);
  server.other("put", "todos", "t1", { a: 1, b: 1 });
  server.other("put", "todos", "t2", {});
  const sync = await client();
  sync.pause();
  const created = sync.collection("todos").put("t3", { new: true });
  const patched = sync.collection("todos").merge("t1", { a: 2 });
  server.other("delete", "todos", "t1");
  server.other("delete", "todos", "t2");
  server.purge();
  sync.resume();
  await clock.advance(20);
  assert.equal((await outcome(created)).status, "applied");
  assert.equal((await outcome(patched)).status, "conflict", "the document it patches is gone");
  assert.deepEqual(shown(sync), { t3: { new: true } });
  const [problem] = sync.problems;
  assert.deepEqual([problem.mine, problem.theirs], [{ a: 2, b: 1 }, null]);
  problem.keepMine();
  await clock.advance(20);
  assert.deepEqual(server.data("todos", "t1"), { a: 2, b: 1 });
});

test("edits of a lost history conflict instead of overwriting", async (t) => {
  const { client, clock, server } = world(t);
  server.other("put", "todos", "t1", { a: 1 });
  const backup = server.backup();
  server.other("put", "todos", "t1", { a: 2 });
  const sync = await client();
  sync.pause();
  sync.collection("todos").put("t1", { a: 3 });
  server.restore(backup);
  sync.resume();
  await clock.advance(20);
  const [problem] = sync.problems;
  assert.deepEqual([problem.base, problem.mine, problem.theirs], [{ a: 2 }, { a: 3 }, { a: 1 }]);
  assert.deepEqual(shown(sync), { t1: { a: 1 } });
});

test("a restored backup that has lost a push of ours is loaded in pages, once", async (t) => {
  const { client, clock, server } = world(t);
  server.limit = 2;
  for (const id of ["t1", "t2", "t3", "t4", "t5"]) server.other("put", "todos", id, {});
  const backup = server.backup();
  const sync = await client();
  const lost = sync.collection("todos").put("lost", {});
  await clock.advance(20);
  assert.equal((await outcome(lost)).status, "applied");
  sync.pause();
  const unsent = sync.collection("todos").put("t6", {});
  server.restore(backup);
  sync.resume();
  await clock.advance(60_000);
  assert.equal((await outcome(unsent)).status, "applied");
  assert.deepEqual(Object.keys(shown(sync)), ["t1", "t2", "t3", "t4", "t5", "t6"]);
  assert.deepEqual([...server.documents.keys()], ["t1", "t2", "t3", "t4", "t5", "t6"].map((id) => `todos/${id}`));
  assert.deepEqual([sync.events("resync"), sync.problems.length, sync.status.error], [[{ cause: "epoch" }], 0, null]);
});

test("a pull's 410 while a push is under way waits for its answer", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  server.hold();
  const edit = sync.collection("todos").put("t1", {});
  await clock.advance(20);
  server.floor = server.head + 1; // now no cursor is good
  await clock.advance(2500);
  assert.deepEqual(sync.events("resync"), []);
  server.release();
  server.floor = 0;
  await clock.advance(2000);
  assert.equal((await outcome(edit)).status, "applied");
  assert.deepEqual([sync.problems.length, shown(sync)], [0, { t1: {} }]);
});

test("a page of the lost history that comes late is not taken for the new one", async (t) => {
  const { client, clock, server } = world(t);
  for (const id of ["t1", "t2"]) server.other("put", "todos", id, { id });
  const sync = await client();
  server.other("put", "todos", "t3", { id: "t3" });
  server.hold(1);
  await clock.advance(2000); // a pull of the old history is on its way back
  assert.equal(server.held, 1);
  server.epoch = "epoch-2";
  sync.collection("todos").put("t4", { id: "t4" });
  await clock.advance(20); // meets the 410
  server.release();
  await clock.advance(1000);
  assert.deepEqual(Object.keys(shown(sync)), ["t1", "t2", "t3", "t4"]);
  assert.equal(sync.events("resync").length, 1);
});

test("a server that refuses every cursor is not stormed", async (t) => {
  const { client, clock, server } = world(t);
  server.limit = 1;
  for (const id of ["t1", "t2", "t3"]) server.other("put", "todos", id, {});
  server.fault = ({ cursor }) => cursor && problem(410, "cursor_expired", { cause: "epoch" });
  const sync = await client();
  await clock.advance(60_000);
  assert.ok(server.requests.length < 30, `${server.requests.length} requests in a minute`);
  assert.equal(sync.status.error.code, "cursor_expired");
});

test("a damaged cursor is treated as an expired one", async (t) => {
  const { client, server } = world(t);
  const store = new KeptStore();
  server.other("put", "todos", "t1", {});
  await (await client({ store })).close();
  store.records.get("meta").cursor = "%%%";
  const sync = await client({ store });
  assert.deepEqual([shown(sync), sync.events("resync").length], [{ t1: {} }, 1]);
});

// -- The digest

test("the hash is the one of openapi.yaml", () => {
  const spec = readFileSync(new URL("../../../openapi.yaml", import.meta.url), "utf8");
  const vectors = [...spec.matchAll(/^ *\| `([^`]+)` \| `([^`]+)` \| (\d+) \| `([0-9a-f]{16})` \|$/gm)];
  assert.equal(vectors.length, 3);
  for (const [, collection, id, version, hash] of vectors) {
    assert.equal(documentHash({ collection, id, version }).toString(16).padStart(16, "0"), hash);
  }
});

test("a document that the client has lost: everything is loaded anew, and edits are kept", async (t) => {
  const { client, clock, server } = world(t);
  for (const id of ["t1", "t2", "t3"]) server.other("put", "todos", id, { id });
  const sync = await client();
  server.broken = "documents";
  server.documents.delete("todos/t2"); // as if its deletion had been lost on the way
  server.other("put", "todos", "t1", { id: "t1", done: true });
  server.down();
  sync.collection("todos").put("own", {});
  await clock.advance(20);
  server.down(false);
  await clock.advance(10_000);
  assert.deepEqual(shown(sync), { own: {}, t1: { id: "t1", done: true }, t3: { id: "t3" } });
  assert.deepEqual([sync.events("resync"), sync.events("mismatch"), sync.status.pending], [[{ cause: "digest" }], [], 0]);
});

test("the same over a stream", async (t) => {
  const { client, clock, server } = world(t);
  for (const id of ["t1", "t2"]) server.other("put", "todos", id, {});
  const sync = await client({ stream: true });
  await clock.advance(100);
  assert.equal(server.streams.size, 1);
  server.broken = "documents";
  server.documents.delete("todos/t2");
  server.other("put", "todos", "t3", {});
  server.poke();
  await clock.advance(10_000);
  assert.deepEqual(shown(sync), { t1: {}, t3: {} });
  assert.deepEqual([sync.events("resync"), sync.events("mismatch")], [[{ cause: "digest" }], []]);
  assert.equal(server.streams.size, 1, "the stream is up again");
});

test("a digest that is wrong for good: loaded anew once, told once, and on it goes", async (t) => {
  const { client, clock, server } = world(t);
  server.broken = "digest";
  server.other("put", "todos", "t1", {});
  const sync = await client();
  await clock.advance(0);
  const [{ mine, theirs }] = sync.events("mismatch");
  assert.equal(BigInt(`0x${theirs}`) - BigInt(`0x${mine}`), 1n);
  const before = server.pulls().length;
  for (let i = 0; i < 5; i++) {
    server.other("put", "todos", `n${i}`, {});
    await clock.advance(2000);
  }
  assert.equal(server.pulls().length - before, 5);
  assert.deepEqual([sync.events("resync").length, sync.events("mismatch").length, Object.keys(shown(sync)).length], [1, 1, 6]);
});

test("a count that is wrong is a mismatch, too", async (t) => {
  const { client, clock, server } = world(t);
  server.broken = "count";
  server.other("put", "todos", "t1", {});
  const sync = await client();
  await clock.advance(0);
  const [{ mine, theirs }] = sync.events("mismatch");
  assert.deepEqual([mine === theirs, sync.events("resync")], [true, [{ cause: "digest" }]]);
});

test("not while a push is under way: its answer may be what is missing", async (t) => {
  const { client, clock, server } = world(t);
  for (const id of ["t1", "t2"]) server.other("put", "todos", id, {});
  const sync = await client({ stream: true });
  await clock.advance(100);
  server.broken = "documents";
  server.hold(1);
  sync.collection("todos").put("own", {});
  await clock.advance(20);
  assert.equal(server.held, 1);
  server.documents.delete("todos/t2");
  server.other("put", "todos", "t3", {});
  server.poke();
  await until(() => shown(sync).t3, "the stream brings what the other did");
  await clock.advance(20);
  assert.equal(server.pulls().filter(({ cursor }) => cursor === null).length, 1, "only the first snapshot");
  server.release();
  await clock.advance(20);
  server.other("put", "todos", "t4", {});
  server.poke();
  await clock.advance(10_000);
  assert.deepEqual(shown(sync), { own: {}, t1: {}, t3: {}, t4: {} });
  assert.deepEqual(sync.events("resync"), [{ cause: "digest" }]);
});

test("lag: unknown before the first sync, then the time since the last, as of when it is read; none while a stream is up", async (t) => {
  const { client, clock, server, start } = world(t);
  const sync = await client();
  assert.equal(start({ paused: true }).status.lag, null);
  assert.equal(sync.status.lag, 0);
  server.down();
  await clock.advance(10_000);
  const snapshot = sync.status.getSnapshot();
  assert.deepEqual([sync.status.lag, snapshot.lag], [10_000, 10_000]);
  await clock.advance(500);
  assert.deepEqual([sync.status.lag, snapshot.lag], [10_500, 10_500]);
  clock.time -= 60_000; // the device's clock was set back
  assert.equal(sync.status.lag, 0);
  clock.time += 60_000;
  server.down(false);
  await clock.advance(60_000);
  assert.ok(sync.status.lag <= 2400, `${sync.status.lag}`);

  const streamed = await client({ stream: true });
  await clock.advance(9000);
  assert.deepEqual([streamed.status.transport, streamed.status.lag], ["stream", 0]);
  assert.equal(streamed.status.lastSyncedAt, clock.now() - 9000);
});

test("oldestPending: when the oldest unanswered edit was made, over a reload, too", async (t) => {
  const { client, clock, server } = world(t);
  const store = new KeptStore();
  const before = await client({ store });
  assert.equal(before.status.oldestPending, null);
  server.down();
  const first = clock.now();
  before.collection("todos").put("t1", { n: 1 });
  assert.equal(before.status.oldestPending, first);
  await clock.advance(5000);
  before.collection("todos").put("t2", { n: 1 });
  assert.equal(before.status.oldestPending, first);
  await before.close();
  await clock.advance(5000);
  const after = await client({ store });
  assert.equal(after.status.oldestPending, first);
  server.down(false);
  await clock.advance(60_000);
  assert.deepEqual([after.status.pending, after.status.oldestPending], [0, null]);
});
