// Package memory is the broker of a single node: pokes stay in the process.
package memory

import (
	"context"
	"errors"
	"sync"

	"github.com/tidemark/tidemark/syncer"
)

// Broker carries pokes within one process. It loses none: pokes that are not yet
// delivered are merged, one per space, so its memory is bounded by the number of
// spaces that change at a time. It serves one engine.
type Broker struct {
	wake chan struct{} // holds one value: there is something in pending

	mu      sync.Mutex
	pending map[string]int64 // newest version by space
}

var _ syncer.Broker = (*Broker)(nil)

// New returns a Broker.
func New() *Broker {
	return &Broker{wake: make(chan struct{}, 1), pending: make(map[string]int64)}
}

// Publish implements syncer.Broker. It never fails.
func (b *Broker) Publish(_ context.Context, p syncer.Poke) error {
	b.mu.Lock()
	b.pending[p.Space] = max(b.pending[p.Space], p.Version)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default: // Run has not looked since the last one
	}
	return nil
}

// Run implements syncer.Broker.
func (b *Broker) Run(ctx context.Context, deliver func(syncer.Poke)) error {
	for {
		select {
		case <-ctx.Done():
			return ignoreCanceled(ctx.Err())
		case <-b.wake:
			for space, version := range b.take() {
				deliver(syncer.Poke{Space: space, Version: version})
			}
		}
	}
}

func (b *Broker) take() map[string]int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	pending := b.pending
	b.pending = make(map[string]int64)
	return pending
}

// ignoreCanceled returns nil for the ordinary end of Run.
func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
