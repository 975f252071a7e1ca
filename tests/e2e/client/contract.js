// What the client relies on, as cases that any server must pass. The fake one does in contract.test.js, the real one in
// server/contract.test.js: so the other tests, which use the fake, speak about the real server too.

import assert from "node:assert/strict";
import { test } from "node:test";

let count = 0;
const put = (id, base_version, data) => ({ edit_id: `e${++count}`, op: "put", collection: "c", id, base_version, data });
const patch = (id, base_version, data) => ({ edit_id: `e${++count}`, op: "patch", collection: "c", id, base_version, data });
const del = (id, base_version) => ({ edit_id: `e${++count}`, op: "delete", collection: "c", id, base_version });
const on = (earlier, { base_version, ...edit }) => ({ ...edit, base_edit_id: earlier.edit_id });

/** `newSpace()` gives an empty space: `{ push(client_id, edits, more), pull(cursor, more) }`, both resolving to the body. */
export function contract(name, newSpace) {
  const suite = (what, run) => test(`${name}: ${what}`, () => run(newSpace()));
  const one = async (space, edit, client = "a") => (await space.push(client, [edit])).results[0];

  suite("the table of states", async (space) => {
    const v1 = (await one(space, put("live", 0, { a: 1 }))).version;
    const first = (await one(space, put("gone", 0, { a: 1 }))).version;
    const gone = (await one(space, del("gone", first))).version;
    const live = (await one(space, put("live", v1, { a: 2 }))).version;
    const cases = [
      ["nothing, base 0, patch", patch("n1", 0, { a: 1 }), "conflict"],
      ["nothing, base 0, delete", del("n2", 0), "applied", 0],
      ["nothing, other base, put", put("n3", v1, { a: 1 }), "conflict"],
      ["nothing, other base, patch", patch("n4", v1, { a: 1 }), "conflict"],
      ["nothing, other base, delete", del("n5", v1), "applied", 0],
      ["live, base 0, put", put("live", 0, { a: 3 }), "conflict", live],
      ["live, base 0, patch", patch("live", 0, { z: 3 }), "conflict", live],
      ["live, base 0, delete", del("live", 0), "conflict", live],
      ["live, older base, put", put("live", v1, { a: 3 }), "conflict", live],
      ["live, older base, delete", del("live", v1), "conflict", live],
      ["live, base above, patch", patch("live", live + 1e6, { b: 3 }), "conflict", live],
      ["tombstone, base 0, put", put("gone", 0, { a: 3 }), "conflict", gone],
      ["tombstone, base 0, patch", patch("gone", 0, { a: 3 }), "conflict", gone],
      ["tombstone, base 0, delete", del("gone", 0), "applied", gone],
      ["tombstone, its version, patch", patch("gone", gone, { a: 3 }), "conflict", gone],
      ["tombstone, its version, delete", del("gone", gone), "applied", gone],
      ["tombstone, other base, put", put("gone", first, { a: 3 }), "conflict", gone],
      ["tombstone, other base, delete", del("gone", first), "applied", gone],
    ];
    for (const [what, edit, status, version] of cases) {
      const result = await one(space, edit);
      assert.equal(result.status, status, what);
      assert.equal(status === "conflict" ? result.current?.version : result.version, version, what);
    }
    assert.equal((await one(space, put("gone", gone, { b: 1 }))).status, "applied", "a tombstone's version re-creates");
  });

  suite("a patch conflicts by field, otherwise it is merged", async (space) => {
    const { version } = await one(space, put("t", 0, { a: 1, b: 1, c: { d: 1 } }));
    await one(space, patch("t", version, { a: 2 }), "b");
    const clash = await one(space, patch("t", version, { a: 3, b: 3 }));
    assert.deepEqual([clash.status, clash.conflicting_fields, clash.current.data.a], ["conflict", ["a"], 2]);
    const merged = await one(space, patch("t", version, { c: { e: 2 } }));
    assert.deepEqual([merged.status, merged.merged, merged.current.data], ["applied", true, { a: 2, b: 1, c: { d: 1, e: 2 } }]);
    assert.equal(merged.current.version, merged.version);
  });

  suite("one push, one version; edits on own edits", async (space) => {
    const first = put("t", 0, { a: 1 });
    const second = on(first, patch("t", 0, { b: 2 }));
    const { results, version } = await space.push("a", [first, second, put("u", 0, { a: 1 })]);
    assert.deepEqual(results.map(({ status }) => status), ["applied", "applied", "applied"]);
    assert.deepEqual(new Set(results.map((result) => result.version)), new Set([version]));
    assert.deepEqual((await space.pull()).changes.find(({ id }) => id === "t").data, { a: 1, b: 2 });
    const later = await one(space, on(second, put("t", 0, { c: 3 })));
    assert.equal(later.status, "applied", "from the receipts");
  });

  suite("what follows a failed edit is skipped, what is unknown too", async (space) => {
    await one(space, put("t", 0, { a: 1 }), "b");
    const failing = put("t", 0, { a: 2 });
    const after = on(failing, patch("t", 0, { b: 2 }));
    const { results } = await space.push("a", [failing, after, put("u", 0, { a: 1 })]);
    assert.deepEqual(results.map(({ status }) => status), ["conflict", "skipped", "applied"]);
    assert.equal(results[1].blocked_by, failing.edit_id);
    const unknown = await one(space, on({ edit_id: "never" }, patch("t", 0, { b: 2 })));
    assert.deepEqual([unknown.status, unknown.error.code], ["skipped", "base_unknown"]);
  });

  suite("on top of a merged edit its own fields do not count, those of others do", async (space) => {
    const { version } = await one(space, put("t", 0, { a: 1, b: 1 }));
    await one(space, patch("t", version, { b: 2 }), "b");
    const merged = patch("t", version, { a: 2 });
    assert.equal((await one(space, merged)).merged, true);
    assert.equal((await one(space, on(merged, patch("t", 0, { b: 3 })))).status, "conflict");
    assert.equal((await one(space, on(merged, put("t", 0, { a: 3 })))).status, "conflict");
    assert.equal((await one(space, on(merged, patch("t", 0, { a: 3 })))).status, "applied");
  });

  suite("a retry gets the first answer, other content none", async (space) => {
    const edit = put("t", 0, { a: 1 });
    const first = await one(space, edit);
    await one(space, put("t", first.version, { a: 2 }), "b");
    const retried = await one(space, edit);
    assert.deepEqual([retried.status, retried.version, retried.replayed], ["applied", first.version, true]);
    const reused = await one(space, { ...edit, data: { a: 9 } });
    assert.deepEqual([reused.status, reused.error.code], ["rejected", "edit_id_reused"]);
    assert.equal((await space.pull()).changes[0].data.a, 2);
  });

  suite("a change that changes nothing keeps the version", async (space) => {
    const { version } = await one(space, put("t", 0, { a: 1 }));
    const result = await one(space, patch("t", version, { a: 1 }));
    assert.deepEqual([result.status, result.version, result.merged], ["applied", version, undefined]);
  });

  suite("a cursor sent with the push brings the changes, own ones too", async (space) => {
    const { cursor, has_more } = await space.pull();
    assert.equal(has_more, false);
    await one(space, put("u", 0, { b: 1 }), "b");
    const edit = put("t", 0, { a: 1 });
    const answer = await space.push("a", [edit], { cursor });
    assert.deepEqual(answer.changes.map(({ id }) => id), ["u", "t"]);
    assert.equal(answer.changes[1].edit_id, edit.edit_id);
    assert.equal(answer.changes[1].client_id, "a");
    assert.deepEqual((await space.pull(answer.cursor)).changes, []);
  });

  suite("a snapshot has no tombstones, the feed does", async (space) => {
    const { version } = await one(space, put("t", 0, { a: 1 }));
    const { cursor } = await space.pull();
    await one(space, del("t", version));
    assert.deepEqual((await space.pull()).changes, []);
    const [tombstone] = (await space.pull(cursor)).changes;
    assert.deepEqual([tombstone.deleted, tombstone.data], [true, undefined]);
  });

  suite("a min_version above the head is of a lost history for a cursor, and nothing to a snapshot", async (space) => {
    await one(space, put("t", 0, { a: 1 }));
    const { cursor, version } = await space.pull(undefined, { min_version: 1e9 });
    assert.deepEqual((await space.pull(cursor, { min_version: version })).changes, []);
    const refused = await space.pull(cursor, { min_version: version + 1 });
    assert.deepEqual([refused.status, refused.code, refused.cause], [410, "cursor_expired", "epoch"]);
  });
}
