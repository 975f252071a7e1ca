// Package memory is the broker of a single node: messages stay in the process.
package memory

import (
	"context"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/mailbox"
)

// Broker carries messages within one process. It loses no poke while a Run is
// there to hear it: those not yet delivered are merged, one per space. News of
// presence is kept in order, the newest 1,024 a Run; when a deliver is so slow
// that there are more, the oldest are lost.
type Broker struct{ boxes mailbox.Boxes }

var _ syncer.Broker = (*Broker)(nil)

// New returns a Broker.
func New() *Broker {
	return &Broker{}
}

// Publish implements syncer.Broker. Error: m would be too large for other brokers.
func (b *Broker) Publish(_ context.Context, m syncer.Message) error {
	if !m.IsPoke() { // a poke is always small
		if _, err := m.Encode(); err != nil {
			return err
		}
	}
	b.boxes.Put(m)
	return nil
}

// Run implements syncer.Broker.
func (b *Broker) Run(ctx context.Context, deliver func(syncer.Message)) error {
	in := b.boxes.Open()
	defer b.boxes.Close(in)
	// What was published before anybody heard is nobody's, so the first poke says
	// that anything may have changed.
	in.Put(syncer.Message{})
	in.Deliver(ctx, deliver)
	return nil
}
