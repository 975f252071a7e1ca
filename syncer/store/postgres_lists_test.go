package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tidemark/tidemark/tests/pgtest"
)

// Whatever a list holds, the database finds the same in it.
func TestLists(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if err := useLists(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	text := func(s string) *string { return &s }
	echo(t, conn, "text[]", []string{"", "a", `{"é",NULL}`, "\n"}, []string{}, []string{"one"})
	echo(t, conn, "bigint[]", []int64{0, -1, 1<<63 - 1, -1 << 63}, []int64{})
	echo(t, conn, "bytea[]", [][]byte{{}, {0, 255}}, [][]byte{})
	echo(t, conn, "json[]", []*string{text(`{"a": 1}`), nil, text("[]")}, []*string{})

	for kind, none := range map[string]any{
		"text[]": []string(nil), "bigint[]": []int64(nil), "bytea[]": [][]byte(nil), "json[]": []*string(nil),
	} {
		var isNull bool
		if err := conn.QueryRow(t.Context(), "SELECT $1::"+kind+" IS NULL", none).Scan(&isNull); err != nil || !isNull {
			t.Errorf("%s that is nil: %t, %v", kind, isNull, err)
		}
	}
	// What is no such list goes pgx's own way.
	var got []string
	if err := conn.QueryRow(t.Context(), "SELECT $1::text[]", []any{"a", "b"}).Scan(&got); err != nil || !cmp.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %v, %v", got, err)
	}
	if err := conn.QueryRow(t.Context(), "SELECT $1::text[]", []int64{1}).Scan(&got); err == nil {
		t.Errorf("integers were sent as texts: %v", got)
	}
}

func echo[T any](t *testing.T, conn *pgx.Conn, kind string, lists ...[]T) {
	t.Helper()
	for _, list := range lists {
		var count int
		got := []T{}
		err := conn.QueryRow(t.Context(), "SELECT $1::"+kind+", COALESCE(array_length($1::"+kind+", 1), 0)", list).Scan(&got, &count)
		if err != nil {
			t.Errorf("%s: %v: %v", kind, list, err)
		} else if diff := cmp.Diff(list, got); diff != "" || count != len(list) {
			t.Errorf("%s, %d elements (-want +got):\n%s", kind, count, diff)
		}
	}
}
