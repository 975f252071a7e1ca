package syncer

import (
	"cmp"
	"fmt"

	"github.com/tidemark/tidemark/models"
)

// verdict is what the version check says of an edit.
type verdict int

const (
	changes verdict = iota
	changesNothing
	conflicts
)

// check compares what an edit was made on with what is stored: the table of
// states in openapi.yaml. names are the fields over which a patch conflicts.
func check(e *edit, on base, doc *models.Document, content content) (v verdict, names []string) {
	if !live(doc) {
		return checkAbsent(e, on, doc), nil
	}
	switch {
	case e.Op != models.OpPatch && !on.force && (on.loose || on.version != doc.Version):
		return conflicts, nil
	case e.Op != models.OpPatch:
		return changes, nil
	case !on.force && !on.loose && (on.version == 0 || on.version > doc.Version):
		return conflicts, nil
	case !on.force:
		names = content.fields.changedSince(content.before, e.patch, on.version, on.own)
	}
	switch after := content.after; {
	case len(names) > 0:
		return conflicts, names
	case len(after.changed)+len(after.removed) == 0:
		return changesNothing, nil
	}
	return changes, nil
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
		return changes
	}
	return conflicts
}

// content is what a patch needs to know of a live document.
type content struct {
	before object
	fields fieldVersions
	after  patched
}

// contentOf reads doc for a patch; it is empty for everything else.
func contentOf(doc *models.Document, e *edit) (c content, err error) {
	if e.Op != models.OpPatch || !live(doc) {
		return c, nil
	}
	if doc.Data == nil {
		return c, fmt.Errorf("patch %s/%s: its text was not read", doc.Collection, doc.ID)
	}
	if c.before, err = parseObject([]byte(*doc.Data)); err != nil {
		return c, fmt.Errorf("patch %s/%s: read its text: %w", doc.Collection, doc.ID, err)
	}
	if c.fields, err = parseFields(doc.FieldVersions); err != nil {
		return c, fmt.Errorf("patch %s/%s: %w", doc.Collection, doc.ID, err)
	}
	c.after, err = applyPatch(c.before, e.patch)
	return c, err
}

// change returns the document after an edit that passed the check, or why it
// can't be kept.
func (d *decision) change(e *edit, content content) (*models.Document, *models.EditError, error) {
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
		return after, nil, nil
	case models.OpPut:
		setText(after, e.Data, putFields(d.version))
	case models.OpPatch:
		if problem := checkDocument(content.after.text); problem != nil {
			return nil, problem, nil
		}
		setText(after, content.after.text, content.fields.patched(content.after, d.version))
	default:
		return nil, nil, fmt.Errorf("edit %s: unknown op %q", e.EditID, e.Op)
	}
	if d.written(e.key)+after.Size > models.MaxPushBytes {
		return nil, &models.EditError{Code: models.CodePushTooLarge,
			Detail: fmt.Sprintf("the documents that one push writes hold at most %d bytes; send this edit in another push", models.MaxPushBytes)}, nil
	}
	return after, nil, nil
}

// written returns the size of the documents that the push has changed, but for one.
func (d *decision) written(except Key) (size int64) {
	for key, state := range d.docs {
		if key != except && state.now != state.before {
			size += state.now.Size
		}
	}
	return size
}

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Collection, b.Collection), cmp.Compare(a.ID, b.ID))
}

func setText(doc *models.Document, text []byte, fields fieldVersions) {
	data := string(text)
	doc.Data = &data
	doc.Size = int64(len(data))
	doc.FieldVersions = fields.String()
}
