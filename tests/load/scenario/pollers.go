package scenario

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/tests/load/measure"
	"github.com/tidemark/tidemark/tests/load/stand"
)

const (
	pollersCount  = 200
	pollersSpaces = 10
	pollersEvery  = time.Second
	pollersEdits  = 50 // per second, in all spaces together
)

func pollersCase() Case {
	return Case{
		Group: "pollers", Name: "pollers",
		Rows: []Row{{
			Figure: Cores, Title: "200 pollers at 1 s, 50 edits/s: CPU of server and database", Unit: "% of a core",
			LessIsBetter: true, AtMost: 8,
			Instead: &Row{Figure: P50, Title: "200 pollers at 1 s, 50 edits/s: p50 of a poll", Unit: "ms", LessIsBetter: true},
		}},
		Seconds: func(e *Env) float64 { return 3 * e.Duration.Seconds() },
		Ours:    pollers,
	}
}

// pollers measures a quiet day: many clients that ask every second, a few that write.
func pollers(ctx context.Context, e *Env) (f Figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*e.Duration+2*time.Minute)
	defer cancel()
	d, err := e.deploy(ctx, e.SQLite, stand.NodeOptions{CountsPeak: true})
	if err != nil {
		return nil, err
	}
	defer d.end(&err)
	spaces := make([]string, pollersSpaces)
	for i := range spaces {
		spaces[i] = e.space()
	}
	writers, err := d.writers(ctx, pollersSpaces, spaces, documentsBefore)
	defer closeAll(writers)
	if err != nil {
		return nil, err
	}
	readers := make([]*poller, pollersCount)
	defer func() { closePollers(readers) }()
	for i := range readers {
		if readers[i], err = d.newPoller(ctx, pollersSpaces+i, spaces[i%len(spaces)]); err != nil {
			return nil, err
		}
		if _, err = readers[i].catchUp(ctx); err != nil {
			return nil, err
		}
	}
	if err := d.settle(ctx); err != nil {
		return nil, err
	}
	return pollAndWrite(ctx, d, readers, writers)
}

func pollAndWrite(ctx context.Context, d *deployment, readers []*poller, writers []*writer) (Figures, error) {
	var (
		s       sample
		changes atomic.Int64
		polls   = make([][]time.Duration, len(readers))
		running errgroup.Group
	)
	loadCtx, stop := context.WithCancel(ctx)
	defer stop()
	for i, reader := range readers {
		running.Go(func() error {
			return every(loadCtx, pollersEvery, func() error {
				start := time.Now()
				n, err := reader.poll(ctx)
				polls[i] = append(polls[i], time.Since(start))
				changes.Add(int64(n))
				return err
			})
		})
	}
	for _, writer := range writers {
		work := writer.step(1)
		running.Go(func() error {
			return every(loadCtx, time.Second*pollersSpaces/pollersEdits, func() error {
				_, err := work(ctx)
				return err
			})
		})
	}
	pause(ctx, pollersEvery) // until everybody has begun
	s.from = d.meter()
	pause(ctx, 2*d.env.Duration)
	s.to = d.meter()
	stop()
	if err := running.Wait(); err != nil {
		return nil, err
	}
	if changes.Load() == 0 {
		return nil, errors.New("the pollers saw no change")
	}
	for _, latencies := range polls {
		s.latencies = append(s.latencies, latencies...)
	}
	f := Figures{P50: milliseconds(measure.Quantile(s.latencies, 0.50)), P99: milliseconds(measure.Quantile(s.latencies, 0.99))}
	s.addCPU(f) // of polls and pushes together, so not for each
	if _, ok := f[ServerCores]; ok {
		f[Cores] = 100 * (f[ServerCores] + f[PostgresCores])
	}
	addFates(f, writers)
	return f, nil
}

// every does the work at an interval, from a random moment within the first on.
func every(ctx context.Context, interval time.Duration, work func() error) error {
	pause(ctx, rand.N(interval))
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := work(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return nil
}
