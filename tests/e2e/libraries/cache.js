// What every cache must show, written once: optimistic apply, rollback, 412, on the API of single documents. A cache is
// `open({ url, space, network, id })` and gives what a screen has of one document: `shown()`, the data on it or null;
// `save(data)`, which edits what is on it (`null` deletes) and resolves to `null` or the error; `seen`, a list of all that it
// has shown; `close()`.

import assert from 'node:assert/strict';
import { until } from './cell.js';
import { Network } from './network.js';
import { push, snapshot } from './server.js';

export function cacheTests(test, server, open) {
  /** A screen on `t1`, which is there with the title Milk. */
  async function begin(t, name) {
    const { url } = server;
    const space = server.newSpace(name);
    await push(url, space, [{ id: 't1', data: { title: 'Milk' } }]);
    const network = new Network();
    const screen = await open({ url, space, network, id: 't1' });
    t.after(() => screen.close());
    const shows = (title) => until(async () => (await screen.shown())?.title === title, `${title} is shown`);
    await shows('Milk');
    /** All titles that were on the screen, in order: none may flicker. */
    const history = () => screen.seen.map((data) => data?.title ?? null).filter((title, at, all) => title !== all[at - 1]);
    /** Gives the screen the time to show something else, which it must not. */
    const calm = () => {
      const shown = screen.seen.length;
      return until(() => screen.seen.length > shown, 'another look', { within: 100 }).catch(() => {});
    };
    const stored = async () => (await snapshot(url, space)).documents.get('t1')?.data;
    return { url, space, network, screen, shows, stored, history, calm };
  }

  test('optimistic apply', async (t) => {
    const { network, screen, shows, stored, history } = await begin(t, 'optimistic');
    const gate = network.hold('PUT');
    const saved = screen.save({ title: 'Bread' });
    await gate.reached;
    await shows('Bread');
    assert.deepEqual(await stored(), { title: 'Milk' }, 'it was shown before the server had it');
    const asked = network.requests.length;
    gate.pass();
    assert.equal(await saved, null);
    await shows('Bread');
    assert.deepEqual(await stored(), { title: 'Bread' });
    assert.equal(network.requests.length, asked, 'the answer of the write is the new document: nothing is fetched again');
    assert.equal(await screen.save({ title: 'Butter' }), null, 'and its version is the base of the next edit');
    assert.deepEqual(await stored(), { title: 'Butter' });
    assert.deepEqual(history(), ['Milk', 'Bread', 'Butter']);
  });

  test('rollback', async (t) => {
    const { network, screen, shows, stored, history } = await begin(t, 'rollback');
    const gate = network.hold('PUT');
    const saved = screen.save({ title: 'Bread' });
    await shows('Bread');
    network.set(false);
    gate.pass();
    assert.match((await saved).message, /the network is cut/);
    await shows('Milk');
    assert.deepEqual(await stored(), { title: 'Milk' });
    network.set(true);
    assert.equal(await screen.save({ title: 'Butter' }), null);
    await shows('Butter');
    assert.deepEqual(history(), ['Milk', 'Bread', 'Milk', 'Butter']);
  });

  test('rollback of several edits', async (t) => {
    const { network, screen, shows, stored, history, calm } = await begin(t, 'several');
    const gate = network.hold('PUT');
    const first = screen.save({ title: 'B' });
    await shows('B');
    const second = screen.save({ title: 'Br' });
    await shows('Br');
    network.set(false);
    gate.pass();
    assert.deepEqual([(await first).message, (await second).message].map((message) => /network is cut/.test(message)), [true, true]);
    await shows('Milk');
    network.set(true);
    assert.deepEqual(await stored(), { title: 'Milk' });
    assert.deepEqual(history(), ['Milk', 'B', 'Br', 'Milk']);

    const failing = network.hold('PUT');
    const third = screen.save({ title: 'Bu' });
    await shows('Bu');
    const fourth = screen.save({ title: 'But' });
    await shows('But');
    const gates = [network.hold('PUT'), network.hold('PUT')];
    failing.fail();
    await gates[0].reached;
    await calm();
    const fifth = screen.save({ title: 'Butt' });
    await shows('Butt');
    gates[0].pass();
    await gates[1].reached;
    await calm();
    gates[1].pass();
    assert.match((await third).message, /network is cut/);
    assert.deepEqual([await fourth, await fifth], [null, null], 'a newer edit has all that the lost one had');
    assert.deepEqual(await stored(), { title: 'Butt' });
    assert.deepEqual(history().slice(4), ['Bu', 'But', 'Butt']);
  });

  test('lost answer', async (t) => {
    const { network, screen, shows, stored } = await begin(t, 'lost');
    const gate = network.hold('PUT');
    const saved = screen.save({ title: 'Bread' });
    gate.lose();
    assert.match((await saved).message, /the answer is lost/);
    assert.deepEqual(await stored(), { title: 'Bread' });
    await shows('Bread'); // whether it arrived is asked, not guessed
  });

  test('412', async (t) => {
    const { url, space, network, screen, shows, stored, history } = await begin(t, 'conflict');
    await push(url, space, [{ id: 't1', data: { title: 'Cheese' } }]);
    const gate = network.hold('PUT');
    const saved = screen.save({ title: 'Bread' });
    await gate.reached;
    await shows('Bread');
    gate.pass();
    const error = await saved;
    assert.deepEqual([error.status, error.code, error.current.data], [412, 'version_conflict', { title: 'Cheese' }]);
    await shows('Cheese');
    assert.deepEqual(await stored(), { title: 'Cheese' });
    assert.equal(await screen.save({ title: 'Bread and cheese' }), null, 'what is shown is the base of the next edit');
    assert.deepEqual(await stored(), { title: 'Bread and cheese' });
    assert.deepEqual(history(), ['Milk', 'Bread', 'Cheese', 'Bread and cheese']);
  });

  test('quick second edit', async (t) => {
    const { network, screen, shows, stored, history } = await begin(t, 'quick');
    const gate = network.hold('PUT');
    const first = screen.save({ title: 'B' });
    await gate.reached;
    await shows('B');
    const second = screen.save({ title: 'Br' });
    await shows('Br');
    const third = screen.save({ title: 'Bre' });
    await shows('Bre');
    const later = network.hold('PUT');
    gate.pass();
    assert.equal(await first, null);
    await later.reached;
    const fourth = screen.save({ title: 'Brea' }); // between two answers
    await shows('Brea');
    later.pass();
    assert.deepEqual([await second, await third, await fourth], [null, null, null], 'nobody conflicts with himself');
    assert.equal(await screen.save({ title: 'Bread' }), null);
    assert.deepEqual(await stored(), { title: 'Bread' });
    await shows('Bread');
    assert.deepEqual(history(), ['Milk', 'B', 'Br', 'Bre', 'Brea', 'Bread'], 'no answer takes back what is shown by then');
  });

  test('edits on top of a 412', async (t) => {
    const { url, space, network, screen, shows, stored } = await begin(t, 'stacked');
    await push(url, space, [{ id: 't1', data: { title: 'Cheese' } }]);
    const gate = network.hold('PUT');
    const first = screen.save({ title: 'B' });
    await gate.reached;
    await shows('B');
    const second = screen.save({ title: 'Br' });
    await shows('Br');
    gate.pass();
    assert.deepEqual([(await first).status, (await second).status], [412, 412], 'made on what did not come about, it must not overwrite Cheese');
    await shows('Cheese');
    assert.deepEqual(await stored(), { title: 'Cheese' });
  });

  test('delete and create', async (t) => {
    const { url, space, screen, stored, shows } = await begin(t, 'delete');
    const shown = async () => screen.shown();
    assert.equal(await screen.save(null), null);
    await until(async () => (await shown()) === null, 'nothing is shown');
    assert.equal(await stored(), undefined);
    assert.equal(await screen.save({ title: 'Bread' }), null);
    await shows('Bread');
    assert.deepEqual(await stored(), { title: 'Bread' });
    await push(url, space, [{ op: 'delete', id: 't1' }]);
    assert.equal((await screen.save({ title: 'Butter' })).status, 412);
    await until(async () => (await shown()) === null, 'somebody else deleted it');
  });
}
