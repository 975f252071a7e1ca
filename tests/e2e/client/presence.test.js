// Who is here.

import assert from "node:assert/strict";
import { test } from "node:test";
import { problem } from "./fakeserver.js";
import { page, world } from "./support.js";

const beats = (server) => server.requests.filter(({ kind }) => kind === "presence");
const states = (sync) => sync.presence.getSnapshot().map(({ state }) => state);

test("says so at once, and as often as it takes", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  await clock.advance(60_000);
  assert.equal(beats(server).length, 0);
  sync.presence.set({ name: "Alice" });
  await clock.advance(0);
  assert.deepEqual(beats(server).map(({ body }) => body), [{ state: { name: "Alice" }, ttl_s: 30 }]);
  assert.deepEqual(sync.presence.getSnapshot(), [{ clientId: sync.clientId, subject: "anonymous", state: { name: "Alice" }, since: "2026-01-01T00:00:00Z" }]);
  await clock.advance(60_000);
  assert.equal(beats(server).length, 7, "two may get lost");
});

test("many changes of state are one request each tenth of a second", async (t) => {
  const { client, clock, server } = world(t);
  const sync = await client();
  sync.presence.set({ x: 0 });
  await clock.advance(0);
  for (let x = 1; x <= 100; x++) {
    sync.presence.set({ x });
    await clock.advance(10);
  }
  await clock.advance(100);
  assert.ok(beats(server).length <= 12, `${beats(server).length} requests in a second`);
  assert.deepEqual([beats(server).at(-1).body.state, states(sync)], [{ x: 100 }, [{ x: 100 }]]);
});

test("with a stream others are seen at once, otherwise by the next answer; a list that is the same is the same object", async (t) => {
  for (const stream of [true, false]) {
    const { client, clock, server, soon } = world(t);
    const [alice, bob] = [await client({ stream }), await client({ stream })];
    const seen = [];
    alice.presence.subscribe(() => seen.push(states(alice)));
    alice.presence.set({ name: "Alice" });
    await clock.advance(0);
    bob.presence.set({ name: "Bob" });
    await clock.advance(0);
    assert.equal(states(alice).length, stream ? 2 : 1);
    await clock.advance(12_000);
    assert.deepEqual(states(alice), [{ name: "Alice" }, { name: "Bob" }]);
    const list = alice.presence.getSnapshot();
    await clock.advance(30_000);
    assert.equal(alice.presence.getSnapshot(), list);
    await soon(bob.presence.leave());
    await clock.advance(12_000);
    assert.deepEqual([seen, server.present.size], [[[], [{ name: "Alice" }], [{ name: "Alice" }, { name: "Bob" }], [{ name: "Alice" }]], 1]);
  }
});

test("leave: said once, and no more heartbeats", async (t) => {
  const { client, clock, server, soon } = world(t);
  const sync = await client();
  await sync.presence.leave();
  assert.equal(beats(server).length, 0, "nobody was there");
  sync.presence.set({});
  await clock.advance(0);
  await soon(sync.presence.leave());
  assert.deepEqual([server.present.size, beats(server).length], [0, 2]);
  await clock.advance(60_000);
  assert.equal(beats(server).length, 2);
});

test("who pauses, goes offline or does not look is not here, and is again afterwards", async (t) => {
  const { show, online } = page(t);
  const { client, clock, server } = world(t);
  const sync = await client();
  sync.presence.set({});
  await clock.advance(0);
  const ways = [
    [() => sync.pause(), () => sync.resume()],
    [() => online(false), () => online(true)],
    [() => show("hidden"), () => show("visible")],
  ];
  for (const [go, comeBack] of ways) {
    const before = beats(server).length;
    go();
    await clock.advance(60_000);
    assert.equal(beats(server).length, before);
    comeBack();
    await clock.advance(0);
    assert.equal(beats(server).length, before + 1);
  }
  sync.pause();
  assert.deepEqual(states(sync), [], "nobody knows");
});

test("a page that goes away says so", async (t) => {
  const { leave, show } = page(t);
  const { client, clock, server } = world(t);
  const sync = await client();
  sync.presence.set({});
  await clock.advance(0);
  leave();
  await clock.advance(0);
  assert.equal(server.present.size, 0);
  show("visible"); // the browser had kept it
  await clock.advance(0);
  assert.equal(server.present.size, 1);
});

test("a server that has no presence, or refuses it, is no failure of the sync", async (t) => {
  const { client, clock, server } = world(t);
  server.fault = ({ kind }) => kind === "presence" && problem(404, "not_found");
  const sync = await client();
  sync.presence.set({});
  await clock.advance(60_000);
  assert.deepEqual([sync.status.error, sync.status.online], [null, true]);
  assert.ok(beats(server).length < 12);
  await sync.close();
  await clock.advance(0);
  assert.equal(clock.timers, 0);
});
