package blackbox_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/tests/harness"
)

// TestServe_moreClientsThanConnections has a hundred clients for each connection
// to the database. Whoever is not served is told to come back; nobody hangs.
func TestServe_moreClientsThanConnections(t *testing.T) {
	t.Parallel()
	const pushing, polling, spaces = 100, 100, 10
	tally := harness.Count(t, "T12", 0)
	database := harness.WithSetting(t, harness.DefaultBroker().Database(t), "pool_max_conns", "2")
	server := harness.Start(t, harness.Options{Store: harness.Postgres, DatabaseURL: database})
	w := startWriters(t, pushing, func(i int) *counter {
		client := server.Client("")
		client.HTTP.Transport = politely{client.HTTP.Transport}
		return &counter{client: client, name: fmt.Sprintf("w%d", i), space: fmt.Sprintf("space-%d", i%spaces)}
	})
	ended := make(chan struct{})
	var polls errgroup.Group
	for i := range polling {
		client := server.Client("")
		client.HTTP.Transport = politely{client.HTTP.Transport}
		polls.Go(func() error { return pollUntil(t.Context(), ended, client, fmt.Sprintf("space-%d", i%spaces)) })
	}
	w.await(t, harness.Size(400, 20_000))
	close(ended)
	if err := polls.Wait(); err != nil {
		t.Error(err)
	}
	w.end(t)
	tally.Add(w.pushes())
}

// pushes is how many the writers have made.
func (w *writers) pushes() (sum harness.Figures) {
	for _, c := range w.counters {
		sum.Operations += int64(len(c.acks))
	}
	return sum
}

// pollUntil polls, every other time a long poll.
func pollUntil(ctx context.Context, ended <-chan struct{}, client *harness.Client, space string) error {
	var cursor string
	for n := 0; ; n++ {
		select {
		case <-ended:
			return nil
		default:
		}
		page, err := client.Pull(ctx, space, harness.Pull{Cursor: cursor, Wait: n % 2})
		switch {
		case err == nil:
			cursor = page.Cursor
		case !isProblem(err):
			return err
		}
	}
}

func isProblem(err error) bool {
	var problem *harness.Problem
	return errors.As(err, &problem)
}

// politely makes an error of every answer but 200 and those that say when to come back.
type politely struct{ next http.RoundTripper }

func (p politely) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := p.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	switch response.StatusCode {
	case http.StatusOK:
		return response, nil
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		if response.Header.Get("Retry-After") != "" {
			return response, nil
		}
	}
	response.Body.Close()
	return nil, fmt.Errorf("answered with %s, Retry-After %q", response.Status, response.Header.Get("Retry-After"))
}

// TestServe_foreignLockOnOneSpace has somebody else hold the lock of a space, as
// a forgotten psql does. Pushes to other spaces go on meanwhile; of those to this
// one none is lost and none takes effect twice.
func TestServe_foreignLockOnOneSpace(t *testing.T) {
	t.Parallel()
	tally := harness.Count(t, "T12", 0)
	server := harness.Start(t, harness.Options{Store: harness.Postgres})
	client := server.Client("")
	mustPush(t, client, "locked", put("e", "d", 0, `{}`))
	conn, err := dial(t.Context(), server.DatabaseURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	lock, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(t.Context(), "SELECT head FROM spaces WHERE id = 'locked' FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	w := startWriters(t, 12, func(i int) *counter {
		return &counter{client: server.Client(""), name: fmt.Sprintf("w%d", i), space: "locked"}
	})
	for n := range harness.Size(60, 2000) {
		mustPush(t, client, fmt.Sprintf("other-%d", n%5), put(fmt.Sprint("e", n), fmt.Sprint("d", n), 0, `{}`))
	}
	_, err = client.Push(t.Context(), "locked", harness.Push{ClientID: "c2", Edits: []harness.Edit{put("e", "never", 0, `{}`)}})
	var problem *harness.Problem
	if !errors.As(err, &problem) || problem.HTTPStatus != http.StatusServiceUnavailable && problem.HTTPStatus != http.StatusTooManyRequests {
		t.Errorf("a push to the locked space is answered with %v, want 503 or 429", err)
	}
	if len(w.answered) > 0 {
		t.Error("a push to the locked space was acknowledged")
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.await(t, 30)
	w.end(t)
	tally.Add(harness.Figures{Faults: 1})
	tally.Add(w.pushes())
	if _, refused := pullAll(t, client, "locked", 0)["never"]; refused {
		t.Error("the push that was refused took effect")
	}
}

// TestServe_diskFull makes PostgreSQL answer every write as it does when its disk
// is full.
func TestServe_diskFull(t *testing.T) {
	t.Parallel()
	server := harness.Start(t, harness.Options{Store: harness.Postgres})
	fill := func() {
		mustExec(t, server, `
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$`)
		mustExec(t, server, `CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON documents EXECUTE FUNCTION full_disk()`)
	}
	fullAndFree(t, server, fill, func() { mustExec(t, server, `DROP TRIGGER full_disk ON documents`) })
}

// fullAndFree: with a full disk nothing is acknowledged and reads go on; when
// there is room again so do the writers.
func fullAndFree(t *testing.T, server *harness.Server, fill, free func()) {
	t.Helper()
	tally := harness.Count(t, "T12", 0)
	client := server.Client("")
	w := startWriters(t, 8, func(i int) *counter {
		return &counter{client: server.Client(""), name: fmt.Sprintf("w%d", i), space: fmt.Sprintf("space-%d", i%3)}
	})
	w.await(t, 60)
	fill()
	version := w.seen["space-0"].newest()
	for range 10 {
		_, err := client.Push(t.Context(), "space-0", harness.Push{ClientID: "c", Edits: []harness.Edit{put("e", "d", 0, `{}`)}})
		var problem *harness.Problem
		if !errors.As(err, &problem) || problem.HTTPStatus != http.StatusServiceUnavailable || problem.RetryAfter == "" {
			t.Fatalf("a push to a full disk is answered with %v, want 503 and Retry-After", err)
		}
		page, err := client.Pull(t.Context(), "space-0", harness.Pull{MinVersion: version, Limit: 10})
		if err != nil || len(page.Changes) == 0 {
			t.Fatalf("with a full disk a pull is answered with %+v, %v", page, err)
		}
	}
	free()
	w.await(t, 60)
	w.end(t)
	tally.Add(harness.Figures{Faults: 1})
	tally.Add(w.pushes())
}

func mustExec(t *testing.T, server *harness.Server, statement string) {
	t.Helper()
	if err := harness.Execute(t.Context(), server.DatabaseURL(), statement); err != nil {
		t.Fatal(err)
	}
}
