package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

var changesRequirements = []requirement{
	{"a space never written is the zero run", changesNeverWritten},
	{"come in order of versions, each document once, in its newest state", changesOrder},
	{"are those of one space", changesOneSpace},
	{"split no version, whatever the limit", changesLimit},
	{"are all there when pages are put together, whatever the limit", changesWalk},
	{"end where a page is full of bytes", changesBytes},
	{"bring the first version whole even if it is over every limit", changesFirstVersionIsWhole},
	{"bring tombstones in a feed and none in a snapshot", changesTombstones},
	{"go through to the head when only hidden rows are left", changesHiddenTail},
	{"are those of the collections asked for", changesCollections},
	{"end after 20,000 rows even if none is shown", changesRows},
	{"bring floor and epoch of the space", changesSpace},
}

func changesNeverWritten(t *testing.T, w *world) {
	for _, r := range []syncer.Range{
		{Limit: 1}, {Limit: 1, Snapshot: true}, {Limit: 1, After: 17, HideUpTo: 20}, {Limit: 1, Collections: []string{"todos"}},
	} {
		same(t, fmt.Sprintf("run of %+v", r), w.read(t, r), syncer.Run{})
	}
}

func changesOrder(t *testing.T, w *world) {
	w.write(t, row(1, "todos/t2", `{}`), row(1, "todos/t1", `{}`))
	w.write(t, row(5, "todos/t3", `{}`))
	w.write(t, row(9, "todos/t1", `{"a":1}`), row(9, "notes/n1", `{}`))
	w.write(t, tombstone(12, "todos/t3"))
	run := w.read(t, syncer.Range{Limit: 100})
	same(t, "changes", ordered(run.Changes), changes([]models.Document{
		row(1, "todos/t2", `{}`),
		row(9, "notes/n1", `{}`), row(9, "todos/t1", `{"a":1}`),
		tombstone(12, "todos/t3"),
	}))
	if run.Space.Head != 12 || run.Through != 12 {
		t.Errorf("head %d, through %d, want 12", run.Space.Head, run.Through)
	}
	for position, want := range map[int64]int{0: 4, 1: 3, 8: 3, 9: 1, 11: 1, 12: 0, 99: 0} {
		if got := len(w.read(t, syncer.Range{After: position, Limit: 100}).Changes); got != want {
			t.Errorf("%d changes after %d, want %d", got, position, want)
		}
	}
}

func changesOneSpace(t *testing.T, w *world) {
	neighbor := *w
	neighbor.space = newSpace()
	w.write(t, row(1, "todos/t1", `{"a":1}`))
	neighbor.write(t, row(1, "todos/t1", `{"b":1}`), row(2, "todos/t2", `{}`))
	same(t, "changes", ordered(w.read(t, syncer.Range{Limit: 9}).Changes),
		changes([]models.Document{row(1, "todos/t1", `{"a":1}`)}))
}

// Versions 10, 20, 30, 40 of one, three, two and one documents.
func (w *world) writeSteps(t testing.TB) {
	t.Helper()
	for i, size := range []int{1, 3, 2, 1} {
		var list []models.Document
		for j := range size {
			list = append(list, row(int64(10*i+10), fmt.Sprintf("todos/t%d%d", i, j), `{}`))
		}
		w.write(t, list...)
	}
}

func changesLimit(t *testing.T, w *world) {
	w.writeSteps(t)
	for _, tt := range []struct {
		after     int64
		limit     int
		documents int
		through   int64
	}{
		{0, 1, 1, 10},
		{0, 2, 1, 10},
		{0, 3, 1, 10},
		{0, 4, 4, 20},
		{0, 5, 4, 20},
		{0, 6, 6, 30},
		{0, 7, 7, 40},
		{0, 8, 7, 40},
		{0, 1000, 7, 40},
		{10, 1, 3, 20},
		{10, 2, 3, 20},
		{10, 3, 3, 20},
		{10, 4, 3, 20},
		{10, 5, 5, 30},
		{20, 1, 2, 30},
		{20, 3, 3, 40},
		{30, 1, 1, 40},
		{40, 1, 0, 40},
	} {
		run := w.read(t, syncer.Range{After: tt.after, Limit: tt.limit})
		if len(run.Changes) != tt.documents || run.Through != tt.through || run.Space.Head != 40 {
			t.Errorf("after %d, limit %d: %d documents through %d at head %d; want %d through %d",
				tt.after, tt.limit, len(run.Changes), run.Through, run.Space.Head, tt.documents, tt.through)
		}
	}
}

func changesWalk(t *testing.T, w *world) {
	w.writeSteps(t)
	w.write(t, tombstone(50, "todos/t10"), row(50, "notes/n1", `{}`))
	whole := ordered(w.read(t, syncer.Range{Limit: 1000}).Changes)
	for limit := 1; limit <= len(whole)+1; limit++ {
		var got []models.Change
		for after := int64(0); ; {
			run := w.read(t, syncer.Range{After: after, Limit: limit})
			got = append(got, ordered(run.Changes)...)
			if run.Through == run.Space.Head {
				break
			}
			if run.Through <= after {
				t.Fatalf("limit %d: a page after %d goes through %d", limit, after, run.Through)
			}
			after = run.Through
		}
		same(t, fmt.Sprintf("changes with limit %d", limit), got, whole)
	}
}

// text is a document of a number of bytes.
func text(bytes int) string { return `{"a":"` + strings.Repeat("x", bytes-8) + `"}` }

func changesBytes(t *testing.T, w *world) {
	quarter := text(models.MaxPageBytes / 4)
	for version := int64(1); version <= 3; version++ {
		w.write(t, row(version, fmt.Sprintf("todos/t%d", version), quarter))
	}
	// One byte less, so that what fits exactly is told from what fits not.
	w.write(t, row(4, "todos/t4", text(models.MaxPageBytes/4-2)))
	w.write(t, row(5, "todos/t5", `{}`))
	w.write(t, row(6, "todos/t6", `{}`))
	for _, tt := range []struct {
		after, through int64
		documents      int
	}{
		{0, 5, 5}, // exactly full
		{1, 6, 5},
	} {
		run := w.read(t, syncer.Range{After: tt.after, Limit: 1000})
		if run.Through != tt.through || len(run.Changes) != tt.documents {
			t.Errorf("after %d: %d documents through %d, want %d through %d",
				tt.after, len(run.Changes), run.Through, tt.documents, tt.through)
		}
	}
}

func changesFirstVersionIsWhole(t *testing.T, w *world) {
	var big []models.Document
	for i := range 5 {
		big = append(big, row(2, fmt.Sprintf("todos/t%d", i), text(models.MaxDocumentBytes)))
	}
	w.write(t, row(1, "todos/small", `{}`))
	w.write(t, big...)
	w.write(t, row(3, "todos/next", `{}`))
	if run := w.read(t, syncer.Range{Limit: 1000}); run.Through != 1 || len(run.Changes) != 1 {
		t.Errorf("%d documents through %d, want the version before the big one", len(run.Changes), run.Through)
	}
	run := w.read(t, syncer.Range{After: 1, Limit: 2})
	if run.Through != 2 {
		t.Errorf("through %d, want 2", run.Through)
	}
	same(t, "changes", ordered(run.Changes), changes(big))
}

func changesTombstones(t *testing.T, w *world) {
	w.write(t, row(1, "todos/t1", `{}`), tombstone(1, "todos/old"))
	w.write(t, tombstone(2, "todos/t2"))
	w.write(t, row(3, "todos/t3", `{}`))
	w.write(t, tombstone(4, "todos/t4"))
	for _, tt := range []struct {
		name string
		r    syncer.Range
		want []string
	}{
		{"a feed", syncer.Range{}, []string{"-todos/old", "todos/t1", "-todos/t2", "todos/t3", "-todos/t4"}},
		{"a snapshot", syncer.Range{Snapshot: true}, []string{"todos/t1", "todos/t3"}},
		{"a snapshot begun at 1", syncer.Range{HideUpTo: 1}, []string{"todos/t1", "-todos/t2", "todos/t3", "-todos/t4"}},
		{"a snapshot begun at 2", syncer.Range{HideUpTo: 2}, []string{"todos/t1", "todos/t3", "-todos/t4"}},
		{"a snapshot begun at 3", syncer.Range{HideUpTo: 3, After: 1}, []string{"todos/t3", "-todos/t4"}},
		{"a snapshot begun at 4", syncer.Range{HideUpTo: 4, After: 1}, []string{"todos/t3"}},
	} {
		tt.r.Limit = 100
		run := w.read(t, tt.r)
		same(t, tt.name, names(ordered(run.Changes)), tt.want)
		if run.Through != 4 {
			t.Errorf("%s goes through %d, want 4", tt.name, run.Through)
		}
	}
}

func changesHiddenTail(t *testing.T, w *world) {
	w.write(t, row(1, "todos/t1", `{}`))
	w.write(t, row(2, "notes/n1", `{}`))
	w.write(t, tombstone(3, "todos/t3"))
	for _, r := range []syncer.Range{
		{Snapshot: true, Limit: 2},
		{HideUpTo: 3, Limit: 2},
		{Collections: []string{"notes"}, Snapshot: true, Limit: 1},
		{Collections: []string{"notes"}, After: 2, Limit: 1},
		{Collections: []string{"none"}, Limit: 1},
	} {
		if run := w.read(t, r); run.Through != 3 {
			t.Errorf("%+v: through %d with %v, want 3", r, run.Through, names(ordered(run.Changes)))
		}
	}
	if run := w.read(t, syncer.Range{Snapshot: true, Limit: 1}); run.Through != 1 {
		t.Errorf("through %d, want 1: a document is left", run.Through)
	}
}

func changesCollections(t *testing.T, w *world) {
	w.write(t, row(1, "todos/t1", `{}`), row(1, "notes/n1", `{}`), row(1, "Todos/t1", `{}`))
	w.write(t, row(2, "notes/n2", `{}`))
	w.write(t, row(3, "todos/t2", `{}`), tombstone(3, "todos-2/t3"))
	for _, tt := range []struct {
		collections string
		limit       int
		want        []string
		through     int64
	}{
		{"todos", 9, []string{"todos/t1", "todos/t2"}, 3},
		{"todos", 1, []string{"todos/t1"}, 1},
		{"notes", 9, []string{"notes/n1", "notes/n2"}, 3},
		{"notes", 1, []string{"notes/n1"}, 1},
		{"todos,notes", 2, []string{"notes/n1", "todos/t1"}, 1},
		{"notes,todos", 3, []string{"notes/n1", "todos/t1", "notes/n2"}, 2},
		{"todos-2", 9, []string{"-todos-2/t3"}, 3},
		{"TODOS", 9, nil, 3},
		{"todos ", 9, nil, 3},
		{"Todos,todos,todos", 9, []string{"Todos/t1", "todos/t1", "todos/t2"}, 3},
	} {
		run := w.read(t, syncer.Range{Collections: strings.Split(tt.collections, ","), Limit: tt.limit})
		got := names(ordered(run.Changes))
		if !slices.Equal(got, tt.want) || run.Through != tt.through {
			t.Errorf("%q with limit %d: %v through %d, want %v through %d",
				tt.collections, tt.limit, got, run.Through, tt.want, tt.through)
		}
	}
}

// changesRows has 20,000 tombstones, 200 a version, as the row limit and the
// largest push would have them.
func changesRows(t *testing.T, w *world) {
	const perVersion = models.MaxEdits
	const full = models.MaxPageRows / perVersion // the version with which a page is full
	w.write(t, row(1, "todos/first", `{}`))
	w.exec(t, `
		INSERT INTO documents (space_id, collection, id, version, deleted, client_id, edit_id, updated_by, updated_at)
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
		SELECT $2, 'todos', 't' || i, 1 + i / $3, true, 'c1', 'e1', 'alice', 0
		FROM n`, models.MaxPageRows-1, w.space, perVersion)
	w.write(t, row(full, "todos/t1", `{}`)) // one of them comes back; the head moves

	for _, r := range []syncer.Range{
		{After: 1, Snapshot: true}, {After: 1, HideUpTo: full}, {After: 1, Collections: []string{"none"}},
	} {
		r.Limit = 1000
		if run := w.read(t, r); run.Through != full {
			t.Errorf("%d rows of %+v: through %d, want all", models.MaxPageRows-perVersion, r, run.Through)
		}
	}
	r := syncer.Range{Snapshot: true, Limit: 1000}
	run := w.read(t, r)
	same(t, "a page of all rows that one may read", names(ordered(run.Changes)), []string{"todos/first", "todos/t1"})
	if run.Through != full {
		t.Errorf("through %d, want the head, %d", run.Through, full)
	}

	// One row more, in a version of its own.
	w.write(t, row(full+1, "todos/last", `{}`))
	for _, tt := range []struct {
		name    string
		r       syncer.Range
		want    []string
		through int64
	}{
		{"a snapshot", syncer.Range{Snapshot: true}, []string{"todos/first", "todos/t1"}, full},
		{"its next page", syncer.Range{After: full, HideUpTo: full + 1}, []string{"todos/last"}, full + 1},
		{"another collection", syncer.Range{Collections: []string{"none"}}, nil, full},
		{"its next page", syncer.Range{After: full, Collections: []string{"none"}}, nil, full + 1},
	} {
		tt.r.Limit = 1000
		run := w.read(t, tt.r)
		same(t, tt.name, names(ordered(run.Changes)), tt.want)
		if run.Through != tt.through || run.Space.Head != full+1 {
			t.Errorf("%s: through %d at head %d, want %d", tt.name, run.Through, run.Space.Head, tt.through)
		}
	}

	// Rows 20,000 and 20,001 are one version now: it is left for the next page whole.
	w.write(t, row(full+1, "todos/first", `{}`))
	if run := w.read(t, syncer.Range{Collections: []string{"none"}, Limit: 1000}); run.Through != full {
		t.Errorf("through %d, want %d: the page may not split the version after", run.Through, full)
	}
}

func changesSpace(t *testing.T, w *world) {
	w.write(t, row(8, "todos/t1", `{}`))
	w.exec(t, `UPDATE spaces SET floor = 5 WHERE id = $1`, w.space)
	got := w.read(t, syncer.Range{Limit: 1}).Space
	same(t, "head, floor, epoch", [3]int64{got.Head, got.Floor, got.Epoch}, [3]int64{8, 5, epoch})
}
