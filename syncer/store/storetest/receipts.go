package storetest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/tidemark/tidemark/models"
)

var receiptRequirements = []requirement{
	{"a retry gets its first answer and changes nothing", receiptReplay},
	{"a retry gets its first answer on every node", receiptOtherNode},
	{"a retry of a merged patch brings the document that is there now", receiptMerged},
	{"a retry may be grouped and based in another way", receiptRegrouped},
	{"a conflict or a rejection is decided again", receiptFailures},
	{"an edit_id names one content", receiptReused},
	{"receipts are of one subject, one client and one space", receiptOwners},
	{"the newest 256 are remembered", receiptRing},
	{"a push sent twice at the same moment has one effect", receiptConcurrent},
}

func receiptReplay(t *testing.T, w *world) {
	edits := []models.Edit{
		put("e1", "todos/t1", on(0), `{"a":1}`),
		patch("e2", "todos/t1", after("e1"), `{"b":2}`),
		remove("e3", "todos/never", on(0)),
		put("e4", "todos/t4", on(0), `{}`),
		remove("e5", "todos/t4", after("e4")),
		patch("e6", "todos/t1", after("e2"), `{"b":2.0}`),
		put("e7", "todos/t7", force, `{}`),
	}
	first := w.alice.push(t, edits...)
	w.bob.must(t, patch("b", "todos/t1", on(1), `{"c":1}`))
	w.bob.must(t, put("c", "todos/never", on(0), `{}`))
	before := w.alice.all(t, w.store)
	want := make([]models.EditResult, len(first))
	for i, r := range first {
		want[i] = replayed(r)
	}
	for range 2 {
		res := w.alice.send(t, models.PushRequest{Edits: edits})
		same(t, "results", res.Results, want)
		same(t, "head", res.Version, 3)
	}
	same(t, "documents", w.alice.all(t, w.store), before)
}

func receiptOtherNode(t *testing.T, w *world) {
	first := put("e1", "todos/t1", on(0), `{"a":1}`)
	w.alice.must(t, first)
	elsewhere := w.alice
	elsewhere.engine = newEngine(counting(w.other), nil)
	same(t, "results", elsewhere.push(t, first), []models.EditResult{replayed(applied("e1", 1))})
}

func receiptMerged(t *testing.T, w *world) {
	w.bob.must(t, put("b1", "todos/t1", on(0), `{"a":1,"b":1}`))
	w.bob.must(t, patch("b2", "todos/t1", on(1), `{"b":2}`))
	retried := patch("e3", "todos/t1", on(1), `{"a":3}`)
	w.alice.must(t, retried)
	third := w.alice.live(3, "todos/t1", `{"a":3,"b":2}`, "e3")
	same(t, "at once", w.alice.push(t, retried), []models.EditResult{replayed(merged("e3", third))})

	w.bob.must(t, patch("b4", "todos/t1", on(3), `{"b":4}`))
	want := replayed(merged("e3", third))
	want.Current = w.bob.live(4, "todos/t1", `{"a":3,"b":4}`, "b4")
	same(t, "after another change", w.alice.push(t, retried), []models.EditResult{want})

	w.bob.must(t, remove("b5", "todos/t1", on(4)))
	want.Current = w.bob.gone(5, "todos/t1", "b5")
	same(t, "after a delete", w.alice.push(t, retried), []models.EditResult{want})
}

func receiptRegrouped(t *testing.T, w *world) {
	e1, e2 := put("e1", "todos/t1", on(0), `{"a":1}`), put("e2", "todos/t2", on(0), `{}`)
	e3 := patch("e3", "todos/t1", after("e1"), `{"a":3}`)
	w.alice.must(t, e1, e2, e3)
	e3.BaseEditID, e3.Force = "", true
	e1.BaseVersion = nil
	on(77)(&e1)
	same(t, "results", w.alice.push(t, e3, put("e4", "todos/t4", on(0), `{}`), e1),
		[]models.EditResult{replayed(applied("e3", 1)), applied("e4", 2), replayed(applied("e1", 1))})
	same(t, "results", w.alice.push(t, e2), []models.EditResult{replayed(applied("e2", 1))})
}

func receiptFailures(t *testing.T, w *world) {
	tried := put("e1", "todos/t1", on(1), `{}`)
	same(t, "first", w.alice.push(t, tried), []models.EditResult{conflict("e1", nil)})
	w.bob.must(t, put("b1", "todos/t1", on(0), `{}`))
	same(t, "again", w.alice.push(t, tried), []models.EditResult{applied("e1", 2)})

	blockedOne := patch("e3", "todos/t2", after("e2"), `{}`)
	same(t, "first", w.alice.push(t, blockedOne), []models.EditResult{unknownBase("e3")})
	same(t, "again", w.alice.push(t, put("e2", "todos/t2", on(0), `{}`), blockedOne),
		[]models.EditResult{applied("e2", 3), applied("e3", 3)})
	// What was refused left no trace by which another content could be refused.
	same(t, "first", w.alice.push(t, put("e4", "todos/t4", on(0), `[]`)),
		[]models.EditResult{rejected("e4", models.CodeInvalidDocument, "/data")})
	same(t, "mended", w.alice.push(t, put("e4", "todos/t4", on(0), `{}`)), []models.EditResult{applied("e4", 4)})
}

func receiptReused(t *testing.T, w *world) {
	w.alice.must(t, put("e1", "todos/t1", on(0), `{"a":1}`))
	before := w.alice.all(t, w.store)
	for name, edit := range map[string]models.Edit{
		"another op":               patch("e1", "todos/t1", on(0), `{"a":1}`),
		"a delete":                 remove("e1", "todos/t1", on(1)),
		"another collection":       put("e1", "notes/t1", on(0), `{"a":1}`),
		"another id":               put("e1", "todos/t2", on(0), `{"a":1}`),
		"other data":               put("e1", "todos/t1", on(0), `{"a":2}`),
		"collection and id joined": put("e1", "todo/st1", on(0), `{"a":1}`),
		"other bytes":              put("e1", "todos/t1", on(0), `{"a": 1}`),
	} {
		same(t, name, w.alice.push(t, edit, patch("e2", "todos/t1", after("e1"), `{"b":1}`)), []models.EditResult{
			rejected("e1", models.CodeEditIDReused, "/edit_id"), baseAfterReuse(edit),
		})
	}
	same(t, "documents", w.alice.all(t, w.store), before)
	same(t, "the first one", w.alice.push(t, put("e1", "todos/t1", on(9), `{"a":1}`)),
		[]models.EditResult{replayed(applied("e1", 1))})
}

// baseAfterReuse is the fate of an edit of todos/t1 made on an edit that was
// refused in the same push.
func baseAfterReuse(refused models.Edit) models.EditResult {
	if refused.Collection+"/"+refused.ID != "todos/t1" {
		return rejected("e2", models.CodeInvalidEdit, "/base_edit_id")
	}
	return blocked("e2", "e1")
}

func receiptOwners(t *testing.T, w *world) {
	w.alice.must(t, put("e1", "todos/t1", on(0), `{"a":1}`))
	there := w.alice.live(1, "todos/t1", `{"a":1}`, "e1")
	replica, impostor, elsewhere := w.alice, w.alice, w.alice
	replica.id, impostor.subject, elsewhere.space = "another", "mallory", newSpace()
	for _, c := range []client{replica, impostor} {
		same(t, "results", c.push(t, put("e1", "todos/t1", on(0), `{"a":1}`)), []models.EditResult{conflict("e1", there)})
		// The same edit_id is free for another content.
		c.must(t, put("e1", "todos/of-"+c.subject+c.id, on(0), `{"b":1}`))
	}
	same(t, "results", elsewhere.push(t, put("e1", "todos/t1", on(0), `{"a":1}`)), []models.EditResult{applied("e1", 1)})
	same(t, "results", w.alice.push(t, put("e1", "todos/t1", on(0), `{"a":1}`)), []models.EditResult{replayed(applied("e1", 1))})
}

func receiptRing(t *testing.T, w *world) {
	numbered := func(from, to int) (edits []models.Edit) {
		for i := from; i <= to; i++ {
			edits = append(edits, put(fmt.Sprintf("e%d", i), fmt.Sprintf("todos/t%d", i), on(0), `{}`))
		}
		return edits
	}
	w.alice.must(t, numbered(1, 200)...)
	w.alice.must(t, numbered(201, models.MaxReceipts)...)
	same(t, "the oldest that is remembered", w.alice.push(t, numbered(1, 1)...),
		[]models.EditResult{replayed(applied("e1", 1))})

	next := models.MaxReceipts + 1
	w.alice.must(t, numbered(next, next)...)
	same(t, "the one after and the newest", w.alice.push(t, append(numbered(2, 2), numbered(next, next)...)...),
		[]models.EditResult{replayed(applied("e2", 1)), replayed(applied(fmt.Sprintf("e%d", next), 3))})
	// Forgotten, it meets the version check, and sees by whom it was done.
	same(t, "the one that fell out", w.alice.push(t, numbered(1, 1)...),
		[]models.EditResult{conflict("e1", w.alice.live(1, "todos/t1", `{}`, "e1"))})
}

func receiptConcurrent(t *testing.T, w *world) {
	const copies = 6
	w.bob.must(t, put("b1", "todos/t1", on(0), `{"n":0}`))
	nodes := []client{w.alice, w.alice}
	nodes[1].engine = newEngine(counting(w.other), nil)
	edits := []models.Edit{
		patch("e1", "todos/t1", on(1), `{"n":1}`),
		put("e2", "todos/t2", on(0), `{}`),
		patch("e3", "todos/t1", force, `{"m":1}`),
	}
	results := make([][]models.EditResult, copies)
	var group sync.WaitGroup
	for i := range copies {
		group.Go(func() {
			res, err := nodes[i%2].try(t, models.PushRequest{Edits: edits})
			if err != nil {
				t.Errorf("push: %v", err)
				return
			}
			results[i] = res.Results
		})
	}
	group.Wait()
	first := []models.EditResult{applied("e1", 2), applied("e2", 2), applied("e3", 2)}
	firsts := 0
	for _, got := range results {
		want := make([]models.EditResult, len(first))
		copy(want, first)
		if len(got) > 0 && !got[0].Replayed {
			firsts++
		} else {
			for i := range want {
				want[i].Replayed = true
			}
		}
		same(t, "results", got, want)
	}
	if firsts != 1 {
		t.Errorf("%d of %d were applied, want 1", firsts, copies)
	}
	same(t, "documents", w.alice.all(t, w.store), []models.Change{
		*w.alice.live(2, "todos/t1", `{"n":1,"m":1}`, "e3"), *w.alice.live(2, "todos/t2", `{}`, "e2"),
	})
}
