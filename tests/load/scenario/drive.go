package scenario

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/tests/load/measure"
)

// step is one request of a client and its answer; units is what is counted:
// edits of a push, 1 of a poll.
type step func(ctx context.Context) (units int, err error)

// sample is what a measured stretch of time brought.
type sample struct {
	units, requests int64
	latencies       []time.Duration
	from, to        usage
}

// phases of a load.
const (
	warming int32 = iota
	measuring
	over
)

// drive runs every client in a closed loop: the next request goes out when the
// answer to the last one is in. Measured is what lies between warmup and
// warmup+length.
func drive(ctx context.Context, steps []step, warmup, length time.Duration, meter func() usage) (sample, error) {
	var (
		phase atomic.Int32
		mu    sync.Mutex
		all   sample
	)
	clients, ctx := errgroup.WithContext(ctx)
	for _, step := range steps {
		clients.Go(func() error {
			mine, err := repeat(ctx, step, &phase)
			mu.Lock()
			defer mu.Unlock()
			all.units += mine.units
			all.requests += mine.requests
			all.latencies = slices.Concat(all.latencies, mine.latencies)
			return err
		})
	}
	pause(ctx, warmup)
	from := meter()
	phase.Store(measuring)
	pause(ctx, length)
	phase.Store(over)
	to := meter()
	err := clients.Wait()
	all.from, all.to = from, to
	return all, err
}

func repeat(ctx context.Context, step step, phase *atomic.Int32) (sample, error) {
	var mine sample
	for ctx.Err() == nil {
		start := time.Now()
		units, err := step(ctx)
		if err != nil {
			return mine, err
		}
		switch phase.Load() {
		case measuring:
			mine.units += int64(units)
			mine.requests++
			mine.latencies = append(mine.latencies, time.Since(start))
		case over:
			return mine, nil
		}
	}
	return mine, ctx.Err()
}

// pause waits, or not if ctx ends first.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// figures are what a sample comes to.
func (s *sample) figures() Figures {
	seconds := s.to.at.Sub(s.from.at).Seconds()
	f := Figures{
		RequestsPerSecond: float64(s.requests) / seconds,
		P50:               milliseconds(measure.Quantile(s.latencies, 0.50)),
		P99:               milliseconds(measure.Quantile(s.latencies, 0.99)),
	}
	s.addCPU(f)
	return f
}

// addCPU adds who used how much, in cores and for each unit, if units were counted.
func (s *sample) addCPU(f Figures) {
	elapsed := float64(s.to.at.Sub(s.from.at))
	if s.from.client > 0 {
		f[ClientCores] = float64(s.to.client-s.from.client) / elapsed
	}
	if !s.from.served || !s.to.served {
		return
	}
	server, postgres := float64(s.to.server-s.from.server), float64(s.to.postgres-s.from.postgres)
	f[ServerCores] = server / elapsed
	f[PostgresCores] = postgres / elapsed
	if s.units == 0 {
		return
	}
	f[ServerCPU] = server / float64(s.units) / float64(time.Microsecond)
	f[PostgresCPU] = postgres / float64(s.units) / float64(time.Microsecond)
}
