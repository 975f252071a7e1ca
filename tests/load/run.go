package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemark/tidemark/tests/load/measure"
	"github.com/tidemark/tidemark/tests/load/report"
	"github.com/tidemark/tidemark/tests/load/scenario"
	"github.com/tidemark/tidemark/tests/load/stand"
	"github.com/tidemark/tidemark/tests/load/wire"
)

// run measures what the settings choose and writes the report.
func run(ctx context.Context, settings *Settings) (err error) {
	if err := settings.check(); err != nil {
		return err
	}
	cases, err := settings.chosen()
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "tidemark-bench-out-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	env, err := newEnv(settings, scratch)
	if err != nil {
		return err
	}
	if env.Stand != nil {
		defer func() { err = errors.Join(err, env.Stand.Close()) }()
	}
	r := &report.Report{
		Started: time.Now().UTC().Format(time.RFC3339), Machine: measure.ThisMachine(),
		Deployment: strings.Join(settings.URL, " "), Seconds: settings.Duration.Seconds(),
	}
	if r.Machine.Busy() {
		fmt.Fprintf(os.Stderr, "bench: this machine is busy (load averages %s): the figures will mean little\n", r.Machine.Load)
	}
	if env.Stand == nil {
		fmt.Fprintln(os.Stderr, "bench: limits need the database and the processes of the deployment, so there are none; nor is there processor time")
	}
	b := bench{settings: settings, env: env, report: r}
	failed := b.all(ctx, cases)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	out := settings.Out
	if settings.Publish && failed == nil {
		out = "tests/load/results"
	}
	return errors.Join(b.write(ctx, out), failed)
}

// replace puts the files of scratch into dir, in the place of what an earlier run
// left there.
func replace(dir, scratch string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, pattern := range []string{"pgbench-*.sql", "pgbench-*.txt", "bench.json", "bench.svg"} {
		old, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, file := range old {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	return os.CopyFS(dir, os.DirFS(scratch))
}

func newEnv(settings *Settings, scratch string) (*scenario.Env, error) {
	env := &scenario.Env{
		Token: settings.Token, Secret: settings.Secret, Prefix: settings.Prefix,
		Duration: settings.Duration, Dir: scratch,
	}
	if len(settings.URL) == 0 {
		var err error
		env.Stand, err = stand.New(settings.Server)
		return env, err
	}
	for _, base := range settings.URL {
		target, err := wire.ParseTarget(base)
		if err != nil {
			return nil, err
		}
		env.Targets = append(env.Targets, target)
	}
	return env, nil
}

// bench is one run.
type bench struct {
	settings *Settings
	env      *scenario.Env
	report   *report.Report
	progress *progress
}

// all measures the cases. One that fails is left out of the report, and the
// others are measured all the same.
func (b *bench) all(ctx context.Context, cases []scenario.Case) error {
	b.progress = newProgress(cases, b.settings.Rounds, b.env)
	defer b.progress.end()
	var failed error
	for _, c := range cases {
		if c.Needs != nil && c.Needs(b.env) != "" {
			b.progress.line(c.Name + " is left out: " + c.Needs(b.env))
			continue
		}
		err := b.measure(ctx, c)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", c.Name, err)
			b.progress.line(err.Error())
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// measure runs the rounds of a case: Tidemark, limit, Tidemark, limit, so that
// both see the same minutes of a machine that is never quite the same.
func (b *bench) measure(ctx context.Context, c scenario.Case) error {
	var ours, limits []scenario.Figures
	limited := c.Limit != nil && b.env.Stand != nil && b.settings.Limits
	for round := range b.settings.Rounds {
		b.progress.begin(c, round)
		figures, err := c.Ours(ctx, b.env)
		if err != nil {
			return err
		}
		ours = append(ours, figures)
		line := fmt.Sprintf("%s, round %d: %s", c.Name, round+1, c.Show(figures))
		b.progress.done(c.Seconds(b.env) / 2)
		if limited {
			if figures, err = c.Limit(ctx, b.env); err != nil {
				return fmt.Errorf("its limit, %s: %w", c.LimitName, err)
			}
			limits = append(limits, figures)
			line += "; the limit " + c.ShowLimit(figures)
		}
		b.progress.done(c.Seconds(b.env) / 2)
		b.progress.line(line)
	}
	for _, row := range c.Rows {
		b.report.Rows = append(b.report.Rows, report.NewRow(c, row, ours, limits))
	}
	return nil
}

// write writes bench.json and bench.svg, with what pgbench left, and the table to stdout.
func (b *bench) write(ctx context.Context, out string) error {
	if err := b.addVersions(ctx); err != nil {
		return err
	}
	files := map[string]func(io.Writer) error{"bench.json": b.report.WriteJSON}
	if b.report.HasShares() {
		files["bench.svg"] = b.report.WriteChart
	}
	for name, write := range files {
		var text bytes.Buffer
		if err := write(&text); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(b.env.Dir, name), text.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if err := replace(out, b.env.Dir); err != nil {
		return err
	}
	if err := b.report.WriteTable(os.Stdout); err != nil {
		return err
	}
	fmt.Printf("\nall figures, and with limits the chart and what pgbench was asked and said: %s\n", out)
	return nil
}

// addVersions adds what was measured to the report.
func (b *bench) addVersions(ctx context.Context) error {
	if b.env.Stand == nil {
		return nil
	}
	version, err := b.env.Stand.Version(ctx)
	b.report.Tidemark, b.report.Postgres = version, b.env.Stand.PostgresVersion()
	return err
}
