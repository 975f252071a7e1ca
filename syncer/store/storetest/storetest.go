// Package storetest says as tests what a syncer.Store must do. Every store runs it:
//
//	func TestPostgres(t *testing.T) {
//		storetest.Run(t, storetest.Database{Open: open, SQL: pool, LocksSpaces: true})
//	}
//
// It has two halves. The contract holds a store alone to the comments of
// syncer.Store. The behavior holds an engine on the store to what openapi.yaml
// promises to clients: the table of states, receipts, cursors, snapshots.
//
// All tests work at the same time in one database, each in spaces of its own, as
// the clients of one server do.
package storetest

import (
	"database/sql"
	"testing"

	"github.com/tidemark/tidemark/syncer"
)

// Database is the database on which stores are tested. It is empty but for the schema.
type Database struct {
	// Open opens a store on the database, another one with every call, as nodes
	// do. The store ends with t. The suite holds space locks while it looks
	// around; a store that gives a lock a time must give it some seconds.
	Open func(t testing.TB) syncer.Store

	// SQL reaches the same database past all stores, for what no store does
	// (a restored backup, a lock that somebody holds). Its transactions take write locks at once
	// where the database has only one.
	SQL *sql.DB

	// LocksSpaces says that a push holds up only the pushes to its own space,
	// not those to others.
	LocksSpaces bool
}

// requirement is one thing that is demanded, named as the demand.
type requirement struct {
	name string
	test func(*testing.T, *world)
}

// Run runs the suite on db.
func Run(t *testing.T, db Database) {
	nodes := [2]syncer.Store{db.Open(t), db.Open(t)}
	groups := []struct {
		name string
		list []requirement
	}{
		{"Commit", commitRequirements},
		{"Groups", groupRequirements},
		{"Locks", lockRequirements},
		{"Inbox", inboxRequirements},
		{"Changes", changesRequirements},
		{"Reads", readRequirements},
		{"Settings", settingRequirements},
		{"Feed", feedRequirements},
		{"Text", textRequirements},
		{"States", stateRequirements},
		{"Patches", patchRequirements},
		{"Bases", baseRequirements},
		{"Results", resultRequirements},
		{"Atomic", atomicRequirements},
		{"Receipts", receiptRequirements},
		{"Versions", versionRequirements},
		{"Limits", limitRequirements},
		{"Pages", pageRequirements},
		{"Cursors", cursorRequirements},
		{"LongPoll", longPollRequirements},
		{"Nodes", nodeRequirements},
		{"Documents", documentRequirements},
		{"Digest", digestRequirements},
		{"Collect", collectRequirements},
		{"Purge", purgeRequirements},
		{"Verify", verifyRequirements},
		{"Delete", deleteRequirements},
	}
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			for _, r := range group.list {
				t.Run(r.name, func(t *testing.T) {
					t.Parallel()
					r.test(t, newWorld(db, nodes))
				})
			}
		})
	}
}
