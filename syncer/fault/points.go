// Package fault has the points of the code at which tests end the process, as a crash
// would: nothing is written, answered or closed any more.
//
// A binary that is built as usual has none of this: [Point] is empty and costs
// nothing. One that is built with -tags faults reads TIDEMARK_FAULT=NAME or NAME:N, and
// ends itself with SIGKILL when it comes to the point for the N-th time (1 unless it is
// said). tests/crash goes through all of them.
package fault

// Variable names the environment variable that arms a point.
const Variable = "TIDEMARK_FAULT"

// The points of a push, in the order in which it comes to them.
const (
	PushParsed = "push.parsed" // the edits are read and checked, nothing is queued
	PushLocked = "push.locked" // the transaction has its locks and has read
	// PushDocumentsWritten and PushClientsWritten are within the transaction of SQLite.
	// PostgreSQL gets all that is written and the COMMIT at once, so there is nothing
	// between them: it has PushFlushed instead.
	PushDocumentsWritten = "push.documents_written"
	PushClientsWritten   = "push.clients_written"
	PushBeforeCommit     = "push.before_commit" // on PostgreSQL: before anything is sent that writes
	PushFlushed          = "push.flushed"       // all is sent, the COMMIT too, and the first answer is here
	PushCommitted        = "push.committed"     // and this process knows it; nobody else does
	PushBeforePoke       = "push.before_poke"   // this node's followers know
	PushAnswered         = "push.answered"      // the answer is on its way to the client
)

// The points of each migration.
const (
	MigrationBegun     = "migration.begun"     // nothing is done yet
	MigrationApplied   = "migration.applied"   // within its transaction
	MigrationCommitted = "migration.committed" // the next one may follow
)

// The points of a purge.
const (
	PurgeFloor   = "purge.floor"   // within its transaction: the floor has risen, the tombstones are there
	PurgeDeleted = "purge.deleted" // they are not, and nothing is committed
)

// Points are all of them.
var Points = []string{
	PushParsed, PushLocked, PushDocumentsWritten, PushClientsWritten, PushBeforeCommit,
	PushFlushed, PushCommitted, PushBeforePoke, PushAnswered,
	MigrationBegun, MigrationApplied, MigrationCommitted,
	PurgeFloor, PurgeDeleted,
}
