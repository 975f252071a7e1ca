package storetest

import (
	"testing"

	"github.com/tidemark/tidemark/models"
)

var baseRequirements = []requirement{
	{"edits of one push may be made on one another", baseInPush},
	{"an edit may be made on one of an earlier push", baseInReceipts},
	{"an own edit is the version that it made, not what came after", baseIsOverwritten},
	{"a chain over several pushes", baseChain},
	{"an edit on one that failed is blocked, and so is all that follows", baseFailed},
	{"an edit on one that nobody knows is to be rebased", baseUnknown},
	{"an edit of somebody else is not known", baseOfOthers},
	{"an edit of another document is no base", baseOfOtherDocument},
	{"a base is named once", baseForm},
	{"a merged edit keeps its own base", baseMerged},
	{"a forced edit has no base of its own", baseForced},
	{"an edit that changed nothing is a base", baseUnchanged},
	{"of a delete brings the document back", baseDelete},
	{"a retried edit is a base", baseReplayed},
}

func baseInPush(t *testing.T, w *world) {
	res := w.alice.send(t, models.PushRequest{Edits: []models.Edit{
		put("e1", "todos/t1", on(0), `{"a":1}`),
		put("e2", "todos/t2", on(0), `{"a":1}`),
		patch("e3", "todos/t1", after("e1"), `{"b":2}`),
		patch("e4", "todos/t1", after("e3"), `{"a":4}`),
		remove("e5", "todos/t2", after("e2")),
		put("e6", "todos/t3", on(0), `{}`),
		remove("e7", "todos/t3", after("e6")),
		put("e8", "todos/t3", after("e7"), `{"again":true}`),
	}})
	same(t, "results", res.Results, []models.EditResult{
		applied("e1", 1), applied("e2", 1), applied("e3", 1), applied("e4", 1),
		applied("e5", 1), applied("e6", 1), applied("e7", 1), applied("e8", 1),
	})
	same(t, "documents", w.alice.all(t, w.store), []models.Change{
		*w.alice.live(1, "todos/t1", `{"a":4,"b":2}`, "e4"),
		*w.alice.gone(1, "todos/t2", "e5"),
		*w.alice.live(1, "todos/t3", `{"again":true}`, "e8"),
	})
}

func baseInReceipts(t *testing.T, w *world) {
	w.alice.must(t, put("e1", "todos/t1", on(0), `{"a":1}`))
	same(t, "patch", w.alice.push(t, patch("e2", "todos/t1", after("e1"), `{"b":2}`)), []models.EditResult{applied("e2", 2)})
	same(t, "put", w.alice.push(t, put("e3", "todos/t1", after("e2"), `{"c":3}`)), []models.EditResult{applied("e3", 3)})
	same(t, "delete", w.alice.push(t, remove("e4", "todos/t1", after("e3"))), []models.EditResult{applied("e4", 4)})
}

func baseIsOverwritten(t *testing.T, w *world) {
	w.alice.must(t, put("e1", "todos/t1", on(0), `{"a":1,"b":1}`))
	w.bob.must(t, patch("b2", "todos/t1", on(1), `{"b":2}`))
	there := w.bob.live(2, "todos/t1", `{"a":1,"b":2}`, "b2")
	result := merged("e3", w.alice.live(3, "todos/t1", `{"a":3,"b":2}`, "e3"))
	same(t, "results", w.alice.push(t,
		put("x1", "todos/t1", after("e1"), `{}`),
		remove("x2", "todos/t1", after("e1")),
		patch("x3", "todos/t1", after("e1"), `{"b":3}`),
		patch("e3", "todos/t1", after("e1"), `{"a":3}`),
	), []models.EditResult{conflict("x1", there), conflict("x2", there), conflict("x3", there, "b"), result})
}

func baseChain(t *testing.T, w *world) {
	w.alice.must(t, put("e1", "todos/t1", on(0), `{"n":1}`))
	w.alice.must(t, patch("e2", "todos/t1", after("e1"), `{"n":2}`), patch("e3", "todos/t1", after("e2"), `{"n":3}`))
	// Sent again with the next one, in one push: the answer to the last was lost.
	same(t, "results", w.alice.push(t,
		patch("e2", "todos/t1", after("e1"), `{"n":2}`),
		patch("e3", "todos/t1", after("e2"), `{"n":3}`),
		patch("e4", "todos/t1", after("e3"), `{"n":4}`),
	), []models.EditResult{replayed(applied("e2", 2)), replayed(applied("e3", 2)), applied("e4", 3)})
}

func baseFailed(t *testing.T, w *world) {
	w.bob.must(t, put("b1", "todos/t1", on(0), `{"a":1}`))
	there := w.bob.live(1, "todos/t1", `{"a":1}`, "b1")
	same(t, "results", w.alice.push(t,
		put("e1", "todos/t1", on(0), `{}`),
		patch("e2", "todos/t1", after("e1"), `{"a":2}`),
		patch("e3", "todos/t1", after("e2"), `{"a":3}`),
		put("e4", "todos/t2", on(0), `[]`),
		patch("e5", "todos/t2", after("e4"), `{"a":1}`),
		put("e6", "todos/t3", on(0), `{}`),
		patch("e7", "todos/t9", after("unknown"), `{}`),
		remove("e8", "todos/t9", after("e7")),
	), []models.EditResult{
		conflict("e1", there), blocked("e2", "e1"), blocked("e3", "e2"),
		rejected("e4", models.CodeInvalidDocument, "/data"), blocked("e5", "e4"),
		applied("e6", 2),
		unknownBase("e7"), blocked("e8", "e7"),
	})
}

func baseUnknown(t *testing.T, w *world) {
	w.alice.must(t, put("e1", "todos/t1", on(0), `{}`))
	same(t, "results", w.alice.push(t,
		put("e2", "todos/t1", after("never"), `{}`),
		patch("e3", "todos/t1", after("e4"), `{}`), // comes later in the push
		remove("e4", "todos/t1", after("e4")),      // itself
	), []models.EditResult{unknownBase("e2"), unknownBase("e3"), unknownBase("e4")})
	same(t, "documents", w.alice.all(t, w.store), []models.Change{*w.alice.live(1, "todos/t1", `{}`, "e1")})
}

func baseOfOthers(t *testing.T, w *world) {
	w.alice.must(t, put("e1", "todos/t1", on(0), `{}`))
	replica, impostor := w.alice, w.bob
	replica.id, impostor.id = "another", w.alice.id
	for _, c := range []client{replica, impostor} {
		same(t, "results", c.push(t, patch("e2", "todos/t1", after("e1"), `{"a":1}`)), []models.EditResult{unknownBase("e2")})
	}
	elsewhere := w.alice
	elsewhere.space = newSpace()
	same(t, "results", elsewhere.push(t, patch("e2", "todos/t1", after("e1"), `{"a":1}`)), []models.EditResult{unknownBase("e2")})
}

func baseOfOtherDocument(t *testing.T, w *world) {
	w.alice.must(t, put("e1", "todos/t1", on(0), `{}`), put("e2", "todos/t2", on(0), `{}`))
	same(t, "results", w.alice.push(t,
		patch("x1", "todos/t2", after("e1"), `{"a":1}`),
		patch("x2", "notes/t1", after("e1"), `{"a":1}`),
		put("e3", "todos/t3", on(0), `{}`),
		remove("x3", "todos/t1", after("e3")),
	), []models.EditResult{
		rejected("x1", models.CodeInvalidEdit, "/base_edit_id"),
		rejected("x2", models.CodeInvalidEdit, "/base_edit_id"),
		applied("e3", 2),
		rejected("x3", models.CodeInvalidEdit, "/base_edit_id"),
	})
}

func baseForm(t *testing.T, w *world) {
	both := func(a, b basis) basis { return func(e *models.Edit) { a(e); b(e) } }
	same(t, "results", w.alice.push(t,
		put("x1", "todos/t1", nil, `{}`),
		put("x2", "todos/t1", both(on(0), force), `{}`),
		put("x3", "todos/t1", both(on(0), after("x1")), `{}`),
		put("x4", "todos/t1", both(after("x1"), force), `{}`),
		put("x5", "todos/t1", both(after("x1"), both(on(0), force)), `{}`),
		put("x6", "todos/t1", after("no name"), `{}`),
	), []models.EditResult{
		rejected("x1", models.CodeBaseRequired, ""),
		rejected("x2", models.CodeInvalidEdit, ""),
		rejected("x3", models.CodeInvalidEdit, ""),
		rejected("x4", models.CodeInvalidEdit, ""),
		rejected("x5", models.CodeInvalidEdit, ""),
		rejected("x6", models.CodeInvalidEdit, "/base_edit_id"),
	})
	same(t, "documents", w.alice.all(t, w.store), nil)
}

// Alice knows version 1. Bob has changed b since; she has not seen that.
func baseMerged(t *testing.T, w *world) {
	for name, tt := range map[string]struct {
		edit func(basis) models.Edit
		want func(merged, there *models.Change) models.EditResult
	}{
		"its own field may change again": {
			func(on basis) models.Edit { return patch("e4", "todos/t1", on, `{"a":4}`) },
			nil,
		},
		"a field unchanged since that base may change": {
			func(on basis) models.Edit { return patch("e4", "todos/t1", on, `{"c":4}`) },
			nil,
		},
		"what its client has not seen conflicts": {
			func(on basis) models.Edit { return patch("e4", "todos/t1", on, `{"a":4,"b":4}`) },
			func(_, there *models.Change) models.EditResult { return conflict("e4", there, "b") },
		},
		"a put conflicts": {
			func(on basis) models.Edit { return put("e4", "todos/t1", on, `{}`) },
			func(_, there *models.Change) models.EditResult { return conflict("e4", there) },
		},
		"a delete conflicts": {
			func(on basis) models.Edit { return remove("e4", "todos/t1", on) },
			func(_, there *models.Change) models.EditResult { return conflict("e4", there) },
		},
	} {
		for _, together := range []bool{true, false} {
			where := map[bool]string{true: ", in one push", false: ", in two pushes"}[together]
			t.Run(name+where, func(t *testing.T) {
				t.Parallel()
				alice, bob := w.alice, w.bob
				alice.space = newSpace()
				bob.space = alice.space
				alice.must(t, put("e1", "todos/t1", on(0), `{"a":1,"b":1,"c":1}`))
				bob.must(t, patch("b2", "todos/t1", on(1), `{"b":2}`))

				third := alice.live(3, "todos/t1", `{"a":3,"b":2,"c":1}`, "e3")
				edits := []models.Edit{patch("e3", "todos/t1", on(1), `{"a":3}`), tt.edit(after("e3"))}
				var got models.EditResult
				if together {
					got = alice.push(t, edits...)[1]
				} else {
					alice.must(t, edits[0])
					got = alice.push(t, edits[1])[0]
				}
				if tt.want != nil {
					same(t, "result", got, tt.want(third, third))
					return
				}
				// On its own merged version the patch brings its result again: what
				// bob did is new to alice still.
				if got.Status != models.StatusApplied || !got.Merged {
					t.Errorf("%+v, want it merged", got)
				}
			})
		}
	}
	t.Run("what others change after it conflicts", func(t *testing.T) {
		t.Parallel()
		w.alice.must(t, put("e1", "todos/t1", on(0), `{"a":1,"b":1,"c":1}`))
		w.bob.must(t, patch("b2", "todos/t1", on(1), `{"b":2}`))
		w.alice.must(t, patch("e3", "todos/t1", on(1), `{"a":3}`))
		w.bob.must(t, patch("b4", "todos/t1", on(3), `{"a":4}`))
		same(t, "result", w.alice.push(t, patch("e5", "todos/t1", after("e3"), `{"a":5}`)),
			[]models.EditResult{conflict("e5", w.bob.live(4, "todos/t1", `{"a":4,"b":2,"c":1}`, "b4"), "a")})
	})
}

func baseForced(t *testing.T, w *world) {
	w.bob.must(t, put("b1", "todos/t1", on(0), `{"a":1,"b":1}`))
	w.alice.must(t, patch("e2", "todos/t1", force, `{"a":2}`))
	there := w.alice.live(2, "todos/t1", `{"a":2,"b":1}`, "e2")
	third := w.alice.live(3, "todos/t1", `{"a":3,"b":1}`, "e3")
	same(t, "results", w.alice.push(t,
		put("x1", "todos/t1", after("e2"), `{}`),
		remove("x2", "todos/t1", after("e2")),
		patch("x3", "todos/t1", after("e2"), `{"b":3}`),
		patch("x4", "todos/t1", after("e2"), `{"c":3}`),
		patch("e3", "todos/t1", after("e2"), `{"a":3}`),
	), []models.EditResult{
		conflict("x1", there), conflict("x2", there), conflict("x3", there, "b"), conflict("x4", there, "c"),
		merged("e3", third),
	})
	// A forced put is all its client's own.
	w.alice.must(t, put("f4", "todos/t1", force, `{"z":1}`))
	same(t, "results", w.alice.push(t, patch("f5", "todos/t1", after("f4"), `{"z":2,"y":1}`)),
		[]models.EditResult{merged("f5", w.alice.live(5, "todos/t1", `{"z":2,"y":1}`, "f5"))})
	same(t, "results", w.alice.push(t, put("f6", "todos/t1", after("f4"), `{}`)),
		[]models.EditResult{conflict("f6", w.alice.live(5, "todos/t1", `{"z":2,"y":1}`, "f5"))})
}

func baseUnchanged(t *testing.T, w *world) {
	w.alice.must(t, put("e1", "todos/t1", on(0), `{"a":1}`))
	same(t, "results", w.alice.push(t,
		patch("e2", "todos/t1", after("e1"), `{"a":1.0}`),
		patch("e3", "todos/t1", after("e2"), `{"a":3}`),
		remove("e4", "todos/never", on(0)),
		put("e5", "todos/never", after("e4"), `{}`),
	), []models.EditResult{applied("e2", 1), applied("e3", 2), applied("e4", 0), applied("e5", 2)})
}

func baseDelete(t *testing.T, w *world) {
	w.alice.must(t, put("e1", "todos/t1", on(0), `{}`))
	w.alice.must(t, remove("e2", "todos/t1", after("e1")))
	same(t, "patch", w.alice.push(t, patch("x", "todos/t1", after("e2"), `{}`)),
		[]models.EditResult{conflict("x", w.alice.gone(2, "todos/t1", "e2"))})
	same(t, "put", w.alice.push(t, put("e3", "todos/t1", after("e2"), `{"a":1}`)), []models.EditResult{applied("e3", 3)})
}

func baseReplayed(t *testing.T, w *world) {
	first := put("e1", "todos/t1", on(0), `{"a":1}`)
	w.alice.must(t, first)
	w.bob.must(t, put("b2", "todos/t2", on(0), `{}`))
	same(t, "results", w.alice.push(t, first, patch("e2", "todos/t1", after("e1"), `{"a":2}`)),
		[]models.EditResult{replayed(applied("e1", 1)), applied("e2", 3)})
}
