package syncer

import (
	"sync"
	"testing"
)

func TestWatch(t *testing.T) {
	t.Parallel()
	var w watchers
	first, stopFirst := w.add("s")
	second, stopSecond := w.add("s")
	other, stopOther := w.add("other")

	for range 3 {
		w.wake("s") // never blocks, however often
	}
	for name, ch := range map[string]<-chan struct{}{"first": first, "second": second} {
		if len(ch) != 1 {
			t.Errorf("the %s watch holds %d values, want 1", name, len(ch))
		}
	}
	if len(other) != 0 {
		t.Error("a watch of another space was woken")
	}

	<-first
	stopSecond()
	stopSecond() // once is enough, twice is fine
	<-second
	w.wake("s")
	if len(first) != 1 || len(second) != 0 {
		t.Errorf("after one watch ended, the others hold %d and %d values, want 1 and 0", len(first), len(second))
	}
	stopFirst()
	stopOther()
	stopOther()
	if len(w.spaces) != 0 {
		t.Errorf("%d spaces are left when nobody watches", len(w.spaces))
	}
	w.wake("s")
}

// Whoever looks after each value has seen the last change.
func TestWatch_concurrent(t *testing.T) {
	t.Parallel()
	const writers, changes = 8, 500
	var (
		w       watchers
		mu      sync.Mutex
		head    int
		running sync.WaitGroup
	)
	for range 4 {
		wake, stop := w.add("s")
		running.Go(func() {
			defer stop()
			for seen := 0; seen < writers*changes; {
				<-wake
				mu.Lock()
				seen = head
				mu.Unlock()
			}
		})
	}
	for range writers {
		running.Go(func() {
			for range changes {
				mu.Lock()
				head++
				mu.Unlock()
				w.wake("s")
			}
		})
	}
	running.Wait()
}
