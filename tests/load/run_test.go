package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(dir), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// held are the files of a folder, each with the folder it was written to.
func held(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = string(text)
	}
	return files
}

// A run that fails leaves the figures of the last one where they are.
func TestRun_failedKeepsTheOldFigures(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	write(t, out, "bench.json", "bench.svg", "pgbench-x.sql")
	settings := Settings{Rounds: 1, Duration: time.Second, Server: "/nonexistent", Out: out}
	if err := run(t.Context(), &settings); err == nil {
		t.Fatal("a server that is not there was measured")
	}
	want := map[string]string{"bench.json": out, "bench.svg": out, "pgbench-x.sql": out}
	if diff := cmp.Diff(want, held(t, out)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What an earlier run left goes, what is not the bench's stays.
func TestReplace(t *testing.T) {
	t.Parallel()
	out, scratch := t.TempDir(), t.TempDir()
	write(t, out, "bench.json", "bench.svg", "pgbench-x.sql", "notes.txt")
	write(t, scratch, "bench.json", "pgbench-y.sql")
	if err := replace(out, scratch); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"bench.json": scratch, "pgbench-y.sql": scratch, "notes.txt": out}
	if diff := cmp.Diff(want, held(t, out)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
