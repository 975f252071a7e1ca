package logical_test

import (
	"context"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/brokertest"
	"github.com/tidemark/tidemark/syncer/broker/logical"
	"github.com/tidemark/tidemark/syncer/broker/memory"
	"github.com/tidemark/tidemark/syncer/broker/postgres"
	"github.com/tidemark/tidemark/syncer/store"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// The tests' own server outlives them.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/tidemark/tidemark/tests/pgtest.(*Server).launch.func1"))
}

// launched is a server whose WAL can be decoded. It is this package's own, because
// the one that packages share runs with PostgreSQL's defaults.
var launched = sync.OnceValues(func() (*pgtest.Server, error) {
	return pgtest.Launch("wal_level=logical", "max_replication_slots=100", "max_wal_senders=100")
})

func startServer(t *testing.T) *pgtest.Server {
	t.Helper()
	server, err := launched()
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// database returns the URL of a new database with Tidemark's tables.
func database(t *testing.T, server *pgtest.Server) string {
	t.Helper()
	url := server.URL(t)
	m, err := store.OpenMigrator(url)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return url
}

func open(t *testing.T, url, slot string) *logical.Broker {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	inner, err := postgres.New(t.Context(), url, postgres.Options{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inner.Close() })
	b, err := logical.Open(t.Context(), url, inner, logical.Options{Slot: slot, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// writer makes of each poke that is published what a push would: the space's row.
type writer struct {
	*logical.Broker
	mu   sync.Mutex
	conn *pgx.Conn
}

func newWriter(t *testing.T, b *logical.Broker, url string) *writer {
	t.Helper()
	conn := connect(t, url)
	if _, err := conn.Exec(t.Context(), "SET synchronous_commit = off"); err != nil {
		t.Fatal(err)
	}
	return &writer{Broker: b, conn: conn}
}

const write = `
INSERT INTO spaces (id, head, epoch, created_at)
VALUES ($1, $2, 1, 1)
ON CONFLICT (id) DO UPDATE SET head = excluded.head`

func (w *writer) Publish(ctx context.Context, m syncer.Message) error {
	if m.IsPoke() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if _, err := w.conn.Exec(ctx, write, m.Space, m.Version); err != nil {
			return err
		}
	}
	return w.Broker.Publish(ctx, m)
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, statement string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

const terminate = `
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'tidemark-broker'`

func TestBroker(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	for name, slots := range map[string][2]string{"temporary slots": {"", ""}, "named slots": {"a", "b"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			brokertest.Run(t, func(t *testing.T) brokertest.Ends {
				url := database(t, server)
				var ends [2]*writer
				for i, slot := range slots {
					if slot != "" {
						slot = unique(slot, url)
					}
					ends[i] = newWriter(t, open(t, url, slot), url)
				}
				return brokertest.Ends{A: ends[0], B: ends[1], Break: func(t *testing.T) {
					execute(t, connect(t, url), terminate)
				}}
			})
		})
	}
}

// listen runs b; what it hears comes out of the channel, after the pokes with which
// a Run begins.
func listen(t *testing.T, b *logical.Broker) (heard <-chan syncer.Message, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	all, done := make(chan syncer.Message, 64), make(chan error, 1)
	go func() { done <- b.Run(ctx, func(m syncer.Message) { all <- m }) }()
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return all, end
}

// patience bounds every wait; a broker that needs it has failed.
const patience = time.Minute

// ready writes until that is heard.
func ready(t *testing.T, conn *pgx.Conn, heard <-chan syncer.Message) {
	t.Helper()
	deadline := time.After(patience)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		execute(t, conn, "INSERT INTO spaces (id, head, epoch, created_at) VALUES ('ready', 1, 1, 1) ON CONFLICT (id) DO UPDATE SET head = spaces.head + 1")
		for waiting := true; waiting; {
			select {
			case m := <-heard:
				if m.Space == "ready" {
					return
				}
			case <-again.C:
				waiting = false
			case <-deadline:
				t.Fatalf("nothing is heard within %v", patience)
			}
		}
	}
}

// next returns the next message that is about another space.
func next(t *testing.T, heard <-chan syncer.Message) syncer.Message {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case m := <-heard:
			if m.Space != "" && m.Space != "ready" {
				return m
			}
		case <-deadline:
			t.Fatalf("nothing more is heard within %v", patience)
		}
	}
}

// unique returns the name of something of the whole server that belongs to a
// test's database.
func unique(prefix, url string) string {
	_, suffix, _ := strings.Cut(url, "tidemark_test_")
	return prefix + "_" + suffix[:16]
}

// Whoever writes, and however, is heard, after the commit and not at all without one.
func TestBroker_rows(t *testing.T) {
	t.Parallel()
	url := database(t, startServer(t))
	conn := connect(t, url)
	b, err := logical.Open(t.Context(), url, memory.New(), logical.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	heard, _ := listen(t, b)
	ready(t, conn, heard)
	await := func(want syncer.Message) {
		t.Helper()
		if got := next(t, heard); got.Space != want.Space || got.Version != want.Version {
			t.Errorf("heard %v, want %v", got, want)
		}
	}
	execute(t, conn, "BEGIN; INSERT INTO spaces (id, head, epoch, created_at) VALUES ('lost', 9, 1, 1); ROLLBACK")
	execute(t, conn, "INSERT INTO spaces (id, head, epoch, created_at) VALUES ('home', 3, 1, 1)")
	await(syncer.Message{Space: "home", Version: 3})
	execute(t, conn, "UPDATE spaces SET head = 5 WHERE id = 'home'")
	await(syncer.Message{Space: "home", Version: 5})
	execute(t, conn, "INSERT INTO inbox (space, collection, id, op, data) VALUES ('home', 'todos', 't1', 'put', '{}'); DELETE FROM inbox")
	await(syncer.Message{Space: "home"})
	execute(t, conn, "ALTER TABLE spaces ADD COLUMN color text; UPDATE spaces SET head = 6, color = 'blue' WHERE id = 'home'")
	await(syncer.Message{Space: "home", Version: 6})
	// A space is named by whoever writes the inbox.
	execute(t, conn, "INSERT INTO inbox (space, collection, id, op) VALUES ('no space', 'todos', 't1', 'delete'), ('work', 'todos', 't1', 'delete')")
	await(syncer.Message{Space: "work"})
}

// A named slot stays, says what was written while nobody read it, and moves on, so
// that the database can throw WAL away.
func TestBroker_namedSlot(t *testing.T) {
	t.Parallel()
	url := database(t, startServer(t))
	conn := connect(t, url)
	name := unique("node1", url)
	b := open(t, url, name)
	heard, end := listen(t, b)
	const slot = "SELECT confirmed_flush_lsn::text, temporary FROM pg_replication_slots WHERE slot_name = $1"
	ready(t, conn, heard)
	other, _ := listen(t, b) // a second Run, which hears too
	ready(t, conn, other)
	execute(t, conn, "INSERT INTO spaces (id, head, epoch, created_at) VALUES ('home', 1, 1, 1)")
	for _, heard := range []<-chan syncer.Message{heard, other} {
		if m := next(t, heard); m.Space != "home" {
			t.Errorf("heard %v", m)
		}
	}
	end()
	var before, after string
	var temporary bool
	if err := conn.QueryRow(t.Context(), slot, name).Scan(&before, &temporary); err != nil || temporary {
		t.Fatalf("the slot: temporary %v, %v", temporary, err)
	}
	execute(t, conn, "INSERT INTO spaces (id, head, epoch, created_at) VALUES ('meanwhile', 1, 1, 1)")
	heard, _ = listen(t, open(t, url, name))
	for next(t, heard).Space != "meanwhile" { // what was not reported as read comes again
	}
	for moved := false; !moved; moved = after != before {
		if err := conn.QueryRow(t.Context(), slot, name).Scan(&after, &temporary); err != nil {
			t.Fatal(err)
		}
	}
}

// What the database lacks is said with the remedy.
func TestOpen_refused(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	ready := database(t, server)
	admin := connect(t, ready)
	plain, copier := unique("plain", ready), unique("copier", ready)
	execute(t, admin, "CREATE ROLE "+plain+" LOGIN PASSWORD 'hush'; CREATE ROLE "+copier+" LOGIN REPLICATION PASSWORD 'hush'")
	for name, test := range map[string]struct{ url, slot, want string }{
		"wal_level":      {pgtest.URL(t), "", "ALTER SYSTEM SET wal_level = 'logical'"},
		"no REPLICATION": {as(t, ready, plain), "", `ALTER ROLE "` + plain + `" REPLICATION`},
		"not the owner":  {as(t, ready, copier), "", "CREATE PUBLICATION tidemark FOR TABLE public.spaces"},
		"no tables":      {server.URL(t), "", "tidemark migrate up"},
		"slot's name":    {ready, "Node-1", "Node-1"},
		"URL":            {"postgres://u:hush@h:port/d", "", "database URL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := logical.Open(t.Context(), test.url, memory.New(), logical.Options{Slot: test.slot})
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hush") {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
}

// as returns the URL for another user.
func as(t *testing.T, text, user string) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, "hush")
	return u.String()
}

// Whoever made the publication beforehand has done what was asked.
func TestOpen_publicationIsThere(t *testing.T) {
	t.Parallel()
	url := database(t, startServer(t))
	admin, reader := connect(t, url), unique("reader", url)
	execute(t, admin, "CREATE ROLE "+reader+" LOGIN REPLICATION PASSWORD 'hush'; CREATE PUBLICATION tidemark FOR TABLE spaces, inbox")
	b, err := logical.Open(t.Context(), as(t, url, reader), memory.New(), logical.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	heard, _ := listen(t, b)
	ready(t, admin, heard)
}
