package model_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/tidemark/tidemark/tests/harness"
)

// maxReceipts is how many applied edits of a client can be retried.
const maxReceipts = 256

// oracle is one space as the contract says it must be. Versions are the
// server's choice, so the oracle is told the version that a push got and holds
// it to the rules.
type oracle struct {
	head     int64
	docs     map[key]*document
	receipts map[writer][]receipt
	floor    int64 // tombstones up to here may be gone
	deleted  int64 // the version that the newest deletion of the space took
	gaps     []gap
}

// gap is versions that were given out in a history that was lost: above after and
// below before, which is 0 until there is a newer version.
type gap struct{ after, before int64 }

// lost reports whether a version is of a lost history. version is that of the push.
func (o *oracle) lost(base, version int64) bool {
	return base != version && slices.ContainsFunc(o.gaps, func(g gap) bool {
		return base > g.after && (g.before == 0 || base < g.before)
	})
}

// clone returns an oracle that goes its own way.
func (o *oracle) clone() *oracle {
	c := &oracle{head: o.head, docs: maps.Clone(o.docs), receipts: map[writer][]receipt{}, floor: o.floor, deleted: o.deleted, gaps: slices.Clone(o.gaps)}
	for by, receipts := range o.receipts {
		c.receipts[by] = slices.Clone(receipts)
	}
	return c
}

// digest is the sum of the hashes of what is live, and how much that is.
func (o *oracle) digest() (digest string, count int64) {
	var sum uint64
	for at, doc := range o.docs {
		if doc.live {
			sum += harness.DocumentHash(at.collection, at.id, doc.version)
			count++
		}
	}
	return fmt.Sprintf("%016x", sum), count
}

type key struct{ collection, id string }

// writer is whose receipts they are: two subjects never meet each other's.
type writer struct{ subject, clientID string }

// document is live or a tombstone; a document never written is nil.
type document struct {
	version int64
	live    bool
	// text is the document as it was sent, nil once it was patched: then only
	// the value is promised.
	text  []byte
	value map[string]any
	// fields says for each field when it changed last, absent the same for all
	// names that are not there.
	fields map[string]int64
	absent int64

	by     writer
	editID string
}

// receipt is what is remembered of an applied edit.
type receipt struct {
	editID  string
	key     key
	content string
	version int64
	merged  bool
	forced  bool
	base    int64 // of a merged edit
	changed bool
}

func newOracle() *oracle {
	return &oracle{docs: map[key]*document{}, receipts: map[writer][]receipt{}}
}

// fate is what becomes of one edit.
type fate struct {
	harness.Result
	key     key
	current *document // of Result.Current
	receipt receipt   // of an applied edit
	fields  bool      // ConflictingFields are promised
}

// push says what a push must be answered with, if its changes get the given
// version, and takes it in. changed reports whether that version was used.
func (o *oracle) push(by writer, push harness.Push, version int64) (fates []fate, changed bool) {
	before := o.docs
	after := maps.Clone(before)
	decided := map[string]*fate{}
	for _, edit := range push.Edits {
		f := o.decide(by, edit, after, decided, version)
		f.EditID, f.key = edit.EditID, keyOf(edit)
		fates = append(fates, f)
		decided[edit.EditID] = &f
	}
	if failed := slices.IndexFunc(fates, func(f fate) bool { return f.Status != "applied" }); push.Atomic && failed >= 0 {
		takeBack(fates, push.Edits, before, fates[failed].EditID)
		return fates, false
	}
	for i := range fates {
		// One version is one document: what the push made is shown as it leaves it.
		if f := &fates[i]; f.current != nil && f.current.version == version {
			f.current = after[keyOf(push.Edits[i])]
		}
	}
	for _, f := range fates {
		if f.Status == "applied" && !f.Replayed {
			o.remember(by, f.receipt)
		}
	}
	for at, doc := range after {
		changed = changed || doc != before[at]
	}
	if changed {
		o.docs, o.head = after, version
		for i := range o.gaps {
			if o.gaps[i].before == 0 {
				o.gaps[i].before = version
			}
		}
	}
	return fates, changed
}

func (o *oracle) remember(by writer, r receipt) {
	all := append(o.receipts[by], r)
	o.receipts[by] = all[max(0, len(all)-maxReceipts):]
}

// takeBack is what an atomic push with a failure comes to: those that failed
// say how, with the documents as they really are, the others were not done.
func takeBack(fates []fate, edits []harness.Edit, before map[key]*document, culprit string) {
	for i := range fates {
		f := &fates[i]
		if f.Status == "applied" && !f.Replayed {
			*f = fate{Result: harness.Result{EditID: f.EditID, Status: "skipped", BlockedBy: culprit}}
		}
		if f.Status == "conflict" || f.Replayed && f.Merged {
			f.current = before[keyOf(edits[i])]
		}
	}
}

// decide says what becomes of an edit that meets docs, and changes them.
func (o *oracle) decide(by writer, edit harness.Edit, docs map[key]*document, decided map[string]*fate, version int64) fate {
	if refused := wrongInItself(edit); refused != "" {
		return failure("rejected", refused)
	}
	at := keyOf(edit)
	doc := docs[at]
	if r, ok := o.receiptOf(by, edit.EditID); ok {
		if r.key != at || r.content != contentOf(edit) {
			return failure("rejected", "edit_id_reused")
		}
		f := fate{receipt: r, Result: harness.Result{Status: "applied", Version: r.version, Replayed: true, Merged: r.merged}}
		if r.merged {
			// The document of the first answer is not kept; what is there now is
			// at least as new, and says its own version.
			f.current = doc
		}
		return f
	}
	on, refusal := o.baseOf(by, edit, decided, version)
	if refusal != nil {
		return *refusal
	}
	next, verdict, names := apply(edit, on, doc, version)
	if verdict == conflicts {
		f := fate{current: doc, fields: len(names) > 0}
		f.Status, f.ConflictingFields = "conflict", names
		return f
	}
	if verdict == changes {
		next.by, next.editID = by, edit.EditID
		docs[at] = next
	}
	return applied(edit, on, doc, docs[at])
}

func applied(edit harness.Edit, on base, before, after *document) fate {
	f := fate{receipt: receipt{
		editID: edit.EditID, key: keyOf(edit), content: contentOf(edit),
		forced: edit.Force, changed: before != after,
	}}
	f.Status = "applied"
	if after != nil {
		f.Version, f.receipt.version = after.version, after.version
	}
	if edit.Op == "patch" && !edit.Force && before.version != on.version {
		f.Merged, f.current = true, after
		f.receipt.merged, f.receipt.base = true, on.version
	}
	return f
}

func failure(status, code string) fate {
	return fate{Result: harness.Result{Status: status, Error: &harness.EditError{Code: code}}}
}

func wrongInItself(edit harness.Edit) (code string) {
	bases := 0
	for _, given := range []bool{edit.BaseVersion != nil, edit.BaseEditID != "", edit.Force} {
		if given {
			bases++
		}
	}
	switch bases {
	case 0:
		return "base_required"
	case 1:
		return ""
	default:
		return "invalid_edit"
	}
}

func (o *oracle) receiptOf(by writer, editID string) (receipt, bool) {
	for _, r := range slices.Backward(o.receipts[by]) {
		if r.editID == editID {
			return r, true
		}
	}
	return receipt{}, false
}

// base is what an edit was made on.
type base struct {
	version int64
	lost    bool // the version is of a lost history
	// loose: on an own edit that was merged or forced. own are the versions of the
	// client's edits that changed something: fields last changed there do not count.
	loose bool
	own   []int64
}

func (o *oracle) baseOf(by writer, edit harness.Edit, decided map[string]*fate, version int64) (base, *fate) {
	if edit.Force {
		return base{}, nil
	}
	if edit.BaseVersion != nil {
		return base{version: *edit.BaseVersion, lost: o.lost(*edit.BaseVersion, version)}, nil
	}
	r, known := o.receiptOf(by, edit.BaseEditID)
	if earlier, here := decided[edit.BaseEditID]; here {
		if earlier.key != keyOf(edit) { // a mistake, whatever has become of the other one
			f := failure("rejected", "invalid_edit")
			return base{}, &f
		}
		if earlier.Status != "applied" {
			f := fate{Result: harness.Result{Status: "skipped", BlockedBy: edit.BaseEditID}}
			return base{}, &f
		}
		r, known = earlier.receipt, true
	}
	switch {
	case !known:
		f := failure("skipped", "base_unknown")
		return base{}, &f
	case r.key != keyOf(edit):
		f := failure("rejected", "invalid_edit")
		return base{}, &f
	case r.merged || r.forced:
		on := base{version: r.base, loose: true}
		for _, own := range o.receipts[by] {
			if own.changed {
				on.own = append(on.own, own.version)
			}
		}
		for _, own := range decided {
			if own.Status == "applied" && own.receipt.changed {
				on.own = append(on.own, own.receipt.version)
			}
		}
		return on, nil
	default:
		return base{version: r.version}, nil
	}
}

type verdict int

const (
	conflicts verdict = iota
	changes
	changesNothing
)

// apply is the table of states.
func apply(edit harness.Edit, on base, doc *document, version int64) (next *document, v verdict, names []string) {
	if doc == nil || !doc.live {
		return applyToNothing(edit, on, doc, version)
	}
	if edit.Op == "patch" {
		return applyPatch(edit, on, doc, version)
	}
	if !edit.Force && (on.loose || on.version != doc.version) {
		return nil, conflicts, nil
	}
	if edit.Op == "delete" {
		return &document{version: version}, changes, nil
	}
	return put(edit, version), changes, nil
}

// applyToNothing is the table's first and last row. A patch has nothing to
// patch there, which also force does not change.
func applyToNothing(edit harness.Edit, on base, doc *document, version int64) (*document, verdict, []string) {
	var there int64
	if doc != nil {
		there = doc.version
	}
	switch {
	case edit.Op == "delete":
		return nil, changesNothing, nil
	case edit.Op == "put" && (edit.Force || !on.loose && on.version == there):
		return put(edit, version), changes, nil
	default:
		return nil, conflicts, nil
	}
}

func put(edit harness.Edit, version int64) *document {
	doc := &document{version: version, live: true, text: edit.Data, value: parse(edit.Data), fields: map[string]int64{}, absent: version}
	for name := range doc.value {
		doc.fields[name] = version
	}
	return doc
}

func applyPatch(edit harness.Edit, on base, doc *document, version int64) (*document, verdict, []string) {
	patch := parse(edit.Data)
	if !edit.Force {
		if on.lost || !on.loose && (on.version == 0 || on.version > doc.version) {
			return nil, conflicts, nil
		}
		if names := changedSince(doc, patch, on); len(names) > 0 {
			return nil, conflicts, names
		}
	}
	next := &document{
		version: version, live: true, value: merge(doc.value, patch).(map[string]any),
		fields: maps.Clone(doc.fields), absent: doc.absent,
	}
	transcript()(line{Before: doc.value, Patch: edit.Data, After: next.value})
	v := changesNothing
	for name := range patch {
		was, had := doc.value[name]
		is, has := next.value[name]
		switch {
		case had && !has:
			delete(next.fields, name)
			next.absent = version
			v = changes
		case has && (!had || !reflect.DeepEqual(was, is)):
			next.fields[name] = version
			v = changes
		}
	}
	return next, v, nil
}

// changedSince returns the names in the patch whose field changed after the base.
func changedSince(doc *document, patch map[string]any, on base) (names []string) {
	for name := range patch {
		at, present := doc.fields[name]
		if !present {
			at = doc.absent
		}
		if at > on.version && !slices.Contains(on.own, at) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// merge is RFC 7396.
func merge(target, patch any) any {
	members, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	result := map[string]any{}
	if object, ok := target.(map[string]any); ok {
		maps.Copy(result, object)
	}
	for name, value := range members {
		if value == nil {
			delete(result, name)
		} else {
			result[name] = merge(result[name], value)
		}
	}
	return result
}

func parse(text []byte) map[string]any {
	var value map[string]any
	if err := json.Unmarshal(text, &value); err != nil {
		panic(fmt.Sprintf("the machine made a document that is none: %v", err))
	}
	return value
}

func keyOf(edit harness.Edit) key { return key{edit.Collection, edit.ID} }

func contentOf(edit harness.Edit) string { return edit.Op + " " + string(edit.Data) }

// position is what a cursor stands for.
type position struct {
	at int64 // everything up to here has been seen
	// began is where the snapshot began whose cursor it is: tombstones up to
	// there are not shown.
	began int64
}

// feed is what there is to see after p, in order of version.
func (o *oracle) feed(p position, collections []string) []key {
	var keys []key
	for at, doc := range o.docs {
		switch {
		case doc.version <= p.at:
		case !doc.live && doc.version <= p.began:
		case len(collections) > 0 && !slices.Contains(collections, at.collection):
		default:
			keys = append(keys, at)
		}
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(o.docs[a].version, o.docs[b].version), cmp.Compare(a.collection, b.collection), cmp.Compare(a.id, b.id))
	})
	return keys
}

// page holds a page against the feed and returns where its cursor stands.
func (o *oracle) page(page harness.Page, from position, collections []string, limit int) (position, error) {
	feed := o.feed(from, collections)
	if page.Version != o.head {
		return from, fmt.Errorf("page.version = %d, want the head %d", page.Version, o.head)
	}
	if len(page.Changes) > len(feed) {
		return from, fmt.Errorf("the page has %d changes, there are only %d", len(page.Changes), len(feed))
	}
	slices.SortStableFunc(feed, func(a, b key) int { return cmp.Compare(o.docs[a].version, o.docs[b].version) })
	shown := map[key]bool{}
	last := from.at
	for _, change := range page.Changes {
		at := key{change.Collection, change.ID}
		if shown[at] || !slices.Contains(feed, at) {
			return from, fmt.Errorf("%v at version %d does not belong in the page", at, change.Version)
		}
		shown[at] = true
		if err := o.docs[at].equals(at, change); err != nil {
			return from, err
		}
		if change.Version < last {
			return from, fmt.Errorf("version %d comes after %d", change.Version, last)
		}
		last = change.Version
	}
	// The page must be a whole number of versions from the front of the feed.
	var left []key
	for _, at := range feed {
		if shown[at] {
			continue
		}
		if o.docs[at].version <= last && len(page.Changes) > 0 {
			return from, fmt.Errorf("%v at version %d is missing from a page that goes to %d", at, o.docs[at].version, last)
		}
		left = append(left, at)
	}
	if len(page.Changes) > limit && page.Changes[0].Version != last {
		return from, fmt.Errorf("%d changes of more than one version, limit %d", len(page.Changes), limit)
	}
	if len(left) > 0 && !page.HasMore {
		return from, fmt.Errorf("has_more is false, but %v at version %d is left", left[0], o.docs[left[0]].version)
	}
	if err := o.fills(len(page.Changes), left, limit); err != nil {
		return from, err
	}
	if !page.HasMore {
		return position{at: o.head, began: from.began}, nil
	}
	if page.PollAfterMS != 0 {
		return from, fmt.Errorf("poll_after_ms = %d with has_more", page.PollAfterMS)
	}
	return position{at: last, began: from.began}, nil
}

// fills checks that a page leaves nothing for the next one that would have fit:
// documents here are few and small, so only the limit ends a page.
func (o *oracle) fills(shown int, left []key, limit int) error {
	if len(left) == 0 {
		return nil
	}
	next := 0
	for _, at := range left {
		if o.docs[at].version == o.docs[left[0]].version {
			next++
		}
	}
	if shown == 0 || shown+next <= limit {
		return fmt.Errorf("a page of %d changes leaves version %d of %d documents, limit %d", shown, o.docs[left[0]].version, next, limit)
	}
	return nil
}

// equals holds a change on the wire against the document.
func (d *document) equals(at key, change harness.Change) error {
	if d == nil {
		return fmt.Errorf("%v is shown at version %d, but was never written", at, change.Version)
	}
	got := harness.Change{
		Collection: change.Collection, ID: change.ID, Version: change.Version, Deleted: change.Deleted,
		UpdatedBy: change.UpdatedBy, ClientID: change.ClientID, EditID: change.EditID,
	}
	want := harness.Change{
		Collection: at.collection, ID: at.id, Version: d.version, Deleted: !d.live,
		UpdatedBy: d.by.subject, ClientID: d.by.clientID, EditID: d.editID,
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%v is shown as %+v, want %+v", at, got, want)
	}
	switch {
	case !d.live && change.Data != nil:
		return fmt.Errorf("the tombstone of %v has data", at)
	case d.live && d.text != nil && !bytes.Equal(change.Data, d.text):
		return fmt.Errorf("%v holds %s, want it byte for byte as sent: %s", at, change.Data, d.text)
	case d.live && d.text == nil && !reflect.DeepEqual(parse(change.Data), d.value):
		return fmt.Errorf("%v holds %s, want %v", at, change.Data, d.value)
	}
	return nil
}

// equals holds a result on the wire against what became of the edit.
func (f fate) equals(at key, got harness.Result) error {
	plain, want := got, f.Result
	plain.Current, plain.ConflictingFields, want.ConflictingFields = nil, nil, nil
	if got.Error != nil {
		plain.Error = &harness.EditError{Code: got.Error.Code}
	}
	if !reflect.DeepEqual(plain, want) {
		return fmt.Errorf("result %s, want %s", show(plain), show(want))
	}
	if f.fields && !slices.Equal(slices.Sorted(slices.Values(got.ConflictingFields)), f.ConflictingFields) {
		return fmt.Errorf("edit %s: conflicting_fields %q, want %q", got.EditID, got.ConflictingFields, f.ConflictingFields)
	}
	switch {
	case f.current == nil && got.Current != nil:
		return fmt.Errorf("edit %s: current is %s, want none", got.EditID, show(got.Current))
	case f.current != nil && got.Current == nil:
		return fmt.Errorf("edit %s (%s): no current, want version %d", got.EditID, got.Status, f.current.version)
	case f.current != nil:
		return f.current.equals(at, *got.Current)
	}
	return nil
}

func show(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
