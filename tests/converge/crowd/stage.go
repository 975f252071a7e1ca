package crowd

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark/tidemark/tests/converge"
	"github.com/tidemark/tidemark/tests/harness"
)

// Stage tells clients how far the run has come. The zero value lets them edit.
type Stage struct {
	// Think is the longest pause that a user makes between two steps. It is set before
	// the clients begin.
	Think time.Duration
	// Space is the one that all edit, if it is not the constant Space.
	Space string

	over    atomic.Bool  // nobody edits any more
	settled atomic.Int64 // clients that have nothing left to send
	target  atomic.Int64 // the head, once all have settled
	streams sync.WaitGroup
}

func (s *Stage) space() string { return cmp.Or(s.Space, Space) }

func (s *Stage) editing() bool { return !s.over.Load() }

// Stop has users stop editing. Clients send what waits, and end once the witness has
// said how far there is to go.
func (s *Stage) Stop() { s.over.Store(true) }

// Settled is how many clients have nothing left to send.
func (s *Stage) Settled() int64 { return s.settled.Load() }

// Close waits for what clients have begun; they have ended.
func (s *Stage) Close() { s.streams.Wait() }

// Witness waits until so many clients have nothing left to send, reads all there is
// from the start, and tells them how far that goes. Who has settled has nothing new,
// so all that is to come is seen by then.
func (s *Stage) Witness(ctx context.Context, clients int, http *harness.Client, random *rand.Rand, record *converge.Recorder) {
	for s.Settled() < int64(clients) {
		if Wait(ctx, 10*time.Millisecond) != nil {
			return // the clients say where they are stuck
		}
	}
	c := New(converge.Witness, 0, http, random, record, s)
	for c.fresh != nil {
		if err := c.pull(ctx, "pull", 0); err != nil {
			c.tell(converge.Event{Kind: converge.KindStuck, Why: err.Error()})
			return
		}
	}
	c.tell(converge.Event{Kind: converge.KindEnd})
	s.target.Store(c.head)
}

// Wait lasts so long, or until ctx ends.
func Wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
