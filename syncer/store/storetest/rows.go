package storetest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// What the contract's tests write, below any engine: rows, with versions of the
// test's choice.

// errChanged ends a commit that must not be.
var errChanged = errors.New("changed my mind")

func asError(err error, target **models.Error) bool { return errors.As(err, target) }

// key reads collection/id.
func key(at string) syncer.Key {
	collection, id, _ := strings.Cut(at, "/")
	return syncer.Key{Collection: collection, ID: id}
}

// row is a live document, in its space from the time it is written.
func row(version int64, at, data string) models.Document {
	k := key(at)
	return models.Document{
		Collection: k.Collection, ID: k.ID, Version: version,
		Data: &data, Size: int64(len(data)), FieldVersions: `{"all":1}`,
		ClientID: "c1", EditID: "e1", UpdatedBy: "alice", UpdatedAt: version,
	}
}

// tombstone is the row of a deleted document.
func tombstone(version int64, at string) models.Document {
	d := row(version, at, "")
	d.Deleted, d.Data, d.FieldVersions = true, nil, ""
	return d
}

// touch names what a push of client c1 touches in w's space.
func (w *world) touch(wants ...syncer.Want) syncer.Touch {
	return syncer.Touch{Space: w.space, Clients: []syncer.Client{c1}, Documents: wants}
}

// c1 is the client that pushes unless a test says otherwise.
var c1 = syncer.Client{Subject: "alice", ID: "c1"}

// ring is receipts of c1.
func ring(receipts string) map[syncer.Client]syncer.Receipts {
	return map[syncer.Client]syncer.Receipts{c1: {Newest: []byte(receipts)}}
}

// commit commits a group of one push, which waits for its space.
func commit(ctx context.Context, store syncer.Store, touch syncer.Touch, decide func(syncer.Locked) (syncer.Writes, error)) error {
	var failed error
	err := store.Commit(ctx, syncer.Group{
		Touches: []syncer.Touch{touch}, Wait: true,
		Decide: func(found []*syncer.Locked) []syncer.Writes {
			var w syncer.Writes
			if w, failed = decide(*found[0]); failed != nil {
				w = syncer.Writes{}
			}
			return []syncer.Writes{w}
		},
	})
	return errors.Join(failed, err)
}

// writes is what a push writes that found locked: documents, and the head that
// goes with them.
func writes(locked syncer.Locked, documents ...models.Document) syncer.Writes {
	space := locked.Space
	space.Epoch = locked.Identity
	w := syncer.Writes{Space: &space}
	for _, d := range documents {
		d.SpaceID = space.ID
		space.Head = max(space.Head, d.Version)
		w.Documents = append(w.Documents, &d)
	}
	return w
}

// write commits documents to w's space.
func (w *world) write(t testing.TB, documents ...models.Document) {
	t.Helper()
	err := commit(t.Context(), w.store, w.touch(), func(locked syncer.Locked) (syncer.Writes, error) {
		return writes(locked, documents...), nil
	})
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
}

// locked returns what a push finds, and leaves it as it is.
func (w *world) locked(t testing.TB, touch syncer.Touch) (found syncer.Locked) {
	t.Helper()
	err := commit(t.Context(), w.store, touch, func(locked syncer.Locked) (syncer.Writes, error) {
		found = locked
		return syncer.Writes{}, nil
	})
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	return found
}

// read reads changes.
func read(t testing.TB, store syncer.Store, space string, r syncer.Range) syncer.Run {
	t.Helper()
	run, err := store.Changes(t.Context(), space, r)
	if err != nil {
		t.Fatalf("changes: %v", err)
	}
	return run
}

func (w *world) read(t testing.TB, r syncer.Range) syncer.Run {
	t.Helper()
	return read(t, w.store, w.space, r)
}

// changes returns the wire form of rows. Within a version their order is free.
func changes(documents []models.Document) []models.Change {
	list := make([]models.Change, len(documents))
	for i := range documents {
		list[i] = *documents[i].Change()
	}
	return ordered(list)
}

// ordered brings neighbors of one version into order. It leaves versions where
// they are: their order is what many a test is about.
func ordered(list []models.Change) []models.Change {
	for from := 0; from < len(list); {
		to := from + 1
		for to < len(list) && list[to].Version == list[from].Version {
			to++
		}
		slices.SortFunc(list[from:to], func(a, b models.Change) int {
			return cmp.Or(cmp.Compare(a.Collection, b.Collection), cmp.Compare(a.ID, b.ID))
		})
		from = to
	}
	return list
}

// names lists what a page shows: collection/id, a tombstone with a minus before it.
func names(list []models.Change) []string {
	shown := make([]string, len(list))
	for i, c := range list {
		shown[i] = c.Collection + "/" + c.ID
		if c.Deleted {
			shown[i] = "-" + shown[i]
		}
	}
	return shown
}

// held is a push that stands between its lock and its commit.
type held struct {
	release chan syncer.Writes // what to write
	done    chan error
}

// hold begins a push and returns when it holds the lock of its space.
func hold(t testing.TB, store syncer.Store, touch syncer.Touch) (held, syncer.Locked) {
	t.Helper()
	h := held{make(chan syncer.Writes, 1), make(chan error, 1)}
	inside := make(chan syncer.Locked, 1)
	ctx := t.Context()
	go func() {
		h.done <- commit(ctx, store, touch, func(locked syncer.Locked) (syncer.Writes, error) {
			inside <- locked
			select {
			case w := <-h.release:
				return w, nil
			case <-ctx.Done():
				return syncer.Writes{}, ctx.Err()
			}
		})
	}()
	select {
	case locked := <-inside:
		return h, locked
	case err := <-h.done:
		t.Fatalf("commit: %v", err)
		panic("unreachable")
	}
}

// commit lets the push write and waits for its end.
func (h held) commit(t testing.TB, w syncer.Writes) {
	t.Helper()
	h.release <- w
	if err := await(t, "the end of a push", h.done); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

// start begins a commit and does not wait for it. found is what it finds.
func start(ctx context.Context, store syncer.Store, touch syncer.Touch, then func(syncer.Locked) syncer.Writes) (found <-chan syncer.Locked, done <-chan error) {
	inside, end := make(chan syncer.Locked, 1), make(chan error, 1)
	go func() {
		end <- commit(ctx, store, touch, func(locked syncer.Locked) (syncer.Writes, error) {
			inside <- locked
			return then(locked), nil
		})
	}()
	return inside, end
}
