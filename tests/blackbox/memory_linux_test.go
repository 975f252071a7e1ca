package blackbox_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/harness"
)

// TestExport_boundedMemory: export and import take no more memory for eight times as
// much. What is measured is the most that the processes ever had.
func TestExport_boundedMemory(t *testing.T) {
	t.Parallel()
	source := harness.Start(t, harness.Options{Store: harness.SQLite})
	const documents, perPush = 800, 100
	text := `{"a":"` + strings.Repeat("x", 8000) + `"}`
	for space, n := range map[string]int{"small": documents, "large": 8 * documents} {
		for from := 0; from < n; from += perPush {
			var edits []harness.Edit
			for i := from; i < from+perPush; i++ {
				edits = append(edits, put(fmt.Sprint("e", i), fmt.Sprint("d", i), 0, text))
			}
			mustPush(t, source.Client(""), space, edits...)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	file := func(space string) string { return filepath.Join(t.TempDir(), space) }
	small, large := file("small"), file("large")
	targets := map[string]*harness.Server{small: another(t, harness.SQLite), large: another(t, harness.SQLite)}
	for _, step := range []struct {
		name    string
		command func(space, file string) *exec.Cmd
	}{
		{"export", func(space, file string) *exec.Cmd { return source.Command(ctx, "export", space, "--output", file) }},
		{"import", func(_, file string) *exec.Cmd { return targets[file].Command(ctx, "import", file) }},
	} {
		least, most := peak(t, step.command("small", small)), peak(t, step.command("large", large))
		t.Logf("%s: %d KiB, and %d KiB for eight times as much", step.name, least, most)
		if most > least+least/2 {
			t.Errorf("%s takes %d KiB, and %d KiB for eight times as much", step.name, least, most)
		}
	}
}

// peak runs a command and returns how much memory it had at most, in KiB. The kernel
// is asked again and again: what it says of a process that has ended counts in what the
// parent had when it was forked.
func peak(t *testing.T, cmd *exec.Cmd) (most int) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil || most == 0 {
				t.Fatalf("%v: %v\n%s", cmd.Args[1:], err, stderr.String())
			}
			return most
		case <-tick.C:
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
			if _, line, found := strings.Cut(string(status), "VmHWM:"); found { // not of one that has ended
				if _, err := fmt.Sscan(line, &most); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
