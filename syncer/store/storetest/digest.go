package storetest

import (
	"fmt"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

var digestRequirements = []requirement{
	{"is the sum of the live documents' hashes", digestOfDocuments},
	{"is right after whatever was pushed", digestOfAnything},
}

// hash is written from the description in syncer/digest.go and shares no code
// with it: clients will compute the same.
func hash(collection, id string, version int64) uint64 {
	const offset, prime = 0xcbf29ce484222325, 0x100000001b3
	h := uint64(offset)
	for _, b := range []byte(collection + "\x00" + id + "\x00" + strconv.FormatInt(version, 10)) {
		h = (h ^ uint64(b)) * prime
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// checkDigest compares the space's row with its documents.
func (w *world) checkDigest(t testing.TB, space string) {
	t.Helper()
	var digest uint64
	var count, head int64
	for _, d := range read(t, w.store, space, syncer.Range{Limit: models.MaxPageChanges}).Changes {
		head = d.Version
		if !d.Deleted {
			digest += hash(d.Collection, d.ID, d.Version)
			count++
		}
	}
	neighbor := *w
	neighbor.space = space
	got := neighbor.locked(t, neighbor.touch()).Space
	if uint64(got.Digest) != digest || got.LiveCount != count || got.Head < head {
		t.Errorf("the space has digest %x, %d live documents, head %d; its documents have %x, %d, %d",
			uint64(got.Digest), got.LiveCount, got.Head, digest, count, head)
	}
}

func digestOfDocuments(t *testing.T, w *world) {
	// One value written down, so that the formula can't change unseen.
	if got := hash("todos", "t1", 1); got != digestTodosT1 {
		t.Errorf("hash of todos/t1 at version 1 is %#x", got)
	}
	w.alice.must(t, put("e1", "todos/t1", on(0), `{}`), put("e2", "todos/t2", on(0), `{}`))
	w.checkDigest(t, w.space)
	w.alice.must(t, patch("e3", "todos/t1", on(1), `{"a":1}`))
	w.checkDigest(t, w.space)
	w.alice.must(t, remove("e4", "todos/t1", on(2)))
	w.checkDigest(t, w.space)
	w.alice.must(t, put("e5", "todos/t3", on(0), `{}`), remove("e6", "todos/t3", after("e5")))
	w.checkDigest(t, w.space)
	w.alice.must(t, put("e7", "todos/t1", on(3), `{}`), put("e8", "todos/t2", force, `{}`))
	w.checkDigest(t, w.space)
	w.alice.atomic(t, remove("e9", "todos/t1", force), put("e10", "todos/t2", on(0), `{}`))
	w.checkDigest(t, w.space)
}

const digestTodosT1 = 0x4a6f2e4890b8574b

func digestOfAnything(t *testing.T, w *world) {
	ids := rapid.SampledFrom([]string{"todos/a", "todos/b", "notes/a"})
	rapid.Check(t, func(r *rapid.T) {
		c := w.alice
		c.space = newSpace()
		edits := 0
		for range rapid.IntRange(1, 4).Draw(r, "pushes") {
			req := models.PushRequest{Atomic: rapid.Bool().Draw(r, "atomic")}
			for range rapid.IntRange(1, 5).Draw(r, "edits") {
				edits++
				base := rapid.SampledFrom([]basis{
					force, force, on(0), on(1), on(2), after(fmt.Sprintf("e%d", rapid.IntRange(1, edits).Draw(r, "earlier"))),
				}).Draw(r, "base")
				op := rapid.SampledFrom([]models.Op{models.OpPut, models.OpPatch, models.OpDelete}).Draw(r, "op")
				var data []byte
				if op != models.OpDelete {
					data = rapid.SampledFrom([][]byte{[]byte(`{}`), []byte(`{"x":1}`), []byte(`{"x":null}`), []byte(`[]`)}).Draw(r, "data")
				}
				id := fmt.Sprintf("e%d", edits-rapid.IntRange(0, 1).Draw(r, "again"))
				if hasEdit(req.Edits, id) {
					id = fmt.Sprintf("e%d", edits)
				}
				req.Edits = append(req.Edits, edit(id, op, ids.Draw(r, "at"), base, data))
			}
			c.send(t, req)
			w.checkDigest(t, c.space)
		}
	})
}

func hasEdit(edits []models.Edit, id string) bool {
	for _, e := range edits {
		if e.EditID == id {
			return true
		}
	}
	return false
}
