package syncer

import (
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// news returns where a watch was woken, nil if its channel is empty.
func news(w *Watch) []int {
	select {
	case <-w.C:
		return slices.Collect(w.News)
	default:
		return nil
	}
}

func wantNews(t *testing.T, what string, w *Watch, want ...int) {
	t.Helper()
	if diff := cmp.Diff(want, news(w)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	e := &Engine{}
	first, second, other := e.Watch("s"), e.Watch("s"), e.Watch("other")

	for range 3 {
		e.watchers.wake("s") // never blocks, however often
	}
	wantNews(t, "the first", first, 0)
	wantNews(t, "the first, which has looked", first)
	wantNews(t, "a watch of another space", other)

	second.Stop()
	second.Stop() // once is enough, twice is fine
	wantNews(t, "what came before the stop", second, 0)
	e.watchers.wake("s")
	wantNews(t, "the first, after the second ended", first, 0)
	wantNews(t, "the second, after its end", second)

	first.Stop()
	again := e.Watch("s")
	first.Stop()
	e.watchers.wake("s")
	wantNews(t, "a new watch, after the old one was stopped twice", again, 0)
	again.Stop()
	other.Stop()
	if len(e.watchers.spaces) != 0 {
		t.Errorf("%d spaces are left when nobody watches", len(e.watchers.spaces))
	}
	e.watchers.wake("s")
}

func TestWatch_severalSpaces(t *testing.T) {
	t.Parallel()
	e := &Engine{}
	w, neighbor := e.Watch("a", "b", "c"), e.Watch("c", "a")
	defer w.Stop()
	defer neighbor.Stop()

	e.watchers.wake("c")
	e.watchers.wake("a")
	e.watchers.wake("c")
	wantNews(t, "two of three", w, 0, 2)
	wantNews(t, "the same in another order", neighbor, 0, 1)
	e.watchers.wake("b")
	wantNews(t, "one that the neighbor does not watch", w, 1)
	wantNews(t, "the neighbor", neighbor)

	e.watchers.wakeAll()
	wantNews(t, "everything", w, 0, 1, 2)
	wantNews(t, "everything", neighbor, 0, 1)
	w.Again(1)
	wantNews(t, "one's own wish", w, 1)
	w.Look()
	wantNews(t, "one's own doubt", w, 0, 1, 2)
	wantNews(t, "the neighbor of who doubts", neighbor)

	// Who stops in the middle hears of the rest next time.
	e.watchers.wakeAll()
	<-w.C
	w.News(func(int) bool { return false })
	w.Again(0)
	wantNews(t, "what was left", w, 0, 1, 2)
}

// Whoever looks after each value has seen the last change, of each space.
func TestWatch_concurrent(t *testing.T) {
	t.Parallel()
	const writers, changes = 8, 500
	names := []string{"a", "b", "c"}
	var (
		e       Engine
		mu      sync.Mutex
		heads   [3]int
		running sync.WaitGroup
	)
	for range 4 {
		w := e.Watch(names...)
		running.Go(func() {
			defer w.Stop()
			for seen := [3]int{}; seen != [3]int{writers * changes, writers * changes, writers * changes}; {
				<-w.C
				for i := range w.News {
					mu.Lock()
					seen[i] = heads[i]
					mu.Unlock()
				}
			}
		})
	}
	for range writers {
		running.Go(func() {
			for n := range 3 * changes {
				mu.Lock()
				heads[n%3]++
				mu.Unlock()
				e.watchers.wake(names[n%3])
			}
		})
	}
	running.Wait()
}
