package storetest

import (
	"database/sql"
	"fmt"
	"sync"
	"testing"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// The races in which feeds lose changes. A feed by sequence numbers or by
// timestamps fails here: it shows the later number first, moves the reader past
// it, and never shows what is committed below.

var feedRequirements = []requirement{
	{"nothing is seen before it is committed, nothing is skipped", feedWrittenNotCommitted},
	{"a push that came later to one space has the later version", feedSameSpace},
	{"a push to another space does not move the reader past this one", feedOtherSpace},
	{"head and documents of a page are of one moment", feedOneMoment},
	{"followers of many writers miss nothing", feedFollowers},
}

// A transaction beside all stores does what a push does, step by step: it takes
// the lock, writes, and stands there uncommitted.
func feedWrittenNotCommitted(t *testing.T, w *world) {
	w.write(t, row(1, "todos/t1", `{}`))
	begun := w.begin(t)
	w.in(t, begun, `UPDATE spaces SET head = 2 WHERE id = $1`)
	w.in(t, begun, `UPDATE documents SET version = 2 WHERE space_id = $1`)

	found, done := start(t.Context(), w.store, w.touch(),
		func(locked syncer.Locked) syncer.Writes {
			return writes(locked, row(locked.Space.Head+1, "todos/t2", `{}`))
		})
	run := w.read(t, syncer.Range{Limit: 9})
	if run.Space.Head != 1 || run.Through != 1 || len(run.Changes) != 1 || run.Changes[0].Version != 1 {
		t.Errorf("before the commit a reader sees %+v", run)
	}
	if err := begun.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := await(t, "the push that waited", found); got.Space.Head != 2 {
		t.Errorf("it found head %d, want 2", got.Space.Head)
	}
	if err := await(t, "its end", done); err != nil {
		t.Fatal(err)
	}
	run = w.read(t, syncer.Range{After: run.Through, Limit: 9})
	same(t, "what came after", names(ordered(run.Changes)), []string{"todos/t1", "todos/t2"})
	if run.Through != 3 {
		t.Errorf("through %d, want 3", run.Through)
	}
}

// begin begins a transaction that holds the lock of w's space.
func (w *world) begin(t testing.TB) *sql.Tx {
	t.Helper()
	tx, err := w.db.SQL.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	t.Cleanup(func() { _ = tx.Rollback() }) // without effect after its commit
	w.in(t, tx, `UPDATE spaces SET head = head WHERE id = $1`)
	return tx
}

// in runs a statement on w's space in tx.
func (w *world) in(t testing.TB, tx *sql.Tx, statement string) {
	t.Helper()
	if _, err := tx.ExecContext(t.Context(), statement, w.space); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func feedSameSpace(t *testing.T, w *world) {
	first, locked := hold(t, w.store, w.touch())
	found, done := start(t.Context(), w.other, w.touch(),
		func(locked syncer.Locked) syncer.Writes {
			return writes(locked, row(locked.Space.Head+1, "todos/b", `{}`))
		})
	run := w.read(t, syncer.Range{Limit: 9})
	same(t, "a page before any commit", run, syncer.Run{})

	first.commit(t, writes(locked, row(1, "todos/a", `{}`)))
	await(t, "the later push", found)
	if err := await(t, "its end", done); err != nil {
		t.Fatal(err)
	}
	same(t, "the next page", ordered(w.read(t, syncer.Range{After: run.Through, Limit: 9}).Changes),
		changes([]models.Document{row(1, "todos/a", `{}`), row(2, "todos/b", `{}`)}))
}

func feedOtherSpace(t *testing.T, w *world) {
	if !w.db.LocksSpaces {
		return // the push to the other space waits: there is no such race
	}
	neighbor := *w
	neighbor.space = newSpace()
	first, locked := hold(t, w.store, w.touch())
	neighbor.write(t, row(1_000, "todos/b", `{}`))

	run := w.read(t, syncer.Range{Limit: 9})
	same(t, "a page before the commit", run, syncer.Run{})
	same(t, "a page of the other space", names(ordered(neighbor.read(t, syncer.Range{Limit: 9}).Changes)), []string{"todos/b"})
	first.commit(t, writes(locked, row(1, "todos/a", `{}`)))
	same(t, "the next page", names(ordered(w.read(t, syncer.Range{After: run.Through, Limit: 9}).Changes)), []string{"todos/a"})
}

// Every version writes both documents, so a page of one moment holds both, at its head.
func feedOneMoment(t *testing.T, w *world) {
	const versions = 60
	finished := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for ended := false; !ended; {
				select {
				case <-finished:
					ended = true
				default:
				}
				run, err := w.other.Changes(t.Context(), w.space, syncer.Range{Limit: 9})
				if err != nil {
					t.Errorf("changes: %v", err)
					return
				}
				if run.Through != run.Space.Head {
					t.Errorf("through %d at head %d", run.Through, run.Space.Head)
				}
				for _, d := range run.Changes {
					if d.Version != run.Space.Head {
						t.Errorf("a page at head %d holds version %d", run.Space.Head, d.Version)
					}
				}
			}
		})
	}
	for version := int64(1); version <= versions; version++ {
		w.write(t, row(version, "todos/a", `{}`), row(version, "todos/b", `{}`))
	}
	close(finished)
	readers.Wait()
}

func feedFollowers(t *testing.T, w *world) {
	const writers, rounds, followers = 16, 4, 4
	finished := make(chan struct{})
	var writing, following sync.WaitGroup
	for i := range writers {
		writing.Go(func() {
			node := []syncer.Store{w.store, w.other}[i%2]
			for round := range rounds {
				err := commit(t.Context(), node, w.touch(), func(locked syncer.Locked) (syncer.Writes, error) {
					version := locked.Space.Head + 1
					return writes(locked,
						row(version, fmt.Sprintf("todos/w%d-%d", i, round), `{}`),
						row(version, fmt.Sprintf("todos/w%d", i), `{}`)), nil
				})
				if err != nil {
					t.Errorf("commit: %v", err)
				}
			}
		})
	}
	for i := range followers {
		following.Go(func() {
			seen := map[syncer.Key]int64{}
			for after, ended := int64(0), false; ; {
				select {
				case <-finished:
					ended = true
				default:
				}
				run, err := w.store.Changes(t.Context(), w.space, syncer.Range{After: after, Limit: i + 1})
				if err != nil {
					t.Errorf("changes: %v", err)
					return
				}
				for _, d := range run.Changes {
					if d.Version <= after {
						t.Errorf("version %d comes after %d", d.Version, after)
					}
					seen[syncer.Key{Collection: d.Collection, ID: d.ID}] = d.Version
				}
				after = run.Through
				if ended && after == run.Space.Head {
					break
				}
			}
			if len(seen) != writers*(rounds+1) {
				t.Errorf("a follower saw %d documents, want %d", len(seen), writers*(rounds+1))
			}
			for _, d := range w.read(t, syncer.Range{Limit: models.MaxPageChanges}).Changes {
				if at := (syncer.Key{Collection: d.Collection, ID: d.ID}); seen[at] != d.Version {
					t.Errorf("a follower saw %v at version %d, it is at %d", at, seen[at], d.Version)
				}
			}
		})
	}
	writing.Wait()
	close(finished)
	following.Wait()
}
