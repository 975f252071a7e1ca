package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// EnvURL names the environment variable that points to a running server.
const EnvURL = "TIDEMARK_TEST_DATABASE_URL"

// statementTimeout bounds creating and dropping a database. Creating one copies
// a few megabytes, which takes seconds on a machine that is busy with tests.
const statementTimeout = 60 * time.Second

// URL returns the URL of a fresh, empty database that belongs to this test
// alone and is dropped when the test ends, with whatever is still connected.
func URL(t testing.TB) string {
	t.Helper()
	admin, err := shared()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return createFor(t, admin)
}

// shared is the URL of the server that all tests of this process use.
// Nobody stops it: its lifeline does when the process is gone.
var shared = sync.OnceValues(func() (string, error) {
	if external := os.Getenv(EnvURL); external != "" {
		return external, nil
	}
	server, err := Launch()
	if err != nil {
		return "", err
	}
	return server.AdminURL(), nil
})

// Start runs a server of the test's own, for tests that stop, kill or restart
// it or need other settings (wal_level=logical). It ends with the test.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	server, err := Launch(settings...)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return server
}

// URL returns the URL of a fresh, empty database on this server. The server
// must be running now; the database goes with the server's folder.
func (s *Server) URL(t testing.TB) string {
	t.Helper()
	database, err := create(s.AdminURL())
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return database.url
}

func createFor(t testing.TB, admin string) string {
	t.Helper()
	database, err := create(admin)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := database.drop(); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return database.url
}

// testDatabase is one database made for one test.
type testDatabase struct{ admin, name, url string }

func create(admin string) (testDatabase, error) {
	at, err := url.Parse(admin)
	if err != nil || at.Host == "" {
		return testDatabase{}, fmt.Errorf("%s must look like postgres://user:password@host:port/database", EnvURL)
	}
	suffix := make([]byte, 8)
	rand.Read(suffix)
	name := "tidemark_test_" + hex.EncodeToString(suffix)
	at.Path = "/" + name
	// template0, because creating from template1 fails while anybody is connected to it.
	if err := execute(admin, "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		return testDatabase{}, fmt.Errorf("create a database for the test: %w", err)
	}
	return testDatabase{admin: admin, name: name, url: at.String()}, nil
}

func (d testDatabase) drop() error {
	if err := execute(d.admin, "DROP DATABASE IF EXISTS "+d.name+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop the test's database: %w", err)
	}
	return nil
}

func execute(admin, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	return Execute(ctx, admin, statement)
}

// Execute runs statements on a connection of their own, in one transaction unless
// they say otherwise.
func Execute(ctx context.Context, url, statements string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.PgConn().Exec(ctx, statements).ReadAll()
	return err
}
