package models

import (
	"encoding/json"
	"time"
)

// Op says what an edit does to its document.
type Op string

// The ops of an edit.
const (
	OpPut    Op = "put"    // replace the document
	OpPatch  Op = "patch"  // JSON Merge Patch (RFC 7396), checked by top-level field
	OpDelete Op = "delete" // leave a tombstone
)

// Edit is one wish of a client about one document. Exactly one of BaseVersion,
// BaseEditID and Force says what the edit was made on.
type Edit struct {
	EditID     string `json:"edit_id" validate:"name"`
	Op         Op     `json:"op" validate:"oneof=put patch delete"`
	Collection string `json:"collection"`
	ID         string `json:"id"`

	// BaseVersion is the version the edit was made on; 0 means "does not exist
	// for me", nil that the edit names no version.
	BaseVersion *int64 `json:"base_version" validate:"omitempty,min=0,max=9007199254740991"`
	// BaseEditID names the client's own earlier edit of the same document.
	BaseEditID string `json:"base_edit_id"`
	// Force skips the version check: the last write wins.
	Force bool `json:"force"`

	// Data is the document of a put or the merge patch of a patch, as sent.
	Data json.RawMessage `json:"data"`
}

// PushRequest is the body of a push.
type PushRequest struct {
	ClientID string `json:"client_id" validate:"name"`
	Edits    []Edit `json:"edits" validate:"min=1,unique=EditID,dive"`
	// Atomic makes the push all or nothing.
	Atomic bool `json:"atomic"`

	// Cursor asks for a pull in the same round trip. Nil: none; "": a snapshot.
	Cursor      *string  `json:"cursor"`
	Collections []string `json:"collections" validate:"dive,name"`
	// Limit counts documents; 0 means DefaultPageChanges.
	Limit int `json:"limit" validate:"min=0,max=1000"`

	// MinVersion is the newest version a push answered to this client; 0: none did. If
	// the space has lost it, nothing is applied.
	MinVersion int64 `json:"min_version" validate:"min=0,max=9007199254740991"`

	// Granted are the collections that the sender's token is narrowed to, nil if it is
	// not. It is not a part of the body.
	Granted []string `json:"-"`
}

// Status is the fate of one edit.
type Status string

// The statuses of a result.
const (
	StatusApplied  Status = "applied"  // done; Version says at which version the document is
	StatusConflict Status = "conflict" // the document changed since the base; Current shows it
	StatusRejected Status = "rejected" // wrong in itself; sending it again won't help
	StatusSkipped  Status = "skipped"  // not tried, because of another edit or an unknown base
)

// EditError says why an edit was rejected or skipped.
type EditError struct {
	Code   Code   `json:"code"`
	Detail string `json:"detail"`
	// Pointer is a JSON Pointer (RFC 6901) into the edit, "" for the edit as a whole.
	Pointer string `json:"pointer,omitempty"`
	// Errors are the violations of CodeSchemaViolation, of which Detail and Pointer
	// tell the first.
	Errors []FieldError `json:"errors,omitempty"`
}

// EditResult is the fate of one edit, at the same place in the answer as the
// edit had in the push.
type EditResult struct {
	EditID string
	Status Status
	// Version is set for StatusApplied: the document's version after the edit,
	// 0 if it changed nothing and there is no document.
	Version int64
	// Replayed marks the stored first answer to a retry.
	Replayed bool
	// Merged marks a patch that was applied to a newer version than its base;
	// Current then holds the resulting document.
	Merged            bool
	Current           *Change
	ConflictingFields []string
	Error             *EditError
	// BlockedBy is the edit_id of the edit because of which this one was skipped.
	BlockedBy string
}

// PushResponse answers a push: one result per edit, in order.
type PushResponse struct {
	Results []EditResult
	// Version is the head of the space after this push.
	Version int64
	// Page is the pull in the same round trip, nil if none was asked for.
	Page *Page
	// PollAfter is how long the client should wait before its next pull.
	PollAfter time.Duration
}

// Change is a document as it is after a version: live, or a tombstone.
type Change struct {
	Collection string
	ID         string
	Version    int64
	Deleted    bool
	// Data is the document byte for byte as it was sent; nil for a tombstone.
	Data json.RawMessage
	// UpdatedAt is the server's time of Version, in milliseconds of Unix time.
	UpdatedAt int64
	// UpdatedBy is the subject that made the change.
	UpdatedBy string
	ClientID  string
	EditID    string

	wire []byte // see Encode
}

// Page is one answer of pull: changes in order of version, each document at
// most once, no version split.
type Page struct {
	Changes []Change
	Cursor  string
	// Version is the head at which the page was read.
	Version int64
	HasMore bool
	// Digest tells what a client holds that has taken in the page, nil where that can't
	// be said: there is more, or collections were left out.
	Digest *Digest
	// PollAfter is how long the client should wait before its next pull, 0 if
	// there is more to fetch at once.
	PollAfter time.Duration
}

// Digest tells the live documents of a space from all others, so that a client can
// prove that it holds them.
type Digest struct {
	Sum   uint64 // of their hashes, see openapi.yaml; on the wire 16 hexadecimal digits
	Count int64
}

// Head is a space and its newest version.
type Head struct {
	Space   string `json:"space"`
	Version int64  `json:"version"`
}
