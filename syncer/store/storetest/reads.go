package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

var readRequirements = []requirement{
	{"heads come in the order of names", headsOrder},
	{"heads of no space are none", headsOfNone},
	{"heads of as many spaces as may be asked for", headsOfMany},
	{"a document is its whole row", documentRow},
	{"a document that is not there is nil", documentMissing},
	{"a ping is answered", pingAnswers},
	{"whose context has ended is told so", readEndedContext},
	{"whose time is up is told to try again", readDeadline},
}

func headsOrder(t *testing.T, w *world) {
	neighbor := *w
	neighbor.space = newSpace()
	w.write(t, row(7, "todos/t1", `{}`))
	neighbor.write(t, row(9, "todos/t1", `{}`))
	never := newSpace()
	got, err := w.other.Heads(t.Context(), []string{never, neighbor.space, w.space, neighbor.space})
	if err != nil {
		t.Fatal(err)
	}
	other, own := models.Space{ID: neighbor.space, Head: 9, Epoch: epoch, PastEpochs: "[]"}, models.Space{ID: w.space, Head: 7, Epoch: epoch, PastEpochs: "[]"}
	same(t, "heads", got, []models.Space{{}, other, own, other})
}

func headsOfNone(t *testing.T, w *world) {
	got, err := w.store.Heads(t.Context(), nil)
	if err != nil || len(got) != 0 {
		t.Errorf("heads %v, error %v", got, err)
	}
}

func headsOfMany(t *testing.T, w *world) {
	w.write(t, row(7, "todos/t1", `{}`))
	list := make([]string, models.MaxHeads)
	for i := range list {
		list[i] = fmt.Sprintf("%s-never-%d", w.space, i)
	}
	list[models.MaxHeads-1] = w.space
	got, err := w.store.Heads(t.Context(), list)
	if err != nil || len(got) != len(list) || got[len(got)-1] != (models.Space{ID: w.space, Head: 7, Epoch: epoch, PastEpochs: "[]"}) {
		t.Errorf("heads end with %v, error %v", got[len(got)-1:], err)
	}
}

func documentRow(t *testing.T, w *world) {
	live, gone := row(2, "todos/t1", `{"a": 1}`), tombstone(2, "todos/t2")
	w.write(t, live, gone)
	live.SpaceID, gone.SpaceID = w.space, w.space
	for at, want := range map[string]*models.Document{"todos/t1": &live, "todos/t2": &gone} {
		got, err := w.other.Document(t.Context(), w.space, key(at))
		if err != nil {
			t.Fatal(err)
		}
		same(t, at, got, want)
	}
}

func documentMissing(t *testing.T, w *world) {
	w.write(t, row(2, "todos/t1", `{}`))
	for _, tt := range []struct{ space, at string }{
		{w.space, "todos/t2"},
		{w.space, "notes/t1"},
		{w.space, "todos/T1"},
		{w.space, "t1/todos"},
		{newSpace(), "todos/t1"},
	} {
		if got, err := w.store.Document(t.Context(), tt.space, key(tt.at)); got != nil || err != nil {
			t.Errorf("%s: document %v, error %v", tt.at, got, err)
		}
	}
}

func pingAnswers(t *testing.T, w *world) {
	if err := w.store.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// reads are all calls that only read.
func (w *world) reads() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Changes": func(ctx context.Context) error {
			_, err := w.store.Changes(ctx, w.space, syncer.Range{Limit: 1})
			return err
		},
		"Heads": func(ctx context.Context) error {
			_, err := w.store.Heads(ctx, []string{w.space})
			return err
		},
		"Document": func(ctx context.Context) error {
			_, err := w.store.Document(ctx, w.space, key("todos/t1"))
			return err
		},
		"Ping": w.store.Ping,
	}
}

func readEndedContext(t *testing.T, w *world) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range w.reads() {
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want the error of the context", name, err)
		}
	}
}

func readDeadline(t *testing.T, w *world) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for name, call := range w.reads() {
		fails(t, name, call(ctx), models.CodeUnavailable)
	}
}
