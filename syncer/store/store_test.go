package store_test

import (
	"database/sql"
	"net/url"
	"testing"

	"github.com/tidemark/tidemark/migrations"
	"github.com/tidemark/tidemark/syncer"
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
		Open:        func(t testing.TB) syncer.Store { return open(t, patient(t, database), store.Options{}) },
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
	m, err := migrations.Open(database)
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
