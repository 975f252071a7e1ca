package syncer

import (
	"maps"
	"slices"
	"sync"
)

// watchers wakes whoever waits for news of a space.
type watchers struct {
	mu     sync.Mutex
	spaces map[string]map[chan struct{}]struct{}
}

// Watch returns a channel that gets a value after each change of space, and a
// function that ends the watch. The channel holds one value: the receiver needs
// to know that it should look, not how often.
//
// Subscribe first, then read the feed: a change that is committed after the read
// then finds the watch in place, so none is missed.
func (e *Engine) Watch(space string) (wake <-chan struct{}, stop func()) {
	return e.watchers.add(space)
}

func (w *watchers) add(space string) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.spaces == nil {
		w.spaces = make(map[string]map[chan struct{}]struct{})
	}
	if w.spaces[space] == nil {
		w.spaces[space] = make(map[chan struct{}]struct{})
	}
	w.spaces[space][ch] = struct{}{}
	return ch, func() { w.remove(space, ch) }
}

func (w *watchers) remove(space string, ch chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.spaces[space], ch)
	if len(w.spaces[space]) == 0 {
		delete(w.spaces, space)
	}
}

func (w *watchers) wake(space string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.spaces[space] {
		select {
		case ch <- struct{}{}:
		default: // it has not looked since the last one
		}
	}
}

// wakeAll wakes everybody: nobody knows what has changed.
func (w *watchers) wakeAll() {
	w.mu.Lock()
	spaces := slices.Collect(maps.Keys(w.spaces))
	w.mu.Unlock()
	for _, space := range spaces {
		w.wake(space)
	}
}
