// Tabs that share a store are one replica: one queue, one connection, whichever of them leads and however it ends.

import assert from "node:assert/strict";
import { test } from "node:test";
import { browser } from "./tabs.js";
import { outcome, shown, until } from "./support.js";

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

/** Edits on both sides of a leader that something happens to: none is lost, none is made twice, and their tabs hear of each. */
async function bothEdit({ server, tab, when, settled }, meet) {
  server.other("put", "todos", "shared", { n: 0 });
  const leader = await tab();
  const follower = await tab({ state: "hidden" });
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
