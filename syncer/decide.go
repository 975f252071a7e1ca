package syncer

import (
	"fmt"
	"slices"
	"time"

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
	past     pastEpochs // nil: not read
	docs     map[Key]*docState
	written  int64          // bytes of the documents that the edits so far changed
	fates    []fate         // of the edits so far
	named    map[string]int // where in fates, by edit_id; made when an edit names another
	// shown holds what results show of a document. They share it, because a large
	// document can be in conflict with each edit of a push.
	shown map[*models.Document]*models.Change
}

// docState is a document before the push and after the edits so far; nil is nothing.
type docState struct {
	before, now *models.Document
	// fields are the field versions of now, once something needed them. They
	// become text when all edits are decided: there can be thousands.
	fields *fieldVersions
}

func (s *docState) changed() bool { return s.now != s.before }

// written is what the document adds to the bytes that the push writes.
func (s *docState) written() int64 {
	if !s.changed() {
		return 0
	}
	return s.now.Size
}

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
	cursor                   *cursor       // of the pull in the same round trip
	acknowledged             int64         // the newest version that a push has answered to the client
	retention                time.Duration // how long past epochs are remembered
	rules                    Rules         // for what patches make of documents; nil: none
	// inbox holds, for each edit, the number of the row of the inbox that it is. It
	// is nil for the push of a client.
	inbox []int64
}

func (p *push) client() Client { return Client{p.subject, p.clientID} }

// decide returns the results of p and what to write. Error: CodeCursorExpired.
func (p *push) decide(locked Locked) ([]models.EditResult, Writes, error) {
	// A client that pushes again before it pulls would never come to know, by its cursor,
	// that what it was answered before is lost.
	if err := checkAcknowledged(locked.Space, p.acknowledged); err != nil {
		return nil, Writes{}, err
	}
	if p.cursor != nil {
		if err := p.cursor.check(locked.Space, 0); err != nil {
			return nil, Writes{}, err
		}
	}
	receipts, err := openRing(locked.Receipts[p.client()])
	if err != nil {
		return nil, Writes{}, err
	}
	d := &decision{
		push:     p,
		locked:   locked,
		version:  nextVersion(&locked),
		receipts: receipts,
		docs:     make(map[Key]*docState, len(p.edits)),
		fates:    make([]fate, 0, len(p.edits)),
	}
	results := make([]models.EditResult, len(p.edits))
	for i := range p.edits {
		e := &p.edits[i]
		result, receipt, err := d.decideEdit(e)
		if err != nil {
			return nil, Writes{}, err
		}
		result.EditID = e.EditID
		if err := d.show(e, &result); err != nil {
			return nil, Writes{}, err
		}
		results[i] = result
		d.fates = append(d.fates, fate{e.key, result.Status == models.StatusApplied, receipt})
	}
	var w Writes
	if !d.undo(results) {
		if w, err = d.writes(results); err != nil {
			return nil, Writes{}, err
		}
	}
	// A receipt can be seen as soon as it is on this server's disk. Whoever gets it for an
	// answer is told that the edit is safe, which may need more than that.
	w.Confirm = slices.ContainsFunc(results, func(r models.EditResult) bool { return r.Replayed })
	return results, w, d.showAsCommitted(results)
}

// decideEdit decides one edit; the receipt is that of an applied edit.
func (d *decision) decideEdit(e *edit) (models.EditResult, receipt, error) {
	if e.problem != nil {
		return rejected(e.problem), receipt{}, nil
	}
	if r, ok := d.receipts.find(e.receipt.edit); ok && !e.unnamed {
		return replay(e, r), r, nil
	}
	if e.against != nil {
		return rejected(e.against), receipt{}, nil
	}
	on, refusal := d.base(e)
	if refusal != nil {
		return *refusal, receipt{}, nil
	}
	state := d.state(e.key)
	doc := state.now
	content, err := state.content(e)
	if err != nil {
		return models.EditResult{}, receipt{}, err
	}
	if content.object != nil && on.version != doc.Version { // only a patch may have an older base
		if on.lost, err = d.lost(on.version); err != nil {
			return models.EditResult{}, receipt{}, err
		}
	}
	after := doc
	switch v, names := check(e, on, doc, content); v {
	case conflicts:
		return conflict(names), receipt{}, nil
	case passes:
		var problem *models.EditError
		if after, problem, err = d.change(e, state, content); err != nil || problem != nil {
			return rejected(problem), receipt{}, err
		}
	}
	r := d.receiptOf(e, on, doc, after)
	return models.EditResult{Status: models.StatusApplied, Version: r.version, Merged: r.merged}, r, nil
}

// state returns a document as the edits so far left it.
func (d *decision) state(key Key) *docState {
	state, ok := d.docs[key]
	if !ok {
		stored := d.locked.Documents[key]
		state = &docState{before: stored, now: stored}
		d.docs[key] = state
	}
	return state
}

// replay answers an edit that was applied before.
func replay(e *edit, r receipt) models.EditResult {
	if r.key != e.receipt.key || r.content != e.receipt.content {
		return rejected(&models.EditError{
			Code: models.CodeEditIDReused, Pointer: "/edit_id",
			Detail: "this edit_id was used for another edit; every edit needs its own",
		})
	}
	return models.EditResult{Status: models.StatusApplied, Version: r.version, Replayed: true, Merged: r.merged}
}

func rejected(problem *models.EditError) models.EditResult {
	return models.EditResult{Status: models.StatusRejected, Error: problem}
}

func conflict(fields []string) models.EditResult {
	return models.EditResult{Status: models.StatusConflict, ConflictingFields: fields}
}

// merged reports whether e is a patch that meets a newer document than its client knows.
func merged(e *edit, on base, before *models.Document) bool {
	return e.Op == models.OpPatch && !on.force && before.Version != on.version
}

// receiptOf is the receipt of an edit that took before to after; they are the
// same if it changed nothing.
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
	if !d.push.atomic || failed < 0 {
		return false
	}
	for _, state := range d.docs {
		state.now = state.before
	}
	for i := range results {
		if r := &results[i]; r.Status == models.StatusApplied && !r.Replayed {
			*r = models.EditResult{EditID: r.EditID, Status: models.StatusSkipped, BlockedBy: results[failed].EditID}
		}
	}
	return true
}

// showAsCommitted shows documents that this push made as it leaves them. Edits
// further on may have changed them again at the same version, or they were taken
// back. A client that has a version takes no other document of that version, so
// of two it would keep the wrong one.
func (d *decision) showAsCommitted(results []models.EditResult) error {
	for i := range results {
		r := &results[i]
		if r.Current == nil || r.Current.Version != d.version {
			continue
		}
		if err := d.show(&d.push.edits[i], r); err != nil {
			return err
		}
	}
	return nil
}

// show adds the document as it is now to a result that brings it.
func (d *decision) show(e *edit, r *models.EditResult) error {
	applied := r.Status == models.StatusApplied
	if r.Status != models.StatusConflict && !(applied && (r.Merged || e.precondition != nil)) {
		return nil
	}
	doc := d.state(e.key).now
	if doc == nil {
		r.Current = nil
		return nil
	}
	if live(doc) && doc.Data == nil {
		return fmt.Errorf("show %s/%s: its text was not read", doc.Collection, doc.ID)
	}
	if d.shown[doc] == nil {
		if d.shown == nil {
			d.shown = make(map[*models.Document]*models.Change)
		}
		d.shown[doc] = doc.Change()
	}
	r.Current = d.shown[doc]
	return nil
}

// writes returns what the push changes.
func (d *decision) writes(results []models.EditResult) (w Writes, err error) {
	space := d.locked.Space
	for _, state := range d.docs {
		if !state.changed() {
			continue
		}
		if state.fields != nil {
			state.now.FieldVersions = state.fields.textAt(state.now.Version)
		}
		account(&space, state.before, state.now)
		if w.Documents == nil {
			w.Documents = make([]*models.Document, 0, len(d.docs))
		}
		w.Documents = append(w.Documents, state.now)
	}
	if len(w.Documents) > 0 {
		if w.NewEpoch, err = d.enterEpoch(&space); err != nil {
			return Writes{}, err
		}
		space.Head = d.version
		w.Space = &space
	}
	added := make([]receipt, 0, len(results))
	for i, r := range results {
		if e := &d.push.edits[i]; r.Status == models.StatusApplied && !r.Replayed && !e.unnamed {
			added = append(added, d.fates[i].receipt)
		}
	}
	if len(added) > 0 {
		w.Receipts = map[Client]Receipts{d.push.client(): d.receipts.add(added)}
	}
	return w, nil
}
