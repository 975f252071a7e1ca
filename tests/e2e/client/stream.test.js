// The stream: taken first, as good as polls, and no loss when it can't be had.

import assert from "node:assert/strict";
import { test } from "node:test";
import { problem } from "./fakeserver.js";
import { KeptStore, outcome, page, shown, world } from "./support.js";

/** A world whose clients are as they come: with a stream. `streamed` is one whose stream is up. */
function streaming(t) {
  const all = world(t);
  const client = (options) => all.client({ stream: undefined, ...options });
  async function streamed(options) {
    const sync = await client(options);
    await all.clock.advance(0);
    assert.equal(sync.status.transport, "stream");
    return sync;
  }
  return { ...all, client, streamed };
}

const silent = ({ signal }) => {
  const start = (controller) => signal.addEventListener("abort", () => controller.error(signal.reason));
  return new Response(new ReadableStream({ start }), { headers: { "Content-Type": "text/event-stream" } });
};
const only = (kind, answer) => (request) => request.kind === kind && answer(request);

/** Lets the server live: a heartbeat every 15 s. */
async function live(server, clock, ms) {
  for (; ms > 0; ms -= 15_000) {
    await clock.advance(Math.min(ms, 15_000));
    server.heartbeat();
  }
  await clock.advance(0);
}

test("one pull for the first state, then the stream and no polls", async (t) => {
  const { streamed, clock, server } = streaming(t);
  server.other("put", "todos", "t1", { a: 1 });
  const sync = await streamed();
  assert.deepEqual(shown(sync), { t1: { a: 1 } });
  assert.deepEqual(server.requests.map(({ kind }) => kind), ["pull", "stream"]);

  server.other("put", "todos", "t2", { b: 1 });
  server.other("delete", "todos", "t1");
  await clock.advance(0);
  assert.deepEqual(shown(sync), { t2: { b: 1 } });
  assert.deepEqual(sync.events("remote").flatMap(({ changes }) => changes.map(({ id, deleted }) => [id, deleted])), [["t2", false], ["t1", true]]);
  await live(server, clock, 3_600_000);
  assert.equal(server.requests.length, 2);
  assert.equal(sync.status.lastSyncedAt, clock.now(), "a heartbeat says that there is nothing new");
});

test("own edits go out by push; the echo may come before, with, or long after the answer", async (t) => {
  for (const when of ["before", "after"]) {
    const { streamed, clock, server } = streaming(t);
    const sync = await streamed();
    const states = [];
    sync.collection("todos").subscribe(() => states.push(shown(sync).t1));
    server.late = when === "after";
    if (when === "before") server.hold();
    const edit = sync.collection("todos").put("t1", { n: 1 });
    await clock.advance(20);
    if (when === "before") server.release();
    await clock.advance(0);
    assert.equal((await outcome(edit)).status, "applied");
    server.poke();
    server.late = false;
    server.other("patch", "todos", "t1", { n: 2 });
    await clock.advance(0);
    assert.deepEqual(states.filter((state, i) => state?.n !== states[i - 1]?.n), [{ n: 1 }, { n: 2 }], when);
    await live(server, clock, 60_000);
    assert.deepEqual([server.pulls().length, server.pushes().length, sync.status.pending], [1, 1, 0], when);
  }
});

/** An own push whose answer comes after a page of the stream that does not have it yet. */
async function overtaken({ streamed, clock, server }) {
  const sync = await streamed();
  const [stream] = server.streams;
  server.late = true;
  server.other("put", "todos", "t1", {});
  const nothing = { edit_id: "x", op: "delete", collection: "none", id: "x", base_version: 0 };
  const page = server.push({ client_id: "x", edits: [nothing], cursor: stream.cursor });
  server.hold();
  sync.collection("todos").put("t2", {});
  await clock.advance(20);
  stream.say(`event: changes\nid: ${page.cursor}\ndata: ${JSON.stringify(page)}\n\n`);
  await clock.advance(0);
  assert.deepEqual(Object.keys(shown(sync)), ["t1", "t2"]);
  server.release();
  await clock.advance(0);
  return { sync, stream };
}

test("an answer that comes too late for its page: the stream brings the rest", async (t) => {
  const all = streaming(t);
  const { sync } = await overtaken(all);
  all.server.poke();
  await live(all.server, all.clock, 60_000);
  assert.deepEqual([all.server.pulls().length, Object.keys(shown(sync))], [1, ["t1", "t2"]]);
});

test("if the stream does not bring it, it is asked for, and of a node that may be behind", async (t) => {
  const all = streaming(t);
  const { stream } = await overtaken(all);
  stream.cursor = "nowhere";
  await live(all.server, all.clock, 60_000);
  assert.deepEqual(all.server.pulls().map(({ minVersion }) => minVersion), [null, String(all.server.head)]);
});

test("a page in parts is shown when it is whole, also with a push in between", async (t) => {
  const { streamed, clock, server } = streaming(t);
  const sync = await streamed();
  const sizes = [];
  sync.collection("todos").subscribe(() => sizes.push(Object.keys(shown(sync)).length));
  server.limit = 2;
  server.late = true;
  for (let i = 0; i < 5; i++) server.other("put", "todos", `t${i}`, { i });
  server.poke();
  await clock.advance(0);
  assert.deepEqual(sizes, [0, 5]);

  for (let i = 5; i < 10; i++) server.other("put", "todos", `t${i}`, { i });
  sync.collection("todos").put("own", {}); // its answer is the first of several pages, and the stream brings them too
  await clock.advance(20);
  server.poke();
  await clock.advance(3000);
  assert.deepEqual(sizes.filter((size, i) => size !== sizes[i - 1]), [0, 5, 6, 11]);
});

test("a stream that lags behind a push's answer changes nothing back", async (t) => {
  const { streamed, clock, server } = streaming(t);
  server.other("put", "todos", "t1", { n: 1 });
  const sync = await streamed();
  const [stream] = server.streams;
  server.late = true;
  server.other("patch", "todos", "t1", { n: 2 });
  const old = server.push({ client_id: "x", edits: [{ edit_id: "x", op: "delete", collection: "none", id: "x", base_version: 0 }], cursor: stream.cursor });
  server.other("patch", "todos", "t1", { n: 3 });
  const edit = sync.collection("todos").put("t2", {});
  await clock.advance(20);
  assert.equal((await outcome(edit)).status, "applied");
  assert.equal(shown(sync).t1.n, 3);
  stream.say(`event: changes\nid: ${old.cursor}\ndata: ${JSON.stringify(old)}\n\n`);
  await clock.advance(0);
  assert.deepEqual(shown(sync), { t1: { n: 3 }, t2: {} });
  sync.collection("todos").merge("t2", { n: 1 });
  const before = server.head;
  await clock.advance(20);
  assert.equal(JSON.parse(atob(server.pushes().at(-1).cursor)).position, before, "a cursor never goes back");
  server.late = false;
  server.other("delete", "todos", "t1");
  await clock.advance(0);
  assert.deepEqual(shown(sync), { t2: { n: 1 } });
});

test("words may arrive in pieces of any size", async (t) => {
  const { streamed, clock, server } = streaming(t);
  const chop = (response) => {
    const bytes = new TransformStream({
      transform(chunk, controller) {
        for (const byte of chunk) controller.enqueue(new Uint8Array([byte]));
      },
    });
    return new Response(response.body.pipeThrough(bytes), response);
  };
  const fetch = async (url, init) => (url.includes("/stream") ? chop(await server.fetch(url, init)) : server.fetch(url, init));
  const sync = await streamed({ fetch });
  const data = { text: "Grüße \u2028 🌊: : \n\r\n\n", "": "" };
  server.other("put", "todos", "t1", data);
  for (let i = 0; i < 100 && !shown(sync).t1; i++) await clock.advance(0);
  assert.deepEqual(shown(sync), { t1: data });
});

test("only the collections asked for", async (t) => {
  const { streamed, clock, server } = streaming(t);
  const sync = await streamed({ collections: ["todos"] });
  server.other("put", "todos", "t1", {});
  server.other("put", "notes", "n1", {});
  await clock.advance(0);
  assert.deepEqual([shown(sync), shown(sync, "notes")], [{ t1: {} }, {}]);
});

test("stream: false polls, and never asks for one", async (t) => {
  const { client, clock, server } = streaming(t);
  const sync = await client({ stream: false });
  await clock.advance(600_000);
  assert.deepEqual([sync.status.transport, server.connects().length], ["polling", 0]);
});

// -- What goes wrong

for (const [how, answer] of [
  ["refused", () => problem(404, "not_found")],
  ["answered by something else", () => new Response("<h1>Sign in</h1>\n\n<p>here</p>", { headers: { "Content-Type": "text/html" } })],
  ["held back by a proxy", silent],
]) {
  test(`a stream that is ${how}: polls, and other tries, fewer and fewer`, async (t) => {
    const { client, clock, server } = streaming(t);
    server.fault = only("stream", answer);
    const sync = await client();
    const transports = new Set();
    sync.status.subscribe(() => transports.add(sync.status.transport));
    server.other("put", "todos", "t1", {});
    await clock.advance(2000);
    assert.deepEqual(shown(sync), { t1: {} }, "not a moment later than without a stream");
    await clock.advance(598_000);
    assert.ok(server.pulls().length > 290);
    const tries = server.connects().length;
    assert.ok(tries > 1 && tries <= 12, `${tries} tries in 10 minutes`);
    assert.deepEqual([...transports, sync.status.error, sync.status.online], ["polling", null, true]);
    server.fault = () => undefined;
    await live(server, clock, 310_000);
    assert.deepEqual([server.connects().length, sync.status.transport], [tries + 1, "stream"]);
    const polls = server.pulls().length;
    await live(server, clock, 60_000);
    assert.equal(server.pulls().length, polls);
  });
}

test("a fetch without readable bodies polls", async (t) => {
  const { client, clock, server } = streaming(t);
  const fetch = async (url, init) => {
    const response = await server.fetch(url, init);
    return { ok: response.ok, status: response.status, headers: response.headers, json: () => response.json() };
  };
  const sync = await client({ fetch });
  await clock.advance(60_000);
  assert.deepEqual([sync.status.transport, sync.status.error], ["polling", null]);
});

test("a proxy that lets the first words through and no heartbeat counts as one that holds back", async (t) => {
  const { streamed, clock, server } = streaming(t);
  const sync = await streamed();
  await clock.advance(45_000);
  assert.equal(sync.status.transport, "polling");
  server.other("put", "todos", "t1", {});
  await clock.advance(3000);
  assert.deepEqual(shown(sync), { t1: {} });
  await clock.advance(60_000);
  assert.equal(server.connects().length, 1);
});

test("silence: a stream that worked and fell silent is opened anew", async (t) => {
  const { streamed, clock, server } = streaming(t);
  const sync = await streamed();
  await live(server, clock, 120_000);
  await clock.advance(44_000);
  assert.deepEqual([server.connects().length, sync.status.transport, server.streams.size], [1, "stream", 1]);
  await clock.advance(5000); // a second more, and what `retry` says
  assert.deepEqual([server.connects().length, sync.status.transport, server.streams.size], [2, "stream", 1]);
});

test("the network fails: polls and streams back off, and come back", async (t) => {
  const { streamed, clock, server } = streaming(t);
  clock.chance = 1;
  const sync = await streamed();
  server.down();
  server.cut();
  await clock.advance(0);
  assert.equal(sync.status.transport, "polling");
  await clock.advance(30_000);
  assert.deepEqual([sync.status.online, sync.status.error.code], [false, "network"]);
  await clock.advance(1_800_000);
  server.other("put", "todos", "t1", {});
  server.down(false);
  await live(server, clock, 60_000); // the first poll that gets through brings the stream along
  assert.deepEqual([sync.status.transport, sync.status.online, sync.status.error, shown(sync)], ["stream", true, null, { t1: {} }]);
});

test("a stream that is cut again and again is asked for less and less, and polls fill in", async (t) => {
  const { client, clock, server } = streaming(t);
  const sync = await client();
  for (let i = 0; i < 300; i++) {
    server.cut();
    server.other("put", "todos", "t1", { i });
    await clock.advance(1000);
  }
  assert.ok(server.connects().length < 20, `${server.connects().length} connections in 5 minutes`);
  assert.ok(shown(sync).t1.i > 295);
});

test("Retry-After is obeyed, polls go on", async (t) => {
  const { client, clock, server } = streaming(t);
  server.fault = only("stream", () => problem(429, "too_many_streams", {}, { "Retry-After": "90" }));
  const sync = await client();
  await clock.advance(89_000);
  assert.equal(server.connects().length, 1);
  assert.ok(server.pulls().length > 40);
  server.fault = () => undefined;
  await clock.advance(1000);
  assert.equal(sync.status.transport, "stream");
});

test("bye: back when the server said, on the other node, and nothing is missed", async (t) => {
  const { streamed, clock, server } = streaming(t);
  const sync = await streamed();
  server.other("put", "todos", "t1", { n: 1 });
  await clock.advance(0);
  server.node = "B";
  server.bye(1500);
  server.other("patch", "todos", "t1", { n: 2 });
  await clock.advance(1400);
  assert.deepEqual([server.connects().length, sync.status.transport, sync.status.error], [1, "polling", null]);
  await clock.advance(100);
  assert.deepEqual([[...server.streams].map(({ node }) => node), sync.status.transport, shown(sync)], [["B"], "stream", { t1: { n: 2 } }]);
  assert.equal(server.pulls().length, 1, "too short to poll");
});

test("401: once more with a fresh token; the stream ends with the token, and comes back with the next", async (t) => {
  const { streamed, clock, server } = streaming(t);
  let good = "first";
  const asked = [];
  const getToken = ({ refresh }) => (asked.push(refresh), refresh ? good : "first");
  server.fault = ({ token }) => token !== good && problem(401, "unauthenticated");
  const sync = await streamed({ getToken });
  good = "second";
  server.bye(0, "token_expired");
  asked.length = 0;
  await clock.advance(0);
  assert.deepEqual([asked, server.connects().map(({ token }) => token), sync.status.transport], [[false, true], ["first", "first", "second"], "stream"]);
});

test("reset: everything anew, one event, edits not sent yet are kept and sent", async (t) => {
  const { streamed, clock, server } = streaming(t);
  server.other("put", "todos", "t1", { a: 1 });
  server.other("put", "todos", "t2", {});
  const sync = await streamed();
  server.late = true;
  server.other("delete", "todos", "t2");
  server.purge();
  server.fault = only("push", () => problem(503, "unavailable"));
  const edit = sync.collection("todos").merge("t1", { b: 1 });
  server.say("reset", { status: 410, code: "cursor_expired", cause: "retention" }, "");
  server.cut();
  await clock.advance(0);
  assert.deepEqual([shown(sync), sync.events("resync")], [{ t1: { a: 1, b: 1 } }, [{ cause: "retention" }]]);
  server.fault = () => undefined;
  server.late = false;
  await clock.advance(10_000);
  assert.equal((await outcome(edit)).status, "applied");
  assert.deepEqual([server.data("todos", "t1"), sync.status.transport, sync.problems.length], [{ a: 1, b: 1 }, "stream", 0]);
  server.other("delete", "todos", "t1");
  await clock.advance(0);
  assert.deepEqual(shown(sync), {});
  assert.equal(sync.events("resync").length, 1);
});

test("reset: an edit that was sent and never answered is not sent again", async (t) => {
  const { streamed, clock, server } = streaming(t);
  const sync = await streamed();
  const backup = server.backup();
  server.late = true;
  server.loseAnswers(1);
  const edit = sync.collection("todos").put("t1", { n: 1 });
  await clock.advance(20);
  server.restore(backup);
  server.say("reset", { status: 410, code: "cursor_expired", cause: "epoch" }, "");
  server.cut();
  await clock.advance(10_000);
  assert.equal((await outcome(edit)).status, "conflict");
  assert.deepEqual([sync.problems.getSnapshot()[0].error.code, shown(sync), server.documents.size], ["outcome_unknown", {}, 0]);
});

test("410 to the stream itself: the same", async (t) => {
  const { client, clock, server } = streaming(t);
  const store = new KeptStore();
  server.other("put", "todos", "t1", {});
  await (await client({ store })).close();
  server.epoch = "epoch-2";
  const sync = await client({ store });
  await clock.advance(2000);
  assert.deepEqual([sync.events("resync"), shown(sync), sync.status.transport], [[{ cause: "epoch" }], { t1: {} }, "stream"]);
});

test("a server that resets every stream is not stormed", async (t) => {
  const { client, clock, server } = streaming(t);
  server.fault = only("stream", () => problem(410, "cursor_expired", { cause: "epoch" }));
  const sync = await client();
  await clock.advance(60_000);
  assert.ok(server.connects().length < 12, `${server.connects().length} streams in a minute`);
  assert.ok(server.requests.length < 60);
  assert.equal(sync.status.error, null);
});

test("a push that meets 410 ends the stream of the old history", async (t) => {
  const { streamed, clock, server } = streaming(t);
  server.other("put", "todos", "t1", {});
  const sync = await streamed();
  const [old] = server.streams;
  server.epoch = "epoch-2";
  sync.collection("todos").put("t2", {});
  await clock.advance(20);
  assert.equal(server.streams.has(old), false);
  await clock.advance(1000);
  assert.deepEqual([Object.keys(shown(sync)), sync.events("resync").length, sync.status.transport], [["t1", "t2"], 1, "stream"]);
});


// -- The page's surroundings

test("hidden: the stream is closed; visible: opened at once", async (t) => {
  const { show } = page(t);
  const { streamed, clock, server } = streaming(t);
  const sync = await streamed();
  show("hidden");
  await clock.advance(0);
  assert.equal(server.streams.size, 0);
  await clock.advance(60_000);
  assert.equal(server.requests.length, 2);
  server.other("put", "todos", "t1", {});
  show("visible");
  await clock.advance(0);
  assert.deepEqual([shown(sync), sync.status.transport], [{ t1: {} }, "stream"]);
});

test("offline, paused, closed: nothing is left open", async (t) => {
  const { online } = page(t);
  const { streamed, clock, server } = streaming(t);
  const sync = await streamed();
  online(false);
  await clock.advance(0);
  assert.deepEqual([server.streams.size, sync.status.transport], [0, "polling"]);
  online(true);
  await clock.advance(0);
  assert.equal(sync.status.transport, "stream");
  sync.pause();
  await clock.advance(0);
  assert.equal(server.streams.size, 0);
  sync.resume();
  await clock.advance(0);
  assert.equal(server.streams.size, 1);
  await sync.close();
  await clock.advance(0);
  assert.deepEqual([server.streams.size, clock.timers], [0, 0]);
});

test("focus with a stream that spoke lately asks for nothing; one that should have spoken is opened anew", async (t) => {
  const { focus } = page(t);
  const { streamed, clock, server } = streaming(t);
  const sync = await streamed();
  await live(server, clock, 60_000);
  focus();
  await clock.advance(0);
  assert.equal(server.requests.length, 2);
  clock.time += 8 * 3_600_000; // the machine slept, and no timer has noticed
  focus();
  await clock.advance(0);
  assert.deepEqual([server.connects().length, sync.status.transport], [2, "stream"]);
});

test("focus while the stream is up does not hurry the next one", async (t) => {
  const { focus } = page(t);
  const { streamed, clock, server } = streaming(t);
  await streamed();
  focus();
  server.bye(5000);
  await clock.advance(4000);
  assert.equal(server.connects().length, 1);
});

test("focus tries a stream that was blocked", async (t) => {
  const { focus } = page(t);
  const { client, clock, server } = streaming(t);
  server.fault = only("stream", () => problem(404, "not_found"));
  const sync = await client();
  server.fault = () => undefined;
  focus();
  await clock.advance(0);
  assert.equal(sync.status.transport, "stream");
});

test("pull() is answered although the page was hidden meanwhile", async (t) => {
  const { show } = page(t);
  const { streamed, soon } = streaming(t);
  const sync = await streamed();
  const pulled = sync.pull();
  await sync.ready;
  show("hidden");
  await soon(pulled);
});

test("paused by a listener: what came in the same breath is not shown any more", async (t) => {
  const { streamed, clock, server } = streaming(t);
  const sync = await streamed();
  sync.on("remote", () => sync.pause());
  const [stream] = server.streams;
  const words = [];
  const { say } = stream;
  stream.say = (text) => words.push(text);
  for (const id of ["t1", "t2"]) server.other("put", "todos", id, {});
  say(words.join(""));
  await clock.advance(0);
  assert.deepEqual(Object.keys(shown(sync)), ["t1"]);
  sync.resume();
  await clock.advance(0);
  assert.deepEqual(Object.keys(shown(sync)), ["t1", "t2"]);
});

test("pull() still asks, whatever the stream does", async (t) => {
  const { streamed, server, soon } = streaming(t);
  const sync = await streamed();
  await soon(sync.pull());
  assert.equal(server.pulls().length, 2);
});

test("each connection is told of when it has ended", async (t) => {
  const { streamed, clock, server } = streaming(t);
  const sync = await streamed();
  await live(server, clock, 30_000);
  server.bye(60_000);
  await clock.advance(0);
  const { error, ...event } = sync.events("request").find(({ kind }) => kind === "stream");
  assert.deepEqual([event, error.code], [{ kind: "stream", status: 200, ms: 30_000, edits: 0, changes: 0 }, "bye"]);
});
