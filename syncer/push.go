package syncer

import (
	"context"
	"slices"
	"strings"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/fault"
)

// Push decides a batch of edits and returns one result per edit, in order. What
// is wrong with one edit is its result; Push fails as a whole only for a bad
// (CodeInvalidCursor) or expired (CodeCursorExpired) cursor, where what was
// acknowledged before is lost (CodeCursorExpired), where too many pushes
// wait (CodeSpaceBusy, CodeUnavailable) or this one has for too long
// (CodeUnavailable), with the error of ctx if that ends while it waits, and with the
// errors of the Validator and of Store. A push that failed applied nothing, except
// CodeOutcomeUnknown, which only a retry can resolve. req must be validated as its tags
// say.
func (e *Engine) Push(ctx context.Context, space, subject string, req *models.PushRequest) (*models.PushResponse, error) {
	p := &push{space: space, subject: subject, clientID: req.ClientID, atomic: req.Atomic, acknowledged: req.MinVersion}
	if req.Cursor != nil {
		c, err := openCursor(*req.Cursor, space, filterOf(req.Collections))
		if err != nil {
			return nil, e.metrics.refused(err)
		}
		p.cursor = &c
	}
	p.edits = make([]edit, len(req.Edits))
	for i, one := range req.Edits {
		p.edits[i] = newEdit(one)
		if req.Granted != nil && !slices.Contains(req.Granted, one.Collection) {
			p.edits[i].problem = collectionForbidden()
		}
	}
	fault.Point(fault.PushParsed)
	done, err := e.commit(ctx, p)
	if err != nil {
		return nil, err
	}
	res := &models.PushResponse{Results: done.results, Version: done.head, PollAfter: e.pollAfter(done.head)}
	if p.cursor != nil {
		// The edits are committed: whatever happens to the page, the client must
		// learn their results. Without a page it pulls as usual.
		page, _, err := e.page(ctx, space, *p.cursor, PullRequest{
			Cursor: *req.Cursor, Limit: req.Limit, Collections: req.Collections, MinVersion: done.head,
		})
		if err == nil {
			res.Page, res.PollAfter = page, page.PollAfter
		}
	}
	return res, nil
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
// CodeVersionConflict with Current, the codes of a rejected edit, and those of Push
// that have nothing to do with a cursor.
func (e *Engine) Write(ctx context.Context, space, subject string, w DocumentWrite) (doc *models.Change, created bool, err error) {
	one := models.Edit{EditID: w.EditID, Op: w.Op, Collection: w.Collection, ID: w.ID, Force: true, Data: w.Data}
	if w.EditID == "" {
		one.EditID = e.opts.NewID()
	}
	n := newEdit(one)
	n.Force, n.unnamed = false, w.EditID == ""
	n.precondition = &precondition{versions: w.IfMatch, any: w.IfMatchAny, none: w.IfNoneMatch}
	p := &push{space: space, subject: subject, clientID: w.ClientID, edits: []edit{n}}

	done, err := e.commit(ctx, p)
	if err != nil {
		return nil, false, err
	}
	switch r := done.results[0]; r.Status {
	case models.StatusApplied:
		return r.Current, w.IfNoneMatch && w.Op == models.OpPut, nil
	case models.StatusConflict:
		return nil, false, &models.Error{
			Code: models.CodeVersionConflict, Current: r.Current,
			Detail: "The document is not as the precondition wants it.",
		}
	default:
		return nil, false, refusedWrite(r.Error)
	}
}

// refusedWrite is what is wrong with an edit as an error of the request, whose body is
// the edit's data.
func refusedWrite(problem *models.EditError) *models.Error {
	e := models.Errorf(problem.Code, "%s", problem.Detail)
	places := problem.Errors
	if places == nil {
		places = []models.FieldError{{Pointer: problem.Pointer, Detail: problem.Detail}}
	}
	for _, place := range places {
		if at, inData := strings.CutPrefix(place.Pointer, "/data"); inData {
			e.Fields = append(e.Fields, models.FieldError{Pointer: at, Detail: place.Detail})
		}
	}
	return e
}
