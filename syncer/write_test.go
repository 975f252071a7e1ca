package syncer

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
)

// engine returns an engine that works on w.
func (w *world) engine() *Engine {
	return New(&scriptedStore{commit: func(decide func(Locked) Writes) error {
		w.state.Now = w.now
		w.keep(decide(w.state))
		return nil
	}}, &deaf{}, Options{NewID: func() string { return "made-by-the-server" }})
}

func TestWrite(t *testing.T) {
	t.Parallel()
	const conflict, invalid = models.CodeVersionConflict, models.CodeInvalidDocument
	match := func(versions ...int64) DocumentWrite { return DocumentWrite{IfMatch: versions} }
	live, nothing := DocumentWrite{IfMatchAny: true}, DocumentWrite{IfNoneMatch: true}
	for _, test := range []struct {
		name    string
		id      string // d is live at 1, gone a tombstone at 2
		on      DocumentWrite
		op      models.Op
		text    string
		code    models.Code
		current string // shown by the result or the conflict
		created bool
	}{
		{name: "put on its version", id: "d", on: match(1), op: models.OpPut, text: `{"x":1}`, current: `{"x":1}`},
		{name: "put on one of several", id: "d", on: match(9, 1), op: models.OpPut, text: `{"x":1}`, current: `{"x":1}`},
		{name: "put on another version", id: "d", on: match(9), op: models.OpPut, text: `{"x":1}`, code: conflict, current: `{"a":1}`},
		{name: "put on no version", id: "d", on: match([]int64{}...), op: models.OpPut, text: `{"x":1}`, code: conflict, current: `{"a":1}`},
		{name: "put on any", id: "d", on: live, op: models.OpPut, text: `{"x":1}`, current: `{"x":1}`},
		{name: "put on nothing, where something is", id: "d", on: nothing, op: models.OpPut, text: `{"x":1}`, code: conflict, current: `{"a":1}`},
		{name: "patch on its version", id: "d", on: match(1), op: models.OpPatch, text: `{"x":1}`, current: `{"a":1,"x":1}`},
		{name: "patch without effect", id: "d", on: match(1), op: models.OpPatch, text: `{"a":1}`, current: `{"a":1}`},
		{name: "patch on another version", id: "d", on: match(9), op: models.OpPatch, text: `{"x":1}`, code: conflict, current: `{"a":1}`},
		{name: "patch on any", id: "d", on: live, op: models.OpPatch, text: `{"x":1}`, current: `{"a":1,"x":1}`},
		{name: "delete on its version", id: "d", on: match(1), op: models.OpDelete, current: "tombstone"},
		{name: "delete on another version", id: "d", on: match(9), op: models.OpDelete, code: conflict, current: `{"a":1}`},

		{name: "put where nothing was", id: "new", on: nothing, op: models.OpPut, text: `{"x":1}`, current: `{"x":1}`, created: true},
		{name: "put on any, where nothing was", id: "new", on: live, op: models.OpPut, text: `{"x":1}`, code: conflict},
		{name: "patch where nothing was", id: "new", on: nothing, op: models.OpPatch, text: `{"x":1}`, code: conflict},
		{name: "delete where nothing was", id: "new", on: nothing, op: models.OpDelete},

		{name: "put on a tombstone's version", id: "gone", on: match(2), op: models.OpPut, text: `{"x":1}`, code: conflict, current: "tombstone"},
		{name: "put where a tombstone is", id: "gone", on: nothing, op: models.OpPut, text: `{"x":1}`, current: `{"x":1}`, created: true},
		{name: "patch where a tombstone is", id: "gone", on: nothing, op: models.OpPatch, text: `{"x":1}`, code: conflict, current: "tombstone"},
		{name: "delete of a tombstone", id: "gone", on: nothing, op: models.OpDelete, current: "tombstone"},

		{name: "no document", id: "d", on: match(1), op: models.OpPut, text: `[]`, code: invalid},
		{name: "no id", id: "a/b", on: match(1), op: models.OpPut, text: `{}`, code: models.CodeInvalidID},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.push(put("e1", "d", version(0), `{"a":1}`))
			w.now = 2
			w.push(put("e2", "gone", version(0), `{}`), deletion("e3", "gone", after("e2")))

			write := test.on
			write.Op, write.Collection, write.ID, write.ClientID = test.op, "c", test.id, "rest"
			if test.text != "" {
				write.Data = []byte(test.text)
			}
			doc, created, err := w.engine().Write(t.Context(), "s", "alice", write)
			if failure, ok := errors.AsType[*models.Error](err); ok {
				doc = failure.Current
			}
			if (err == nil) != (test.code == "") || err != nil && models.CodeOf(err) != test.code {
				t.Fatalf("got %v, want code %q", err, test.code)
			}
			shown := ""
			switch {
			case doc != nil && doc.Deleted:
				shown = "tombstone"
			case doc != nil:
				shown = string(doc.Data)
			}
			if shown != test.current || created != test.created {
				t.Errorf("shows %q, created %t, want %q, %t", shown, created, test.current, test.created)
			}
		})
	}
}

func TestWrite_retry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.engine()
	write := DocumentWrite{Op: models.OpPut, Collection: "c", ID: "d", Data: []byte(`{"a":1}`), IfNoneMatch: true, ClientID: "c1", EditID: "key"}
	for range 2 {
		doc, created, err := e.Write(t.Context(), "s", "alice", write)
		if err != nil || !created || doc.Version != 1 {
			t.Fatalf("got %+v, %t, %v, want it created at 1", doc, created, err)
		}
	}
	write.Data = []byte(`{"a":2}`)
	_, _, err := e.Write(t.Context(), "s", "alice", write)
	want := &models.Error{Code: models.CodeEditIDReused}
	var got *models.Error
	if !errors.As(err, &got) {
		t.Fatalf("got %v, want %s", err, want.Code)
	}
	want.Detail = got.Detail // edit_id is nothing in the body, so nothing is pointed at
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// Made on a version that the client named, it is no forced edit: what the
	// same client builds on it is not loose.
	wantResults(t, w.push(put("next", "d", after("key"), `{"a":3}`)), "next: applied at 2")

	// Without a key there is nothing to remember it by.
	write.EditID, write.IfNoneMatch, write.IfMatchAny = "", false, true
	receipts := len(w.state.Receipts[Client{"alice", "c1"}].Newest)
	for range 2 {
		if _, _, err := e.Write(t.Context(), "s", "alice", write); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.state.Receipts[Client{"alice", "c1"}].Newest) != receipts {
		t.Error("a write without a key has left a receipt")
	}
}
