// Tabs against the real server: whatever becomes of the leader, every edit is there once.

import assert from "node:assert/strict";
import { test } from "node:test";
import { cell } from "../../results.js";
import { connect, row } from "../module.js";
import { shown } from "../support.js";
import { browser } from "../tabs.js";
import { newSpace, serverUrl } from "./server.js";

const STEPS = ["asks", "is answered", "begins", "writes", "has written", "hears", "tells", "has told"];

cell(row, "tabs: leaders killed or deposed or asleep", "leaders that are killed, deposed or asleep at every kind of step", async (t) => {
  const net = { url: serverUrl, space: newSpace() };
  const { tab, when } = browser(t, net);
  const other = connect({ ...net, store: "memory" });
  t.after(() => other.close());
  const wanted = {};
  let tabs = [await tab(), await tab({ state: "hidden" })];
  const { clientId } = tabs[0];
  for (const [i, step] of STEPS.entries()) {
    for (const end of ["kill", "hide", "sleep"]) {
      const [leader, follower] = tabs;
      const id = `${i}-${end}`;
      wanted[id] = { n: 2, theirs: 1 };
      const edits = [follower.collection("todos").put(id, { n: 0 }), leader.collection("todos").merge(`${id}-leader`, {})];
      leader.tab.onStep = (name) => {
        if (name !== step) return;
        leader.tab.onStep = () => {};
        if (end === "kill") leader.tab.kill();
        if (end === "sleep") leader.tab.sleep();
        if (end === "hide") leader.tab.show("hidden");
        follower.tab.show("visible");
      };
      edits.push(follower.collection("todos").merge(id, { n: 1 }));
      await when(() => shown(other)[id], `${id} is on the server`);
      other.collection("todos").merge(id, { theirs: 1 });
      edits.push(follower.collection("todos").merge(id, { n: 2 }));
      leader.tab.onStep = () => {};
      leader.tab.wake();
      if (!leader.tab.dead) leader.tab.show("hidden");
      follower.tab.show("visible");
      await when(() => shown(follower)[id]?.theirs && !follower.status.pending && !other.status.pending, `all is sent at ${id}`);
      const mine = edits.filter((_, at) => at !== 1);
      assert.deepEqual((await Promise.all(mine.map(({ settled }) => settled))).map(({ status }) => status), ["applied", "applied", "applied"]);
      if (leader.tab.dead) tabs = [follower, await tab({ state: "hidden" })];
      else tabs = [follower, leader];
    }
  }
  await when(() => tabs.every((sync) => JSON.stringify(shown(sync)) === JSON.stringify(shown(other))), "all show the same");
  for (const [id, data] of Object.entries(wanted)) assert.deepEqual(shown(other)[id], data);
  assert.deepEqual(tabs.map((sync) => [sync.clientId, sync.problems.length]), [[clientId, 0], [clientId, 0]]);
});

test("the server serves the client, and not its description as a package", async () => {
  const statuses = await Promise.all(["tidemark.js", "tidemark.d.ts", "package.json"].map(async (name) => (await fetch(`${serverUrl}/${name}`)).status));
  assert.deepEqual(statuses, [200, 200, 404]);
});
