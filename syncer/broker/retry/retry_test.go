package retry_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/syncer/broker/retry"
)

func TestAfter(t *testing.T) {
	t.Parallel()
	for attempts := range 100 {
		most := 5 * time.Second
		if attempts < 6 {
			most = min(most, 100*time.Millisecond<<attempts)
		}
		if got := retry.After(attempts); got < most/2 || got > most {
			t.Errorf("after %d attempts: %v, want between %v and %v", attempts, got, most/2, most)
		}
	}
}

// A server that is away is tried again and again, and told of once.
func TestForever(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	attempts := 0
	retry.Forever(ctx, slog.New(slog.NewTextHandler(&logged, nil)), func(_ context.Context, begun func()) error {
		switch attempts++; attempts {
		case 1, 4: // heard, and was then cut off
			begun()
		case 6:
			cancel()
		}
		return errors.New("away")
	})
	var levels []string
	for line := range strings.Lines(logged.String()) {
		_, rest, _ := strings.Cut(line, "level=")
		level, _, _ := strings.Cut(rest, " ")
		levels = append(levels, level)
	}
	if got := strings.Join(levels, " "); attempts != 6 || got != "WARN INFO WARN" {
		t.Errorf("%d attempts, logged %s:\n%s", attempts, got, logged.String())
	}
}

// A panic is a connection that broke: it is tried again, and told of each time.
func TestForever_panic(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	attempts := 0
	retry.Forever(ctx, slog.New(slog.NewTextHandler(&logged, nil)), func(context.Context, func()) error {
		if attempts++; attempts == 3 {
			cancel()
		}
		panic("planted")
	})
	if n := strings.Count(logged.String(), "panic: planted"); attempts != 3 || n != 3 {
		t.Errorf("%d attempts, told of %d times:\n%s", attempts, n, logged.String())
	}
}
