// Package wakeup tells an address of the operator's which spaces have changed, for
// whatever is to wake clients that are not connected: mobile push, a hosted channel.
//
// A wake-up says "space S is at version V", like a poke, and carries no data. It is a
// POST that package hook signs:
//
//	{"type": "space.changed", "timestamp": "2026-11-27T12:00:00.123Z",
//	 "data": {"spaces": [{"space": "home", "version": 1795434214444013}]}}
//
// # Who sends
//
// The node that has committed a change sends it, and no other: whether a client pushed
// it there or the node carried it out of the inbox. A node has one request under way. What
// is committed meanwhile, and for a second (Options.Gather), waits and is merged: of
// each space only the newest version. What waits is bounded; what finds no room is
// counted and left out.
//
// # What is guaranteed
//
// As long as the node lives, each change is told of at least once, by itself or by a
// newer one of its space, or it becomes a dead letter. A push never waits for it and
// writes nothing for it: a row in the transaction of each push would cost every push a
// second write to make certain what the next change of the space repeats anyway. So a
// node that is killed takes along what it has not sent, which is the changes of the last
// second or so while the receiver answers.
//
// While the receiver does not answer, what waits is kept in the Ledger, at each failure
// and once a minute. The rows are the node's for a while; if it dies, another takes them
// up. A node that ends in order tries once more, and leaves the rest there as due.
//
// # When the receiver fails
//
// 2xx is success. 410 means that nobody is there any more: the node stops until it is
// started again. Everything else, also a redirect, is tried again, after pauses that
// double, with jitter, or after what Retry-After says. Each failure halves how many
// spaces go into a request, and who has failed lets others go first, so that a space
// over which the receiver stumbles ends up alone and holds up nobody. What could not be
// told for a day (Options.GiveUp) is a dead letter: it stays in the Ledger until
// somebody asks for another try, or a newer version of its space is told.
package wakeup
