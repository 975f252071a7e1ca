package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

var purgeRequirements = []requirement{
	{"takes tombstones up to a time and raises the floor to the last of them", purgeTombstones},
	{"takes whole versions, about as many as it may", purgeWholeVersions},
	{"takes clients that were not seen since, and their receipts", purgeClients},
	{"changes nothing where nothing is due, and waits for nobody then", purgeNothing},
	{"waits for whoever writes to the space", purgeWaits},
	{"is done by one at a time", purgeAlone},
	{"a document whose tombstone is gone is as if it had never been", purgeThenState},
	{"each space may have a retention of its own", purgeRetention},
	{"spaces are listed by name", purgeSpaces},
}

// purge forgets tombstones up to a version.
func (w *world) purge(t testing.TB, upTo int64) syncer.Purged { return w.purgeSome(t, upTo, 1000) }

func (w *world) purgeSome(t testing.TB, upTo int64, limit int) syncer.Purged {
	t.Helper()
	for {
		done, err := w.store.Purge(t.Context(), w.space, time.UnixMicro(upTo+1), limit)
		if err != nil {
			t.Fatalf("purge: %v", err)
		}
		if !done.Elsewhere { // another test was at it
			return done
		}
	}
}

// row returns the space's row.
func (w *world) row(t testing.TB) models.Space {
	t.Helper()
	return w.locked(t, w.touch()).Space
}

func purgeTombstones(t *testing.T, w *world) {
	w.fill(t, 5)
	w.alice.must(t, remove("d1", "todos/t1", on(1))) // 6
	w.alice.must(t, remove("d2", "todos/t2", on(2))) // 7
	seen := w.alice.cursor(t)
	w.alice.must(t, put("p3", "todos/t3", on(3), `{"a":1}`)) // 8
	w.alice.must(t, remove("d4", "todos/t4", on(4)))         // 9
	before := w.row(t)

	same(t, "purged", w.purge(t, 8), syncer.Purged{Tombstones: 2})
	after := before
	after.Floor = 7
	same(t, "space", w.row(t), after)
	w.checkDigest(t, w.space)
	same(t, "documents", names(w.read(t, syncer.Range{Limit: 100}).Changes), []string{"todos/t5", "todos/t3", "-todos/t4"})
	same(t, "from where all of them were seen", names(w.alice.pull(t, syncer.PullRequest{Cursor: seen}).Changes), []string{"todos/t3", "-todos/t4"})

	same(t, "purged again", w.purge(t, 8), syncer.Purged{})
	same(t, "space", w.row(t), after)
}

func purgeWholeVersions(t *testing.T, w *world) {
	w.alice.must(t, put("p1", "todos/t1", on(0), `{}`), put("p2", "todos/t2", on(0), `{}`), put("p3", "todos/t3", on(0), `{}`), put("p4", "todos/t4", on(0), `{}`))
	w.alice.must(t, remove("d1", "todos/t1", on(1)))
	w.alice.must(t, remove("d2", "todos/t2", on(1)), remove("d3", "todos/t3", on(1)))
	w.alice.must(t, remove("d4", "todos/t4", on(1)))

	same(t, "purged", w.purgeSome(t, 4, 2), syncer.Purged{Tombstones: 3, More: true})
	same(t, "floor", w.row(t).Floor, int64(3))
	same(t, "purged", w.purgeSome(t, 4, 2), syncer.Purged{Tombstones: 1})
	same(t, "floor", w.row(t).Floor, int64(4))
}

func purgeClients(t *testing.T, w *world) {
	w.alice.must(t, put("e1", "todos/t1", on(0), `{}`))
	w.bob.must(t, put("e1", "todos/t2", on(0), `{}`))
	w.exec(t, `UPDATE clients SET seen_at = CASE subject WHEN 'alice' THEN 4999 ELSE 5000 END WHERE space_id = $1`, w.space)
	neighbor := w.alice
	neighbor.space = newSpace()
	neighbor.must(t, put("e1", "todos/t1", on(0), `{}`))
	w.exec(t, `UPDATE clients SET seen_at = 4999 WHERE space_id = $1`, neighbor.space)

	same(t, "purged", w.purge(t, 5_000_000), syncer.Purged{Clients: 1})
	same(t, "bob's retry", w.bob.push(t, put("e1", "todos/t2", on(0), `{}`)), []models.EditResult{replayed(applied("e1", 2))})
	results := w.alice.push(t, put("e1", "todos/t1", on(0), `{}`))
	same(t, "alice's retry", results, []models.EditResult{conflict("e1", w.alice.live(1, "todos/t1", `{}`, "e1"))})
	same(t, "the retry in another space", neighbor.push(t, put("e1", "todos/t1", on(0), `{}`)), []models.EditResult{replayed(applied("e1", 1))})
}

func purgeNothing(t *testing.T, w *world) {
	w.fill(t, 2)
	w.alice.must(t, remove("d1", "todos/t1", on(1)))
	if w.db.LocksSpaces {
		tx := w.begin(t)
		w.in(t, tx, `UPDATE spaces SET floor = floor WHERE id = $1`)
		defer func() { _ = tx.Rollback() }()
	}
	same(t, "purged", w.purge(t, 2), syncer.Purged{})
	nowhere := *w
	nowhere.space = newSpace()
	same(t, "purged of a space never written", nowhere.purge(t, 1000), syncer.Purged{})
}

func purgeWaits(t *testing.T, w *world) {
	w.fill(t, 1)
	w.alice.must(t, remove("d1", "todos/t1", on(1)))
	tx := w.begin(t)
	w.in(t, tx, `UPDATE spaces SET head = 3 WHERE id = $1`)
	w.in(t, tx, `UPDATE documents SET deleted = false, data = '{}', version = 3 WHERE space_id = $1`)
	purged := make(chan syncer.Purged)
	go func() { purged <- w.purge(t, 2) }()
	w.waiting(t)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	// The tombstone it had come for is alive again.
	same(t, "purged", await(t, "the purge", purged), syncer.Purged{})
	same(t, "documents", names(w.read(t, syncer.Range{Limit: 100}).Changes), []string{"todos/t1"})
	same(t, "floor", w.row(t).Floor, int64(0))
}

func purgeAlone(t *testing.T, w *world) {
	w.fill(t, 1)
	w.alice.must(t, remove("d1", "todos/t1", on(1)))
	if !w.db.LocksSpaces { // all of SQLite is locked, so that the second just waits
		same(t, "purged", w.purge(t, 2), syncer.Purged{Tombstones: 1})
		return
	}
	other := *w
	other.space = newSpace()
	other.alice.space = other.space
	other.fill(t, 1)
	other.alice.must(t, remove("d1", "todos/t1", on(1)))

	tx := w.begin(t)
	w.in(t, tx, `UPDATE spaces SET floor = floor WHERE id = $1`)
	purged := make(chan syncer.Purged)
	go func() { purged <- w.purge(t, 2) }()
	w.waiting(t)
	done, err := w.store.Purge(t.Context(), other.space, time.UnixMicro(3), 1000)
	if err != nil || done != (syncer.Purged{Elsewhere: true}) {
		t.Errorf("beside one that waits: %+v, %v", done, err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	same(t, "purged", await(t, "the purge", purged), syncer.Purged{Tombstones: 1})
	same(t, "purged then", other.purge(t, 2), syncer.Purged{Tombstones: 1})
}

func purgeThenState(t *testing.T, w *world) {
	w.fill(t, 1)
	w.alice.must(t, remove("d1", "todos/t1", on(1)))
	same(t, "purged", w.purge(t, 2), syncer.Purged{Tombstones: 1})
	same(t, "on the tombstone that was", w.bob.push(t, put("b1", "todos/t1", on(2), `{}`)), []models.EditResult{conflict("b1", nil)})
	same(t, "on nothing", w.bob.push(t, put("b2", "todos/t1", on(0), `{}`)), []models.EditResult{applied("b2", 3)})
}

// onlyOne is a store that lists one space, at a time of the test's choice.
type onlyOne struct {
	syncer.Store
	space string
	now   time.Time
}

func (s onlyOne) Now(context.Context) (time.Time, error) { return s.now, nil }

func (s onlyOne) Spaces(ctx context.Context, after string, _ int) ([]models.Space, error) {
	if after >= s.space {
		return nil, nil
	}
	return s.Store.Spaces(ctx, before(s.space), 1)
}

func purgeRetention(t *testing.T, w *world) {
	hour := time.Hour.Microseconds()
	w.write(t,
		models.Document{SpaceID: w.space, Collection: "todos", ID: "t1", Version: 1 * hour, Deleted: true},
		models.Document{SpaceID: w.space, Collection: "todos", ID: "t2", Version: 2 * hour, Deleted: true},
		models.Document{SpaceID: w.space, Collection: "todos", ID: "t3", Version: 3 * hour, Deleted: true},
	)
	pass := func(retention time.Duration) (done syncer.Purged) {
		t.Helper()
		engine := syncer.New(onlyOne{w.store, w.space, time.UnixMicro(4*hour + 1)}, deaf{}, syncer.Options{Retention: retention})
		for elsewhere := true; elsewhere; {
			var err error
			elsewhere, err = engine.Purge(t.Context(), func(space string, p syncer.Purged) {
				if space == w.space {
					done = p
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return done
	}
	same(t, "with three hours", pass(3*time.Hour), syncer.Purged{Tombstones: 1})
	w.exec(t, `UPDATE spaces SET retention_ms = 7200000 WHERE id = $1`, w.space)
	same(t, "with two of its own", pass(3*time.Hour), syncer.Purged{Tombstones: 1})
	same(t, "with two of its own, whatever the server has", pass(time.Hour), syncer.Purged{})
	w.exec(t, `UPDATE spaces SET retention_ms = 0 WHERE id = $1`, w.space)
	same(t, "with the server's again", pass(time.Hour), syncer.Purged{Tombstones: 1})
}

func purgeSpaces(t *testing.T, w *world) {
	prefix := newSpace() + "-"
	for _, name := range []string{"b", "B", "a", "c"} {
		w.exec(t, `INSERT INTO spaces (id, epoch, created_at) VALUES ($1, 7, 0)`, prefix+name)
	}
	var got []string
	for after := prefix; len(got) < 4; {
		list, err := w.store.Spaces(t.Context(), after, 1)
		if err != nil || len(list) != 1 {
			t.Fatalf("after %s: %d spaces, %v", after, len(list), err)
		}
		after = list[0].ID
		got = append(got, after)
	}
	same(t, "spaces", got, []string{prefix + "B", prefix + "a", prefix + "b", prefix + "c"})
}
