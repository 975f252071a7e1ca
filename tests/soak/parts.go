package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark/tidemark/tests/harness"
)

// part is one test of the plan: what `go test` is told to run, once per seed.
type part struct {
	name  string
	what  string // for the table
	seeds string // unless others are asked for
	about time.Duration

	packages []string
	tests    string   // -run
	args     []string // of the test binary
	env      []string
	// do runs it in another way than `go test -run`.
	do func(ctx context.Context, r *runner, seed uint64) outcome
}

// parts are in the order of the plan. T11, T13 and T14 have no large size: `make test`
// and `make teeth` run them whole.
func parts(s *Settings) []part {
	const blackbox = "./tests/blackbox"
	return []part{
		{
			name: "T1", what: "random actions against a model of the contract", seeds: "1-40", about: 15 * time.Minute,
			packages: []string{"./tests/model"}, tests: "TestModel",
			args: []string{"-rapid.nofailfile", "-rapid.checks=" + strconv.Itoa(s.Checks), "-rapid.steps=" + strconv.Itoa(s.Steps)},
		},
		{
			name: "T2", what: "optimistic clients on a bad network come to hold the same", seeds: "1-40", about: s.Length + time.Minute,
			packages: []string{"./tests/converge"}, tests: "TestConverge",
			env: []string{"TIDEMARK_TEST_CLIENTS=" + strconv.Itoa(s.Clients), "TIDEMARK_TEST_SECONDS=" + strconv.Itoa(int(s.Length.Seconds()))},
		},
		{
			name: "T3", what: "a connection cut after any byte, a crash at any point", seeds: "1", about: 10 * time.Minute,
			packages: []string{"./tests/crash", blackbox},
			tests:    "TestPush_crashedAtAnyPoint|TestInbox_crashedAtAnyPoint|TestMigration_crashedAtAnyPoint|TestPurge_crashedAtAnyPoint|TestPush_cutAtAnyByte|TestPush_sentAtTheSameMoment",
		},
		{
			name: "T4", what: "compare-and-set on three nodes is linearizable", seeds: "1", about: 10 * time.Minute,
			packages: []string{blackbox}, tests: "TestCluster_documentsAreLinearizable",
		},
		{
			name: "T5", what: "64 writers, followers right behind them", seeds: "1-3", about: 5 * time.Minute,
			packages: []string{blackbox}, tests: "TestFeed_followersSeeEveryVersion.*",
		},
		{
			name: "T6", what: "kills, freezes and crashes of nodes and database, under load", seeds: "1", about: 3 * time.Hour,
			packages: []string{blackbox}, tests: "TestServe_faultsUnderLoad|TestCluster_faultsUnderLoad|TestServe_killedWhilePushing",
			env: rounds(s),
		},
		{
			name: "T7", what: "the network between a node and its database", seeds: "1", about: time.Hour,
			packages: []string{blackbox}, tests: "TestNetwork_.*", env: rounds(s),
		},
		{
			name: "T8", what: "pokes lost, doubled, late; the broker comes and goes", seeds: "1-3", about: 10 * time.Minute,
			packages: []string{blackbox}, tests: "TestFeed_whateverTheBrokerDoes|TestFeed_brokerComesAndGoes",
		},
		{
			name: "T9", what: "backups put back by the tools that operators have", seeds: "1-5", about: 2 * time.Minute,
			packages: []string{blackbox}, tests: "TestServe_restored|TestServe_databasePutBack|TestEpoch_rotate",
		},
		{
			name: "T10", what: "bad input: the corpus, and fuzzing", seeds: "1", about: 10 * s.FuzzTime,
			packages: []string{"./tests/badinput"}, tests: "TestBadInput", do: badInput,
		},
		{
			name: "T12", what: "too little of everything: connections, disk, locks", seeds: "1-3", about: 3 * time.Minute,
			packages: []string{blackbox}, tests: "TestServe_moreClientsThanConnections|TestServe_foreignLockOnOneSpace|TestServe_diskFull.*",
		},
	}
}

// rounds tells T6 and T7 how many rounds to make, unless they are to choose.
func rounds(s *Settings) []string {
	if s.Rounds == 0 {
		return nil
	}
	return []string{harness.EnvRounds + "=" + strconv.Itoa(s.Rounds)}
}

// plannedRun is one run that is to be done.
type plannedRun struct {
	part
	seed uint64
}

// plan is what the settings ask for.
func plan(s *Settings) ([]plannedRun, error) {
	var runs []plannedRun
	known := map[string]bool{}
	for _, p := range parts(s) {
		known[p.name] = true
		if len(s.Part) > 0 && !slices.Contains(s.Part, p.name) {
			continue
		}
		text := s.Seeds
		if text == "" {
			text = p.seeds
		}
		seeds, err := parseSeeds(text)
		if err != nil {
			return nil, err
		}
		for _, seed := range seeds {
			runs = append(runs, plannedRun{p, seed})
		}
	}
	for _, name := range s.Part {
		if !known[name] {
			return nil, fmt.Errorf("there is no part %q with a large size", name)
		}
	}
	return runs, nil
}

// mostSeeds keeps a typo from planning years.
const mostSeeds = 100_000

// parseSeeds reads "1-10,17". Seeds begin at 1: to rapid 0 means any.
func parseSeeds(text string) ([]uint64, error) {
	var seeds []uint64
	for item := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(item), "-")
		if !isRange {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 64)
		last, err2 := strconv.ParseUint(to, 10, 64)
		if err != nil || err2 != nil || first == 0 || last < first || last-first >= mostSeeds {
			return nil, fmt.Errorf("%q are no seeds: write 1-10 or 3,7", text)
		}
		for seed := first; seed <= last; seed++ {
			seeds = append(seeds, seed)
		}
	}
	return seeds, nil
}
