package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/tests/harness"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	runs, err := plan(&Settings{Part: []string{"T2", "T4"}, Seeds: "3,7-9"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, run := range runs {
		got = append(got, run.name, string(rune('0'+run.seed)))
	}
	want := strings.Fields("T2 3 T2 7 T2 8 T2 9 T4 3 T4 7 T4 8 T4 9")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	for _, bad := range []*Settings{
		{Part: []string{"T99"}}, {Seeds: "0"}, {Seeds: "1-"}, {Seeds: "5-2"}, {Seeds: "x"}, {Seeds: "1-99999999999"},
	} {
		if runs, err := plan(bad); err == nil {
			t.Errorf("%+v plans %d runs, want an error", bad, len(runs))
		}
	}
}

// TestParts_haveTests: each part finds tests by its pattern, so that no renaming can
// empty it.
func TestParts_haveTests(t *testing.T) {
	t.Parallel()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts(&Settings{}) {
		found := ""
		for _, folder := range p.packages {
			files, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				found += string(content)
			}
		}
		for pattern := range strings.SplitSeq(p.tests, "|") {
			begin := "func " + strings.TrimSuffix(pattern, ".*")
			if !strings.HasSuffix(pattern, ".*") {
				begin += "("
			}
			if !strings.Contains(found, begin) {
				t.Errorf("%s: no test in %v matches %q", p.name, p.packages, pattern)
			}
		}
		if !strings.Contains(found, `"`+p.name+`"`) {
			t.Errorf("%s: no test in %v counts figures for it", p.name, p.packages)
		}
	}
}

func TestFiguresIn(t *testing.T) {
	t.Parallel()
	output := `=== RUN   TestConverge
    seed.go:31: TIDEMARK_SEED=3

SOAK {"part":"T2","seed":3,"operations":10,"kills":1,"lost":2,"seconds":4.5}
--- PASS: TestConverge (0.00s)
SOAK {"part":"T2","seed":3,"operations":5,"gaps":1}
PASS`
	got, lines, err := figuresIn([]byte(output))
	if diff := cmp.Diff(harness.Figures{Operations: 15, Kills: 1, Lost: 2, Gaps: 1}, got); diff != "" || lines != 2 || err != nil {
		t.Errorf("%d lines, %v (-want +got):\n%s", lines, err, diff)
	}
	if _, _, err := figuresIn([]byte("SOAK {")); err == nil {
		t.Error("a line that is cut off is taken")
	}
}

func TestFuzz_output(t *testing.T) {
	t.Parallel()
	list := "FuzzA\nFuzzB\nok  \tx/one\t0.1s\n?   \tx/two\t[no test files]\nok  \tx/three\t0.1s\nFuzzC\nok  \tx/four\t0.1s\n"
	want := []fuzzTarget{{"x/one", "FuzzA"}, {"x/one", "FuzzB"}, {"x/four", "FuzzC"}}
	if diff := cmp.Diff(want, targetsIn([]byte(list)), cmp.AllowUnexported(fuzzTarget{})); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	said := "fuzz: elapsed: 3s, execs: 1000 (333/sec)\nfuzz: elapsed: 6s, execs: 2500 (500/sec), new interesting: 3 (total: 9)\nPASS\n"
	if n := executions([]byte(said)); n != 2500 {
		t.Errorf("executions = %d, want 2500", n)
	}
}

// TestResults: lines are appended, and the newest of a part and seed counts.
func TestResults(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "results.jsonl")
	for _, r := range []Result{
		{Figures: harness.Figures{Part: "T2", Seed: 1, Operations: 7, Lost: 1, Seconds: 1800}, Commit: "aaa", Started: "2026-11-26T10:00:00Z"},
		{Figures: harness.Figures{Part: "T2", Seed: 2, Operations: 20_000, Kills: 3, Seconds: 1800}, Commit: "bbb", Started: "2026-11-27T10:00:00Z", OK: true},
		{Figures: harness.Figures{Part: "T4", Seed: 1, Operations: 5, Gaps: 2, Seconds: 1800}, Commit: "bbb", Started: "2026-11-27T11:00:00Z"},
		{Figures: harness.Figures{Part: "T2", Seed: 1, Operations: 9, Seconds: 1800}, Commit: "bbb", Started: "2026-11-27T12:00:00Z", OK: true},
	} {
		if err := appendResult(file, r); err != nil {
			t.Fatal(err)
		}
	}
	results, err := readResults(file)
	if err != nil {
		t.Fatal(err)
	}
	table := tableOf(results)
	for _, want := range []string{
		"| T2 | optimistic clients on a bad network come to hold the same | 2 | 20 k | 0 | 3 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |\n",
		"| 1, **1 failed** | 5 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 2 | 0 | 0 |\n",
		"1.5 hours of runs, the newest on 2026-11-27 at commit `bbb`.\n",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
}

// TestPublish_README: README has the place for the table, once, and what stands there
// is replaced.
func TestPublish_README(t *testing.T) {
	t.Parallel()
	once, err := harness.Between(harness.File(t, "README.md"), beginMark, endMark, "a table\n")
	if err != nil {
		t.Fatal(err)
	}
	twice, err := harness.Between(once, beginMark, endMark, "a table\n")
	if err != nil || once != twice || strings.Count(once, "a table") != 1 {
		t.Errorf("published twice it is another README: %v", err)
	}
	if _, err := harness.Between("nothing", beginMark, endMark, "a table\n"); err == nil {
		t.Error("a file without marks is written")
	}
}
