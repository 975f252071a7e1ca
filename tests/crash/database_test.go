package crash_test

import (
	"database/sql"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // to write to the inbox
	_ "modernc.org/sqlite"             // the same

	"github.com/tidemark/tidemark/tests/harness"
)

func insert(t *testing.T, server *harness.Server, store harness.Store, statement string) {
	t.Helper()
	db := open(t, server, store)
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, server *harness.Server, store harness.Store, query string) (n int) {
	t.Helper()
	db := open(t, server, store)
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// open opens the server's database beside it, as a job of somebody else would.
func open(t *testing.T, server *harness.Server, store harness.Store) *sql.DB {
	t.Helper()
	driver, name := "pgx", server.DatabaseURL()
	if store == harness.SQLite {
		driver, name = "sqlite", "file:"+strings.TrimPrefix(name, "sqlite:")+"?_pragma=busy_timeout(30000)"
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	return db
}
