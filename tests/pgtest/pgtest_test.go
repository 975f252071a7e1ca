package pgtest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark/tidemark/tests/pgtest"
)

func TestURL_isEmptyAndDurable(t *testing.T) {
	t.Parallel()
	conn := connect(t, pgtest.URL(t))
	for setting, want := range map[string]string{"fsync": "on", "synchronous_commit": "on", "server_encoding": "UTF8"} {
		if got := ask[string](t, conn, "SELECT current_setting($1)", setting); got != want {
			t.Errorf("%s = %q, want %q", setting, got, want)
		}
	}
	if tables := ask[int](t, conn, "SELECT count(*)::int FROM pg_tables WHERE schemaname = 'public'"); tables != 0 {
		t.Errorf("a fresh database has %d tables", tables)
	}
}

func TestURL_isAnotherDatabaseEachTime(t *testing.T) {
	t.Parallel()
	first, second := connect(t, pgtest.URL(t)), connect(t, pgtest.URL(t))
	const name = "SELECT current_database()::text"
	if a, b := ask[string](t, first, name), ask[string](t, second, name); a == b {
		t.Errorf("two tests share the database %s", a)
	}
}

func TestServer_keepsWhatWasCommitted(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	url := server.URL(t)
	conn := connect(t, url)
	if _, err := conn.Exec(t.Context(), "CREATE TABLE seen (round int)"); err != nil {
		t.Fatal(err)
	}
	for round, end := range []func() error{server.Stop, server.StopImmediate, server.Kill} {
		conn := connect(t, url)
		if _, err := conn.Exec(t.Context(), "INSERT INTO seen VALUES ($1)", round); err != nil {
			t.Fatal(err)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if _, err := pgx.Connect(t.Context(), url); err == nil {
			t.Fatal("the stopped server still answers")
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		if rows := ask[int](t, connect(t, url), "SELECT count(*)::int FROM seen"); rows != round+1 {
			t.Fatalf("after restart %d there are %d rows", round, rows)
		}
	}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func ask[T any](t *testing.T, conn *pgx.Conn, query string, args ...any) T {
	t.Helper()
	var answer T
	if err := conn.QueryRow(t.Context(), query, args...).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}
