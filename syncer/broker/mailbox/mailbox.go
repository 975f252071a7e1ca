// Package mailbox holds messages between those who publish and what carries them
// on, so that nobody waits for a network or for a slow receiver, and memory stays
// bounded whatever the network does. Every broker is built on it.
package mailbox

import (
	"context"
	"sync"

	"github.com/tidemark/tidemark/syncer"
)

const (
	// mostPresence bounds the news of presence in a Box; when it is full the oldest
	// go. Presence is best effort: it is sent again with each heartbeat.
	mostPresence = 1024
	// mostPokes bounds the pokes in a Box, one a space. Beyond it they become the
	// one poke of no space, which stands for all: looking everywhere is right, if
	// slow, and forgetting one would not be.
	mostPokes = 16384
)

// Box holds messages that were put in and not taken yet. Pokes are merged, one a
// space; news of presence is kept in order.
type Box struct {
	ready chan struct{} // holds one value: there is something to take

	mu       sync.Mutex
	pokes    map[string]int64 // version by space
	presence []syncer.Message
}

// New returns an empty Box.
func New() *Box {
	return &Box{ready: make(chan struct{}, 1), pokes: make(map[string]int64)}
}

// Put adds m. It never waits.
func (b *Box) Put(m syncer.Message) {
	b.add(m)
	select {
	case b.ready <- struct{}{}:
	default: // who takes has not looked since the last one
	}
}

func (b *Box) add(m syncer.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !m.IsPoke() {
		if len(b.presence) == mostPresence {
			b.presence = b.presence[1:]
		}
		b.presence = append(b.presence, m)
		return
	}
	version, known := b.pokes[m.Space]
	switch {
	case !known && len(b.pokes) == mostPokes:
		clear(b.pokes)
		b.pokes[""] = 0
	case known && (version == 0 || m.Version == 0):
		b.pokes[m.Space] = 0 // look, whatever you have
	default:
		b.pokes[m.Space] = max(version, m.Version)
	}
}

// Ready gets a value when there may be something to take. It is for one receiver.
func (b *Box) Ready() <-chan struct{} { return b.ready }

// Take empties the Box. Pokes come first.
func (b *Box) Take() []syncer.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]syncer.Message, 0, len(b.pokes)+len(b.presence))
	for space, version := range b.pokes {
		all = append(all, syncer.Message{Space: space, Version: version})
	}
	all = append(all, b.presence...)
	clear(b.pokes)
	b.presence = nil
	return all
}

// Deliver hands what is put in to deliver, one at a time, until ctx ends. What is
// then left stays in the Box.
func (b *Box) Deliver(ctx context.Context, deliver func(syncer.Message)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.ready:
		}
		for _, m := range b.Take() {
			if ctx.Err() != nil {
				return
			}
			deliver(m)
		}
	}
}
