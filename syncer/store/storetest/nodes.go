package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// Two nodes on one database, each with the newest changes in memory, and a broker
// that loses everything.
var nodeRequirements = []requirement{
	{"a long poll sees what another node committed", nodesSeeEachOther},
	{"who names a version or brings a cursor is answered at once", nodesReadYourWrites},
	{"a client that changes nodes with every request misses nothing", nodesAnyNode},
	{"a history that was lost is forgotten", nodesLostHistory},
	{"a purge is noticed", nodesPurge},
}

// apart are alice and bob, each at a node of their own. Both nodes run.
func (w *world) apart(t testing.TB) (alice, bob client) {
	t.Helper()
	alice, bob = w.alice, w.bob
	for _, c := range []struct {
		at    *client
		store syncer.Store
	}{{&alice, w.store}, {&bob, w.other}} {
		c.at.engine = newEngine(counting(c.store), nil)
		run(t, c.at.engine)
	}
	return alice, bob
}

// warm returns a cursor at the head, from a node that has the space in memory.
func (c client) warm(t testing.TB) string {
	t.Helper()
	cursor := c.cursor(t)
	return c.pull(t, syncer.PullRequest{Cursor: cursor}).Cursor
}

func nodesSeeEachOther(t *testing.T, w *world) {
	alice, bob := w.apart(t)
	alice.must(t, put("e1", "todos/t1", on(0), `{"n":1}`))
	cursor := bob.warm(t)
	for version := int64(2); version < 6; version++ {
		begun := time.Now()
		polling := bob.poll(t.Context(), syncer.PullRequest{Cursor: cursor, Wait: longest})
		id := fmt.Sprint(version)
		alice.must(t, put("e"+id, "todos/t1", on(version-1), `{"n":2}`), patch("p"+id, "todos/t1", after("e"+id), `{"n":3}`))
		page := answered(t, polling)
		same(t, "changes", page.Changes, []models.Change{*alice.live(version, "todos/t1", `{"n":3}`, "p"+id)})
		if took := time.Since(begun); took > longest/2 {
			t.Errorf("it was found only at the end of the wait, after %v", took)
		}
		cursor = page.Cursor
	}
}

func nodesReadYourWrites(t *testing.T, w *world) {
	alice, bob := w.apart(t)
	alice.must(t, put("e1", "todos/t1", on(0), `{}`))
	for version := int64(2); version < 20; version++ {
		cursor := bob.warm(t)
		alice.must(t, put(fmt.Sprint("e", version), "todos/t1", on(version-1), `{}`))
		if page := bob.pull(t, syncer.PullRequest{Cursor: cursor, MinVersion: version}); page.Version != version || len(page.Changes) != 1 {
			t.Errorf("with min_version %d: %+v", version, page)
		}
		if heads, _, err := bob.engine.Heads(t.Context(), []string{w.space}, version); err != nil || heads[0].Version != version {
			t.Errorf("heads with min_version %d: %+v, %v", version, heads, err)
		}
		version++
		alice.must(t, put(fmt.Sprint("e", version), "todos/t1", on(version-1), `{}`))
		ahead := alice.cursor(t)
		if page := bob.pull(t, syncer.PullRequest{Cursor: ahead}); page.Version != version || len(page.Changes) != 0 {
			t.Errorf("with a cursor at %d: %+v", version, page)
		}
	}
}

func nodesAnyNode(t *testing.T, w *world) {
	alice, bob := w.apart(t)
	const rounds = 40
	held := map[string]int64{}
	cursor := ""
	for round := range rounds {
		writer, reader := alice, bob
		if round%3 == 1 {
			writer = bob
		}
		if round%2 == 1 {
			reader = alice
		}
		at := []string{"todos/t1", "todos/t2", "notes/n1"}[round%3]
		edit := put(fmt.Sprint("e", round), at, force, `{"n":1}`)
		if round%7 == 6 {
			edit = remove(fmt.Sprint("e", round), at, force)
		}
		version := writer.must(t, edit)
		for more := true; more; {
			page := reader.pull(t, syncer.PullRequest{Cursor: cursor, Limit: 1 + round%3, MinVersion: version})
			for _, c := range page.Changes {
				held[c.Collection+"/"+c.ID] = c.Version
			}
			cursor, more = page.Cursor, page.HasMore
		}
		if got := held[at]; got != version && round%7 != 6 {
			t.Fatalf("round %d: the client holds version %d of %s, want %d", round, got, at, version)
		}
	}
	want := map[string]int64{}
	for _, c := range w.alice.all(t, w.store) {
		want[c.Collection+"/"+c.ID] = c.Version
	}
	same(t, "what the client holds", held, want)
}

// Rows are set back past all stores, as a restored backup does.
func nodesLostHistory(t *testing.T, w *world) {
	alice, bob := w.apart(t)
	alice.must(t, put("e1", "todos/t1", on(0), `{}`))
	before := bob.warm(t)
	alice.must(t, put("e2", "todos/t2", on(0), `{}`))
	bob.until(t, "comes to the head", func() bool { return bob.pull(t, syncer.PullRequest{Cursor: before}).Version == 2 })
	lost := bob.warm(t)
	polling := bob.poll(t.Context(), syncer.PullRequest{Cursor: lost, Wait: longest / 2})

	tx := w.begin(t)
	w.in(t, tx, `DELETE FROM documents WHERE space_id = $1 AND version > 1`)
	w.in(t, tx, `DELETE FROM clients WHERE space_id = $1`)
	w.in(t, tx, `UPDATE spaces SET head = 1 WHERE id = $1`)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	got := await(t, "the end of a long poll", polling)
	expires(t, "who waits", got.err, models.CauseEpoch)
	// Each node notices by itself, when it has looked.
	for _, c := range []client{alice, bob} {
		c.until(t, "notices", func() bool {
			_, err := c.engine.Pull(t.Context(), w.space, syncer.PullRequest{Cursor: lost})
			return models.CodeOf(err) == models.CodeCursorExpired
		})
		if page := c.pull(t, syncer.PullRequest{Cursor: before}); len(page.Changes) != 0 || page.Version != 1 {
			t.Errorf("a cursor of what was kept brings %+v", page)
		}
		page := c.pull(t, syncer.PullRequest{})
		same(t, "a snapshot", names(page.Changes), []string{"todos/t1"})
	}
}

// until waits for what must come.
func (c client) until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("the node of %s never %s", c.subject, what)
		}
	}
}

func nodesPurge(t *testing.T, w *world) {
	alice, bob := w.apart(t)
	alice.must(t, put("e1", "todos/t1", on(0), `{}`))
	old := bob.warm(t)
	alice.must(t, remove("e2", "todos/t1", on(1)))
	bob.until(t, "comes to the head", func() bool { return bob.pull(t, syncer.PullRequest{Cursor: old}).Version == 2 })
	current := bob.warm(t)
	w.purge(t, 2)
	for _, c := range []client{alice, bob} {
		c.until(t, "notices", func() bool {
			page, err := c.engine.Pull(t.Context(), w.space, syncer.PullRequest{Cursor: old})
			if err == nil && len(page.Changes) != 1 {
				t.Fatalf("before it is noticed the tombstone is gone: %+v", page)
			}
			return models.CodeOf(err) == models.CodeCursorExpired
		})
		if page := c.pull(t, syncer.PullRequest{Cursor: current}); len(page.Changes) != 0 || page.Version != 2 {
			t.Errorf("a cursor at the head brings %+v", page)
		}
	}
}
