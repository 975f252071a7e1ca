package storetest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

var digestRequirements = []requirement{
	{"is the sum of the live documents' hashes", digestOfDocuments},
	{"is right after whatever was pushed", digestOfAnything},
	{"stands on every page that ends at the head and leaves nothing out", digestOnPages},
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

// digest is that of live documents, each written as collection/id@version.
func digest(documents ...string) *models.Digest {
	d := &models.Digest{Count: int64(len(documents))}
	for _, text := range documents {
		name, number, _ := strings.Cut(text, "@")
		collection, id, _ := strings.Cut(name, "/")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			panic(err)
		}
		d.Sum += hash(collection, id, version)
	}
	return d
}

// checkDigest compares the space's row with its documents.
func (w *world) checkDigest(t testing.TB, space string) {
	t.Helper()
	var sum uint64
	var count, head int64
	run := read(t, w.store, space, syncer.Range{Limit: models.MaxPageChanges})
	for _, d := range run.Changes {
		head = d.Version
		if !d.Deleted {
			sum += hash(d.Collection, d.ID, d.Version)
			count++
		}
	}
	neighbor := *w
	neighbor.space = space
	got := neighbor.locked(t, neighbor.touch()).Space
	if uint64(got.Digest) != sum || got.LiveCount != count || got.Head < head {
		t.Errorf("the space has digest %x, %d live documents, head %d; its documents have %x, %d, %d",
			uint64(got.Digest), got.LiveCount, got.Head, sum, count, head)
	}
	w.verified(t, space)
	filtered := read(t, w.store, space, syncer.Range{Limit: models.MaxPageChanges, Collections: []string{"todos"}}).Space
	heads, err := w.store.Heads(t.Context(), []string{space})
	if err != nil {
		t.Fatal(err)
	}
	for from, s := range map[string]models.Space{"a run": run.Space, "a filtered run": filtered, "the heads": heads[0]} {
		if s.Digest != got.Digest || s.LiveCount != got.LiveCount {
			t.Errorf("%s: digest %x, %d live documents; the row has %x, %d", from, s.Digest, s.LiveCount, got.Digest, got.LiveCount)
		}
	}
}

func digestOnPages(t *testing.T, w *world) {
	w.alice.must(t, put("e1", "todos/t1", on(0), `{}`), put("e2", "todos/t2", on(0), `{}`))
	w.alice.must(t, put("e3", "notes/n1", on(0), `{}`), remove("e4", "todos/t2", on(1)))
	want := digest("todos/t1@1", "notes/n1@2")

	first := w.alice.pull(t, syncer.PullRequest{Limit: 1})
	same(t, "of a page with more to come", first.Digest, (*models.Digest)(nil))
	last := w.alice.pull(t, syncer.PullRequest{Cursor: first.Cursor})
	same(t, "of the last page", last.Digest, want)
	same(t, "of a page of nothing", w.alice.pull(t, syncer.PullRequest{Cursor: last.Cursor}).Digest, want)
	same(t, "with a filter", w.alice.pull(t, syncer.PullRequest{Collections: []string{"todos"}}).Digest, (*models.Digest)(nil))

	res := w.alice.send(t, models.PushRequest{Cursor: &last.Cursor, Edits: []models.Edit{put("e5", "todos/t3", on(0), `{}`)}})
	same(t, "of the page in a push's answer", res.Page.Digest, digest("todos/t1@1", "notes/n1@2", "todos/t3@3"))

	nowhere := w.alice
	nowhere.space = newSpace()
	same(t, "of a space never written", nowhere.pull(t, syncer.PullRequest{}).Digest, &models.Digest{})
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
