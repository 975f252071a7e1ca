package syncer

import (
	"slices"

	"github.com/tidemark/tidemark/models"
)

// base is what an edit was made on.
type base struct {
	version int64
	// loose: the edit was made on an own edit that was merged or forced. Its
	// client has not seen the document as it was just before, so version stays
	// the base, and only fields last changed at an own version don't count.
	loose bool
	own   map[int64]bool
	// lost: version is of a history that was lost. What the client had before it may
	// not be what is stored.
	lost bool
	// force: no check is made.
	force bool
}

// base finds out what e was made on. refusal is e's result if that can't be told.
func (d *decision) base(e *edit) (on base, refusal *models.EditResult) {
	switch {
	case e.precondition != nil:
		return e.precondition.base(d.state(e.key).now)
	case e.Force:
		return base{force: true}, nil
	case e.BaseVersion != nil:
		return base{version: *e.BaseVersion}, nil
	}
	earlier, ok := d.earlier(e.BaseEditID)
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
		r := rejected(&models.EditError{
			Code: models.CodeInvalidEdit, Pointer: "/base_edit_id",
			Detail: "base_edit_id names an edit of another document",
		})
		return base{}, &r
	case !earlier.applied:
		return base{}, &models.EditResult{Status: models.StatusSkipped, BlockedBy: e.BaseEditID}
	case !earlier.receipt.loose():
		return base{version: earlier.receipt.version}, nil
	}
	return base{version: earlier.receipt.base, loose: true, own: d.ownVersions(earlier.receipt.base)}, nil
}

// earlier returns the fate of an edit of this push that came before.
func (d *decision) earlier(id string) (fate, bool) {
	if d.named == nil {
		d.named = make(map[string]int, len(d.push.edits))
	}
	for i := len(d.named); i < len(d.fates); i++ {
		d.named[d.push.edits[i].EditID] = i
	}
	i, ok := d.named[id]
	if !ok {
		return fate{}, false
	}
	return d.fates[i], true
}

// ownVersions returns the versions above base that this client made, as far as
// its receipts go. All of them, not only that of the edit named: of a chain of
// edits the first may have changed the field that the last one changes again. A
// version belongs to one push, so what it changed, its client has written.
func (d *decision) ownVersions(base int64) map[int64]bool {
	own := map[int64]bool{d.version: true}
	for record := range d.receipts.records {
		if r := readReceipt(record); r.version > base && !r.unchanged {
			own[r.version] = true
		}
	}
	return own
}

// precondition is an HTTP precondition (RFC 9110, section 13.1) on a document.
type precondition struct {
	versions []int64 // If-Match: live at one of these
	any      bool    // If-Match: *
	none     bool    // If-None-Match: *
}

// base is what an edit with a precondition that holds was made on: the version
// the client named, or nothing live. If-Match: * names none, so it is a force.
// refusal is the edit's result if the precondition doesn't hold.
func (p *precondition) base(doc *models.Document) (on base, refusal *models.EditResult) {
	var version int64
	if doc != nil {
		version = doc.Version
	}
	switch {
	case p.none && !live(doc), live(doc) && slices.Contains(p.versions, version):
		return base{version: version}, nil
	case p.any && live(doc):
		return base{force: true}, nil
	}
	r := conflict(nil)
	return base{}, &r
}
