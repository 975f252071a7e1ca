// The client that hey-api makes of openapi.yaml, used against a running server.
import assert from "node:assert/strict";
import { client } from "./generated/client.gen.js";
import { pullChanges, pushEdits, putPresence } from "./generated/sdk.gen.js";
import type { Edit, EditResult } from "./generated/types.gen.js";
import { neverReached, scenario, space, token, url } from "../scenario.js";

client.setConfig({ baseUrl: url, auth: token });

const path = { space };
const collections = ["todos", "more"];

async function push(...edits: Edit[]): Promise<EditResult[]> {
  const { data } = await pushEdits({ path, body: { client_id: "hey-api", edits }, throwOnError: true });
  return data.results;
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
    const { data, response } = await pullChanges({ path, query: { cursor, limit: 1, collections }, throwOnError: true });
    ids.push(...data.changes.map((change) => change.id));
    cursor = data.cursor;
    etag = response.headers.get("ETag") ?? "";
    more = data.has_more;
  }
  assert.deepEqual(ids, ["t1", "t2", "t3"]);
  assert.ok(pages >= 3, `${pages} pages`);
});

// A 304 is no success to hey-api: `error` is an empty object, the status says what it was.
await scenario("304", async () => {
  const quiet = await pullChanges({ path, query: { cursor, collections } });
  assert.deepEqual(quiet.data?.changes, []);
  const same = await pullChanges({ path, query: { cursor, collections }, headers: { "If-None-Match": etag } });
  assert.equal(same.response?.status, 304);
  assert.equal(same.data, undefined);
});

await scenario("410", async () => {
  const gone = await pullChanges({ path, query: { cursor, collections, min_version: neverReached } });
  assert.equal(gone.response?.status, 410);
  assert.ok(gone.error && "code" in gone.error);
  assert.equal(gone.error.code, "cursor_expired");
  assert.equal(gone.error.cause, "epoch");
});

await scenario("presence", async () => {
  const state = { looks_at: "todos/t1" };
  const { data } = await putPresence({ path: { space, client_id: "hey-api" }, body: { state, ttl_s: 30 }, throwOnError: true });
  const [me, ...others] = data.present;
  assert.deepEqual(others, []);
  assert.deepEqual({ client_id: me?.client_id, subject: me?.subject, state: me?.state }, { client_id: "hey-api", subject: "alice", state });
});
