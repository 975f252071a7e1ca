package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

var groupRequirements = []requirement{
	{"commits several spaces in one transaction", groupSeveralSpaces},
	{"finds for each touch its own documents and clients", groupFindsItsOwn},
	{"writes no row of a space for which there is nothing to write", groupLeavesEmptyAlone},
	{"writes receipts of one space and documents of another", groupMixed},
	{"makes a new space only when it may wait", groupNewSpaces},
	{"leaves out a space that somebody else has locked", groupLeavesOutLocked},
	{"leaves out all if all are locked", groupAllLocked},
	{"finds what the holder of the lock committed", groupAfterTheHolder},
	{"writes nothing if the database refuses one document", groupRefusesDocument},
	{"says of a refusal that nothing was written, and goes on", groupGoesOnAfterRefusal},
	{"writes nothing if its context ends in decide", groupContextEnds},
	{"groups of the same spaces don't wait in a circle", groupNoDeadlock},
	{"carries the largest group", groupLargest},
}

// neighbors returns worlds in n spaces, in the order of their names.
func (w *world) neighbors(n int) []*world {
	list := make([]*world, n)
	for i := range list {
		neighbor := *w
		neighbor.space = newSpace()
		list[i] = &neighbor
	}
	slices.SortFunc(list, func(a, b *world) int { return cmp.Compare(a.space, b.space) })
	return list
}

// touches are the touches of several spaces.
func touches(list []*world, wants ...syncer.Want) []syncer.Touch {
	all := make([]syncer.Touch, len(list))
	for i, w := range list {
		all[i] = w.touch(wants...)
	}
	return all
}

// group commits a group that doesn't wait; each space that is found has decide called.
func (w *world) group(ctx context.Context, all []syncer.Touch, decide func(i int, found *syncer.Locked) syncer.Writes) (left []int, err error) {
	err = w.store.Commit(ctx, syncer.Group{Touches: all, Decide: func(found []*syncer.Locked) []syncer.Writes {
		left = nil
		list := make([]syncer.Writes, len(found))
		for i := range found {
			if found[i] == nil {
				left = append(left, i)
				continue
			}
			list[i] = decide(i, found[i])
		}
		return list
	}})
	return left, err
}

// there makes sure that spaces are there, at head 1 with todos/t1.
func there(t testing.TB, list []*world) {
	t.Helper()
	for _, w := range list {
		w.write(t, row(1, "todos/t1", `{"a":1}`))
	}
}

func groupSeveralSpaces(t *testing.T, w *world) {
	list := w.neighbors(3)
	there(t, list)
	left, err := w.group(t.Context(), touches(list), func(i int, found *syncer.Locked) syncer.Writes {
		version := int64(2 + 10*i) // each space has versions of its own
		wr := writes(*found, row(version, "todos/t1", fmt.Sprintf(`{"n":%d}`, i)), tombstone(version, "todos/t2"))
		wr.Receipts = ring(found.Space.ID)
		return wr
	})
	if err != nil || len(left) > 0 {
		t.Fatalf("left out %v, error %v", left, err)
	}
	for i, neighbor := range list {
		version := int64(2 + 10*i)
		run := read(t, w.other, neighbor.space, syncer.Range{Limit: 9})
		same(t, "changes", ordered(run.Changes), changes([]models.Document{
			row(version, "todos/t1", fmt.Sprintf(`{"n":%d}`, i)), tombstone(version, "todos/t2"),
		}))
		same(t, "receipts", neighbor.locked(t, neighbor.touch()).Receipts, ring(neighbor.space))
		if run.Space.Head != version || run.Space.Epoch != epoch {
			t.Errorf("space %d is %+v, want head %d", i, run.Space, version)
		}
	}
}

func groupFindsItsOwn(t *testing.T, w *world) {
	list := w.neighbors(3)
	bob := syncer.Client{Subject: "bob", ID: "c1"}
	for i, neighbor := range list {
		n := int64(i + 1)
		neighbor.write(t, row(n, "todos/t1", fmt.Sprintf(`{"n":%d}`, i)), row(n, "todos/t2", fmt.Sprintf(`{"m":%d}`, i)))
		neighbor.remember(t, c1, syncer.Receipts{Newest: fmt.Appendf(nil, "alice %d", i)})
		neighbor.remember(t, bob, syncer.Receipts{Newest: fmt.Appendf(nil, "bob %d", i)})
	}
	all := []syncer.Touch{
		list[0].touch(syncer.Want{Key: key("todos/t1"), Base: 1}, syncer.Want{Key: key("todos/t2"), Base: 2}),
		list[1].touch(),
		list[2].touch(syncer.Want{Key: key("todos/none")}, syncer.Want{Key: key("todos/t2"), Base: 3, Data: true}),
	}
	all[1].Clients = []syncer.Client{bob, {Subject: "carol", ID: "c1"}}
	all[2].Clients = nil
	got := make([]syncer.Locked, 3)
	left, err := w.group(t.Context(), all, func(i int, found *syncer.Locked) syncer.Writes {
		got[i] = *found
		return syncer.Writes{}
	})
	if err != nil || len(left) > 0 {
		t.Fatalf("left out %v, error %v", left, err)
	}
	document := func(i int, at, text string) *models.Document {
		d := row(int64(i+1), at, text)
		d.SpaceID = list[i].space
		return &d
	}
	bare := document(0, "todos/t1", `{"n":0}`)
	bare.Data = nil // its text was not wanted
	for i, want := range []syncer.Locked{
		{
			Documents: map[syncer.Key]*models.Document{key("todos/t1"): bare, key("todos/t2"): document(0, "todos/t2", `{"m":0}`)},
			Receipts:  ring("alice 0"),
		},
		{Receipts: map[syncer.Client]syncer.Receipts{bob: {Newest: []byte("bob 1")}}},
		{Documents: map[syncer.Key]*models.Document{key("todos/t2"): document(2, "todos/t2", `{"m":2}`)}},
	} {
		if got[i].Now <= 0 || got[i].Space.CreatedAt <= 0 {
			t.Errorf("space %d: now is %d, created at %d", i, got[i].Now, got[i].Space.CreatedAt)
		}
		got[i].Now, got[i].Space.CreatedAt = 0, 0
		want.Space, want.Identity = models.Space{ID: list[i].space, Head: int64(i + 1), Epoch: epoch, PastEpochs: "[]"}, epoch
		same(t, fmt.Sprint("space ", i), got[i], want)
	}
}

func groupLeavesEmptyAlone(t *testing.T, w *world) {
	list := w.neighbors(3)
	there(t, list[:2])
	_, err := w.group(t.Context(), touches(list), func(i int, found *syncer.Locked) syncer.Writes {
		if i != 1 {
			return syncer.Writes{}
		}
		return writes(*found, row(2, "todos/t2", `{}`))
	})
	if err != nil {
		t.Fatal(err)
	}
	list[0].unchanged(t)
	if head := list[1].read(t, syncer.Range{Limit: 1}).Space.Head; head != 2 {
		t.Errorf("the one with something to write is at head %d, want 2", head)
	}
	list[2].untouched(t)
}

func groupMixed(t *testing.T, w *world) {
	list := w.neighbors(2)
	there(t, list)
	_, err := w.group(t.Context(), touches(list), func(i int, found *syncer.Locked) syncer.Writes {
		if i == 0 {
			return syncer.Writes{Receipts: ring("receipts")}
		}
		return writes(*found, row(2, "todos/t2", `{}`))
	})
	if err != nil {
		t.Fatal(err)
	}
	got := list[0].locked(t, list[0].touch())
	if got.Space.Head != 1 || string(got.Receipts[c1].Newest) != "receipts" {
		t.Errorf("the space of receipts alone: %+v", got)
	}
	got = list[1].locked(t, list[1].touch())
	if got.Space.Head != 2 || len(got.Receipts) != 0 {
		t.Errorf("the space of a document alone: %+v", got)
	}
}

func groupNewSpaces(t *testing.T, w *world) {
	list := w.neighbors(3)
	there(t, list[1:2])
	left, err := w.group(t.Context(), touches(list), func(_ int, found *syncer.Locked) syncer.Writes {
		return writes(*found, row(2, "todos/t2", `{}`))
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []int{0, 2}
	if !w.db.LocksSpaces {
		want = nil // who has the only lock there is can make them
	}
	same(t, "left out", left, want)
	if head := list[1].read(t, syncer.Range{Limit: 1}).Space.Head; head != 2 {
		t.Errorf("the space that was there is at head %d, want 2", head)
	}
	for _, i := range want {
		list[i].untouched(t)
		list[i].write(t, row(1, "todos/t1", `{}`)) // it waits, so it may
	}
}

// The lock of w's space is held while groups are committed. SQLite has one lock for
// all: there the groups wait.
func groupLeavesOutLocked(t *testing.T, w *world) {
	if !w.db.LocksSpaces {
		return
	}
	list := w.neighbors(4)
	there(t, list)
	first, locked := hold(t, w.store, list[1].touch())
	for _, node := range []syncer.Store{w.store, w.other} {
		other := *w
		other.store = node
		left, err := other.group(t.Context(), touches(list, syncer.Want{Key: key("todos/t1"), Data: true}),
			func(_ int, found *syncer.Locked) syncer.Writes {
				if d := found.Documents[key("todos/t1")]; d == nil || d.SpaceID != found.Space.ID {
					t.Errorf("a touch behind the one that is left out finds %+v", d)
				}
				return writes(*found, row(found.Space.Head+1, "todos/t2", `{}`))
			})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "left out", left, []int{1})
	}
	for i, neighbor := range list {
		want := int64(3)
		if i == 1 {
			want = 1
		}
		if head := neighbor.read(t, syncer.Range{Limit: 1}).Space.Head; head != want {
			t.Errorf("space %d is at head %d, want %d", i, head, want)
		}
	}
	first.commit(t, writes(locked, row(2, "todos/t1", `{}`)))
	left, err := w.group(t.Context(), touches(list), func(int, *syncer.Locked) syncer.Writes { return syncer.Writes{} })
	if err != nil || len(left) > 0 {
		t.Errorf("with the lock free again: left out %v, error %v", left, err)
	}
}

func groupAllLocked(t *testing.T, w *world) {
	if !w.db.LocksSpaces {
		return
	}
	list := w.neighbors(1)
	there(t, list)
	first, _ := hold(t, w.store, list[0].touch())
	left, err := w.group(t.Context(), touches(list), func(int, *syncer.Locked) syncer.Writes {
		t.Error("a locked space is found")
		return syncer.Writes{}
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "left out", left, []int{0})
	first.commit(t, syncer.Writes{})
	list[0].unchanged(t)
}

// A statement that reads documents and waits for the lock as well would have begun
// before the holder's commit, and find what was there then.
func groupAfterTheHolder(t *testing.T, w *world) {
	w.write(t, row(1, "todos/t1", `{"n":1}`))
	w.remember(t, c1, syncer.Receipts{Newest: []byte("first")})
	wants := []syncer.Want{{Key: key("todos/t1"), Data: true}, {Key: key("todos/t2"), Data: true}}
	for version := int64(2); version < 8; version++ {
		first, locked := hold(t, w.store, w.touch())
		found, done := start(t.Context(), w.other, w.touch(wants...), func(syncer.Locked) syncer.Writes { return syncer.Writes{} })
		w.waiting(t)
		text := fmt.Sprintf(`{"n":%d}`, version)
		wr := writes(locked, row(version, "todos/t1", text), row(version, "todos/t2", text))
		wr.Receipts = ring(text)
		first.commit(t, wr)
		got := await(t, "who waited", found)
		if err := await(t, "its end", done); err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if d := got.Documents[want.Key]; d == nil || d.Version != version || *d.Data != text {
				t.Errorf("at head %d it finds %+v, want version %d", got.Space.Head, d, version)
			}
		}
		same(t, "receipts", got.Receipts, ring(text))
	}
}

// waiting returns when somebody waits for the lock of w's space. SQLite doesn't tell.
func (w *world) waiting(t testing.TB) {
	t.Helper()
	if !w.db.LocksSpaces {
		return
	}
	for t.Context().Err() == nil {
		var n int
		err := w.db.SQL.QueryRowContext(t.Context(), `
SELECT count(*)
FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FOR NO KEY UPDATE%'`).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return
		}
	}
}

// bad is a document that no database takes: a tombstone with a text.
func bad(version int64) models.Document {
	d := row(version, "todos/bad", `{}`)
	d.Deleted = true
	return d
}

// refused reports whether the database refused a statement.
func refused(err error) bool {
	var e *syncer.GroupError
	return errors.As(err, &e)
}

func groupRefusesDocument(t *testing.T, w *world) {
	list := w.neighbors(3)
	there(t, list[:2])
	fresh := list[2]
	documents := map[string]models.Document{"a tombstone with a text": bad(2)}
	if w.db.LocksSpaces {
		documents["a text that is not JSON"] = row(2, "todos/bad", `{"a":`)
		documents["a name that is not UTF-8"] = row(2, "todos/\xff", `{}`)
	}
	for what, document := range documents {
		_, err := w.group(t.Context(), touches(list), func(i int, found *syncer.Locked) syncer.Writes {
			wr := writes(*found, row(2, "todos/t2", `{}`))
			if i == 1 {
				wr = writes(*found, row(2, "todos/t2", `{}`), document, row(2, "todos/t3", `{}`))
			}
			wr.Receipts = ring("receipts")
			return wr
		})
		if !refused(err) {
			t.Errorf("%s: error %v, want a GroupError", what, err)
		}
		list[0].unchanged(t)
		list[1].unchanged(t)
		fresh.untouched(t)
	}
	// The same in a group of one, which waits.
	err := commit(t.Context(), w.store, fresh.touch(), func(locked syncer.Locked) (syncer.Writes, error) {
		return writes(locked, bad(1)), nil
	})
	if !refused(err) {
		t.Errorf("alone: error %v, want a GroupError", err)
	}
	fresh.untouched(t)
}

func groupGoesOnAfterRefusal(t *testing.T, w *world) {
	there(t, []*world{w})
	for version := int64(2); version < 22; version++ { // more often than there are connections
		err := commit(t.Context(), w.store, w.touch(), func(locked syncer.Locked) (syncer.Writes, error) {
			return writes(locked, bad(version)), nil
		})
		if !refused(err) {
			t.Fatalf("error %v, want a GroupError", err)
		}
		w.write(t, row(version, "todos/t1", `{}`))
	}
}

func groupContextEnds(t *testing.T, w *world) {
	list := w.neighbors(2)
	there(t, list)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := w.group(ctx, touches(list), func(_ int, found *syncer.Locked) syncer.Writes {
		cancel()
		return writes(*found, row(2, "todos/t1", `{}`))
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	for _, neighbor := range list {
		neighbor.unchanged(t)
	}
	left, err := w.group(t.Context(), touches(list), func(int, *syncer.Locked) syncer.Writes { return syncer.Writes{} })
	if err != nil || len(left) > 0 {
		t.Errorf("the locks are not free: left out %v, error %v", left, err)
	}
}

// Groups leave each other's spaces out and wait for none, so each ends; what they
// commit adds up.
func groupNoDeadlock(t *testing.T, w *world) {
	const nodes, rounds = 6, 10
	list := w.neighbors(4)
	there(t, list)
	done := make(chan [4]int64, nodes)
	for n := range nodes {
		go func() {
			node := *w
			if n%2 == 1 {
				node.store = w.other
			}
			var added [4]int64
			for round := range rounds {
				mine := []int{0, 1, 2, 3}
				if n%3 == 1 {
					mine = []int{round % 2, 2 + round%2}
				}
				all := make([]syncer.Touch, len(mine))
				for i, at := range mine {
					all[i] = list[at].touch()
				}
				var committed [4]int64
				_, err := node.group(t.Context(), all, func(i int, found *syncer.Locked) syncer.Writes {
					committed[mine[i]] = 1
					wr := writes(*found, row(found.Space.Head+1, fmt.Sprintf("todos/n%d", n), `{}`))
					wr.Space.LiveCount++
					return wr
				})
				if err != nil {
					t.Errorf("commit: %v", err)
					continue
				}
				for i := range added {
					added[i] += committed[i]
				}
			}
			done <- added
		}()
	}
	var want [4]int64
	for range nodes {
		for i, n := range await(t, "the end of a node", done) {
			want[i] += n
		}
	}
	for i, neighbor := range list {
		if got := neighbor.locked(t, neighbor.touch()).Space; got.LiveCount != want[i] || got.Head != 1+want[i] {
			t.Errorf("space %d: %+v, want %d commits", i, got, want[i])
		}
	}
}

func groupLargest(t *testing.T, w *world) {
	const spaces, documents = 20, 50
	list := w.neighbors(spaces)
	there(t, list)
	var wants []syncer.Want
	for i := range documents {
		wants = append(wants, syncer.Want{Key: key(fmt.Sprintf("todos/d%02d", i))})
	}
	for version := int64(2); version < 4; version++ {
		_, err := w.group(t.Context(), touches(list, wants...), func(i int, found *syncer.Locked) syncer.Writes {
			if want := int(version-2) * documents; len(found.Documents) != want {
				t.Errorf("space %d: %d documents found, want %d", i, len(found.Documents), want)
			}
			var rows []models.Document
			for j := range documents {
				rows = append(rows, row(version, fmt.Sprintf("todos/d%02d", j), fmt.Sprintf(`{"at":[%d,%d,%d]}`, version, i, j)))
			}
			return writes(*found, rows...)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, neighbor := range list {
		run := neighbor.read(t, syncer.Range{After: 1, Limit: documents})
		for j, change := range ordered(run.Changes) {
			if want := fmt.Sprintf(`{"at":[3,%d,%d]}`, i, j); string(change.Data) != want {
				t.Fatalf("space %d, document %d holds %s, want %s", i, j, change.Data, want)
			}
		}
		if len(run.Changes) != documents {
			t.Errorf("space %d: %d changes", i, len(run.Changes))
		}
	}
}
