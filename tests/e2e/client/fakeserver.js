// A server in memory that decides as the design says (section 3): versions, receipts, field-level patches, tombstones,
// cursors, streams, presence. contract.test.js and server/contract.test.js hold it and the real server against the same cases.

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const same = (a, b) => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
const sorted = (value) =>
  isObject(value)
    ? Object.fromEntries(Object.keys(value).sort().map((name) => [name, sorted(value[name])]))
    : Array.isArray(value)
      ? value.map(sorted)
      : value;

function mergePatch(target, patch) {
  if (!isObject(patch)) return patch;
  const result = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = mergePatch(result[name], value);
  }
  return result;
}

const cut = (number) => BigInt.asUintN(64, number);

/** The hash of which the digest is the sum, as openapi.yaml describes it. */
export function documentHash({ collection, id, version }) {
  let h = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(`${collection}\0${id}\0${version}`)) h = cut((h ^ BigInt(byte)) * 0x100000001b3n);
  h = cut((h ^ (h >> 33n)) * 0xff51afd7ed558ccdn);
  h = cut((h ^ (h >> 33n)) * 0xc4ceb9fe1a85ec53n);
  return h ^ (h >> 33n);
}

const answer = (status, body, headers = {}) =>
  new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json", ...headers } });

const problem = (status, code, more = {}, headers = {}) =>
  answer(status, { type: `/problems/${code}`, title: code, status, code, ...more }, headers);

class Refusal {
  constructor(...args) {
    this.response = problem(...args);
  }
}

/** One space. Documents keep the version of each field, and which edit made it. */
export class FakeServer {
  head = 0;
  floor = 0;
  epoch = "epoch-1";
  documents = new Map();
  receipts = new Map();

  /** Every request that arrived: { kind, body, cursor, token }. */
  requests = [];
  /** Documents a page holds. */
  limit = 500;
  pollAfterMs = 2000;
  maxEdits = 200;
  maxBytes = 1 << 20;
  /** What an answer is replaced with: a function of the request that returns a Response or nothing. */
  fault = () => undefined;
  /** The open streams. */
  streams = new Set();
  /** Streams hear of no push before `poke()`. */
  late = false;
  /** Which node a new stream finds. */
  node = "A";
  /** Its documents or its digest are wrong on purpose. */
  broken = false;
  present = new Map();

  #lost = 0;
  #held = [];
  #holding = 0;
  #down = false;

  // -- Faults

  /** The next n requests are carried out and their answers lost. */
  loseAnswers(n) {
    this.#lost = n;
  }

  /** No request arrives any more, or they do again. */
  down(down = true) {
    this.#down = down;
  }

  /** The answers to the next n requests wait for `release()`. The requests are carried out at once. */
  hold(n = 1) {
    this.#holding = n;
  }

  get held() {
    return this.#held.length;
  }

  release() {
    this.#held.splice(0).forEach((go) => go());
  }

  /** Like restoring a backup: the versions of the state come back, under a new epoch. */
  backup() {
    return structuredClone({ head: this.head, documents: this.documents, receipts: this.receipts });
  }

  restore(backup) {
    Object.assign(this, structuredClone(backup), { epoch: `${this.epoch}'` });
  }

  /** Forgets all tombstones: older cursors expire. */
  purge() {
    this.floor = this.head;
    for (const [key, document] of this.documents) if (document.deleted) this.documents.delete(key);
  }

  // -- HTTP

  fetch = async (url, init = {}) => {
    const { pathname, searchParams } = new URL(url, "http://fake");
    const [, , , , resource] = pathname.split("/"); // /v1/spaces/{space}/{resource}
    const kind = resource === "changes" ? "pull" : resource;
    const body = init.body && JSON.parse(init.body);
    const token = new Headers(init.headers).get("Authorization")?.replace("Bearer ", "");
    const minVersion = searchParams.get("min_version");
    const request = { kind, raw: init.body, body, cursor: body ? body.cursor : searchParams.get("cursor"), token, minVersion, signal: init.signal };
    if (init.signal?.aborted) throw init.signal.reason;
    if (this.#down) throw new TypeError("fetch failed");
    this.requests.push(request);

    const response = this.fault(request) || this.#serve(kind, body, searchParams, init, pathname);
    if (this.#lost > 0) {
      this.#lost--;
      throw new TypeError("connection reset");
    }
    if (this.#holding > 0) {
      this.#holding--;
      await new Promise((resolve, reject) => {
        this.#held.push(resolve);
        init.signal?.addEventListener("abort", () => reject(init.signal.reason));
      });
    }
    return response;
  };

  #serve(kind, body, query, { body: raw, method, signal }, pathname) {
    try {
      const [cursor, collections, minVersion] = [query.get("cursor"), query.getAll("collections"), Number(query.get("min_version"))];
      if (kind === "push") return answer(200, this.push(body, raw));
      if (kind === "presence") return this.#presence(method, pathname.split("/").at(-1), body);
      if (kind === "stream") return new Response(this.#stream(cursor, collections, minVersion, signal), { headers: { "Content-Type": "text/event-stream" } });
      return answer(200, this.#changes(cursor, collections, minVersion));
    } catch (refusal) {
      if (refusal instanceof Refusal) return refusal.response;
      throw refusal;
    }
  }

  // -- Push

  push({ client_id, edits, cursor, collections }, raw = "") {
    if (raw.length > this.maxBytes) throw new Refusal(413, "body_too_large");
    if (!client_id || !edits?.length) throw new Refusal(400, "invalid_request");
    if (edits.length > this.maxEdits) throw new Refusal(413, "batch_too_large");
    if (cursor !== undefined) this.#cursor(cursor, collections ?? []);

    const push = { version: this.head + 3, changed: false, results: new Map(), client_id };
    const results = edits.map((edit) => {
      const result = { edit_id: edit.edit_id, ...this.#decide(edit, push) };
      push.results.set(edit.edit_id, result);
      return result;
    });
    if (push.changed) this.head = push.version;
    if (push.changed && !this.late) this.poke();
    const page = cursor === undefined ? { poll_after_ms: this.pollAfterMs } : this.#changes(cursor, collections ?? []);
    return { ...page, results, version: this.head };
  }

  #decide(edit, push) {
    const content = JSON.stringify(sorted([edit.op, edit.collection, edit.id, edit.data]));
    const receipts = this.receipts.get(push.client_id) ?? new Map();
    const receipt = receipts.get(edit.edit_id);
    if (receipt) {
      if (receipt.content !== content) return rejected("edit_id_reused");
      const current = receipt.merged ? { merged: true, current: this.#change(edit) } : {};
      return { status: "applied", version: receipt.version, replayed: true, ...current };
    }
    if (edit.op !== "delete" && !isObject(edit.data)) return rejected("invalid_document");
    if (edit.data?.refuse) return rejected("invalid_document"); // for tests of rejections
    if (edit.data?.postpone) return { status: "postponed" }; // of a version to come

    const base = this.#base(edit, push, receipts);
    if (base.failure) return base.failure;
    const result = this.#apply(edit, base, push);
    if (result.status === "applied") {
      receipts.set(edit.edit_id, { content, version: result.version, merged: result.merged, base: base.version, ofMerge: base.ofMerge });
      while (receipts.size > 256) receipts.delete(receipts.keys().next().value);
      this.receipts.set(push.client_id, receipts);
    }
    return result;
  }

  /** The version an edit was made on; of a merged edit its own base, and the client's edits, whose fields do not count. */
  #base(edit, push, receipts) {
    if (edit.base_edit_id === undefined) {
      if (edit.base_version === undefined) return { failure: rejected("base_required") };
      return { version: edit.base_version, own: [] };
    }
    if (edit.base_version !== undefined) return { failure: rejected("invalid_edit") };
    const earlier = push.results.get(edit.base_edit_id);
    if (earlier && earlier.status !== "applied") return { failure: { status: "skipped", blocked_by: edit.base_edit_id } };
    const receipt = receipts.get(edit.base_edit_id);
    if (!receipt) return { failure: { status: "skipped", error: { code: "base_unknown", detail: "" } } };
    if (!receipt.merged) return { version: receipt.version, own: [] };
    return { version: receipt.base, own: [...receipts.keys()], ofMerge: true };
  }

  #apply(edit, base, push) {
    const key = `${edit.collection}/${edit.id}`;
    const document = this.documents.get(key);
    const conflict = (fields) => ({
      status: "conflict",
      ...(document && { current: this.#change(edit) }),
      ...(fields && { conflicting_fields: fields }),
    });
    const live = document && !document.deleted;

    if (edit.op === "delete") {
      if (!live) return { status: "applied", version: document?.version ?? 0 };
      if (base.version !== document.version || base.ofMerge) return conflict();
      this.#write(edit, push, null, {});
      return { status: "applied", version: push.version };
    }
    if (edit.op === "put") {
      if (base.version !== (document?.version ?? 0) || base.ofMerge) return conflict();
      const made = { version: push.version, edit_id: edit.edit_id };
      this.#write(edit, push, edit.data, { absent: made, ...Object.fromEntries(Object.keys(edit.data).map((name) => [`$${name}`, made])) });
      return { status: "applied", version: push.version };
    }

    if (!live || base.version === 0 || base.version > document.version) return conflict();
    const field = (name) => document.fields[`$${name}`] ?? document.fields.absent;
    const newer = (name) => field(name).version > base.version && !base.own.includes(field(name).edit_id);
    const fields = Object.keys(edit.data).filter(newer);
    if (fields.length) return conflict(fields);
    const merged = base.version !== document.version && { merged: true };
    const data = mergePatch(document.data, edit.data);
    if (!same(data, document.data)) this.#patch(edit, push, document, data);
    const { version } = this.documents.get(key);
    return { status: "applied", version, ...(merged && { ...merged, current: this.#change(edit) }) };
  }

  #patch(edit, push, document, data) {
    const made = { version: push.version, edit_id: edit.edit_id };
    const fields = { ...document.fields };
    for (const name of Object.keys(edit.data)) {
      if (same(document.data[name], data[name])) continue;
      if (Object.hasOwn(data, name)) fields[`$${name}`] = made;
      else {
        delete fields[`$${name}`];
        fields.absent = made;
      }
    }
    this.#write(edit, push, data, fields);
  }

  #write({ collection, id, edit_id }, push, data, fields) {
    push.changed = true;
    const { version, client_id } = push;
    const deleted = data === null;
    this.documents.set(`${collection}/${id}`, { collection, id, version, deleted, data, fields, client_id, edit_id });
  }

  #change({ collection, id }) {
    const { fields, data, ...document } = this.documents.get(`${collection}/${id}`);
    const updated_at = new Date(1.7e12 + document.version).toISOString();
    return { ...document, ...(data && { data }), updated_at, updated_by: "anonymous" };
  }

  // -- Pull

  /** `minVersion` above the head is of a push that a restored backup has lost. */
  #cursor(text, collections, minVersion = 0) {
    let cursor;
    try {
      cursor = JSON.parse(atob(text));
    } catch {
      throw new Refusal(400, "invalid_cursor");
    }
    const { position, start, epoch, filter } = cursor;
    if (filter !== [...collections].sort().join()) throw new Refusal(410, "cursor_expired", { cause: "filter" });
    if (epoch !== this.epoch || minVersion > this.head) throw new Refusal(410, "cursor_expired", { cause: "epoch" });
    if ((start ?? position) < this.floor) throw new Refusal(410, "cursor_expired", { cause: "retention" });
    return cursor;
  }

  #changes(text, collections, minVersion) {
    const from = text === null ? { position: 0, start: this.head } : this.#cursor(text, collections, minVersion);
    const wanted = [...this.documents.values()]
      .filter(({ version }) => version > from.position)
      .filter(({ collection }) => !collections.length || collections.includes(collection))
      .filter(({ deleted, version }) => !deleted || from.start === undefined || version > from.start)
      .sort((a, b) => a.version - b.version);
    const last = wanted[Math.min(this.limit, wanted.length) - 1]?.version; // whole versions
    const page = wanted.filter(({ version }) => version <= last);
    const more = page.length < wanted.length;
    const position = more ? last : this.head;
    const start = from.start !== undefined && position < from.start ? { start: from.start } : {};
    const cursor = btoa(JSON.stringify({ position, ...start, epoch: this.epoch, filter: [...collections].sort().join() }));
    return {
      changes: page.map((document) => this.#change(document)),
      cursor,
      version: this.head,
      has_more: more,
      ...(!more && !collections.length && this.digest()),
      poll_after_ms: more ? 0 : this.pollAfterMs,
    };
  }

  digest() {
    const live = [...this.documents.values()].filter(({ deleted }) => !deleted);
    const sum = live.reduce((sum, document) => sum + documentHash(document), this.broken === "digest" ? 1n : 0n);
    return { digest: cut(sum).toString(16).padStart(16, "0"), count: live.length + (this.broken === "count" ? 1 : 0) };
  }

  // -- Streams

  #stream(cursor, collections, minVersion, signal) {
    const first = this.#changes(cursor, collections, minVersion); // or it is refused
    const stream = { cursor, collections, node: this.node };
    return new ReadableStream({
      start: (controller) => {
        stream.say = (text) => controller.enqueue(new TextEncoder().encode(text));
        stream.end = (error) => {
          if (!this.streams.delete(stream)) return;
          if (error) controller.error(error);
          else controller.close();
        };
        this.streams.add(stream);
        signal?.addEventListener("abort", () => stream.end(signal.reason));
        stream.say("retry: 3000\n: tidemark\n\n");
        if (first.changes.length) this.poke();
      },
      cancel: () => void this.streams.delete(stream),
    });
  }

  /** Each stream gets the pages it has not had. */
  poke() {
    for (const stream of this.streams) {
      for (let more = true; more; ) {
        const page = this.#changes(stream.cursor, stream.collections);
        if (page.cursor === stream.cursor) break;
        more = page.has_more;
        stream.cursor = page.cursor;
        // Like the real one, which passes on the line ends that a document was written with.
        stream.say(`event: changes\ndata: ${JSON.stringify(page, null, 1).replaceAll("\n", "\ndata: ")}\nid: ${page.cursor}\n\n`);
      }
    }
  }

  /** Says something on every stream. */
  say(event, data, id) {
    for (const stream of this.streams) stream.say(`event: ${event}\ndata: ${JSON.stringify(data)}\n${id === undefined ? "" : `id: ${id}\n`}\n`);
  }

  heartbeat() {
    for (const stream of this.streams) stream.say(":\n\n");
  }

  /** Ends every stream: after a word of farewell, or by cutting the connection. */
  bye(retry_after_ms, reason = "drain") {
    this.say("bye", { reason, retry_after_ms });
    for (const stream of this.streams) stream.end();
  }

  cut() {
    for (const stream of this.streams) stream.end(new TypeError("connection reset"));
  }

  #presence(method, client_id, body) {
    if (method === "DELETE") this.present.delete(client_id);
    else this.present.set(client_id, { client_id, subject: "anonymous", state: body.state, since: "2026-01-01T00:00:00Z", expires_in_ms: body.ttl_s * 1000 });
    const list = { space: "s", present: [...this.present.values()], poll_after_ms: 10_000 };
    this.say("presence", list);
    return method === "DELETE" ? new Response(null, { status: 204 }) : answer(200, list);
  }

  // -- Another client

  #others = 0;

  /** Somebody else's edit, made on what is there now. Returns its result. */
  other(op, collection, id, data) {
    const base_version = this.documents.get(`${collection}/${id}`)?.version ?? 0;
    const edit_id = `other-${++this.#others}`;
    return this.push({ client_id: "other", edits: [{ edit_id, op, collection, id, base_version, data }] }).results[0];
  }

  data(collection, id) {
    return this.documents.get(`${collection}/${id}`)?.data ?? null;
  }

  pushes() {
    return this.requests.filter(({ kind }) => kind === "push");
  }

  connects() {
    return this.requests.filter(({ kind }) => kind === "stream");
  }

  pulls() {
    return this.requests.filter(({ kind }) => kind === "pull");
  }
}

const rejected = (code) => ({ status: "rejected", error: { code, detail: code } });

export { problem };
