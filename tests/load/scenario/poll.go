package scenario

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/tests/load/stand"
)

const (
	pollConnections = 64
	deltaChanges    = 10
	documentsBefore = 100 // in each space, before its clients are up to date
	bareLimit       = "a bare net/http handler that writes two bytes"
)

func idleCase() Case {
	return Case{
		Group: "idle", Name: "idle", LimitName: bareLimit,
		Rows: []Row{{
			Figure: ServerCPU, Title: "idle poll (304), CPU per request", Unit: "µs", LessIsBetter: true, AtLeast: 0.75,
			Instead: &Row{Figure: RequestsPerSecond, Title: "idle polls (304), 64 connections", Unit: "requests/s"},
		}},
		Seconds: twice,
		Ours:    func(ctx context.Context, e *Env) (Figures, error) { return e.poll(ctx, pollConnections, 0) },
		Limit:   bare,
	}
}

func deltaCase() Case {
	return Case{
		Group: "delta", Name: "delta", LimitName: bareLimit,
		Rows: []Row{{
			Figure: ServerCPU, Title: "delta poll of 10 changes, CPU per request", Unit: "µs", LessIsBetter: true, AtLeast: 0.60,
			Instead: &Row{Figure: RequestsPerSecond, Title: "delta polls of 10 changes, 64 connections", Unit: "requests/s"},
		}},
		Seconds: twice,
		Ours:    func(ctx context.Context, e *Env) (Figures, error) { return e.poll(ctx, pollConnections, deltaChanges) },
		Limit:   bare,
	}
}

// poll measures polls of clients that are so many changes behind the head of
// their space. Each has a connection, a space and a token of its own.
func (e *Env) poll(ctx context.Context, connections, behind int) (f Figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.Duration+2*time.Minute)
	defer cancel()
	d, err := e.deploy(ctx, e.SQLite, stand.NodeOptions{CountsPeak: true})
	if err != nil {
		return nil, err
	}
	defer d.end(&err)
	clients := make([]*poller, connections)
	defer func() { closePollers(clients) }()
	setup, setupCtx := errgroup.WithContext(ctx)
	setup.SetLimit(8)
	for i := range clients {
		setup.Go(func() (err error) {
			clients[i], err = d.newPoller(ctx, i, e.space())
			if err != nil {
				return err
			}
			return clients[i].fallBehind(setupCtx, d, i, behind)
		})
	}
	if err := setup.Wait(); err != nil {
		return nil, err
	}
	steps := make([]step, len(clients))
	for i, p := range clients {
		steps[i] = p.repeat(behind)
	}
	s, err := drive(ctx, steps, e.warmup(), e.Duration, d.meter)
	if err != nil {
		return nil, err
	}
	return s.figures(), nil
}

// bare measures the same requests, answered by the bare server.
func bare(ctx context.Context, e *Env) (f Figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.Duration+time.Minute)
	defer cancel()
	d, err := e.deployBare(ctx)
	if err != nil {
		return nil, err
	}
	defer d.end(&err)
	steps := make([]step, pollConnections)
	for i := range steps {
		p, err := d.newPoller(ctx, i, e.space())
		if err != nil {
			return nil, err
		}
		defer p.conn.Close()
		p.follow(likeCursor)
		steps[i] = func(ctx context.Context) (int, error) {
			answer, err := p.conn.Do(ctx, p.request)
			if err == nil && string(answer.Body) != "ok" {
				err = fmt.Errorf("the bare server answered %.80q", answer.Body)
			}
			return 1, err
		}
	}
	s, err := drive(ctx, steps, e.warmup(), e.Duration, d.meter)
	if err != nil {
		return nil, err
	}
	return s.figures(), nil
}

// likeCursor is as long as a cursor, so that the bare server gets the same bytes.
var likeCursor = []byte("AQAGQXyx2pIEAAAAAAAAAAAAAAAAAAAAAAAGQXyx2pIEAAAAAAAAAAAAAAAAAAAAAA")
