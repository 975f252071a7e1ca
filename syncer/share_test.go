package syncer

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"weak"

	"github.com/tidemark/tidemark/models"
)

// countingFeed is a store of one document, which counts how often it is asked.
type countingFeed struct {
	scriptedStore
	head, reads atomic.Int64
}

func newCountingFeed() *countingFeed {
	f := &countingFeed{}
	f.head.Store(1)
	f.changes = func(r Range) (Run, error) {
		f.reads.Add(1)
		return feed(f.head.Load(), r), nil
	}
	return f
}

func (f *countingFeed) wantReads(t *testing.T, what string, want int64) {
	t.Helper()
	if got := f.reads.Swap(0); got != want {
		t.Errorf("%s: %d reads, want %d", what, got, want)
	}
}

func mustShare(t *testing.T, w *Watch, cursor string) *SharedPage {
	t.Helper()
	page, err := w.Pull(t.Context(), 0, PullRequest{Cursor: cursor})
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func TestWatchPull_shares(t *testing.T) {
	t.Parallel()
	store := newCountingFeed()
	e := New(store, &deaf{}, Options{})
	a, b, other := e.Watch("s"), e.Watch("s"), e.Watch("other")

	first := mustShare(t, a, at(1))
	if second := mustShare(t, b, at(1)); first != second {
		t.Error("the same page is not shared")
	}
	store.wantReads(t, "two at one cursor", 1)

	store.head.Store(2)
	e.watchers.wake("s")
	if page := mustShare(t, b, at(1)); len(page.Changes) != 1 || page.Version != 2 {
		t.Errorf("after a wake-up: %+v, want the change", page.Page)
	}
	mustShare(t, a, at(1))
	store.wantReads(t, "two after a wake-up", 1)
	mustShare(t, a, at(2))
	if _, err := a.Pull(t.Context(), 0, PullRequest{Cursor: at(1), Limit: 7}); err != nil {
		t.Error(err)
	}
	if _, err := a.Pull(t.Context(), 0, PullRequest{Collections: []string{"c"}}); err != nil {
		t.Error(err)
	}
	if _, err := other.Pull(t.Context(), 0, PullRequest{}); err != nil {
		t.Error(err)
	}
	store.wantReads(t, "another cursor, limit, filter, space", 4)

	// Who doubts reads anew, and so does everybody after him.
	b.Look()
	mustShare(t, b, at(1))
	mustShare(t, a, at(1))
	store.wantReads(t, "after a doubt", 1)
	runtime.KeepAlive(first)
}

func TestSharedPage_isEncodedOnce(t *testing.T) {
	t.Parallel()
	calls := 0
	encode := func(p *models.Page) []byte { calls++; return p.AppendJSON(nil) }
	e := New(newCountingFeed(), &deaf{}, Options{})
	page := mustShare(t, e.Watch("s"), at(1))
	again := mustShare(t, e.Watch("s"), at(1))
	if &page.Text(encode)[0] != &again.Text(encode)[0] || calls != 1 {
		t.Errorf("encoded %d times", calls)
	}
}

// A thousand streams ask at the same moment, before the first has its answer.
func TestWatchPull_waitsForTheReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newCountingFeed()
		gate := make(chan struct{})
		read := store.changes
		store.changes = func(r Range) (Run, error) { <-gate; return read(r) }
		e := New(store, &deaf{}, Options{})
		var asking sync.WaitGroup
		for range 1000 {
			w := e.Watch("s")
			asking.Go(func() { mustShare(t, w, at(1)) })
		}
		synctest.Wait()
		close(gate)
		asking.Wait()
		store.wantReads(t, "a thousand", 1)
	})
}

// That the one who reads goes away, or panics, is his matter alone.
func TestWatchPull_theReaderGoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newCountingFeed()
		ctx, leave := context.WithCancel(t.Context())
		read := store.changes
		calls := 0
		store.changes = func(r Range) (Run, error) {
			if calls++; calls == 1 {
				<-ctx.Done()
				return Run{}, ctx.Err()
			}
			return read(r)
		}
		e := New(store, &deaf{}, Options{})
		failed := make(chan error)
		reader := e.Watch("s")
		go func() {
			_, err := reader.Pull(ctx, 0, PullRequest{Cursor: at(1)})
			failed <- err
		}()
		synctest.Wait()
		pages := make(chan *SharedPage)
		waiting := e.Watch("s")
		go func() { pages <- mustShare(t, waiting, at(1)) }()
		synctest.Wait()
		leave()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("who left got %v", err)
		}
		if page := <-pages; page.Version != 1 {
			t.Errorf("who stayed got %+v", page.Page)
		}
	})
}

// Pages are not kept for nobody.
func TestWatchPull_holdsWeakly(t *testing.T) {
	t.Parallel()
	feed := newCountingFeed()
	e := New(feed, &deaf{}, Options{})
	w := e.Watch("s")
	held := weak.Make(mustShare(t, w, at(1)))
	for range 10 {
		runtime.GC()
	}
	if held.Value() != nil {
		t.Error("a page that nobody sends is still there")
	}
	for range 10 * maxSharedPages {
		if _, err := w.Pull(t.Context(), 0, PullRequest{Cursor: at(1), Limit: 1 + int(feed.reads.Load())}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(e.watchers.spaces["s"].pages.pages); n > maxSharedPages {
		t.Errorf("%d pages are remembered", n)
	}
}
