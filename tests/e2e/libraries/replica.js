// What every library with a replica must show, written once: two clients on the same space, first sync of 3,000
// documents, edits made offline on both, a conflict, deletes, and in the end the same documents, proven by the digest and
// count of the server.
//
// A replica is `open({ url, space, network, name })` and gives: `all()`, what it shows: `[{ id, version, data }]`;
// `put(id, data)` and `remove(id)`, which change what it shows and resolve when it does; `problems()`, how many edits it
// has handed back; `sync()`, if the library wants to be told when; `close()`.

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { until } from './cell.js';
import { Network } from './network.js';
import { digest, push, snapshot } from './server.js';

const COUNT = 3_000;

/** Opens a replica with a network of its own. */
export async function openReplica(t, open, options) {
  const network = new Network();
  const replica = await open({ ...options, network });
  t.after(() => replica.close());
  return Object.assign(replica, {
    network,
    async data(id) {
      return (await replica.all()).find((document) => document.id === id)?.data;
    },
  });
}

/** Waits until each replica holds exactly what the server has, and proves it by digest and count. */
export async function converged(url, space, ...replicas) {
  const byId = (a, b) => (a.id < b.id ? -1 : 1);
  await until(async () => {
    for (const replica of replicas) await replica.sync?.();
    const theirs = await snapshot(url, space);
    const documents = [...theirs.documents.values()].sort(byId);
    for (const replica of replicas) if (!isDeepStrictEqual([...(await replica.all())].sort(byId), documents)) return false;
    for (const replica of replicas) {
      const mine = await replica.all();
      assert.deepEqual({ digest: digest(mine), count: mine.length }, { digest: theirs.digest, count: theirs.count });
    }
    return true;
  }, 'both hold what the server has', { every: 50 });
}

/**
 * The scenario. What becomes of a conflict is the library's: `conflict` is the document that both edited, in the end, and
 * `deletedAndEdited` the one that one deleted and the other, first, edited; `undefined` if it is gone.
 */
export function replicaTest(test, server, open, { conflict, deletedAndEdited }) {
  test(`two clients, ${COUNT} documents`, async (t) => {
    const { url } = server;
    const space = server.newSpace('scenario');
    const seed = Array.from({ length: COUNT }, (_, i) => ({ id: `t${i}`, data: { title: `To-do ${i}`, done: false } }));
    await push(url, space, seed);

    const [alice, bob] = await Promise.all(['alice', 'bob'].map((name) => openReplica(t, open, { url, space, name })));
    await converged(url, space, alice, bob);
    assert.equal((await alice.all()).length, COUNT);

    for (const { network } of [alice, bob]) network.set(false);
    await alice.put('t0', { title: 'by Alice', done: false });
    await alice.put('t0', { title: 'by Alice, twice', done: false });
    await alice.put('new-a', { title: 'New by Alice', done: false });
    await alice.remove('t1');
    await alice.put('t2', { title: 'Both, Alice', done: true });
    await alice.put('t3', { title: 'Edited by Alice', done: false });
    await alice.remove('t4');
    await bob.put('t5', { title: 'by Bob', done: true });
    await bob.put('new-b', { title: 'New by Bob', done: false });
    await bob.put('new-b', { title: 'New by Bob, twice', done: false });
    await bob.put('t2', { title: 'Both, Bob', done: false });
    await bob.remove('t3');
    await bob.put('t4', { title: 'Edited by Bob', done: false });
    // Each sees its own at once, and nothing of the other.
    assert.deepEqual([await alice.data('t0'), await alice.data('t1'), await alice.data('t5')], [{ title: 'by Alice, twice', done: false }, undefined, seed[5].data]);
    assert.deepEqual([await bob.data('t0'), await bob.data('t3'), await bob.data('new-a')], [seed[0].data, undefined, undefined]);
    const untouched = await snapshot(url, space);
    assert.deepEqual([untouched.count, untouched.documents.get('t0').data], [COUNT, seed[0].data]);

    alice.network.set(true);
    await converged(url, space, alice);
    bob.network.set(true);
    await converged(url, space, alice, bob);

    const has = async (id) => [await alice.data(id), await bob.data(id)];
    const both = (data) => [data, data];
    assert.deepEqual(await has('t0'), both({ title: 'by Alice, twice', done: false }));
    assert.deepEqual(await has('t5'), both({ title: 'by Bob', done: true }));
    assert.deepEqual(await has('new-a'), both({ title: 'New by Alice', done: false }));
    assert.deepEqual(await has('new-b'), both({ title: 'New by Bob, twice', done: false }));
    assert.deepEqual(await has('t1'), both(undefined));
    assert.deepEqual(await has('t2'), both(conflict), 'the document that both edited');
    assert.deepEqual(await has('t3'), both(deletedAndEdited), 'edited by Alice, then deleted by Bob who had not seen it');
    assert.deepEqual(await has('t4'), both(undefined), 'deleted by Alice, then edited by Bob who had not seen it');
    assert.equal(await alice.problems(), 0);
    assert.equal(await bob.problems(), (conflict.title === 'Both, Alice') + (deletedAndEdited !== undefined) + 1, 'none is lost in silence');

    // And they go on: an edit of one is seen by the other.
    await bob.put('t2', { title: 'After all', done: true });
    await converged(url, space, alice, bob);
    assert.deepEqual(await has('t2'), both({ title: 'After all', done: true }));

    await Promise.all([alice.close(), bob.close()]);
    // Sooner than a long poll ends by itself.
    await until(() => alice.network.underway + bob.network.underway === 0, 'closed, they end what they began', { within: 10_000 });
  });
}
