// Package models holds Tidemark's words as Go types: what goes over the wire
// and what is kept in the database. It imports the standard library only, so
// that every other package can speak the same language.
//
// # Glossary
//
//   - space: the unit of ordering, authorization, retention and fan-out (a
//     workspace, a board, a chat room).
//   - document: one JSON object in a space, named by collection and id, both
//     chosen by the client.
//   - edit: what a client asks for: put, patch or delete of one document, named
//     by its edit_id.
//   - push: a batch of edits from one client.
//   - result: the fate of one edit: applied, conflict, rejected or skipped.
//   - version: an integer below 2^53. A push that changes a document takes the
//     next version of its space, and the documents it changed get it. One number
//     is the document's version, its ETag and its place in the feed. Versions
//     have gaps: never count with them.
//   - head: the newest version of a space; a space never written has head 0.
//   - change: a document as it is after a version: live, or a tombstone.
//   - tombstone: what stays of a deleted document: its name and version, no data.
//   - page: one answer of pull.
//   - cursor: an opaque string: how far a client has come, and in which history.
//   - epoch: one lifetime of the database, told from all others by its identity. A
//     space keeps its past epochs.
//   - floor: the oldest version from which the feed is complete.
//   - snapshot: a pull that starts without a cursor.
//   - digest: a number over all live documents of a space, by which a client finds out
//     whether it holds the same. The count says how many they are.
//   - retention: how long a space remembers what was deleted, and clients that stay away.
//   - purge: forgetting what is past the retention; it raises the floor.
//   - verify: proving a space by its rows: digest, versions, floor and receipts.
//   - rule: what the application says of an edit: a JSON Schema, or an answer of its
//     validation URL. An edit against one is rejected.
//   - receipt: what the server remembers of an applied edit, for retries.
//   - inbox: the table into which what is no client writes what it wants edited.
//   - committer: what drains the queued pushes of a node, and commits
//     them together.
//   - group: the pushes that one transaction carries out.
//   - tail: the newest changes of a space in a node's memory, already encoded.
//   - subject: who a token or an API key speaks for.
//   - API key: what a server sends in place of a token; it lasts until it expires or
//     is revoked.
//   - revocation: that a token, or all tokens of a subject up to a time, are good no
//     more though they have not expired.
//   - audit log: who has changed rights, a retention or the epoch, and when.
//   - poke: "space S is at version V": carries no data, may be lost, doubled or late.
//   - present: a client is present in a space from its first heartbeat until it
//     leaves or has sent none for its ttl. Presence is in no database.
//   - state: the small JSON object that a present client shows to the others.
package models
