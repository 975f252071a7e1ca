package store

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// What bounds statements, locks and transactions is in force on every connection of the
// pool, which is also gorm's, and gives way to what the URL says.
func TestPostgres_settingsOfEveryConnection(t *testing.T) {
	t.Parallel()
	database := pgtest.URL(t)
	own, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	query := own.Query()
	query.Set("lock_timeout", "7s")
	query.Set("connect_timeout", "1")
	own.RawQuery = query.Encode()
	for _, test := range []struct {
		url, lock string
		connect   time.Duration
	}{{database, "2s", connectTimeout}, {own.String(), "7s", time.Second}} {
		s, err := Open(t.Context(), test.url, Options{})
		if err != nil {
			t.Fatal(err)
		}
		pool := poolOf(t, s)
		want := map[string]string{
			"application_name": "tidemark", "statement_timeout": "5s", "lock_timeout": test.lock,
			"idle_in_transaction_session_timeout": "3s", "plan_cache_mode": "force_generic_plan",
			"tcp_user_timeout": "5000", "tcp_keepalives_idle": "15", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3",
			"transaction_read_only": "off",
		}
		var held []*pgxpool.Conn
		for range connections {
			conn, err := pool.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, conn)
			got := make(map[string]string)
			for name := range want {
				var value string
				if err := conn.QueryRow(t.Context(), "SELECT current_setting($1)", name).Scan(&value); err != nil {
					t.Fatal(err)
				}
				got[name] = value
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("connection %d (-want +got):\n%s", len(held), diff)
			}
			if got := conn.Conn().Config().ConnectTimeout; got != test.connect {
				t.Errorf("a connection may take %v to be made, want %v", got, test.connect)
			}
		}
		for _, conn := range held {
			conn.Release()
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func poolOf(t *testing.T, s *Store) *pgxpool.Pool {
	t.Helper()
	d, ok := s.dialect.(*postgresDialect)
	if !ok {
		t.Fatalf("the dialect is %T", s.dialect)
	}
	return d.pool
}

// A node that migrates and is gone must not hold what others wait for.
func TestMigrator_settings(t *testing.T) {
	t.Parallel()
	m, err := OpenMigrator(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	for name, want := range map[string]string{
		"idle_in_transaction_session_timeout": "30s", "tcp_user_timeout": "30000", "statement_timeout": "0",
	} {
		var got string
		if err := m.db.QueryRowContext(t.Context(), "SELECT current_setting($1)", name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
}

// Readiness tells the truth: who can't take what is pushed is not ready.
func TestPing_readOnly(t *testing.T) {
	t.Parallel()
	database := pgtest.URL(t)
	s, err := Open(t.Context(), database, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	m, err := OpenMigrator(database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	if err := s.Ping(t.Context()); models.CodeOf(err) != models.CodeUnavailable {
		t.Fatalf("without schema: %v, want %s", err, models.CodeUnavailable)
	}
	if err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Fatalf("at first: %v", err)
	}
	// All connections that there are, and all that come, as ALTER DATABASE does it.
	pool := poolOf(t, s)
	for _, statement := range []string{
		`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`,
		`SET default_transaction_read_only = on`,
	} {
		if _, err := pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := s.Ping(ctx)
		cancel()
		if err == nil {
			t.Fatal("a database that takes no writes is said to be ready")
		}
	}
}
