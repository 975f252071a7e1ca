package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/memory"
	"github.com/tidemark/tidemark/syncer/store"
	"github.com/tidemark/tidemark/syncer/store/storetest"
	"github.com/tidemark/tidemark/tests/pgtest"
)

func TestStore_sqlite(t *testing.T) {
	t.Parallel()
	database := sqliteURL(t)
	migrate(t, database)
	// A SQLite database has one node.
	s := open(t, database, store.Options{})
	if err := s.WaitLong(); err != nil {
		t.Fatal(err)
	}
	storetest.Run(t, storetest.Database{
		Open: func(testing.TB) syncer.Store { return s },
		SQL:  openSQL(t, database),
	})
}

func TestStore_postgres(t *testing.T) {
	t.Parallel()
	database := pgtest.URL(t)
	migrate(t, database)
	storetest.Run(t, storetest.Database{
		Open: func(t testing.TB) syncer.Store {
			return open(t, patient(t, database), store.Options{ConnectionWait: 30 * time.Second})
		},
		SQL:         openSQL(t, database),
		LocksSpaces: true,
	})
}

// patient makes locks and transactions last longer than a busy machine needs to
// run a test.
func patient(t testing.TB, database string) string {
	return with(t, database, "lock_timeout", "30s", "idle_in_transaction_session_timeout", "30s", "statement_timeout", "30s")
}

// with adds settings, names and values, to a PostgreSQL URL.
func with(t testing.TB, database string, settings ...string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	for i := 0; i < len(settings); i += 2 {
		query.Set(settings[i], settings[i+1])
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// sqliteURL names a database that is not there yet.
func sqliteURL(t testing.TB) string {
	t.Helper()
	return "sqlite:" + t.TempDir() + "/tidemark.db"
}

// migrate brings the database to its newest schema.
func migrate(t testing.TB, database string) {
	t.Helper()
	m, err := store.OpenMigrator(database)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// open opens a store that ends with the test.
func open(t testing.TB, database string, opts store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), database, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// openSQL opens the database past any store.
func openSQL(t testing.TB, database string) *sql.DB {
	t.Helper()
	db, err := store.OpenSQL(database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestStore_closed(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]string{"sqlite": sqliteURL(t), "postgres": pgtest.URL(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			migrate(t, database)
			s, err := store.Open(t.Context(), database, store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for name, call := range calls(s) {
				if err := call(t.Context()); models.CodeOf(err) != models.CodeUnavailable {
					t.Errorf("%s: %v, want %s", name, err, models.CodeUnavailable)
				}
			}
			if half, err := s.Unfinished(t.Context()); err == nil {
				t.Errorf("half imports of a database that can't be asked: %v", half)
			}
		})
	}
}

// calls are all calls of a Store.
func calls(s syncer.Store) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Commit": func(ctx context.Context) error { return write(ctx, s, "s1") },
		"Changes": func(ctx context.Context) error {
			_, err := s.Changes(ctx, "s1", syncer.Range{Limit: 1})
			return err
		},
		"Heads": func(ctx context.Context) error {
			_, err := s.Heads(ctx, []string{"s1"})
			return err
		},
		"Document": func(ctx context.Context) error {
			_, err := s.Document(ctx, "s1", syncer.Key{Collection: "todos", ID: "t1"})
			return err
		},
		"Ping": s.Ping,
	}
}

// write commits a new head of a space.
func write(ctx context.Context, s syncer.Store, space string) error {
	return s.Commit(ctx, syncer.Group{
		Touches: []syncer.Touch{{Space: space}}, Wait: true,
		Decide: func(found []*syncer.Locked) []syncer.Writes {
			found[0].Space.Head++
			return []syncer.Writes{{Space: &found[0].Space}}
		},
	})
}

func TestOpen_refusesWhatIsNoDatabase(t *testing.T) {
	t.Parallel()
	for _, database := range []string{"", "sqlite:", "mysql://127.0.0.1/x", "tidemark.db", "postgres://127.0.0.1:1/x?connect_timeout=1"} {
		if s, err := store.Open(t.Context(), database, store.Options{}); err == nil {
			s.Close()
			t.Errorf("%q is opened", database)
		}
	}
}

func TestPostgres_lockTimeout(t *testing.T) {
	t.Parallel()
	database := pgtest.URL(t)
	migrate(t, database)
	s := open(t, with(t, database, "lock_timeout", "100ms"), store.Options{})
	for _, space := range []string{"held", "free"} {
		if err := write(t.Context(), s, space); err != nil {
			t.Fatal(err)
		}
	}
	holder, err := openSQL(t, database).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Rollback()
	if _, err := holder.ExecContext(t.Context(), "SELECT FROM spaces WHERE id = 'held' FOR NO KEY UPDATE"); err != nil {
		t.Fatal(err)
	}
	var busy *models.Error
	if err := write(t.Context(), s, "held"); !errors.As(err, &busy) || busy.Code != models.CodeUnavailable || busy.RetryAfter <= 0 {
		t.Errorf("a push to the held space: %v, want %s and when to come back", err, models.CodeUnavailable)
	}
	if err := write(t.Context(), s, "free"); err != nil {
		t.Errorf("a push to another space: %v", err)
	}
	if err := holder.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := write(t.Context(), s, "held"); err != nil {
		t.Errorf("a push to the space that is free again: %v", err)
	}
}

// A server is stopped and started again; the store goes on by itself.
func TestPostgres_serverAway(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	database := server.URL(t)
	migrate(t, database)
	s := open(t, database, store.Options{})
	if err := write(t.Context(), s, "s1"); err != nil {
		t.Fatal(err)
	}
	if err := server.StopImmediate(); err != nil {
		t.Fatal(err)
	}
	for name, call := range calls(s) {
		if err := call(t.Context()); models.CodeOf(err) != models.CodeUnavailable {
			t.Errorf("%s without a server: %v, want %s", name, err, models.CodeUnavailable)
		}
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	for name, call := range calls(s) {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s with the server back: %v", name, err)
		}
	}
	// One push before the server went and one after.
	heads, err := s.Heads(t.Context(), []string{"s1"})
	if err != nil || heads[0].Head != 2 {
		t.Errorf("heads %v, error %v", heads, err)
	}
}

// A database that has become a standby behind the store's back, which a proxy can bring
// about, says so of itself, whether the spaces exist or not.
func TestPostgres_standby(t *testing.T) {
	t.Parallel()
	database := pgtest.URL(t)
	migrate(t, database)
	s := open(t, with(t, database, "search_path", "public,pg_catalog"), store.Options{})
	if err := write(t.Context(), s, "there"); err != nil {
		t.Fatal(err)
	}
	const recovers = `CREATE FUNCTION pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true'`
	if _, err := openSQL(t, database).ExecContext(t.Context(), recovers); err != nil {
		t.Fatal(err)
	}
	for _, names := range [][]string{{"there"}, {"not there"}, {"not there", "there"}} {
		if heads, err := s.Heads(t.Context(), names); models.CodeOf(err) != models.CodeUnavailable {
			t.Errorf("%q: %v, %v; want %s", names, heads, err, models.CodeUnavailable)
		}
	}
	if err := s.Ping(t.Context()); models.CodeOf(err) != models.CodeUnavailable {
		t.Errorf("ready on a standby: %v, want %s", err, models.CodeUnavailable)
	}
}

func TestPostgres_durability(t *testing.T) {
	t.Parallel()
	careless := with(t, pgtest.URL(t), "synchronous_commit", "off")
	server := pgtest.Start(t)
	for _, statement := range []string{"ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"} {
		if _, err := openSQL(t, server.AdminURL()).ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	// The setting reaches a connection that begins after the server has read it;
	// a restart is a read that has an end.
	if err := errors.Join(server.Stop(), server.Start()); err != nil {
		t.Fatal(err)
	}
	for setting, database := range map[string]string{
		"synchronous_commit=off": careless,
		"fsync=off":              server.URL(t),
	} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			s, err := store.Open(t.Context(), database, store.Options{})
			if err == nil {
				s.Close()
				t.Fatal("a database that loses acknowledged edits is opened")
			}
			for _, word := range []string{setting, "--unsafe-durability"} {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not name %s", err, word)
				}
			}
			var log strings.Builder
			open(t, database, store.Options{UnsafeDurability: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if !strings.Contains(log.String(), strings.TrimSuffix(setting, "=off")) {
				t.Errorf("the danger is not logged: %q", log.String())
			}
		})
	}
}

// What the store's own connections say cannot be asked from outside, but what
// outlasts them can: the version is the same library, WAL is kept in the file.
func TestSQLite_isSafe(t *testing.T) {
	t.Parallel()
	database := sqliteURL(t)
	migrate(t, database)
	open(t, database, store.Options{})
	db := openSQL(t, database)
	for query, want := range map[string]string{
		"PRAGMA journal_mode":    "wal",
		"PRAGMA synchronous":     "2",
		"PRAGMA busy_timeout":    "5000",
		"PRAGMA foreign_keys":    "1",
		"PRAGMA integrity_check": "ok",
	} {
		var got string
		if err := db.QueryRowContext(t.Context(), query).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, error %v; want %q", query, got, err, want)
		}
	}
	var number int
	const asNumber = `
		WITH v(s) AS (SELECT sqlite_version()),
		     p(s, major, rest) AS (SELECT s, instr(s, '.'), substr(s, instr(s, '.') + 1) FROM v)
		SELECT 1000000 * CAST(s AS integer) + 1000 * CAST(rest AS integer) + CAST(substr(rest, instr(rest, '.') + 1) AS integer) FROM p`
	if err := db.QueryRowContext(t.Context(), asNumber).Scan(&number); err != nil || number < 3_051_003 {
		t.Errorf("SQLite version %d, error %v; want 3.51.3 or newer", number, err)
	}
}

func TestSQLite_clock(t *testing.T) {
	t.Parallel()
	database := sqliteURL(t)
	migrate(t, database)
	now := time.UnixMicro(5_000_000)
	s := open(t, database, store.Options{Now: func() time.Time { return now }})
	engine := syncer.New(s, memory.New(), syncer.Options{})
	for i, tt := range []struct{ now, want int64 }{
		{5_000_000, 5_000_000},
		{5_000_000, 5_000_001},
		{1, 5_000_002}, // it goes back
		{7_000_000, 7_000_000},
	} {
		now = time.UnixMicro(tt.now)
		res, err := engine.Push(t.Context(), "s1", "alice", &models.PushRequest{ClientID: "c1", Edits: []models.Edit{
			{EditID: fmt.Sprintf("e%d", i), Op: models.OpPut, Collection: "todos", ID: "t1", Force: true, Data: []byte(`{}`)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if res.Version != tt.want {
			t.Errorf("at %d: version %d, want %d", tt.now, res.Version, tt.want)
		}
	}
}

// Who has gone by the time that his push reads is told so, not that something broke.
func TestSQLite_goneWhileItReads(t *testing.T) {
	t.Parallel()
	database := sqliteURL(t)
	migrate(t, database)
	reads := func() {}
	s := open(t, database, store.Options{Now: func() time.Time { reads(); return time.Now() }})
	ctx, leave := context.WithCancel(t.Context())
	reads = func() {
		leave()
		// It waits for the one connection that writes: until the transaction has been ended.
		if _, err := s.Setting(t.Context(), "key", []byte("value")); err != nil {
			t.Error(err)
		}
	}
	if err := write(ctx, s, "s1"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// A database that is opened again is as it was.
func TestSQLite_opensAgain(t *testing.T) {
	t.Parallel()
	database := sqliteURL(t)
	migrate(t, database)
	for head := int64(1); head <= 3; head++ {
		s, err := store.Open(t.Context(), database, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := write(t.Context(), s, "s1"); err != nil {
			t.Fatal(err)
		}
		heads, err := s.Heads(t.Context(), []string{"s1"})
		if err != nil || heads[0].Head != head {
			t.Errorf("heads %v, error %v; want %d", heads, err, head)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSQLite_oddPaths(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a b.db", "100%.db", "what?.db", "#1.db", "é.db", "a&b=c.db", "deep/er/x.db"} {
		database := "sqlite:" + t.TempDir() + "/" + name
		migrate(t, database)
		if err := write(t.Context(), open(t, database, store.Options{}), "s1"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		path, _ := store.SQLitePath(database)
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the database is in another file: %v", err)
		}
	}
}

func TestLock_oneServer(t *testing.T) {
	t.Parallel()
	database := sqliteURL(t)
	release, err := store.Lock(database)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Lock(database); err == nil {
		t.Error("two hold the lock")
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	again, err := store.Lock(database)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	if err := again(); err != nil {
		t.Error(err)
	}
	for range 2 {
		release, err := store.Lock("postgres://127.0.0.1/x") // many nodes on one database
		if err != nil {
			t.Fatal(err)
		}
		defer release()
	}
}
