// The types as an app meets them. Compiled with --strict, never run.

import { connect, mergeFields, newId, SyncError } from "../../../api/web/tidemark.js";
import type { Conflict, Data, Edit, Item, Present, Problem, Status, Store, Sync } from "../../../api/web/tidemark.js";

// A type alias, as an interface is not assignable to an index signature.
type Todo = { title: string; done: boolean; due?: string; place: { street: string; city: string } };

const own: Store = {
  load: async () => new Map<string, unknown>(),
  async save(records) {
    for (const [key, record] of records) console.log(key satisfies string, record);
  },
};

const sync: Sync = connect({ url: "", space: "team-42" });
connect({ url: "https://example.com", space: "s", store: own, getToken: async ({ refresh }) => (refresh ? "new" : null), collections: ["todos"] as const });
connect({ url: "", space: "s", store: "indexeddb", name: "alice", onConflict: ({ base, mine, theirs, fields }) => (fields.length ? mergeFields(base, mine, theirs) : "theirs") });
connect({ url: "", space: "s", fetch, clock: { now: () => 0 }, coalesceMs: 10, timeoutMs: 1000, paused: true, clientId: newId(), stream: false });
// @ts-expect-error a space is needed
connect({ url: "" });
// @ts-expect-error not a store
connect({ url: "", space: "s", store: "cookies" });

const todos = sync.collection<Todo>("todos");
const edit: Edit = todos.put(newId(), { title: "Milk", done: false, place: { street: "A", city: "B" } });
todos.merge("t1", { done: true });
todos.merge("t1", { due: null, place: { city: "C" } });
// @ts-expect-error not a field
todos.merge("t1", { colour: "red" });
// @ts-expect-error not a boolean
todos.merge("t1", { done: "yes" });
// @ts-expect-error a document is an object
todos.put("t1", [1]);
todos.delete("t1").settled.then(({ status, error, problem }) => {
  if (status === "rejected") console.log(error?.code.toUpperCase(), problem?.dismiss());
  // @ts-expect-error no such status
  if (status === "lost") return;
});

const items: ReadonlyArray<Item<Todo>> = todos.getSnapshot();
for (const { id, data, version, pending } of items) console.log(id, data.title.length, version.toFixed(), pending ? "…" : "");
// @ts-expect-error read-only: a snapshot belongs to the client
items[0]!.data.title = "changed";
const title: string | undefined = todos.get("t1")?.data.title;

/** What React's hook wants of a store. */
declare function useSyncExternalStore<T>(subscribe: (onChange: () => void) => () => void, getSnapshot: () => T): T;
const shown: ReadonlyArray<Item<Todo>> = useSyncExternalStore(todos.subscribe, todos.getSnapshot);
const status: Status = useSyncExternalStore(sync.status.subscribe, sync.status.getSnapshot);
const open: readonly Problem[] = useSyncExternalStore(sync.problems.subscribe, sync.problems.getSnapshot);
const here: readonly Present[] = useSyncExternalStore(sync.presence.subscribe, sync.presence.getSnapshot);
console.log(here.map(({ clientId, subject, state, since }) => [clientId, subject, state["name"], since]), status.transport === "stream");
const since: number | null = status.oldestPending;
console.log(since, status.lag === null ? "never" : status.lag.toFixed());
// @ts-expect-error null before the first sync
console.log(status.lag.toFixed());
console.log(shown.length, status.pending, sync.status.online, open.length, sync.problems.length, title, edit.editId);

for (const problem of sync.problems) {
  const { base, mine, theirs, fields, kind, error }: Problem = problem;
  console.log(base, mine, theirs, fields.join(), kind, error instanceof SyncError && error.code);
  problem.keepMine().map(({ settled }) => settled);
  problem.takeTheirs();
  problem.merge().settled.then(({ version }) => version?.toFixed());
  problem.merge({ title: "Water" });
  problem.merge(({ mine, theirs }: Conflict): Data => ({ ...theirs, ...mine }));
}

const stop: () => void = sync.on("request", ({ kind, status, ms, edits, changes, error }) => console.log(kind, status, ms + edits + changes, error?.retryAfterMs));
sync.on("applied", ({ editId, version, replayed }) => console.log(editId, version, replayed));
sync.on("remote", ({ changes }) => changes.map(({ editId, clientId }) => [editId, clientId]));
sync.on("conflict", ({ mine, problem }) => console.log(mine, problem?.problemId));
sync.on("resync", ({ cause }) => console.log(cause));
// @ts-expect-error no such event
sync.on("nothing", () => {});
stop();

sync.presence.set({ name: "Alice", at: { list: 1 } });
// @ts-expect-error a state is an object
sync.presence.set("Alice");
await sync.presence.leave();

await sync.ready;
await sync.pull();
await sync.push();
sync.pause();
sync.resume();
await sync.close();
