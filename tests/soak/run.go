package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark/tidemark/tests/harness"
)

// runAll does what the settings ask for, and appends a result after each run.
func runAll(ctx context.Context, s *Settings) error {
	runs, err := plan(s)
	if err != nil {
		return err
	}
	r := &runner{settings: s, progress: newProgress(runs)}
	defer r.progress.end()
	if r.commit, err = commit(ctx); err != nil {
		return err
	}
	failed := 0
	for _, planned := range runs {
		result := r.run(ctx, planned)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := appendResult(s.Results, result); err != nil {
			return err
		}
		if !result.OK {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d runs failed", failed, len(runs))
	}
	return nil
}

type runner struct {
	settings *Settings
	commit   string
	progress *progress
}

// outcome is what running something has come to.
type outcome struct {
	figures harness.Figures
	output  []byte
	err     error
}

// run does one run.
func (r *runner) run(ctx context.Context, planned plannedRun) Result {
	r.progress.begin(planned)
	defer r.progress.done(planned)
	began := time.Now()
	do := planned.do
	if do == nil {
		do = planned.goTest
	}
	out := do(ctx, r, planned.seed)
	result := Result{Figures: out.figures, Commit: r.commit, Started: began.UTC().Format(time.RFC3339)}
	result.Part, result.Seed, result.Seconds = planned.name, planned.seed, time.Since(began).Round(time.Second).Seconds()
	result.OK = out.err == nil && result.Found() == 0
	if ctx.Err() != nil {
		return result
	}
	line := fmt.Sprintf("%s, seed %d, %v: %s", planned.name, planned.seed, time.Since(began).Round(time.Second), result.says())
	if !result.OK {
		line += fmt.Sprintf("\n  %v; %s", out.err, r.keep(planned, out.output))
	}
	r.progress.line(line)
	return result
}

// keep keeps what a failing run has printed.
func (r *runner) keep(planned plannedRun, output []byte) string {
	name := filepath.Join(r.settings.Failed, fmt.Sprintf("%s-seed-%d.log", planned.name, planned.seed))
	if err := os.MkdirAll(r.settings.Failed, 0o755); err != nil {
		return err.Error()
	}
	if err := os.WriteFile(name, output, 0o644); err != nil {
		return err.Error()
	}
	return "what it printed is in " + name
}

// goTest runs the tests of the part.
func (p part) goTest(ctx context.Context, r *runner, seed uint64) outcome {
	args := []string{"test", "-v", "-count", "1", "-timeout", "12h", "-run", "^(" + p.tests + ")$"}
	args = append(append(args, p.packages...), p.args...)
	output, err := r.command(ctx, args, append(p.env,
		harness.EnvSoak+"=1", harness.EnvSeed+"="+strconv.FormatUint(seed, 10)))
	figures, lines, readErr := figuresIn(output)
	switch {
	case err != nil:
	case readErr != nil:
		err = readErr
	case lines == 0:
		err = fmt.Errorf("no test printed figures: is there one that matches %q?", p.tests)
	}
	return outcome{figures, output, err}
}

// command runs go and returns what it printed.
func (r *runner) command(ctx context.Context, args, env []string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return out.Bytes(), nil
}

// figuresIn sums up the lines of figures in an output.
func figuresIn(output []byte) (sum harness.Figures, lines int, err error) {
	reader := bufio.NewReader(bytes.NewReader(output))
	for {
		line, err := reader.ReadString('\n')
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), harness.FiguresMark); ok {
			var one harness.Figures
			if err := json.Unmarshal([]byte(text), &one); err != nil {
				return sum, lines, fmt.Errorf("figures %q: %w", text, err)
			}
			sum.Add(one)
			lines++
		}
		if err == io.EOF {
			return sum, lines, nil
		}
	}
}

// commit names what is tested: the commit, and whether anything was changed since.
func commit(ctx context.Context) (string, error) {
	head, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "", fmt.Errorf("ask git for the commit: %w", err)
	}
	changed, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--", ".", ":!tests/soak", ":!README.md").Output()
	if err != nil {
		return "", fmt.Errorf("ask git what has changed: %w", err)
	}
	name := strings.TrimSpace(string(head))
	if len(changed) > 0 {
		name += "-dirty"
	}
	return name, nil
}
