// Package memory is the broker of a single node: pokes stay in the process.
package memory

import (
	"context"
	"sync"

	"github.com/tidemark/tidemark/syncer"
)

// Broker carries pokes within one process. It loses none while a Run is there to
// hear it: pokes not yet delivered are merged, one per space, so its memory is
// bounded by the number of spaces that change at a time.
type Broker struct {
	mu      sync.Mutex
	inboxes map[*inbox]struct{} // one for each Run
}

// inbox holds what a Run has not delivered yet.
type inbox struct {
	wake chan struct{} // holds one value: there is something in pending

	mu      sync.Mutex
	pending map[string]int64 // newest version by space
}

var _ syncer.Broker = (*Broker)(nil)

// New returns a Broker.
func New() *Broker {
	return &Broker{inboxes: make(map[*inbox]struct{})}
}

// Publish implements syncer.Broker. It never fails.
func (b *Broker) Publish(_ context.Context, p syncer.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for in := range b.inboxes {
		in.add(p)
	}
	return nil
}

// Run implements syncer.Broker.
func (b *Broker) Run(ctx context.Context, deliver func(syncer.Message)) error {
	in := &inbox{wake: make(chan struct{}, 1), pending: make(map[string]int64)}
	b.mu.Lock()
	b.inboxes[in] = struct{}{}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.inboxes, in)
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-in.wake:
			for space, version := range in.take() {
				deliver(syncer.Message{Space: space, Version: version})
			}
		}
	}
}

func (in *inbox) add(p syncer.Message) {
	in.mu.Lock()
	in.pending[p.Space] = max(in.pending[p.Space], p.Version)
	in.mu.Unlock()
	select {
	case in.wake <- struct{}{}:
	default: // Run has not looked since the last one
	}
}

func (in *inbox) take() map[string]int64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	pending := in.pending
	in.pending = make(map[string]int64)
	return pending
}
