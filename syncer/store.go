package syncer

import (
	"context"

	"github.com/tidemark/tidemark/models"
)

// Store keeps spaces, documents and clients. It stores and reads; it decides
// nothing. The suite in store/storetest says the same as these comments, as tests.
//
// Errors that a caller can do something about are *models.Error: CodeUnavailable
// when the database is away, busy or too slow, CodeOutcomeUnknown when the answer
// to a COMMIT was lost. Everything else is a bug.
type Store interface {
	// Commit runs one push in one write transaction: it locks the space's row,
	// reads what touch names, calls decide and writes what decide returns.
	//
	// The lock is held until commit, so versions become visible in order; pull
	// relies on it. Pushes to one space therefore run one after another, on
	// whatever node they arrive. If decide returns an error, or nothing to write,
	// nothing is written, not even the row of a new space. When Commit returns
	// nil, what was written is on disk. Commit may call decide again after it
	// rolled back, so decide must not change anything outside its own results.
	Commit(ctx context.Context, touch Touch, decide func(Locked) (Writes, error)) error

	// Changes reads one page of a space's feed, and the space's row, from one
	// snapshot of the database. A space that was never written is the zero Space.
	Changes(ctx context.Context, space string, r Range) (Run, error)

	// Heads returns the head of each space in the order of names; 0 for a space
	// never written.
	Heads(ctx context.Context, names []string) ([]models.Head, error)

	// Document returns one document, live or tombstone; nil if there is none.
	Document(ctx context.Context, space string, key Key) (*models.Document, error)

	// Setting returns the value of a setting. If there is none it is made from
	// fresh, which is not empty; of several who do so at a time, all get what the
	// first has made.
	Setting(ctx context.Context, name string, fresh []byte) ([]byte, error)

	// Ping returns nil if the database answers.
	Ping(ctx context.Context) error
}

// Key names a document within a space.
type Key struct {
	Collection string
	ID         string
}

// Touch says what a push will look at.
type Touch struct {
	Space     string
	Subject   string
	ClientID  string
	Documents []Want // no Key twice
	// Epoch is the epoch of the space if this push creates it.
	Epoch int64
}

// Want asks for a document's state.
type Want struct {
	Key
	// Base is the version at which the document's text is not needed, because
	// the client that names it as its base has that text.
	Base int64
	// Data asks for the text at any version.
	Data bool
}

// Locked is the state that a push finds, under the space's lock.
type Locked struct {
	Space models.Space
	// Now is the database's clock in microseconds of Unix time. It never orders anything.
	Now int64
	// Documents holds the documents that exist. Data is nil where it was not needed.
	Documents map[Key]*models.Document
	// Receipts is the client's ring, nil for a client not seen before.
	Receipts []byte
}

// Writes is what a push changes. The zero value writes nothing.
type Writes struct {
	Space     *models.Space     // new head, digest and live count; nil if no document changed
	Documents []models.Document // in no particular order
	Receipts  []byte            // nil: as they were
}

// Empty reports whether there is nothing to write.
func (w *Writes) Empty() bool { return w.Space == nil && w.Receipts == nil }

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

// Run is a contiguous part of a space's feed.
type Run struct {
	// Space holds head, floor and epoch, as they were when the documents were read.
	Space models.Space
	// Documents come by version, no version is split, with what models.Change shows.
	Documents []models.Document
	// Through is the version up to which the feed was read: the documents hold
	// all that changed above Range.After and up to here. The head if there is no more.
	Through int64
}
