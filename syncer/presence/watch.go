package presence

import (
	"sync"

	"github.com/tidemark/tidemark/models"
)

// A Watch waits for changes of who is present in some spaces, or of a state; a
// mere heartbeat is none.
type Watch struct {
	// C gets a value when there are Events. It holds one value: the receiver needs
	// to know that it should look, not how often.
	C <-chan struct{}

	wake     chan struct{}
	registry *Registry
	spaces   []string
	// By space, guarded by Registry.mu: whether to look, and what Events has shown
	// last, because that may have been newer than what C was told of.
	news  []bool
	shown []*Event
}

// An Event is who is present in a space after a change, made once for all who
// watch. Nobody may change it.
type Event struct {
	models.PresenceEvent

	once sync.Once
	text []byte
}

// Text returns what encode makes of the event. Only the first call encodes, so
// all must bring the same function.
func (e *Event) Text(encode func(*models.PresenceEvent) []byte) []byte {
	e.once.Do(func() { e.text = encode(&e.PresenceEvent) })
	return e.text
}

// Watch begins to watch spaces, none of them named twice. Stop ends it. Where
// somebody is present already there is an event at once.
func (r *Registry) Watch(spaces ...string) *Watch {
	wake := make(chan struct{}, 1)
	w := &Watch{C: wake, wake: wake, registry: r, spaces: spaces, news: make([]bool, len(spaces)), shown: make([]*Event, len(spaces))}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.opts.Now()
	for i, name := range spaces {
		s := r.open(name, now)
		s.watches[w] = i
		if len(s.entries) > 0 {
			w.tell(i)
		}
	}
	return w
}

// Stop ends the watch. Once is enough, twice is fine.
func (w *Watch) Stop() {
	r := w.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range w.spaces {
		if s := r.spaces[name]; s != nil {
			delete(s.watches, w)
			r.close(s)
		}
	}
}

// Events returns one event for each space that has changed since the last time.
func (w *Watch) Events() []*Event {
	r := w.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.opts.Now()
	var events []*Event
	for i, name := range w.spaces {
		if !w.news[i] {
			continue
		}
		w.news[i] = false
		s := r.open(name, now) // and not closed: w is there
		if s.event == nil {
			s.event = &Event{PresenceEvent: models.PresenceEvent{Space: name, Present: s.list(now)}}
		}
		if s.event != w.shown[i] {
			events = append(events, s.event)
			w.shown[i] = s.event
		}
	}
	return events
}

// tell is called with Registry.mu held.
func (w *Watch) tell(i int) {
	w.news[i] = true
	select {
	case w.wake <- struct{}{}:
	default: // it has not looked since the last one
	}
}

// note keeps in mind that a space has changed and Run is to tell of it. It is
// called with mu held.
func (r *Registry) note(s *space) {
	s.event = nil
	if s.untold || len(s.watches) == 0 {
		return
	}
	s.untold = true
	r.untold = append(r.untold, s)
	select {
	case r.changed <- struct{}{}:
	default: // Run has not looked since the last one
	}
}

// tell tells those who watch what has changed.
func (r *Registry) tell() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.untold {
		s.untold = false
		for w, i := range s.watches {
			w.tell(i)
		}
	}
	r.untold = nil
}
