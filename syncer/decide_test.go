package syncer

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
)

// world is a space as a Store would keep it, for deciding without a database.
type world struct {
	t     *testing.T
	now   int64 // the database's clock
	state Locked
}

func newWorld(t *testing.T) *world {
	return &world{t: t, state: Locked{Documents: make(map[Key]*models.Document)}}
}

// push decides edits and keeps what is to be written.
func (w *world) push(edits ...models.Edit) []models.EditResult {
	w.t.Helper()
	return w.decide(&push{}, edits...)
}

func (w *world) atomic(edits ...models.Edit) []models.EditResult {
	w.t.Helper()
	return w.decide(&push{atomic: true}, edits...)
}

// other pushes as another client, whose receipts are not kept.
func (w *world) other(edits ...models.Edit) []models.EditResult {
	w.t.Helper()
	mine := w.state.Receipts
	defer func() { w.state.Receipts = mine }()
	w.state.Receipts = nil
	return w.push(edits...)
}

func (w *world) decide(p *push, edits ...models.Edit) []models.EditResult {
	w.t.Helper()
	p.space, p.subject, p.clientID = "s", "alice", "c1"
	for _, e := range edits {
		p.edits = append(p.edits, newEdit(e))
	}
	return w.run(p)
}

func (w *world) run(p *push) []models.EditResult {
	w.t.Helper()
	w.state.Now = w.now
	found := w.state
	found.Documents = make(map[Key]*models.Document)
	for _, want := range wantsOf(p) {
		if stored, ok := w.state.Documents[want.Key]; ok {
			doc := *stored
			if !want.Data && doc.Version == want.Base {
				doc.Data = nil // as a Store may
			}
			found.Documents[want.Key] = &doc
		}
	}
	results, writes, err := p.decide(found)
	if err != nil {
		w.t.Fatalf("decide: %v", err)
	}
	w.keep(writes)
	return results
}

// wantsOf returns what must be read for p.
func wantsOf(p *push) []Want {
	s := spaceGroup{wanted: make(map[Key]wanted)}
	s.add(newJob(p, time.Time{}))
	return s.touch.Documents
}

// keep takes in what a push writes.
func (w *world) keep(writes Writes) {
	w.t.Helper()
	if writes.Space != nil {
		if writes.Space.Head <= w.state.Space.Head {
			w.t.Fatalf("head goes from %d to %d", w.state.Space.Head, writes.Space.Head)
		}
		w.state.Space = *writes.Space
	}
	for _, doc := range writes.Documents {
		if doc.Version != writes.Space.Head {
			w.t.Errorf("%s is written at version %d of head %d", doc.ID, doc.Version, writes.Space.Head)
		}
		w.state.Documents[Key{doc.Collection, doc.ID}] = doc
	}
	if len(writes.Receipts) > 0 {
		w.state.Receipts = writes.Receipts
	}
}

// text returns a document's text, "tombstone" or "nothing".
func (w *world) text(id string) string {
	switch doc := w.state.Documents[Key{"c", id}]; {
	case doc == nil:
		return "nothing"
	case doc.Deleted:
		return "tombstone"
	default:
		return *doc.Data
	}
}

func (w *world) version(id string) int64 { return w.state.Documents[Key{"c", id}].Version }

// on says what an edit is made on.
type on func(*models.Edit)

func version(v int64) on       { return func(e *models.Edit) { e.BaseVersion = &v } }
func after(editID string) on   { return func(e *models.Edit) { e.BaseEditID = editID } }
func forced(e *models.Edit)    { e.Force = true }
func unfounded(e *models.Edit) {}

func put(editID, id string, base on, text string) models.Edit {
	return newTestEdit(models.OpPut, editID, id, base, text)
}

func patchOf(editID, id string, base on, text string) models.Edit {
	return newTestEdit(models.OpPatch, editID, id, base, text)
}

func deletion(editID, id string, base on) models.Edit {
	return newTestEdit(models.OpDelete, editID, id, base, "")
}

func newTestEdit(op models.Op, editID, id string, base on, text string) models.Edit {
	e := models.Edit{EditID: editID, Op: op, Collection: "c", ID: id}
	if text != "" {
		e.Data = json.RawMessage(text)
	}
	base(&e)
	return e
}

// brief says a result in a few words.
func brief(r models.EditResult) string {
	words := []string{string(r.Status)}
	if r.Status == models.StatusApplied {
		words = append(words, fmt.Sprintf("at %d", r.Version))
	}
	if r.Replayed {
		words = append(words, "replayed")
	}
	if r.Merged {
		words = append(words, "merged")
	}
	if r.ConflictingFields != nil {
		words = append(words, "over "+strings.Join(r.ConflictingFields, ","))
	}
	if r.Error != nil {
		words = append(words, string(r.Error.Code))
	}
	if r.BlockedBy != "" {
		words = append(words, "by "+r.BlockedBy)
	}
	switch c := r.Current; {
	case c == nil:
	case c.Deleted:
		words = append(words, fmt.Sprintf("shows tombstone at %d", c.Version))
	default:
		words = append(words, fmt.Sprintf("shows %s at %d", c.Data, c.Version))
	}
	return strings.Join(words, " ")
}

func briefs(results []models.EditResult) []string {
	list := make([]string, len(results))
	for i, r := range results {
		list[i] = r.EditID + ": " + brief(r)
	}
	return list
}

func wantResults(t *testing.T, got []models.EditResult, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, briefs(got)); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}

// The table of states, every cell. What is stored: nothing, a document at
// version 20 whose field a changed at 10 and b at 20, or its tombstone at 20.
func TestDecide_tableOfStates(t *testing.T) {
	t.Parallel()
	const (
		nothing   = "nothing"
		live      = "live"
		tombstone = "tombstone"

		shown = ` shows {"a":1,"b":2} at 20`
		grave = " shows tombstone at 20"
	)
	for _, test := range []struct {
		stored    string
		base      int64
		put       string
		patch     string // of field b
		deletion  string
		patchOfA  string // of field a, if that differs
		afterward string // what is there after the put, if it was applied
	}{
		{stored: nothing, base: 0, put: "applied at 21", patch: "conflict", deletion: "applied at 0"},
		{stored: nothing, base: 5, put: "conflict", patch: "conflict", deletion: "applied at 0"},
		{stored: live, base: 0, put: "conflict" + shown, patch: "conflict" + shown, deletion: "conflict" + shown},
		{stored: live, base: 20, put: "applied at 21", patch: "applied at 21", deletion: "applied at 21"},
		{
			stored: live, base: 15, put: "conflict" + shown, patch: "conflict over b" + shown, deletion: "conflict" + shown,
			patchOfA: `applied at 21 merged shows {"a":9,"b":2} at 21`,
		},
		{
			stored: live, base: 5, put: "conflict" + shown, patch: "conflict over b" + shown, deletion: "conflict" + shown,
			patchOfA: "conflict over a" + shown,
		},
		{stored: live, base: 21, put: "conflict" + shown, patch: "conflict" + shown, deletion: "conflict" + shown},
		{stored: live, base: models.MaxVersion, put: "conflict" + shown, patch: "conflict" + shown, deletion: "conflict" + shown},
		{stored: tombstone, base: 0, put: "conflict" + grave, patch: "conflict" + grave, deletion: "applied at 20"},
		{stored: tombstone, base: 20, put: "applied at 21", patch: "conflict" + grave, deletion: "applied at 20"},
		{stored: tombstone, base: 15, put: "conflict" + grave, patch: "conflict" + grave, deletion: "applied at 20"},
		{stored: tombstone, base: 21, put: "conflict" + grave, patch: "conflict" + grave, deletion: "applied at 20"},
		{stored: nothing, base: -1, put: "applied at 21", patch: "conflict", deletion: "applied at 0"},
		{stored: live, base: -1, put: "applied at 21", patch: "applied at 21", deletion: "applied at 21"},
		{stored: tombstone, base: -1, put: "applied at 21", patch: "conflict" + grave, deletion: "applied at 20"},
	} {
		base, name := version(test.base), fmt.Sprintf("%s, base %d", test.stored, test.base)
		if test.base < 0 {
			base, name = forced, test.stored+", force"
		}
		if test.patchOfA == "" {
			test.patchOfA = test.patch
		}
		for what, one := range map[string]struct {
			edit models.Edit
			want string
		}{
			"put":        {put("e", "d", base, `{"x":1}`), test.put},
			"patch of b": {patchOf("e", "d", base, `{"b":9}`), test.patch},
			"patch of a": {patchOf("e", "d", base, `{"a":9}`), test.patchOfA},
			"delete":     {deletion("e", "d", base), test.deletion},
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.state.Space.Head = 20
				text := `{"a":1,"b":2}`
				doc := &models.Document{
					Collection: "c", ID: "d", Version: 20, Data: &text, Size: int64(len(text)),
					FieldVersions: `{"all":10,"absent":10,"fields":{"b":20}}`,
				}
				switch test.stored {
				case live:
					w.state.Documents[Key{"c", "d"}] = doc
				case tombstone:
					doc.Deleted, doc.Data = true, nil
					w.state.Documents[Key{"c", "d"}] = doc
				}
				before := w.text("d")
				result := w.push(one.edit)[0]
				if got := brief(result); got != one.want {
					t.Fatalf("got  %s\nwant %s", got, one.want)
				}
				// Only what was applied at a new version changed anything.
				if changed := w.state.Space.Head == 21; changed != strings.HasPrefix(one.want, "applied at 21") {
					t.Errorf("%s, but the head is %d", one.want, w.state.Space.Head)
				} else if !changed && w.text("d") != before {
					t.Errorf("%s, but %s became %s", one.want, before, w.text("d"))
				}
			})
		}
	}
}

func TestDecide_versions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.now = 1000
	wantResults(t, w.push(put("e1", "d1", version(0), `{}`), put("e2", "d2", version(0), `{}`)),
		"e1: applied at 1000", "e2: applied at 1000")
	w.now = 900 // a clock that goes back orders nothing
	wantResults(t, w.push(put("e3", "d1", version(1000), `{}`)), "e3: applied at 1001")
	w.now = 5000
	wantResults(t, w.push(deletion("e4", "d1", version(1001))), "e4: applied at 5000")
	wantResults(t, w.push(patchOf("e5", "d2", version(1000), `{}`)), "e5: applied at 1000") // no change
	if w.state.Space.Head != 5000 || w.state.Space.LiveCount != 1 {
		t.Errorf("the space is %+v, want head 5000 and one live document", w.state.Space)
	}
}

func TestDecide_bases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push(put("e0", "d", version(0), `{}`))
	two := put("e2", "d", version(1), `{}`)
	two.Force = true
	three := put("e3", "d", after("e0"), `{}`)
	three.BaseVersion = new(int64)
	wantResults(t, w.push(
		put("e1", "d", unfounded, `{}`), two, three,
		put("e4", "d", after("no name"), `{}`),
		put("e5", "d", after("e9"), `{}`),
		put("e6", "d", after("e5"), `{}`),
		put("e7", "d", after("e7"), `{}`),
		put("e8", "other", after("e0"), `{}`),
		put("e10", "other", after("e1"), `{}`),
		put("e11", "d", after("e10"), `{}`),
	),
		"e1: rejected base_required",
		"e2: rejected invalid_edit",
		"e3: rejected invalid_edit",
		"e4: rejected invalid_edit",
		"e5: skipped base_unknown",
		"e6: skipped by e5",
		"e7: skipped base_unknown",
		"e8: rejected invalid_edit",
		"e10: rejected invalid_edit",
		"e11: rejected invalid_edit",
	)
}

func TestDecide_edits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nameless, homeless := put("e1", "", version(0), `{}`), put("e2", "d", version(0), `{}`)
	homeless.Collection = "a/b"
	full := deletion("e3", "d", version(0))
	full.Data = json.RawMessage(`{}`)
	wantResults(t, w.push(nameless, homeless, full,
		put("e4", "d", version(0), ``),
		patchOf("e5", "d", version(0), `[]`),
		put("e6", "d", version(0), `{"a":1,"a":2}`),
		put("e7", "d", version(0), `{"fine":true}`),
	),
		"e1: rejected invalid_id",
		"e2: rejected invalid_collection",
		"e3: rejected invalid_edit",
		"e4: rejected invalid_document",
		"e5: rejected invalid_document",
		"e6: rejected duplicate_key",
		"e7: applied at 1", // one bad edit never blocks another
	)
}

func TestDecide_pipelineOfOneDocument(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wantResults(t, w.push(
		put("e1", "d", version(0), `{"a":1}`),
		patchOf("e2", "d", after("e1"), `{"b":2}`),
		deletion("e3", "d", after("e2")),
		put("e4", "d", after("e3"), `{"c":3}`),
	), "e1: applied at 1", "e2: applied at 1", "e3: applied at 1", "e4: applied at 1")
	// In a later push the receipts say what the edit was made on.
	wantResults(t, w.push(patchOf("e5", "d", after("e4"), `{"d":4}`)), "e5: applied at 2")
	if got, want := w.text("d"), `{"c":3,"d":4}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Who made an edit on his own merged edit has not seen what it was merged with.
func TestDecide_baseIsAMergedEdit(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) *world {
		w := newWorld(t)
		w.push(put("e1", "d", version(0), `{"a":1,"b":1,"c":1}`)) // 1
		w.other(patchOf("o1", "d", version(1), `{"b":2}`))        // 2
		wantResults(t, w.push(patchOf("e2", "d", version(1), `{"a":2}`)),
			`e2: applied at 3 merged shows {"a":2,"b":2,"c":1} at 3`)
		return w
	}
	for name, test := range map[string]struct {
		edit models.Edit
		want string
	}{
		"its own field does not count":     {patchOf("e3", "d", after("e2"), `{"a":3}`), `applied at 4 merged shows {"a":3,"b":2,"c":1} at 4`},
		"a field nobody touched":           {patchOf("e3", "d", after("e2"), `{"c":3}`), `applied at 4 merged shows {"a":2,"b":2,"c":3} at 4`},
		"the field it was merged with":     {patchOf("e3", "d", after("e2"), `{"b":3}`), `conflict over b shows {"a":2,"b":2,"c":1} at 3`},
		"a put":                            {put("e3", "d", after("e2"), `{}`), `conflict shows {"a":2,"b":2,"c":1} at 3`},
		"a delete":                         {deletion("e3", "d", after("e2")), `conflict shows {"a":2,"b":2,"c":1} at 3`},
		"who took the version in has seen": {put("e3", "d", version(3), `{}`), `applied at 4`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := brief(setup(t).push(test.edit)[0]); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// A merged patch that changed nothing has no change of its own to leave out.
func TestDecide_baseIsAMergedEditWithoutEffect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push(put("e1", "d", version(0), `{"a":1,"b":1}`)) // 1
	w.other(patchOf("o1", "d", version(1), `{"b":2}`))  // 2
	wantResults(t, w.push(patchOf("e2", "d", version(1), `{"a":1}`)),
		`e2: applied at 2 merged shows {"a":1,"b":2} at 2`)
	wantResults(t, w.push(patchOf("e3", "d", after("e2"), `{"b":3}`)),
		`e3: conflict over b shows {"a":1,"b":2} at 2`)
	wantResults(t, w.push(patchOf("e4", "d", after("e2"), `{"a":3}`)),
		`e4: applied at 3 merged shows {"a":3,"b":2} at 3`)
}

func TestDecide_baseIsAForcedEdit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.other(put("o1", "d", version(0), `{"a":1,"b":1}`)) // 1
	wantResults(t, w.push(patchOf("e1", "d", forced, `{"a":2}`)), "e1: applied at 2")
	wantResults(t, w.push(patchOf("e2", "d", after("e1"), `{"b":2}`)), `e2: conflict over b shows {"a":2,"b":1} at 2`)
	wantResults(t, w.push(patchOf("e3", "d", after("e1"), `{"a":3}`)), `e3: applied at 3 merged shows {"a":3,"b":1} at 3`)
	wantResults(t, w.push(put("e4", "d", after("e3"), `{}`)), `e4: conflict shows {"a":3,"b":1} at 3`)

	wantResults(t, w.push(put("e5", "d", forced, `{"x":1}`)), "e5: applied at 4")
	wantResults(t, w.push(patchOf("e6", "d", after("e5"), `{"y":1}`)), `e6: applied at 5 merged shows {"x":1,"y":1} at 5`)
	wantResults(t, w.push(deletion("e7", "d", after("e5"))), `e7: conflict shows {"x":1,"y":1} at 5`)
}

func TestDecide_fields(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push(put("e1", "d", version(0), `{"a":1,"b":{"x":1},"c":1}`))
	wantResults(t, w.other(patchOf("o1", "d", version(1), `{"a":2,"c":null,"n":1}`)), "o1: applied at 2")
	wantResults(t, w.push(
		patchOf("e2", "d", version(1), `{"b":{"y":2}}`),  // b is as it was
		patchOf("e3", "d", version(1), `{"a":2}`),        // even to the same value
		patchOf("e4", "d", version(1), `{"c":7,"n":7}`),  // taken away, added
		patchOf("e5", "d", version(1), `{"never":null}`), // some name was taken away since
		patchOf("e6", "d", version(1), `{"b":{"z":3}}`),  // changed by e2 of this push
		patchOf("e7", "d", after("e2"), `{"b":{"z":3}}`),
	),
		`e2: applied at 3 merged shows {"a":2,"b":{"x":1,"y":2,"z":3},"n":1} at 3`,
		`e3: conflict over a shows {"a":2,"b":{"x":1,"y":2,"z":3},"n":1} at 3`,
		`e4: conflict over c,n shows {"a":2,"b":{"x":1,"y":2,"z":3},"n":1} at 3`,
		`e5: conflict over never shows {"a":2,"b":{"x":1,"y":2,"z":3},"n":1} at 3`,
		`e6: conflict over b shows {"a":2,"b":{"x":1,"y":2,"z":3},"n":1} at 3`,
		`e7: applied at 3 merged shows {"a":2,"b":{"x":1,"y":2,"z":3},"n":1} at 3`,
	)
	wantResults(t, w.push(patchOf("e8", "d", version(3), `{}`), patchOf("e9", "d", version(2), `{"a":2}`)),
		"e8: applied at 3",
		`e9: applied at 3 merged shows {"a":2,"b":{"x":1,"y":2,"z":3},"n":1} at 3`)
	if got, want := w.state.Documents[Key{"c", "d"}].FieldVersions, `{"all":1,"absent":2,"fields":{"a":2,"b":3,"n":2}}`; got != want {
		t.Errorf("field versions %s, want %s", got, want)
	}
}

// A client never conflicts with itself, however long a chain of edits that it
// has not heard of: not only the edit just before is its own.
func TestDecide_chainOfMergedEdits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push(put("e0", "d", version(0), `{"a":1,"b":1,"c":1}`))
	w.other(patchOf("o1", "d", version(1), `{"c":2}`))       // 2
	w.push(patchOf("e1", "d", version(1), `{"a":2}`))        // 3, merged
	w.push(patchOf("e2", "d", after("e1"), `{"b":2}`))       // 4
	w.push(patchOf("e3", "d", after("e2"), `{"b":2}`))       // changes nothing
	w.other(patchOf("o2", "d", version(4), `{"b":3,"d":1}`)) // 5
	wantResults(t, w.push(
		patchOf("e4", "d", after("e3"), `{"a":3}`),
		patchOf("e5", "d", after("e4"), `{"a":4}`),
		patchOf("e6", "d", after("e2"), `{"b":4}`),
		patchOf("e7", "d", after("e5"), `{"c":4}`),
	),
		`e4: applied at 6 merged shows {"a":4,"b":3,"c":2,"d":1} at 6`,
		`e5: applied at 6 merged shows {"a":4,"b":3,"c":2,"d":1} at 6`,
		`e6: conflict over b shows {"a":4,"b":3,"c":2,"d":1} at 6`,
		`e7: conflict over c shows {"a":4,"b":3,"c":2,"d":1} at 6`,
	)
}

// A client that has a version takes no other document of that version. Two
// results of one push that showed two states of one document at one version left
// it with the first.
func TestDecide_oneVersionIsOneDocument(t *testing.T) {
	t.Parallel()
	setup := func() *world {
		w := newWorld(t)
		w.push(put("e0", "d", version(0), `{"a":1,"b":1,"c":1}`))
		w.other(patchOf("o1", "d", version(1), `{"c":2}`))
		return w
	}
	wantResults(t, setup().push(
		put("e1", "d", version(1), `{}`), // meets what was there before the push
		patchOf("e2", "d", version(1), `{"a":3}`),
		patchOf("e3", "d", after("e2"), `{"b":3}`),
		put("e4", "d", version(1), `{}`),
	),
		`e1: conflict shows {"a":1,"b":1,"c":2} at 2`,
		`e2: applied at 3 merged shows {"a":3,"b":3,"c":2} at 3`,
		`e3: applied at 3 merged shows {"a":3,"b":3,"c":2} at 3`,
		`e4: conflict shows {"a":3,"b":3,"c":2} at 3`,
	)
	wantResults(t, setup().push(
		patchOf("e1", "new", version(0), `{}`),
		put("e2", "new", version(0), `{"x":1}`),
		put("e3", "new", version(0), `{"x":2}`),
		patchOf("e4", "new", after("e2"), `{"y":1}`),
		patchOf("e5", "d", version(1), `{"a":3}`),
		deletion("e6", "d", forced),
	),
		`e1: conflict`,
		`e2: applied at 3`,
		`e3: conflict shows {"x":1,"y":1} at 3`,
		`e4: applied at 3`,
		`e5: applied at 3 merged shows tombstone at 3`,
		`e6: applied at 3`,
	)
}

func TestDecide_replays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	edits := []models.Edit{
		put("e1", "d", version(0), `{"a":1}`),
		put("e2", "d", version(0), `{"a":2}`),
		patchOf("e3", "d", after("e1"), `{"b":1}`),
		deletion("e4", "gone", version(3)),
		put("e5", "forced", forced, `{}`),
	}
	wantResults(t, w.push(edits...),
		"e1: applied at 1", `e2: conflict shows {"a":1,"b":1} at 1`, "e3: applied at 1", "e4: applied at 0", "e5: applied at 1")
	w.other(put("o1", "d", version(1), `{"z":1}`), put("o2", "gone", version(0), `{}`)) // 2
	wantResults(t, w.push(edits...),
		"e1: applied at 1 replayed", `e2: conflict shows {"z":1} at 2`, "e3: applied at 1 replayed",
		"e4: applied at 0 replayed", "e5: applied at 1 replayed")

	// The base is no part of what makes an edit the same; a missing one is wrong in itself.
	wantResults(t, w.push(put("e1", "d", version(7), `{"a":1}`)), "e1: applied at 1 replayed")
	wantResults(t, w.push(put("e1", "d", unfounded, `{"a":1}`)), "e1: rejected base_required")
	wantResults(t, w.push(put("e1", "d", version(0), `{"a":3}`)), "e1: rejected edit_id_reused")
	wantResults(t, w.push(put("e1", "d2", version(0), `{"a":1}`)), "e1: rejected edit_id_reused")
	wantResults(t, w.push(patchOf("e1", "d", version(0), `{"a":1}`)), "e1: rejected edit_id_reused")
	wantResults(t, w.push(deletion("e1", "d", version(0))), "e1: rejected edit_id_reused")

	// A replay can be a base, in the same push and later.
	wantResults(t, w.push(edits[0], patchOf("e6", "d", after("e1"), `{"a":9}`)),
		"e1: applied at 1 replayed", `e6: conflict over a shows {"z":1} at 2`)
	if got, want := w.text("d"), `{"z":1}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDecide_replayOfAMergedEdit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push(put("e1", "d", version(0), `{"a":1,"b":1}`))
	w.other(patchOf("o1", "d", version(1), `{"b":2}`))
	merged := patchOf("e2", "d", version(1), `{"a":2}`)
	wantResults(t, w.push(merged), `e2: applied at 3 merged shows {"a":2,"b":2} at 3`)
	wantResults(t, w.push(merged), `e2: applied at 3 replayed merged shows {"a":2,"b":2} at 3`)
	w.other(deletion("o2", "d", version(3)))
	wantResults(t, w.push(merged), `e2: applied at 3 replayed merged shows tombstone at 4`)
}

func TestDecide_aForgottenRetryHasNoSecondEffect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := put("first", "d", version(0), `{"n":0}`)
	w.push(first)
	for i := range models.MaxReceipts {
		e := put(fmt.Sprint("e", i), "d", version(w.version("d")), fmt.Sprintf(`{"n":%d}`, i+1))
		w.push(e)
	}
	result := w.push(first)[0]
	if result.Status != models.StatusConflict {
		t.Errorf("got %s, want a conflict", brief(result))
	}
}

func TestDecide_atomic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push(put("e0", "d", version(0), `{"a":1}`))
	before := w.state

	wantResults(t, w.atomic(
		put("e1", "new", version(0), `{}`),
		patchOf("e2", "d", version(1), `{"a":2}`),
		put("e3", "d", version(1), `{"a":3}`), // meets what e2 made
		put("e4", "new", version(5), `{}`),    // meets what e1 made
		put("e5", "x", after("e4"), `{}`),
		put("e6", "new", after("e3"), `[]`),
		deletion("e7", "nothing", version(0)),
		put("e0", "d", version(0), `{"a":1}`),
	),
		"e1: skipped by e3",
		"e2: skipped by e3",
		`e3: conflict shows {"a":1} at 1`,
		"e4: conflict",
		"e5: rejected invalid_edit",
		"e6: rejected invalid_document",
		"e7: skipped by e3",
		"e0: applied at 1 replayed",
	)
	if diff := cmp.Diff(before, w.state); diff != "" {
		t.Errorf("an atomic push that failed changed (-before +after):\n%s", diff)
	}
	wantResults(t, w.atomic(put("e1", "new", version(0), `{}`), patchOf("e2", "d", version(1), `{"a":2}`)),
		"e1: applied at 2", "e2: applied at 2")
	wantResults(t, w.atomic(put("e1", "new", version(0), `{}`), patchOf("e2", "d", version(1), `{"a":2}`)),
		"e1: applied at 2 replayed", "e2: applied at 2 replayed")
}

func TestDecide_writesNothingForNothing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		edit  models.Edit
		empty bool
	}{
		"conflict":          {patchOf("e", "d", version(0), `{}`), true},
		"rejected":          {put("e", "d", unfounded, `{}`), true},
		"skipped":           {put("e", "d", after("x"), `{}`), true},
		"nothing to delete": {deletion("e", "d", version(0)), false}, // a receipt
	} {
		p := &push{edits: []edit{newEdit(test.edit)}}
		_, writes, err := p.decide(Locked{})
		if err != nil {
			t.Fatal(err)
		}
		if writes.Empty() != test.empty || writes.Space != nil || writes.Documents != nil {
			t.Errorf("%s writes %+v", name, writes)
		}
	}
}

func TestDecide_limitsOfAPush(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	large := sized(models.MaxDocumentBytes)
	var edits []models.Edit
	for i := range 17 {
		edits = append(edits, put(fmt.Sprint("e", i), fmt.Sprint("d", i), version(0), large))
	}
	// A document that is written twice counts once; one that goes makes room.
	edits = append(edits[:16:16], put("again", "d0", after("e0"), large), edits[16],
		deletion("gone", "d1", after("e1")), put("fits", "d17", version(0), large))
	results := w.push(edits...)
	for i, r := range results {
		want := models.Code("")
		if i == 17 {
			want = models.CodePushTooLarge
		}
		if got := r.Error; (got == nil) != (want == "") || got != nil && got.Code != want {
			t.Errorf("%s: %s, want code %q", r.EditID, brief(r), want)
		}
	}
}

func TestDecide_limitsOfAPatchedDocument(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	half := strings.Repeat("x", models.MaxDocumentBytes/2)
	room := models.MaxDocumentBytes - len(`{"a":"`+half+`","b":""}`)
	w.push(
		put("e1", "bytes", version(0), `{"a":"`+half+`"}`),
		put("e2", "values", version(0), listing(models.MaxDocumentValues-1)),
		put("e3", "deep", version(0), nested(models.MaxDocumentDepth)),
	)
	wantResults(t, w.push(
		patchOf("e4", "bytes", version(1), `{"b":"`+strings.Repeat("x", room+1)+`"}`),
		patchOf("e5", "bytes", version(1), `{"b":"`+strings.Repeat("x", room)+`"}`),
		patchOf("e6", "values", version(1), `{"b":[1]}`),
		patchOf("e7", "values", version(1), `{"b":1}`),
		patchOf("e8", "deep", version(1), nested(models.MaxDocumentDepth+1)),
		patchOf("e9", "deep", version(1), `{"b":1}`),
	),
		"e4: rejected document_too_large",
		"e5: applied at 2",
		"e6: rejected document_too_large",
		"e7: applied at 2",
		"e8: rejected document_too_deep",
		"e9: applied at 2",
	)
	if got := len(w.text("bytes")); got != models.MaxDocumentBytes {
		t.Errorf("the largest document holds %d bytes, want %d", got, models.MaxDocumentBytes)
	}
}

// Many edits of one large document share what they show of it.
func TestDecide_conflictsShareTheDocument(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push(put("e0", "d", version(0), sized(models.MaxDocumentBytes)))
	var edits []models.Edit
	for i := range models.MaxEdits {
		edits = append(edits, put(fmt.Sprint("c", i), "d", version(0), `{}`))
	}
	results := w.push(edits...)
	for _, r := range results[1:] {
		if r.Current != results[0].Current {
			t.Fatal("two conflicts hold a copy each of one document")
		}
	}
}

func TestWants(t *testing.T) {
	t.Parallel()
	edits := []models.Edit{
		put("e1", "put", version(7), `{}`),
		deletion("e2", "deletion", version(8)),
		patchOf("e3", "patch", version(9), `{}`),
		put("e4", "pipelined", after("e0"), `{}`),
		put("e5", "forced", forced, `{}`),
		patchOf("e6", "forced-patch", forced, `{}`),
		put("e7", "twice", version(7), `{}`),
		put("e8", "twice", version(8), `{}`),
		put("e9", "wrong", version(7), `[]`),
		put("e10", "negative", version(-1), `{}`), // as a row of the inbox may say
	}
	checked := make([]edit, len(edits))
	for i := range edits {
		checked[i] = newEdit(edits[i])
	}
	want := []Want{
		{Key: Key{"c", "put"}, Base: 7},
		{Key: Key{"c", "deletion"}, Base: 8},
		{Key: Key{"c", "patch"}, Base: 9, Data: true},
		{Key: Key{"c", "pipelined"}, Data: true},
		{Key: Key{"c", "forced"}, Base: AnyVersion},
		{Key: Key{"c", "forced-patch"}, Base: AnyVersion, Data: true},
		{Key: Key{"c", "twice"}, Base: 7, Data: true},
		{Key: Key{"c", "negative"}},
	}
	if diff := cmp.Diff(want, wantsOf(&push{space: "s", edits: checked})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
