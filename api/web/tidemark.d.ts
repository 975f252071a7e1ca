/**
 * Types of `/tidemark.js`, the browser client of Tidemark.
 *
 * ```js
 * import { connect, newId } from "/tidemark.js";
 *
 * const sync = connect({ url: "", space: "team-42" });
 * const todos = sync.collection("todos");
 * todos.subscribe(() => render(todos.getSnapshot()));
 * todos.put(newId(), { title: "Milk", done: false });   // shown at once, sent in the background
 * ```
 */

/** What may stand in a document. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** The content of a document: a JSON object. Treat what the client hands out as read-only. */
export type Data = Record<string, unknown>;

/** A JSON Merge Patch (RFC 7396): `null` removes a field, objects are merged, all else replaces. */
export type Patch<T extends Data = Data> = { [K in keyof T]?: T[K] | null | (T[K] extends Data ? Patch<T[K]> : never) };

export interface ConnectOptions {
  /** Where the server is, without `/v1`. `""` is the page's own origin. */
  url: string;
  space: string;
  /** Called before each request; with `refresh: true` after a 401. Leave it out for a development server. */
  getToken?: (want: { refresh: boolean }) => string | null | undefined | Promise<string | null | undefined>;
  /**
   * Where edits and documents are kept. Default: `"indexeddb"` where it exists, otherwise `"memory"`.
   * If IndexedDB can't be opened the client goes on in memory and says so in `status.store`.
   *
   * With IndexedDB all tabs of one url, space and `name`, and its workers, are one client: one `clientId`, one queue, one connection.
   * An edit made in one of them shows in that one at once and in the others as soon as it is stored. One of them leads
   * and talks to the server: the one that is looked at, or any other when that is closed. Nothing of it shows, but that
   * `onConflict`, `getToken` and `fetch` are called in the tab that leads. Tabs of one store must be opened with the same
   * `collections`. This takes Web Locks and BroadcastChannel, which pages have on https and on
   * localhost; without them, and where IndexedDB fails, a page goes on in memory, by itself and under the same `clientId`.
   */
  store?: "memory" | "indexeddb" | Store;
  /**
   * Tells stores of the same url and space apart. Use one per user of the browser, otherwise what one left unsent goes
   * out in the name of the next.
   */
  name?: string;
  /** The replica's id, for a store that has none yet. Default: a new UUID. Never use one in two places. */
  clientId?: string;
  /** Follow only these collections. */
  collections?: readonly string[];
  /**
   * Decides a conflict on the spot, in the tab that leads: the data to write, `"mine"`, `"theirs"`, or `undefined` to leave it
   * in `sync.problems`. Must be synchronous; ask people by way of `sync.problems`.
   */
  onConflict?: (conflict: Conflict) => Data | "mine" | "theirs" | undefined;
  /**
   * Default true: changes come over a stream (server-sent events), in milliseconds. The client polls until the stream is
   * up and whenever it is not, as where a proxy blocks it or holds it back, and tries it again every few minutes, when
   * the page is looked at again and when the device is online again; `status.transport` tells which it is. A page that is
   * hidden has no stream, tabs of one `name` have one together, and of all names in a browser four have one at a time: over
   * HTTP/1.1 it opens six connections to a host, and streams must not take them all. `false` only polls.
   */
  stream?: boolean;
  /**
   * Replaces the global `fetch`. Must heed `init.signal`, by which `pause()`, `close()` and the time limit work. A
   * stream needs a response whose `body` can be read bit by bit; without one (React Native) the client polls.
   */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
  /** How long edits are gathered before a push. Default 20 ms. */
  coalesceMs?: number;
  /** After how long an unanswered request is given up and tried again. Default 30 000 ms. */
  timeoutMs?: number;
  /** Start paused: nothing goes over the network before `resume()`. Where other tabs are open already, it is as they are. */
  paused?: boolean;
  /** Time and chance, for tests. */
  clock?: Partial<Clock>;
}

export interface Clock {
  now(): number;
  random(): number;
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
}

/**
 * An own store: records by key. `save` gets a batch and must write all of it or nothing, batches in the order
 * they come; a record of `undefined` is deleted. Records are structured-clonable (JSON).
 */
export interface Store {
  load(): Promise<Iterable<readonly [key: string, record: unknown]>>;
  save(records: ReadonlyArray<readonly [key: string, record: unknown]>): Promise<void>;
  close?(): void | Promise<void>;
}

/** Opens the space. Returns at once; what the store holds is shown when `ready` resolves. */
export function connect(options: ConnectOptions): Sync;

/** A new time-ordered id (UUIDv7) for a document or anything else. Ids of one page grow strictly. */
export function newId(): string;

/**
 * Three-way merge by field: each field is taken from the side that changed it; objects changed by both are merged
 * likewise; of a value changed by both, mine wins. A missing side (`null`: no document) counts as empty,
 * but if one side deleted the document the other side's data is the result.
 */
export function mergeFields(base: Data | null, mine: Data | null, theirs: Data | null): Data;

export interface Sync {
  readonly space: string;
  /** Resolves when the store is loaded; never rejects. Everything works before that, too. */
  readonly ready: Promise<void>;
  /** Empty until `ready`, unless `clientId` was given. */
  readonly clientId: string;
  readonly status: Status & Observable<Status>;
  readonly problems: Iterable<Problem> & { readonly length: number } & Observable<readonly Problem[]>;
  readonly presence: Presence;
  /** The same object for the same name. */
  collection<T extends Data = Data>(name: string): Collection<T>;
  /** Pulls now, to the end. Rejects with a `SyncError` if that fails (the client tries again by itself). */
  pull(): Promise<void>;
  /** Pushes now; resolves when no edit is unanswered. Rejects like `pull`. */
  push(): Promise<void>;
  /** Stops all traffic of all tabs, also what is under way; edits are queued. */
  pause(): void;
  resume(): void;
  /**
   * Stops for good: no timer, no listener, no request is left. Unsent edits stay in the store. Who is present stays so
   * for up to 30 s, unless `await presence.leave()` came before. Other tabs go on.
   */
  close(): Promise<void>;
  /** Listens to one kind of event; returns the function that stops it. */
  on<K extends keyof Events>(type: K, listener: (event: Events[K]) => void): () => void;
}

/**
 * Who is in the space, and what they are at; a snapshot has everybody, oneself too. Best effort: it is written down
 * nowhere. With a stream it is known at once, by polling only while one is present oneself and with some seconds' delay.
 * It is empty while the client is paused or offline. Tabs of one `name` are present once, with the state that was set last.
 */
export interface Presence extends Observable<ReadonlyArray<Present>> {
  /**
   * Says that we are here, with a state of up to 1 KiB as JSON: a name, what is selected. Repeated until `leave()`, but
   * not while the page is hidden; call it again, as often as you like, to change the state.
   */
  set(state: Data): void;
  /** Resolves when the others know, or will find out by themselves within 30 s. */
  leave(): Promise<void>;
}

export interface Present<T extends Data = Data> {
  readonly clientId: string;
  /** Who that is, by their token. */
  readonly subject: string;
  readonly state: Readonly<T>;
  /** Server's time (RFC 3339). */
  readonly since: string;
}

/**
 * Fits React's `useSyncExternalStore(x.subscribe, x.getSnapshot)`, is a store to Svelte (`$x`), and feeds a signal
 * (`x.subscribe((value) => { s.value = value })`): a listener is called with the snapshot, at once and whenever it
 * differs. A snapshot is a new object only if it differs.
 */
export interface Observable<T> {
  getSnapshot(): T;
  subscribe(listener: (snapshot: T) => void): () => void;
}

export interface Collection<T extends Data = Data> extends Observable<ReadonlyArray<Item<T>>> {
  readonly name: string;
  /** The document as shown, pending edits included; `undefined` if there is none. */
  get(id: string): Item<T> | undefined;
  /** Replaces or creates the document. Conflicts if anyone else changed it since. */
  put(id: string, data: T): Edit;
  /** Changes the named fields only (creates the document if it is not there). Conflicts only on fields that others changed. */
  merge(id: string, patch: Patch<T>): Edit;
  delete(id: string): Edit;
}

/** A document as shown. In a snapshot they are sorted by id. The object is the same until something in it changes. */
export interface Item<T extends Data = Data> {
  readonly id: string;
  readonly data: Readonly<T>;
  /** The server's version underneath; 0 if it has none yet. */
  readonly version: number;
  /** Own edits are shown that the server has not answered yet. */
  readonly pending: boolean;
  /** The oldest open problem of this document. */
  readonly problem?: Problem;
  /** Server's time (RFC 3339) and subject of the version underneath; absent until it came back from the server. */
  readonly updatedAt?: string;
  readonly updatedBy?: string;
}

/** What `put`, `merge` and `delete` return. */
export interface Edit {
  readonly editId: string;
  readonly collection: string;
  readonly id: string;
  /** Never rejects. After a reload nobody waits any more: look at `pending` and `problems`. */
  readonly settled: Promise<Settled>;
}

export interface Settled {
  readonly editId: string;
  /**
   * `applied`: it is on the server. `conflict`, `rejected`: see `problem`. `skipped`: an edit it was made on failed,
   * or its base is not known any more: see `problem`; or it was to solve a problem that another tab had just solved. `closed`: `close()` came first, the edit waits in the store.
   */
  readonly status: "applied" | "conflict" | "rejected" | "skipped" | "closed";
  readonly version?: number;
  readonly error?: SyncError;
  /** Absent if `onConflict` decided. */
  readonly problem?: Problem;
  /** What `onConflict` decided. */
  readonly resolution?: "mine" | "theirs" | "merged";
}

export interface Conflict<T extends Data = Data> {
  readonly collection: string;
  readonly id: string;
  /** The document as it was when I began, as I want it, as it is on the server. `null`: not there. */
  readonly base: T | null;
  readonly mine: T | null;
  readonly theirs: T | null;
  /** The top-level fields that both changed, to different values. */
  readonly fields: readonly string[];
}

/**
 * An edit that did not go through, with those made on top of it. The view shows the server's state; nothing is lost
 * until a person (or the app) chooses. Kept in the store.
 */
export interface Problem<T extends Data = Data> extends Conflict<T> {
  /** Stable; the id of the first edit. */
  readonly problemId: string;
  /** `conflict`: someone else was first, or it is not known whether the edit arrived. `rejected`: the server refuses it. */
  readonly kind: "conflict" | "rejected";
  /** `version_conflict`, `base_unknown`, `outcome_unknown` or the server's reason. */
  readonly error: SyncError;
  readonly editIds: readonly string[];
  /** Does my edits again on top of theirs. Returns the new edits. */
  keepMine(): Edit[];
  /** Drops my edits. */
  takeTheirs(): void;
  /** Writes the given data, or what the function makes of the three sides. Default: `mergeFields`. */
  merge(resolve?: Data | ((conflict: Conflict<T>) => Data)): Edit;
  /** The same as `keepMine`: the word for rejected edits. */
  retry(): Edit[];
  /** The same as `takeTheirs`: the word for rejected edits. */
  dismiss(): void;
}

export interface Status {
  /** The device has a network, and the last request got an answer. */
  readonly online: boolean;
  readonly paused: boolean;
  /** How the changes of others come at the moment. `polling` also when nothing comes, because of `paused` or `online`. */
  readonly transport: "stream" | "polling";
  /** Edits the server has not answered. */
  readonly pending: number;
  /** The device's time at which the first of them was made, in ms, also before a reload; `null` if there is none. */
  readonly oldestPending: number | null;
  /** How many of them are under way in a push. */
  readonly inFlight: number;
  /** The device's time at which the client last knew itself up to date, for showing only. */
  readonly lastSyncedAt: number | null;
  /**
   * How old what is shown may be, in ms: 0 while a stream is up, otherwise the time since `lastSyncedAt`; `null` before the
   * first sync. It says nothing about own edits: see `oldestPending`. It is worked out when it is read and grows while
   * nothing comes, and nobody is told of that: a page that shows it reads it now and then.
   */
  readonly lag: number | null;
  /** Why the last push or pull failed; `null` when the next one succeeds. A stream that fails is none: polls take over. */
  readonly error: SyncError | null;
  /** Where edits are kept. `memory` although IndexedDB was wanted: see `storeError`; edits do not survive a reload. */
  readonly store: "indexeddb" | "memory" | "own" | "opening";
  readonly storeError: SyncError | null;
}

/** Every error of the client. */
export class SyncError extends Error {
  constructor(code: string, message?: string, more?: { status?: number; retryAfterMs?: number; problem?: unknown; cause?: unknown });
  /**
   * The server's code, or one of the client's own: `network` (no answer, or `getToken` failed: see `cause`), `timeout`,
   * `bad_response` (not Tidemark's), `http_<status>` (refused without a code), `paused`, `closed`, `offline`,
   * `opening`, `following` (of a request that was under way when another tab took over), `stopped` (a stream that was not needed any more), `bye` (a stream that the server ended, to be opened anew),
   * `store_failed` (see `cause`), `no_web_locks`, `version_conflict`, `outcome_unknown`,
   * `unknown_status` (of a result that this client does not know), `invalid_id`, `invalid_collection`, `invalid_document`.
   */
  readonly code: string;
  readonly status?: number;
  readonly retryAfterMs?: number;
  /** The server's problem+json body. */
  readonly problem?: unknown;
}

export interface Events {
  /**
   * A request has ended, well or not, whichever tab made it: for a timeline. `status` is 0 when there was no answer. Of a stream, which always
   * ends with an `error`, `ms` is how long it was open.
   */
  request: { kind: "push" | "pull" | "stream" | "presence"; status: number; ms: number; edits: number; changes: number; error?: SyncError };
  /** The server applied an own edit. */
  applied: { editId: string; collection: string; id: string; version: number; replayed: boolean };
  /** Changes of others are now shown. */
  remote: { changes: readonly RemoteChange[] };
  /** A conflict, as it was before anybody decided it; `problem` is absent if `onConflict` did. */
  conflict: Conflict & { editId: string; problem?: Problem };
  /**
   * Everything was loaded anew: the server could not go on from our cursor (the `cause` of its 410), or its digest showed
   * that we did not hold what it has (`digest`). Unsent edits are kept.
   */
  resync: { cause: string };
  /** What we hold differs from what the server has even though it was loaded anew: a bug; please report it. */
  mismatch: { mine: string; theirs: string; version: number };
}

export interface RemoteChange {
  readonly collection: string;
  readonly id: string;
  readonly version: number;
  readonly deleted: boolean;
  readonly editId: string;
  readonly clientId: string;
}
