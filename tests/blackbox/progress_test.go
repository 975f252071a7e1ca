package blackbox_test

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/tidemark/tidemark/tests/harness"
)

// TestExport_terminal: on a terminal an export shows a bar with its rate and the time
// that is left, and takes it away at its end. What it writes is no part of that.
func TestExport_terminal(t *testing.T) {
	t.Parallel()
	server := harness.Start(t, harness.Options{})
	const documents = 3000
	for from := 0; from < documents; from += 200 {
		var edits []harness.Edit
		for i := from; i < from+200; i++ {
			edits = append(edits, put(fmt.Sprint("e", i), fmt.Sprint("d", i), 0, `{"a":"`+strings.Repeat("x", 400)+`"}`))
		}
		mustPush(t, server.Client(""), "room", edits...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	terminal, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	defer tty.Close()
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 30, Cols: 120}); err != nil {
		t.Fatal(err)
	}
	cmd := server.Command(ctx, "export")
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	cmd.Stderr = tty
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	screen := &transcript{grown: make(chan struct{}, 1)}
	go screen.keep(terminal)

	// It can't end before the bar was seen to move: what it writes is read little by little.
	bar := regexp.MustCompile(`export +[1-9]\d?% .*\([1-9]\d*/3000, [1-9]\d* documents/s\) \[\d+s:\d+s\]`)
	var exported strings.Builder
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for more := error(nil); more == nil && !bar.MatchString(screen.String()); <-pause.C {
		_, more = io.CopyN(&exported, stdout, 16<<10)
	}
	if !bar.MatchString(screen.String()) {
		t.Errorf("there is no bar with a rate and the time that is left: %q", screen)
	}
	if _, err := io.Copy(&exported, stdout); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %q", err, screen)
	}
	const end = "3000 documents in 1 spaces exported"
	for screen.wants(end) {
		select {
		case <-screen.grown:
		case <-ctx.Done():
			t.Fatalf("its end is not told: %q", screen)
		}
	}
	if shown, _, _ := strings.Cut(screen.String(), end); !strings.HasSuffix(shown, "\r") || regexp.MustCompile(`Inf|NaN`).MatchString(shown) {
		t.Errorf("the bar is not taken away, or shows what is no number: %q", shown)
	}
	if text := exported.String(); strings.Count(text, `{"document":`) != documents || !strings.HasSuffix(text, "{\"done\":{\"spaces\":1}}\n") {
		t.Errorf("%d bytes are exported, not all", len(text))
	}
}
