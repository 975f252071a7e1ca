package syncer

import (
	"maps"
	"slices"

	"github.com/tidemark/tidemark/models"
)

// decision works through the edits of one push, in order, on the state found
// under the space's lock. It changes nothing but itself: Store.Commit may run it
// twice.
type decision struct {
	push   *push
	locked Locked
	// version is what every document changed by this push gets. The clock only
	// keeps versions of a lost history from being used again; the lock and
	// head + 1 order them.
	version  int64
	receipts ring
	docs     map[Key]docState
	fates    map[string]fate // of this push's edits so far, by edit_id
}

// docState is a document before the push and after the edits so far; nil is nothing.
type docState struct{ before, now *models.Document }

// fate is what a later edit of the same push needs to know of an edit.
type fate struct {
	key     Key
	applied bool
	receipt receipt
}

// push is a push that has been checked as far as that can be done without
// looking at any document.
type push struct {
	space, subject, clientID string
	edits                    []edit
	atomic                   bool
	cursor                   *cursor // of the pull in the same round trip
}

// decide returns the results of p and what to write. Error: CodeCursorExpired.
func (p *push) decide(locked Locked) ([]models.EditResult, Writes, error) {
	if p.cursor != nil {
		if err := p.cursor.check(locked.Space); err != nil {
			return nil, Writes{}, err
		}
	}
	receipts, err := parseRing(locked.Receipts)
	if err != nil {
		return nil, Writes{}, err
	}
	d := &decision{
		push:     p,
		locked:   locked,
		version:  max(locked.Space.Head+1, locked.Now),
		receipts: receipts,
		docs:     make(map[Key]docState),
		fates:    make(map[string]fate),
	}
	results := make([]models.EditResult, len(p.edits))
	for i := range p.edits {
		e := &p.edits[i]
		result, receipt, err := d.decideEdit(e)
		if err != nil {
			return nil, Writes{}, err
		}
		result.EditID = e.EditID
		results[i] = result
		d.fates[e.EditID] = fate{e.key, result.Status == models.StatusApplied, receipt}
	}
	if p.atomic && d.undo(results) {
		return results, Writes{}, nil
	}
	return results, d.writes(results), nil
}

// decideEdit decides one edit; the receipt is that of an applied edit.
func (d *decision) decideEdit(e *edit) (models.EditResult, receipt, error) {
	if e.problem != nil {
		return rejected(e.problem), receipt{}, nil
	}
	if r, ok := d.receipts.find(e.receipt.edit); ok && !e.unnamed {
		return d.replay(e, r), r, nil
	}
	on, refusal := d.base(e)
	if refusal != nil {
		return *refusal, receipt{}, nil
	}
	doc := d.doc(e.key)
	content, err := contentOf(doc, e)
	if err != nil {
		return models.EditResult{}, receipt{}, err
	}
	switch v, names := check(e, on, doc, content); v {
	case conflicts:
		return conflict(doc, names), receipt{}, nil
	case changesNothing:
		return d.applied(e, on, doc, doc), d.receiptOf(e, on, doc, doc), nil
	}
	after, problem, err := d.change(e, content)
	if err != nil {
		return models.EditResult{}, receipt{}, err
	}
	if problem != nil {
		return rejected(problem), receipt{}, nil
	}
	d.docs[e.key] = docState{d.docs[e.key].before, after}
	return d.applied(e, on, doc, after), d.receiptOf(e, on, doc, after), nil
}

// doc returns a document as the edits so far left it.
func (d *decision) doc(key Key) *models.Document {
	state, ok := d.docs[key]
	if !ok {
		stored := d.locked.Documents[key]
		state = docState{stored, stored}
		d.docs[key] = state
	}
	return state.now
}

// replay answers an edit that was applied before.
func (d *decision) replay(e *edit, r receipt) models.EditResult {
	if r.key != e.receipt.key || r.content != e.receipt.content {
		return rejected(&models.EditError{Code: models.CodeEditIDReused, Pointer: "/edit_id",
			Detail: "this edit_id was used for another edit; every edit needs its own"})
	}
	result := models.EditResult{Status: models.StatusApplied, Version: r.version, Replayed: true, Merged: r.merged}
	if doc := d.doc(e.key); doc != nil && (r.merged || e.precondition != nil) {
		// What the edit gave may have changed again since. What is there now
		// serves the same purpose: it carries its own version.
		result.Current = doc.Change()
	}
	return result
}

// base is what an edit was made on.
type base struct {
	version int64
	// loose: the edit was made on an own edit that was merged or forced, at
	// version own. Its client has not seen the document as it was just before,
	// so version stays the base, and only fields last changed at own don't count.
	loose bool
	own   int64
	// force: no check is made.
	force bool
}

// base finds out what e was made on. refusal is e's result if that can't be told.
func (d *decision) base(e *edit) (on base, refusal *models.EditResult) {
	switch {
	case e.precondition != nil && e.precondition.holds(d.doc(e.key)), e.Force:
		return base{force: true}, nil
	case e.precondition != nil:
		r := conflict(d.doc(e.key), nil)
		return base{}, &r
	case e.BaseVersion != nil:
		return base{version: *e.BaseVersion}, nil
	}
	earlier, ok := d.fates[e.BaseEditID]
	if !ok {
		earlier.receipt, earlier.applied = d.receipts.find(hashEditID(e.BaseEditID))
		if !earlier.applied {
			return base{}, &models.EditResult{Status: models.StatusSkipped, Error: &models.EditError{
				Code: models.CodeBaseUnknown, Pointer: "/base_edit_id",
				Detail: "no such edit in this push or among the newest applied edits of this client; pull and rebase",
			}}
		}
	}
	sameDocument := earlier.receipt.key == e.receipt.key
	if ok {
		sameDocument = earlier.key == e.key
	}
	switch {
	case !sameDocument:
		r := rejected(&models.EditError{Code: models.CodeInvalidEdit, Pointer: "/base_edit_id",
			Detail: "base_edit_id names an edit of another document"})
		return base{}, &r
	case !earlier.applied:
		return base{}, &models.EditResult{Status: models.StatusSkipped, BlockedBy: e.BaseEditID}
	case !earlier.receipt.loose():
		return base{version: earlier.receipt.version}, nil
	}
	on = base{version: earlier.receipt.base, loose: true}
	if !earlier.receipt.unchanged {
		on.own = earlier.receipt.version
	}
	return on, nil
}

func rejected(problem *models.EditError) models.EditResult {
	return models.EditResult{Status: models.StatusRejected, Error: problem}
}

func conflict(doc *models.Document, fields []string) models.EditResult {
	r := models.EditResult{Status: models.StatusConflict, ConflictingFields: fields}
	if doc != nil {
		r.Current = doc.Change()
	}
	return r
}

// merged reports whether e is a patch that meets a newer document than its client knows.
func merged(e *edit, on base, before *models.Document) bool {
	return e.Op == models.OpPatch && !on.force && before.Version != on.version
}

// applied is the result of an edit that took before to after; they are the same
// if it changed nothing.
func (d *decision) applied(e *edit, on base, before, after *models.Document) models.EditResult {
	r := models.EditResult{Status: models.StatusApplied}
	if after != nil {
		r.Version = after.Version
	}
	r.Merged = merged(e, on, before)
	if after != nil && (r.Merged || e.precondition != nil) {
		r.Current = after.Change()
	}
	return r
}

func (d *decision) receiptOf(e *edit, on base, before, after *models.Document) receipt {
	r := e.receipt
	r.unchanged = before == after
	if after != nil {
		r.version = after.Version
	}
	if r.forced = on.force; !r.forced && merged(e, on, before) {
		r.merged, r.base = true, on.version
	}
	return r
}

// undo takes an atomic push back if any edit failed, and says so in the results.
func (d *decision) undo(results []models.EditResult) bool {
	failed := slices.IndexFunc(results, func(r models.EditResult) bool { return r.Status != models.StatusApplied })
	if failed < 0 {
		return false
	}
	for i := range results {
		r := &results[i]
		if r.Status == models.StatusApplied && !r.Replayed {
			*r = models.EditResult{EditID: r.EditID, Status: models.StatusSkipped, BlockedBy: results[failed].EditID}
		}
		if r.Status == models.StatusConflict || r.Current != nil {
			// It may have met what an edit of this push had made, which is not there.
			r.Current = nil
			if before := d.docs[d.push.edits[i].key].before; before != nil {
				r.Current = before.Change()
			}
		}
	}
	return true
}

// writes returns what the push changes.
func (d *decision) writes(results []models.EditResult) Writes {
	var w Writes
	space := d.locked.Space
	for _, key := range slices.SortedFunc(maps.Keys(d.docs), compareKeys) {
		state := d.docs[key]
		if state.now == state.before {
			continue
		}
		account(&space, state.before, state.now)
		w.Documents = append(w.Documents, *state.now)
	}
	if len(w.Documents) > 0 {
		space.Head = d.version
		w.Space = &space
	}
	receipts := d.receipts
	for i, r := range results {
		if e := &d.push.edits[i]; r.Status == models.StatusApplied && !r.Replayed && !e.unnamed {
			receipts = append(receipts, d.fates[e.EditID].receipt)
		}
	}
	if len(receipts) > len(d.receipts) {
		w.Receipts = receipts.encode()
	}
	return w
}
