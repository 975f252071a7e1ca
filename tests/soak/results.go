package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tidemark/tidemark/tests/harness"
)

// Result is what one run has come to: a line of results.jsonl.
type Result struct {
	harness.Figures

	Commit  string `json:"commit"`
	Started string `json:"started"`
	OK      bool   `json:"ok"`
}

// says is the result in a few words.
func (r *Result) says() string {
	text := fmt.Sprintf("%s operations, %s faults, %s kills", short(r.Operations), short(r.Faults), short(r.Kills))
	if r.BadInputs > 0 {
		text += fmt.Sprintf(", %s bad inputs", short(r.BadInputs))
	}
	if r.OK {
		return text + ": ok"
	}
	return text + fmt.Sprintf(": FAILED: %d lost, %d doubled, %d diverged, %d stuck, %d gaps, %d server errors, %d panics",
		r.Lost, r.Doubled, r.Diverged, r.Stuck, r.Gaps, r.ServerErrors, r.Panics)
}

func appendResult(name string, result Result) error {
	line, err := json.Marshal(result)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}

// readResults returns the newest result of each part and seed: a run that is done
// again, say after a bug was mended, takes the place of the older one.
func readResults(name string) ([]Result, error) {
	content, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	type run struct {
		part string
		seed uint64
	}
	newest := map[run]Result{}
	for line := range strings.Lines(string(content)) {
		var r Result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return nil, fmt.Errorf("%s: %w in %s", name, err, line)
		}
		newest[run{r.Part, r.Seed}] = r
	}
	return slices.Collect(maps.Values(newest)), nil
}

// tableOf sums the results up by part, as markdown.
func tableOf(results []Result) string {
	if len(results) == 0 {
		return "No run yet.\n"
	}
	var b strings.Builder
	b.WriteString("| | what is run | runs | operations | faults | kills | bad inputs | lost | doubled | diverged | stuck | gaps | 5xx | panics |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	var hours float64
	commits := map[string]string{} // to when it was run
	for _, p := range parts(&Settings{}) {
		var sum harness.Figures
		runs, failed := 0, 0
		for _, r := range results {
			if r.Part != p.name {
				continue
			}
			sum.Add(r.Figures)
			hours += r.Seconds / time.Hour.Seconds()
			commits[r.Commit] = max(commits[r.Commit], r.Started)
			runs++
			if !r.OK {
				failed++
			}
		}
		if runs == 0 {
			continue
		}
		count := fmt.Sprint(runs)
		if failed > 0 {
			count += fmt.Sprintf(", **%d failed**", failed)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %d | %d | %d | %d | %d | %d | %d |\n", p.name, p.what, count,
			short(sum.Operations), short(sum.Faults), short(sum.Kills), short(sum.BadInputs),
			sum.Lost, sum.Doubled, sum.Diverged, sum.Stuck, sum.Gaps, sum.ServerErrors, sum.Panics)
	}
	newest := ""
	for commit, at := range commits {
		if newest == "" || at > commits[newest] {
			newest = commit
		}
	}
	fmt.Fprintf(&b, "\n%.1f hours of runs, the newest on %.10s at commit `%s`", hours, commits[newest], newest)
	if len(commits) > 1 {
		fmt.Fprintf(&b, ", the others at %d commits before", len(commits)-1)
	}
	b.WriteString(".\n")
	return b.String()
}

// short writes a count with four digits at most.
func short(n int64) string {
	switch {
	case n >= 10_000_000_000:
		return fmt.Sprintf("%d G", n/1_000_000_000)
	case n >= 10_000_000:
		return fmt.Sprintf("%d M", n/1_000_000)
	case n >= 10_000:
		return fmt.Sprintf("%d k", n/1000)
	default:
		return fmt.Sprint(n)
	}
}

// The marks between which README holds the table.
const (
	beginMark = "<!-- soak: begin, written by `make soak PUBLISH=1` -->\n"
	endMark   = "<!-- soak: end -->\n"
)
