package limits

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func ask(t *testing.T, databaseURL, query string) int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var n int
	if err := conn.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func rows(t *testing.T, databaseURL string) int {
	t.Helper()
	return ask(t, databaseURL, "SELECT count(*)::int FROM bench_documents")
}

// copyIsJSON counts the lines that are a change with a document in it.
func copyIsJSON(t *testing.T, databaseURL string) int {
	t.Helper()
	query := strings.TrimSuffix(strings.TrimPrefix(copyStatement, "COPY ("), ") TO STDOUT")
	return ask(t, databaseURL, `SELECT count(*)::int FROM (`+query+`) AS line (text)
		WHERE text::json -> 'data' ->> 'title' <> '' AND text::json ->> 'updated_at' LIKE '1970-%Z' AND text::json ->> 'edit_id' <> ''`)
}
