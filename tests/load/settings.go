package main

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidemark/tidemark/tests/load/scenario"
)

// Settings is what can be chosen.
type Settings struct {
	Only     []string      `placeholder:"NAME" help:"Measure only these: push, push-lone, push-sqlite, idle, delta, catchup, pollers, streams, streams10k, crossnode, memory; or a single case such as push-32-spaces-batch-10."`
	Rounds   int           `default:"3" help:"How often to measure each; medians are reported."`
	Duration time.Duration `default:"5s" help:"Length of each measurement."`

	URL    []string `name:"url" placeholder:"URL" help:"Measure this deployment instead of starting one; several nodes are used in turn. It is written to, in spaces that begin with --prefix."`
	Token  string   `env:"BENCH_TOKEN" placeholder:"TOKEN" help:"Token for --url; it must be good for all those spaces."`
	Secret string   `env:"BENCH_SECRET" placeholder:"SECRET" help:"HS256 secret of --url: signs a token for each client (a subject may have few streams)."`
	Prefix string   `placeholder:"NAME" help:"What the names of all spaces begin with (default: bench- and something random)."`

	Server string `default:"bin/tidemark" placeholder:"FILE" help:"Binary of the server that is started."`
	Limits bool   `default:"true" negatable:"" help:"Measure the limits too."`
	Out    string `default:"bin/bench" placeholder:"FOLDER" help:"Where bench.json, bench.svg and the raw output of pgbench go."`

	Publish bool `help:"Write to tests/load/results, of which README shows the chart: everything or nothing."`
}

func (s *Settings) check() error {
	switch {
	case s.Rounds < 1:
		return fmt.Errorf("--rounds must be at least 1")
	case s.Duration < 10*time.Millisecond || s.Duration > 10*time.Minute:
		return fmt.Errorf("--duration must be between 10ms and 10m")
	case s.Publish && (len(s.Only) > 0 || len(s.URL) > 0 || !s.Limits):
		return fmt.Errorf("--publish replaces all figures, so it goes with none of --only, --url and --no-limits")
	}
	if s.Prefix == "" {
		s.Prefix = "bench-" + strings.ToLower(rand.Text()[:8])
	}
	return nil
}

// chosen returns the cases to measure, in their order.
func (s *Settings) chosen() ([]scenario.Case, error) {
	all := scenario.All()
	if len(s.Only) == 0 {
		return all, nil
	}
	for _, name := range s.Only {
		if !slices.ContainsFunc(all, func(c scenario.Case) bool { return isCalled(c, name) }) {
			return nil, fmt.Errorf("there is nothing called %q to measure; there are %s", name, groups(all))
		}
	}
	return slices.DeleteFunc(all, func(c scenario.Case) bool {
		return !slices.ContainsFunc(s.Only, func(name string) bool { return isCalled(c, name) })
	}), nil
}

func isCalled(c scenario.Case, name string) bool { return c.Group == name || c.Name == name }

func groups(cases []scenario.Case) string {
	var names []string
	for _, c := range cases {
		if !slices.Contains(names, c.Group) {
			names = append(names, c.Group)
		}
	}
	return strings.Join(names, ", ")
}
