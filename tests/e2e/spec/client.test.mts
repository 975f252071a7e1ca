// The TypeScript client that openapi-typescript and openapi-fetch make of
// openapi.yaml, used against a running server. That it compiles under --strict
// is half of the test. TIDEMARK_URL names the server, which needs no token.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import createClient from "openapi-fetch";
import type { components, paths } from "./generated/tidemark.js";

type Edit = components["schemas"]["Edit"];
type ItemData = components["schemas"]["ItemData"];

const baseUrl = process.env["TIDEMARK_URL"] ?? assert.fail("TIDEMARK_URL must name a running server");
const client = createClient<paths>({ baseUrl });

// Each test has a space of its own, so that they may run beside others.
const newSpace = () => `spec-${randomUUID()}`;

async function push(space: string, ...edits: Edit[]) {
  const { data, error } = await client.POST("/v1/spaces/{space}/push", {
    params: { path: { space } },
    body: { client_id: "typescript", edits },
  });
  assert.equal(error, undefined);
  return data!.results;
}

const put = (edit_id: string, id: string, base_version: number, data: ItemData): Edit => ({
  edit_id,
  op: "put",
  collection: "todos",
  id,
  base_version,
  data,
});

test("push, retry, conflict", async () => {
  const space = newSpace();
  const [first] = await push(space, put("e1", "t1", 0, { title: "Milk" }));
  assert.equal(first?.status, "applied");
  const [again] = await push(space, put("e1", "t1", 0, { title: "Milk" }));
  assert.deepEqual(again, { ...first, replayed: true });

  const [late] = await push(space, put("e2", "t1", 0, { title: "Bread" }));
  assert.equal(late?.status, "conflict");
  assert.deepEqual(late?.current?.data, { title: "Milk" });

  const [rejected] = await push(space, { edit_id: "e3", op: "delete", collection: "todos", id: "t1" });
  assert.equal(rejected?.status, "rejected");
  assert.equal(rejected?.error?.code, "base_required");
});

test("pull page by page, 304 only when asked for, 410", async () => {
  const space = newSpace();
  for (const id of ["a", "b", "c"]) await push(space, put(id, id, 0, {}));

  const ids: string[] = [];
  let cursor = "";
  for (let more = true; more; ) {
    const { data } = await client.GET("/v1/spaces/{space}/changes", {
      params: { path: { space }, query: { cursor, limit: 1, collections: ["todos", "more"] } },
    });
    assert.ok(data);
    ids.push(...data.changes.map((change) => change.id));
    cursor = data.cursor;
    more = data.has_more;
  }
  assert.deepEqual(ids, ["a", "b", "c"]);

  const query = { cursor, collections: ["more", "todos"] };
  const quiet = await client.GET("/v1/spaces/{space}/changes", { params: { path: { space }, query } });
  assert.deepEqual(quiet.data?.changes, []);

  const etag = quiet.response.headers.get("ETag")!;
  const same = await client.GET("/v1/spaces/{space}/changes", {
    params: { path: { space }, query, header: { "If-None-Match": etag } },
  });
  assert.equal(same.response.status, 304);

  const gone = await client.GET("/v1/spaces/{space}/changes", { params: { path: { space }, query: { cursor } } });
  assert.equal(gone.response.status, 410);
  assert.equal(gone.error?.code, "cursor_expired");
  assert.equal(gone.error?.cause, "filter");
});

test("a single document: 201, 200, 412 with current, 428, 204", async () => {
  const path = { space: newSpace(), collection: "todos", id: "t1" };
  const item = "/v1/spaces/{space}/documents/{collection}/{id}";
  const created = await client.PUT(item, { params: { path, header: { "If-None-Match": "*" } }, body: { n: 1 } });
  assert.equal(created.response.status, 201);
  const etag = created.response.headers.get("ETag")!;
  assert.equal(etag, `"${created.data?.version}"`);

  const patched = await client.PATCH(item, { params: { path, header: { "If-Match": etag } }, body: { m: null, k: 2 } });
  assert.deepEqual(patched.data?.data, { n: 1, k: 2 });

  const late = await client.PUT(item, { params: { path, header: { "If-Match": etag } }, body: { n: 3 } });
  assert.equal(late.response.status, 412);
  assert.equal(late.error?.code, "version_conflict");
  assert.deepEqual(late.error?.current, patched.data);

  const blind = await client.DELETE(item, { params: { path } });
  assert.equal(blind.error?.code, "precondition_required");
  const removed = await client.DELETE(item, { params: { path, header: { "If-Match": "*" } } });
  assert.equal(removed.response.status, 204);
  const read = await client.GET(item, { params: { path } });
  assert.equal(read.error?.code, "document_not_found");
});

test("presence", async () => {
  const state = { looks_at: "todos/t1" };
  const { data } = await client.PUT("/v1/spaces/{space}/presence/{client_id}", {
    params: { path: { space: newSpace(), client_id: "typescript" } },
    body: { state, ttl_s: 30 },
  });
  assert.deepEqual(data?.present.map(({ client_id, state }) => ({ client_id, state })), [{ client_id: "typescript", state }]);
});

test("heads and config", async () => {
  const space = newSpace();
  const [result] = await push(space, put("e1", "t1", 0, {}));
  const heads = await client.GET("/v1/heads", { params: { query: { space: [space, "never-written"] } } });
  assert.deepEqual(heads.data?.heads, [
    { space, version: result?.version },
    { space: "never-written", version: 0 },
  ]);
  const config = await client.GET("/v1/config");
  assert.equal(config.data?.limits.push_edits, 200);
});
