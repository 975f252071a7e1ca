package scenario

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemark/tidemark/tests/load/limits"
	"github.com/tidemark/tidemark/tests/load/measure"
	"github.com/tidemark/tidemark/tests/load/stand"
	"github.com/tidemark/tidemark/tests/pgtest"
)

const (
	pushClients       = 32
	documentsOfClient = 1000 // there before the measurement
)

// load is a shape of pushes.
type load struct {
	clients, batch, spaces int
	documents              int // of each client, there before the measurement
	sqlite                 bool
}

func pushCases() []Case {
	var cases []Case
	for _, target := range []struct {
		spaces, batch int
		atLeast, aim  float64
	}{
		{32, 1, 0.60, 0.70},
		{32, 10, 0.55, 0.65},
		{32, 100, 0.45, 0.55},
		{1, 1, 0.50, 0},
		{1, 10, 0.40, 0},
		{1, 100, 0.28, 0},
	} {
		l := load{clients: pushClients, batch: target.batch, spaces: target.spaces, documents: documentsOfClient}
		cases = append(cases, Case{
			Group:     "push",
			Name:      fmt.Sprintf("push-%s-batch-%d", strings.ReplaceAll(plural(target.spaces, "space"), " ", "-"), target.batch),
			LimitName: "pgbench, bare multi-row upsert of the same batch",
			Rows: []Row{{
				Figure: EditsPerSecond, Unit: "edits/s", AtLeast: target.atLeast, Aim: target.aim,
				Title: fmt.Sprintf("push, %s, batch %d", plural(target.spaces, "space"), target.batch),
			}},
			Seconds: twice,
			Ours:    func(ctx context.Context, e *Env) (Figures, error) { return e.push(ctx, l) },
			Limit:   func(ctx context.Context, e *Env) (Figures, error) { return e.pgbench(ctx, l) },
		})
	}
	return cases
}

// loneCase: what one client waits for an acknowledgement when nobody else writes.
func loneCase() Case {
	l := load{clients: 1, batch: 1, spaces: 1, documents: documentsOfClient}
	return Case{
		Group: "push-lone", Name: "push-lone", LimitName: "pgbench, one client, the same upsert",
		Rows: []Row{{
			Figure: P50, Title: "push, a lone client, batch 1, p50", Unit: "ms", LessIsBetter: true, AtLeast: 1 / 3.5,
		}},
		Seconds: twice,
		Ours:    func(ctx context.Context, e *Env) (Figures, error) { return e.push(ctx, l) },
		Limit:   func(ctx context.Context, e *Env) (Figures, error) { return e.pgbench(ctx, l) },
	}
}

func sqliteCase() Case {
	l := load{clients: pushClients, batch: 10, spaces: 32, documents: documentsOfClient, sqlite: true}
	return Case{
		Group: "push-sqlite", Name: "push-sqlite", LimitName: "the same prepared upserts, 100 a transaction",
		Rows:    []Row{{Figure: EditsPerSecond, Title: "push, SQLite, 32 spaces, batch 10", Unit: "edits/s", AtLeast: 0.50}},
		Seconds: twice,
		Needs:   ownNodes,
		Ours:    func(ctx context.Context, e *Env) (Figures, error) { return e.push(ctx, l) },
		Limit: func(ctx context.Context, e *Env) (Figures, error) {
			file, err := e.Stand.File("limit.db")
			if err != nil {
				return nil, err
			}
			rate, err := limits.SQLite(ctx, file, l.clients*l.documents, l.spaces, e.Duration)
			return Figures{EditsPerSecond: rate}, err
		},
	}
}

// push measures a load of pushes against a fresh database.
func (e *Env) push(ctx context.Context, l load) (f Figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.Duration+2*time.Minute)
	defer cancel()
	d, err := e.deploy(ctx, l.sqlite || e.SQLite, stand.NodeOptions{CountsPeak: true})
	if err != nil {
		return nil, err
	}
	defer d.end(&err)
	spaces := make([]string, l.spaces)
	for i := range spaces {
		spaces[i] = e.space()
	}
	writers, err := d.writers(ctx, l.clients, spaces, l.documents)
	defer closeAll(writers)
	if err != nil {
		return nil, err
	}
	if err := d.settle(ctx); err != nil {
		return nil, err
	}
	steps := make([]step, len(writers))
	for i, w := range writers {
		w.edits, w.conflicts, w.refused = 0, 0, 0
		steps[i] = w.step(l.batch)
	}
	s, err := drive(ctx, steps, e.warmup(), e.Duration, d.meter)
	if err != nil {
		return nil, err
	}
	f = s.figures()
	f[EditsPerSecond] = f[RequestsPerSecond] * float64(s.units) / float64(max(1, s.requests))
	addFates(f, writers)
	return f, nil
}

func addFates(f Figures, writers []*writer) {
	var edits, conflicts, refused int64
	for _, w := range writers {
		edits, conflicts, refused = edits+w.edits, conflicts+w.conflicts, refused+w.refused
	}
	f[Conflicts] = 100 * float64(conflicts) / float64(max(1, edits))
	f[Refused] = float64(refused)
}

// pgbench measures the limit of the same load, in a database of its own.
func (e *Env) pgbench(ctx context.Context, l load) (f Figures, err error) {
	postgres, err := e.Stand.Postgres(ctx)
	if err != nil {
		return nil, err
	}
	program, err := pgtest.Program("pgbench")
	if err != nil {
		return nil, fmt.Errorf("the limit needs pgbench: %w", err)
	}
	databaseURL, drop, err := postgres.Database(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, drop()) }()
	run := limits.Pgbench{
		Program: program, DatabaseURL: databaseURL, Clients: l.clients, Batch: l.batch, Spaces: l.spaces > 1,
		Prefilled: l.clients * l.documents, Duration: e.Duration, Latencies: l.clients == 1,
		Name: strings.ReplaceAll(fmt.Sprintf("%s-%s-batch-%d", plural(l.clients, "client"), plural(l.spaces, "space"), l.batch), " ", "-"), Dir: filepath.Clean(e.Dir),
	}
	if err := limits.Prepare(ctx, databaseURL, run.Prefilled, run.Clients, run.Spaces); err != nil {
		return nil, err
	}
	if err := postgres.Checkpoint(ctx); err != nil {
		return nil, err
	}
	before, _ := measure.CPUTree(postgres.PID())
	start := time.Now()
	result, err := run.Run(ctx)
	if err != nil {
		return nil, err
	}
	f = Figures{EditsPerSecond: result.EditsPerSecond}
	if after, err := measure.CPUTree(postgres.PID()); err == nil && before > 0 {
		edits := result.EditsPerSecond * time.Since(start).Seconds()
		f[PostgresCPU] = float64(after-before) / float64(time.Microsecond) / edits
	}
	if len(result.Latencies) > 0 {
		f[P50] = milliseconds(measure.Quantile(result.Latencies, 0.50))
		f[P99] = milliseconds(measure.Quantile(result.Latencies, 0.99))
	}
	return f, nil
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
