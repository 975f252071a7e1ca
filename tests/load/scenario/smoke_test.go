package scenario

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/lifeline"
	"github.com/tidemark/tidemark/tests/load/limits"
	"github.com/tidemark/tidemark/tests/load/stand"
	"github.com/tidemark/tidemark/tests/load/wire"
)

// TestMain makes this program the bare server when the stand starts it as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == stand.BareArgument {
		if err := limits.Serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(run(m))
}

// folder holds the binary.
var folder string

func run(m *testing.M) int {
	var err error
	if folder, err = os.MkdirTemp("", "tidemark-load-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	line, err := lifeline.Guard(folder)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer line.Close()
	return m.Run()
}

// binary is the server under test, built once.
var binary = sync.OnceValues(func() (string, error) {
	if given := os.Getenv("TIDEMARK_BIN"); given != "" {
		return filepath.Abs(given)
	}
	out := filepath.Join(folder, "tidemark")
	build := exec.Command("go", "build", "-o", out, "github.com/tidemark/tidemark/cmd/tidemark")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, output)
	}
	return out, nil
})

func newEnv(t *testing.T) *Env {
	t.Helper()
	binary, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	s, err := stand.New(binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Env{Stand: s, SQLite: true, Duration: 300 * time.Millisecond, Dir: t.TempDir(), Prefix: "smoke"}
}

// A short run of each kind of load against a real server. How fast it is does
// not matter; that edits are applied, polls answered and figures made does.
func TestSmoke(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	small := load{clients: 3, batch: 10, spaces: 2, documents: 50}
	for name, run := range map[string]func(context.Context, *Env) (Figures, error){
		"push":  func(ctx context.Context, e *Env) (Figures, error) { return e.push(ctx, small) },
		"idle":  func(ctx context.Context, e *Env) (Figures, error) { return e.poll(ctx, 4, 0) },
		"delta": func(ctx context.Context, e *Env) (Figures, error) { return e.poll(ctx, 4, 3) },
		"bare":  bare,
	} {
		f, err := run(t.Context(), e)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wanted := []string{RequestsPerSecond, P50, P99}
		if name == "push" {
			wanted = append(wanted, EditsPerSecond)
		}
		for _, figure := range wanted {
			if f[figure] <= 0 {
				t.Errorf("%s: %s is %v", name, figure, f[figure])
			}
		}
		if f[Refused] > 0 || f[Conflicts] > 20 {
			t.Errorf("%s: %v pushes were refused, %v %% of the edits were conflicts", name, f[Refused], f[Conflicts])
		}
	}
}

// What the writer believes to be applied is what the server has.
func TestWriter_knowsWhatItWrote(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	d, err := e.deploy(t.Context(), true, stand.NodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if d.end(&err); err != nil {
			t.Error(err)
		}
	}()
	space := e.space()
	writers, err := d.writers(t.Context(), 2, []string{space}, 30)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(writers)
	documents := 0
	for _, w := range writers {
		work := w.step(7)
		for range 20 {
			if edits, err := work(t.Context()); err != nil || edits != 7 {
				t.Fatalf("a push of 7 edits: %d, %v", edits, err)
			}
		}
		if created := len(w.known) - 30; created < 60 || created > 80 {
			t.Errorf("of 140 edits %d were creations, want half", created)
		}
		documents += len(w.known)
	}
	reader, err := d.newPoller(t.Context(), 9, space)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.conn.Close()
	if changes, err := reader.catchUp(t.Context()); err != nil || changes != documents {
		t.Errorf("the server has %d documents, want %d (%v)", changes, documents, err)
	}
}

// Streams of a node bring every edit, and then the bare server can send the
// same bytes.
func TestAudience(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	small := audience{streams: 5, rate: 100, edits: func(*Env) int { return 8 }}
	if _, err := small.bare(t.Context(), e); err == nil {
		t.Error("the bare server streamed before there was anything to stream")
	}
	for name, run := range map[string]func(context.Context, *Env) (Figures, error){"node": small.measure, "bare": small.bare} {
		e.frames.keep(wire.Event{ID: []byte("c"), Name: []byte("changes"), Data: []byte(`{"changes":[{"edit_id":"client-0-77"}],"cursor":"c"}`)})
		f, err := run(t.Context(), e)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if f[Lost] != 0 {
			t.Errorf("%s: %v of 40 events were lost", name, f[Lost])
		}
		if _, ok := f[P99]; !ok {
			t.Errorf("%s: no latency among the figures: %v", name, f)
		}
	}
	if frame := e.frames.numbered(5); !bytes.Contains(frame, []byte(`"edit_id":"client-0-5"`)) {
		t.Errorf("an event about edit 5 is %q", frame)
	}
}
