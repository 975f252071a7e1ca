package stand

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/tidemark/tidemark/tests/lifeline"
)

// Stand owns the processes of one run of the bench.
type Stand struct {
	binary string // of the server
	dir    string
	line   *lifeline.Line

	mu       sync.Mutex
	postgres *Postgres
	nodes    int
	peak     int64 // memory of all nodes that were asked for it
}

// New makes a stand that runs the given binary of the server.
func New(binary string) (*Stand, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("the server to measure: %w (make build makes it)", err)
	}
	dir, err := os.MkdirTemp("", "tidemark-bench-")
	if err != nil {
		return nil, err
	}
	line, err := lifeline.Guard(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &Stand{binary: binary, dir: dir, line: line}, nil
}

// Close ends what still runs and removes all data.
func (s *Stand) Close() error {
	var err error
	if s.postgres != nil {
		err = s.postgres.server.Close()
	}
	return errors.Join(err, s.line.Close())
}

// Peak is the most memory that a node held whose peak counts, in bytes.
func (s *Stand) Peak() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peak
}

func (s *Stand) notePeak(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peak = max(s.peak, bytes)
}

// File returns a path for a file in a new folder of the stand.
func (s *Stand) File(name string) (string, error) {
	dir, err := os.MkdirTemp(s.dir, "file-")
	return filepath.Join(dir, name), err
}

// Version is the version of the server that is measured.
func (s *Stand) Version(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, s.binary, "version").Output()
	if err != nil {
		return "", fmt.Errorf("ask the server for its version: %w", err)
	}
	version, _, _ := strings.Cut(strings.TrimPrefix(string(out), "tidemark "), " (")
	return strings.TrimSpace(version), nil
}

// PostgresVersion is empty if no PostgreSQL was needed.
func (s *Stand) PostgresVersion() string {
	if s.postgres == nil {
		return ""
	}
	return s.postgres.Version
}
