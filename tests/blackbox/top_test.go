package blackbox_test

import (
	"context"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/tidemark/tidemark/tests/harness"
)

// TestTop_once: one frame as text, of a node and of the database that it runs on.
func TestTop_once(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, harness.Options{Store: store, Secret: harness.Secret})
		token := harness.Token(harness.Claims{"sub": "operator", "spaces": harness.Claims{"*": "rw"}})
		edits := []harness.Edit{
			{EditID: "e1", Op: "put", Collection: "c", ID: "d1", BaseVersion: harness.At(0), Data: []byte("{}")},
			{EditID: "e2", Op: "put", Collection: "c", ID: "d2", BaseVersion: harness.At(0), Data: []byte("{}")},
		}
		if _, err := server.Client(token).Push(t.Context(), "hot", harness.Push{ClientID: "laptop", Edits: edits}); err != nil {
			t.Fatal(err)
		}
		stdout, stderr, err := server.Run(t.Context(), "top", server.URL(), "--token", token, "--once", "--interval", "200ms", "--spaces")
		if err != nil {
			t.Fatalf("%v: %s", err, stderr)
		}
		for _, want := range []string{
			`1 of 1 nodes answer`,
			`(?m)^promises .* panics 0 `,
			`(?m)^` + regexp.QuoteMeta(server.URL()) + `  .* MB$`,
			`(?m)^hot +\d{16} +\d+ s ago +2 +2$`,
		} {
			if !regexp.MustCompile(want).MatchString(stdout) {
				t.Errorf("it does not show %s:\n%s", want, stdout)
			}
		}
		if strings.Contains(stdout, "\x1b") {
			t.Errorf("it is not plain text: %q", stdout)
		}
	})
}

// TestTop_nobodyAnswers: a script hears of it.
func TestTop_nobodyAnswers(t *testing.T) {
	t.Parallel()
	server := harness.Start(t, harness.Options{Secret: harness.Secret})
	stdout, stderr, err := server.Run(t.Context(), "top", server.URL(), "--once", "--interval", "100ms")
	if err == nil || !strings.Contains(stdout, "0 of 1 nodes answer") || !strings.Contains(stderr, "TIDEMARK_METRICS_TOKEN") {
		t.Errorf("without a token: %v\n%s%s", err, stdout, stderr)
	}
	if _, stderr, err = server.Run(t.Context(), "top", server.URL()); err == nil || !strings.Contains(stderr, "no terminal") {
		t.Errorf("without a terminal: %v: %s", err, stderr)
	}
}

// TestTop_terminal: on a terminal it shows frames until somebody types q.
func TestTop_terminal(t *testing.T) {
	t.Parallel()
	server := harness.Start(t, harness.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := server.Command(ctx, "top", server.URL(), "--interval", "100ms")
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 30, Cols: 120})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	screen := &transcript{grown: make(chan struct{}, 1)}
	go screen.keep(terminal)
	// The first frame knows no memory yet. Of the next only what is another is drawn, so
	// that no longer text needs to come in one piece.
	for screen.wants("q ends") || screen.wants("MB") {
		select {
		case <-screen.grown:
		case <-ctx.Done():
			t.Fatalf("no frame is shown: %q", screen)
		}
	}
	if _, err := io.WriteString(terminal, "q"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("q does not end it well: %v", err)
	}
}

// transcript is what was written to a terminal.
type transcript struct {
	grown chan struct{}

	mu   sync.Mutex
	text strings.Builder
}

func (s *transcript) keep(terminal *os.File) {
	chunk := make([]byte, 4096)
	for {
		n, err := terminal.Read(chunk)
		s.mu.Lock()
		s.text.Write(chunk[:n])
		s.mu.Unlock()
		select {
		case s.grown <- struct{}{}:
		default:
		}
		if err != nil {
			return // the process has ended
		}
	}
}

// String is all of it so far.
func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *transcript) wants(text string) bool { return !strings.Contains(s.String(), text) }
