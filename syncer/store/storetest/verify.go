package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

var verifyRequirements = []requirement{
	{"finds nothing in what was pushed and purged", verifySound},
	{"finds what somebody has done to the rows", verifyFaults},
	{"reads all rows, of one moment", verifyRows},
	{"any space can be the one to verify", verifyAnySpace},
}

// verified fails the test where a space is not as it should be.
func (w *world) verified(t testing.TB, space string) {
	t.Helper()
	faults, err := w.engine.Verify(t.Context(), space)
	if err != nil || len(faults) > 0 {
		t.Errorf("verification of %s: %q, %v", space, faults, err)
	}
}

func verifySound(t *testing.T, w *world) {
	w.verified(t, w.space) // never written
	w.fill(t, 4)
	w.alice.must(t, patch("a1", "todos/t1", on(1), `{"a":1}`), patch("a2", "todos/t2", on(2), `{"b":2}`))
	w.bob.must(t, patch("b1", "todos/t1", on(1), `{"b":2}`))
	w.bob.must(t, remove("b2", "todos/t3", on(3)), put("b3", "todos/t4", force, `{}`))
	w.verified(t, w.space)
	w.purge(t, 4)
	w.verified(t, w.space)
	w.bob.must(t, remove("b4", "todos/t1", on(6)), remove("b5", "todos/t2", on(5)), remove("b6", "todos/t4", on(7)))
	w.purge(t, 100)
	w.verified(t, w.space) // nothing is left
}

func verifyFaults(t *testing.T, w *world) {
	for name, fault := range map[string]struct{ statement, want string }{
		"a document is lost":         {`DELETE FROM documents WHERE space_id = $1 AND id = 't2'`, "digest"},
		"a document went back":       {`UPDATE documents SET version = 1 WHERE space_id = $1 AND id = 't2'`, "has a receipt for version 2 of a document that is at 1"},
		"an edit is lost":            {`DELETE FROM documents WHERE space_id = $1 AND id = 't3'`, "has a receipt for version 5 of a document that is at 0"},
		"a version above the head":   {`UPDATE documents SET version = 9 WHERE space_id = $1 AND id = 't2'`, "t2 has version 9, head is 5"},
		"another digest":             {`UPDATE spaces SET digest = digest + 1 WHERE id = $1`, "digest"},
		"another count":              {`UPDATE spaces SET live_count = 7 WHERE id = $1`, "count 7"},
		"a head too high":            {`UPDATE spaces SET head = 6 WHERE id = $1`, "head is 6, but no document has that version"},
		"a head too low":             {`UPDATE spaces SET head = 4 WHERE id = $1`, "has a receipt for version 5, head is 4"},
		"a floor above the head":     {`UPDATE spaces SET floor = 9 WHERE id = $1`, "floor 9"},
		"a deletion above the floor": {`UPDATE spaces SET deleted_through = 4 WHERE id = $1`, "it was deleted at 4"},
		"a head beyond versions":     {`UPDATE spaces SET head = 9007199254740992 WHERE id = $1`, "is no version"},
		"a retention below nothing":  {`UPDATE spaces SET retention_ms = -1 WHERE id = $1`, "its retention is -1 ms"},
		"a tombstone at the floor":   {`UPDATE spaces SET floor = 5 WHERE id = $1`, "the tombstone of todos/t3, version 5, is not above floor 5"},
		"no epoch":                   {`UPDATE spaces SET epoch = 0 WHERE id = $1`, "has no epoch"},
		"past epochs of nonsense":    {`UPDATE spaces SET past_epochs = 'x' WHERE id = $1`, "past epochs can't be read"},
		"past epochs out of order":   {`UPDATE spaces SET past_epochs = '[[3,2,3],[4,1,5]]' WHERE id = $1`, "does not fit"},
		"a past epoch to come":       {`UPDATE spaces SET past_epochs = '[[3,2,30]]' WHERE id = $1`, "does not fit"},
		"a version that was lost":    {`UPDATE spaces SET past_epochs = '[[3,1,3]]' WHERE id = $1`, "t2 has version 2, which is of a history that was lost"},
		"fields of nonsense":         {`UPDATE documents SET field_versions = 'x' WHERE space_id = $1 AND id = 't1'`, "field versions of todos/t1 can't be read"},
		"an absence from the future": {`UPDATE documents SET field_versions = '{"all":1,"absent":8}' WHERE space_id = $1 AND id = 't1'`, "a field of todos/t1 has changed at 8"},
		"a field from the future":    {`UPDATE documents SET field_versions = '{"all":1,"fields":{"a":8}}' WHERE space_id = $1 AND id = 't1'`, "a field of todos/t1 has changed at 8"},
	} {
		t.Run(name, func(t *testing.T) {
			broken := *w
			broken.space = newSpace()
			broken.alice.space = broken.space
			broken.fill(t, 3)
			broken.alice.must(t, patch("a1", "todos/t1", on(1), `{"a":1}`))
			broken.alice.must(t, remove("a2", "todos/t3", on(3)))
			broken.verified(t, broken.space)
			broken.exec(t, fault.statement, broken.space)
			faults, err := broken.engine.Verify(t.Context(), broken.space)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, fault.want) }) {
				t.Errorf("faults are %q, want one that says %q", faults, fault.want)
			}
		})
	}
}

func verifyRows(t *testing.T, w *world) {
	const n = 5003 // more than are read at once
	list := make([]models.Document, n)
	for i := range list {
		list[i] = row(int64(i+1), fmt.Sprintf("%s/d%d", []string{"notes", "todos"}[i%2], i), `{}`)
	}
	w.write(t, list...)
	w.remember(t, syncer.Client{Subject: "alice", ID: "c1"}, syncer.Receipts{Newest: []byte{1}})
	var heads, documents []int64
	var clients []string
	err := w.store.Rows(t.Context(), w.space, syncer.RowReader{
		Space: func(s *models.Space) {
			heads = append(heads, s.Head)
			w.write(t, row(n+1, "notes/new", `{}`), row(n+2, "todos/d1", `{}`)) // after the snapshot
		},
		Document: func(d *models.Document) { documents = append(documents, d.Version) },
		Client:   func(c *models.Client) { clients = append(clients, c.Subject+"/"+c.ClientID) },
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(documents)
	same(t, "heads", heads, []int64{n})
	same(t, "clients", clients, []string{"alice/c1"})
	same(t, "documents", [3]int64{int64(len(documents)), documents[0], documents[len(documents)-1]}, [3]int64{n, 1, n})
	same(t, "each once", len(slices.Compact(documents)), n)
}

func verifyAnySpace(t *testing.T, w *world) {
	// Other tests make spaces too, so the first and the last have names like no others.
	first, last := *w, *w
	first.space, last.space = "!"+newSpace(), "~"+newSpace()
	for _, end := range []*world{&first, &last} {
		end.exec(t, `INSERT INTO spaces (id, epoch, created_at) VALUES ($1, 7, 0)`, end.space)
		defer end.exec(t, `DELETE FROM spaces WHERE id = $1`, end.space)
	}
	for way, want := range map[float64]string{0: first.space, 0.5: "", 0.9999999: last.space} {
		got, err := w.store.AnySpace(t.Context(), way)
		if err != nil || got.ID == "" || want != "" && got.ID != want {
			t.Errorf("at %v of the way: space %q, %v; want %q", way, got.ID, err, want)
		}
	}
}
