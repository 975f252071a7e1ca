package mailbox

import (
	"sync"

	"github.com/tidemark/tidemark/syncer"
)

// Boxes are those of a broker whose Runs all hear the same: one for each Run. The zero
// value has none.
type Boxes struct {
	mu   sync.Mutex
	open map[*Box]struct{}
}

// Open returns a new box, into which everything is put from now on.
func (b *Boxes) Open() *Box {
	box := New()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == nil {
		b.open = make(map[*Box]struct{})
	}
	b.open[box] = struct{}{}
	return box
}

// Close ends that.
func (b *Boxes) Close(box *Box) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, box)
}

// Put puts m into each box that is open.
func (b *Boxes) Put(m syncer.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for box := range b.open {
		box.Put(m)
	}
}
