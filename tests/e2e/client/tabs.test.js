// Tabs that share a store are one replica: one queue, one connection, whichever of them leads and however it ends.

import assert from "node:assert/strict";
import { test } from "node:test";
import { IDBObjectStore } from "fake-indexeddb";
import { browser } from "./tabs.js";
import { outcome, page, shown, until } from "./support.js";

const editsOf = (server) => server.pushes().flatMap(({ body }) => body.edits);

test("two tabs are one replica: one id, one stream, one queue", async (t) => {
  const { tab, server, when, settled } = browser(t);
  server.other("put", "todos", "t0", { by: "other" });
  const first = await tab();
  const second = await tab();
  assert.equal(second.clientId, first.clientId);
  assert.deepEqual(shown(second), { t0: { by: "other" } });
  const edits = [first.collection("todos").put("t1", { by: "first" }), second.collection("todos").put("t2", { by: "second" })];
  assert.deepEqual(shown(second), { t0: { by: "other" }, t2: { by: "second" } }, "shown at once");
  await settled();
  for (const edit of edits) assert.deepEqual([(await outcome(edit)).status, (await outcome(edit)).editId], ["applied", edit.editId]);
  server.other("put", "todos", "t0", { by: "other", again: true });
  await settled();
  await when(() => second.status.transport === "stream");
  assert.deepEqual([server.connects().length, server.streams.size], [1, 1]);
  assert.deepEqual(new Set(server.pushes().map(({ body }) => body.client_id)), new Set([first.clientId]));
  assert.deepEqual(editsOf(server).map(({ id }) => id).sort(), ["t1", "t2"]);
});

// What a tab does step by step, from the moment its scenario begins: at each of them something happens to it.
async function atEachStep(t, scenario, least) {
  for (let at = 1, reached = true; reached; at++) {
    await t.test(`at step ${at}`, async (t) => {
      let steps = 0;
      let name = "";
      reached = false;
      await scenario(t, (tab, happen) => {
        tab.onStep = (step) => {
          if (++steps !== at) return;
          reached = true;
          name = step;
          happen();
        };
      }).catch((error) => {
        throw new Error(`at step ${at} (${name}): ${error.message}`, { cause: error });
      });
    });
    assert.ok(reached || at > least, `only ${at} steps: the scenario is not what it was`);
  }
}

/**
 * Edits on both sides of a leader that something happens to: none is lost, none is made twice, and their tabs hear of
 * each. A third tab looks on and misses nothing.
 */
async function bothEdit({ server, tab, when, settled }, meet) {
  server.other("put", "todos", "shared", { n: 0 });
  const leader = await tab();
  const follower = await tab({ state: "hidden" });
  await tab({ state: "hidden" });
  meet(leader, follower);
  const handles = [];
  for (let n = 1; n <= 3; n++) {
    handles.push(follower.collection("todos").merge("shared", { n }), follower.collection("todos").put(`new${n}`, { n }));
    if (!leader.tab.dead) leader.collection("todos").put(`old${n}`, { n });
    assert.equal(follower.collection("todos").get("shared").data.n, n, "shown at once");
    await until(() => follower.collection("todos").get("shared").data.n === n, "and it stays");
  }
  await settled();
  if (leader.tab.dead) follower.tab.show("visible");
  await when(() => follower.status.transport === "stream", "one of them streams, and the follower knows");
  assert.equal(server.data("todos", "shared").n, 3);
  assert.equal(follower.problems.length, 0, JSON.stringify([...follower.problems].map(({ error }) => error.code)));
  for (const handle of handles) {
    const { editId, status } = await outcome(handle);
    assert.deepEqual([editId, status], [handle.editId, "applied"]);
    const { body } = server.pushes().findLast(({ body }) => body.edits.some(({ edit_id }) => edit_id === editId));
    assert.ok(server.receipts.get(body.client_id).has(editId));
  }
  const made = [...server.receipts.get(follower.clientId)].length;
  const documents = [...server.documents.values()].filter(({ client_id }) => client_id === follower.clientId).length;
  assert.equal(made, documents + 2, "one effect each: three of the edits are of one document");
  if (!leader.tab.asleep) assert.equal(server.streams.size, 1);
  return { leader, follower };
}

test("the leader is killed: no edit is lost and none is made twice", async (t) => {
  await atEachStep(t, (t, arm) => {
    const world = browser(t);
    return bothEdit(world, (leader) => arm(leader.tab, () => leader.tab.kill()));
  }, 40);
});

test("the lead is taken from a hidden leader: the same, and the old leader follows", async (t) => {
  await atEachStep(t, async (t, arm) => {
    const world = browser(t);
    let took = false;
    const { leader, follower } = await bothEdit(world, (leader, follower) => arm(leader.tab, () => {
      took = true;
      leader.tab.show("hidden");
      follower.tab.show("visible");
    }));
    if (!took) return;
    leader.pause();
    await world.when(() => follower.status.paused);
  }, 40);
});

test("the leader sleeps and is taken for gone, and wakes when another has long led: it can do no harm", async (t) => {
  await atEachStep(t, async (t, arm) => {
    const world = browser(t);
    const { settled, server, when } = world;
    const { leader, follower } = await bothEdit(world, (leader, follower) => arm(leader.tab, () => {
      leader.tab.sleep();
      follower.tab.show("visible");
    }));
    leader.tab.onStep = () => {};
    const old = leader.collection("todos").put("late", { n: 1 });
    leader.tab.wake();
    follower.collection("todos").put("shared", { n: 4 });
    await settled();
    await when(() => server.data("todos", "late") && !leader.status.pending);
    assert.equal((await outcome(old)).status, "applied");
    assert.equal(server.streams.size, 1);
  }, 40);
});

test("a page is left right after an edit, while it reads the store anew: the edit is there for the next", async (t) => {
  const { leave } = page(t);
  const { tab, server, settled } = browser(t);
  const leader = await tab();
  const follower = await tab({ state: "hidden" });
  leader.tab.sleep(); // it is told, and does nothing with it
  follower.tab.hear({ term: 1000, batch: 1000, entries: [] }); // so much was missed
  follower.collection("todos").put("last-word", {});
  leave();
  await new Promise((resolve) => {
    follower.tab.onStep = (name) => name === "has told" && resolve();
  });
  follower.tab.kill();
  leader.tab.kill();
  await tab();
  await settled();
  assert.deepEqual(Object.keys(server.data("todos", "last-word") ?? { lost: true }), []);
});

test("the follower is killed: what it told nobody is gone, all else is there, once", async (t) => {
  await atEachStep(t, async (t, arm) => {
    const { tab, server, settled, when } = browser(t);
    const leader = await tab();
    const follower = await tab({ state: "hidden" });
    arm(follower.tab, () => follower.tab.kill());
    for (let n = 1; n <= 3 && !follower.tab.dead; n++) {
      follower.collection("todos").put("t", { n });
      await when(() => follower.tab.dead || !follower.status.pending);
    }
    leader.collection("todos").put("mine", {});
    await settled();
    const next = await tab();
    await settled();
    assert.deepEqual(shown(next), shown(leader));
    assert.equal(next.problems.length, 0);
    const made = [...server.receipts.get(leader.clientId)].length;
    assert.equal(new Set(editsOf(server).map(({ edit_id }) => edit_id)).size, made);
  }, 10);
});

/** A leader that is seen and a follower that is not. */
async function pair(t, options = {}) {
  const world = browser(t);
  const leader = await world.tab(options);
  return { ...world, leader, follower: await world.tab({ ...options, state: "hidden" }) };
}

test("a follower that opens in the middle of a snapshot, or of anything, misses nothing", async (t) => {
  const { tab, open, server, settled, clock, when } = browser(t);
  for (let i = 0; i < 6; i++) server.other("put", "todos", `t${i}`, { i });
  server.limit = 2;
  server.hold(2);
  const leader = open();
  await when(() => server.held === 1);
  const early = open({ state: "hidden" });
  const made = early.collection("todos").put("early", {});
  server.release();
  await when(() => server.held === 1);
  await clock.advance(0);
  const late = open({ state: "hidden" });
  await when(() => shown(late).early && shown(leader).early);
  assert.deepEqual([shown(late), shown(leader)], [{ early: {} }, { early: {} }], "a part of a snapshot is not shown");
  server.release();
  await settled();
  assert.equal((await outcome(made)).status, "applied");
  for (let i = 0; i < 12; i++) {
    server.other("put", "todos", `more${i}`, { i });
    open({ state: "hidden" });
    await clock.advance(i % 3);
  }
  await settled();
  assert.equal(Object.keys(shown(await tab())).length, 19);
});

test("events and status are the same in both", async (t) => {
  const { leader, follower, server, clock, when, settled } = await pair(t);
  const edit = follower.collection("todos").put("t1", { n: 1 });
  await settled();
  server.other("patch", "todos", "t1", { m: 1 });
  await settled();
  await clock.advance(0);
  assert.deepEqual(follower.events("applied"), [{ editId: edit.editId, collection: "todos", id: "t1", version: 3, replayed: false }]);
  assert.deepEqual(follower.events("remote").map(({ changes }) => changes.map(({ id, clientId }) => [id, clientId])), [[["t1", "other"]]]);
  for (const type of ["applied", "remote"]) assert.deepEqual(follower.events(type), leader.events(type));
  assert.deepEqual(follower.events("request"), leader.events("request").filter(({ kind }) => kind === "push"));

  server.cut();
  server.down();
  leader.collection("todos").put("t2", {});
  await when(() => follower.status.error);
  const [mine, theirs] = [leader, follower].map(({ status }) => {
    const { error, ...rest } = status.getSnapshot();
    return { ...rest, error: [error.code, error.message], same: error.constructor.name };
  });
  assert.deepEqual(theirs, mine);
  assert.deepEqual([theirs.error, theirs.same, theirs.online, theirs.pending], [["network", "No answer"], "SyncError", false, 1]);
  assert.equal(follower.status.oldestPending, leader.status.oldestPending);
  await assert.rejects(Promise.all([follower.push(), clock.advance(60_000)]), { code: "network" });
  server.down(false);
  await settled();
  server.epoch = "epoch-2";
  await Promise.all([follower.pull(), clock.advance(5000)]);
  assert.deepEqual(follower.events("resync"), [{ cause: "epoch" }]);
});

test("a problem can be solved in any tab, and only once", async (t) => {
  for (const [way, title] of [["keepMine", "mine"], ["takeTheirs", "theirs"], ["merge", "mine"]]) {
    for (const from of ["leader", "follower"]) {
      const { server, clock, when, settled, ...tabs } = await pair(t);
      const [here, there] = from === "leader" ? [tabs.leader, tabs.follower] : [tabs.follower, tabs.leader];
      server.other("put", "todos", "t1", { title: "", n: 0 });
      await settled();
      here.pause();
      await when(() => there.status.paused);
      const edit = here.collection("todos").merge("t1", { title: "mine" });
      server.other("patch", "todos", "t1", { title: "theirs" });
      here.resume();
      await when(() => here.problems.length && there.problems.length);
      await settled();
      const { status, problem, error } = await outcome(edit);
      assert.deepEqual([status, error.code, problem], ["conflict", "version_conflict", [...here.problems][0]]);
      for (const { problems, events, seen } of [here, there]) {
        const [{ kind, base, mine, theirs, fields, problemId }] = problems;
        assert.deepEqual([kind, base.title, mine.title, theirs.title, fields, problemId], ["conflict", "", "mine", "theirs", ["title"], edit.editId]);
        assert.equal(events("conflict")[0].problem, [...problems][0], JSON.stringify(seen));
      }
      const pushed = server.pushes().length;
      const other = [...there.problems][0];
      const solved = [[...here.problems][0][way]()].flat().filter(Boolean);
      assert.equal(here.problems.length, 0, "at once");
      const again = [other.merge({ title: "again" })];
      await settled();
      assert.deepEqual([here.problems.length, there.problems.length], [0, 0]);
      const results = await Promise.all([...solved, ...again].map(outcome));
      const applied = results.filter((result) => result.status === "applied");
      // The leader's word is in its queue before the follower's has arrived.
      const won = from === "leader" ? title : "again";
      assert.equal(server.data("todos", "t1").title, won);
      assert.deepEqual(results.filter((result) => result.status !== "applied").map((result) => result.status), results.length > applied.length ? ["skipped"] : []);
      assert.equal(applied.length, from === "leader" ? solved.length : 1);
      assert.ok(server.pushes().length - pushed <= 1);
    }
  }
});

test("onConflict is asked in the leader; the tab that made the edit hears of it", async (t) => {
  const asked = [];
  const { leader, follower, server, settled, when } = await pair(t, { onConflict: ({ mine }) => asked.push(mine) && "mine" });
  server.other("put", "todos", "t1", { n: 0 });
  await settled();
  leader.pause();
  await when(() => follower.status.paused);
  const edit = follower.collection("todos").merge("t1", { n: 1 });
  server.other("put", "todos", "t1", { n: 2 });
  leader.resume();
  await settled();
  assert.deepEqual([await outcome(edit)].map(({ status, resolution, problem }) => [status, resolution, problem]), [["conflict", "mine", undefined]]);
  assert.deepEqual([asked, server.data("todos", "t1"), follower.problems.length], [[{ n: 1 }], { n: 1 }, 0]);
  const [event] = follower.events("conflict");
  assert.deepEqual([event.editId, "problem" in event, event.theirs], [edit.editId, false, { n: 2 }]);
});

test("an edit that is refused, and pause, resume, pull and push from a follower", async (t) => {
  const { leader, follower, server, when, settled, clock } = await pair(t);
  follower.pause();
  assert.equal(follower.status.paused, true);
  await when(() => leader.status.paused);
  const refused = follower.collection("todos").put("bad", { refuse: true });
  const fine = follower.collection("todos").put("good", {});
  await when(() => leader.status.pending === 2);
  assert.equal(server.pushes().length, 0);
  await assert.rejects(Promise.all([follower.push(), clock.advance(1000)]), { code: "paused" });
  follower.resume();
  await Promise.all([follower.push(), clock.advance(1000)]);
  assert.deepEqual([server.pushes().length, follower.status.pending], [1, 0]);
  assert.deepEqual([(await outcome(refused)).status, (await outcome(refused)).error.code, (await outcome(fine)).status], ["rejected", "invalid_document", "applied"]);
  await settled();
  const pulls = server.pulls().length;
  await Promise.all([follower.pull(), clock.advance(1000)]);
  assert.equal(server.pulls().length, pulls + 1);
});

test("what is asked of a leader that dies is done by the next one", async (t) => {
  for (const asks of ["the next leader", "another"]) {
    const { leader, follower, server, clock, settled, tab, when } = await pair(t);
    const third = await tab({ state: "hidden" });
    const asking = asks === "another" ? third : follower;
    leader.tab.sleep(); // it hears nothing of what is asked
    const pulled = asking.pull().catch(({ code }) => code);
    asking.pause();
    await clock.advance(0);
    const pulls = server.pulls().length;
    leader.tab.kill();
    await when(() => follower.status.paused && third.status.paused);
    asking.resume();
    await clock.advance(1000);
    assert.ok([undefined, "paused"].includes(await pulled), "answered, and not by the one that is gone");
    await when(() => !follower.status.paused && !third.status.paused);
    await Promise.all([asking.pull(), clock.advance(1000)]);
    assert.ok(server.pulls().length > pulls);
    await settled();
  }
});

test("last words of a leader that is gone do not depose the one that is about to lead", async (t) => {
  const { open, tab, when } = browser(t);
  await (await tab()).close();
  let begun = 0;
  const sync = open({ state: "hidden", onStep: (step, tab) => step === "begins" && begun++ === 0 && tab.hear({ from: "old", term: 1, batch: 1, seen: true }) });
  sync.collection("todos").put("t1", {});
  await when(() => sync.status.pending === 0);
});

test("closing: a follower ends alone; after the leader another one goes on", async (t) => {
  const { leader, follower, server, locks, when, settled, tab } = await pair(t);
  const third = await tab({ state: "hidden" });
  await follower.close();
  third.collection("todos").put("t1", {});
  await settled();
  const unsent = third.collection("todos").put("t2", {});
  await leader.close();
  assert.throws(() => leader.collection("todos").put("t3", {}), { code: "closed" });
  await when(() => server.documents.size === 2 && !third.status.pending);
  assert.equal((await outcome(unsent)).status, "applied");
  await third.close();
  assert.equal(locks.size, 0);
  assert.equal(server.streams.size, 0);
});

test("an edit made just before its tab is closed is not lost, even if the leader is gone, too", async (t) => {
  const { leader, follower, tab, settled } = await pair(t);
  leader.tab.sleep();
  follower.collection("todos").put("t1", { n: 1 });
  await follower.close();
  leader.tab.kill();
  const next = await tab();
  await settled();
  assert.deepEqual(shown(next), { t1: { n: 1 } });
});

test("the tab that is looked at leads; two that are both looked at leave it as it is", async (t) => {
  const { tab, server, when, clock } = browser(t);
  const [first, second] = [await tab(), await tab()];
  const node = () => [...server.streams].length;
  await clock.advance(5000);
  assert.deepEqual([node(), server.connects().length], [1, 1], "nobody took anything");
  first.tab.show("hidden");
  await when(() => server.connects().length === 2 && node() === 1);
  first.tab.show("visible");
  await clock.advance(5000);
  assert.equal(server.connects().length, 2);
  second.tab.kill();
  await when(() => server.connects().length === 3 && node() === 1);
});

test("presence is one for all tabs: what was said last, and nothing more when nobody says anything", async (t) => {
  const { leader, follower, tab, server, when } = await pair(t);
  const states = (sync) => sync.presence.getSnapshot().map(({ state }) => state);
  const say = () => [...server.present.values()].map(({ state }) => state);
  leader.presence.set({ at: "leader" });
  await when(() => states(follower).length === 1);
  assert.deepEqual(states(follower), [{ at: "leader" }]);
  follower.presence.set({ at: "follower" });
  await when(() => say()[0].at === "follower" && states(follower)[0].at === "follower");
  leader.presence.set({ at: "leader again" });
  await when(() => say()[0].at === "leader again");
  leader.presence.leave();
  await when(() => say()[0].at === "follower", "the other tab still says so");
  leader.tab.kill();
  follower.tab.show("visible");
  const third = await tab();
  follower.presence.set({ at: "new leader" });
  await when(() => say()[0].at === "new leader" && states(third)[0]?.at === "new leader");
  follower.presence.leave();
  await when(() => say().length === 0 && states(third).length === 0);
});

test("a leader that can't write any more goes on alone in memory; the others go on without it", async (t) => {
  const { leader, follower, server, settled, when } = await pair(t);
  const broken = new Error("disk full");
  leader.tab.onStep = (name) => {
    if (name === "begins") throw broken;
  };
  leader.collection("todos").put("t1", {});
  await when(() => leader.status.store === "memory");
  assert.equal(leader.status.storeError.cause, broken);
  const edit = follower.collection("todos").put("t2", {});
  await settled();
  assert.deepEqual([(await outcome(edit)).status, follower.status.store], ["applied", "indexeddb"]);
  assert.deepEqual(shown(leader), { t1: {}, t2: {} });
});

// ---- What a tab shows, and when it ends

test("a follower's edit is made on what it shows, whatever the leader knows by then", async (t) => {
  const { leader, follower, server, when, settled } = await pair(t);
  server.other("put", "todos", "t1", { n: 0 });
  await settled();
  let edit;
  leader.collection("todos").subscribe(() => {
    if (shown(leader).t1?.n === 1 && shown(follower).t1?.n === 0) edit ??= follower.collection("todos").put("t1", { n: 1, mine: true });
  });
  server.other("put", "todos", "t1", { n: 1 });
  await when(() => edit);
  await when(() => follower.problems.length);
  const { status, problem } = await outcome(edit);
  assert.deepEqual([status, problem.base, problem.mine, problem.theirs], ["conflict", { n: 0 }, { n: 1, mine: true }, { n: 1 }]);
  assert.deepEqual(server.data("todos", "t1"), { n: 1 });
});

test("an edit made while its tab takes the lead, and closes, is in the store", async (t) => {
  const { leader, follower, server, when, tab, clock } = await pair(t);
  let edit;
  let closing;
  follower.tab.onStep = (name) => {
    if (name !== "begins" || edit) return;
    edit = follower.collection("todos").put("b", { n: 1 });
    closing = follower.close();
  };
  leader.tab.show("hidden");
  follower.tab.show("visible");
  await when(() => edit);
  await closing;
  assert.equal((await edit.settled).status, "closed");
  await tab();
  await clock.advance(5000);
  assert.deepEqual(server.data("todos", "b"), { n: 1 });
});

test("pause() in a tab that has just been opened is for all", async (t) => {
  const { leader, open, clock } = await pair(t);
  const third = open({ state: "hidden" });
  third.pause();
  await third.ready;
  await clock.advance(1000);
  assert.deepEqual([third.status.paused, leader.status.paused], [true, true]);
});

test("push() of a follower waits for the edits before it, whatever else is said meanwhile", async (t) => {
  const { follower, clock } = await pair(t);
  follower.collection("todos").put("e", { n: 1 });
  let left;
  const pushed = follower.push().then(() => (left = follower.status.pending));
  for (let i = 0; i < 3; i++) await null;
  follower.tab.show("hidden"); // it says hello
  await Promise.all([pushed, clock.advance(1000)]);
  assert.equal(left, 0);
});

test("without Web Locks, as where site data are blocked, a tab goes on in memory", async (t) => {
  const { open, locks, clock, server } = browser(t);
  let asked = 0;
  locks.of = () => ({ request: () => (asked++, Promise.reject(new DOMException("denied", "SecurityError"))) });
  const sync = open();
  sync.collection("todos").put("t1", {});
  await clock.advance(1000);
  assert.ok(asked < 5, `${asked} requests`);
  assert.deepEqual([sync.status.store, server.pushes().length], ["memory", 1]);
});

test("without IndexedDB a tab goes on in memory, and keeps no lock", async (t) => {
  const { open, locks, factory, clock, server } = browser(t);
  factory.open = () => {
    const opening = new EventTarget();
    setImmediate(() => opening.onerror());
    return Object.assign(opening, { error: new DOMException("denied", "UnknownError") });
  };
  const sync = open({ stream: false });
  sync.collection("todos").put("t1", {});
  await clock.advance(1000);
  assert.deepEqual([sync.status.store, server.pushes().length, locks.size], ["memory", 1, 0]);
});

test("two windows on the screen, and a store that takes longer to read than a sleeping tab is waited for", async (t) => {
  const { tab, open, clock, server, settled } = browser(t);
  const [first] = [await tab(), await tab()];
  first.collection("todos").put("x", {});
  await settled();
  const { getAll } = IDBObjectStore.prototype;
  let loads = 0;
  // It keeps its transaction for so long.
  IDBObjectStore.prototype.getAll = function (...args) {
    loads++;
    const real = getAll.apply(this, args);
    const slow = { get result() { return real.result; } };
    real.onsuccess = () => {
      let done = false;
      clock.setTimeout(() => (done = true), 600);
      const wait = () => (done ? slow.onsuccess?.() : (this.count().onsuccess = wait));
      wait();
    };
    return slow;
  };
  t.after(() => { IDBObjectStore.prototype.getAll = getAll; });
  first.tab.kill();
  open().collection("todos").put("y", {});
  for (let i = 0; i < 100; i++) await clock.advance(100);
  assert.deepEqual(server.data("todos", "y"), {}, `after ${loads} loads`);
});
