package crash_test

import (
	"testing"

	"github.com/tidemark/tidemark/syncer/store"
	"github.com/tidemark/tidemark/tests/harness"
)

func count(t *testing.T, server *harness.Server, query string) (n int) {
	t.Helper()
	db, err := store.OpenSQL(server.DatabaseURL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
