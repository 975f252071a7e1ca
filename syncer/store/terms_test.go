package store_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/syncer/store"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// After a failover the database is another one, and nodes go on. What it promises is
// told without a restart, so that an alert can fire; while it is away, what it
// promised last is.
func TestWatchTerms(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	database := server.URL(t)
	migrate(t, database)
	s := open(t, database, store.Options{})
	var log lockedLog
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- s.WatchTerms(ctx, 10*time.Millisecond, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	}()
	await := func(commit string, durable float64) {
		t.Helper()
		until(t, func(context.Context) bool {
			values, info := told(t, s)
			return info["synchronous_commit"] == commit && values["tidemark_database_durable"] == durable
		})
	}
	set := func(commit string) {
		t.Helper()
		for _, statement := range []string{"ALTER SYSTEM SET synchronous_commit = " + commit, "SELECT pg_reload_conf()"} {
			if err := pgtest.Execute(t.Context(), server.AdminURL(), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	await("on", 1)
	set("off")
	await("off", 0)
	until(t, func(context.Context) bool {
		return strings.Contains(log.String(), "acknowledged edits can be lost in a crash")
	})

	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	until(t, func(context.Context) bool { return strings.Contains(log.String(), "settings of the database not read") })
	if values, info := told(t, s); info["fsync"] != "on" || info["synchronous_commit"] != "off" || values["tidemark_database_durable"] != 0 {
		t.Errorf("while the database is away: %v", info)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	set("on")
	await("on", 1)
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// lockedLog is a log that is read while it is written.
type lockedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
