package syncer

import (
	"context"

	"github.com/tidemark/tidemark/models"
)

// Push decides a batch of edits and returns one result per edit, in order. What
// is wrong with one edit is its result; Push fails as a whole only for a bad
// (CodeInvalidCursor) or expired (CodeCursorExpired) cursor, and with the errors
// of Store. A push that failed applied nothing, except CodeOutcomeUnknown, which
// only a retry can resolve. req must be validated as its tags say.
func (e *Engine) Push(ctx context.Context, space, subject string, req *models.PushRequest) (*models.PushResponse, error) {
	panic("in work")
}

// DocumentWrite is an edit of one document with an HTTP precondition (RFC 9110,
// section 13.1) in place of a base. Exactly one of IfMatch, IfMatchAny and
// IfNoneMatch is set.
type DocumentWrite struct {
	Op         models.Op
	Collection string
	ID         string
	Data       []byte // as in models.Edit; nil for a delete

	IfMatch     []int64 // the document is live at one of these versions; empty but not nil: never true
	IfMatchAny  bool    // If-Match: * — the document is live
	IfNoneMatch bool    // If-None-Match: * — nothing is live under this name

	ClientID string
	// EditID makes the write safe to retry; empty: it gets an id but no receipt.
	EditID string
}

// Write decides one edit of a single document, by the same path as Push. It
// returns the document after the edit (a tombstone after a delete, nil if there
// was nothing to delete) and whether the edit created it. Errors:
// CodeVersionConflict with Current, the codes of a rejected edit, those of Store.
func (e *Engine) Write(ctx context.Context, space, subject string, w DocumentWrite) (doc *models.Change, created bool, err error) {
	panic("in work")
}
