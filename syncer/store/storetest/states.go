package storetest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/tidemark/tidemark/models"
)

var stateRequirements = []requirement{
	{"nothing is there", statesNothing},
	{"a document is there", statesLive},
	{"a tombstone is there", statesTombstone},
	{"of many who change one version one wins", statesOneWins},
}

// state is one cell of the table of states: one edit of todos/t1.
type state struct {
	name   string
	edit   models.Edit
	result models.EditResult
	// stored is todos/t1 afterwards; nil: as it was.
	stored *models.Change
}

func (w *world) states(t *testing.T, table []state, prepare func(client)) {
	for _, tt := range table {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			alice, bob := w.alice, w.bob
			alice.space = newSpace()
			bob.space = alice.space
			prepare(bob)
			before := alice.all(t, w.store)
			head := int64(0)
			if len(before) > 0 {
				head = before[0].Version
			}
			want := before
			if tt.stored != nil {
				head++
				want = []models.Change{*tt.stored}
			}
			res := alice.send(t, models.PushRequest{Edits: []models.Edit{tt.edit}})
			same(t, "results", res.Results, []models.EditResult{tt.result})
			same(t, "head", res.Version, head)
			same(t, "documents", alice.all(t, w.store), want)
		})
	}
}

const wish = `{"a":9}`

func statesNothing(t *testing.T, w *world) {
	created := w.alice.live(1, "todos/t1", wish, "e")
	w.states(t, []state{
		{"put on 0 creates", put("e", "todos/t1", on(0), wish), applied("e", 1), created},
		{"put on a version conflicts", put("e", "todos/t1", on(5), wish), conflict("e", nil), nil},
		{"forced put creates", put("e", "todos/t1", force, wish), applied("e", 1), created},
		{"patch on 0 conflicts", patch("e", "todos/t1", on(0), wish), conflict("e", nil), nil},
		{"patch on a version conflicts", patch("e", "todos/t1", on(5), wish), conflict("e", nil), nil},
		{"forced patch conflicts", patch("e", "todos/t1", force, wish), conflict("e", nil), nil},
		{"delete on 0 changes nothing", remove("e", "todos/t1", on(0)), applied("e", 0), nil},
		{"delete on a version changes nothing", remove("e", "todos/t1", on(5)), applied("e", 0), nil},
		{"forced delete changes nothing", remove("e", "todos/t1", force), applied("e", 0), nil},
	}, func(client) {})
}

func statesLive(t *testing.T, w *world) {
	const twice = `{"a":1,"b":2}`
	there := w.bob.live(2, "todos/t1", twice, "b2")
	replaced := w.alice.live(3, "todos/t1", wish, "e")
	patched := w.alice.live(3, "todos/t1", `{"a":9,"b":2}`, "e")
	gone := w.alice.gone(3, "todos/t1", "e")
	w.states(t, []state{
		{"put on 0 conflicts", put("e", "todos/t1", on(0), wish), conflict("e", there), nil},
		{"put on its version replaces", put("e", "todos/t1", on(2), wish), applied("e", 3), replaced},
		{"put of what is there is a change", put("e", "todos/t1", on(2), twice), applied("e", 3), w.alice.live(3, "todos/t1", twice, "e")},
		{"put on an older version conflicts", put("e", "todos/t1", on(1), wish), conflict("e", there), nil},
		{"put on a newer version conflicts", put("e", "todos/t1", on(3), wish), conflict("e", there), nil},
		{"forced put replaces", put("e", "todos/t1", force, wish), applied("e", 3), replaced},
		{"patch on 0 conflicts", patch("e", "todos/t1", on(0), wish), conflict("e", there), nil},
		{"patch on its version changes fields", patch("e", "todos/t1", on(2), wish), applied("e", 3), patched},
		{"patch of an unchanged field on an older version is merged", patch("e", "todos/t1", on(1), wish), merged("e", patched), patched},
		{
			"patch of a changed field on an older version conflicts",
			patch("e", "todos/t1", on(1), `{"a":9,"b":9}`), conflict("e", there, "b"), nil,
		},
		{"patch on a newer version conflicts", patch("e", "todos/t1", on(3), wish), conflict("e", there), nil},
		{"forced patch changes fields", patch("e", "todos/t1", force, wish), applied("e", 3), patched},
		{"delete on 0 conflicts", remove("e", "todos/t1", on(0)), conflict("e", there), nil},
		{"delete on its version leaves a tombstone", remove("e", "todos/t1", on(2)), applied("e", 3), gone},
		{"delete on an older version conflicts", remove("e", "todos/t1", on(1)), conflict("e", there), nil},
		{"delete on a newer version conflicts", remove("e", "todos/t1", on(3)), conflict("e", there), nil},
		{"forced delete leaves a tombstone", remove("e", "todos/t1", force), applied("e", 3), gone},
	}, func(bob client) {
		bob.must(t, put("b1", "todos/t1", on(0), `{"a":1,"b":1}`))
		bob.must(t, patch("b2", "todos/t1", on(1), `{"b":2}`))
	})
}

func statesTombstone(t *testing.T, w *world) {
	gone := w.bob.gone(2, "todos/t1", "b2")
	again := w.alice.live(3, "todos/t1", wish, "e")
	w.states(t, []state{
		{"put on 0 conflicts", put("e", "todos/t1", on(0), wish), conflict("e", gone), nil},
		{"put on its version creates again", put("e", "todos/t1", on(2), wish), applied("e", 3), again},
		{"put on the version before conflicts", put("e", "todos/t1", on(1), wish), conflict("e", gone), nil},
		{"put on a newer version conflicts", put("e", "todos/t1", on(3), wish), conflict("e", gone), nil},
		{"forced put creates again", put("e", "todos/t1", force, wish), applied("e", 3), again},
		{"patch on 0 conflicts", patch("e", "todos/t1", on(0), wish), conflict("e", gone), nil},
		{"patch on its version conflicts", patch("e", "todos/t1", on(2), wish), conflict("e", gone), nil},
		{"patch on the version before conflicts", patch("e", "todos/t1", on(1), wish), conflict("e", gone), nil},
		{"patch on a newer version conflicts", patch("e", "todos/t1", on(3), wish), conflict("e", gone), nil},
		{"forced patch conflicts", patch("e", "todos/t1", force, wish), conflict("e", gone), nil},
		{"delete on 0 changes nothing", remove("e", "todos/t1", on(0)), applied("e", 2), nil},
		{"delete on its version changes nothing", remove("e", "todos/t1", on(2)), applied("e", 2), nil},
		{"delete on the version before changes nothing", remove("e", "todos/t1", on(1)), applied("e", 2), nil},
		{"delete on a newer version changes nothing", remove("e", "todos/t1", on(3)), applied("e", 2), nil},
		{"forced delete changes nothing", remove("e", "todos/t1", force), applied("e", 2), nil},
	}, func(bob client) {
		bob.must(t, put("b1", "todos/t1", on(0), `{"a":1}`))
		bob.must(t, remove("b2", "todos/t1", on(1)))
	})
}

func statesOneWins(t *testing.T, w *world) {
	const clients = 8
	w.bob.must(t, put("b1", "todos/t1", on(0), `{}`))
	results := make([]models.EditResult, clients)
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			c := client{w.engine, w.space, "alice", fmt.Sprintf("replica-%d", i)}
			res, err := c.try(t, models.PushRequest{Edits: []models.Edit{
				put(fmt.Sprintf("e%d", i), "todos/t1", on(1), fmt.Sprintf(`{"by":%d}`, i)),
			}})
			if err != nil {
				t.Errorf("push: %v", err)
				return
			}
			results[i] = res.Results[0]
		})
	}
	group.Wait()
	won := &w.alice.all(t, w.store)[0]
	for i, got := range results {
		id := fmt.Sprintf("e%d", i)
		want := conflict(id, won)
		if id == won.EditID {
			want = applied(id, 2)
		}
		same(t, "result", got, want)
	}
}
