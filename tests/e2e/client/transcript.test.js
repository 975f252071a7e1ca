// The client against what the model of the contract has seen (tests/model, in Go): what followers were answered, by a real
// server with pushes, purges, restores and grants between their pages; what authors did, sent, were answered and then had
// to show (author_test.go there); and what patches made of documents. The client is given the same, and must send and hold
// the same. make e2e-all writes a transcript with a seed of its own and names it in TIDEMARK_TRANSCRIPT; the one that is
// kept was written by
//
//   go test ./tests/model -run TestModel/sqlite -rapid.seed=11 -rapid.checks=30 -rapid.steps=160 -args -transcript FILE

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { connect } from "./module.js";
import { FakeClock, outcome } from "./support.js";

const { TIDEMARK_TRANSCRIPT: other } = process.env;
const text = (other ? readFileSync(other) : gunzipSync(readFileSync(new URL("transcript.jsonl.gz", import.meta.url)))).toString();
const lines = text.split("\n").filter(Boolean).map((line) => JSON.parse(line));

const isAnswer = (line) => Boolean(line?.page || line?.expired || line?.push);

/** Why everything was loaded anew, each time that it came to an end: it may have begun twice. */
function startsOf(script) {
  let cause;
  return script.flatMap(({ expired, page, answer }) => {
    if (expired) cause = expired;
    if (!cause || (page ?? answer)?.has_more !== false) return [];
    const started = cause;
    cause = undefined;
    return started;
  });
}

/** The lines of each space that are of its follower, or of its author, in their order. */
const [spaces, authors] = ["space", "author"].map((who) => {
  const scripts = new Map();
  for (const line of lines) if (line[who]) scripts.set(line[who], [...(scripts.get(line[who]) ?? []), line]);
  return scripts;
});

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
    assert.deepEqual(causes, startsOf(script));
    pages += script.filter(({ page }) => page).length;
    starts += causes.length;
    await sync.close();
  }
  assert.ok(pages > 200 && states > 200 && starts > 3, `${pages} pages, ${states} states, ${starts} starts: too few to show much`);
});

test("an author sends what the model's author does, and shows the same, over conflicts, lost answers, 410 and restore", async () => {
  const met = { pushes: 0, chains: 0, conflicts: 0, skipped: 0, lost: 0, starts: 0, ways: 0 };
  for (const [space, script] of authors) {
    const clock = new FakeClock();
    const wrong = [];
    const handles = new Map(); // by the name that the transcript has for an edit
    const called = new Map(); // and the names themselves, by those that the client gives
    let [next, version, lost] = [0, 0, undefined];
    const named = (value, names) =>
      JSON.parse(JSON.stringify(value), (key, name) => (/^(edit_id|base_edit_id|blocked_by)$/.test(key) && names(name)) || name);
    const act = (deeds = []) => {
      for (const { does, collection, id, problem, data = {}, edits } of deeds) {
        const target = problem ? [...sync.problems].find(({ problemId }) => called.get(problemId) === problem) : sync.collection(collection);
        const made = [(problem ? target[does](data) : target[does](id, data)) ?? []].flat();
        assert.equal(made.length, edits.length, JSON.stringify({ does, problem }));
        made.forEach((handle, i) => handles.set(edits[i], handle));
        made.forEach(({ editId }, i) => called.set(editId, edits[i]));
        if (problem) met.ways++;
      }
    };
    const expired = (cause) => {
      const problem = { type: "/problems/cursor_expired", title: "", status: 410, code: "cursor_expired", cause };
      return new Response(JSON.stringify(problem), { status: 410, headers: { "Content-Type": "application/problem+json" } });
    };
    const answers = (body) => {
      version = body.version;
      return Response.json(named(body, (name) => handles.get(name)?.editId));
    };
    const compare = ({ documents, problems }, where) => {
      const seen = ["todos", "notes"].flatMap((collection) =>
        sync.collection(collection).getSnapshot().map(({ id, data, version, pending }) => ({ collection, id, data, version, pending })));
      assert.deepEqual(seen, documents, where);
      const open = [...sync.problems].map(({ editIds, base, mine, theirs, fields }) =>
        ({ edits: editIds.map((id) => called.get(id)), base, mine, theirs, fields: [...fields].sort() }));
      assert.deepEqual(open, problems, where);
    };
    const push = (text) => {
      const line = script[next];
      const { edits, cursor } = named(JSON.parse(text), (name) => called.get(name));
      try {
        assert.deepEqual({ edits, cursor }, { edits: line?.push, cursor: line?.cursor }, `${space}, line ${next}`);
        if (lost) assert.equal(text, lost, "what was sent before is sent as it was");
        compare(line.shows, `${space}, before line ${next} is sent`);
      } catch (error) {
        wrong.push(error);
        throw error;
      }
      next++;
      met.pushes++;
      met.chains += line.push.filter((edit) => edit.base_edit_id).length;
      lost = line.lost ? text : undefined;
      act(line.during);
      if (line.lost) {
        met.lost++;
        throw new TypeError("connection reset");
      }
      if (line.expired) return expired(line.expired);
      for (const { status } of line.answer.results) {
        if (status === "conflict") met.conflicts++;
        if (status === "skipped") met.skipped++;
      }
      return answers(line.answer);
    };
    const fetch = async (url, { body }) => {
      if (body) return push(body);
      const cursor = new URL(url).searchParams.get("cursor") ?? "";
      const line = script[next];
      // Whoever polls between two lines learns nothing.
      if (!isAnswer(line) || line.push || (line.cursor ?? "") !== cursor) return Response.json({ changes: [], cursor, version, has_more: false, poll_after_ms: 2000 });
      next++;
      return line.page ? answers(line.page) : expired(line.expired);
    };
    const sync = connect({ url: "http://transcript", space, clientId: "author", store: "memory", stream: false, fetch, clock });
    const causes = [];
    sync.on("resync", ({ cause }) => causes.push(cause));
    sync.on("mismatch", (event) => wrong.push(new Error(`mismatch: ${JSON.stringify(event)}`)));
    await sync.ready;

    while (next < script.length) {
      if (script[next].do) act(script[next].do);
      if (isAnswer(script[next])) {
        if (!script[next].push) {
          sync.pull().catch((error) => wrong.push(error));
          await clock.advance(0);
        }
        for (let i = 0; i < 1000 && !wrong.length && isAnswer(script[next]); i++) await clock.advance(i ? 100 : 20);
        if (wrong.length) throw wrong[0];
        assert.ok(!isAnswer(script[next]), `${space} stands still at line ${next}`);
      }
      const { shows } = script[next];
      const where = `${space}, line ${next}`;
      compare(shows, where);
      for (const [name, status] of Object.entries(shows.settled ?? {})) assert.equal((await outcome(handles.get(name))).status, status, `${where}, ${name}`);
      next++;
    }
    assert.deepEqual(causes, startsOf(script));
    met.starts += causes.length;
    await sync.close();
  }
  const least = { pushes: 300, chains: 100, conflicts: 50, skipped: 10, lost: 50, starts: 3, ways: 30 };
  for (const [what, count] of Object.entries(least)) assert.ok(met[what] >= count, `too little to show much: ${JSON.stringify(met)}`);
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
