package syncer

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/models"
)

const todo = `{"title":"Buy milk","done":false,"tags":["home","shop"],"note":"two bottles, the blue ones, if they have them","order":17.5,"by":{"name":"Alice","at":"2026-11-23T10:00:00Z"}}`

func BenchmarkCheckDocument(b *testing.B) {
	for name, text := range map[string]string{
		"200 bytes":     todo,
		"256 KiB":       sized(models.MaxDocumentBytes),
		"10,000 values": `{` + numbered(models.MaxDocumentValues-1) + `}`,
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if problem := checkDocument([]byte(text)); problem != nil {
					b.Fatal(problem)
				}
			}
		})
	}
}

// What happens while the space is locked. The last two are what a hostile client
// can ask for at most.
func BenchmarkDecide(b *testing.B) {
	deep := strings.Repeat(`{"a":`, 30) + `{` + numbered(9_000) + `}` + strings.Repeat("}", 30)
	inner := strings.Repeat(`{"a":`, 30) + `{"k%d":true}` + strings.Repeat("}", 30)
	for _, bench := range []struct {
		name   string
		edits  int
		stored string // of every document; empty: there are none
		one    func(i int) models.Edit
	}{
		{"100 puts", 100, "", func(i int) models.Edit {
			return put(fmt.Sprint("e", i), fmt.Sprint("d", i), version(0), todo)
		}},
		{"100 patches of 100 documents", 100, todo, func(i int) models.Edit {
			return patchOf(fmt.Sprint("e", i), fmt.Sprint("d", i), version(7), `{"done":true}`)
		}},
		{"100 conflicts", 100, todo, func(i int) models.Edit {
			return put(fmt.Sprint("e", i), fmt.Sprint("d", i), version(3), todo)
		}},
		{"200 patches of one document of 9,000 fields", models.MaxEdits, `{` + numbered(9_000) + `}`, func(i int) models.Edit {
			return patchOf(fmt.Sprint("e", i), "d0", forced, fmt.Sprintf(`{"k%d":true}`, i))
		}},
		{"200 patches of one document, 30 levels down", models.MaxEdits, deep, func(i int) models.Edit {
			return patchOf(fmt.Sprint("e", i), "d0", forced, fmt.Sprintf(inner, i))
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p := &push{space: "s", subject: "alice", clientID: "c1"}
			locked := Locked{Space: models.Space{Head: 7, Epoch: 1}, Documents: make(map[Key]*models.Document)}
			for i := range bench.edits {
				e := newEdit(bench.one(i))
				p.edits = append(p.edits, e)
				if bench.stored != "" {
					locked.Documents[e.key] = &models.Document{
						Collection: e.Collection, ID: e.ID, Version: 7,
						Data: &bench.stored, Size: int64(len(bench.stored)), FieldVersions: putFields(7).textAt(7),
					}
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := p.decide(locked); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPage(b *testing.B) {
	page := &models.Page{Cursor: at(7), Version: 7, Changes: make([]models.Change, models.DefaultPageChanges)}
	for i := range page.Changes {
		page.Changes[i] = models.Change{
			Collection: "todos", ID: fmt.Sprint("t", i), Version: int64(i), Data: []byte(todo),
			UpdatedAt: 1795428000123, UpdatedBy: "alice", ClientID: "c1", EditID: fmt.Sprint("e", i),
		}
	}
	buffer := page.AppendJSON(nil)
	b.SetBytes(int64(len(buffer)))
	for b.Loop() {
		buffer = page.AppendJSON(buffer[:0])
	}
}

// What an edit costs that wakes a thousand streams: each for itself, and shared.
func BenchmarkStreams(b *testing.B) {
	const streams = 1000
	run := Run{Through: 2, Space: models.Space{Head: 2, Epoch: 1}, Changes: []models.Change{{
		Collection: "todos", ID: "t1", Version: 2, Data: []byte(todo), ClientID: "c1", EditID: "e1", UpdatedBy: "alice",
	}}}
	run.Changes[0].Encode() // as those of a tail
	e := New(&scriptedStore{changes: func(Range) (Run, error) { return run, nil }}, &deaf{}, Options{})
	req := PullRequest{Cursor: at(1)}
	encode := func(p *models.Page) []byte { return p.AppendJSON(nil) }
	watches := make([]*Watch, streams)
	for i := range watches {
		watches[i] = e.Watch("s")
	}
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			e.watchers.wake("s")
			for range watches {
				page, err := e.Pull(b.Context(), "s", req)
				if err != nil {
					b.Fatal(err)
				}
				encode(page)
			}
		}
	})
	b.Run("shared", func(b *testing.B) {
		for b.Loop() {
			e.watchers.wake("s")
			for _, w := range watches {
				page, err := w.Pull(b.Context(), 0, req)
				if err != nil {
					b.Fatal(err)
				}
				page.Text(encode)
			}
		}
	})
}

// What a poll costs that memory answers: nothing new, and ten changes.
func BenchmarkPull(b *testing.B) {
	store := newModelStore()
	e := New(store, &deaf{}, Options{})
	e.tails.turn(true)
	e.tails.now = func() time.Time { return time.Time{} } // the lease never ends
	commit := func(first, n int) {
		var edits []models.Edit
		for i := range n {
			edits = append(edits, put(fmt.Sprint("e", first+i), fmt.Sprint("d", first+i), version(0), todo))
		}
		if _, err := e.Push(b.Context(), "s", "alice", &models.PushRequest{ClientID: "c1", Edits: edits}); err != nil {
			b.Fatal(err)
		}
	}
	pull := func(cursor string) *models.Page {
		page, err := e.Pull(b.Context(), "s", PullRequest{Cursor: cursor})
		if err != nil {
			b.Fatal(err)
		}
		return page
	}
	commit(0, models.MaxEdits)
	before := pull("").Cursor
	commit(models.MaxEdits, 10)
	for _, bench := range []struct {
		name, cursor string
		changes      int
	}{
		{"idle", pull(before).Cursor, 0},
		{"10 changes", before, 10},
	} {
		b.Run(bench.name, func(b *testing.B) {
			reads, _ := store.calls()
			var buffer []byte
			b.ReportAllocs()
			for b.Loop() {
				page := pull(bench.cursor)
				if len(page.Changes) != bench.changes {
					b.Fatalf("%d changes", len(page.Changes))
				}
				buffer = page.AppendJSON(buffer[:0])
			}
			if after, _ := store.calls(); after != reads {
				b.Fatal("the store was asked")
			}
		})
	}
}

// blank is a store in which every space is new, and that forgets everything.
type blank struct{ Store }

func (blank) Commit(_ context.Context, g Group) error {
	found := make([]*Locked, len(g.Touches))
	for i := range found {
		found[i] = &Locked{
			Space:     models.Space{ID: g.Touches[i].Space},
			Documents: make(map[Key]*models.Document),
			Receipts:  make(map[Client]Receipts),
		}
	}
	g.Decide(found)
	return nil
}

// What a group of 1,000 edits costs beside the database.
func BenchmarkCommit(b *testing.B) {
	for _, bench := range []struct{ pushes, edits, spaces int }{{1000, 1, 32}, {100, 10, 32}, {10, 100, 10}, {100, 10, 1}} {
		b.Run(fmt.Sprintf("%d pushes of %d edits to %d spaces", bench.pushes, bench.edits, bench.spaces), func(b *testing.B) {
			e := New(blank{}, &deaf{}, Options{})
			pushes := make([]*push, bench.pushes)
			for i := range pushes {
				pushes[i] = &push{space: fmt.Sprint("s", i%bench.spaces), subject: "alice", clientID: fmt.Sprint("c", i)}
				for j := range bench.edits {
					id := fmt.Sprint("d", i*bench.edits+j)
					pushes[i].edits = append(pushes[i].edits, newEdit(put(id, id, version(0), todo)))
				}
			}
			jobs := make([]*job, len(pushes))
			b.ReportAllocs()
			for b.Loop() {
				for i, p := range pushes {
					jobs[i] = newJob(p, time.Time{})
				}
				e.commitGroup(jobs, false, nil)
			}
			for _, j := range jobs {
				if j.err != nil || j.results[0].Status != models.StatusApplied {
					b.Fatalf("%+v, %v", j.results, j.err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/edit")
		})
	}
}
