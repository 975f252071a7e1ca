package models

import "time"

// Space is the row of a space. Whoever changes anything in a space holds a lock
// on this row until commit.
type Space struct {
	ID    string `gorm:"primaryKey"`
	Head  int64  // newest version
	Floor int64  // oldest version from which the feed is complete
	Epoch int64  // the lifetime of the database in which the space is written
	// PastEpochs lists earlier epochs as JSON: [[epoch, head at its end, first version after], …].
	PastEpochs string
	// Digest is the sum mod 2^64 of DocumentHash over live documents. SQL has no
	// unsigned integers, so the 64 bits are kept as an int64.
	Digest    int64
	LiveCount int64 // live documents
	CreatedAt int64 `gorm:"autoCreateTime:false"` // milliseconds of Unix time
	// RetentionMS is how long what was deleted is remembered, in milliseconds; 0: as
	// long as the server is set to.
	RetentionMS int64
	// DeletedThrough is the version that its newest deletion took: nothing of before is
	// left. 0: it was never deleted.
	DeletedThrough int64
}

// Retention returns how long s remembers what was deleted, on a server that is set to
// server.
func (s *Space) Retention(server time.Duration) time.Duration {
	if s.RetentionMS > 0 {
		return time.Duration(s.RetentionMS) * time.Millisecond
	}
	return server
}

// Document is the row of a document in its newest state. There is no log: the
// feed is the documents in order of their versions.
type Document struct {
	SpaceID    string `gorm:"primaryKey"`
	Collection string `gorm:"primaryKey"`
	ID         string `gorm:"primaryKey"`
	Version    int64
	Deleted    bool
	// Data is the text of the document as it was sent; nil for a tombstone.
	Data *string
	// Size is the length of Data in bytes. It lets a page be cut to size before
	// any document is read.
	Size int64
	// FieldVersions says as JSON at which version each top-level field changed. Empty:
	// all at Version, by a put.
	FieldVersions string
	ClientID      string
	EditID        string
	UpdatedBy     string
	UpdatedAt     int64 `gorm:"autoUpdateTime:false"` // milliseconds of Unix time
}

// Change returns the wire form of d.
func (d *Document) Change() *Change {
	c := &Change{
		Collection: d.Collection,
		ID:         d.ID,
		Version:    d.Version,
		Deleted:    d.Deleted,
		UpdatedAt:  d.UpdatedAt,
		UpdatedBy:  d.UpdatedBy,
		ClientID:   d.ClientID,
		EditID:     d.EditID,
	}
	if d.Data != nil {
		c.Data = []byte(*d.Data)
	}
	return c
}

// Client is the row of a replica in a space. Keyed by subject too, so that
// nobody's retries can meet another's receipts.
type Client struct {
	SpaceID  string `gorm:"primaryKey"`
	Subject  string `gorm:"primaryKey"`
	ClientID string `gorm:"primaryKey"`
	// Receipts and OlderReceipts tell of the newest MaxReceipts applied edits. The
	// newest of them are apart because every push adds to them.
	Receipts      []byte
	OlderReceipts []byte
	OlderTag      int64 // changes whenever OlderReceipts do; 0: there are none
	SeenAt        int64 // milliseconds of Unix time
}

// Setting is the row of something on which all nodes agree.
type Setting struct {
	Name  string `gorm:"primaryKey"`
	Value []byte
}

// Inbox is the row of an edit whose writer is no client but an SQL transaction. A
// node carries it out and deletes it.
type Inbox struct {
	InboxID    int64  `gorm:"primaryKey"` // orders the rows of a space
	Space      string // any text, as are Collection and ID: nobody has checked it
	Collection string
	ID         string
	Op         string
	// Data is the document or the patch; nil for a delete.
	Data *string
	// BaseVersion is the version the edit was made on; nil: force.
	BaseVersion *int64
	CreatedAt   int64 `gorm:"autoCreateTime:false"` // milliseconds of Unix time
}

// TableName says that there is one inbox.
func (Inbox) TableName() string { return "inbox" }

// InboxRejected is the row of the inbox that was rejected, and why.
type InboxRejected struct {
	InboxID     int64 `gorm:"primaryKey"`
	Space       string
	Collection  string
	ID          string
	Op          string
	Data        *string
	BaseVersion *int64
	CreatedAt   int64 `gorm:"autoCreateTime:false"`

	Code       string
	Detail     string
	Pointer    string
	RejectedAt int64 // milliseconds of Unix time
}

// TableName says that it belongs to the inbox.
func (InboxRejected) TableName() string { return "inbox_rejected" }
