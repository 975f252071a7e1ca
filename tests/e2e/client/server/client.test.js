// The client against the real server.

import assert from "node:assert/strict";
import { test } from "node:test";
import { cell } from "../../results.js";
import { connect, row } from "../module.js";
import { KeptStore, shown } from "../support.js";
import { newSpace, serverUrl } from "./server.js";

/** Clients of a fresh space, closed when the test ends. */
function clients(t) {
  const space = newSpace();
  return async (options) => {
    const sync = connect({ url: serverUrl, space, store: "memory", ...options });
    t.after(() => sync.close());
    await sync.ready;
    if (!options?.paused) await sync.pull();
    return sync;
  };
}

/** Resolves when the condition holds; it is looked at whenever the client says that something has changed. */
function when(sync, condition, what) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`never came true: ${what}`)), 20_000);
    const stops = [];
    const look = () => {
      if (!condition()) return;
      clearTimeout(late);
      stops.forEach((stop) => stop());
      resolve();
    };
    for (const live of [sync.status, sync.problems, sync.presence, sync.collection("todos")]) stops.push(live.subscribe(look));
    look();
  });
}

/** A fetch that writes down what was asked for, and what it makes of a stream. */
function watched(stream = fetch) {
  const asked = [];
  const get = (url, init) => {
    const kind = /\/(push|changes|stream|presence)\b/.exec(url)[1];
    asked.push(kind);
    return kind === "stream" ? stream(url, init) : fetch(url, init);
  };
  return { fetch: get, asked, count: (kind) => asked.filter((each) => each === kind).length };
}

const streams = (sync) => when(sync, () => sync.status.transport === "stream", "the stream is up");

cell(row, "stream", "the stream brings what others do, and no poll is made", async (t) => {
  const client = clients(t);
  const net = watched();
  const [alice, bob] = [await client(), await client({ fetch: net.fetch })];
  await streams(bob);
  const polls = net.count("changes");
  for (let n = 0; n < 20; n++) {
    const edit = (n % 2 ? bob : alice).collection("todos").merge("t1", { n, [`f${n}`]: "Grüße \u2028" });
    assert.equal((await edit.settled).status, "applied");
    await Promise.all([alice, bob].map((sync) => when(sync, () => shown(sync).t1?.n === n, `edit ${n} is seen`)));
  }
  alice.collection("todos").delete("t1");
  await when(bob, () => !shown(bob).t1, "Bob sees that it is gone");
  assert.deepEqual([net.count("changes"), net.count("stream")], [polls, 1]);
});

test("what happened while a client was away comes over the stream in pages, and shows as a whole", async (t) => {
  const client = clients(t);
  const alice = await client();
  const bob = await client();
  await streams(bob);
  bob.pause();
  for (let i = 0; i < 1200; i++) alice.collection("todos").put(`t${i}`, { i });
  await alice.push();
  const sizes = new Set();
  bob.collection("todos").subscribe(() => sizes.add(bob.collection("todos").getSnapshot().length));
  bob.resume();
  await when(bob, () => bob.collection("todos").getSnapshot().length === 1200, "Bob has everything");
  await streams(bob);
  assert.deepEqual([...sizes], [0, 1200]);
});

cell(row, "poll where streams are blocked", "a stream that is blocked: polls", async (t) => {
  const client = clients(t);
  const forbidden = async () => new Response("<h1>No</h1>", { status: 403, headers: { "Content-Type": "text/html" } });
  const net = watched(forbidden);
  const [alice, bob] = [await client(), await client({ fetch: net.fetch })];
  alice.collection("todos").put("t1", { n: 1 });
  await when(bob, () => shown(bob).t1, "Bob sees it");
  assert.deepEqual([bob.status.transport, bob.status.error, net.count("changes") > 1], ["polling", null, true]);
});

test("a cursor that the stream does not take: resync, and the stream again", async (t) => {
  const client = clients(t);
  const store = new KeptStore();
  const first = await client({ store });
  await first.collection("todos").put("t1", { n: 1 }).settled;
  await first.close();
  const second = await client({ store, collections: ["todos"], paused: true });
  const resyncs = [];
  second.on("resync", ({ cause }) => resyncs.push(cause));
  second.resume();
  await when(second, () => resyncs.length && second.status.transport === "stream", "the stream is up after the resync");
  assert.deepEqual([shown(second), resyncs], [{ t1: { n: 1 } }, ["filter"]]);
});

cell(row, "optimistic edits by polls", "two clients converge by polls, without being told to", async (t) => {
  const client = clients(t);
  const [alice, bob] = [await client({ stream: false }), await client({ stream: false })];
  const edit = alice.collection("todos").put("t1", { title: "Milk", done: false });
  assert.deepEqual([shown(alice), alice.status.pending], [{ t1: { title: "Milk", done: false } }, 1]); // before the server knows
  assert.equal((await edit.settled).status, "applied");
  await when(bob, () => shown(bob).t1, "Bob sees the document by his own poll");
  bob.collection("todos").merge("t1", { done: true });
  await when(alice, () => shown(alice).t1.done, "Alice sees Bob's edit");
  assert.deepEqual(shown(alice), { t1: { title: "Milk", done: true } });
  bob.collection("todos").delete("t1");
  await when(alice, () => !shown(alice).t1, "Alice sees that it is gone");
});

cell(row, "edits of different fields merge", "both edit different fields: merged", async (t) => {
  const client = clients(t);
  const [alice, bob] = [await client(), await client()];
  await alice.collection("todos").put("t1", { title: "Milk", done: false }).settled;
  await bob.pull();
  alice.collection("todos").merge("t1", { title: "Oat milk" });
  bob.collection("todos").merge("t1", { done: true });
  await Promise.all([alice.push(), bob.push()]);
  bob.collection("todos").merge("t1", { done: false }); // on top of what was merged
  await bob.push();
  await alice.pull();
  await bob.pull();
  assert.deepEqual(shown(alice), { t1: { title: "Oat milk", done: false } });
  assert.deepEqual(shown(bob), shown(alice));
  assert.deepEqual([alice.problems.length, bob.problems.length], [0, 0]);
});

cell(row, "offline edits and the three ways out of a conflict", "offline edits, a conflict, and each way out of it", async (t) => {
  for (const [way, title] of [["keepMine", "Bob's"], ["takeTheirs", "Alice's"], ["merge", "Bob's"]]) {
    const client = clients(t);
    const [alice, bob] = [await client(), await client()];
    await alice.collection("todos").put("t1", { title: "Milk", n: 0 }).settled;
    await bob.pull();
    bob.pause();
    const mine = bob.collection("todos").merge("t1", { title: "Bob's" });
    bob.collection("todos").merge("t1", { n: 1 });
    bob.collection("todos").put("t2", { by: "Bob" });
    await alice.collection("todos").merge("t1", { title: "Alice's" }).settled;
    bob.resume();
    assert.equal((await mine.settled).status, "conflict");
    await bob.push();
    const [problem] = bob.problems;
    assert.deepEqual([problem.base, problem.theirs, problem.mine], [{ title: "Milk", n: 0 }, { title: "Alice's", n: 0 }, { title: "Bob's", n: 1 }]);
    assert.deepEqual(problem.fields, ["title"]);
    problem[way]();
    await bob.push();
    await alice.pull();
    assert.deepEqual(shown(alice), { t1: { title, n: way === "takeTheirs" ? 0 : 1 }, t2: { by: "Bob" } });
    assert.deepEqual([shown(bob), bob.problems.length], [shown(alice), 0]);
  }
});

cell(row, "lost answers", "answers that get lost, and a reload in between: one effect each", async (t) => {
  const client = clients(t);
  const store = new KeptStore();
  let lose = false;
  const bodies = [];
  const lossy = async (url, init) => {
    const response = await fetch(url, init);
    if (init.method === "POST") bodies.push(init.body);
    if (lose && init.method === "POST") throw new TypeError("connection reset");
    return response;
  };
  let sync = await client({ store, fetch: lossy });
  for (let n = 0; n < 5; n++) {
    lose = true;
    sync.collection("todos").put("t1", { n });
    sync.collection("todos").merge("t1", { twice: n });
    await assert.rejects(sync.push(), { code: "network" });
    sync.collection("todos").put(`queued${n}`, { n });
    await sync.close();
    lose = false;
    sync = await client({ store, fetch: lossy });
    await sync.push();
  }
  assert.deepEqual(shown(sync).t1, { n: 4, twice: 4 });
  assert.equal(Object.keys(shown(sync)).length, 6);
  assert.equal(sync.problems.length, 0);
  assert.deepEqual(new Set(bodies).size < bodies.length, true);
  const other = await client();
  assert.deepEqual(shown(other), shown(sync));
});

cell(row, "410 with unsent edits kept", "a cursor the server does not take: resync, and unsent edits live on", async (t) => {
  const client = clients(t);
  const store = new KeptStore();
  const first = await client({ store });
  await first.collection("todos").put("t1", { n: 1 }).settled;
  first.pause();
  first.collection("todos").merge("t1", { n: 2 });
  await first.close();
  const resyncs = [];
  const second = await client({ store, collections: ["todos"], paused: true }); // another filter than that of the cursor
  second.on("resync", ({ cause }) => resyncs.push(cause));
  second.resume();
  await second.push();
  assert.deepEqual([shown(second), resyncs, second.problems.length], [{ t1: { n: 2 } }, ["filter"], 0]);
});

cell(row, "digest check", "a store that has lost a document: the digest tells, and everything is loaded anew", async (t) => {
  const client = clients(t);
  const store = new KeptStore();
  const first = await client({ store });
  for (const id of ["t1", "t2"]) first.collection("todos").put(id, { id });
  await first.push();
  await first.pull();
  await first.close();
  assert.ok(store.records.delete("document/todos/t1"));
  const second = await client({ store, paused: true });
  const resyncs = [];
  second.on("resync", ({ cause }) => resyncs.push(cause));
  second.on("mismatch", () => resyncs.push("mismatch"));
  assert.deepEqual(shown(second), { t2: { id: "t2" } });
  second.resume();
  await (await client()).collection("todos").put("t3", { id: "t3" }).settled; // a digest comes with what is new
  await when(second, () => shown(second).t1 && shown(second).t3, "all three are here");
  assert.deepEqual([shown(second), resyncs], [{ t1: { id: "t1" }, t2: { id: "t2" }, t3: { id: "t3" } }, ["digest"]]);
});

cell(row, "first sync in pages", "many documents come in pages", async (t) => {
  const client = clients(t);
  const alice = await client();
  for (let i = 0; i < 1200; i++) alice.collection("todos").put(`t${i}`, { i });
  await alice.push();
  const sizes = new Set();
  const bob = await client({ paused: true });
  bob.collection("todos").subscribe(() => sizes.add(bob.collection("todos").getSnapshot().length));
  bob.resume();
  await bob.pull();
  assert.deepEqual([...sizes], [0, 1200]);
  assert.deepEqual(shown(bob), shown(alice));
});

cell(row, "rejected edits", "an edit the server refuses", async (t) => {
  const client = clients(t);
  const sync = await client();
  const refused = sync.collection("todos").put("t1", { text: "x".repeat(300_000) });
  const fine = sync.collection("todos").put("t2", {});
  assert.deepEqual([(await refused.settled).status, (await refused.settled).error.code], ["rejected", "document_too_large"]);
  assert.equal((await fine.settled).status, "applied");
  const huge = sync.collection("todos").put("t3", { text: "x".repeat(2_000_000) });
  assert.deepEqual([(await huge.settled).status, (await huge.settled).error.code], ["rejected", "body_too_large"]);
  assert.deepEqual([...sync.problems].map(({ kind, id }) => [kind, id]), [["rejected", "t1"], ["rejected", "t3"]]);
});

cell(row, "presence", "who is here, by stream and by poll", async (t) => {
  const client = clients(t);
  const [alice, bob, carol] = [await client(), await client(), await client({ stream: false })];
  const names = (sync) => sync.presence.getSnapshot().map(({ state }) => state.name).sort().join();
  await streams(alice);
  alice.presence.set({ name: "Alice" });
  bob.presence.set({ name: "Bob" });
  await when(alice, () => names(alice) === "Alice,Bob", "Alice sees Bob");
  carol.presence.set({ name: "Carol" });
  await when(carol, () => names(carol) === "Alice,Bob,Carol", "Carol sees both");
  await when(alice, () => names(alice) === "Alice,Bob,Carol", "Alice sees Carol");
  await bob.presence.leave();
  await when(alice, () => names(alice) === "Alice,Carol", "Alice sees that Bob has left");
});
