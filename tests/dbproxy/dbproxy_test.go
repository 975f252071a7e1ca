package dbproxy_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark/tidemark/tests/dbproxy"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// A proxy that did less than it says would make the tests behind it pass.
func TestProxy(t *testing.T) {
	t.Parallel()
	url, p := dbproxy.Through(t, pgtest.URL(t))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	connect := func() *pgx.Conn {
		t.Helper()
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), 50*time.Millisecond)
			defer cancel()
			conn.Close(soon)
		})
		return conn
	}
	ask := func(conn *pgx.Conn, within time.Duration, statement string) error {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		_, err := conn.Exec(ctx, statement)
		return err
	}
	const long, short = 30 * time.Second, 100 * time.Millisecond
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	mustNot := func(what string, err error) {
		t.Helper()
		if err == nil {
			t.Fatalf("%s: it was answered", what)
		}
	}
	conn := connect()
	must("at first", ask(conn, long, "CREATE TABLE t (n int)"))

	p.Delay(200 * time.Millisecond)
	mustNot("delayed", ask(connect(), short, "SELECT 1"))
	p.Calm()

	p.Hold()
	mustNot("held", ask(conn, short, "SELECT 1"))
	p.Release()

	conn = connect()
	p.End(dbproxy.Silent)
	mustNot("forgotten", ask(conn, short, "SELECT 1"))
	conn = connect()
	must("a new one", ask(conn, long, "SELECT 1"))
	if p.End(dbproxy.Reset) == 0 {
		t.Error("there was nothing to reset")
	}
	mustNot("reset", ask(conn, long, "SELECT 1"))

	p.Leave()
	if conn, err := pgx.Connect(ctx, url); err == nil {
		conn.Close(ctx)
		t.Error("the database is away, and connects")
	}
	p.Return()

	for _, how := range []dbproxy.Ending{dbproxy.Reset, dbproxy.Silent} {
		conn = connect()
		struck := p.OnCommit(how)
		must("before COMMIT", ask(conn, long, "BEGIN"))
		must("before COMMIT", ask(conn, long, "INSERT INTO t VALUES (1)"))
		within := long
		if how == dbproxy.Silent {
			within = short
		}
		mustNot("the answer to COMMIT", ask(conn, within, "COMMIT"))
		<-struck
	}
	var n int
	if err := connect().QueryRow(ctx, "SELECT count(*) FROM t").Scan(&n); err != nil || n != 2 {
		t.Errorf("%d rows, %v; want what was committed twice", n, err)
	}

	conn = connect()
	struck := p.CutAfter(dbproxy.ToDatabase, 3)
	mustNot("cut", ask(conn, long, "INSERT INTO t VALUES (1)"))
	<-struck
	if err := connect().QueryRow(ctx, "SELECT count(*) FROM t").Scan(&n); err != nil || n != 2 {
		t.Errorf("%d rows, %v; what was cut has arrived", n, err)
	}
}
