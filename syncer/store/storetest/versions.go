package storetest

import (
	"testing"
	"time"

	"github.com/tidemark/tidemark/models"
)

var versionRequirements = []requirement{
	{"are the database's clock in microseconds", versionsAreClock},
	{"rise even if the clock stands or goes back", versionsRise},
	{"are shared by the documents of a push", versionsOfPush},
	{"are given to changes only", versionsOfChanges},
}

func versionsAreClock(t *testing.T, w *world) {
	alice := w.alice
	alice.engine = newEngine(w.store, nil)
	// The database may run on another machine, but not in another year.
	const near = time.Hour
	from := time.Now().Add(-near).UnixMicro()
	version := alice.must(t, put("e1", "todos/t1", on(0), `{}`))
	if to := time.Now().Add(near).UnixMicro(); version < from || version > to {
		t.Errorf("version %d, want the time of now, between %d and %d", version, from, to)
	}
	if got := alice.all(t, w.store)[0].UpdatedAt; got != version/1000 {
		t.Errorf("updated_at %d, want that of version %d in milliseconds", got, version)
	}
	if next := alice.must(t, put("e2", "todos/t1", on(version), `{}`)); next <= version {
		t.Errorf("version %d after %d", next, version)
	}
}

func versionsRise(t *testing.T, w *world) {
	var now int64
	alice := w.alice
	alice.engine = newEngine(timed{w.store, func() int64 { return now }}, nil)
	var updated int64
	for _, tt := range []struct {
		name      string
		now, want int64
	}{
		{"the clock", 5_000_000, 5_000_000},
		{"it stands", 5_000_000, 5_000_001},
		{"it goes back a little", 4_999_999, 5_000_002},
		{"it goes back far", 17, 5_000_003},
		{"it catches up", 5_000_003, 5_000_004},
		{"it is ahead again", 6_000_000, 6_000_000},
	} {
		now = tt.now
		got := alice.must(t, put("e-"+time.UnixMicro(tt.want).Format("150405.000000"), "todos/t1", force, `{}`))
		if got != tt.want {
			t.Errorf("%s: version %d, want %d", tt.name, got, tt.want)
		}
		change := alice.all(t, w.store)[0]
		if change.UpdatedAt < updated || change.UpdatedAt != tt.want/1000 {
			t.Errorf("%s: updated_at %d after %d", tt.name, change.UpdatedAt, updated)
		}
		updated = change.UpdatedAt
	}
}

func versionsOfPush(t *testing.T, w *world) {
	w.bob.must(t, put("b1", "todos/t1", on(0), `{"a":1}`), put("b2", "todos/t2", on(0), `{}`))
	w.bob.must(t, put("b3", "todos/t3", on(0), `{}`))
	w.alice.must(t, patch("e1", "todos/t1", on(1), `{"a":2}`), remove("e2", "todos/t2", on(1)), put("e4", "notes/n1", on(0), `{}`))
	same(t, "documents", w.alice.all(t, w.store), []models.Change{
		*w.bob.live(2, "todos/t3", `{}`, "b3"),
		*w.alice.live(3, "notes/n1", `{}`, "e4"),
		*w.alice.live(3, "todos/t1", `{"a":2}`, "e1"),
		*w.alice.gone(3, "todos/t2", "e2"),
	})
}

func versionsOfChanges(t *testing.T, w *world) {
	w.bob.must(t, put("b1", "todos/t1", on(0), `{"a":1}`), put("b2", "todos/t2", on(0), `{}`))
	same(t, "results", w.alice.push(t,
		patch("e1", "todos/t1", on(1), `{"a":1}`),
		put("e2", "todos/t2", on(1), `{"b":1}`),
		put("e3", "todos/t1", on(0), `{}`),
	), []models.EditResult{applied("e1", 1), applied("e2", 2), conflict("e3", w.bob.live(1, "todos/t1", `{"a":1}`, "b1"))})
	res := w.alice.send(t, models.PushRequest{Edits: []models.Edit{patch("e4", "todos/t1", on(1), `{}`)}})
	same(t, "head after a push without changes", res.Version, 2)
}
