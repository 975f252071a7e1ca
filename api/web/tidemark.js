/**
 * The browser client of Tidemark: an optimistic store over push and pull. Types and the manual are in tidemark.d.ts.
 *
 * How it works, from the inside out:
 *
 * - A `Replica` holds a base copy (the documents as the server last showed them), an outbox (own edits in order that
 *   the server has not answered) and the problems (edits that did not go through). What the app sees is the base copy
 *   with the outbox replayed on top, so a local edit shows at once and nothing that comes in can make it flicker.
 * - A `Journal` writes every change of the replica to the store, one turn as one batch. An edit is stored before it is
 *   sent, and so are the bytes of the push: after a reload an unanswered push is repeated as it was. The server knows
 *   edits it has applied by their edit_id, so a repetition is an answer, never a second effect.
 * - `Loop`s: one pushes, one pulls, one holds the stream and one says that we are present. While a stream is up it does
 *   the pull's work and no polls are made; polls go on until it is, and whenever it is not. So a stream that is
 *   refused, swallowed or cut costs a client nothing but the difference in pace.
 * - Pages come by pull, in the answer to a push and over the stream, all into the same `takePage`, and may overlap. Each
 *   comes in a `run`: pages of which each was asked with the cursor of the one before, the first with a cursor whose
 *   state we hold. The end of a run is a whole state of the space, and the newest of those that arrive is what we show.
 * - Tabs that share a store are one replica. One of them leads: it alone decides, writes and talks to the server. The
 *   others show what it writes, batch by batch, and offer it their edits by way of the store: `tabsOf`.
 *
 * The stream is read with `fetch`, not with `EventSource`: a fetch carries the token in a header (EventSource needs a
 * ticket for each connection, as a token must not stand in a URL), tells a 401 from a 404 from a 429, and ends when asked.
 *
 * Needs `fetch` and nothing else: document, window, IndexedDB, Web Locks and BroadcastChannel are used where they exist.
 */

const MAX_EDITS = 200;
// The server takes 1 MiB; the rest is room for the envelope.
const MAX_EDIT_BYTES = (1 << 20) - 4096;
/** A stream has begun after this time, or a proxy is holding it back. */
const FIRST_WORD_MS = 10_000;
/** The server says something every 15 s; three times nothing is the end. */
const SILENCE_MS = 45_000;
/** The longest wait before a stream is tried again. Whoever comes back to the page, or online, tries at once. */
const BLOCKED_MS = 300_000;
/** How long to wait for the stream to bring an own push before asking. */
const ECHO_MS = 2000;
/** Over HTTP/1.1 a browser opens six connections to a host, for all its tabs: streams leave two for the rest. */
const STREAMS = 4;
const PRESENCE_TTL_S = 30;
/** A tab that leads and does not answer for so long is asleep. */
const ASLEEP_MS = 500;
/** What became of edits is kept for the tabs that made them: of as many as the server has receipts of a client. */
const MAX_ANSWERS = 256;
/** What moves with the mouse is told ten times a second. */
const PRESENCE_PACE_MS = 100;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;

/** Opens a space. */
export function connect(options) {
  return new Sync(options);
}

/** Every error of the client: a code for the machine, a sentence for the person. */
export class SyncError extends Error {
  constructor(code, message = code, { cause, ...more } = {}) {
    super(message, { cause });
    Object.assign(this, { name: "SyncError", code }, more);
  }
}

/** As another tab can be told of it: a copy of an error would lose its code. `told` of a replica is the way back. */
const tell = ({ error, problem, ...rest }) => ({ ...rest, error: error && { ...error, message: error.message }, problem: problem?.problemId });

// ---- Ids ----

let newest = 0n;

/** A UUIDv7: 48 bits of milliseconds, then 12 that count within one, so that ids of one page grow strictly. */
export function newId() {
  const now = BigInt(Date.now()) << 12n;
  newest = now > newest ? now : newest + 1n;
  const time = newest.toString(16).padStart(15, "0");
  const random = crypto.getRandomValues(new Uint16Array(4));
  random[0] = (random[0] & 0x3fff) | 0x8000; // RFC 9562's variant
  const [first, ...rest] = Array.from(random, (word) => word.toString(16).padStart(4, "0"));
  return `${time.slice(0, 8)}-${time.slice(8, 12)}-7${time.slice(12)}-${first}-${rest.join("")}`;
}

// ---- Documents as values ----

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** A member, but never one of the prototype: documents may have a field called "constructor". */
const member = (object, name) => (object && Object.hasOwn(object, name) ? object[name] : undefined);

const namesOf = (...objects) => new Set(objects.flatMap((object) => Object.keys(object ?? {})));

/** Equal as JSON; the order of names does not matter. */
function same(a, b) {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || !a || !b) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && same(a[name], b[name]));
}

/** JSON Merge Patch (RFC 7396). Built through a Map, because assigning to "__proto__" would not make a field. */
function mergePatch(target, patch) {
  if (!isObject(patch)) return patch;
  const fields = new Map(Object.entries(isObject(target) ? target : {}));
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) fields.delete(name);
    else fields.set(name, mergePatch(fields.get(name), value));
  }
  return Object.fromEntries(fields);
}

/** Three-way merge by field; see tidemark.d.ts. */
export function mergeFields(base, mine, theirs) {
  if (!mine || !theirs) return mine ?? theirs ?? {};
  const fields = new Map(Object.entries(theirs));
  for (const name of namesOf(base, mine)) {
    const [was, my, their] = [base, mine, theirs].map((side) => member(side, name));
    if (same(was, my)) continue; // I left it alone
    if (my === undefined) fields.delete(name);
    else if (isObject(my) && isObject(their)) fields.set(name, mergeFields(isObject(was) ? was : null, my, their));
    else fields.set(name, my);
  }
  return Object.fromEntries(fields);
}

/** The fields that both sides changed, to different values. */
function disputed(base, mine, theirs) {
  return [...namesOf(base, mine, theirs)].filter((name) => {
    const [was, my, their] = [base, mine, theirs].map((side) => member(side, name));
    return !same(was, my) && !same(was, their) && !same(my, their);
  });
}

/** What a document becomes by edits; `null` stands for "no document". */
function replay(data, edits) {
  for (const edit of edits) {
    if (edit.op === "put") data = edit.data;
    else if (edit.op === "delete") data = null;
    // A patch of a document that others have deleted will be a conflict; until then the person keeps seeing what they edited.
    else data = mergePatch(data ?? edit.before, edit.data);
  }
  return data;
}

const liveData = (change) => (change && !change.deleted ? change.data : null);

/** Names have no slash, so a key is unambiguous. */
const keyOf = ({ collection, id }) => `${collection}/${id}`;

/** What a document adds to the digest of its space: openapi.yaml says how. FNV-1a in two halves, as 64 bits are slow here. */
function hashOf({ collection, id, version, deleted }) {
  if (deleted) return 0n;
  let high = 0xcbf29ce4;
  let low = 0x84222325;
  for (const byte of new TextEncoder().encode(`${collection}\0${id}\0${version}`)) {
    low = (low ^ byte) >>> 0;
    const product = low * 0x1b3;
    high = (high * 0x1b3 + low * 256 + Math.floor(product / 2 ** 32)) % 2 ** 32;
    low = product % 2 ** 32;
  }
  let hash = (BigInt(high) << 32n) | BigInt(low);
  for (const factor of [0xff51afd7ed558ccdn, 0xc4ceb9fe1a85ec53n]) hash = BigInt.asUintN(64, (hash ^ (hash >> 33n)) * factor);
  return hash ^ (hash >> 33n);
}

// ---- Telling the app ----

function call(listener, argument) {
  try {
    listener(argument);
  } catch (error) {
    (globalThis.reportError ?? console.error)(error); // the app's error must not stop the sync
  }
}

function addTo(listeners, listener) {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** Gathers what changed and tells the listeners once a change is whole, so that nobody sees half of one. */
class News {
  #changed = new Set();
  #events = [];
  #listeners = {};
  #telling = false;

  on(type, listener) {
    return addTo((this.#listeners[type] ??= new Set()), listener);
  }

  changed(live) {
    this.#changed.add(live);
  }

  event(type, event) {
    this.#events.push([type, event]);
  }

  tell() {
    if (this.#telling) return; // a listener made this change: the loop below gets to it
    this.#telling = true;
    while (this.#changed.size || this.#events.length) {
      const changed = this.#changed;
      const events = this.#events;
      this.#changed = new Set();
      this.#events = [];
      for (const live of changed) live.notify();
      for (const [type, event] of events) {
        for (const listener of [...(this.#listeners[type] ?? [])]) call(listener, event);
        this.onEvent?.(type, event);
      }
    }
    this.#telling = false;
  }
}

/** A value to look at and to listen to. Its functions are bound, so they can be handed to `useSyncExternalStore`. */
class Live {
  #news;
  #listeners = new Set();

  constructor(news, value) {
    this.#news = news;
    this.value = value;
  }

  getSnapshot = () => this.value;
  /** Tells the listener at once what there is: the contract of Svelte's stores, and of no harm to others. */
  subscribe = (listener) => {
    call(listener, this.getSnapshot());
    return addTo(this.#listeners, listener);
  };

  set(value) {
    this.value = value;
    this.#news.changed(this);
  }

  notify() {
    for (const listener of [...this.#listeners]) call(listener, this.getSnapshot());
  }
}

/** Its fields can be read from it directly, too. */
class LiveStatus extends Live {
  #now;

  constructor(news, value, now) {
    super(news, value);
    this.#now = now;
    Object.assign(this, value);
  }

  get lag() {
    return this.value.lag;
  }

  update(fields) {
    if (Object.keys(fields).every((name) => fields[name] === this.value[name])) return;
    const now = this.#now;
    this.set({
      ...this.value,
      ...fields,
      /** As of when it is read: it grows while nothing comes, and then nobody would set it. */
      get lag() {
        return this.transport === "stream" ? 0 : this.lastSyncedAt && Math.max(0, now() - this.lastSyncedAt);
      },
    });
    Object.assign(this, fields);
  }
}

class LiveList extends Live {
  get length() {
    return this.value.length;
  }

  [Symbol.iterator]() {
    return this.value[Symbol.iterator]();
  }
}

/** The documents of a collection as shown. An item, and the data in it, stay the same objects until they differ. */
class Collection extends Live {
  #items = new Map();
  #replica;

  constructor(news, name, replica) {
    super(news, null);
    this.name = name;
    this.#replica = replica;
  }

  getSnapshot = () => (this.value ??= [...this.#items.values()].sort((a, b) => (a.id < b.id ? -1 : 1)));

  get(id) {
    return this.#items.get(id);
  }

  put(id, data) {
    return this.#replica.edit("put", this.name, id, data);
  }

  merge(id, patch) {
    return this.#replica.edit("patch", this.name, id, patch);
  }

  delete(id) {
    return this.#replica.edit("delete", this.name, id);
  }

  show(id, item) {
    const old = this.#items.get(id);
    if (!item && !old) return;
    if (!item) this.#items.delete(id);
    else {
      if (old && same(old.data, item.data)) item.data = old.data;
      if (old && Object.keys(item).every((name) => old[name] === item[name])) return;
      this.#items.set(id, item);
    }
    this.set(null);
  }
}

// ---- Stores ----

const memoryStore = { load: async () => [], save: async () => {} };

const requested = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

const finished = (transaction) =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onabort = () => reject(transaction.error);
  });

/**
 * Records in IndexedDB. Who loads them is the one that writes from then on, in a new term; others look, and may add what
 * they offer. Batches are numbered. Who was deposed and has not heard of it can write nothing more: a batch goes in only
 * if the term after its own is free. To ask for that first would take a moment that a page being reloaded does not have.
 */
function indexedDBStore(name) {
  const opening = indexedDB.open(name, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("records");
  const database = requested(opening);
  database.catch(() => {}); // whoever loads hears of it
  const open = async (mode) => (await database).transaction("records", mode).objectStore("records");

  async function read(mode) {
    const records = await open(mode);
    const keys = records.getAllKeys();
    const values = records.getAll();
    let entries;
    values.onsuccess = () => {
      entries = keys.result.map((key, i) => [key, values.result[i]]);
      // What is ours has an array for a key, and those come last, the newest term at the end.
      const ours = entries.filter(([key]) => Array.isArray(key));
      entries.length -= ours.length;
      store.batch = ours[0]?.[1] ?? 0;
      store.term = ours.at(-1)?.[0][1] ?? 0;
      if (mode === "readonly") return;
      records.add(0, ["term", ++store.term]);
      records.delete(["term", store.term - 100]);
    };
    await finished(records.transaction);
    return entries;
  }

  async function write(change) {
    const records = await open("readwrite");
    change(records);
    records.transaction.commit(); // else it waits for a word of the page, and a page that is being reloaded says no more
    await finished(records.transaction);
  }

  const store = {
    term: 0,
    batch: 0,
    load: () => read("readwrite"),
    look: () => read("readonly"),
    offer: (offers) => write((records) => offers.forEach((offer) => records.put(offer, `offer/${offer.offerId}`))),
    async save(entries, term = store.term) {
      const batch = store.batch + 1;
      await write((records) => {
        records.add(0, ["term", term + 1]);
        records.delete(["term", term + 1]);
        for (const [key, record] of entries) record === undefined ? records.delete(key) : records.put(record, key);
        records.put(batch, ["batch"]);
      }).catch((error) => {
        throw error?.name === "ConstraintError" ? new SyncError("deposed") : error;
      });
      return (store.batch = batch);
    },
    close: () => database.then((db) => db.close()).catch(() => {}),
  };
  return store;
}

/**
 * Writes records to the store: all that was set in one turn as one batch, batches in order, so that the store always
 * holds a state the replica once had. After a failure it writes no more: a later batch without the lost one would be
 * a state that never was.
 */
function journalTo(store, onFailure) {
  const dirty = new Map();
  let writing;

  async function write() {
    await null; // the turn's other records join
    try {
      while (dirty.size && store) {
        const batch = [...dirty];
        dirty.clear();
        await store.save(batch);
      }
    } catch (error) {
      store = null;
      onFailure(error);
    }
    dirty.clear();
    writing = null;
  }

  return {
    set(key, record) {
      dirty.set(key, record);
      writing ??= write();
    },
    /** Resolves when all that was set so far is stored, or can't be. */
    written: async () => writing,
  };
}

// ---- The replica ----

/** Nothing read yet beyond this cursor. Without one there is always something to read. */
const runFrom = (cursor) => ({ cursor, staged: new Map(), paging: cursor === null });

/** Edits by id in the order they were made, and by document. */
class Outbox extends Map {
  #byDocument = new Map();

  of(key) {
    return this.#byDocument.get(key) ?? [];
  }

  /** At the end, or in the place of what it was before. */
  add(edit) {
    const key = keyOf(edit);
    const old = this.get(edit.editId);
    this.set(edit.editId, edit);
    this.#byDocument.set(key, old ? this.of(key).map((other) => (other === old ? edit : other)) : [...this.of(key), edit]);
  }

  remove(edit) {
    const key = keyOf(edit);
    const rest = this.of(key).filter((other) => other !== edit);
    this.delete(edit.editId);
    if (rest.length) this.#byDocument.set(key, rest);
    else this.#byDocument.delete(key);
  }
}

function wireEdit(edit) {
  const base = edit.baseEditId ? { base_edit_id: edit.baseEditId } : { base_version: edit.baseVersion };
  return { edit_id: edit.editId, op: edit.op, collection: edit.collection, id: edit.id, ...base, data: edit.data };
}

function checkName(code, name) {
  if (typeof name !== "string" || !NAME.test(name)) throw new SyncError(code, `${JSON.stringify(name)} is not a name`);
}

/** A copy, so that the caller may go on changing what he passed in. */
function copyData(data) {
  if (!isObject(data)) throw new SyncError("invalid_document", "A document is a JSON object");
  return JSON.parse(JSON.stringify(data));
}

/**
 * What this client knows. Its methods are transitions: they change everything at once, in memory and in the journal,
 * and never wait. `publish` then shows the outcome.
 */
class Replica {
  clientId;
  /** Up to where we hold everything, and the version that was the space's head there. */
  cursor = null;
  version = 0;
  /** The pages that polls and pushes have brought since. */
  run = runFrom(null);
  /** Why everything is being loaded ("" for the first time); null when it is here. Until then nothing is pushed. */
  resync = "";
  /** Other tabs wait for what becomes of their edits. */
  shared = false;

  #news;
  #onConflict;
  #journal = null;
  #documents = new Map();
  #digest = 0n;
  #mismatch = false;
  #outbox = new Outbox();
  #flight = null;
  #problems = new Map();
  /** What the app did here and is not known to be stored: edits, or a problem with the edits that solve it. */
  #offers = new Map();
  /** What became of edits that nobody here waits for. */
  #answers = new Map();
  #collections = new Map();
  #waiting = new Map();
  #stale = new Set();
  #order = 0;
  #closed = false;
  #loaded = false;
  #now;

  constructor(news, { clientId = "", onConflict }, now) {
    this.#news = news;
    this.#now = now;
    this.#onConflict = onConflict;
    this.clientId = clientId;
    this.problems = new LiveList(news, []);
  }

  get pending() {
    return this.#outbox.size;
  }

  get oldestPending() {
    const [first] = this.#outbox.values();
    return first?.at ?? null;
  }

  collection(name) {
    checkName("invalid_collection", name);
    const collection = this.#collections.get(name) ?? new Collection(this.#news, name, this);
    this.#collections.set(name, collection);
    return collection;
  }

  get offers() {
    return [...this.#offers.values()];
  }

  /**
   * Takes in what the store holds, in place of what is here; without records what is here stays. With a journal we
   * decide from now on, without one we follow.
   */
  load(records, journal = null) {
    this.#journal = null;
    const there = new Map(records);
    const offer = new Map([...this.#offers].filter(([, { stored }]) => stored));
    const here = { document: this.#documents, edit: this.#outbox, problem: this.#problems, answer: this.#answers, offer };
    const keys = Object.entries(here).flatMap(([kind, map]) => [...map.keys()].map((id) => `${kind}/${id}`));
    const gone = keys.filter((key) => !there.has(key)).map((key) => [key]);
    const sorted = [...there].sort(([, a], [, b]) => (a.order ?? 0) - (b.order ?? 0));
    if (records) [this.#flight, this.version] = [null, 0];
    this.#takeIn(records ? [...gone, ...sorted] : []);
    if (journal) {
      this.#journal = journal;
      this.clientId ||= newId();
      this.#saveMeta();
    }
    this.#loaded = true;
    this.#putOnTop();
  }

  /** Takes in what the tab that leads has written. */
  mirror(batch) {
    this.#takeIn(batch);
    this.#putOnTop();
  }

  #takeIn(batch) {
    for (const { edits } of this.offers) for (const { editId } of edits) this.#withdraw(editId);
    for (const [key, record] of batch) {
      const [kind, id] = key.split(/\/(.*)/s);
      if (kind === "document") this.#hold(id, record);
      if (kind === "edit" && !record) this.#withdraw(id);
      if (kind === "edit" && record) {
        this.#outbox.add(record);
        this.#order = Math.max(this.#order, record.order);
        this.#stale.add(keyOf(record));
      }
      if (kind === "problem" && !record) this.#dismiss(id);
      if (kind === "problem" && record && !this.#problems.has(id)) {
        this.#problems.set(id, { problem: record });
        this.#stale.add(keyOf(record));
      }
      if (kind === "answer") this.#answer(id, record);
      if (kind === "offer") record ? this.#offers.set(id, { ...record, stored: true }) : this.#offers.delete(id);
      if (kind === "flight") this.#flight = record ?? null;
      if (kind === "meta") {
        const { clientId, cursor, resync } = record;
        Object.assign(this, { clientId, cursor, run: runFrom(cursor), resync: cursor === null ? resync : null });
      }
    }
  }

  /** What is only offered yet comes last, whoever offered it. */
  #putOnTop() {
    this.offers.forEach((offer) => this.take(offer));
    for (const [editId, resolve] of this.#waiting) {
      if (!this.#answers.has(editId)) continue;
      resolve(this.told(this.#answers.get(editId)));
      this.#waiting.delete(editId);
    }
  }

  #withdraw(editId) {
    const edit = this.#outbox.get(editId);
    if (edit) this.#remove(edit);
  }

  /** What was offered is in the store, with whatever came of it. */
  saved(batch) {
    for (const [key] of batch) if (key.startsWith("offer/")) this.#offers.delete(key.slice(6));
  }

  /** Resolves when everything is stored that was decided so far. */
  async stored() {
    await this.#journal?.written();
  }

  // -- Own edits

  edit(op, collection, id, data) {
    return this.#offer([this.#draft(op, collection, id, data)])[0];
  }

  #draft(op, collection, id, data) {
    if (this.#closed) throw new SyncError("closed");
    checkName("invalid_id", id);
    const edit = { editId: newId(), op, collection, id, at: this.#now() };
    if (op !== "delete") edit.data = copyData(data);
    if (this.#loaded) this.#base(edit); // it is made on what this tab shows, whatever another one knows
    return edit;
  }

  /** Shows what the app did at once, whoever carries it out. */
  #offer(edits, problemId) {
    const offer = { offerId: newId(), edits, problemId };
    this.#offers.set(offer.offerId, offer);
    const handles = edits.map(({ editId, collection, id }) => {
      const settled = new Promise((resolve) => this.#waiting.set(editId, resolve));
      return { editId, collection, id, settled };
    });
    this.take(offer);
    this.onOffer();
    return handles;
  }

  /** Carries an offer out, once however often it comes. A problem is solved by the first who does. */
  take({ offerId, edits, problemId }) {
    const fresh = edits.filter(({ editId }) => !this.#knows(editId));
    const late = problemId && !this.#dismiss(problemId) && this.#journal;
    for (const edit of fresh) {
      if (late) this.#settle(edit, { status: "skipped" });
      else this.#append({ ...edit });
    }
    if (this.shared) this.#save(`offer/${offerId}`, undefined);
    else if (this.#journal) this.#offers.delete(offerId);
  }

  #knows(editId) {
    return this.#outbox.has(editId) || this.#answers.has(editId);
  }

  /**
   * Puts an edit at the end of the queue. It is made on what the person sees: on the own edit before it if there is
   * one, so that a client never conflicts with itself, otherwise on the version underneath.
   */
  #append(edit) {
    const key = keyOf(edit);
    edit.order = ++this.#order;
    if (edit.before === undefined || this.#outbox.of(key).length) this.#base(edit);
    if (this.#journal && edit.op === "patch" && !edit.before) {
      edit.op = "put"; // there is nothing to patch: create it
      edit.data = mergePatch({}, edit.data);
    }
    this.#outbox.add(edit);
    this.#saveEdit(edit);
    this.#stale.add(key);
  }

  #base(edit) {
    const document = this.#documents.get(keyOf(edit));
    const edits = this.#outbox.of(keyOf(edit));
    edit.before = replay(liveData(document), edits);
    edit.baseEditId = edits.at(-1)?.editId;
    edit.baseVersion = edits.length ? undefined : (document?.version ?? 0);
  }

  // -- Push

  /** The push to send now: the oldest unanswered one, unchanged, otherwise a new one of what is queued. */
  nextFlight(maxEdits, collections) {
    if (this.#flight) return this.#flight;
    const edits = [];
    let bytes = 0;
    for (const edit of this.#outbox.values()) {
      bytes += new TextEncoder().encode(JSON.stringify(wireEdit(edit))).length + 1;
      if (edits.length && (edits.length === maxEdits || bytes > MAX_EDIT_BYTES)) break;
      edits.push(edit);
    }
    if (!edits.length) return null;

    const { cursor } = this.run;
    const body = JSON.stringify({ client_id: this.clientId, edits: edits.map(wireEdit), cursor, collections });
    const flight = { editIds: edits.map((edit) => edit.editId), cursor, body };
    this.#flight = flight;
    // `unsure`: it may have been applied. Who finds it in the store after a reload can't know better.
    this.#save(`flight/${flight.editIds[0]}`, { ...flight, unsure: true });
    return flight;
  }

  /** Its edits are queued again, to be sent in other company. */
  dropFlight(flight) {
    this.#flight = null;
    this.#save(`flight/${flight.editIds[0]}`, undefined);
  }

  /** The server's answer to a push: a result for each edit. */
  answered(flight, results) {
    this.dropFlight(flight);
    for (const result of results) {
      const edit = this.#outbox.get(result.edit_id);
      if (!edit) continue; // held with the failed edit it was made on
      if (result.status === "applied") this.#applied(edit, result);
      else this.#failed(edit, result);
    }
  }

  #applied(edit, result) {
    if (result.current) this.#take(result.current);
    else this.#fold(edit, result.version);
    this.#accept(edit, result);
  }

  /** Takes an applied edit into the base copy, ahead of its echo: between the two the view does not move. */
  #fold(edit, version) {
    const known = this.#documents.get(keyOf(edit));
    if (version < (known?.version ?? 1)) return; // the echo, or something newer, was here first
    const data = replay(liveData(known), [edit]);
    const seen = known?.version === version ? known : { collection: edit.collection, id: edit.id, version };
    this.#setDocument(keyOf(edit), { ...seen, deleted: data === null, data, edit_id: edit.editId, folded: true });
  }

  #accept(edit, { version, merged, replayed = false }) {
    this.#remove(edit);
    this.#settle(edit, { status: "applied", version });
    const { editId, collection, id } = edit;
    this.#news.event("applied", { editId, collection, id, version, replayed });
    // The next edit of the document now has a version to name, which unlike a receipt never runs out. Not after a merge:
    // the merged document holds fields of others that the next edit's author had not seen.
    const next = this.#outbox.of(keyOf(edit)).find((each) => each.baseEditId === editId);
    if (!next || merged) return;
    next.baseEditId = undefined;
    next.baseVersion = version;
    this.#saveEdit(next);
  }

  /** The server takes this edit in no company. */
  reject(editId, error) {
    const edit = this.#outbox.get(editId);
    if (edit) this.#fail(edit, "rejected", error);
  }

  #failed(edit, result) {
    const key = keyOf(edit);
    if (result.current) this.#take(result.current);
    // A conflict without a document: the server has none.
    else if (result.status === "conflict" && this.#documents.get(key)?.version === edit.baseVersion) this.#setDocument(key, undefined);
    // A status of tomorrow says at least that the edit was not applied: nobody can be asked what to make of it.
    const known = ["conflict", "skipped"].includes(result.status);
    const { code = known ? "version_conflict" : "unknown_status", detail } = result.error ?? {};
    this.#fail(edit, known ? result.status : "rejected", new SyncError(code, detail));
  }

  /** Takes an edit and all that were made on top of it out of the queue, and hands them to the app. */
  #fail(edit, status, error) {
    const edits = this.#withDependants(edit);
    edits.forEach((each) => this.#remove(each));
    const { editId, collection, id } = edit;
    const { code, message } = error;
    const kind = status === "rejected" ? "rejected" : "conflict";
    const problem = { problemId: editId, kind, collection, id, edits, code, message };

    const conflict = kind === "conflict" && { ...this.#sides(problem), editId };
    const resolution = conflict ? this.#decide(problem, conflict) : undefined;
    const shown = resolution ? undefined : this.#keep(problem);
    if (conflict) this.#news.event("conflict", shown ? { ...conflict, problem: shown } : conflict);
    edits.forEach((each, i) => this.#settle(each, { status: i ? "skipped" : status, error, problem: shown, resolution }));
  }

  #withDependants(edit) {
    const ids = new Set([edit.editId]);
    return this.#outbox.of(keyOf(edit)).filter((each) => {
      if (ids.has(each.baseEditId)) ids.add(each.editId);
      return ids.has(each.editId);
    });
  }

  #settle({ editId }, outcome) {
    const resolve = this.#waiting.get(editId);
    resolve?.({ editId, ...outcome });
    if (this.#waiting.delete(editId) || !this.shared) return;
    this.#answer(editId, tell({ editId, ...outcome }));
    for (const old of this.#answers.keys()) if (this.#answers.size > MAX_ANSWERS) this.#answer(old);
  }

  #answer(editId, record) {
    if (record) this.#answers.set(editId, record);
    else this.#answers.delete(editId);
    this.#save(`answer/${editId}`, record);
  }

  told({ error, problem, ...rest }) {
    if (error) rest.error = new SyncError(error.code, error.message, error);
    if (this.#problems.has(problem)) rest.problem = this.#showProblem(problem);
    return rest;
  }

  /** Takes no more edits; what is queued stays in the store. */
  close() {
    this.#closed = true;
    for (const [editId, resolve] of this.#waiting) resolve({ editId, status: "closed" });
    this.#waiting.clear();
  }

  // -- Problems

  #sides({ collection, id, edits }) {
    const base = edits[0].before;
    const mine = replay(base, edits);
    const theirs = liveData(this.#documents.get(keyOf(edits[0])));
    return { collection, id, base, mine, theirs, fields: disputed(base, mine, theirs) };
  }

  /** Lets the app's `onConflict` decide; undefined if it does not, or fails. */
  #decide(problem, { editId, ...conflict }) {
    let resolution;
    if (this.#onConflict) call(() => (resolution = this.#carryOut(problem, this.#onConflict(conflict))));
    return resolution;
  }

  #carryOut(problem, decision) {
    if (!decision || decision === "theirs") return decision || undefined;
    const edits = decision === "mine" ? this.#again(problem) : [this.#draft("put", problem.collection, problem.id, decision)];
    edits.forEach((edit) => this.#append(edit));
    return decision === "mine" ? "mine" : "merged";
  }

  #keep(problem) {
    this.#problems.set(problem.problemId, { problem });
    this.#save(`problem/${problem.problemId}`, problem);
    this.#stale.add(keyOf(problem));
    return this.#showProblem(problem.problemId);
  }

  #dismiss(problemId) {
    const { problem } = this.#problems.get(problemId) ?? {};
    if (!problem) return false;
    this.#problems.delete(problemId);
    this.#save(`problem/${problemId}`, undefined);
    this.#stale.add(keyOf(problem));
    return true;
  }

  /** The edits of a problem once more, on top of what is there now. */
  #again(problem) {
    const { collection, id, mine, theirs } = this.#sides(problem);
    if (!theirs && mine) return [this.#draft("put", collection, id, mine)]; // a patch would have lost what it patched
    return problem.edits.map(({ op, data }) => this.#draft(op, collection, id, data));
  }

  /** What the app sees of a problem: made anew only when the server's side has moved. */
  #showProblem(problemId) {
    const entry = this.#problems.get(problemId);
    const { problem } = entry;
    const sides = this.#sides(problem);
    if (entry.shown && same(entry.shown.theirs, sides.theirs)) return entry.shown;

    // The problem and the edits that replace it change hands in one turn, hence in one batch of the journal.
    const solve = (solution) => (this.#problems.has(problemId) ? this.#offer(solution(), problemId) : []);
    const keepMine = () => solve(() => this.#again(problem));
    const takeTheirs = () => void solve(() => []);
    const merge = (resolve = ({ base, mine, theirs }) => mergeFields(base, mine, theirs)) => {
      const data = copyData(typeof resolve === "function" ? resolve(this.#sides(problem)) : resolve);
      return solve(() => [this.#draft("put", problem.collection, problem.id, data)])[0];
    };
    const { kind, code, message, edits } = problem;
    const error = new SyncError(code, message);
    const editIds = edits.map((edit) => edit.editId);
    return (entry.shown = { problemId, kind, error, editIds, ...sides, keepMine, takeTheirs, merge, retry: keepMine, dismiss: takeTheirs });
  }

  // -- Pull

  /** Takes in a page. Nothing of it is shown before its run ends: a page may be half of what was pushed together. */
  takePage(page, run = this.run) {
    for (const change of page.changes) run.staged.set(keyOf(change), change);
    run.cursor = page.cursor;
    run.paging = Boolean(page.has_more);
    if (!run.paging) this.#endRun(run, page);
  }

  #endRun({ cursor, staged }, page) {
    const { version } = page;
    const changes = [...staged.values()];
    staged.clear();
    if (version < this.version) return; // overtaken: all of this is in what we hold
    const old = this.cursor;
    const cause = this.resync;
    this.version = version;
    this.cursor = cursor;
    this.run = runFrom(cursor);
    this.resync = null;
    if (cursor === old && !changes.length) return;

    this.#saveMeta();
    if (cause !== null) for (const key of [...this.#documents.keys()]) this.#setDocument(key, undefined);
    const taken = changes.filter((change) => this.#take(change));
    if (cause === null) this.#announce(taken);
    else this.#settleSent();
    if (cause) this.#news.event("resync", { cause });
    this.#prove(page, cause);
  }

  /**
   * Compares what we hold with what the server has. If it differs everything is loaded anew, and if it differs even then
   * the app is told: that is a bug somewhere, and to load it again and again would not mend it.
   */
  #prove({ digest, count, version }, cause) {
    const held = [...this.#documents.values()];
    if (!digest || this.#flight || held.some((document) => document.version > version)) return;
    const live = held.filter(({ deleted }) => !deleted).length;
    const mine = BigInt.asUintN(64, this.#digest).toString(16).padStart(16, "0");
    const again = this.#mismatch;
    this.#mismatch = mine !== digest || (count ?? live) !== live;
    if (!this.#mismatch) return;
    if (!again) this.onMismatch?.();
    else if (cause) this.#news.event("mismatch", { mine, theirs: digest, version });
  }

  #announce(taken) {
    const changes = taken
      .filter((change) => change.client_id !== this.clientId)
      .map(({ client_id: clientId, edit_id: editId, collection, id, version, deleted }) => ({ clientId, editId, collection, id, version, deleted }));
    if (changes.length) this.#news.event("remote", { changes });
  }

  /** Takes the server's word for a document, if it is news. The echo of a folded edit adds who and when. */
  #take(change) {
    const known = this.#documents.get(keyOf(change));
    if (known && !(change.version > known.version || (change.version === known.version && known.folded))) return false;
    this.#setDocument(keyOf(change), change);
    return true;
  }

  /**
   * Everything is loaded anew after this. Edits never sent stay in the queue. Of those that may have been applied only
   * the snapshot can tell; the cursor's history is gone and the receipts may be, so they are not sent again.
   */
  startResync(cause) {
    const flight = this.#flight;
    if (flight) this.dropFlight(flight);
    for (const edit of flight?.unsure ? flight.editIds.map((id) => this.#outbox.get(id)).filter(Boolean) : []) {
      edit.sent = true;
      this.#saveEdit(edit);
    }
    this.cursor = null;
    this.version = 0;
    this.run = runFrom(null);
    this.resync = cause;
    this.#saveMeta();
  }

  #settleSent() {
    const sent = [...this.#outbox.values()].filter((edit) => edit.sent);
    for (const key of new Set(sent.map(keyOf))) {
      const document = this.#documents.get(key);
      const edits = sent.filter((edit) => keyOf(edit) === key);
      // If the document shows an edit, those it was made on were applied, too.
      const applied = edits.filter((edit) => this.#withDependants(edit).some(({ editId }) => editId === document?.edit_id));
      const open = edits.filter((edit) => !applied.includes(edit));
      // With or without the others the document is the same: nothing to ask.
      const moot = same(replay(liveData(document), open), liveData(document));
      for (const edit of moot ? edits : applied) this.#accept(edit, { version: document?.version ?? 0, replayed: true });
      for (const edit of open) {
        if (this.#outbox.has(edit.editId)) this.#fail(edit, "conflict", new SyncError("outcome_unknown", "It may have been applied"));
      }
    }
  }

  // -- Keeping and showing

  #save(key, record) {
    this.#journal?.set(key, record);
  }

  #saveMeta() {
    this.#save("meta", { clientId: this.clientId, cursor: this.cursor, resync: this.resync });
  }

  #saveEdit(edit) {
    this.#save(`edit/${edit.editId}`, edit);
  }

  #remove(edit) {
    this.#outbox.remove(edit);
    this.#save(`edit/${edit.editId}`, undefined);
    this.#stale.add(keyOf(edit));
  }

  /** Everything that changes the base copy comes by here. */
  #hold(key, change) {
    const old = this.#documents.get(key);
    this.#stale.add(key);
    if (old) this.#digest -= hashOf(old);
    if (!change) return this.#documents.delete(key);
    this.#documents.set(key, change);
    this.#digest += hashOf(change);
  }

  #setDocument(key, change) {
    this.#hold(key, change);
    this.#save(`document/${key}`, change);
  }

  /** Shows what the transitions since the last time have made, and tells the listeners. */
  publish() {
    if (this.#stale.size) this.#showProblems();
    for (const key of this.#stale) this.#show(key);
    this.#stale.clear();
    this.onPublish?.();
    this.#news.tell();
  }

  #show(key) {
    const [collection, id] = key.split("/");
    const document = this.#documents.get(key);
    const edits = this.#outbox.of(key);
    const data = replay(liveData(document), edits);
    const item = data && {
      id,
      data,
      version: document?.version ?? 0,
      pending: edits.length > 0,
      problem: this.problems.value.find((problem) => problem.id === id && problem.collection === collection),
      updatedAt: document?.updated_at,
      updatedBy: document?.updated_by,
    };
    this.collection(collection).show(id, item);
  }

  #showProblems() {
    const shown = [...this.#problems.keys()].map((problemId) => this.#showProblem(problemId));
    const { value } = this.problems;
    if (shown.length !== value.length || shown.some((problem, i) => problem !== value[i])) this.problems.set(shown);
  }
}

// ---- The network ----

/**
 * Repeats one job: never two runs at once, at the latest when woken, after a failure not before the backoff is over.
 * The job returns in how many milliseconds it wants to run again, if at all. `gate` returns the error for which nothing
 * may run now, or null. While `resting` says so, the job runs when asked for but not by its own wish.
 */
function loopOf({ clock, gate, resting, job, longest = 60_000 }) {
  let timer;
  let due = Infinity;
  let running = false;
  let again = false;
  let failures = 0;
  let notBefore = 0;
  let told = false;
  const waiters = [];

  function wake(ms = 0) {
    if (running) {
      again ||= ms === 0;
      return;
    }
    const now = clock.now();
    const at = Math.max(now + ms, notBefore);
    if (at >= due || gate() || (ms > 0 && resting())) return;
    cancel();
    due = at;
    timer = clock.setTimeout(run, Math.min(at - now, 2 ** 31 - 1)); // beyond that timers fire at once
  }

  /** There is reason to hope: no more backing off, unless the server named a time. */
  function kick() {
    if (!told) notBefore = 0;
    wake();
  }

  function cancel() {
    clock.clearTimeout(timer);
    due = Infinity;
  }

  async function run() {
    due = Infinity;
    running = true;
    const asked = waiters.splice(0);
    let next;
    try {
      next = await job();
      [failures, notBefore, told] = [0, 0, false];
      asked.forEach(({ resolve }) => resolve());
    } catch (error) {
      next = error.stopped ? 0 : backOff(error);
      asked.forEach(({ reject }) => reject(error));
    }
    running = false;
    if (again) next = 0;
    again = false;
    if (next !== undefined) wake(next);
  }

  /** Exponential with full jitter, so that clients do not come back together; what the server says wins. */
  function backOff({ retryAfterMs }) {
    told = retryAfterMs !== undefined;
    const wait = retryAfterMs ?? clock.random() * Math.min(longest, 1000 * 2 ** failures++);
    notBefore = clock.now() + wait;
    return wait;
  }

  return {
    wake,
    kick,
    isRunning: () => running,
    /** Runs as soon as allowed; settles as that run does. */
    once() {
      const closed = gate();
      if (closed) return Promise.reject(closed);
      kick();
      return new Promise((resolve, reject) => waiters.push({ resolve, reject }));
    },
    /** Nothing until it is woken again, unless somebody waits for it. */
    rest() {
      if (!waiters.length) cancel();
    },
    /** Nothing more at all. A run under way must be stopped by whoever knows how. */
    halt(reason) {
      cancel();
      waiters.splice(0).forEach(({ reject }) => reject(reason));
    },
  };
}

const cursorLost = (error) => error.status === 410 || error.code === "invalid_cursor";

/** The fields of an event by name. Data has several lines where a document has line ends between its tokens. */
function eventOf(block) {
  const event = {};
  for (const line of block.split(/\r?\n/)) {
    const [, name, value] = /^([^:]*):? ?(.*)/s.exec(line);
    event[name] = name in event ? `${event[name]}\n${value}` : value;
  }
  return event;
}

/** Takes one of the places that streams have in this browser and returns how to give it back; undefined if all are taken. */
async function streamPlace(url) {
  const locks = globalThis.navigator?.locks;
  if (!locks) return () => {};
  for (let place = 1; place <= STREAMS; place++) {
    const release = await new Promise((resolve) => {
      const hold = (lock) => new Promise((end) => resolve(lock && end));
      locks.request(`tidemark stream ${url} ${place}`, { ifAvailable: true }, hold).catch(() => resolve());
    });
    if (release) return release;
  }
}

/**
 * Requests with token, time limit and a way to stop them all. `send` resolves with an answer that passes `valid`, or
 * hands the events of a stream to `hear` until that throws or the stream ends, and then rejects; after a 401 it tries
 * once more with a fresh token.
 */
function transportOf({ url, space, getToken, fetch = globalThis.fetch, timeoutMs = 30_000 }, clock, news, gate) {
  const running = new Set();

  async function send(request) {
    try {
      return await attempt(request);
    } catch (error) {
      if (error.status !== 401 || !getToken) throw error;
      return attempt(request, true);
    }
  }

  async function attempt(request, refresh = false) {
    const closed = gate();
    if (closed) throw closed;
    const controller = request.controller ?? new AbortController();
    const { signal } = controller;
    const outcome = { kind: request.kind, status: 0, ms: 0, edits: request.edits ?? 0, changes: 0 };
    const started = clock.now();
    let timer;
    const within = (ms) => {
      clock.clearTimeout(timer);
      timer = clock.setTimeout(() => controller.abort(new SyncError("timeout")), ms);
    };
    running.add(controller);
    within(request.hear ? FIRST_WORD_MS : timeoutMs);
    try {
      const response = await exchange(request, refresh, signal);
      outcome.status = response.status;
      if (response.ok && request.hear) await listen(response, request.hear, signal, within);
      const answer = await response.json().catch(() => null);
      signal.throwIfAborted(); // it was the body that broke off
      if (!response.ok) throw refusal(response, answer);
      if (response.status !== 204 && !(answer && request.valid(answer))) throw alien(response);
      outcome.changes = answer?.changes?.length ?? 0;
      return answer;
    } catch (cause) {
      const error = signal.aborted ? signal.reason : cause;
      outcome.error = error instanceof SyncError ? error : new SyncError("network", "No answer", { cause });
      throw outcome.error;
    } finally {
      clock.clearTimeout(timer);
      running.delete(controller);
      outcome.ms = clock.now() - started;
      news.event("request", outcome);
      news.tell();
    }
  }

  async function listen(response, hear, signal, within) {
    if (!/^text\/event-stream/.test(response.headers.get("Content-Type"))) throw alien(response);
    const reader = response.body.getReader(); // throws in React Native, where a body can't be read bit by bit
    const decoder = new TextDecoder();
    let text = "";
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) throw new SyncError("network");
        within(SILENCE_MS);
        const blocks = (text + decoder.decode(value, { stream: true })).split(/\r?\n\r?\n/);
        text = blocks.pop();
        for (const block of blocks) {
          signal.throwIfAborted();
          hear(eventOf(block));
        }
      }
    } finally {
      reader.cancel().catch(() => {}); // ends the connection, if it was our side that had enough
    }
  }

  async function exchange({ path, body, method = body ? "POST" : "GET", keepalive }, refresh, signal) {
    const token = await getToken?.({ refresh });
    return fetch(`${url.replace(/\/+$/, "")}/v1/spaces/${encodeURIComponent(space)}/${path}`, {
      method,
      headers: { ...(body && { "Content-Type": "application/json" }), ...(token && { Authorization: `Bearer ${token}` }) },
      body,
      signal,
      keepalive,
      cache: "no-store",
    });
  }

  const alien = ({ status }) => new SyncError("bad_response", "Not Tidemark's answer", { status });

  function refusal({ status, headers }, problem) {
    const { code = `http_${status}`, detail } = problem ?? {};
    const retryAfter = headers.get("Retry-After"); // seconds or a date
    const ms = retryAfter * 1000 || Date.parse(retryAfter) - clock.now();
    return new SyncError(code, detail, { status, retryAfterMs: ms >= 0 ? ms : undefined, problem });
  }

  return { send, halt: (reason) => running.forEach((controller) => controller.abort(reason)) };
}

/** Clients of a space must not come in step. */
const spread = (clock) => 0.8 + 0.4 * clock.random();

const isPage = (answer) => Array.isArray(answer.changes) && typeof answer.cursor === "string";

const systemClock = {
  now: Date.now,
  random: Math.random,
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

// ---- Presence ----

/** Says that we are here as often as the server asks, and knows who else is: by its answers, and by the stream. */
function presenceOf({ clock, news, gate, unseen, send, share }) {
  const everybody = new Live(news, []);
  /** What the tabs say, this one as "". The last word counts. */
  const states = new Map();
  let announced = false;

  function put(tab, state) {
    states.delete(tab);
    if (state) states.set(tab, state);
    loop.wake(announced ? PRESENCE_PACE_MS : 0);
  }

  function say(state) {
    put("", state);
    share(state);
  }

  async function beat() {
    if (unseen()) return; // who does not look is not here
    const state = [...states.values()].at(-1);
    if (!state) {
      if (announced) await send("DELETE");
      announced = false;
      return;
    }
    announced = true;
    const answer = await send("PUT", JSON.stringify({ state, ttl_s: PRESENCE_TTL_S }));
    take(answer);
    return (answer.poll_after_ms || 10_000) * spread(clock);
  }

  function take({ present }) {
    show(present.map(({ client_id: clientId, subject, state, since }) => ({ clientId, subject, state, since })));
  }

  function show(list) {
    if (!same(list, everybody.value)) everybody.set(list);
    news.tell();
  }

  const loop = loopOf({ clock, gate, resting: unseen, job: beat });
  return {
    take,
    show,
    halt: loop.halt,
    kick: () => states.size && loop.kick(),
    /** The page is going away, and may come back. */
    farewell: () => announced && send("DELETE", undefined, true).catch(() => {}),
    mine: () => states.get("") ?? null,
    /** Another tab's. If it only says it again, our own stays the last word. */
    put(tab, state, again) {
      put(tab, state);
      if (again && states.has("")) put("", states.get(""));
    },
    /** Another one speaks for this tab from now on, and if it does so again itself the others say again what they say. */
    follow() {
      for (const tab of states.keys()) if (tab) states.delete(tab);
      announced = false;
    },
    api: {
      getSnapshot: everybody.getSnapshot,
      subscribe: everybody.subscribe,
      set: (state) => say(copyData(state)),
      async leave() {
        say(null);
        if (announced) await loop.once().catch(() => {}); // the server will notice
      },
    },
  };
}

// ---- Tabs ----

/**
 * Makes the tabs that share a store one replica. The tab with the Web Lock of the name leads: it writes, and tells the
 * others of each batch once it is stored (`save`), and of all else that shows (`say`). A tab that follows has read the
 * store and goes on by the batches; they are numbered, and if one is missing it reads the store again. What its app does
 * it writes to the store as an offer, then tells the leader. So whenever a leader ends, what it has not carried out is
 * there for the next one, and is offered again in case it came too late to be read. A deposed leader may wake up later:
 * its term tells it from the new one, to the store and to the tabs.
 *
 * The tab that is looked at leads, as a hidden one may be put to sleep at any time: it takes the lock from one that says
 * it is hidden, or says nothing.
 */
function tabsOf({ name, clock, document, news, status, replica, presence, app }) {
  const { locks } = navigator;
  const me = newId();
  const channel = new BroadcastChannel(name);
  const store = indexedDBStore(name);
  const asks = new Map();
  const inbox = [];
  const early = [];
  /** A new object for each time we lead; leading once the store is read. */
  let turn;
  let leading;
  let loading;
  let closed;
  let heard = 0;
  let queued;
  let release;
  let silence;
  let patience = ASLEEP_MS;
  let offering = Promise.resolve();

  const post = (message) => closed || channel.postMessage({ from: me, ...message });
  const seen = () => document?.visibilityState !== "hidden";

  // -- The lock

  function request(options) {
    queued?.abort();
    const mine = (queued = new AbortController());
    const granted = (lock) => {
      if (closed || mine !== queued) return;
      if (lock) return new Promise((resolve) => lead((release = resolve)).catch(app.fail));
      request();
      follow();
    };
    locks.request(name, options ?? { signal: mine.signal }, granted).catch((error) => {
      if (closed || mine !== queued) return;
      if (error.name !== "AbortError") return app.fail(error); // where nothing may be kept there are no locks either
      stepDown(); // somebody took it
      request();
    });
  }

  /** Whoever leads may just be reading the store: it gets more time with each try. */
  function steal() {
    patience *= 2;
    request({ steal: true });
  }

  async function lead(mine) {
    turn = mine;
    clock.clearTimeout(silence);
    const records = await store.load();
    if (turn !== mine || closed) return;
    leading = true;
    patience = ASLEEP_MS;
    app.lead(records, { save: saver(mine, store.term) });
    show();
    early.splice(0).forEach(serve);
    asks.forEach(({ what, resolve, reject }) => app.serve(what).then(resolve, reject));
    asks.clear();
  }

  const saver = (mine, term) => async (entries) => {
    try {
      post({ term, batch: await store.save(entries, term), entries, seen: seen() });
      replica.saved(entries);
    } catch (error) {
      if (turn !== mine) throw new SyncError("deposed");
      if (error.code === "deposed") stepDown();
      throw error;
    }
  };

  function stepDown() {
    if (!turn) return;
    turn = leading = false;
    follow();
  }

  // -- Leading

  /** After all that was decided so far is stored, and told. */
  async function say(message) {
    const mine = turn;
    await replica.stored();
    if (leading && turn === mine) post({ term: store.term, batch: store.batch, seen: seen(), ...message });
  }

  /** What shows at the moment, and is no part of the replica. */
  function show(to) {
    const { pending, oldestPending, lag, store, storeError, ...rest } = status.value;
    if (leading) say({ to, status: tell(rest), present: presence.api.getSnapshot() });
  }

  function serve({ from, hello, offers, state, ask, what }) {
    offers?.forEach((offer) => replica.take(offer));
    if (offers) app.taken();
    if (state !== undefined) presence.put(from, state, hello);
    if (hello) show(from);
    if (ask) app.serve(what).then(() => say({ reply: ask }), (error) => say(tell({ reply: ask, error })));
  }

  // -- Following

  async function follow() {
    app.follow();
    if (loading) return;
    loading = true;
    try {
      do {
        const records = await store.look();
        if (turn || closed) break;
        replica.load(records);
        app.opened();
      } while (missed());
    } catch (error) {
      app.fail(error);
    }
    loading = false;
    offer();
  }

  /** Passes on what was said, in its order. True if something before it was missed. */
  function missed() {
    for (; inbox.length; inbox.shift()) {
      const { batch, entries } = inbox[0];
      const next = store.batch + (entries ? 1 : 0);
      if (batch > next) return true;
      if (!entries) hear(inbox[0]);
      else if (batch === next) {
        store.batch = batch;
        replica.mirror(entries);
        app.opened();
      }
    }
    return false;
  }

  function hear(message) {
    const { type, event, present, reply } = message;
    const { error } = replica.told(message);
    if (type) news.event(type, replica.told(event));
    if (present) {
      status.update({ error: null, ...replica.told(message.status) });
      presence.show(present);
    }
    news.tell();
    const { resolve, reject } = asks.get(reply) ?? {};
    asks.delete(reply);
    error ? reject?.(error) : resolve?.();
  }

  channel.onmessage = ({ data }) => {
    if (!data.term) return leading ? serve(data) : turn && early.push(data);
    if (data.term < heard || (leading ? data.term <= store.term : turn)) return;
    stepDown(); // word of it is under way
    if (data.to === me) clock.clearTimeout(silence); // what else it says may be old
    inbox.push(data);
    if (!loading && missed()) follow();
    if (data.term > heard) hello();
    heard = data.term;
    if (!data.seen && document && seen()) steal();
  };

  /** Whoever leads is to say all that shows, and is told again what it may not have heard. */
  function hello() {
    post({ hello: true, state: presence.mine(), offers: replica.offers.filter((each) => "stored" in each) });
    offering.then(() => asks.forEach(({ what }, ask) => post({ ask, what })));
  }

  /** Somebody has come to look at this tab, or has gone. */
  function look() {
    if (turn) return show();
    hello();
    clock.clearTimeout(silence);
    if (seen()) silence = clock.setTimeout(steal, patience);
  }

  /** Stored first and told then, as the leader strikes out what it has carried out. */
  function offer(closing) {
    return (offering = offering.then(async () => {
      const offers = replica.offers.filter((each) => !("stored" in each));
      if ((closing ? leading : turn || loading) || !offers.length) return;
      const stored = await store.offer(offers).then(() => true, () => false);
      offers.forEach((each) => (each.stored = stored));
      post({ offers });
    }));
  }

  status.subscribe(() => show());
  presence.api.subscribe(() => show());
  news.onEvent = (type, event) => leading && say({ type, event: tell(event) });
  request({ ifAvailable: true });
  return {
    look,
    offer,
    present: (state) => turn || post({ state }),
    /** Has the leader do something, whoever that is by then. */
    ask: (what) =>
      new Promise((resolve, reject) => {
        const ask = newId();
        asks.set(ask, { what, resolve, reject });
        offering.then(() => post({ ask, what }));
      }),
    async close() {
      await offer(true);
      post({ state: null });
      closed = true;
      clock.clearTimeout(silence);
      asks.forEach(({ reject }) => reject(new SyncError("closed")));
      queued.abort();
      channel.close();
      release?.();
      await store.close();
    },
  };
}

// ---- What connect() returns ----

class Sync {
  #options;
  #clock;
  #news = new News();
  #replica;
  #transport;
  #pushing;
  #pulling;
  #streaming;
  #presence;
  #listening = new AbortController();
  #document = globalThis.document;
  #store = memoryStore;
  /** The tabs that we share a store with, if we do, and whether another one leads. */
  #tabs = null;
  #following = false;
  #closed = false;
  #errors = { push: null, pull: null };
  #reachable = true;
  #maxEdits = MAX_EDITS;
  #pollMs = 2000;
  #inFlight = 0;
  /** The stream is up; when it last said something; how to end it; when it wants us back after it broke off. */
  #live = false;
  #heardAt = 0;
  #stopStream = () => {};
  #retryMs = 1000;
  /** The newest version of our own making. */
  #pushed = 0;

  constructor(options) {
    const clock = (this.#clock = { ...systemClock, ...options.clock });
    const gate = this.#gate;
    this.#options = options;
    this.#replica = new Replica(this.#news, options, clock.now);
    this.#replica.onOffer = this.#offered;
    this.#replica.onPublish = () => this.#updateStatus();
    this.#replica.onMismatch = () => this.#startResync({ code: "digest" });
    this.#transport = transportOf(options, clock, this.#news, gate);
    this.#pushing = loopOf({ clock, gate, resting: () => false, job: () => this.#attempt("push", this.#push) });
    this.#pulling = loopOf({ clock, gate, resting: this.#resting, job: () => this.#attempt("pull", this.#pull) });
    this.#streaming = loopOf({ clock, gate, resting: this.#unseen, job: () => this.#stream(), longest: BLOCKED_MS });
    const valid = ({ present }) => Array.isArray(present);
    const send = (method, body, keepalive) =>
      this.#transport.send({ kind: "presence", path: `presence/${this.clientId}`, method, body, keepalive, valid });
    this.#presence = presenceOf({ clock, news: this.#news, gate, unseen: this.#unseen, send, share: (state) => this.#tabs?.present(state) });
    this.presence = this.#presence.api;
    this.space = options.space;
    this.problems = this.#replica.problems;
    const paused = Boolean(options.paused);
    this.status = new LiveStatus(this.#news, { paused, lastSyncedAt: null, store: "opening", storeError: null }, clock.now);
    this.#updateStatus();
    this.ready = this.#open();
  }

  get clientId() {
    return this.#replica.clientId;
  }

  collection(name) {
    return this.#replica.collection(name);
  }

  on(type, listener) {
    return this.#news.on(type, listener);
  }

  pull() {
    return this.#lead("pull", () => this.#pulling.once());
  }

  push() {
    return this.#lead("push", async () => {
      while (this.#replica.pending) await (this.#replica.resync === null ? this.#pushing : this.#pulling).once();
    });
  }

  pause() {
    this.#setPaused("pause");
  }

  resume() {
    this.#setPaused("resume");
  }

  #setPaused(what) {
    this.status.update({ paused: what === "pause" });
    this.#lead(what, () => {}).catch(() => {}); // closed by then
    this.#react();
  }

  /** Runs it here, or where it can be. */
  async #lead(what, run) {
    await this.ready;
    try {
      if (!this.#following) return await run();
    } catch (error) {
      if (error.code !== "following") throw error;
    }
    return this.#tabs.ask(what);
  }

  async close() {
    this.#closed = true;
    this.#listening.abort();
    this.#react();
    this.#replica.close();
    await this.ready;
    await this.#replica.stored();
    await (this.#tabs ?? this.#store).close?.();
  }

  // -- Opening

  async #open() {
    const { url, space, name = "", store = globalThis.indexedDB ? "indexeddb" : "memory" } = this.#options;
    const kind = typeof store === "string" ? store : "own";
    const path = `tidemark/${url} ${space} ${name}`;
    const shared = globalThis.navigator?.locks && globalThis.BroadcastChannel;
    try {
      if (kind === "indexeddb" && !shared && this.#document) throw new SyncError("no_web_locks"); // there are some on https and on localhost
      if (kind === "indexeddb" && shared) await this.#share(path);
      else {
        this.#store = kind === "own" ? store : kind === "memory" ? memoryStore : indexedDBStore(path);
        this.#begin(await this.#store.load(), this.#store, kind);
      }
    } catch (error) {
      this.#storeFailed(error);
    }
    this.#listen();
    this.#react();
  }

  /** This tab decides from here on. */
  #begin(records, store, kind) {
    this.#following = false;
    this.#pushed = 0;
    this.#replica.load(records, journalTo(store, this.#storeFailed));
    this.status.update({ store: kind });
  }

  /** Goes on alone, in memory. */
  #storeFailed = (cause) => {
    if (cause.code === "deposed" || this.#closed) return; // we follow
    const begun = this.status.store !== "opening" && !this.#following;
    this.#tabs?.close();
    this.#tabs = null;
    this.#replica.shared = false;
    this.#store = memoryStore;
    if (!begun) this.#begin(null, memoryStore);
    this.status.update({ store: "memory", storeError: new SyncError("store_failed", String(cause), { cause }) });
    this.#react();
  };

  #listen() {
    const { signal } = this.#listening;
    const on = (target, type, run = this.#react) => target?.addEventListener?.(type, run, { signal });
    for (const type of ["online", "offline", "focus"]) on(globalThis, type);
    on(this.#document, "visibilitychange");
    on(globalThis, "pagehide", () => {
      this.#presence.farewell();
      this.#tabs?.offer(true); // what waits for the store to be read: there may be no later
    });
  }

  // -- Tabs

  /** Resolves when we lead, or know what the leader knows. */
  #share(name) {
    const replica = this.#replica;
    const presence = this.#presence;
    replica.shared = true;
    return new Promise((resolve) => {
      const app = {
        lead: (records, store) => {
          this.#begin(records, store);
          app.opened();
          this.#react();
        },
        follow: () => {
          this.#following = true;
          presence.follow();
          this.#react();
        },
        opened: () => {
          replica.publish();
          if (!replica.clientId) return; // the leader is about to choose one
          this.status.update({ store: "indexeddb" });
          resolve();
        },
        fail: (error) => {
          this.#storeFailed(error);
          resolve();
        },
        serve: async (what) => this[what](),
        taken: this.#offered,
      };
      const { status } = this;
      this.#tabs = tabsOf({ name, clock: this.#clock, document: this.#document, news: this.#news, status, replica, presence, app });
    });
  }

  #offered = () => {
    if (this.#following) this.#tabs.offer();
    else this.#pushing.wake(this.#options.coalesceMs ?? 20);
    this.#replica.publish();
  };

  // -- When to run

  #unseen = () => this.#document?.visibilityState === "hidden";

  /** The stream brings what there is, or nobody looks and there is nothing that must be done. */
  #resting = () => {
    const { pending, resync, version } = this.#replica;
    return this.#live ? version >= this.#pushed : this.#unseen() && !pending && resync === null;
  };

  /** A machine without any network calls itself offline, yet reaches a server of its own. */
  #offline() {
    const url = this.#options.url || globalThis.location?.origin;
    return globalThis.navigator?.onLine === false && !/^https?:\/\/(localhost|127\.|\[::1\])/.test(url);
  }

  #gate = () => {
    const { paused, store } = this.status;
    const here = store === "opening" ? store : this.#following && "following";
    const why = this.#closed ? "closed" : here || (paused ? "paused" : this.#offline() && "offline");
    return why ? new SyncError(why, undefined, { stopped: true }) : null;
  };

  /** Something outside has changed: stops everything, or lets it go at once. */
  #react = () => {
    const reason = this.#gate();
    if (reason) {
      for (const part of [this.#pushing, this.#pulling, this.#streaming, this.#presence, this.#transport]) part.halt(reason); // a push may have arrived all the same; it stays the next one to send
      if (!this.#following) this.#presence.show([]);
    }
    this.#tabs?.look();
    if (this.#replica.pending) this.#pushing.kick();
    // Of a connection that died while the machine slept nothing is heard, not even its end.
    if (this.#unseen() || this.#clock.now() - this.#heardAt > SILENCE_MS / 2) this.#stopStream();
    this.#tryStream();
    if (this.#resting()) this.#pulling.rest();
    else this.#pulling.kick();
    this.#presence.kick();
    this.#replica.publish();
  };

  async #attempt(kind, job) {
    try {
      const next = await job.call(this);
      this.#errors[kind] = null;
      if (!this.#reachable) this.#tryStream();
      this.#reachable = true;
      return next;
    } catch (error) {
      if (!error.stopped) {
        this.#errors[kind] = error;
        this.#reachable = !["network", "timeout"].includes(error.code);
      }
      throw error;
    } finally {
      if (kind === "push") this.#inFlight = 0;
      this.#replica.publish();
    }
  }

  // -- Push and pull

  async #push() {
    const replica = this.#replica;
    if (replica.resync !== null) return; // first what the server has, then our edits on top
    const flight = replica.nextFlight(this.#maxEdits, this.#options.collections);
    if (!flight) return;
    await replica.stored(); // the edits and the push itself: a reload from here on repeats it
    this.#inFlight = flight.editIds.length;
    replica.publish();

    const { body, editIds } = flight;
    const valid = (answer) => isPage(answer) && editIds.every((id, i) => answer.results?.[i]?.edit_id === id);
    let answer;
    try {
      answer = await this.#transport.send({ kind: "push", path: "push", body, edits: editIds.length, valid });
    } catch (error) {
      return this.#pushFailed(flight, error);
    }
    replica.answered(flight, answer.results);
    this.#maxEdits = Math.min(MAX_EDITS, this.#maxEdits * 2);
    this.#pushed = Math.max(this.#pushed, ...answer.results.map(({ status, version }) => (status === "applied" && version) || 0));
    const upToDate = flight.cursor === replica.run.cursor && this.#takePage(answer);
    this.#pulling.wake(upToDate ? this.#pollDelay() : this.#live ? ECHO_MS : 0);
    return replica.pending ? 0 : undefined;
  }

  #pushFailed(flight, error) {
    // Only a request that was understood and refused has had no effect for sure.
    flight.unsure ||= !(error.status >= 400 && error.status < 500 && error.status !== 408);
    if (cursorLost(error)) {
      this.#startResync(error);
      this.#pulling.wake();
      return;
    }
    // Too large as a whole: fewer at a time. Safe, as it had no effect and each edit keeps its id.
    if (error.status !== 413) throw error;
    const { editIds } = flight;
    this.#replica.dropFlight(flight);
    this.#maxEdits = Math.ceil(editIds.length / 2);
    if (editIds.length === 1) this.#replica.reject(editIds[0], error);
    return 0;
  }

  async #pull() {
    const replica = this.#replica;
    do {
      const { cursor } = replica.run;
      let page;
      try {
        page = await this.#transport.send({ kind: "pull", path: this.#feed("changes", cursor), valid: isPage });
      } catch (error) {
        if (!cursorLost(error)) throw error;
        // The answer to a push under way will say what became of its edits: wait for it.
        if (this.#pushing.isRunning()) return 1000;
        if (cursor === replica.run.cursor) this.#startResync(error);
        continue;
      }
      if (cursor === replica.run.cursor) this.#takePage(page);
    } while (replica.run.paging);
    return this.#pollDelay();
  }

  #feed(what, cursor) {
    const query = new URLSearchParams(this.#options.collections?.map((name) => ["collections", name]));
    if (cursor !== null) query.set("cursor", cursor);
    if (this.#pushed > this.#replica.version) query.set("min_version", this.#pushed); // this node may not have heard of it
    return `${what}?${query}`;
  }

  /** True when that was the last page for now. */
  #takePage(page, run = this.#replica.run) {
    const loading = this.#replica.resync !== null;
    this.#replica.takePage(page, run);
    if (run.paging) return false;
    if (this.#replica.resync !== null) {
      if (!this.#pulling.isRunning()) this.#pulling.wake(); // its digest differs
      return false;
    }
    this.#pollMs = page.poll_after_ms || this.#pollMs;
    this.status.update({ lastSyncedAt: this.#clock.now() });
    if (this.#replica.pending) this.#pushing.wake();
    if (loading) this.#streaming.wake();
    if (this.#resting()) this.#pulling.rest();
    return true;
  }

  // -- The stream

  /** One connection, from its first word to its last. Returns when to open the next one. */
  async #stream() {
    if (this.#options.stream === false || this.#unseen()) return;
    const release = await streamPlace(this.#options.url);
    if (!release) return BLOCKED_MS;
    const { cursor } = this.#replica;
    const run = runFrom(cursor);
    const controller = new AbortController();
    this.#stopStream = () => controller.abort(new SyncError("stopped", undefined, { stopped: true }));
    const opened = (this.#heardAt = this.#clock.now());
    try {
      // The first state comes by pull, which then wakes us: it is there even if streams are swallowed.
      if (cursor === null) return;
      await this.#transport.send({ kind: "stream", path: this.#feed("stream", cursor), controller, hear: (event) => this.#hear(event, run) });
    } catch (error) {
      return this.#streamEnded(error, this.#clock.now() - opened > 2 * SILENCE_MS);
    } finally {
      release();
      this.#setLive(false);
    }
  }

  #tryStream() {
    if (!this.#streaming.isRunning()) this.#streaming.kick();
  }

  #hear({ event, data, retry }, run) {
    this.#heardAt = this.#clock.now();
    this.#retryMs = Number(retry) || this.#retryMs;
    const body = data && JSON.parse(data);
    if (event === "bye") throw new SyncError("bye", body.reason, { retryAfterMs: body.retry_after_ms });
    if (event === "reset") throw new SyncError(body.code, body.detail, { status: 410, problem: body });
    this.#setLive(true);
    if (event === "presence") this.#presence.take(body);
    if (event === "changes") this.#takePage(body, run);
    else if (!run.paging) this.status.update({ lastSyncedAt: this.#clock.now() });
    this.#replica.publish();
  }

  /** When to open the next one. Throws if that is the matter of the backoff. */
  #streamEnded(error, worked) {
    if (error.code === "bye") return error.retryAfterMs;
    // The pull meets the same answer and starts again, or finds that there is no need to.
    if (cursorLost(error)) this.#pulling.wake();
    if (worked && !error.stopped) return this.#retryMs * spread(this.#clock);
    // Somewhere its words are held back; as long as it is open nobody polls.
    if (error.code === "timeout") return BLOCKED_MS * spread(this.#clock);
    throw error;
  }

  /** Polls are made as long as it is not. */
  #setLive(live) {
    if (this.#live === live) return;
    this.#live = live;
    if (live) {
      this.#errors.pull = null;
      this.#reachable = true;
      this.#pulling.rest();
    } else this.#pulling.wake(this.#pollDelay());
    this.#replica.publish();
  }

  #pollDelay() {
    return this.#pollMs * spread(this.#clock);
  }

  /** Loads everything anew, but not twice in a row without a pause. */
  #startResync(error) {
    const already = this.#replica.resync !== null;
    this.#replica.startResync(error.problem?.cause ?? error.code);
    this.#pushed = 0; // may be lost, and then no cursor is good beside it; no push is under way that could bring it back
    this.#stopStream();
    if (already) throw error;
  }

  #updateStatus() {
    const { pending, oldestPending } = this.#replica;
    this.status.update({ pending, oldestPending });
    if (this.#following) return; // the rest is the leader's
    this.status.update({
      online: this.#reachable && !this.#offline(),
      inFlight: this.#inFlight,
      transport: this.#live ? "stream" : "polling",
      error: this.#errors.push ?? this.#errors.pull,
    });
  }
}
