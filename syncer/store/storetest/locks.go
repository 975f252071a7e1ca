package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

var lockRequirements = []requirement{
	{"a push finds what the push before it committed", lockSerializes},
	{"a push that waited for a rollback finds what was there before", lockRollback},
	{"no update is lost between nodes", lockNoUpdateIsLost},
	{"everybody who creates a space at once is served", lockCreators},
	{"who waits for a creator that gives up creates the space", lockCreatorGivesUp},
	{"a push to another space is not held up", lockOtherSpace},
	{"reads are not held up", lockReads},
	{"who waits can be called off", lockCalledOff},
	{"who waits beyond a deadline is told to try again", lockDeadline},
}

func lockSerializes(t *testing.T, w *world) {
	w.write(t, row(1, "todos/t1", `{"n":1}`))
	first, locked := hold(t, w.store, w.touch())
	found, done := start(t.Context(), w.other, w.touch(syncer.Want{Key: key("todos/t1"), Data: true}),
		func(locked syncer.Locked) syncer.Writes {
			return writes(locked, row(locked.Space.Head+1, "todos/t1", `{"n":3}`))
		})
	if head := w.read(t, syncer.Range{Limit: 1}).Space.Head; head != 1 {
		t.Errorf("head %d while nothing is committed, want 1", head)
	}
	first.commit(t, writes(locked, row(2, "todos/t1", `{"n":2}`)))

	got := await(t, "the second push", found)
	if document := got.Documents[key("todos/t1")]; got.Space.Head != 2 || document.Version != 2 || *document.Data != `{"n":2}` {
		t.Errorf("the second push found head %d, document %+v", got.Space.Head, document)
	}
	if err := await(t, "its end", done); err != nil {
		t.Fatal(err)
	}
	same(t, "changes", ordered(w.read(t, syncer.Range{Limit: 9}).Changes),
		changes([]models.Document{row(3, "todos/t1", `{"n":3}`)}))
}

func lockRollback(t *testing.T, w *world) {
	w.write(t, row(1, "todos/t1", `{"a":1}`))
	first, _ := hold(t, w.store, w.touch())
	found, done := start(t.Context(), w.other, w.touch(), func(syncer.Locked) syncer.Writes { return syncer.Writes{} })
	first.commit(t, syncer.Writes{})
	if got := await(t, "the second push", found); got.Space.Head != 1 {
		t.Errorf("the second push found head %d, want 1", got.Space.Head)
	}
	if err := await(t, "its end", done); err != nil {
		t.Fatal(err)
	}
	w.unchanged(t)
}

// Eight writers add up a number; each reads it under the lock.
func lockNoUpdateIsLost(t *testing.T, w *world) {
	const writers, rounds = 8, 6
	add := func(locked syncer.Locked) (syncer.Writes, error) {
		n := 0
		if document := locked.Documents[key("todos/sum")]; document != nil {
			n, _ = strconv.Atoi(*document.Data)
		}
		wr := writes(locked, row(locked.Space.Head+1, "todos/sum", strconv.Itoa(n+1)))
		wr.Space.LiveCount++
		return wr, nil
	}
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			node := []syncer.Store{w.store, w.other}[i%2]
			for range rounds {
				if err := commit(t.Context(), node, w.touch(syncer.Want{Key: key("todos/sum"), Data: true}), add); err != nil {
					t.Errorf("commit: %v", err)
				}
			}
		})
	}
	group.Wait()
	got := w.locked(t, w.touch(syncer.Want{Key: key("todos/sum"), Data: true}))
	if sum := *got.Documents[key("todos/sum")].Data; sum != strconv.Itoa(writers*rounds) ||
		got.Space.Head != writers*rounds || got.Space.LiveCount != writers*rounds {
		t.Errorf("sum %s, %+v; want %d", sum, got.Space, writers*rounds)
	}
}

func lockCreators(t *testing.T, w *world) {
	const creators = 8
	var group sync.WaitGroup
	for i := range creators {
		group.Go(func() {
			node := []syncer.Store{w.store, w.other}[i%2]
			err := commit(t.Context(), node, w.touch(), func(locked syncer.Locked) (syncer.Writes, error) {
				return writes(locked, row(locked.Space.Head+1, fmt.Sprintf("todos/t%d", i), `{}`)), nil
			})
			if err != nil {
				t.Errorf("commit: %v", err)
			}
		})
	}
	group.Wait()
	if run := w.read(t, syncer.Range{Limit: 100}); run.Space.Head != creators || len(run.Changes) != creators {
		t.Errorf("head %d, %d documents, want %d", run.Space.Head, len(run.Changes), creators)
	}
}

func lockCreatorGivesUp(t *testing.T, w *world) {
	first, _ := hold(t, w.store, w.touch())
	found, done := start(t.Context(), w.other, w.touch(),
		func(locked syncer.Locked) syncer.Writes { return writes(locked, row(1, "todos/t1", `{}`)) })
	if run := w.read(t, syncer.Range{Limit: 1}); run.Space.Epoch != 0 {
		t.Errorf("the space is seen before its first push is committed")
	}
	first.commit(t, syncer.Writes{})
	if got := await(t, "the second push", found); got.Space.Head != 0 {
		t.Errorf("the space is at head %d before anybody wrote to it", got.Space.Head)
	}
	if err := await(t, "its end", done); err != nil {
		t.Fatal(err)
	}
}

func lockOtherSpace(t *testing.T, w *world) {
	neighbor := *w
	neighbor.space = newSpace()
	first, locked := hold(t, w.store, w.touch())
	_, done := start(t.Context(), w.store, neighbor.touch(),
		func(locked syncer.Locked) syncer.Writes { return writes(locked, row(1, "todos/t1", `{}`)) })
	if w.db.LocksSpaces {
		if err := await(t, "the push to the other space", done); err != nil {
			t.Fatal(err)
		}
	}
	first.commit(t, writes(locked, row(1, "todos/t1", `{}`)))
	if !w.db.LocksSpaces {
		if err := await(t, "the push to the other space", done); err != nil {
			t.Fatal(err)
		}
	}
	if head := neighbor.read(t, syncer.Range{Limit: 1}).Space.Head; head != 1 {
		t.Errorf("head of the other space %d, want 1", head)
	}
}

func lockReads(t *testing.T, w *world) {
	w.write(t, row(1, "todos/t1", `{"a":1}`))
	first, locked := hold(t, w.store, w.touch())
	for _, node := range []syncer.Store{w.store, w.other} {
		run := read(t, node, w.space, syncer.Range{Limit: 9})
		same(t, "changes", ordered(run.Changes), changes([]models.Document{row(1, "todos/t1", `{"a":1}`)}))
		if _, err := node.Heads(t.Context(), []string{w.space}); err != nil {
			t.Error(err)
		}
		if _, err := node.Document(t.Context(), w.space, key("todos/t1")); err != nil {
			t.Error(err)
		}
		if err := node.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	}
	first.commit(t, writes(locked, row(2, "todos/t1", `{}`)))
}

func lockCalledOff(t *testing.T, w *world) {
	first, _ := hold(t, w.store, w.touch())
	ctx, cancel := context.WithCancel(t.Context())
	_, done := start(ctx, w.store, w.touch(),
		func(locked syncer.Locked) syncer.Writes { return writes(locked, row(1, "todos/t1", `{}`)) })
	cancel()
	if err := await(t, "the push that was called off", done); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	first.commit(t, syncer.Writes{})
	w.untouched(t)
}

func lockDeadline(t *testing.T, w *world) {
	first, _ := hold(t, w.store, w.touch())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, done := start(ctx, w.store, w.touch(),
		func(locked syncer.Locked) syncer.Writes { return writes(locked, row(1, "todos/t1", `{}`)) })
	fails(t, "a push that waited beyond its deadline", await(t, "its end", done), models.CodeUnavailable)
	first.commit(t, syncer.Writes{})
	w.untouched(t)
}
