// Package syncer is the engine of Tidemark: it decides what clients push and
// tells them what changed. It knows neither HTTP nor SQL: a [Store] keeps the
// data, a [Broker] carries wake-ups between nodes, and the words are those of
// package models.
//
// # Guarantees
//
// The numbers are those of the README. Each holds for any number of engines on
// one Store, whichever of them answers.
//
//   - G1, durable: an edit that was acknowledged is on disk and in the feed.
//     Store.Commit returns nil only then; no crash of a node or of the database
//     loses it.
//
//   - G2, no gap: a client that follows the feed sees every document's newest
//     state. See "Why no change is missed".
//
//   - G3, no phantom: pages show only what was committed, and so do the results of
//     a push: one version of a document is one text, wherever it is shown.
//
//   - G4, forward only: a cursor that is given out lies at or after the one that
//     was sent, and every cursor ever given out can be resumed from, on any node,
//     or is answered with CodeCursorExpired.
//
//   - G5, exactly once: an edit takes effect at most once however often it is
//     sent, and its retries get the first answer again (with the document as it
//     is by then where the answer brings one). That holds for the newest 256
//     applied edits of a client. Beyond, the version check still prevents a second
//     effect and says conflict; only a forced edit has nothing but its receipt.
//
//   - G6, compare-and-set: the edits of one document are decided one after
//     another, each against what the one before left.
//
//   - G7, convergence: when edits stop, all clients that have pulled until
//     HasMore is false hold the same documents.
//
//   - G8, read your writes: after a push was answered, whoever pulls with a cursor
//     or a MinVersion that it has from that answer finds the push, on every node.
//     The page inside a push's answer does, too. Others find it at once on the node
//     that committed it, on the others when they have heard of it; see "The tail".
//
//   - G9, restores are noticed: a cursor, a base or a MinVersion from before a backup was
//     put back, and of what is lost by it, is never taken for what is there now; see
//     "Epochs".
//
//   - G10, no resurrection: a tombstone is a version like any other, so who
//     creates a document again must name it. Tombstones are purged when they are past
//     the retention ([Engine.Purge]), and the floor, from which the feed is complete,
//     rises with them: a cursor below it is refused, and a push with it applies nothing.
//
//   - G11, whole versions: a page never splits a version, and all documents of a
//     push have one. Who shows state only when HasMore is false sees every atomic
//     push whole.
//
//   - G12, provable: a page that ends at the head and leaves nothing out has the
//     digest of the space ([models.Digest]): the sum of a hash of each live document's
//     name and version. It is kept in the space's row by every push, so it costs
//     a subtraction and an addition for each document. [Engine.Verify] proves that and
//     everything else that the rows of a space say of each other.
//
// # A push
//
// [Engine.Push] checks what can be checked without looking at any document: the
// cursor's form, names, bases, and that each document is I-JSON and within its
// limits (checkDocument). What is wrong with one edit becomes its result; only a
// bad or expired cursor fails the push. Then the application's rules are asked
// ([Rules] about each document put, [Validator] about all edits): what they are
// against is remembered for later, because a retry must get its first answer even if
// the rule is younger. A Validator that fails, fails the push.
//
// Then the push is queued. The committer takes what is queued, of all spaces that no
// other group holds, and hands Store.Commit a [Group]: the list of what it must see,
// and a function. Commit locks the rows of the spaces and reads the documents named and
// the clients' receipts. The function (group.decide) works through the pushes of
// each space in the order they came, and through the edits of each in order
// (push.decide), each on what the ones before left:
//
//  1. An edit with a receipt is a retry and gets its first answer. Any other that
//     the rules are against is rejected.
//  2. Its base is found: a version it names, or the outcome of an own edit. If
//     that edit was merged or forced, its client hasn't seen the document it
//     made, so the base of that edit stays the base.
//  3. The table of states (check) compares the base with what is stored. A put
//     or delete wants the same version; a patch wants that no field it names has
//     changed since, for which a document keeps a version per field.
//  4. The edit is carried out, unless the rules are against what a patch makes of
//     the document, and a receipt remembers it.
//
// If anything changed, the push takes the next version, max(head + 1, clock), for
// all its documents. An atomic push of which an edit failed is undone before
// anything is written. Commit writes, commits and releases the locks, and only
// then does the tail hear of it, is a poke published and are the clients answered.
// Once taken, a push is carried through even if its client goes.
//
// A group shares the cost of a transaction and nothing else: each push has its
// version, its results and its fate. What the database refuses is tried again push
// by push, so that only the one to blame fails. A space that somebody else has
// locked leaves the group, and is waited for by a goroutine and a connection of its
// own; until then what comes for that space queues behind it. No push waits for a
// time: where nothing is under way it is committed at once, and the longer a commit
// takes, the more pushes share the next one. A second group begins beside the first
// one when there is enough for it.
//
// The function may run twice, because a Store may try again; so it changes
// nothing but its own results. All it does happens while the space is locked, so
// it takes time in proportion to the texts it reads and no more, whatever they
// hold.
//
// # The inbox
//
// What is no client inserts rows into a table, in SQL transactions of its own. An
// engine that runs has them carried out: it reads the first rows of each space and
// pushes them as the client "inbox". Which of them are still there is found out under
// the space's lock, and what carries a row out also deletes it, or moves it to the
// rejected ones. So each takes effect once, without receipts, on however many nodes
// this is done, and in the order of the rows' numbers. Those follow the order of
// commits only for writers that lock the same row of something before they write.
//
// # A pull
//
// [Engine.Pull] opens the cursor, which is all the state there is, and asks
// Store.Changes for the documents above its position, oldest version first. There
// is no log: the feed is the documents, ordered by their versions, each once, as
// it is now. Rows and head come from one snapshot of the database.
//
// The space's row then tells whether the cursor is still good: not ahead of the
// head, not of a lost history, not below the floor. Between two pages a client holds
// documents that are newer than its position, so the cursor also carries the
// newest head a page was read at, and that one is compared with the history.
//
// A pull without a cursor is a snapshot: the feed from the start without the
// tombstones that were there when it began, which the cursor remembers. A
// document that is deleted while its client is between two pages gets a tombstone
// above that point, and the client hears of it.
//
// # Epochs
//
// A database that was started anew, restored or replaced may have lost its newest
// commits, and nobody tells. So each lifetime of it has an identity ([Locked]), and a
// space the epoch in which it is written. The first push of a lifetime that changes a
// space enters a new epoch: the old one, the head that is there and the version that
// follows become a past epoch (decision.enterEpoch). Whether something was lost nobody
// needs to know. What was seen in a past epoch is history up to the head at its end,
// and what it may have had beyond that is lost: a cursor of it is refused, and so is a
// patch whose base lies between that head and the version that followed. For that
// versions come from the clock: those of the lost history are behind it. Where the clock
// is behind the head, and so may have been ahead, the epoch leaps (nextVersion).
//
// # Deletion
//
// A space that is deleted keeps its row ([Engine.DeleteSpace]). The deletion takes a
// version, which becomes head and floor: all cursors of before are below the floor, and
// are told that the space was deleted. Later versions are above it. So it stays when the
// name is used again. Nodes notice as they notice tombstones that were purged: the head
// has moved, and the floor is above what they hold.
//
// # The tail
//
// Of each space that somebody follows, an engine that runs keeps the newest part of
// the feed in memory, each change encoded once: the tail. Pulls that begin within it
// are answered without a query. Its invariant: it holds every document whose version
// lies above where it begins, up to its head, as it was when that was the head.
//
// An own commit is appended only if the head before it is the head of the tail; if it
// is not, the tail answers nobody until it has come so far. Everything else comes from
// the refresher. It asks for the heads of all tails four times a second, and at once
// when a poke says so, for one space or, when the broker was out of touch, for all.
// Where a head has moved it reads what lies between, with the head, in one statement.
// A head that went back or another epoch shows a lost history: the tail is forgotten.
//
// What proves that the head is the head is a query that began less than a second
// ago: the lease. Beyond it, after a stop of the process or while the database is
// away, pulls ask the database themselves. So does a pull whose client knows of a
// newer version than the tail. Others may get an answer that is a quarter of a second
// old at most while the broker works or not, or a second if the refresher is late;
// that is as if they had asked so much earlier.
//
// A pull that waits subscribes ([Engine.Watch]) before it reads, and reads once
// more when its wait is over. A lost poke costs time, never data.
//
// A stream is a loop of pulls behind a watch. Its state is its cursor: nothing is
// queued for it, a wake-up says only that it should look ([Watch.News]). What a
// change makes all streams at one cursor read is read and encoded once
// ([Watch.Pull]): a page that was read after the last wake-up has all that the
// wake-up was about, whoever read it.
//
// # Why no change is missed
//
// A client at version 7 asks for what is above 7, and never looks back. That is
// right only if no version at or below 7 can appear later. Formally: if a
// version is visible to a reader, so are all smaller versions of its space. Less
// formally: commit order is version order.
//
// It holds because a version is chosen under the lock of the space's row and the
// lock is held until commit. Of two pushes to one space the second can't choose
// its version before the first has committed or failed.
//
// Numbers from a sequence or a clock without the lock break it:
//
//	push A takes 7      push B takes 8      a client
//	writes              writes
//	                    commits
//	                                        reads above 6, gets 8, goes on from 8
//	commits
//	                                        reads above 8: A's change never comes
//
// Nothing fails, nothing is logged, the client is just wrong from then on. It is
// no rare race: with 32 writers and a client that polled every 5 ms, a sequence
// lost 2,730 of 7,696 documents. Waiting a little before reading makes it rarer
// and keeps it wrong, for a transaction can take as long as it likes. The clock
// in a version has another task: versions of a history that was lost with a
// database are not used again for other changes.
//
// The lock is per space, so that pushes to different spaces don't wait for each
// other. SQLite has one write transaction at a time, which is the same lock in
// coarser form. Whoever writes to a space by another way, say a purge or a
// deletion, must take the same lock first; an import writes while no engine runs.
package syncer
