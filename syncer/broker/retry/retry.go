// Package retry is the pause between attempts to reach a server that is away.
package retry

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	shortest = 100 * time.Millisecond
	longest  = 5 * time.Second
)

// Pause grows from 100 ms to 5 s, with jitter, so that nodes which lost the same
// server don't come back to it at the same moment. The zero value is ready.
type Pause struct {
	attempts int
}

// Next returns how long to wait now: between half and all of 100 ms, 200 ms and
// so on.
func (p *Pause) Next() time.Duration {
	wait := min(shortest<<min(p.attempts, 16), longest)
	p.attempts++
	return wait/2 + rand.N(wait/2)
}

// Wait waits for the next pause, or until ctx ends; then it reports false.
func (p *Pause) Wait(ctx context.Context) bool {
	timer := time.NewTimer(p.Next())
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Reset begins with short pauses again, after a success.
func (p *Pause) Reset() { p.attempts = 0 }
