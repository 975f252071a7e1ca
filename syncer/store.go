package syncer

import (
	"context"
	"slices"
	"time"

	"github.com/tidemark/tidemark/models"
)

// Store keeps spaces, documents and clients. It stores and reads; it decides
// nothing. The suite in store/storetest says the same as these comments, as tests.
//
// Errors that a caller can do something about are *models.Error: CodeUnavailable
// when the database is away, busy or too slow, CodeOutcomeUnknown when the answer
// to a COMMIT was lost. Everything else is a bug.
type Store interface {
	// Commit carries out a group of pushes in one write transaction: it locks the
	// rows of their spaces, reads what the touches name, calls group.Decide and
	// writes what that returns.
	//
	// The locks are held until commit, so versions become visible in order; pull
	// relies on it. Pushes to one space therefore run one after another, on
	// whatever node they arrive. What Decide leaves empty is not written, not even
	// the row of a new space; with anything else that row is, if only a row of the
	// inbox was rejected. When Commit returns nil, what was written is on disk.
	// Commit may call Decide again after it rolled back.
	//
	// A *GroupError says that nothing was written because the database refused a
	// statement: one of the pushes may be to blame, and the others are worth another
	// try without it.
	Commit(ctx context.Context, group Group) error

	// Changes reads one page of a space's feed, and the space's row, from one
	// snapshot of the database. A space that was never written is the zero Space.
	Changes(ctx context.Context, space string, r Range) (Run, error)

	// Heads returns the rows of spaces in the order of names, as far as they say how
	// far a feed goes (head, floor, epochs, digest); the zero Space for one never written. It
	// fails where the database has become a standby, which may be behind.
	Heads(ctx context.Context, names []string) ([]models.Space, error)

	// Document returns one document, live or tombstone; nil if there is none.
	Document(ctx context.Context, space string, key Key) (*models.Document, error)

	// Setting returns the value of a setting. If there is none it is made from
	// fresh, which is not empty; of several who do so at a time, all get what the
	// first has made.
	Setting(ctx context.Context, name string, fresh []byte) ([]byte, error)

	// Inbox returns rows of the inbox: of some spaces, in the order of their names,
	// the first rows of each, in the order of their numbers, as many as one push may
	// hold. It locks nothing: another node may carry them out meanwhile.
	Inbox(ctx context.Context, want InboxRange) ([]models.Inbox, error)

	// RejectInbox moves those rows of the inbox that are still there to the rejected
	// ones, in a transaction of its own, and returns how many. It waits for nobody: a
	// row that somebody has locked stays.
	RejectInbox(ctx context.Context, ids []int64, problem models.EditError) (moved int, err error)

	// Now returns the time by the clock that versions are made of.
	Now(ctx context.Context) (time.Time, error)

	// Spaces returns the first n spaces whose names come after one, byte by byte.
	Spaces(ctx context.Context, after string, n int) ([]models.Space, error)

	// AnySpace returns the space that stands at a part of the way, from 0 to below 1,
	// through all spaces by name; the zero Space if there is none.
	AnySpace(ctx context.Context, way float64) (models.Space, error)

	// Rows hands on all rows of a space as they are in one snapshot of the database:
	// first the space's, then those of its documents, without their texts, then those
	// of its clients.
	Rows(ctx context.Context, space string, to RowReader) error

	// Purge forgets, in one transaction and under the space's lock, the oldest
	// tombstones that were made before a time, about limit of them and whole versions,
	// and as many clients that were not seen since. The floor rises with them, so that
	// nobody who has not seen a tombstone that is gone takes the feed for complete.
	Purge(ctx context.Context, space string, before time.Time, limit int) (Purged, error)

	// Ping returns nil if the database answers, takes writes as far as that can be told
	// without one, and has the schema.
	Ping(ctx context.Context) error
}

// Key names a document within a space.
type Key struct {
	Collection string
	ID         string
}

// Group is what one transaction carries out.
type Group struct {
	// Touches are of different spaces, sorted by their names, so that groups that
	// wait for each other's locks can't do so in a circle.
	Touches []Touch
	// Wait, for a group of one space only, makes Commit wait for a space that
	// somebody else has locked, and make one that is not there. Without it such
	// spaces are left out of the group, so that a slow one doesn't hold up the others.
	Wait bool
	// Decide gets what was found, in the order of Touches, nil for a space that was
	// left out. It may change what it gets, and nothing else.
	Decide func(found []*Locked) []Writes
}

// Touch says what the pushes of one space will look at.
type Touch struct {
	Space   string
	Clients []Client // none twice
	// Known names, by their tags, older receipts that need not be read again.
	Known     map[Client]int64
	Documents []Want // no Key twice
	// Inbox holds the numbers of the rows of the inbox that these pushes carry out.
	Inbox []int64
}

// Client names a replica within a space. Keyed by subject too, so that nobody's
// retries can meet another's receipts.
type Client struct {
	Subject string
	ID      string
}

// GroupError is the answer of a database that refused a statement of a group.
type GroupError struct{ Err error }

// Error returns what the database said.
func (e *GroupError) Error() string { return e.Err.Error() }

// Unwrap returns what the database said.
func (e *GroupError) Unwrap() error { return e.Err }

// Want asks for a document's state.
type Want struct {
	Key
	// Base is the version at which the document's text is not needed, because
	// the client that names it as its base has that text. It may be AnyVersion.
	Base int64
	// Data asks for the text at any version.
	Data bool
}

// AnyVersion is a Want's Base if the text is not needed whatever the version.
const AnyVersion = -1

// Locked is what the pushes of one space find, under the space's lock.
type Locked struct {
	Space models.Space
	// Now is the database's clock in microseconds of Unix time. It never orders anything.
	Now int64
	// Identity tells this lifetime of the database from all others: from those before
	// it was started, restored or replaced. It is the epoch of what is written now,
	// and is never 0.
	Identity int64
	// Documents holds the documents that exist. Data is nil where it was not needed.
	Documents map[Key]*models.Document
	// Receipts holds those of the clients that were seen before.
	Receipts map[Client]Receipts
	// Inbox tells which rows of the inbox are still there. No other push to the
	// space can take them away before this one has ended.
	Inbox map[int64]bool
}

// Writes is what the pushes of one space change. The zero value writes nothing.
type Writes struct {
	Space     *models.Space       // new head, digest, live count and epoch; nil if no document changed
	NewEpoch  bool                // and Space has new past epochs
	Documents []*models.Document  // no Key twice, in no particular order
	Receipts  map[Client]Receipts // of other clients they stay as they were
	// Inbox are rows of the inbox that are done with. They must be there, or nothing
	// at all is written.
	Inbox []InboxFate
	// Confirm makes Commit wait, though there may be nothing to write, as if there were:
	// what was found is told to a client as done, and who committed it may have died
	// before it was as safe as it is to be (on a standby, say).
	Confirm bool
}

// Empty reports whether there is nothing to write.
func (w *Writes) Empty() bool { return w.Space == nil && len(w.Receipts) == 0 && len(w.Inbox) == 0 }

// InboxFate takes a row out of the inbox.
type InboxFate struct {
	ID int64
	// Problem moves the row to the rejected ones; nil: it was carried out.
	Problem *models.EditError
}

// InboxRange asks for rows of the inbox.
type InboxRange struct {
	After  string   // spaces whose names come after this one, byte by byte
	Skip   []string // but none of these
	Spaces int      // at most so many
}

// RowReader gets rows one by one, which are its own.
type RowReader struct {
	Space    func(*models.Space)
	Document func(*models.Document)
	Client   func(*models.Client)
}

// Purged is what a Store has forgotten of a space.
type Purged struct {
	Tombstones, Clients int
	More                bool // there may be more to forget
	Elsewhere           bool // nothing was done, for another node is at it
}

// Range asks for a part of a space's feed.
type Range struct {
	After int64 // versions above this one
	// HideUpTo leaves out tombstones up to this version. A snapshot has no use
	// for them; Snapshot asks for all that are there when the page is read.
	HideUpTo int64
	Snapshot bool
	// Collections leaves out documents of other collections; empty: none is left out.
	Collections []string
	Limit       int // documents; at least one whole version comes nevertheless
}

// Sparse reports whether r leaves out changes.
func (r *Range) Sparse() bool { return r.Snapshot || r.HideUpTo > 0 || len(r.Collections) > 0 }

// Shows reports whether r shows c, of a feed that is read at head.
func (r *Range) Shows(c *models.Change, head int64) bool {
	hideUpTo := r.HideUpTo
	if r.Snapshot {
		hideUpTo = head
	}
	if c.Deleted && c.Version <= hideUpTo {
		return false
	}
	return len(r.Collections) == 0 || slices.Contains(r.Collections, c.Collection)
}

// Run is a contiguous part of a space's feed.
type Run struct {
	// Space holds head, floor, epoch, past epochs and digest, as they were when the documents
	// were read.
	Space models.Space
	// Changes come by version, and no version is split.
	Changes []models.Change
	// Through is the version up to which the feed was read: the changes are all
	// there were above Range.After and up to here. The head if there is no more.
	Through int64
}
