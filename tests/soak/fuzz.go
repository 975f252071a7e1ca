package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// badInput runs the corpus of bad requests and then every fuzz target of the module.
func badInput(ctx context.Context, r *runner, seed uint64) outcome {
	p := part{packages: []string{"./tests/badinput"}, tests: "TestBadInput"}
	all := p.goTest(ctx, r, seed)
	targets, err := fuzzTargets(ctx, r)
	all.err = errors.Join(all.err, err)
	for _, target := range targets {
		if ctx.Err() != nil {
			break
		}
		output, err := r.command(ctx, []string{
			"test", "-run", "^$", "-fuzz", "^" + target.name + "$", "-fuzztime", r.settings.FuzzTime.String(), target.folder,
		}, nil)
		all.figures.BadInputs += executions(output)
		if err != nil {
			all.figures.Panics += int64(bytes.Count(output, []byte("panic: ")))
			all.err = errors.Join(all.err, err)
			all.output = append(append(all.output, '\n'), output...)
		}
	}
	return all
}

type fuzzTarget struct{ folder, name string }

// fuzzTargets finds them by `go test -list`, which prints a package's targets and
// then its name.
func fuzzTargets(ctx context.Context, r *runner) ([]fuzzTarget, error) {
	output, err := r.command(ctx, []string{"test", "-list", "^Fuzz", "./..."}, nil)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, output)
	}
	targets := targetsIn(output)
	if len(targets) == 0 {
		return nil, errors.New("there is no fuzz target")
	}
	return targets, nil
}

func targetsIn(list []byte) (targets []fuzzTarget) {
	var names []string
	for line := range strings.Lines(string(list)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 1 && strings.HasPrefix(fields[0], "Fuzz"):
			names = append(names, fields[0])
		case len(fields) > 1 && fields[0] == "ok":
			for _, name := range names {
				targets = append(targets, fuzzTarget{fields[1], name})
			}
			names = nil
		}
	}
	return targets
}

var execs = regexp.MustCompile(`execs: (\d+)`)

// executions is how many inputs a fuzz target was tried with: the last count it prints.
func executions(output []byte) int64 {
	all := execs.FindAllSubmatch(output, -1)
	if len(all) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(string(all[len(all)-1][1]), 10, 64)
	return n
}
