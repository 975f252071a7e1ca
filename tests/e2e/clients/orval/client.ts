// The client that orval makes of openapi.yaml, used against a running server.
import assert from "node:assert/strict";
import { pullChanges, pushEdits, putPresence, type Edit, type EditResult } from "./generated/tidemark.js";
import { neverReached, scenario, space, token, url } from "../scenario.js";

// Its paths are those of the page that it runs in, and Node has no page. In an app, orval's `mutator` is the place for both.
const there = globalThis.fetch;
globalThis.fetch = (input, init) => {
  const headers = new Headers(init?.headers);
  headers.set("Authorization", `Bearer ${token}`);
  return there(new URL(String(input), url), { ...init, headers });
};

const collections = ["todos", "more"];

async function push(...edits: Edit[]): Promise<EditResult[]> {
  const answer = await pushEdits(space, { client_id: "orval", edits });
  assert.ok(answer.status === 200, `push answered ${answer.status}`);
  return answer.data.results;
}

const create = (edit_id: string, id: string, title: string): Edit =>
  ({ edit_id, op: "put", collection: "todos", id, base_version: 0, data: { title } });

await scenario("push", async () => {
  const [first] = await push(create("e1", "t1", "Milk"));
  assert.equal(first?.status, "applied");
  const [again] = await push(create("e1", "t1", "Milk"));
  assert.deepEqual(again, { ...first, replayed: true });
});

await scenario("conflict", async () => {
  const [late] = await push(create("e2", "t1", "Bread"));
  assert.equal(late?.status, "conflict");
  assert.equal(late?.current?.edit_id, "e1");
  assert.deepEqual(late?.current?.data, { title: "Milk" });
});

let cursor = "";
let etag = "";

await scenario("pull pages", async () => {
  for (const id of ["t2", "t3"]) await push(create(id, id, id));
  const ids: string[] = [];
  let pages = 0;
  for (let more = true; more; pages++) {
    const page = await pullChanges(space, { cursor, limit: 1, collections });
    assert.ok(page.status === 200, `pull answered ${page.status}`);
    ids.push(...page.data.changes.map((change) => change.id));
    cursor = page.data.cursor;
    etag = page.headers.get("ETag") ?? "";
    more = page.data.has_more;
  }
  assert.deepEqual(ids, ["t1", "t2", "t3"]);
  assert.ok(pages >= 3, `${pages} pages`);
});

await scenario("304", async () => {
  const quiet = await pullChanges(space, { cursor, collections });
  assert.ok(quiet.status === 200, `pull answered ${quiet.status}`);
  assert.deepEqual(quiet.data.changes, []);
  const same = await pullChanges(space, { cursor, collections }, { headers: { "If-None-Match": etag } });
  assert.equal(same.status, 304);
});

await scenario("410", async () => {
  const gone = await pullChanges(space, { cursor, collections, min_version: neverReached });
  assert.ok(gone.status === 410, `pull answered ${gone.status}`);
  assert.equal(gone.data.code, "cursor_expired");
  assert.equal(gone.data.cause, "epoch");
});

await scenario("presence", async () => {
  const state = { looks_at: "todos/t1" };
  const answer = await putPresence(space, "orval", { state, ttl_s: 30 });
  assert.ok(answer.status === 200, `the heartbeat answered ${answer.status}`);
  const [me, ...others] = answer.data.present;
  assert.deepEqual(others, []);
  assert.deepEqual({ client_id: me?.client_id, subject: me?.subject, state: me?.state }, { client_id: "orval", subject: "alice", state });
});
