package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// What engines that run make of the inbox.
var collectRequirements = []requirement{
	{"rows are carried out in order, at one version, and are gone", collectCarriesOut},
	{"a row with a base is checked like any edit", collectBase},
	{"rows that are rejected don't stop the others", collectRejected},
	{"a row of a bad space is rejected", collectBadSpace},
	{"rows that write too much together are carried out in parts", collectTooMuch},
	{"more rows than a push may hold are carried out in parts", collectMany},
	{"rows are not carried out while their space is locked, and then they are", collectLocked},
	{"a row is carried out once, and in order, however many nodes run", collectRace},
	{"a row that fails every time is set aside, and only that one", collectPoison},
}

// collecting runs an engine on a store until the test ends.
func (w *world) collecting(t testing.TB, store syncer.Store) {
	t.Helper()
	run(t, newEngine(counting(store), nil))
}

// collected waits until w's space has no rows left in the inbox.
func (w *world) collected(t testing.TB) {
	t.Helper()
	eventually(t, "the inbox is empty", func() bool { return len(w.left(t)) == 0 })
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !holds(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %v not yet: %s", patience, what)
		}
	}
}

// from is a document or tombstone that a row of the inbox has made.
func from(id, version int64, at, data string) models.Change {
	c := client{subject: "inbox", id: "inbox"}
	if data == "" {
		return *c.gone(version, at, fmt.Sprintf("inbox-%d", id))
	}
	return *c.live(version, at, data, fmt.Sprintf("inbox-%d", id))
}

func collectCarriesOut(t *testing.T, w *world) {
	w.alice.must(t, put("e1", "todos/t3", on(0), `{"a":1,"b":2}`)) // version 1
	ids := w.put(t, w.space,
		entry{op: models.OpPut, at: "todos/t1", data: ` {"a": 1} `},
		entry{op: models.OpPut, at: "todos/t2", data: `{"a":1}`},
		entry{op: models.OpPut, at: "todos/t2", data: `{"a":2}`},
		entry{op: models.OpPatch, at: "todos/t3", data: `{"b":3}`},
		entry{op: models.OpPut, at: "todos/t4", data: `{}`},
		entry{op: models.OpDelete, at: "todos/t4"},
		entry{op: models.OpDelete, at: "todos/t5"}, // there is nothing
	)
	w.collecting(t, w.store)
	w.collected(t)
	same(t, "documents", w.alice.all(t, w.store), []models.Change{
		from(ids[0], 2, "todos/t1", `{"a": 1}`),
		from(ids[2], 2, "todos/t2", `{"a":2}`),
		from(ids[3], 2, "todos/t3", `{"a":1,"b":3}`),
		from(ids[5], 2, "todos/t4", ""),
	})
	same(t, "rejected", w.rejected(t, w.space), nil)
	if receipts := w.locked(t, syncer.Touch{Space: w.space, Clients: []syncer.Client{{Subject: "inbox", ID: "inbox"}}}).Receipts; len(receipts) > 0 {
		t.Errorf("receipts %v, want none", receipts)
	}
}

func collectBase(t *testing.T, w *world) {
	w.alice.must(t, put("e1", "todos/t1", on(0), `{"a":1,"b":1}`), put("e2", "todos/t2", on(0), `{"a":1}`)) // version 1
	w.alice.must(t, patch("e3", "todos/t2", on(1), `{"a":2}`))                                              // version 2
	zero, one := int64(0), int64(1)
	list := []entry{
		{models.OpPut, "todos/t1", `{"a":3}`, &one},
		{models.OpPut, "todos/t2", `{"a":3}`, &one},   // has changed
		{models.OpPut, "todos/t2", `{"a":3}`, &zero},  // is there
		{models.OpPatch, "todos/t2", `{"b":3}`, &one}, // another field has changed
		{models.OpPut, "todos/t3", `{"a":3}`, &zero},
		{models.OpPatch, "todos/t9", `{"a":3}`, nil}, // there is nothing to patch
	}
	ids := w.put(t, w.space, list...)
	w.collecting(t, w.store)
	w.collected(t)
	same(t, "documents", w.alice.all(t, w.store), []models.Change{
		from(ids[0], 3, "todos/t1", `{"a":3}`),
		from(ids[3], 3, "todos/t2", `{"a":2,"b":3}`),
		from(ids[4], 3, "todos/t3", `{"a":3}`),
	})
	same(t, "rejected", w.rejected(t, w.space), []models.InboxRejected{
		w.rejection(ids[1], list[1], models.CodeVersionConflict, ""),
		w.rejection(ids[2], list[2], models.CodeVersionConflict, ""),
		w.rejection(ids[5], list[5], models.CodeVersionConflict, ""),
	})
}

func collectRejected(t *testing.T, w *world) {
	list := []entry{
		{models.OpPut, "bad name/t1", `{}`, nil},
		{models.OpPut, "todos/bad id", `{}`, nil},
		{models.OpPut, "todos/t1", `[]`, nil},
		{models.OpPut, "todos/t1", `{"a":{"b":1,"b":2}}`, nil},
		{models.OpPut, "todos/t1", ``, nil},
		{models.OpDelete, "todos/t1", `{}`, nil},
		{models.OpPut, "todos/t1", `{"a":"` + strings.Repeat("x", models.MaxDocumentBytes) + `"}`, nil},
		{models.OpPut, "todos/t2", `{}`, nil},
	}
	ids := w.put(t, w.space, list...)
	w.collecting(t, w.store)
	w.collected(t)
	same(t, "documents", w.alice.all(t, w.store), []models.Change{from(ids[7], 1, "todos/t2", `{}`)})
	same(t, "rejected", w.rejected(t, w.space), []models.InboxRejected{
		w.rejection(ids[0], list[0], models.CodeInvalidCollection, "/collection"),
		w.rejection(ids[1], list[1], models.CodeInvalidID, "/id"),
		w.rejection(ids[2], list[2], models.CodeInvalidDocument, "/data"),
		w.rejection(ids[3], list[3], models.CodeDuplicateKey, "/data/a/b"),
		w.rejection(ids[4], list[4], models.CodeInvalidDocument, "/data"),
		w.rejection(ids[5], list[5], models.CodeInvalidEdit, "/data"),
		w.rejection(ids[6], list[6], models.CodeDocumentTooLarge, "/data"),
	})
}

func collectBadSpace(t *testing.T, w *world) {
	bad := *w
	bad.space = "no space: " + w.space
	bad.store = own{w.nodes[0], bad.space}
	bad.other = own{w.nodes[1], bad.space}
	list := puts(3)
	ids := bad.put(t, bad.space, list...)
	bad.collecting(t, bad.store)
	bad.collecting(t, bad.other)
	bad.collected(t)
	var want []models.InboxRejected
	for i := range ids {
		want = append(want, bad.rejection(ids[i], list[i], models.CodeInvalidSpace, "/space"))
	}
	same(t, "rejected", bad.rejected(t, bad.space), want)
	bad.untouched(t)
}

// Patches of a few bytes each make documents that one push can't hold.
func collectTooMuch(t *testing.T, w *world) {
	const documents = models.MaxPushBytes/models.MaxDocumentBytes + 1
	text := `{"a":"` + strings.Repeat("x", models.MaxDocumentBytes-20) + `"}`
	var patches []entry
	for i := range documents {
		at := fmt.Sprintf("todos/t%02d", i)
		w.write(t, row(int64(1+i), at, text))
		patches = append(patches, entry{op: models.OpPatch, at: at, data: `{"b":1}`})
	}
	w.put(t, w.space, patches...)
	w.collecting(t, w.store)
	w.collected(t)
	same(t, "rejected", w.rejected(t, w.space), nil)
	versions := map[int64]bool{}
	last := int64(0)
	for i := range documents {
		d, err := w.store.Document(t.Context(), w.space, key(fmt.Sprintf("todos/t%02d", i)))
		if err != nil {
			t.Fatal(err)
		}
		if d.Version <= documents || d.Version < last || !strings.HasSuffix(*d.Data, `,"b":1}`) {
			t.Errorf("document %d is at version %d after %d, of %d bytes", i, d.Version, last, len(*d.Data))
		}
		versions[d.Version], last = true, d.Version
	}
	if len(versions) != 2 {
		t.Errorf("%d versions, want two parts", len(versions))
	}
}

func collectMany(t *testing.T, w *world) {
	w.put(t, w.space, puts(2*models.MaxEdits+1)...)
	w.collecting(t, w.store)
	w.collected(t)
	at := map[int64]int{}
	for _, c := range w.alice.all(t, w.store) {
		at[c.Version]++
	}
	same(t, "documents at each version", at, map[int64]int{1: models.MaxEdits, 2: models.MaxEdits, 3: 1})
}

func collectLocked(t *testing.T, w *world) {
	w.write(t, row(1, "todos/t1", `{}`))
	ids := w.put(t, w.space, puts(1)...)
	first, locked := hold(t, w.other, w.touch())
	neighbor := *w
	neighbor.space = newSpace()
	neighbor.store = own{w.nodes[0], neighbor.space}
	looked := make(chan struct{}, 1)
	w.collecting(t, looks{w.store, looked})
	await(t, "a look at the inbox", looked)
	if w.db.LocksSpaces {
		// The locked space is in nobody's way.
		neighbor.put(t, neighbor.space, puts(1)...)
		neighbor.collecting(t, neighbor.store)
		neighbor.collected(t)
		same(t, "head of the other space", neighbor.read(t, syncer.Range{Limit: 1}).Space.Head, 1)
	}
	same(t, "left", w.left(t), ids)
	first.commit(t, writes(locked, row(2, "todos/t1", `{}`)))
	w.collected(t)
	same(t, "documents", w.alice.all(t, w.store), append(changes([]models.Document{row(2, "todos/t1", `{}`)}), from(ids[0], 3, "todos/t0", `{}`)))
}

// looks is a store that tells when its inbox has been read.
type looks struct {
	syncer.Store
	looked chan struct{}
}

func (s looks) Inbox(ctx context.Context, want syncer.InboxRange) ([]models.Inbox, error) {
	rows, err := s.Store.Inbox(ctx, want)
	select {
	case s.looked <- struct{}{}:
	default:
	}
	return rows, err
}

// Writers and clients work on one space while four engines on two nodes carry out
// the rows. Each writer counts in a document of its own, and creates one that must
// not be there yet with each count: a row that is carried out twice is rejected, one
// that overtakes another makes a number fall.
func collectRace(t *testing.T, w *world) {
	const writers, rounds = 4, 25
	for range 2 {
		w.collecting(t, w.store)
		w.collecting(t, w.other)
	}
	var writing sync.WaitGroup
	for n := range writers {
		writing.Go(func() {
			for i := range rounds {
				if err := w.count(t.Context(), n, i, i%5 == 4); err != nil {
					t.Error(err)
				}
				w.bob.push(t, put(fmt.Sprintf("e-%d-%d", n, i), fmt.Sprintf("bob/d-%d-%d", n, i), on(0), `{}`))
			}
		})
	}
	written := make(chan struct{})
	go func() { writing.Wait(); close(written) }()

	numbers, created := map[string]int{}, map[string]int{}
	cursor, over := "", false
	eventually(t, "all rows are seen", func() bool {
		if !over {
			select {
			case <-written:
				over = true
			default:
			}
		}
		page := w.alice.pull(t, syncer.PullRequest{Cursor: cursor})
		cursor = page.Cursor
		for _, c := range page.Changes {
			var number int
			if _, err := fmt.Sscanf(string(c.Data), `{"n":%d}`, &number); err == nil {
				if number < numbers[c.ID] {
					t.Errorf("%s goes from %d to %d", c.ID, numbers[c.ID], number)
				}
				numbers[c.ID] = number
			} else if c.Collection == "new" {
				created[c.ID]++
			}
		}
		return over && !page.HasMore && len(w.left(t)) == 0 && len(created) >= writers*rounds*4/5
	})
	same(t, "rejected", w.rejected(t, w.space), nil)
	for n := range writers {
		if id := fmt.Sprintf("w%d", n); numbers[id] != rounds-2 { // the last one was rolled back
			t.Errorf("%s ends at %d, want %d", id, numbers[id], rounds-2)
		}
	}
	for id, times := range created {
		if times != 1 || strings.HasPrefix(id, "undone") {
			t.Errorf("%s came %d times", id, times)
		}
	}
	if len(created) != writers*rounds*4/5 {
		t.Errorf("%d documents were made, want %d", len(created), writers*rounds*4/5)
	}
}

// count is one transaction of a writer.
func (w *world) count(ctx context.Context, writer, n int, undo bool) error {
	name := "made"
	if undo {
		name = "undone"
	}
	tx, err := w.db.SQL.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // without effect after a commit
	for _, e := range []entry{
		{models.OpPut, fmt.Sprintf("count/w%d", writer), fmt.Sprintf(`{"n":%d}`, n), nil},
		{models.OpPut, fmt.Sprintf("new/%s-%d-%d", name, writer, n), `{}`, new(int64)},
	} {
		if _, err := e.insert(ctx, tx, w.space); err != nil {
			return err
		}
	}
	if undo {
		return tx.Rollback()
	}
	return tx.Commit()
}

// collectPoison lets every commit fail that has to do with one row.
func collectPoison(t *testing.T, w *world) {
	list := puts(5)
	ids := w.put(t, w.space, list...)
	const poison = 2
	var ahead atomic.Int64 // of the clock, in looks
	engine := syncer.New(poisoned{counting(w.store), ids[poison], &ahead}, deaf{}, syncer.Options{
		Logger: slog.New(slog.DiscardHandler),
		Now:    func() time.Time { return time.Now().Add(time.Duration(ahead.Load()) * 40 * time.Second) },
	})
	run(t, engine)
	w.collected(t)
	same(t, "rejected", w.rejected(t, w.space), []models.InboxRejected{w.rejection(ids[poison], list[poison], models.CodeInternal, "")})
	var got, want []string
	for _, c := range w.alice.all(t, w.store) {
		got = append(got, c.EditID)
	}
	for i, id := range ids {
		if i != poison {
			want = append(want, fmt.Sprintf("inbox-%d", id))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	same(t, "edits", got, want)
}

// poisoned is a store that fails over one row of the inbox. Each look at the inbox
// takes its time.
type poisoned struct {
	syncer.Store
	row   int64
	ahead *atomic.Int64
}

func (s poisoned) Inbox(ctx context.Context, want syncer.InboxRange) ([]models.Inbox, error) {
	s.ahead.Add(1)
	return s.Store.Inbox(ctx, want)
}

func (s poisoned) Commit(ctx context.Context, group syncer.Group) error {
	for _, touch := range group.Touches {
		if slices.Contains(touch.Inbox, s.row) {
			return errors.New("this row breaks everything")
		}
	}
	return s.Store.Commit(ctx, group)
}
