// Package retry is how brokers come back to a server that is away.
package retry

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/tidemark/tidemark/syncer/guard"
)

const (
	shortest = 100 * time.Millisecond
	longest  = 5 * time.Second
)

// After returns how long to wait after this many attempts that failed before:
// from 100 ms, doubled each time, to 5 s, less up to a half, so that nodes which
// lost the same server don't come back to it at the same moment.
func After(attempts int) time.Duration {
	wait := min(shortest<<min(attempts, 16), longest)
	return wait/2 + rand.N(wait/2)
}

// Wait waits for d, or until ctx ends.
func Wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Forever calls hear again and again until ctx ends, with pauses. hear connects
// and hears until the connection breaks, and calls begun when it begins to hear.
// log is told when the connection is lost and found again, not of each attempt. A
// panic of hear is a connection that broke, and is told of each time.
func Forever(ctx context.Context, log *slog.Logger, hear func(ctx context.Context, begun func()) error) {
	attempts, away := 0, false
	begun := func() {
		if away {
			log.InfoContext(ctx, "broker hears again")
		}
		attempts, away = 0, false
	}
	for {
		err := guard.Call(func() error { return hear(ctx, begun) })
		bug := guard.Is(err)
		if bug {
			log.ErrorContext(ctx, "caught a bug", "in", "a listener", "error", err)
		}
		if ctx.Err() != nil {
			return
		}
		if !away && !bug {
			log.WarnContext(ctx, "broker hears nothing", "error", err)
		}
		away = true
		Wait(ctx, After(attempts))
		attempts++
	}
}
