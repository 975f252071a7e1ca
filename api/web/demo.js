// The demo page: Alice and Bob, two clients of one space, each with a store of its own. It is an ordinary user of
// /tidemark.js: everything it knows about the board comes from the client, and the faults it offers are made in
// the `fetch` it hands to connect(), so that the client and the server are the real ones.

import { connect, mergeFields, newId } from '/tidemark.js';

const SAMPLES = 50; // measurements kept: what "median and p95" speak about
const ROWS = 60; // requests shown

const asked = new URLSearchParams(location.search).get('space') ?? '';
const space = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(asked) ? asked : 'demo';
const people = ['alice', 'bob'];
const names = { alice: 'Alice', bob: 'Bob' };
const other = { alice: 'bob', bob: 'alice' };

const $ = (selector, root = document) => root.querySelector(selector);
const copy = (id) => $(id).content.firstElementChild.cloneNode(true);
const plural = (n, word) => `${n} ${word}${n === 1 ? '' : 's'}`;

// ---------------------------------------------------------------------------------------------------- timeline

const timeline = {
  body: $('#timeline'),
  quiet: {}, // who -> by kind the rows that count what brings nothing new, while nothing else of theirs came after them

  add({ who, what, status, carried, ms, quiet, failed }) {
    const known = quiet && this.quiet[who]?.[what];
    const row = known || document.createElement('tr');
    if (!known) {
      row.className = quiet ? 'quiet' : '';
      for (const name of ['at', `who-cell ${who}`, 'what', failed ? 'failed' : 'status', 'wide', 'num']) {
        row.insertCell().className = name;
      }
      row.times = 0;
    }
    row.times++;
    const text = row.times > 1 ? `${carried}, ${row.times} times` : carried;
    const cells = [new Date().toLocaleTimeString([], { hour12: false }), names[who], what, status, text, ms === undefined ? '' : Math.round(ms)];
    cells.forEach((value, i) => { row.cells[i].textContent = value; });
    this.quiet[who] = quiet ? { ...this.quiet[who], [what]: row } : {};
    this.body.prepend(row);
    while (this.body.rows.length > ROWS) this.body.lastElementChild.remove();
    $('#timeline-empty').hidden = true;
  },
};

// ----------------------------------------------------------------------------------------------- the bad network

const faults = {
  delay: 0,
  away: false,
  blocked: false, // streams do not get through
  armed: { cursor: new Set(), rate: new Set() }, // whose next request gets it
};

const wait = (ms, signal) => new Promise((resolve, reject) => {
  if (signal?.aborted) return reject(signal.reason);
  const stop = () => { clearTimeout(timer); reject(signal.reason); };
  const timer = setTimeout(() => { signal?.removeEventListener('abort', stop); resolve(); }, ms);
  signal?.addEventListener('abort', stop, { once: true });
});

function problem(status, code, title, more = {}, headers = {}) {
  return new Response(JSON.stringify({ type: `/problems/${code}`, title, status, code, ...more }), {
    status, headers: { 'Content-Type': 'application/problem+json', ...headers },
  });
}

/** The answer that the page itself gives instead of the server, or nothing. */
function fault(who, what, cursor) {
  if (faults.blocked && what === 'stream') return problem(502, 'blocked', 'A proxy lets no stream through');
  if (faults.away) return problem(503, 'unavailable', 'The server is away', {}, { 'Retry-After': '1' });
  if (faults.armed.rate.delete(who)) {
    showFaults();
    return problem(429, 'rate_limited', 'Too many requests', {}, { 'Retry-After': '2' });
  }
  // As with a real one, nothing goes on from that cursor, until the client has asked for a snapshot.
  if (cursor && faults.armed.cursor.has(who)) {
    return problem(410, 'cursor_expired', 'The cursor has expired', { cause: 'retention' });
  }
}

/** What a request brought home, in a few words. */
async function carried(response, what, snapshot) {
  if (response.status === 304) return ['nothing new', true];
  if (response.status === 204) return ['left'];
  if (response.ok && what === 'stream') return ['open'];
  const push = what === 'push';
  const body = await response.clone().json().catch(() => ({}));
  if (!response.ok) return [[body.code?.replaceAll('_', ' '), body.cause].filter(Boolean).join(', ')];
  if (body.present) return [`${body.present.length} here`, true];
  const parts = [];
  if (push) {
    const fates = new Map();
    for (const { status } of body.results ?? []) fates.set(status, (fates.get(status) ?? 0) + 1);
    for (const [fate, n] of fates) parts.push(`${plural(n, 'edit')} ${fate === 'conflict' ? 'in conflict' : fate}`);
  }
  const own = new Set(body.results?.map((result) => result.edit_id));
  const n = body.changes?.filter((change) => !own.has(change.edit_id)).length ?? 0;
  if (n || (!push && !snapshot)) parts.push(n ? plural(n, 'change') : 'nothing new');
  if (snapshot) parts.unshift(n ? 'snapshot' : 'empty snapshot');
  return [parts.join(', '), !push && !snapshot && !n];
}

/** A fetch for one person: delayed, faulty and written down as the controls say. */
const network = (who) => async (input, init) => {
  const url = new URL(input instanceof Request ? input.url : input, location.href);
  const [, , , , resource] = url.pathname.split('/'); // /v1/spaces/{space}/{resource}
  const what = resource === 'changes' ? 'pull' : resource;
  const cursor = what === 'push' ? JSON.parse(init.body).cursor : url.searchParams.get('cursor');
  const snapshot = what === 'pull' && !cursor;
  const began = performance.now();
  const write = (entry) => timeline.add({ who, what, ms: performance.now() - began, ...entry });
  try {
    if (faults.delay) await wait(faults.delay / 2, init?.signal);
    const made = fault(who, what, cursor);
    const response = made ?? await fetch(input, init);
    if (faults.delay) await wait(faults.delay / 2, init?.signal);
    const [words, quiet] = await carried(response, what, snapshot);
    if (snapshot && response.ok && faults.armed.cursor.delete(who)) showFaults();
    write({ status: response.status, carried: made ? `${words} (made here)` : words, quiet, failed: response.status >= 400 });
    return what === 'stream' && response.ok ? wire(who, response) : response;
  } catch (error) {
    if (!init?.signal?.aborted) write({ status: 'lost', carried: 'no answer', failed: true });
    throw error;
  }
};

const wires = new Set(); // the open streams, as functions that cut them

/** A stream over the bad network: late by half of the delay, written down event by event, and it can be cut. */
function wire(who, response) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  let cut;
  const write = (entry) => timeline.add({ who, what: 'stream', status: 'event', ...entry });
  const read = (chunk) => {
    const blocks = (text + decoder.decode(chunk, { stream: true })).split('\n\n');
    text = blocks.pop();
    for (const block of blocks) told(block, write);
  };
  async function pump(controller) {
    let sent = Promise.resolve();
    for (;;) {
      const { done, value } = await reader.read();
      const arrived = performance.now();
      const pause = faults.delay / 2;
      sent = sent.then(() => wait(Math.max(0, arrived + pause - performance.now()))).then(() => {
        if (done) return controller.close();
        read(value);
        controller.enqueue(value);
      });
      sent.catch(() => {}); // it was cut meanwhile
      if (done) return;
    }
  }
  const body = new ReadableStream({
    start(controller) {
      cut = () => {
        wires.delete(cut);
        reader.cancel().catch(() => {});
        controller.error(new TypeError('The stream was cut'));
        write({ status: 'lost', carried: 'cut (made here)', failed: true });
      };
      wires.add(cut);
      pump(controller).catch((error) => controller.error(error)).finally(() => wires.delete(cut));
    },
    cancel: () => {
      wires.delete(cut);
      return reader.cancel();
    },
  });
  return new Response(body, response);
}

/** Writes down what an event brought. */
function told(block, write) {
  const fields = block.split('\n').map((line) => line.split(/: ?(.*)/s));
  const value = (name) => fields.filter(([field]) => field === name).map(([, text]) => text).join('\n');
  const event = value('event');
  if (!event) return; // a heartbeat
  const { changes = [], present = [], reason, cause } = JSON.parse(value('data'));
  if (event === 'changes') write({ carried: plural(changes.length, 'change') });
  else if (event === 'presence') write({ carried: `${present.length} here`, quiet: true });
  else write({ carried: [event, reason ?? cause].filter(Boolean).join(', ') });
}

// ------------------------------------------------------------------------------------ edit to seen by the other

const gauge = {
  open: [], // edits that the other has not seen: {who, id, editId, began}
  samples: [],

  start(who, { id, editId }) {
    if (panes.some((pane) => pane.offline)) return; // time behind a switch is not the system's time
    this.open.push({ who, id, editId, began: performance.now() });
  },

  /** Another person's page shows this change. Earlier edits of the same document were overtaken, never seen. */
  seen(viewer, change) {
    const mark = this.open.find((edit) => edit.editId === change.editId && edit.who !== viewer);
    if (!mark) return;
    this.open = this.open.filter((edit) => edit.who !== mark.who || edit.id !== mark.id || edit.began > mark.began);
    this.samples = [...this.samples, { who: mark.who, ms: performance.now() - mark.began }].slice(-SAMPLES);
    this.draw();
  },

  forget() { this.open = []; },

  draw() {
    const sorted = this.samples.map((s) => s.ms).sort((a, b) => a - b);
    const at = (q) => sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
    const [median, p95, last] = [at(0.5), at(0.95), this.samples.at(-1)?.ms];
    const say = (id, ms, unit = ' ms') => { $(id).textContent = ms === undefined ? '–' : Math.round(ms) + unit; };
    say('#last', last, '');
    say('#median', median);
    say('#p95', p95);
    $('#samples').textContent = sorted.length;

    const chart = $('#gauge-chart');
    const make = (name, attributes) => {
      const node = document.createElementNS('http://www.w3.org/2000/svg', name);
      for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
      return node;
    };
    const top = Math.max(...sorted, 1);
    const bars = Array.from({ length: SAMPLES }, (_, i) => {
      const sample = this.samples[i];
      const height = sample ? Math.max(3, 92 * sample.ms / top) : 2;
      return make('rect', { class: sample?.who ?? 'slot', x: i * 6, width: 3.5, y: 96 - height, height });
    });
    if (sorted.length > 1) {
      const y = 96 - 92 * median / top;
      bars.push(make('line', { class: 'mark-line', x1: 0, x2: 300, y1: y, y2: y }));
    }
    chart.replaceChildren(...bars);
    chart.setAttribute('aria-label', sorted.length
      ? `The last ${plural(sorted.length, 'edit')}: median ${Math.round(median)}, p95 ${Math.round(p95)} milliseconds`
      : 'No measurement yet');
  },
};

// ---------------------------------------------------------------------------------------------------- a to-do

/** Three-way merge of one line by words: both changes where they don't touch, else one beside the other. */
function mergeWords(base, mine, theirs) {
  const [b, m, t] = [base, mine, theirs].map((line) => line.split(' '));
  const changed = (side) => {
    let start = 0;
    while (start < b.length && start < side.length && b[start] === side[start]) start++;
    let end = 0;
    while (end < b.length - start && end < side.length - start && b.at(-1 - end) === side.at(-1 - end)) end++;
    return { from: start, to: b.length - end, words: side.slice(start, side.length - end) };
  };
  const [first, second] = [changed(m), changed(t)].sort((x, y) => x.from - y.from || x.to - y.to);
  if (mine === theirs) return mine;
  if (first.to > second.from || first.from === second.from) return `${mine} / ${theirs}`;
  return [...b.slice(0, first.from), ...first.words, ...b.slice(first.to, second.from), ...second.words, ...b.slice(second.to)].join(' ');
}

const titleOf = (data) => String(data?.title ?? '');

/** Sets the text of a field without moving the caret of whoever stands in it. */
function setValue(input, value) {
  if (input.value === value) return;
  const { selectionStart, selectionEnd } = input;
  const focused = document.activeElement === input;
  input.value = value;
  if (focused) input.setSelectionRange(selectionStart, selectionEnd);
}

/** One line of a list. It is made once and then only updated, so focus and caret stay where they are. */
class Row {
  dirty = false; // somebody is typing: the field is theirs until they save or give up

  constructor(pane, id) {
    Object.assign(this, { pane, id, title: '' });
    this.node = copy('#todo-template');
    this.node.dataset.id = id;
    this.input = $('.title', this.node);
    this.tick = $('.tick input', this.node);
    this.input.setAttribute('aria-label', 'Title');
    this.input.addEventListener('input', () => { this.dirty = true; });
    this.input.addEventListener('blur', () => this.save());
    this.input.addEventListener('keydown', (event) => {
      if (event.isComposing) return;
      if (event.key === 'Enter') this.save();
      if (event.key === 'Escape') this.revert();
    });
    this.tick.addEventListener('change', () => pane.merge(id, { done: this.tick.checked }));
    $('.delete', this.node).addEventListener('click', () => pane.delete(id));
  }

  save() {
    if (!this.dirty) return;
    const title = this.input.value.trim();
    this.dirty = false;
    if (title && (title !== this.title || !this.item)) {
      if (this.item) this.pane.merge(this.id, { title });
      else this.pane.put(this.id, { ...this.last, title });
    }
    this.pane.render();
  }

  revert() {
    this.dirty = false;
    this.pane.render();
  }

  update(item, problem) {
    const before = this.title;
    this.item = item;
    this.last = item?.data ?? this.last;
    if (item) this.title = titleOf(item.data);
    if (!this.dirty) setValue(this.input, this.title);
    this.tell(before);

    const done = item?.data.done === true;
    this.tick.checked = done;
    this.tick.disabled = !item;
    this.tick.setAttribute('aria-label', `Done: ${this.title}`);
    $('.delete', this.node).setAttribute('aria-label', `Delete: ${this.title}`);
    this.node.toggleAttribute('data-done', done);
    this.node.toggleAttribute('data-pending', Boolean(item?.pending));
    $('.waiting', this.node).hidden = !item?.pending;
    $('.row', this.node).hidden = !item && !this.dirty; // a conflict about a deleted to-do has a card and no line
    this.showConflict(problem);
  }

  /** Says what happened to the line under the hands of somebody who types in it. */
  tell(before) {
    const hint = $('.meanwhile', this.node);
    const who = names[other[this.pane.who]];
    if (!this.dirty) hint.hidden = true;
    else if (!this.item) hint.textContent = `${who} deleted this meanwhile. Enter brings it back with your title, Escape lets it go.`;
    else if (this.title !== before) hint.textContent = `Meanwhile it became “${this.title}”. Enter replaces that, Escape takes it.`;
    else return;
    hint.hidden = !this.dirty;
  }

  showConflict(problem) {
    if (this.card?.problemId !== problem?.problemId) {
      const inside = this.card?.node.contains(document.activeElement);
      this.card?.node.remove();
      this.card = problem && new Card(this.pane, problem);
      if (this.card) this.node.append(this.card.node);
      if (inside) (this.item ? this.input : this.pane.add).focus();
    }
    this.card?.update(problem);
  }

  flash(who) {
    clearTimeout(this.flashing);
    delete this.node.dataset.flash;
    void this.node.offsetWidth; // lets the animation start again
    this.node.dataset.flash = who;
    this.flashing = setTimeout(() => { delete this.node.dataset.flash; }, 1100);
  }
}

/** The choice between two edits of one to-do. */
class Card {
  constructor(pane, problem) {
    this.problemId = problem.problemId;
    this.node = copy('#conflict-template');
    this.merged = $('.merge input', this.node);
    this.merged.addEventListener('input', () => { this.touched = true; });
    const settle = (act) => () => { pane.measure(act(this.problem)); pane.render(); };
    $('.take-mine', this.node).addEventListener('click', settle((p) => p.keepMine()));
    $('.take-theirs', this.node).addEventListener('click', settle((p) => p.takeTheirs()));
    $('.merge', this.node).addEventListener('submit', (event) => {
      event.preventDefault();
      const title = this.merged.value.trim();
      if (title) settle((p) => p.merge((sides) => ({ ...mergeFields(sides.base, sides.mine, sides.theirs), title })))();
    });
    this.who = names[other[pane.who]];
  }

  update(problem) {
    if (this.problem === problem) return;
    this.problem = problem;
    const { base, mine, theirs, error } = problem;
    const headline = error.code === 'outcome_unknown' ? 'It is not known whether your edit arrived'
      : !theirs ? `You changed this, ${this.who} deleted it`
      : !mine ? `You deleted this, ${this.who} changed it`
      : base ? `You and ${this.who} changed this differently`
      : `You and ${this.who} both made this`;
    $('.conflict-title', this.node).textContent = headline;
    this.node.setAttribute('aria-label', `Conflict. ${headline}`);
    for (const [side, data] of Object.entries({ base, mine, theirs })) {
      const title = $(`.${side} .version-title`, this.node);
      const done = $(`.${side} .version-done`, this.node);
      title.textContent = data ? titleOf(data) : side === 'base' ? 'not there' : 'deleted';
      done.textContent = data ? (data.done ? 'done' : 'open') : '';
      title.toggleAttribute('data-changed', side !== 'base' && (!data || !base || titleOf(data) !== titleOf(base)));
      done.toggleAttribute('data-changed', side !== 'base' && Boolean(data && base) && Boolean(data.done) !== Boolean(base.done));
    }
    if (this.touched) return;
    setValue(this.merged, mine && theirs ? mergeWords(titleOf(base), titleOf(mine), titleOf(theirs)) : titleOf(mine ?? theirs));
  }
}

// ---------------------------------------------------------------------------------------------------- a person

const seeds = ['Water the tomatoes', 'Book the ferry to Texel', 'Ask Mira for the tide tables', 'Fix the bicycle light']
  .map((title, i) => ({ id: `00000000-0000-7000-8000-00000000000${i + 1}`, data: { title, done: i === 0 } }));

/** What needs no person: both want the same, or two windows put the same first to-dos on a new board. */
function decide({ id, base, mine, theirs }) {
  const same = mine && theirs && titleOf(mine) === titleOf(theirs) && Boolean(mine.done) === Boolean(theirs.done);
  const seeded = !base && seeds.some((seed) => seed.id === id);
  return same || seeded ? 'theirs' : undefined;
}

const excuses = {
  network: 'No answer, trying again',
  timeout: 'No answer, trying again',
  unavailable: 'Server away, trying again',
  rate_limited: 'Asked to slow down, waiting',
};

class Pane {
  rows = new Map();
  live = false; // the first pull is in: from now on changes are news

  constructor(who) {
    this.who = who;
    this.node = copy('#pane-template');
    this.list = $('.todos', this.node);
    this.add = $('.add input', this.node);
    this.switch = $('.switch input', this.node);
    this.dress();
    this.memo = `tidemark-demo offline ${space} ${who}`; // in this tab: a reload stays offline, a new visit does not
    this.switch.checked = sessionStorage.getItem(this.memo) !== null;

    this.sync = connect({
      url: '', space, name: who, fetch: network(who), paused: this.offline, collections: ['todos'], onConflict: decide,
    });
    this.todos = this.sync.collection('todos');
    this.listen();
    this.start();
  }

  get offline() { return this.switch.checked; }

  dress() {
    const name = names[this.who];
    this.node.dataset.who = this.who;
    this.node.id = this.who;
    $('.face', this.node).textContent = name[0];
    $('h2', this.node).textContent = name;
    $('h2', this.node).id = `${this.who}-name`;
    this.node.setAttribute('aria-labelledby', `${this.who}-name`);
    this.list.setAttribute('aria-label', `To-dos, as ${name} sees them`);
    this.add.placeholder = `Add a to-do as ${name}`;
    this.add.setAttribute('aria-label', this.add.placeholder);
    this.switch.setAttribute('aria-label', `${name} offline`);
    $('.empty-title', this.node).textContent = 'Nothing left to do.';
    $('.empty-text', this.node).textContent = `Add something, and watch it arrive at ${names[other[this.who]]}’s.`;
  }

  listen() {
    const { sync, todos } = this;
    for (const source of [todos, sync.problems, sync.status, sync.presence]) source.subscribe(() => this.render());
    sync.on('applied', ({ id }) => this.flash(id, this.who));
    sync.on('remote', ({ changes }) => {
      this.render();
      for (const change of changes) {
        this.flash(change.id, other[this.who]);
        gauge.seen(this.who, change);
      }
    });
    this.switch.addEventListener('change', () => this.toggle());
    $('.add', this.node).addEventListener('submit', (event) => {
      event.preventDefault();
      const title = this.add.value.trim();
      if (title) this.put(newId(), { title, done: false });
      this.add.value = '';
      this.add.scrollIntoView({ block: 'nearest' });
    });
  }

  async start() {
    this.render();
    await this.sync.ready;
    this.sync.presence.set({ who: this.who });
    await this.sync.pull().catch(() => {}); // the state line says why, and the client tries again by itself
    this.live = true;
    this.render();
    this.keepPace();
  }

  /**
   * Without a stream the client pulls as often as the server asks, and that is seldom on a quiet board. Here somebody
   * sits and watches, so then the page asks each second, unless it is told not to, or the client waits out a failure.
   */
  async keepPace() {
    for (;;) {
      await wait(1000);
      const { paused, error, transport } = this.sync.status.getSnapshot();
      if ($('#pace').checked && transport === 'polling' && !document.hidden && !paused && !error) await this.sync.pull().catch(() => {});
    }
  }

  toggle() {
    gauge.forget();
    if (this.offline) {
      sessionStorage.setItem(this.memo, '1');
      this.sync.pause();
    } else {
      sessionStorage.removeItem(this.memo);
      this.sync.resume();
    }
    this.render();
  }

  put(id, data) { this.measure(this.todos.put(id, data)); }
  merge(id, patch) { this.measure(this.todos.merge(id, patch)); }
  delete(id) { this.measure(this.todos.delete(id)); }

  measure(edits) {
    for (const edit of [edits ?? []].flat()) gauge.start(this.who, edit);
  }

  flash(id, who) {
    if (this.live) this.rows.get(id)?.flash(who);
  }

  render() {
    const items = new Map(this.todos.getSnapshot().map((item) => [item.id, item]));
    const problems = [...this.sync.problems.getSnapshot()];
    const conflicts = new Map(problems.filter((p) => p.kind === 'conflict').reverse().map((p) => [p.id, p]));
    const typing = [...this.rows.values()].filter((row) => row.dirty).map((row) => row.id);
    const ids = [...new Set([...items.keys(), ...conflicts.keys(), ...typing])].sort();

    this.drop(new Set(ids));
    // Lines never change their order, so only new ones are placed and no focused one is ever moved.
    let next = this.list.firstElementChild;
    for (const id of ids) {
      if (!this.rows.has(id)) this.rows.set(id, new Row(this, id));
      const row = this.rows.get(id);
      if (row.node === next) next = next.nextElementSibling;
      else this.list.insertBefore(row.node, next);
      row.update(items.get(id), conflicts.get(id));
    }
    $('.empty', this.node).hidden = ids.length > 0 || !this.live;
    this.showRejected(problems.filter((p) => p.kind === 'rejected'));
    this.showState(conflicts.size);
    this.showOthers();
  }

  /** Takes away the lines that are gone; who stood in one of them goes on in the next. */
  drop(keep) {
    for (const [id, row] of this.rows) {
      if (keep.has(id)) continue;
      const near = row.node.contains(document.activeElement)
        && ($('.title', row.node.nextElementSibling ?? row.node.previousElementSibling ?? this.node) ?? this.add);
      this.rows.delete(id);
      row.node.remove();
      if (near) near.focus();
    }
  }

  showRejected(problems) {
    const known = this.rejected?.map((p) => p.problemId).join();
    if (problems.map((p) => p.problemId).join() === (known ?? '')) return;
    this.rejected = problems;
    $('.problems', this.node).replaceChildren(...problems.map((p) => {
      const node = copy('#problem-template');
      $('p', node).textContent = `“${titleOf(p.mine ?? p.base)}” was refused: ${p.error.message}`;
      $('.retry', node).addEventListener('click', () => p.retry());
      $('.dismiss', node).addEventListener('click', () => p.dismiss());
      return node;
    }));
  }

  /** A face for everybody else who has this board open. */
  showOthers() {
    const present = this.sync.presence.getSnapshot();
    if (present === this.present) return;
    this.present = present;
    const others = present.filter(({ clientId, state }) => clientId !== this.sync.clientId && names[state.who]);
    $('.others', this.node).replaceChildren(...others.slice(0, 5).map(({ state: { who } }) => {
      const face = document.createElement('li');
      face.className = 'face';
      face.dataset.who = who;
      face.title = `${names[who]} is here`;
      face.textContent = names[who][0];
      face.setAttribute('aria-label', names[who]);
      return face;
    }));
  }

  showState(conflicts) {
    const { pending, inFlight, error, store, transport } = this.sync.status.getSnapshot();
    const waiting = pending ? `${plural(pending, 'edit')} waiting` : '';
    const [text, tone] = this.offline ? [['Offline', waiting].filter(Boolean).join(', ')]
      : error && error.code !== 'paused' ? [[excuses[error.code] ?? error.message, waiting].filter(Boolean).join(', '), 'bad']
      : conflicts ? [`${plural(conflicts, 'conflict')} to settle`, 'conflict']
      : pending ? [inFlight ? `Sending ${plural(inFlight, 'edit')}` : waiting]
      : !this.live ? ['Connecting']
      : store === 'memory' ? ['Up to date, not kept on this device']
      : ['Up to date'];
    $('.transport', this.node).textContent = this.offline ? '' : transport;
    const state = $('.state', this.node);
    state.textContent = text;
    state.dataset.tone = tone ?? '';
    this.node.dataset.sync = this.offline ? 'offline' : pending || error ? 'waiting' : 'ok';
    // Read aloud is only what a person would want to be told, not each edit going out.
    const news = tone || this.offline ? text : '';
    const spoken = $('.spoken', this.node);
    if (spoken.textContent !== news) spoken.textContent = news;
  }
}

// ----------------------------------------------------------------------------------------------------- the page

const panes = [];

/** The first to-dos, for a space that nobody has ever written to. */
async function seed(pane) {
  if (pane.offline) return;
  const answer = await fetch(`/v1/heads?space=${encodeURIComponent(space)}`);
  const { heads } = await answer.json();
  if (heads?.[0]?.version !== 0 || pane.sync.status.getSnapshot().pending) return;
  for (const { id, data } of seeds) pane.todos.put(id, data);
}

function showFaults() {
  const list = (set) => [...set].map((who) => names[who]).join(' and ');
  const { cursor, rate } = faults.armed;
  $('#break-server').setAttribute('aria-pressed', faults.away);
  $('#break-cursor').toggleAttribute('data-armed', cursor.size > 0);
  $('#break-rate').toggleAttribute('data-armed', rate.size > 0);
  $('#requests-note').textContent = faults.away ? 'the server is away'
    : cursor.size ? `410 waits for ${list(cursor)}`
    : rate.size ? `429 waits for ${list(rate)}`
    : 'newest first';
}

/** Lets the clients talk at once, so that a change of the weather is felt at once. */
function nudge() {
  for (const { sync, offline } of panes) {
    if (offline) continue;
    sync.resume(); // what waits for better times tries again
    sync.push().catch(() => {});
    sync.pull().catch(() => {});
  }
}

const cutStreams = () => [...wires].forEach((cut) => cut());

function wireControls() {
  const arm = (set) => () => {
    for (const who of people) set.add(who);
    showFaults();
    nudge();
  };
  $('#break-cursor').addEventListener('click', arm(faults.armed.cursor));
  $('#break-rate').addEventListener('click', arm(faults.armed.rate));
  $('#break-server').addEventListener('click', () => {
    faults.away = !faults.away;
    if (faults.away) cutStreams();
    showFaults();
    nudge();
  });

  const block = $('#block');
  const gate = () => {
    faults.blocked = block.checked;
    if (faults.blocked) cutStreams();
    else nudge();
  };
  block.addEventListener('change', gate);

  const slider = $('#delay');
  const delay = () => {
    faults.delay = slider.valueAsNumber;
    $('#delay-value').textContent = `${faults.delay} ms`;
    slider.setAttribute('aria-valuetext', `${faults.delay} milliseconds`);
  };
  slider.addEventListener('input', delay);
  delay(); // the browser may have brought back where it stood before a reload

  const theme = (name) => { document.documentElement.dataset.theme = name; };
  const chosen = localStorage.getItem('tidemark-demo theme');
  if (chosen) theme(chosen);
  $('#theme').addEventListener('click', () => {
    const now = document.documentElement.dataset.theme ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
    const next = now === 'dark' ? 'light' : 'dark';
    theme(next);
    localStorage.setItem('tidemark-demo theme', next);
  });

  $('#space-name').textContent = space;
  $('#new-space').href = `/?space=board-${newId().slice(-8)}`;
  if (space !== 'demo') document.title = `${space} · ${document.title}`;
}

wireControls();
gauge.draw();
for (const who of people) {
  const pane = new Pane(who);
  panes.push(pane);
  $('#board').append(pane.node);
}
seed(panes[0]).catch(() => {}); // no server, no first to-dos: the board says "trying again" by itself
