// The outbox: order, bases, one push at a time, retries.

import assert from "node:assert/strict";
import { test } from "node:test";
import { problem } from "./fakeserver.js";
import { outcome, shown, world } from "./support.js";

const ops = (request) => request.body.edits.map(({ op, id }) => `${op} ${id}`);

test("edits are gathered, and pushed in the order they were made", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  const todos = sync.collection("todos");
  todos.put("a", {});
  await clock.advance(15);
  todos.put("b", {});
  todos.delete("a");
  assert.equal(server.pushes().length, 0);
  await clock.advance(5);
  assert.deepEqual(server.pushes().map(ops), [["put a", "put b", "delete a"]]);
});

test("one push at a time; what was made meanwhile follows at once", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  const todos = sync.collection("todos");
  server.hold();
  todos.put("a", {});
  await clock.advance(20);
  todos.put("b", {});
  todos.put("c", {});
  await clock.advance(1000);
  assert.equal(server.pushes().length, 1);
  assert.deepEqual([sync.status.pending, sync.status.inFlight], [3, 1]);
  server.release();
  await clock.advance(0);
  assert.deepEqual(server.pushes().map(ops), [["put a"], ["put b", "put c"]]);
  assert.deepEqual([sync.status.pending, sync.status.inFlight], [0, 0]);
});

test("typing never conflicts with itself, whatever is under way", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  const todos = sync.collection("todos");
  const edits = [todos.put("t1", { title: "" })];
  for (const letter of "tidemark") {
    server.hold();
    edits.push(todos.merge("t1", { title: todos.get("t1").data.title + letter }));
    await clock.advance(20);
    edits.push(todos.merge("t1", { last: letter })); // on an edit that is under way
    edits.push(todos.merge("t1", { twice: letter })); // and on one that is queued
    server.release();
    await clock.advance(0);
  }
  await clock.advance(20);
  for (const edit of edits) assert.equal((await outcome(edit)).status, "applied");
  assert.deepEqual(server.data("todos", "t1"), { title: "tidemark", last: "k", twice: "k" });
});

test("an edit names its own predecessor, then that one's version, then the version seen", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  const todos = sync.collection("todos");
  const first = todos.put("t1", { a: 1 });
  const second = todos.merge("t1", { a: 2 });
  server.hold();
  await clock.advance(20);
  todos.merge("t1", { a: 3 });
  server.release();
  await clock.advance(20);
  const bases = server.pushes().flatMap(({ body }) => body.edits).map(({ base_version, base_edit_id }) => base_version ?? base_edit_id);
  assert.deepEqual(bases.slice(0, 2), [0, first.editId]);
  assert.equal(bases[2], (await outcome(second)).version);
});

test("on a merged edit the next one keeps naming the edit", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  const todos = sync.collection("todos");
  server.other("put", "todos", "t1", { a: 1, b: 1 });
  await clock.advance(5000);
  server.other("patch", "todos", "t1", { b: 2 });
  const merged = todos.merge("t1", { a: 2 });
  server.hold();
  await clock.advance(20);
  const next = todos.merge("t1", { a: 3 });
  server.release();
  await clock.advance(20);
  assert.deepEqual(todos.get("t1").data, { a: 3, b: 2 });
  assert.equal(server.pushes().at(-1).body.edits[0].base_edit_id, merged.editId);
  assert.equal((await outcome(next)).status, "applied");
  todos.merge("t1", { b: 3 }); // made on what the merge brought in
  await clock.advance(20);
  assert.equal(sync.problems.length, 0);
});

test("a lost answer: the same push again, one effect", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  const todos = sync.collection("todos");
  const edit = todos.put("t1", { n: 1 });
  server.loseAnswers(2);
  await clock.advance(20);
  assert.equal(sync.status.online, false);
  assert.equal(sync.status.error.code, "network");
  const version = server.head;
  todos.put("t2", { n: 2 });
  await clock.advance(10_000);
  const raw = server.pushes().map((request) => request.raw);
  assert.equal(raw.length, 4);
  assert.equal(raw[1], raw[0]);
  assert.equal(raw[2], raw[0], "unchanged, though there is more to send now");
  assert.equal((await outcome(edit)).version, version);
  assert.equal(sync.events("applied")[0].replayed, true);
  assert.deepEqual(shown(sync), { t1: { n: 1 }, t2: { n: 2 } });
  assert.equal(server.documents.get("todos/t1").version, version);
  assert.deepEqual([sync.status.online, sync.status.error], [true, null]);
});

test("an answer that is not Tidemark's is no answer", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  const edit = sync.collection("todos").put("t1", {});
  server.fault = () => new Response("<h1>Please log in to this Wi-Fi</h1>", { status: 200 });
  await clock.advance(20);
  assert.equal(sync.status.error.code, "bad_response");
  server.fault = () => new Response("{}", { status: 200 });
  await clock.advance(2000);
  assert.equal(sync.status.pending, 1);
  server.fault = () => undefined;
  await clock.advance(10_000);
  assert.equal((await outcome(edit)).status, "applied");
});

test("no more than 200 edits a push", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  const edits = Array.from({ length: 450 }, (_, i) => sync.collection("todos").put(`t${i}`, { i }));
  await clock.advance(20);
  assert.deepEqual(server.pushes().map(({ body }) => body.edits.length), [200, 200, 50]);
  assert.equal((await outcome(edits[449])).status, "applied");
});

test("no push over 1 MiB", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  for (let i = 0; i < 20; i++) sync.collection("todos").put(`t${i}`, { text: "ü".repeat(50_000) });
  await clock.advance(20);
  const sizes = server.pushes().map(({ raw }) => new TextEncoder().encode(raw).length);
  assert.ok(sizes.length > 1 && sizes.every((size) => size <= 1 << 20), sizes.join());
  assert.equal(sync.status.pending, 0);
});

test("a server that takes less gets less; what it never takes becomes a problem", async (t) => {
  const { client, clock, server } = world(t);
  server.maxBytes = 3000;
  const sync = await client();
  const todos = sync.collection("todos");
  for (let i = 0; i < 30; i++) todos.put(`t${i}`, { i });
  const big = todos.put("big", { text: "x".repeat(4000) });
  todos.put("last", {});
  await clock.advance(20);
  assert.equal(Object.keys(shown(sync)).length, 31);
  assert.deepEqual([(await outcome(big)).status, (await outcome(big)).error.code], ["rejected", "body_too_large"]);
  assert.deepEqual(sync.problems.getSnapshot().map(({ id, kind }) => [id, kind]), [["big", "rejected"]]);
  assert.ok(server.pushes().length < 40);
});

test("a push refused as a whole is shown and does not spin", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  server.fault = ({ kind }) => kind === "push" && problem(400, "invalid_request", { detail: "no" });
  sync.collection("todos").put("t1", { a: 1 });
  await clock.advance(20);
  assert.deepEqual([sync.status.error.code, sync.status.error.status, sync.status.error.message], ["invalid_request", 400, "no"]);
  assert.equal(sync.status.online, true);
  await clock.advance(60_000);
  assert.ok(server.pushes().length < 10, `${server.pushes().length} pushes in a minute`);
  assert.ok(server.pulls().length > 20, "pulls go on");
  assert.deepEqual(shown(sync), { t1: { a: 1 } });
  server.fault = () => undefined;
  await clock.advance(60_000);
  assert.equal(sync.status.pending, 0);
  assert.equal(sync.status.error, null);
});

test("push() resolves when nothing is unanswered", async (t) => {
  const { client, server, soon } = world(t);
  const sync = await client();
  await soon(sync.push());
  assert.equal(server.pushes().length, 0);
  for (let i = 0; i < 250; i++) sync.collection("todos").put(`t${i}`, {});
  await soon(sync.push());
  assert.equal(server.documents.size, 250);
  server.down();
  sync.collection("todos").put("x", {});
  await assert.rejects(soon(sync.push()), { code: "network" });
});

test("paused: everything waits; resumed: everything goes", async (t) => {
  const { client, clock, server, soon } = world(t);
  const sync = await client({ paused: true });
  await clock.advance(60_000);
  assert.equal(server.requests.length, 0);
  sync.collection("todos").put("t1", {});
  await clock.advance(60_000);
  assert.equal(server.requests.length, 0);
  await assert.rejects(soon(sync.pull()), { code: "paused" });
  await assert.rejects(soon(sync.push()), { code: "paused" });
  sync.resume();
  await clock.advance(20);
  assert.equal(sync.status.pending, 0);
  assert.deepEqual([sync.status.paused, sync.status.error], [false, null]);
});

test("pause stops a push under way; it stays the next one to send", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  server.hold();
  const edit = sync.collection("todos").put("t1", { n: 1 });
  await clock.advance(20);
  sync.pause();
  await clock.advance(1000);
  assert.deepEqual([sync.status.pending, sync.status.inFlight, sync.status.error], [1, 0, null]);
  sync.collection("todos").merge("t1", { n: 2 });
  sync.resume();
  await clock.advance(20);
  const [first, second] = server.pushes().map(({ raw }) => raw);
  assert.equal(second, first);
  assert.equal((await outcome(edit)).status, "applied");
  assert.deepEqual(server.data("todos", "t1"), { n: 2 });
});

test("pause and resume in one breath", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  server.hold();
  sync.collection("todos").put("t1", {});
  await clock.advance(20);
  sync.pause();
  sync.resume();
  await clock.advance(20);
  assert.deepEqual([sync.status.pending, sync.status.error, server.pushes().length], [0, null, 2]);
});

test("close stops everything", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  server.hold(2);
  const edit = sync.collection("todos").put("t1", {});
  await clock.advance(20);
  const pull = sync.pull();
  pull.catch(() => {});
  await clock.advance(0);
  assert.equal(server.held, 2);
  await sync.close();
  await assert.rejects(pull, { code: "closed" });
  assert.equal((await outcome(edit)).status, "closed");
  await clock.advance(0);
  assert.equal(clock.timers, 0);
  assert.throws(() => sync.collection("todos").put("t2", {}), { code: "closed" });
  await assert.rejects(sync.pull(), { code: "closed" });
  const before = server.requests.length;
  await clock.advance(120_000);
  assert.equal(server.requests.length, before);
});

test("a request that is never answered is given up in time", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client({ timeoutMs: 4000 });
  server.hold(1);
  const edit = sync.collection("todos").put("t1", {});
  await clock.advance(3000);
  assert.equal(sync.status.inFlight, 1);
  await clock.advance(1100);
  assert.equal(sync.status.error?.code, "timeout");
  await clock.advance(2000);
  assert.equal((await outcome(edit)).status, "applied");
});
