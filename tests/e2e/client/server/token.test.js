// The client and a real server that wants tokens.

import assert from "node:assert/strict";
import { cell } from "../../results.js";
import { command, startServer } from "../../server.js";
import { connect, row } from "../module.js";
import { KeptStore, shown } from "../support.js";

const SECRET = "a secret of thirty-two characters";

cell(row, "401 and a new token", "a token that is no good any more: a new one is asked for, and edits and the stream go on", async (t) => {
  const server = await startServer({ settings: { TIDEMARK_AUTH_SECRET: SECRET } });
  t.after(() => server.stop());
  const token = (secret) => command(["token", "--subject", "ann", "--space", "home=rw"], { TIDEMARK_AUTH_SECRET: secret }).then((text) => text.trim());
  const [good, bad] = [await token(SECRET), await token(`another ${SECRET}`)];
  let held = bad; // as a token is once the server has another secret
  const asked = [];
  const getToken = ({ refresh }) => {
    asked.push(refresh);
    if (refresh) held = good;
    return held;
  };
  const statuses = [];
  const sync = connect({ url: server.origin, space: "home", store: new KeptStore(), getToken });
  t.after(() => sync.close());
  sync.on("request", ({ kind, status }) => statuses.push(`${kind} ${status}`));
  await sync.pull();
  assert.deepEqual([statuses.slice(0, 2), asked.slice(0, 2)], [["pull 401", "pull 200"], [false, true]]);

  sync.pause();
  held = bad;
  const edit = sync.collection("todos").put("t1", { title: "Milk" });
  assert.deepEqual(shown(sync), { t1: { title: "Milk" } });
  sync.resume();
  assert.equal((await edit.settled).status, "applied");
  await sync.push();
  assert.ok(statuses.some((each) => /^(push|stream|pull) 401$/.test(each) && statuses.indexOf(each) !== 0), statuses.join());
  assert.deepEqual([sync.problems.length, sync.status.pending, sync.status.error], [0, 0, null]);
});
