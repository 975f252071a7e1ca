package blackbox_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/eventstream"
	"github.com/tidemark/tidemark/tests/harness"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// startTimeout is how long a start may take to fail: a database that does not answer
// is waited for, but not for long.
const startTimeout = 30 * time.Second

// TestServe_refusesToStart: a start that can't succeed ends with one line that says
// why, and with an exit code that says whether trying again may help: 1, or 2 for a
// wrong setting.
func TestServe_refusesToStart(t *testing.T) {
	t.Parallel()
	type start struct {
		env []string
		// database is what the server is given, "" for a fresh SQLite file.
		database string
		code     int
		want     string // in the line
	}
	for name, prepare := range map[string]func(t *testing.T) start{
		"a setting that is none": func(*testing.T) start {
			return start{env: []string{"TIDEMARK_LISTN=127.0.0.1:0"}, code: 2, want: "did you mean TIDEMARK_LISTEN?"}
		},
		"a bad setting": func(*testing.T) start {
			return start{env: []string{"TIDEMARK_LISTEN=0.0.0.0:0"}, code: 2, want: "without auth everybody"}
		},
		"no rules where they should be": func(*testing.T) start {
			return start{env: []string{"TIDEMARK_SCHEMAS=/nonexistent/schemas"}, code: 2, want: "--schemas"}
		},
		"port taken": func(t *testing.T) start {
			return start{env: []string{"TIDEMARK_LISTEN=" + taken(t).Addr().String()}, code: 1, want: "address already in use"}
		},
		"an SQLite file that has its server": func(t *testing.T) start {
			other := harness.Start(t, harness.Options{Store: harness.SQLite})
			return start{database: other.DatabaseURL(), code: 1, want: "another tidemark is working on"}
		},
		"an SQLite file that is a folder": func(t *testing.T) start {
			return start{database: "sqlite:" + t.TempDir(), code: 1, want: "database"}
		},
		"an SQLite file that is none": func(t *testing.T) start {
			file := filepath.Join(t.TempDir(), "x.db")
			if err := os.WriteFile(file, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
			return start{database: "sqlite:" + file, code: 1, want: "not a database"}
		},
		"PostgreSQL away": func(t *testing.T) start {
			l := taken(t)
			l.Close()
			return start{database: "postgres://u:hush@" + l.Addr().String() + "/d?sslmode=disable", code: 1, want: "connection refused"}
		},
		"PostgreSQL that does not answer": func(t *testing.T) start {
			return start{database: "postgres://u:hush@" + taken(t).Addr().String() + "/d?sslmode=disable", code: 1, want: "connect"}
		},
		"PostgreSQL without the database": func(t *testing.T) start {
			return start{database: otherURL(t, func(u *url.URL) { u.Path = "/nonexistent" }), code: 1, want: `database "nonexistent" does not exist`}
		},
		"PostgreSQL without the user": func(t *testing.T) start {
			return start{database: otherURL(t, func(u *url.URL) { u.User = url.UserPassword("nobody_here", "hush") }), code: 1, want: "nobody_here"}
		},
		"PostgreSQL that would lose what it acknowledges": func(t *testing.T) start {
			return start{database: harness.WithSetting(t, pgtest.URL(t), "synchronous_commit", "off"), code: 1, want: "--unsafe-durability"}
		},
		"no schema to check, SQLite": func(*testing.T) start {
			return start{env: []string{"TIDEMARK_MIGRATE=check"}, code: 1, want: "--migrate=check: read the schema's version"}
		},
		"no schema to check, PostgreSQL": func(t *testing.T) start {
			return start{database: pgtest.URL(t), env: []string{"TIDEMARK_MIGRATE=check"}, code: 1, want: "--migrate=check: read the schema's version"}
		},
		"a schema that is behind": func(t *testing.T) start {
			database := pgtest.URL(t)
			migrateTo(t, database, "down", "1")
			return start{database: database, env: []string{"TIDEMARK_MIGRATE=check"}, code: 1, want: "run tidemark migrate up"}
		},
		"a migration that failed half-way": func(t *testing.T) start {
			database := pgtest.URL(t)
			migrateTo(t, database, "down", "1")
			if err := harness.Execute(t.Context(), database, "UPDATE schema_migrations SET dirty = true"); err != nil {
				t.Fatal(err)
			}
			return start{database: database, code: 1, want: "tidemark migrate force"}
		},
		"migrations have another way, which is closed": func(t *testing.T) start {
			l := taken(t)
			l.Close()
			return start{
				database: pgtest.URL(t), env: []string{"TIDEMARK_MIGRATE_URL=postgres://u:hush@" + l.Addr().String() + "/d?sslmode=disable"},
				code: 1, want: "connection refused",
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := prepare(t)
			server := harness.New(t, harness.Options{Store: harness.SQLite, DatabaseURL: s.database, Env: s.env})
			ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
			defer cancel()
			stdout, stderr, err := server.Run(ctx, "serve")
			var status *exec.ExitError
			if !errors.As(err, &status) || status.ExitCode() != s.code || stdout != "" {
				t.Errorf("it ended with %v and printed %q, want exit code %d and nothing", err, stdout, s.code)
			}
			if !strings.HasPrefix(stderr, "tidemark: ") || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, s.want) {
				t.Errorf("not one line with %q: %q", s.want, stderr)
			}
			if strings.Contains(stderr, "hush") {
				t.Errorf("a secret is printed: %q", stderr)
			}
		})
	}
}

// taken returns a listener that accepts and says nothing.
func taken(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func otherURL(t *testing.T, change func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	change(u)
	return u.String()
}

// migrateTo migrates a database up, and then as args say.
func migrateTo(t *testing.T, database string, args ...string) {
	t.Helper()
	operator := harness.New(t, harness.Options{DatabaseURL: database})
	for _, args := range [][]string{{"migrate", "up"}, append([]string{"migrate"}, args...)} {
		if _, stderr, err := operator.Run(t.Context(), args...); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, stderr)
		}
	}
}

// TestServe_notReadyUntilMigrated: with --migrate=off a node starts before its schema
// is there and is not ready until somebody else has brought it up; nor is it when the
// schema is taken back. It is alive all the time.
func TestServe_notReadyUntilMigrated(t *testing.T) {
	t.Parallel()
	database := pgtest.URL(t)
	server := harness.New(t, harness.Options{DatabaseURL: database, Secret: harness.Secret, Env: []string{"TIDEMARK_MIGRATE=off"}})
	server.RestartUnready()
	client := server.Client(harness.Token(harness.Claims{"sub": "alice", "spaces": harness.Claims{"room": "rw"}}))
	status := func(path string) int {
		answer, err := client.Do(t.Context(), http.MethodGet, path, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return answer.Status
	}
	unready := func() bool { return status("/readyz") == http.StatusServiceUnavailable }
	ready := func() bool { return status("/readyz") == http.StatusOK }
	if !unready() {
		t.Error("a node without schema is ready")
	}
	migrateTo(t, database, "version")
	harness.Until(t, startTimeout, "it becomes ready", ready)
	mustPush(t, client, "room", put("e", "d", 0, `{}`))
	migrateTo(t, database, "down", "1")
	if !unready() {
		t.Error("a node whose schema was taken back is ready")
	}
	if status("/healthz") != http.StatusOK {
		t.Error("it is not alive")
	}
	migrateTo(t, database, "version")
	harness.Until(t, startTimeout, "it is ready again", ready)
}

// TestServe_drainDelay: after SIGTERM a node says that it is not ready and goes on, so
// that whoever sends requests to it can stop; then its streams are told to leave, and
// it ends with 0.
func TestServe_drainDelay(t *testing.T) {
	t.Parallel()
	server := harness.Start(t, harness.Options{Store: harness.SQLite, Env: []string{"TIDEMARK_DRAIN_DELAY=5s"}})
	client := server.Client("")
	version := mustPush(t, client, "room", put("e0", "d0", 0, `{}`)).Version
	stream, err := client.Stream(t.Context(), "/v1/spaces/room/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	next := func() eventstream.Event {
		t.Helper()
		e, err := stream.Next()
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	if e := next(); e.Name != "changes" {
		t.Fatalf("the stream begins with %+v", e)
	}
	others := make([]*harness.Stream, 15) // each is told a time of its own
	for i := range others {
		if others[i], err = client.Stream(t.Context(), "/v1/spaces/room/stream", nil); err != nil {
			t.Fatal(err)
		}
		defer others[i].Close()
	}
	began := time.Now()
	ended := make(chan struct{})
	go func() { defer close(ended); server.Stop() }() // expects exit code 0
	harness.Until(t, startTimeout, "it says that it leaves", func() bool {
		answer, err := client.Do(t.Context(), http.MethodGet, "/readyz", nil, nil)
		return err == nil && answer.Status == http.StatusServiceUnavailable
	})
	if time.Since(began) < 3*time.Second { // else this machine stood still
		// It takes what comes, and its streams go on.
		mustPush(t, client, "room", put("e1", "d1", 0, `{}`))
		if e := next(); e.Name != "changes" || !strings.Contains(e.Data, `"d1"`) {
			t.Errorf("after version %d the stream brings %+v", version, e)
		}
	}
	for _, stream := range slices.Concat(others, []*harness.Stream{stream}) {
		e, err := stream.Next()
		for ; err == nil && e.Name != "bye"; e, err = stream.Next() {
		}
		if err != nil {
			t.Fatal(err)
		}
		// Spread, so that not all come back at the same moment.
		if !strings.Contains(e.Data, `"shutdown"`) || e.Retry < 500*time.Millisecond || e.Retry >= 3*time.Second {
			t.Errorf("a stream is told %+v, want to come back in 500 ms to 3 s", e)
		}
	}
	<-ended
	if took := time.Since(began); took < 5*time.Second {
		t.Errorf("the node was gone after %v", took)
	}
}
