package storetest

import (
	"testing"

	"github.com/tidemark/tidemark/models"
)

var atomicRequirements = []requirement{
	{"an atomic push of good edits is applied as a whole", atomicApplied},
	{"one failing edit undoes all, whatever its kind", atomicFails},
	{"conflicts show what is stored, not what the push had made", atomicShowsStored},
	{"what was applied before stays applied", atomicReplay},
	{"a push that was undone can be mended and sent again", atomicMended},
}

func atomicApplied(t *testing.T, w *world) {
	w.bob.must(t, put("b1", "todos/t1", on(0), `{"a":1,"b":1}`))
	w.bob.must(t, patch("b2", "todos/t1", on(1), `{"b":2}`))
	third := w.alice.live(3, "todos/t1", `{"a":3,"b":2}`, "e1")
	same(t, "results", w.alice.atomic(t,
		patch("e1", "todos/t1", on(1), `{"a":3}`),
		put("e2", "todos/t2", on(0), `{}`),
		remove("e3", "todos/never", on(0)),
		remove("e4", "todos/t2", after("e2")),
	), []models.EditResult{merged("e1", third), applied("e2", 3), applied("e3", 0), applied("e4", 3)})
	same(t, "documents", w.alice.all(t, w.store), []models.Change{*third, *w.alice.gone(3, "todos/t2", "e4")})
}

func atomicFails(t *testing.T, w *world) {
	reused := put("seen", "todos/t0", on(0), `{"other":true}`)
	for name, tt := range map[string]struct {
		failing models.Edit
		want    func(c client) models.EditResult
	}{
		"conflict": {put("bad", "todos/t0", on(0), `{}`), func(c client) models.EditResult {
			return conflict("bad", c.live(1, "todos/t0", `{}`, "seen"))
		}},
		"conflict with nothing": {patch("bad", "todos/t9", on(0), `{}`), func(client) models.EditResult {
			return conflict("bad", nil)
		}},
		"no base": {put("bad", "todos/t9", nil, `{}`), func(client) models.EditResult {
			return rejected("bad", models.CodeBaseRequired, "")
		}},
		"bad name": {put("bad", "todos/-", on(0), `{}`), func(client) models.EditResult {
			return rejected("bad", models.CodeInvalidID, "/id")
		}},
		"bad document": {put("bad", "todos/t9", on(0), `[]`), func(client) models.EditResult {
			return rejected("bad", models.CodeInvalidDocument, "/data")
		}},
		"unknown base": {put("bad", "todos/t9", after("never"), `{}`), func(client) models.EditResult {
			return unknownBase("bad")
		}},
		"base of another document": {put("bad", "todos/t9", after("good"), `{}`), func(client) models.EditResult {
			return rejected("bad", models.CodeInvalidEdit, "/base_edit_id")
		}},
		"reused edit_id": {reused, func(client) models.EditResult {
			return rejected("seen", models.CodeEditIDReused, "/edit_id")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alice := w.alice
			alice.space = newSpace()
			alice.must(t, put("seen", "todos/t0", on(0), `{}`))
			before := alice.all(t, w.store)
			bad := tt.want(alice)
			res := alice.send(t, models.PushRequest{Atomic: true, Edits: []models.Edit{
				put("good", "todos/t1", on(0), `{}`),
				tt.failing,
				patch("more", "todos/t1", after("good"), `{"a":1}`),
				remove("none", "todos/never", on(0)),
			}})
			same(t, "results", res.Results, []models.EditResult{
				blocked("good", bad.EditID), bad, blocked("more", bad.EditID), blocked("none", bad.EditID),
			})
			same(t, "head", res.Version, 1)
			same(t, "documents", alice.all(t, w.store), before)
			// Nothing is remembered of it: the good ones are new when they come again.
			same(t, "results alone", alice.push(t, put("good", "todos/t1", on(0), `{}`), remove("none", "todos/never", on(0))),
				[]models.EditResult{applied("good", 2), applied("none", 0)})
		})
	}
}

func atomicShowsStored(t *testing.T, w *world) {
	w.bob.must(t, put("b1", "todos/t1", on(0), `{"a":1,"b":1}`))
	w.bob.must(t, put("b2", "todos/t3", on(0), `{}`))
	stored := w.bob.live(1, "todos/t1", `{"a":1,"b":1}`, "b1")
	same(t, "results", w.alice.atomic(t,
		patch("e1", "todos/t1", on(1), `{"a":2}`),
		put("x2", "todos/t1", on(1), `{}`),
		patch("x3", "todos/t1", on(1), `{"a":3}`),
		put("e4", "todos/t2", on(0), `{}`),
		put("x5", "todos/t2", on(0), `{}`),
		remove("e6", "todos/t3", on(2)),
		put("x7", "todos/t3", on(2), `{}`),
	), []models.EditResult{
		blocked("e1", "x2"), conflict("x2", stored), conflict("x3", stored, "a"),
		blocked("e4", "x2"), conflict("x5", nil),
		blocked("e6", "x2"), conflict("x7", w.bob.live(2, "todos/t3", `{}`, "b2")),
	})
}

func atomicReplay(t *testing.T, w *world) {
	first := put("e1", "todos/t1", on(0), `{"a":1}`)
	w.alice.must(t, first)
	same(t, "results", w.alice.atomic(t, first, put("e2", "todos/t2", on(0), `{}`), put("x3", "todos/t1", on(0), `{}`)),
		[]models.EditResult{
			replayed(applied("e1", 1)), blocked("e2", "x3"), conflict("x3", w.alice.live(1, "todos/t1", `{"a":1}`, "e1")),
		})
}

func atomicMended(t *testing.T, w *world) {
	edits := []models.Edit{put("e1", "todos/t1", on(0), `{}`), put("e2", "todos/t2", on(4), `{}`)}
	same(t, "results", w.alice.atomic(t, edits...), []models.EditResult{blocked("e1", "e2"), conflict("e2", nil)})
	edits[1] = put("e2", "todos/t2", on(0), `{}`)
	same(t, "results", w.alice.atomic(t, edits...), []models.EditResult{applied("e1", 1), applied("e2", 1)})
	same(t, "results", w.alice.atomic(t, edits...),
		[]models.EditResult{replayed(applied("e1", 1)), replayed(applied("e2", 1))})
}
