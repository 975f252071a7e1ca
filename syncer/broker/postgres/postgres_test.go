package postgres_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/brokertest"
	"github.com/tidemark/tidemark/syncer/broker/postgres"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// The tests' own server outlives them.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/tidemark/tidemark/tests/pgtest.(*Server).launch.func1"))
}

func open(t *testing.T, url string) *postgres.Broker {
	t.Helper()
	b, err := postgres.New(t.Context(), url, postgres.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestBroker(t *testing.T) {
	t.Parallel()
	brokertest.Run(t, func(t *testing.T) brokertest.Ends {
		url := pgtest.URL(t)
		return brokertest.Ends{A: open(t, url), B: open(t, url), Break: func(t *testing.T) { terminate(t, url) }}
	})
}

// terminate ends the sessions of all brokers on a database.
func terminate(t *testing.T, url string) {
	t.Helper()
	execute(t, url, `
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'tidemark-broker'`)
}

func execute(t *testing.T, url, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// A Run takes messages from whoever can connect, and isn't stopped by nonsense.
func TestBroker_byHand(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t) + "&pool_max_conns=4" // the store's URL may say this
	b := open(t, url)
	heard := make(chan syncer.Message, 16)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, func(m syncer.Message) { heard <- m }) }()
	<-heard
	plain := strings.TrimSuffix(url, "&pool_max_conns=4")
	for _, payload := range []string{``, `hello`, `{"space":"a b"}`, `{"space":"home"}`} {
		execute(t, plain, "SELECT pg_notify('tidemark', '"+payload+"')")
	}
	if m := brokertest.Next(heard); m.Space != "home" || m.Version != 0 {
		t.Errorf("heard %v", m)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// While the database is away the broker takes pokes, and when it comes back they
// arrive.
func TestBroker_databaseAway(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	url := server.URL(t)
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	b := open(t, url)
	heard := make(chan syncer.Message, 16)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, func(m syncer.Message) { heard <- m }) }()
	if err := b.Publish(ctx, syncer.Message{Space: "home", Version: 1}); err != nil {
		t.Errorf("publish while the database is away: %v", err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if m := <-heard; m.Space != "" {
		t.Errorf("first heard %v", m)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNew_refused(t *testing.T) {
	t.Parallel()
	if _, err := postgres.New(t.Context(), "postgres://u:hush@h:port/d", postgres.Options{}); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("%v", err)
	}
}

// Close must not wait for a database that is away for longer than it says.
func TestClose_databaseAway(t *testing.T) {
	t.Parallel()
	b, err := postgres.New(t.Context(), "postgres://u:p@127.0.0.1:1/d?sslmode=disable", postgres.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(t.Context(), syncer.Message{Space: "home", Version: 1}); err != nil {
		t.Error(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- b.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("Close waits for the database")
	}
}
