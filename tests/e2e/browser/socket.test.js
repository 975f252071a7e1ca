// The browser's own WebSocket against a node that is restarted under it: what pages have that want to send many times a
// second. It can send no token, so with auth each connection is opened with a ticket; how to come back is for the page to
// do, as deploy/README.md says.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { newProfile, startBrowser } from './harness.js';
import { startNginx, startNode, tokenFor, withAuth } from './nodes.js';
import { until } from './board.js';

const manual = readFileSync(new URL('../../../deploy/README.md', import.meta.url), 'utf8');
/** What nginx is told of sockets, word for word. */
const [, locations] = /^## WebSocket$[^]*?^```nginx\n([^]*?)^```$/m.exec(manual);

let browser;
before(async () => { browser = await startBrowser(); });
after(() => browser?.close());

/** Runs in the page. Keeps a socket open in `window.line`; without a token none is needed. */
function keepOpen([space, token]) {
  const line = { opened: 0, tickets: 0, seen: [], pushed: [], errors: [], present: [], byes: [], closes: [], cursors: [] };
  window.line = line;
  let cursor = '';
  let socket;
  line.send = (frame) => socket.send(JSON.stringify(frame));
  async function open() {
    const query = new URLSearchParams({ cursor });
    if (token) {
      const answer = await fetch(`/v1/spaces/${space}/stream-tickets?write=true`, { method: 'POST', headers: { Authorization: `Bearer ${token}` } }).catch(() => null);
      if (!answer?.ok) return setTimeout(open, 200);
      query.set('ticket', (await answer.json()).ticket);
      line.tickets++;
    }
    let wait = 200;
    socket = new WebSocket(`ws://${location.host}/v1/spaces/${space}/socket?${query}`);
    socket.onopen = () => {
      line.opened++;
      line.cursors.push(query.get('cursor'));
    };
    socket.onmessage = ({ data: text }) => {
      const { event, ref, data } = JSON.parse(text);
      if (event === 'changes') {
        cursor = data.cursor;
        for (const change of data.changes) line.seen.push(change.data.n);
        line.cursor = cursor;
      } else if (event === 'pushed') line.pushed.push({ ref, status: data.results[0].status });
      else if (event === 'presence') line.present = data.present;
      else if (event === 'bye') {
        line.byes.push(data.reason);
        wait = data.retry_after_ms;
      } else line.errors.push(text);
    };
    socket.onclose = ({ code, wasClean }) => {
      line.closes.push({ code, wasClean, byes: line.byes.length });
      setTimeout(open, wait);
    };
  }
  open();
}

const edit = (n) => ({ edit_id: randomUUID(), op: 'put', collection: 'todos', id: `t${n}`, base_version: 0, data: { n } });

/** A page with a socket to a space. */
async function talk(t, origin, space, { who, auth }) {
  // What is lost between the two lives of a node: the ticket that can't be had, and the handshake.
  const expected = [/status of 50\d/, /ERR_/, /WebSocket connection to .* failed/];
  const page = await (await newProfile(t, { browser, origin }, { expected })).newPage();
  const token = auth ? tokenFor(space, who) : '';
  await page.goto('/v1/config');
  await page.evaluate(keepOpen, [space, token]);
  await until(page, () => window.line.opened === 1);
  const send = (frame) => page.evaluate((wanted) => window.line.send(wanted), frame);
  return {
    token,
    push: async (n) => {
      await send({ push: { client_id: who, edits: [edit(n)] }, ref: `r${n}` });
      await until(page, (ref) => window.line.pushed.some((answer) => answer.ref === ref && answer.status === 'applied'), `r${n}`);
    },
    show: (state) => send({ presence: { client_id: who, state, ttl_s: 60 } }),
    sees: (n) => until(page, (wanted) => window.line.seen.includes(wanted), n),
    meets: (other, at) => until(page, ([id, place]) => window.line.present.some((one) => one.client_id === id && one.state?.at === place), [other, at]),
    opened: (times) => until(page, (wanted) => window.line.opened === wanted, times),
    line: () => page.evaluate(() => window.line),
  };
}

/** Writes as a client without a socket does. */
async function write(origin, space, token, n) {
  const answer = await fetch(`${origin}/v1/spaces/${space}/push`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ client_id: 'writer', edits: [edit(n)] }),
  });
  assert.equal(answer.status, 200);
}

for (const [how, auth] of [['in development', false], ['with auth', true]]) {
  for (const proxy of [false, true]) {
    test(`${how}, ${proxy ? 'through nginx' : 'directly'}: both ways, and over a restart of the node`, async (t) => {
      const args = auth ? withAuth : [];
      const [node, beside] = [await startNode(args), await startNode(args)];
      t.after(() => Promise.all([node, beside].map((one) => one.stop())));
      let { origin } = node;
      if (proxy) {
        const nginx = await startNginx([node.host], locations);
        t.after(() => nginx.stop());
        ({ origin } = nginx);
      }
      const space = `socket-${randomUUID()}`;
      const alice = await talk(t, origin, space, { who: 'alice', auth });
      const bob = await talk(t, origin, space, { who: 'bob', auth });

      await alice.push(1);
      await bob.push(2);
      await write(beside.origin, space, alice.token, 3);
      for (const one of [alice, bob]) for (const n of [1, 2, 3]) await one.sees(n);
      await alice.show({ at: 'here' });
      await bob.meets('alice', 'here');
      await bob.show({ at: 'there' });
      await alice.meets('bob', 'there');

      const before = await alice.line();
      await node.restart(() => write(beside.origin, space, alice.token, 4));
      for (const one of [alice, bob]) {
        await one.opened(2);
        await one.sees(4);
      }
      await alice.push(5);
      await bob.sees(5);
      await alice.sees(5);
      await alice.show({ at: 'again' });
      await bob.meets('alice', 'again');

      for (const one of [alice, bob]) {
        const { seen, byes, closes, errors, tickets, cursors } = await one.line();
        assert.deepEqual(seen, [1, 2, 3, 4, 5], 'nothing is missed, and nothing comes twice');
        assert.deepEqual(byes, ['shutdown']);
        assert.deepEqual(closes.filter(({ code }) => code !== 1006), [{ code: 1001, wasClean: true, byes: 1 }]);
        assert.equal(closes[0].code, 1001, 'what fails is to come back too early');
        assert.deepEqual(errors, []);
        assert.ok(auth ? tickets >= 2 : tickets === 0, `${tickets} tickets`);
        assert.equal(cursors[0], '');
      }
      const resumed = await alice.line();
      assert.equal(resumed.cursors[1], before.cursor, 'with the last cursor that it had');
    });
  }
}
