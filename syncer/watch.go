package syncer

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// watchers wakes whoever waits for news of a space.
type watchers struct {
	mu     sync.Mutex
	spaces map[string]*watchedSpace
}

// watchedSpace is what all who watch a space have in common. It is there as long
// as anybody does.
type watchedSpace struct {
	name string
	// turn counts how often somebody was told to look. What was read in an
	// earlier turn may lack what the telling was about.
	turn    atomic.Int64
	pages   sharedPages
	watches map[*Watch]int // the space's place in each; guarded by watchers.mu
}

// A Watch waits for news of some spaces.
//
// Subscribe first, then read the feed: a change that is committed after the read
// then finds the watch in place, so none is missed.
type Watch struct {
	// C gets a value after each change of one of the spaces. It holds one value:
	// the receiver needs to know that it should look, not how often.
	C <-chan struct{}

	wake   chan struct{}
	engine *Engine
	places []place
}

// place is a space in a watch.
type place struct {
	space *watchedSpace
	news  atomic.Bool // there was news since the last look
}

// Watch begins to watch spaces, none of them named twice. Stop ends it.
func (e *Engine) Watch(spaces ...string) *Watch {
	wake := make(chan struct{}, 1)
	w := &Watch{C: wake, wake: wake, engine: e, places: make([]place, len(spaces))}
	e.watchers.add(w, spaces)
	return w
}

// Stop ends the watch. Once is enough, twice is fine.
func (w *Watch) Stop() { w.engine.watchers.remove(w) }

// News yields the places, in the list that Watch was given, of the spaces that
// had news since the last time, and takes note that they have been looked at.
func (w *Watch) News(yield func(i int) bool) {
	for i := range w.places {
		if w.places[i].news.Swap(false) && !yield(i) {
			return
		}
	}
}

// Look makes news of all spaces of this watch, and what is shared with others
// is read anew: for who has just come, or fears that a poke was lost.
func (w *Watch) Look() {
	for i := range w.places {
		w.places[i].space.turn.Add(1)
		w.Again(i)
	}
}

// Again makes news of the i-th space, for this watch alone: there is more to read.
func (w *Watch) Again(i int) {
	w.places[i].news.Store(true) // before the signal, which makes its receiver look
	select {
	case w.wake <- struct{}{}:
	default: // it has not looked since the last one
	}
}

func (w *watchers) add(watch *Watch, spaces []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.spaces == nil {
		w.spaces = make(map[string]*watchedSpace)
	}
	for i, name := range spaces {
		space := w.spaces[name]
		if space == nil {
			space = &watchedSpace{name: name, watches: make(map[*Watch]int)}
			w.spaces[name] = space
		}
		space.watches[watch] = i
		watch.places[i].space = space
	}
}

func (w *watchers) remove(watch *Watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range watch.places {
		space := watch.places[i].space
		delete(space.watches, watch)
		// Another watch may have begun since this one stopped for the first time.
		if len(space.watches) == 0 && w.spaces[space.name] == space {
			delete(w.spaces, space.name)
		}
	}
}

// wake tells all who watch a space that it has changed.
func (w *watchers) wake(space string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.spaces[space]; s != nil {
		s.wake()
	}
}

// wakeAll tells everybody that anything may have changed.
func (w *watchers) wakeAll() {
	for _, space := range w.names() {
		w.wake(space) // one by one, so that others get in between
	}
}

// names returns the spaces that somebody watches.
func (w *watchers) names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.spaces))
}

// wake is called with watchers.mu held.
func (s *watchedSpace) wake() {
	s.turn.Add(1) // before the first signal, or who is woken would be given an old page
	for watch, i := range s.watches {
		watch.Again(i)
	}
}
