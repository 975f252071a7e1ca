package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/tests/load/limits"
	"github.com/tidemark/tidemark/tests/load/measure"
	"github.com/tidemark/tidemark/tests/load/stand"
	"github.com/tidemark/tidemark/tests/pgtest"
)

const (
	catchupDocuments = 50_000
	catchupTries     = 5 // in each round; their median counts
)

func catchupCase() Case {
	return Case{
		Group: "catchup", Name: "catchup", LimitName: "psql COPY … TO STDOUT of the same JSON",
		Rows: []Row{{
			Figure: Wall, Title: "catch-up of 50,000 documents", Unit: "ms", LessIsBetter: true, AtLeast: 1.0, Aim: 1.4,
		}},
		Seconds: func(*Env) float64 { return 6 },
		Ours:    catchup,
		Limit:   copyOut,
	}
}

// catchup measures a new client that pulls a large space page by page.
func catchup(ctx context.Context, e *Env) (f Figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	d, err := e.deploy(ctx, e.SQLite, stand.NodeOptions{CountsPeak: true})
	if err != nil {
		return nil, err
	}
	defer d.end(&err)
	space := e.space()
	writers, err := d.writers(ctx, 8, []string{space}, catchupDocuments/8)
	closeAll(writers)
	if err != nil {
		return nil, err
	}
	if err := d.settle(ctx); err != nil {
		return nil, err
	}
	p, err := d.newPoller(ctx, 0, space)
	if err != nil {
		return nil, err
	}
	defer p.conn.Close()
	if _, err := p.catchUp(ctx); err != nil { // the pages of the database are read for the first time
		return nil, err
	}
	var walls []time.Duration
	s := sample{from: d.meter()}
	for range catchupTries {
		start := time.Now()
		changes, err := p.catchUp(ctx)
		if err != nil {
			return nil, err
		}
		if changes != catchupDocuments {
			return nil, fmt.Errorf("a catch-up brought %d documents, want %d", changes, catchupDocuments)
		}
		walls = append(walls, time.Since(start))
		s.units += int64(changes)
	}
	s.to = d.meter()
	f = Figures{Wall: milliseconds(measure.Quantile(walls, 0.5))}
	s.addCPU(f)
	return f, nil
}

func copyOut(ctx context.Context, e *Env) (f Figures, err error) {
	postgres, err := e.Stand.Postgres(ctx)
	if err != nil {
		return nil, err
	}
	program, err := pgtest.Program("psql")
	if err != nil {
		return nil, fmt.Errorf("the limit needs psql: %w", err)
	}
	databaseURL, drop, err := postgres.Database(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, drop()) }()
	if err := limits.Prepare(ctx, databaseURL, catchupDocuments, 1, false); err != nil {
		return nil, err
	}
	if err := postgres.Checkpoint(ctx); err != nil {
		return nil, err
	}
	var walls []time.Duration
	for range catchupTries + 1 {
		wall, err := limits.Copy(ctx, program, databaseURL)
		if err != nil {
			return nil, err
		}
		walls = append(walls, wall)
	}
	return Figures{Wall: milliseconds(measure.Quantile(walls[1:], 0.5))}, nil
}
