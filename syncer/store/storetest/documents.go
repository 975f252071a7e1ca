package storetest

import (
	"errors"
	"testing"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

var documentRequirements = []requirement{
	{"a write is what its precondition allows", documentPreconditions},
	{"a write that is not allowed says what is there", documentRefused},
	{"a write that is wrong in itself says why", documentRejected},
	{"an unnamed write leaves no receipt", documentUnnamed},
	{"a named write may be sent again", documentNamed},
	{"a retry is one of the same client and content", documentNamedOtherwise},
	{"a push may be made on a named write", documentAsBase},
	{"a write is seen by who waits", documentWakes},
}

// write writes todos/t1.
func (c client) write(t testing.TB, w syncer.DocumentWrite) (*models.Change, bool, error) {
	t.Helper()
	w.Collection, w.ID, w.ClientID = "todos", "t1", c.id
	return c.engine.Write(t.Context(), c.space, c.subject, w)
}

// precondition fills in the precondition of a write.
type precondition func(*syncer.DocumentWrite)

func ifMatch(versions ...int64) precondition {
	return func(w *syncer.DocumentWrite) { w.IfMatch = append([]int64{}, versions...) }
}

func ifAny(w *syncer.DocumentWrite) { w.IfMatchAny = true }

func ifNone(w *syncer.DocumentWrite) { w.IfNoneMatch = true }

func writing(op models.Op, data string, if_ precondition, editID string) syncer.DocumentWrite {
	w := syncer.DocumentWrite{Op: op, EditID: editID}
	if op != models.OpDelete {
		w.Data = []byte(data)
	}
	if_(&w)
	return w
}

// found is what stands in todos/t1 before a write.
var found = map[string]func(testing.TB, client){
	"nothing": func(testing.TB, client) {},
	"document": func(t testing.TB, bob client) {
		bob.must(t, put("b1", "todos/t1", on(0), `{"a":1}`))
		bob.must(t, patch("b2", "todos/t1", on(1), `{"b":2}`))
	},
	"tombstone": func(t testing.TB, bob client) {
		bob.must(t, put("b1", "todos/t1", on(0), `{"a":1}`))
		bob.must(t, remove("b2", "todos/t1", on(1)))
	},
}

// newPair is alice and bob in a space of their own, with something in todos/t1.
func (w *world) newPair(t testing.TB, before string) (alice, bob client) {
	t.Helper()
	alice, bob = w.alice, w.bob
	alice.space = newSpace()
	bob.space = alice.space
	found[before](t, bob)
	return alice, bob
}

func documentPreconditions(t *testing.T, w *world) {
	const body = `{"a":9}`
	for _, tt := range []struct {
		name, before string
		op           models.Op
		if_          precondition
		// after is what the write leaves, "" for a tombstone.
		version int64
		after   string
		created bool
	}{
		{"put, nothing there", "nothing", models.OpPut, ifNone, 1, body, true},
		{"put, a tombstone there", "tombstone", models.OpPut, ifNone, 3, body, true},
		{"put at the version", "document", models.OpPut, ifMatch(2), 3, body, false},
		{"put at one of several versions", "document", models.OpPut, ifMatch(7, 2, 1), 3, body, false},
		{"put at any version", "document", models.OpPut, ifAny, 3, body, false},
		{"patch at the version", "document", models.OpPatch, ifMatch(2), 3, `{"a":9,"b":2}`, false},
		{"patch at any version", "document", models.OpPatch, ifAny, 3, `{"a":9,"b":2}`, false},
		{"delete at the version", "document", models.OpDelete, ifMatch(2), 3, "", false},
		{"delete at any version", "document", models.OpDelete, ifAny, 3, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			alice, _ := w.newPair(t, tt.before)
			want := alice.live(tt.version, "todos/t1", tt.after, "key")
			if tt.after == "" {
				want = alice.gone(tt.version, "todos/t1", "key")
			}
			got, created, err := alice.write(t, writing(tt.op, body, tt.if_, "key"))
			if err != nil || created != tt.created {
				t.Errorf("created %t, error %v", created, err)
			}
			same(t, "answer", got, want)
			same(t, "stored", alice.all(t, w.store), []models.Change{*want})
		})
	}
	t.Run("delete, nothing there and nothing wanted", func(t *testing.T) {
		t.Parallel()
		alice, _ := w.newPair(t, "nothing")
		got, _, err := alice.write(t, writing(models.OpDelete, "", ifNone, ""))
		if got != nil || err != nil {
			t.Errorf("answer %v, error %v", got, err)
		}
	})
	t.Run("patch that changes nothing", func(t *testing.T) {
		t.Parallel()
		alice, bob := w.newPair(t, "document")
		got, _, err := alice.write(t, writing(models.OpPatch, `{"a":1.0}`, ifMatch(2), ""))
		if err != nil {
			t.Error(err)
		}
		same(t, "answer", got, bob.live(2, "todos/t1", `{"a":1,"b":2}`, "b2"))
	})
}

func documentRefused(t *testing.T, w *world) {
	for _, tt := range []struct {
		name, before string
		op           models.Op
		if_          precondition
	}{
		{"put over a document", "document", models.OpPut, ifNone},
		{"put at an older version", "document", models.OpPut, ifMatch(1)},
		{"put at a newer version", "document", models.OpPut, ifMatch(3)},
		{"put at none of no versions", "document", models.OpPut, ifMatch()},
		{"put at version 0 of nothing", "nothing", models.OpPut, ifMatch(0)},
		{"put at any version of nothing", "nothing", models.OpPut, ifAny},
		{"put at the tombstone's version", "tombstone", models.OpPut, ifMatch(2)},
		{"put at any version of a tombstone", "tombstone", models.OpPut, ifAny},
		{"patch of an untouched field at an older version", "document", models.OpPatch, ifMatch(1)},
		{"patch of nothing", "nothing", models.OpPatch, ifNone},
		{"patch of a tombstone", "tombstone", models.OpPatch, ifNone},
		{"delete at an older version", "document", models.OpDelete, ifMatch(1)},
		{"delete of a tombstone", "tombstone", models.OpDelete, ifAny},
		{"delete of nothing", "nothing", models.OpDelete, ifMatch(1)},
		{"delete of what should not be", "document", models.OpDelete, ifNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			alice, bob := w.newPair(t, tt.before)
			want := map[string]*models.Change{
				"nothing":   nil,
				"document":  bob.live(2, "todos/t1", `{"a":1,"b":2}`, "b2"),
				"tombstone": bob.gone(2, "todos/t1", "b2"),
			}[tt.before]
			before := alice.all(t, w.store)
			_, _, err := alice.write(t, writing(tt.op, `{"a":9}`, tt.if_, "key"))
			var got *models.Error
			if !errors.As(err, &got) {
				t.Fatalf("error %v", err)
			}
			same(t, "error", *got, models.Error{Code: models.CodeVersionConflict, Current: want})
			same(t, "stored", alice.all(t, w.store), before)
		})
	}
}

func documentRejected(t *testing.T, w *world) {
	for name, tt := range map[string]struct {
		write   syncer.DocumentWrite
		code    models.Code
		pointer string
	}{
		"a list":            {writing(models.OpPut, `[]`, ifNone, ""), models.CodeInvalidDocument, ""},
		"a name twice":      {writing(models.OpPut, `{"a":{"b":1,"b":1}}`, ifNone, ""), models.CodeDuplicateKey, "/a/b"},
		"a number too big":  {writing(models.OpPut, `{"a":1e999}`, ifNone, ""), models.CodeInvalidDocument, "/a"},
		"a patch too large": {writing(models.OpPatch, text(models.MaxDocumentBytes+1), ifNone, ""), models.CodeDocumentTooLarge, ""},
	} {
		_, _, err := w.alice.write(t, tt.write)
		var got *models.Error
		if !errors.As(err, &got) {
			t.Fatalf("%s: error %v", name, err)
		}
		same(t, name, *got, models.Error{Code: tt.code, Fields: []models.FieldError{{Pointer: tt.pointer}}})
	}
	w.untouched(t)
}

func documentUnnamed(t *testing.T, w *world) {
	first, created, err := w.alice.write(t, writing(models.OpPut, `{}`, ifNone, ""))
	if err != nil || !created || first.EditID == "" {
		t.Fatalf("document %+v, created %t, error %v", first, created, err)
	}
	touch := w.touch()
	touch.Clients = []syncer.Client{{Subject: w.alice.subject, ID: w.alice.id}}
	if got := w.locked(t, touch).Receipts; len(got) > 0 {
		t.Errorf("receipts %v, want none", got)
	}
	_, _, err = w.alice.write(t, writing(models.OpPut, `{}`, ifNone, ""))
	fails(t, "the same again", err, models.CodeVersionConflict)
	second, _, err := w.alice.write(t, writing(models.OpPut, `{}`, ifMatch(1), ""))
	if err != nil || second.EditID == first.EditID {
		t.Errorf("two unnamed writes share the edit_id %s, error %v", second.EditID, err)
	}
}

func documentNamed(t *testing.T, w *world) {
	create := writing(models.OpPut, `{"a":1}`, ifNone, "k1")
	w.twice(t, create, true, w.alice.live(1, "todos/t1", `{"a":1}`, "k1"))
	w.twice(t, writing(models.OpPatch, `{"b":2}`, ifMatch(1), "k2"), false, w.alice.live(2, "todos/t1", `{"a":1,"b":2}`, "k2"))
	w.twice(t, writing(models.OpPatch, `{"b":2}`, ifAny, "k3"), false, w.alice.live(2, "todos/t1", `{"a":1,"b":2}`, "k2"))
	w.twice(t, writing(models.OpPut, `{}`, ifMatch(2), "k4"), false, w.alice.live(3, "todos/t1", `{}`, "k4"))
	// A retry that comes late brings what is there now; it says its own version.
	w.twice(t, create, true, w.alice.live(3, "todos/t1", `{}`, "k4"))
	w.twice(t, writing(models.OpDelete, "", ifMatch(3), "k5"), false, w.alice.gone(4, "todos/t1", "k5"))
}

// twice writes the same two times and wants the same answer.
func (w *world) twice(t testing.TB, write syncer.DocumentWrite, created bool, want *models.Change) {
	t.Helper()
	for range 2 {
		got, isNew, err := w.alice.write(t, write)
		if err != nil || isNew != created {
			t.Errorf("%s: created %t, error %v", write.EditID, isNew, err)
		}
		same(t, write.EditID, got, want)
	}
	same(t, "stored after "+write.EditID, w.alice.all(t, w.store), []models.Change{*want})
}

func documentNamedOtherwise(t *testing.T, w *world) {
	if _, _, err := w.alice.write(t, writing(models.OpPut, `{"a":1}`, ifNone, "k1")); err != nil {
		t.Fatal(err)
	}
	_, _, err := w.alice.write(t, writing(models.OpPut, `{"a":2}`, ifMatch(1), "k1"))
	fails(t, "the key of another write", err, models.CodeEditIDReused)
	_, _, err = w.bob.write(t, writing(models.OpPut, `{"a":1}`, ifNone, "k1"))
	fails(t, "the key of somebody else", err, models.CodeVersionConflict)
	// What was refused may be tried again under its name.
	_, _, err = w.alice.write(t, writing(models.OpDelete, "", ifMatch(9), "k2"))
	fails(t, "a delete at another version", err, models.CodeVersionConflict)
	if _, _, err := w.alice.write(t, writing(models.OpDelete, "", ifMatch(1), "k2")); err != nil {
		t.Errorf("the delete again: %v", err)
	}
}

func documentAsBase(t *testing.T, w *world) {
	if _, _, err := w.alice.write(t, writing(models.OpPut, `{"a":1}`, ifNone, "k1")); err != nil {
		t.Fatal(err)
	}
	same(t, "results", w.alice.push(t, patch("e2", "todos/t1", after("k1"), `{"a":2}`)), []models.EditResult{applied("e2", 2)})
	same(t, "the write as an edit", w.alice.push(t, put("k1", "todos/t1", on(0), `{"a":1}`)),
		[]models.EditResult{replayed(applied("k1", 1))})

	// If-Match: * names no version: such a write is a forced one.
	if _, _, err := w.alice.write(t, writing(models.OpPatch, `{"b":3}`, ifAny, "k3")); err != nil {
		t.Fatal(err)
	}
	third := w.alice.live(3, "todos/t1", `{"a":2,"b":3}`, "k3")
	same(t, "results", w.alice.push(t, put("x4", "todos/t1", after("k3"), `{}`), patch("e5", "todos/t1", after("k3"), `{"b":5}`)),
		[]models.EditResult{conflict("x4", third), merged("e5", w.alice.live(4, "todos/t1", `{"a":2,"b":5}`, "e5"))})
}

func documentWakes(t *testing.T, w *world) {
	wake := w.watcher(t)
	if _, _, err := w.alice.write(t, writing(models.OpPut, `{}`, ifNone, "")); err != nil {
		t.Fatal(err)
	}
	same(t, "woken", woken(wake), true)
}
