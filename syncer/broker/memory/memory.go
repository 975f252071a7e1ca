// Package memory is the broker of a single node: messages stay in the process.
package memory

import (
	"context"
	"sync"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/mailbox"
)

// Broker carries messages within one process. It loses no poke while a Run is
// there to hear it: those not yet delivered are merged, one per space. News of
// presence is kept in order, the newest 1,024 a Run; when a deliver is so slow
// that there are more, the oldest are lost.
type Broker struct {
	mu      sync.Mutex
	inboxes map[*mailbox.Box]struct{} // one for each Run
}

var _ syncer.Broker = (*Broker)(nil)

// New returns a Broker.
func New() *Broker {
	return &Broker{inboxes: make(map[*mailbox.Box]struct{})}
}

// Publish implements syncer.Broker. Error: m would be too large for other brokers.
func (b *Broker) Publish(_ context.Context, m syncer.Message) error {
	if !m.IsPoke() { // a poke is always small
		if _, err := m.Encode(); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for in := range b.inboxes {
		in.Put(m)
	}
	return nil
}

// Run implements syncer.Broker.
func (b *Broker) Run(ctx context.Context, deliver func(syncer.Message)) error {
	in := mailbox.New()
	// What was published before anybody heard is nobody's, so the first poke says
	// that anything may have changed.
	in.Put(syncer.Message{})
	b.add(in)
	defer b.remove(in)
	in.Deliver(ctx, deliver)
	return nil
}

func (b *Broker) add(in *mailbox.Box) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inboxes[in] = struct{}{}
}

func (b *Broker) remove(in *mailbox.Box) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.inboxes, in)
}
