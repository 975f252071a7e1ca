// The client against what the model of the contract has seen (tests/model, in Go): what followers were answered, by a real
// server with pushes, purges, restores and grants between their pages, and what patches made of documents. The client is
// given the same, and must hold the same. Written by
//
//   go test ./tests/model -run TestModel/sqlite -rapid.seed=11 -rapid.checks=60 -rapid.steps=160 -args -transcript FILE

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { connect } from "./module.js";
import { FakeClock } from "./support.js";

const { TIDEMARK_TRANSCRIPT: other } = process.env;
const text = (other ? readFileSync(other) : gunzipSync(readFileSync(new URL("transcript.jsonl.gz", import.meta.url)))).toString();
const lines = text.split("\n").filter(Boolean).map((line) => JSON.parse(line));

const isAnswer = (line) => Boolean(line?.page || line?.expired);

/** The lines of each space, in their order. */
const spaces = new Map();
for (const line of lines) if (line.space) spaces.set(line.space, [...(spaces.get(line.space) ?? []), line]);

test("a follower comes to hold what the model's follower did, over every page, 410 and restore", async () => {
  let [pages, starts, states] = [0, 0, 0];
  for (const [space, script] of spaces) {
    const clock = new FakeClock();
    const wrong = [];
    let next = 0;
    const fetch = async (url) => {
      const cursor = new URL(url).searchParams.get("cursor") ?? "";
      const line = script[next];
      if (!isAnswer(line) || (line.cursor ?? "") !== cursor) {
        wrong.push(`line ${next} of ${space} is ${JSON.stringify(line)}, and the client asks with ${cursor}`);
        return new Response("{}", { status: 500 });
      }
      next++;
      if (line.page) return Response.json(line.page);
      const problem = { type: "/problems/cursor_expired", title: "", status: 410, code: "cursor_expired", cause: line.expired };
      return new Response(JSON.stringify(problem), { status: 410, headers: { "Content-Type": "application/problem+json" } });
    };
    const sync = connect({ url: "http://transcript", space, store: "memory", stream: false, fetch, clock, paused: true });
    const causes = [];
    sync.on("resync", ({ cause }) => causes.push(cause));
    sync.on("mismatch", (event) => wrong.push(`mismatch: ${JSON.stringify(event)}`));
    await sync.ready;

    while (next < script.length) {
      sync.resume(); // it pulls at once, to the end; after two 410 in a row it takes a moment
      for (let i = 0; i < 1000 && !wrong.length && isAnswer(script[next]); i++) await clock.advance(i && 100);
      sync.pause();
      assert.deepEqual(wrong, []);
      assert.ok(!isAnswer(script[next]), `${space} stands still at line ${next}`);
      const holds = script[next++].holds ?? [];
      const held = ["notes", "todos"].flatMap((name) =>
        sync.collection(name).getSnapshot().map(({ id, data, version }) => ({ collection: name, id, data, version })));
      const order = (a, b) => (`${a.collection}/${a.id}` < `${b.collection}/${b.id}` ? -1 : 1);
      const wanted = holds.map(({ collection, id, data, version }) => ({ collection, id, data, version })).sort(order);
      assert.deepEqual(held.sort(order), wanted, `${space}, line ${next}`);
      states++;
    }
    assert.deepEqual(causes, script.flatMap(({ expired }) => expired ?? []));
    pages += script.filter(({ page }) => page).length;
    starts += causes.length;
    await sync.close();
  }
  assert.ok(pages > 300 && states > 300 && starts > 3, `${pages} pages, ${states} states, ${starts} starts: too few to show much`);
});

test("a patch makes of a document what the model and the server make of it", async () => {
  const sync = connect({ url: "http://transcript", space: "s", store: "memory", clock: new FakeClock(), paused: true });
  await sync.ready;
  const todos = sync.collection("todos");
  const patches = lines.filter(({ patch }) => patch);
  for (const [i, { before = {}, patch, after = {} }] of patches.entries()) {
    todos.put(`t${i}`, before);
    todos.merge(`t${i}`, patch);
    assert.deepEqual(todos.get(`t${i}`).data, after, JSON.stringify({ before, patch }));
  }
  assert.ok(patches.length > 300);
  await sync.close();
});
