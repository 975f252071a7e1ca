// What the app sees: at once, without flicker, in objects that stay the same.

import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, mergeFields, newId, SyncError } from "./module.js";
import { outcome, shown, world } from "./support.js";

test("an edit shows at once, and is settled when the server has it", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  const todos = sync.collection("todos");
  const edit = todos.put("t1", { title: "Milk", done: false });
  const item = todos.get("t1");
  assert.deepEqual([item.data, item.pending, item.version], [{ title: "Milk", done: false }, true, 0]);
  todos.merge("t1", { done: true });
  assert.deepEqual(todos.get("t1").data, { title: "Milk", done: true });
  assert.equal(sync.status.pending, 2);
  assert.equal(server.data("todos", "t1"), null);

  await clock.advance(20);
  assert.deepEqual(await outcome(edit), { editId: edit.editId, status: "applied", version: server.head });
  assert.deepEqual(server.data("todos", "t1"), { title: "Milk", done: true });
  assert.deepEqual([todos.get("t1").pending, todos.get("t1").version], [false, server.head]);
  assert.equal(sync.status.pending, 0);
});

test("deleting and creating again, too", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  const todos = sync.collection("todos");
  todos.put("t1", { a: 1 });
  await clock.advance(20);
  todos.delete("t1");
  assert.deepEqual(todos.getSnapshot(), []);
  await clock.advance(20);
  const again = todos.put("t1", { a: 2 });
  await clock.advance(20);
  assert.equal((await outcome(again)).status, "applied", "it names the tombstone's version");
  assert.deepEqual(server.data("todos", "t1"), { a: 2 });
});

test("merge creates what is not there, and a null removes a field", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  const edit = sync.collection("todos").merge("t1", { a: 1, b: null, c: { d: null, e: 1 } });
  await clock.advance(20);
  assert.equal((await outcome(edit)).status, "applied");
  assert.deepEqual(server.data("todos", "t1"), { a: 1, c: { e: 1 } });
});

test("between acknowledgement and echo nothing moves", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  const todos = sync.collection("todos");
  todos.put("t1", { n: 0 });
  await clock.advance(20);
  const states = [];
  todos.subscribe(() => states.push(todos.get("t1").data.n));
  todos.merge("t1", { n: 1 });
  server.hold();
  await clock.advance(20);
  todos.merge("t1", { n: 2 }); // while the first is under way
  server.release();
  await clock.advance(20);
  await clock.advance(5000);
  assert.deepEqual(states.filter((n, i) => n !== states[i - 1]), [0, 1, 2], "never back to an older state");
  assert.equal(sync.problems.length, 0);
});

test("a pull does not make a pending edit flicker away", async (t) => {
  const { client, clock, server, soon } = world(t);
  const sync = await client();
  const todos = sync.collection("todos");
  todos.put("t1", { a: 1, b: 1 });
  await clock.advance(20);
  server.fault = ({ kind }) => kind === "push" && new Response("", { status: 503 });
  todos.merge("t1", { a: 2 });
  server.other("patch", "todos", "t1", { b: 2 });
  await soon(sync.pull());
  assert.deepEqual(todos.get("t1").data, { a: 2, b: 2 });
  assert.equal(todos.get("t1").pending, true);
});

test("nor when others delete the document, until that turns out to be a conflict", async (t) => {
  const { client, clock, server, soon } = world(t);
  server.other("put", "todos", "t1", { a: 1, b: 1 });
  const sync = await client();
  server.fault = ({ kind }) => kind === "push" && new Response("", { status: 503 });
  sync.collection("todos").merge("t1", { a: 2 });
  server.other("delete", "todos", "t1");
  await soon(sync.pull());
  assert.deepEqual(shown(sync), { t1: { a: 2, b: 1 } });
  server.fault = () => undefined;
  await clock.advance(5000);
  assert.deepEqual([shown(sync), sync.problems.length], [{}, 1]);
});

test("a snapshot is a new object only if it differs, and so is each item", async (t) => {
  const { client, clock, server, soon } = world(t);
  const sync = await client();
  const todos = sync.collection("todos");
  todos.put("b", { n: 1 });
  todos.put("a", { n: 1 });
  await clock.advance(20);
  await clock.advance(3000);
  const before = todos.getSnapshot();
  assert.deepEqual(before.map(({ id }) => id), ["a", "b"]);
  assert.equal(todos.getSnapshot(), before);
  let calls = 0;
  const stop = todos.subscribe((snapshot) => {
    assert.equal(snapshot, todos.getSnapshot());
    calls++;
  });
  assert.equal(calls, 1, "told at once what there is");
  sync.collection("others").put("x", {});
  await clock.advance(3000);
  assert.equal(todos.getSnapshot(), before, "another collection's matter");
  assert.equal(calls, 1);

  server.other("patch", "todos", "a", { n: 2 });
  await soon(sync.pull());
  const after = todos.getSnapshot();
  assert.notEqual(after, before);
  assert.notEqual(after[0], before[0]);
  assert.equal(after[1], before[1]);
  assert.equal(calls, 2);
  stop();
  todos.put("c", {});
  assert.equal(calls, 2);

  const data = todos.get("c").data;
  await clock.advance(3000);
  assert.equal(todos.get("c").pending, false);
  assert.equal(todos.get("c").data, data, "the data stays the same object through acknowledgement and echo");
});

test("the functions of an observable can be handed on unbound", async (t) => {
  const { client } = world(t);
  const sync = await client();
  for (const { subscribe, getSnapshot } of [sync.status, sync.problems, sync.collection("todos")]) {
    subscribe(() => {})();
    assert.equal(getSnapshot(), getSnapshot());
  }
  assert.equal(sync.collection("todos"), sync.collection("todos"));
});

test("who and when come with the echo", async (t) => {
  const { client, clock } = world(t);
  const sync = await client();
  sync.collection("todos").put("t1", {});
  assert.equal(sync.collection("todos").get("t1").updatedAt, undefined);
  await clock.advance(20);
  assert.equal(sync.collection("todos").get("t1").updatedBy, "anonymous");
});

test("changes of others are told, own ones are told as applied", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  const edit = sync.collection("todos").put("t1", {});
  server.other("put", "todos", "t2", { a: 1 });
  await clock.advance(20);
  assert.deepEqual(sync.events("applied").map(({ editId }) => editId), [edit.editId]);
  const [{ changes }] = sync.events("remote");
  assert.deepEqual(changes.map(({ id, editId, clientId, deleted }) => [id, editId, clientId, deleted]), [["t2", "other-1", "other", false]]);
  assert.equal(sync.events("remote").length, 1);
});

test("what was there before is no news", async (t) => {
  const { client, server } = world(t);
  server.other("put", "todos", "t1", {});
  const sync = await client();
  assert.deepEqual(shown(sync), { t1: {} });
  assert.deepEqual(sync.events("remote"), []);
});

test("a listener that throws, or edits, does no harm", async (t) => {
  const { client, clock } = world(t);
  const sync = await client();
  const todos = sync.collection("todos");
  const reported = t.mock.method(console, "error", () => {});
  todos.subscribe(() => {
    throw new Error("the app's");
  });
  todos.subscribe(() => {
    if (!todos.get("t2")) todos.put("t2", { by: "listener" });
  });
  todos.put("t1", {});
  await clock.advance(20);
  assert.deepEqual(Object.keys(shown(sync)), ["t1", "t2"]);
  assert.equal(sync.status.pending, 0);
  assert.ok(reported.mock.callCount() > 0);
});

test("what is passed in may be changed afterwards", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  const data = { tags: ["a"] };
  sync.collection("todos").put("t1", data);
  data.tags.push("b");
  await clock.advance(20);
  assert.deepEqual(server.data("todos", "t1"), { tags: ["a"] });
});

test("names and data that no server takes are refused at once, by code", async (t) => {
  const { client } = world(t);
  const sync = await client();
  const todos = sync.collection("todos");
  const code = (run) => {
    try {
      run();
    } catch (error) {
      assert.ok(error instanceof SyncError);
      return error.code;
    }
  };
  assert.equal(code(() => sync.collection("a/b")), "invalid_collection");
  assert.equal(code(() => todos.put("", {})), "invalid_id");
  assert.equal(code(() => todos.put("x".repeat(129), {})), "invalid_id");
  for (const data of [null, undefined, [], "text", 1]) assert.equal(code(() => todos.put("t1", data)), "invalid_document");
  assert.equal(sync.status.pending, 0);
});

test("field names of the prototype are ordinary names", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  const data = JSON.parse('{"__proto__": {"a": 1}, "constructor": 1, "b": 1}');
  sync.collection("todos").put("t1", data);
  sync.collection("todos").merge("t1", JSON.parse('{"__proto__": {"c": 2}}'));
  assert.equal(JSON.stringify(sync.collection("todos").get("t1").data.__proto__), '{"a":1,"c":2}');
  assert.equal({}.c, undefined);
  assert.deepEqual(mergeFields({}, JSON.parse('{"constructor": 2}'), {}), JSON.parse('{"constructor": 2}'));
  await clock.advance(20);
  assert.equal(server.head > 0, true);
});

test("newId: UUIDv7, strictly growing", () => {
  const ids = Array.from({ length: 10_000 }, newId);
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.deepEqual(ids, [...new Set(ids)].sort());
  assert.ok(Math.abs(parseInt(ids[0].replace("-", "").slice(0, 12), 16) - Date.now()) < 60_000);
});

test("mergeFields", () => {
  const cases = [
    ["each side's own fields", { a: 1, b: 1 }, { a: 2, b: 1 }, { a: 1, b: 2 }, { a: 2, b: 2 }],
    ["mine wins where both changed", { a: 1 }, { a: 2 }, { a: 3 }, { a: 2 }],
    ["new fields of both", {}, { a: 1 }, { b: 1 }, { a: 1, b: 1 }],
    ["what I removed", { a: 1, b: 1 }, { b: 1 }, { a: 1, b: 2 }, { b: 2 }],
    ["what they removed", { a: 1, b: 1 }, { a: 1, b: 2 }, { b: 1 }, { b: 2 }],
    ["objects by their fields", { o: { a: 1, b: 1 } }, { o: { a: 2, b: 1 } }, { o: { a: 1, b: 2 } }, { o: { a: 2, b: 2 } }],
    ["arrays as a whole", { l: [1] }, { l: [1, 2] }, { l: [0, 1] }, { l: [1, 2] }],
    ["no base", null, { a: 1 }, { a: 2, b: 2 }, { a: 1, b: 2 }],
    ["they deleted it", { a: 1 }, { a: 2 }, null, { a: 2 }],
    ["I deleted it", { a: 1 }, null, { a: 2 }, { a: 2 }],
    ["both did", { a: 1 }, null, null, {}],
  ];
  for (const [what, base, mine, theirs, merged] of cases) assert.deepEqual(mergeFields(base, mine, theirs), merged, what);
});

test("the module does nothing by itself and needs nothing but fetch", async (t) => {
  const { server } = world(t);
  for (const name of ["document", "window", "indexedDB", "localStorage"]) assert.equal(globalThis[name], undefined);
  const sync = connect({ url: "http://fake", space: "s", fetch: server.fetch });
  await sync.pull();
  assert.equal(sync.status.store, "memory");
  assert.equal(sync.status.storeError, null);
  await sync.close();
});
