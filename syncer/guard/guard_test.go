package guard_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark/tidemark/syncer/guard"
)

func explode() error { panic("boom") }

func TestCall(t *testing.T) {
	t.Parallel()
	before := guard.Panics()
	err := guard.Call(explode)
	if !guard.Is(err) || !guard.Is(fmt.Errorf("wrapped: %w", err)) {
		t.Fatalf("%v is no panic", err)
	}
	if text := err.Error(); !strings.Contains(text, "panic: boom") || !strings.Contains(text, "guard_test.explode") {
		t.Errorf("it doesn't say what and where: %s", text)
	}
	if guard.Panics() <= before {
		t.Error("it is not counted")
	}
	plain := errors.New("plain")
	if err := guard.Call(func() error { return plain }); !errors.Is(err, plain) || guard.Is(err) {
		t.Errorf("got %v", err)
	}
}

// What panics is begun again, later each time, and told of once each time.
func TestKeep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		var at []time.Duration
		began := time.Now()
		err := guard.Keep(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), "the loop", func(context.Context) error {
			at = append(at, time.Since(began))
			if len(at) <= 8 {
				return explode()
			}
			return errors.New("the end")
		})
		if err == nil || err.Error() != "the end" {
			t.Errorf("got %v", err)
		}
		if at[1] != 100*time.Millisecond || at[2] != 300*time.Millisecond || at[8]-at[7] != 5*time.Second {
			t.Errorf("begun at %v", at)
		}
		if n := strings.Count(log.String(), "caught a bug"); n != 8 || !strings.Contains(log.String(), `in="the loop"`) {
			t.Errorf("%d lines for 8 panics:\n%s", n, log.String())
		}
	})
}

// One that ends with its context ends also while it waits.
func TestKeep_ends(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		err := guard.Keep(ctx, slog.New(slog.DiscardHandler), "the loop", func(context.Context) error {
			cancel()
			return explode()
		})
		if err != nil {
			t.Errorf("got %v", err)
		}
	})
}
