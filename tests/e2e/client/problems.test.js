// Edits that do not go through: both sides, every way out, nothing lost.

import assert from "node:assert/strict";
import { test } from "node:test";
import { KeptStore, outcome, shown, world } from "./support.js";

/** A client that has edited a field which someone else had just changed. */
async function conflicted(t, options) {
  const all = world(t);
  all.server.other("put", "todos", "t1", { title: "Milk", done: false, n: 1 });
  const sync = await all.client(options);
  all.server.other("patch", "todos", "t1", { title: "Oat milk", n: 2 });
  const edit = sync.collection("todos").merge("t1", { title: "Soy milk", done: true });
  await all.clock.advance(20);
  return { ...all, sync, edit, todos: sync.collection("todos"), problem: sync.problems.getSnapshot()[0] };
}

test("a conflict: the server's state is shown, both sides are handed over", async (t) => {
  const { sync, edit, todos, problem } = await conflicted(t);
  assert.deepEqual(todos.get("t1").data, { title: "Oat milk", done: false, n: 2 });
  assert.equal(todos.get("t1").pending, false);
  assert.equal(todos.get("t1").problem, problem);
  const { kind, collection, id, base, mine, theirs, fields, editIds } = problem;
  assert.deepEqual([kind, collection, id, fields, editIds], ["conflict", "todos", "t1", ["title"], [edit.editId]]);
  assert.deepEqual(base, { title: "Milk", done: false, n: 1 });
  assert.deepEqual(mine, { title: "Soy milk", done: true, n: 1 });
  assert.deepEqual(theirs, { title: "Oat milk", done: false, n: 2 });
  assert.deepEqual([problem.error.code, sync.problems.length, [...sync.problems]], ["version_conflict", 1, [problem]]);

  const settled = await outcome(edit);
  assert.deepEqual([settled.status, settled.problem, settled.error.code], ["conflict", problem, "version_conflict"]);
  const [event] = sync.events("conflict");
  assert.deepEqual([event.editId, event.problem, event.mine], [edit.editId, problem, mine]);
});

test("keepMine: my edit again, on top of theirs", async (t) => {
  const { sync, todos, problem, clock, server } = await conflicted(t);
  const [again] = problem.keepMine();
  assert.deepEqual(todos.get("t1").data, { title: "Soy milk", done: true, n: 2 });
  assert.equal(sync.problems.length, 0);
  assert.equal(todos.get("t1").problem, undefined);
  await clock.advance(20);
  assert.equal((await outcome(again)).status, "applied");
  assert.deepEqual(server.data("todos", "t1"), { title: "Soy milk", done: true, n: 2 });
  assert.deepEqual(problem.keepMine(), [], "solved is solved");
});

test("takeTheirs: my edit is dropped", async (t) => {
  const { sync, todos, problem, clock, server } = await conflicted(t);
  let calls = 0;
  sync.problems.subscribe(() => calls++);
  problem.takeTheirs();
  assert.equal(calls, 2, "at once, and when it went");
  await clock.advance(5000);
  assert.deepEqual(todos.get("t1").data, { title: "Oat milk", done: false, n: 2 });
  assert.deepEqual([sync.problems.length, server.pushes().length], [0, 1]);
});

test("merge: by field unless told otherwise", async (t) => {
  const { problem, clock, server } = await conflicted(t);
  const edit = problem.merge();
  await clock.advance(20);
  assert.equal((await outcome(edit)).status, "applied");
  assert.deepEqual(server.data("todos", "t1"), { title: "Soy milk", done: true, n: 2 });
});

test("merge with a function, with data", async (t) => {
  const first = await conflicted(t);
  first.problem.merge(({ mine, theirs }) => ({ ...theirs, title: `${mine.title} and ${theirs.title}` }));
  await first.clock.advance(20);
  assert.deepEqual(first.server.data("todos", "t1"), { title: "Soy milk and Oat milk", done: false, n: 2 });
  const second = await conflicted(t);
  assert.throws(() => second.problem.merge("text"), { code: "invalid_document" });
  assert.equal(second.sync.problems.length, 1, "still there");
  second.problem.merge({ title: "Water" });
  await second.clock.advance(20);
  assert.deepEqual(second.server.data("todos", "t1"), { title: "Water" });
});

test("theirs moves on while a person thinks", async (t) => {
  const { sync, problem, clock, server, todos } = await conflicted(t);
  server.other("patch", "todos", "t1", { title: "Rice milk" });
  await clock.advance(5000);
  const now = sync.problems.getSnapshot()[0];
  assert.notEqual(now, problem);
  assert.deepEqual([now.theirs.title, now.mine.title, now.problemId], ["Rice milk", "Soy milk", problem.problemId]);
  assert.equal(todos.get("t1").problem, now);
  problem.keepMine(); // also from the older card
  await clock.advance(20);
  assert.deepEqual([sync.problems.length, server.data("todos", "t1").title], [0, "Soy milk"]);
});

test("editing on instead of deciding leaves the problem where it is", async (t) => {
  const { sync, todos, clock, server } = await conflicted(t);
  todos.merge("t1", { n: 3 });
  await clock.advance(20);
  assert.deepEqual([sync.problems.length, server.data("todos", "t1").n], [1, 3]);
});

test("they deleted it: mine brings the whole document back", async (t) => {
  const { client, server, clock } = world(t);
  server.other("put", "todos", "t1", { a: 1, b: 1 });
  const sync = await client();
  server.other("delete", "todos", "t1");
  const edit = sync.collection("todos").merge("t1", { a: 2 });
  await clock.advance(20);
  assert.equal((await outcome(edit)).status, "conflict");
  assert.deepEqual(shown(sync), {});
  const [problem] = sync.problems;
  assert.deepEqual([problem.theirs, problem.mine], [null, { a: 2, b: 1 }]);
  problem.keepMine();
  await clock.advance(20);
  assert.deepEqual([server.data("todos", "t1"), sync.problems.length], [{ a: 2, b: 1 }, 0]);
});

test("I deleted it: mine deletes theirs", async (t) => {
  const { client, server, clock } = world(t);
  server.other("put", "todos", "t1", { a: 1 });
  const sync = await client();
  server.other("patch", "todos", "t1", { a: 2 });
  sync.collection("todos").delete("t1");
  await clock.advance(20);
  assert.deepEqual(shown(sync), { t1: { a: 2 } });
  const [problem] = sync.problems;
  assert.deepEqual([problem.mine, problem.theirs, problem.fields], [null, { a: 2 }, ["a"]]);
  problem.keepMine();
  await clock.advance(20);
  assert.equal(server.data("todos", "t1"), null);
});

test("both created it", async (t) => {
  const { client, server, clock } = world(t);
  const sync = await client();
  server.other("put", "todos", "t1", { a: 1 });
  sync.collection("todos").put("t1", { b: 1 });
  await clock.advance(20);
  const [problem] = sync.problems;
  assert.deepEqual([problem.base, problem.mine, problem.theirs], [null, { b: 1 }, { a: 1 }]);
  problem.merge();
  await clock.advance(20);
  assert.deepEqual(server.data("todos", "t1"), { a: 1, b: 1 });
});

test("edits made on a failed one are held with it: in the push, under way, queued", async (t) => {
  const { client, server, clock } = world(t);
  server.other("put", "todos", "t1", { a: 1 });
  const sync = await client();
  const todos = sync.collection("todos");
  server.other("patch", "todos", "t1", { a: 2 });
  const first = todos.merge("t1", { a: 3 });
  const second = todos.merge("t1", { b: 3 });
  const elsewhere = todos.put("t2", {});
  server.hold();
  await clock.advance(20);
  const third = todos.merge("t1", { c: 3 });
  server.release();
  await clock.advance(20);
  assert.deepEqual(await Promise.all([first, second, third].map(async (edit) => (await outcome(edit)).status)), ["conflict", "skipped", "skipped"]);
  assert.equal((await outcome(elsewhere)).status, "applied");
  assert.deepEqual(shown(sync), { t1: { a: 2 }, t2: {} });
  const [problem] = sync.problems;
  assert.deepEqual([problem.mine, problem.editIds], [{ a: 3, b: 3, c: 3 }, [first, second, third].map(({ editId }) => editId)]);
  assert.equal(server.pushes().length, 1, "what can't succeed is not sent");
  problem.keepMine();
  await clock.advance(20);
  assert.deepEqual(server.data("todos", "t1"), { a: 3, b: 3, c: 3 });
});

test("a status that nobody knows yet is a rejection: nothing is asked, nothing sent again", async (t) => {
  const { client, server, clock } = world(t);
  const asked = [];
  const sync = await client({ onConflict: (conflict) => asked.push(conflict) && "mine" });
  const edit = sync.collection("todos").put("t1", { postpone: true });
  const next = sync.collection("todos").merge("t1", { a: 1 });
  await clock.advance(5000);
  const settled = await outcome(edit);
  assert.deepEqual([settled.status, settled.error.code, (await outcome(next)).status], ["rejected", "unknown_status", "skipped"]);
  assert.deepEqual([...sync.problems].map(({ kind, error }) => [kind, error.code]), [["rejected", "unknown_status"]]);
  assert.deepEqual([asked, sync.events("conflict"), server.pushes().length], [[], [], 1]);
});

test("a rejected edit is shown with its reason", async (t) => {
  const { client, server, clock } = world(t);
  const sync = await client();
  const todos = sync.collection("todos");
  const edit = todos.put("t1", { refuse: true });
  const next = todos.merge("t1", { a: 1 });
  const other = todos.put("t2", {});
  await clock.advance(20);
  const settled = await outcome(edit);
  assert.deepEqual([settled.status, settled.error.code], ["rejected", "invalid_document"]);
  assert.equal((await outcome(next)).status, "skipped");
  assert.equal((await outcome(other)).status, "applied");
  const [problem] = sync.problems;
  assert.deepEqual([problem.kind, problem.error.code, problem.mine], ["rejected", "invalid_document", { refuse: true, a: 1 }]);
  assert.deepEqual(sync.events("conflict"), []);
  problem.retry();
  await clock.advance(20);
  assert.equal(sync.problems.length, 1, "refused again");
  sync.problems.getSnapshot()[0].dismiss();
  assert.deepEqual([sync.problems.length, shown(sync)], [0, { t2: {} }]);
  assert.equal(server.data("todos", "t1"), null);
});

test("an edit whose base the server has forgotten is handed over, not resent", async (t) => {
  const { client, server, clock } = world(t);
  server.other("put", "todos", "t1", { a: 1, b: 1 });
  const sync = await client();
  server.other("patch", "todos", "t1", { b: 2 });
  sync.collection("todos").merge("t1", { a: 2 });
  server.hold();
  await clock.advance(20); // merged, so the next edit keeps naming it
  const next = sync.collection("todos").merge("t1", { a: 3 });
  server.receipts.clear();
  server.release();
  await clock.advance(20);
  assert.equal((await outcome(next)).status, "skipped");
  const [problem] = sync.problems;
  assert.deepEqual([problem.kind, problem.error.code, problem.mine.a], ["conflict", "base_unknown", 3]);
  problem.keepMine();
  await clock.advance(20);
  assert.deepEqual(server.data("todos", "t1"), { a: 3, b: 2 });
});

test("problems survive a reload, and can be solved after it", async (t) => {
  const store = new KeptStore();
  const { sync, client, clock, server } = await conflicted(t, { store });
  await sync.close();
  const reloaded = await client({ store });
  const [problem] = reloaded.problems;
  assert.deepEqual([problem.mine.title, problem.theirs.title, problem.error.code], ["Soy milk", "Oat milk", "version_conflict"]);
  assert.equal(reloaded.collection("todos").get("t1").problem, problem);
  problem.keepMine();
  await clock.advance(20);
  assert.equal(server.data("todos", "t1").title, "Soy milk");
  assert.deepEqual(store.keys("problem"), []);
});

test("onConflict decides at once", async (t) => {
  const asked = [];
  const decide = (decision) => (conflict) => (asked.push(conflict), typeof decision === "function" ? decision(conflict) : decision);

  const theirs = await conflicted(t, { onConflict: decide("theirs") });
  await theirs.clock.advance(20);
  assert.deepEqual([theirs.sync.problems.length, theirs.server.data("todos", "t1").title], [0, "Oat milk"]);
  assert.deepEqual([(await outcome(theirs.edit)).status, (await outcome(theirs.edit)).resolution], ["conflict", "theirs"]);

  const mine = await conflicted(t, { onConflict: decide("mine") });
  assert.equal(mine.todos.get("t1").data.title, "Soy milk");
  await mine.clock.advance(20);
  assert.deepEqual(mine.server.data("todos", "t1"), { title: "Soy milk", done: true, n: 2 });
  assert.equal((await outcome(mine.edit)).resolution, "mine");

  const merged = await conflicted(t, { onConflict: decide(({ theirs }) => ({ ...theirs, title: "Both" })) });
  await merged.clock.advance(20);
  assert.deepEqual(merged.server.data("todos", "t1"), { title: "Both", done: false, n: 2 });
  assert.equal((await outcome(merged.edit)).resolution, "merged");
  assert.equal(merged.sync.events("conflict")[0].problem, undefined);

  const left = await conflicted(t, { onConflict: decide(undefined) });
  assert.equal(left.sync.problems.length, 1);
  assert.deepEqual(asked[3].fields, ["title"]);
});

test("an onConflict that fails decides nothing", async (t) => {
  t.mock.method(console, "error", () => {});
  const throws = await conflicted(t, { onConflict: () => { throw new Error("the app's"); } });
  assert.equal(throws.sync.problems.length, 1);
  const nonsense = await conflicted(t, { onConflict: () => 42 });
  assert.equal(nonsense.sync.problems.length, 1);
});

test("two clients that both keep theirs come to an end", async (t) => {
  const { client, server, clock, soon } = world(t);
  const a = await client({ onConflict: () => "mine" });
  const b = await client({ onConflict: () => "mine" });
  a.collection("todos").put("t1", { by: "a" });
  b.collection("todos").put("t1", { by: "b" });
  await clock.advance(100);
  await soon(a.pull());
  await soon(b.pull());
  assert.deepEqual(shown(a), shown(b));
  assert.deepEqual([a.status.pending, b.status.pending], [0, 0]);
  assert.deepEqual(server.data("todos", "t1"), shown(a).t1);
});
