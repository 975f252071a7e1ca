package blackbox_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/tests/harness"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// fault breaks something under writers and mends it again.
type fault struct {
	name   string
	strike func(t *testing.T, w *writers)
}

// TestServe_faultsUnderLoad does to a server on SQLite what happens to servers.
// It shows nothing about fsync: what a killed process has written, the system
// still has.
func TestServe_faultsUnderLoad(t *testing.T) {
	t.Parallel()
	server := harness.Start(t, harness.Options{Store: harness.SQLite})
	random := harness.Random(harness.Seed(t), "faults")
	client := func(int) *harness.Client { return server.Client("") }
	node := func() *harness.Server { return server }
	faultRounds(t, random, client, []fault{killed(node, random), frozen(node), drained(node)})
	server.Kill()
	wantIntegrity(t, server.SQLiteFile())
}

// TestCluster_faultsUnderLoad does the same to one of three nodes, and also to
// their database.
func TestCluster_faultsUnderLoad(t *testing.T) {
	t.Parallel()
	database := pgtest.Start(t, harness.DefaultBroker().DatabaseSettings()...)
	cluster := harness.StartCluster(t, harness.ClusterOptions{Node: harness.Options{DatabaseURL: database.URL(t)}})
	random := harness.Random(harness.Seed(t), "faults")
	node := func() *harness.Server { return cluster.Node(random.IntN(cluster.Len())) }
	faultRounds(t, random, spread(cluster), []fault{
		killed(node, random), frozen(node), drained(node), crashed(database), cutOff(cluster.DatabaseURL()),
	})
}

// faultRounds goes through the faults, each with new writers.
func faultRounds(t *testing.T, random *rand.Rand, client func(int) *harness.Client, faults []fault) {
	t.Helper()
	for round := range harness.Size(1, 100) {
		random.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
		for i, fault := range faults {
			faultRound(t, random, client, fault, fmt.Sprintf("round-%d-%d", round, i))
			t.Logf("round %d: %s", round, fault.name)
		}
	}
}

// faultRound has writers that do what clients do, and followers of all they
// write. After the fault every acknowledged edit must be there once, at its
// version, and have been shown to every follower.
func faultRound(t *testing.T, random *rand.Rand, client func(int) *harness.Client, fault fault, name string) {
	t.Helper()
	const writing, spaces = 9, 3
	w := startWriters(t, writing, func(i int) *counter {
		return &counter{client: client(i), name: fmt.Sprintf("w%d", i), space: fmt.Sprintf("%s-space-%d", name, i%spaces)}
	})
	ended := make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), killTimeout)
	defer cancel()
	following, ctx := errgroup.WithContext(ctx)
	for i := range 2 * spaces {
		space := fmt.Sprintf("%s-space-%d", name, i%spaces)
		f := newFollower(client(i), space, rand.New(rand.NewPCG(random.Uint64(), 0)))
		following.Go(func() error { return f.follow(ctx, ended, w.seen[space]) })
	}
	w.await(t, 1+random.IntN(60))
	fault.strike(t, w)
	w.await(t, 20)
	w.end(t)
	close(ended)
	if err := following.Wait(); err != nil {
		t.Fatalf("%s: %v", fault.name, err)
	}
}

// killed: others work on while it is away, if there are others.
func killed(node func() *harness.Server, random *rand.Rand) fault {
	return fault{"SIGKILL, twice", func(t *testing.T, w *writers) {
		t.Helper()
		server := node()
		server.Kill()
		server.Restart()
		w.await(t, 1+random.IntN(30))
		server.Kill()
		server.Restart()
	}}
}

// frozen: its clients wait, its locks are held until the database takes them away.
func frozen(node func() *harness.Server) fault {
	return fault{"SIGSTOP and SIGCONT", func(_ *testing.T, w *writers) {
		server := node()
		server.Pause()
		select {
		case <-time.After(harness.Size(4*time.Second, 20*time.Second)):
		case <-w.done:
		}
		server.Resume()
	}}
}

// drained: Stop also expects the exit status 0, so no request was cut off.
func drained(node func() *harness.Server) fault {
	return fault{"SIGTERM", func(*testing.T, *writers) {
		server := node()
		server.Stop()
		server.Restart()
	}}
}

// crashed: the database recovers from its log, and the nodes find it again.
func crashed(database *pgtest.Server) fault {
	return fault{"pg_ctl stop -m immediate", func(t *testing.T, _ *writers) {
		t.Helper()
		if err := errors.Join(database.StopImmediate(), database.Start()); err != nil {
			t.Fatal(err)
		}
	}}
}

// cutOff: every connection to the database ends, some in the middle of a push.
func cutOff(databaseURL string) fault {
	return fault{"pg_terminate_backend of everybody", func(t *testing.T, w *writers) {
		t.Helper()
		for range 3 {
			terminate(t, databaseURL)
			w.await(t, 10)
		}
	}}
}

func terminate(t *testing.T, databaseURL string) {
	t.Helper()
	err := execute(t.Context(), databaseURL, `
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	if err != nil {
		t.Fatal(err)
	}
}

// execute runs a statement on the database, beside the nodes.
func execute(ctx context.Context, databaseURL, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	conn, err := dial(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

func dial(ctx context.Context, databaseURL string) (*pgx.Conn, error) {
	config, err := pgxpool.ParseConfig(databaseURL) // takes pool_max_conns out
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, config.ConnConfig)
}
