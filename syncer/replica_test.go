package syncer

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tidemark/tidemark/models"
)

// spoiledReplica is a replica of a store that is what a test makes of it.
type spoiledReplica struct {
	Store
	spoil func(*Run) error
}

const byReplica = "the replica"

func (s *spoiledReplica) Changes(ctx context.Context, space string, r Range) (Run, error) {
	run, err := s.Store.Changes(ctx, space, r)
	if err != nil {
		return run, err
	}
	for i := range run.Changes {
		run.Changes[i].UpdatedBy = byReplica
	}
	return run, s.spoil(&run)
}

// A replica that is behind makes no tail: for a lease others would be told that this is
// all there is.
func TestReplica_behindMakesNoTail(t *testing.T) {
	t.Parallel()
	for behind, want := range map[bool]bool{false: true, true: false} {
		store := newModelStore()
		var e *Engine
		e = New(store, &deaf{}, Options{TailMemory: 1 << 20, Replica: &spoiledReplica{store, func(run *Run) error {
			if t := e.tails.find("s"); t != nil {
				e.tails.drop(t) // its memory is wanted for another
			}
			if behind {
				run.Space.Head--
			}
			return nil
		}}})
		defer e.Close()
		e.tails.turn(true)
		for i := range 3 {
			if _, err := e.Push(t.Context(), "s", "alice", &models.PushRequest{ClientID: "c1", Edits: []models.Edit{
				put(fmt.Sprint("e", i), fmt.Sprint("d", i), version(0), `{}`),
			}}); err != nil {
				t.Fatal(err)
			}
		}
		if _, ok := e.replica(t.Context(), "s", Range{Limit: 1}, 0); !ok {
			t.Fatalf("behind %v: not shown", behind)
		}
		if made := e.tails.find("s") != nil; made != want {
			t.Errorf("behind %v: a tail was made: %v", behind, made)
		}
	}
}

func TestReplica_isShownOnlyWhatTheDatabaseVouchesFor(t *testing.T) {
	t.Parallel()
	older := func(run *Run) error {
		run.Space.Head = run.Changes[len(run.Changes)-1].Version + 1
		return nil
	}
	for name, test := range map[string]struct {
		spoil func(*Run) error
		limit int
		seen  bool // the client was answered the head for a push
		want  bool
	}{
		"level":                          {func(*Run) error { return nil }, 9, true, true},
		"level, more to come":            {func(*Run) error { return nil }, 1, true, true},
		"behind, more to come":           {older, 1, false, true},
		"behind what the client knows":   {older, 1, true, false},
		"behind, and says that is all":   {func(run *Run) error { run.Space.Head = run.Through; return nil }, 1, false, false},
		"of another epoch":               {func(run *Run) error { run.Space.Epoch++; return nil }, 9, false, false},
		"further than the database":      {func(run *Run) error { run.Space.Head++; return nil }, 1, false, false},
		"with tombstones that are gone":  {func(run *Run) error { run.Space.Floor = 1; return nil }, 9, false, false},
		"of a space that is not there":   {func(run *Run) error { *run = Run{}; return nil }, 9, false, false},
		"away":                           {func(*Run) error { return errors.New("away") }, 9, false, false},
		"empty at a head that has moved": {func(run *Run) error { run.Changes, run.Space.Head = nil, 0; return nil }, 9, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newModelStore()
			e := New(store, &deaf{}, Options{Replica: &spoiledReplica{store, test.spoil}, TailMemory: -1})
			defer e.Close()
			var head int64
			for i := range 3 {
				res, err := e.Push(t.Context(), "s", "alice", &models.PushRequest{ClientID: "c1", Edits: []models.Edit{
					put(fmt.Sprint("e", i), fmt.Sprint("d", i), version(0), `{}`),
				}})
				if err != nil {
					t.Fatal(err)
				}
				head = res.Version
			}
			req := PullRequest{Limit: test.limit}
			if test.seen {
				req.MinVersion = head
			}
			page, err := e.Pull(t.Context(), "s", req)
			if err != nil || len(page.Changes) != min(test.limit, 3) {
				t.Fatalf("page %+v, error %v", page, err)
			}
			if got := page.Changes[0].UpdatedBy == byReplica; got != test.want {
				t.Errorf("shown from the replica: %v, want %v", got, test.want)
			}
			if !test.want && page.Version != head {
				t.Errorf("head %d, want that of the database, %d", page.Version, head)
			}
		})
	}
}
