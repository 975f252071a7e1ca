// Dexie: your tables show the collections, pending edits included, for liveQuery and your own indexes; edits wait in an
// outbox in the same database, with the documents that they were made on. Sending, conflicts and streaming are tidemark.js's.
//
//   const db = new Dexie("app");
//   db.version(1).stores({ todos: "id, title", outbox: "" });     // a table for each collection, and the outbox
//   const { sync } = await tidemark({ db, url: "", space: "home", tables: [db.todos] });
//   const todos = sync.collection("todos");
//   todos.put(newId(), { title: "Milk" });                        // edits go this way, not into the table
//   liveQuery(() => db.todos.orderBy("title").toArray());         // rows are documents, with `id`, `version`, `pending`
//
// The database belongs to one tab at a time: two that send from one outbox would be one client that contradicts itself.

import { connect } from '../../../../api/web/dist/tidemark.js';

/** What tidemark.js keeps, in a Dexie table: records by key, each batch in one transaction. */
const outboxIn = (db) => ({
  async load() {
    const records = [];
    await db.outbox.each((record, { primaryKey }) => { records.push([primaryKey, record]); });
    return records;
  },
  save: (batch) => db.transaction('rw', db.outbox, async () => {
    const [gone, kept] = [batch.filter(([, record]) => record === undefined), batch.filter(([, record]) => record !== undefined)];
    await db.outbox.bulkDelete(gone.map(([key]) => key));
    await db.outbox.bulkPut(kept.map(([, record]) => record), kept.map(([key]) => key));
  }),
});

export async function tidemark({ db, tables, ...options }) {
  const sync = connect({ store: outboxIn(db), ...options });
  await sync.ready;
  let last = Promise.resolve();

  for (const table of tables) {
    const collection = sync.collection(table.name);
    const shown = new Map((await table.toCollection().primaryKeys()).map((id) => [id, null])); // from the last time
    const show = () => db.transaction('rw', table, async () => {
      const items = collection.getSnapshot();
      const changed = items.filter((item) => shown.get(item.id) !== item); // an item is a new object only if it differs
      const gone = new Set(shown.keys());
      for (const { id } of items) gone.delete(id);
      await table.bulkDelete([...gone]);
      await table.bulkPut(changed.map(({ id, data, version, pending }) => ({ ...data, id, version, pending: Number(pending) })));
      for (const id of gone) shown.delete(id);
      for (const item of changed) shown.set(item.id, item);
    });
    const follow = () => { last = last.catch(() => {}).then(show); }; // one after another, each with what is newest by then
    collection.subscribe(follow);
    follow();
  }
  await last;
  return { sync, close: () => sync.close().then(() => last) };
}
