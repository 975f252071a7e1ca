package syncer

import (
	"cmp"
	"fmt"

	"github.com/tidemark/tidemark/models"
)

// verdict is what the version check says of an edit.
type verdict int

const (
	passes verdict = iota
	changesNothing
	conflicts
)

// check compares what an edit was made on with what is stored: the table of
// states in openapi.yaml. names are the fields over which a patch conflicts.
func check(e *edit, on base, doc *models.Document, content content) (v verdict, names []string) {
	switch {
	case !live(doc):
		return checkAbsent(e, on, doc), nil
	case on.force:
		return passes, nil
	case e.Op != models.OpPatch && !on.loose && on.version == doc.Version:
		return passes, nil
	case e.Op != models.OpPatch:
		return conflicts, nil
	case on.lost, !on.loose && (on.version == 0 || on.version > doc.Version):
		return conflicts, nil
	}
	if names = content.fields.changedSince(content.object, e.patch, on.version, on.own); len(names) > 0 {
		return conflicts, names
	}
	return passes, nil
}

// checkAbsent is check where nothing is live: nothing at all or a tombstone. A
// tombstone is a version like any other: who creates the document again names
// it, so a late duplicate can't bring the document back.
func checkAbsent(e *edit, on base, doc *models.Document) verdict {
	var version int64
	if doc != nil {
		version = doc.Version
	}
	switch {
	case e.Op == models.OpDelete:
		return changesNothing
	case e.Op == models.OpPut && (on.force || !on.loose && on.version == version):
		return passes
	}
	return conflicts
}

// content is a live document taken apart for a patch.
type content struct {
	object *object
	fields *fieldVersions
}

// content reads a document for a patch; it is empty for everything else.
func (s *docState) content(e *edit) (c content, err error) {
	doc := s.now
	if e.Op != models.OpPatch || !live(doc) {
		return c, nil
	}
	if doc.Data == nil {
		return c, fmt.Errorf("patch %s/%s: its text was not read", doc.Collection, doc.ID)
	}
	if c.object, err = parseObject([]byte(*doc.Data), e.patch); err != nil {
		return c, fmt.Errorf("patch %s/%s: read its text: %w", doc.Collection, doc.ID, err)
	}
	if s.fields == nil {
		if s.fields, err = parseFields(doc.FieldVersions, doc.Version); err != nil {
			return c, fmt.Errorf("patch %s/%s: %w", doc.Collection, doc.ID, err)
		}
	}
	c.fields = s.fields
	return c, nil
}

// change carries out an edit that passed the check. It returns the document after
// it, the same one if a patch alters nothing, or why the document can't be kept.
func (d *decision) change(e *edit, state *docState, content content) (*models.Document, *models.EditError, error) {
	doc := state.now
	after := &models.Document{
		SpaceID:    d.push.space,
		Collection: e.Collection,
		ID:         e.ID,
		Version:    d.version,
		ClientID:   d.push.clientID,
		EditID:     e.EditID,
		UpdatedBy:  d.push.subject,
		// The version comes from a clock that never goes back within a space, so
		// neither does the time; purge relies on that.
		UpdatedAt: d.version / 1000,
	}
	switch e.Op {
	case models.OpDelete:
		after.Deleted = true
		d.keep(state, after, nil)
		return after, nil, nil
	case models.OpPut:
		setText(after, e.Data)
		if d.tooLarge(state, after) {
			return nil, pushTooLarge(), nil
		}
		d.keep(state, after, putFields(d.version))
		return after, nil, nil
	case models.OpPatch:
		done := content.object.merge(e.patch)
		if done.nothing() {
			return doc, nil, nil
		}
		text := content.object.append(make([]byte, 0, len(*doc.Data)+len(e.Data)))
		if problem := checkPatched(text); problem != nil {
			return nil, problem, nil
		}
		setText(after, text)
		if d.tooLarge(state, after) {
			return nil, pushTooLarge(), nil
		}
		if d.push.rules != nil {
			if problem := d.push.rules.Check(e.Collection, text); problem != nil {
				return nil, problem, nil
			}
		}
		content.fields.note(done, d.version)
		d.keep(state, after, content.fields)
		return after, nil, nil
	}
	return nil, nil, fmt.Errorf("edit %s: unknown op %q", e.EditID, e.Op)
}

func setText(doc *models.Document, text []byte) {
	data := string(text)
	doc.Data, doc.Size = &data, int64(len(data))
}

// keep makes doc the state that later edits of the push find.
func (d *decision) keep(state *docState, doc *models.Document, fields *fieldVersions) {
	d.written -= state.written()
	state.now, state.fields = doc, fields
	d.written += state.written()
}

// tooLarge reports whether the push writes too much with after.
func (d *decision) tooLarge(state *docState, after *models.Document) bool {
	return d.written-state.written()+after.Size > models.MaxPushBytes
}

func pushTooLarge() *models.EditError {
	return &models.EditError{
		Code:   models.CodePushTooLarge,
		Detail: fmt.Sprintf("the documents that one push writes hold at most %d bytes; send this edit in another push", models.MaxPushBytes),
	}
}

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Collection, b.Collection), cmp.Compare(a.ID, b.ID))
}
