package scenario

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/tests/load/measure"
	"github.com/tidemark/tidemark/tests/load/wire"
)

const (
	// opening is how many streams connect at a time.
	opening = 64
	// streamsOfSubject is how many streams one token opens: servers bound them.
	streamsOfSubject = 20
	// arrival bounds how long the last edit may be on its way.
	arrival = 10 * time.Second
)

// hall is an audience at its places: every stream notes when it saw each edit.
type hall struct {
	env     *Env
	plan    audience
	edits   int
	first   uint64 // the running number before the first edit that counts
	started time.Time
	acked   []time.Duration // since started
	seats   []*seat
	seen    atomic.Int64 // by all seats together
	closing atomic.Bool
	readers errgroup.Group
	failed  chan struct{} // closed when a stream has ended by itself
	once    sync.Once
}

// seat is one stream.
type seat struct {
	stream *wire.Stream
	seen   []time.Duration // of each edit, 0: not yet
}

func newHall(e *Env, a audience, before uint64) *hall {
	edits := a.edits(e)
	return &hall{
		env: e, plan: a, edits: edits, first: before, started: time.Now(),
		acked: make([]time.Duration, edits), seats: make([]*seat, a.streams), failed: make(chan struct{}),
	}
}

// open connects all streams and starts to read them.
func (h *hall) open(ctx context.Context, d *deployment, path string) error {
	var connecting errgroup.Group
	connecting.SetLimit(opening)
	for i := range h.seats {
		connecting.Go(func() error {
			at := i
			if h.plan.others {
				at = i*len(d.targets) + 1 // never the node that is written to
			}
			token, err := d.token(1 + i/streamsOfSubject)
			if err != nil {
				return err
			}
			request := d.target(at).Get(path, token, "Accept: text/event-stream")
			stream, err := wire.OpenStream(ctx, d.target(at), request)
			if err != nil {
				return fmt.Errorf("stream %d: %w", i+1, err)
			}
			h.seats[i] = &seat{stream: stream, seen: make([]time.Duration, h.edits)}
			return nil
		})
	}
	if err := connecting.Wait(); err != nil {
		return err
	}
	for _, s := range h.seats {
		h.readers.Go(func() error { return h.read(s) })
	}
	return nil
}

// close ends the streams, and returns why one ended by itself.
func (h *hall) close() error {
	h.closing.Store(true)
	for _, s := range h.seats {
		if s != nil {
			s.stream.Close()
		}
	}
	return h.readers.Wait()
}

func (h *hall) read(s *seat) error {
	for {
		event, err := s.stream.Next()
		if h.closing.Load() {
			return nil
		}
		if err == nil && (string(event.Name) == "bye" || string(event.Name) == "reset") {
			err = fmt.Errorf("%s: %.300s", event.Name, event.Data)
		}
		if err != nil {
			h.once.Do(func() { close(h.failed) })
			return fmt.Errorf("a stream ended: %w", err)
		}
		now := time.Since(h.started)
		wire.EachEdit(event.Data, "client-0", func(n uint64) {
			if at := int(n - h.first - 1); at >= 0 && at < h.edits && s.seen[at] == 0 {
				s.seen[at] = now
				h.seen.Add(1)
			}
		})
		if s == h.seats[0] {
			h.env.frames.keep(event)
		}
	}
}

// watch makes the edits at the planned rate and waits until everybody has seen
// all of them, or has had time enough.
func (h *hall) watch(ctx context.Context, d *deployment, edit func() error) (Figures, error) {
	s := sample{from: d.meter()}
	tick := time.NewTicker(time.Duration(float64(time.Second) / h.plan.rate))
	defer tick.Stop()
	for i := range h.edits {
		select {
		case <-tick.C:
		case <-h.failed:
			return nil, errors.New("not all streams stayed open")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if err := edit(); err != nil {
			return nil, err
		}
		h.acked[i] = time.Since(h.started)
	}
	h.awaitArrival(ctx)
	s.to = d.meter()
	s.units = h.seen.Load()
	f := Figures{Lost: float64(int64(h.edits*h.plan.streams) - s.units)}
	s.addCPU(f)
	return f, nil
}

func (h *hall) awaitArrival(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(arrival)
	for h.seen.Load() < int64(h.edits*h.plan.streams) && time.Now().Before(deadline) && ctx.Err() == nil {
		<-tick.C
	}
}

// addLatencies adds how long after its acknowledgement each stream saw each
// edit. What was seen before its writer had the answer took no time. It is
// called when all readers have ended.
func (h *hall) addLatencies(f Figures) {
	all := make([]time.Duration, 0, h.edits*h.plan.streams)
	for _, s := range h.seats {
		for i, seen := range s.seen {
			if seen > 0 {
				all = append(all, max(0, seen-h.acked[i]))
			}
		}
	}
	if len(all) == 0 {
		return
	}
	f[P50], f[P99] = milliseconds(measure.Quantile(all, 0.50)), milliseconds(measure.Quantile(all, 0.99))
}
