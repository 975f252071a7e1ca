package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	if err := prepareFolder(settings.Out); err != nil {
		return err
	}
	env, err := newEnv(settings)
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
	b := bench{settings: settings, env: env, report: r}
	if err := b.all(ctx, cases); err != nil {
		return err
	}
	return b.write(ctx)
}

// prepareFolder makes the folder and removes what an earlier run left in it.
func prepareFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "pgbench-*"))
	for _, file := range old {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}

func newEnv(settings *Settings) (*scenario.Env, error) {
	env := &scenario.Env{
		Token: settings.Token, Secret: settings.Secret, Prefix: settings.Prefix,
		Duration: settings.Duration, Dir: settings.Out,
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
}

func (b *bench) all(ctx context.Context, cases []scenario.Case) error {
	for _, c := range cases {
		if err := b.measure(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return nil
}

// measure runs the rounds of a case: Tidemark, limit, Tidemark, limit, so that
// both see the same minutes of a machine that is never quite the same.
func (b *bench) measure(ctx context.Context, c scenario.Case) error {
	var ours, limits []scenario.Figures
	for round := range b.settings.Rounds {
		figures, err := c.Ours(ctx, b.env)
		if err != nil {
			return err
		}
		ours = append(ours, figures)
		line := fmt.Sprintf("%s, round %d: %s", c.Name, round+1, c.Show(figures))
		if c.Limit != nil && b.env.Stand != nil && b.settings.Limits {
			if figures, err = c.Limit(ctx, b.env); err != nil {
				return fmt.Errorf("limit (%s): %w", c.LimitName, err)
			}
			limits = append(limits, figures)
			line += "; limit " + c.Show(figures)
		}
		fmt.Println(line)
	}
	for _, row := range c.Rows {
		b.report.Rows = append(b.report.Rows, report.NewRow(c, row, ours, limits))
	}
	return nil
}

func (b *bench) write(ctx context.Context) error {
	encoded, err := json.MarshalIndent(b.report, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.settings.Out, "bench.json"), append(encoded, '\n'), 0o644); err != nil {
		return err
	}
	return b.report.WriteTable(os.Stdout)
}
