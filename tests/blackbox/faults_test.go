package blackbox_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	crash "github.com/tidemark/tidemark/syncer/fault" // fault is a word of these tests
	"github.com/tidemark/tidemark/tests/dbproxy"
	"github.com/tidemark/tidemark/tests/harness"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// fault breaks something under writers and mends it again.
type fault struct {
	name   string
	counts harness.Figures // what it adds to what was done
	strike func(t *testing.T, w *writers)
}

var (
	// aFault is one of the network or of the database, or a node that stands still.
	aFault = harness.Figures{Faults: 1}
	aKill  = harness.Figures{Kills: 1}
)

// TestServe_faultsUnderLoad does to a server on SQLite what happens to servers.
// It shows nothing about fsync: what a killed process has written, the system
// still has.
func TestServe_faultsUnderLoad(t *testing.T) {
	t.Parallel()
	seed := harness.Seed(t)
	tally := harness.Count(t, "T6", seed)
	server := harness.Start(t, harness.Options{Store: harness.SQLite, Crashing: harness.Size(false, true)})
	random := harness.Random(seed, "faults")
	client := func(int) *harness.Client { return server.Client("") }
	node := func() *harness.Server { return server }
	faults := []fault{killed(node, random), frozen(node, random), drained(node)}
	faultRounds(t, random, tally, client, append(faults, crashes(node, random, harness.SQLite)...))
	server.Kill()
	wantIntegrity(t, server.SQLiteFile())
}

// TestCluster_faultsUnderLoad does the same to one of three nodes, and also to
// their database.
func TestCluster_faultsUnderLoad(t *testing.T) {
	t.Parallel()
	seed := harness.Seed(t)
	tally := harness.Count(t, "T6", seed)
	database := pgtest.Start(t, harness.DefaultBroker().DatabaseSettings()...)
	cluster := harness.StartCluster(t, harness.ClusterOptions{
		Node: harness.Options{DatabaseURL: database.URL(t), Crashing: harness.Size(false, true)},
	})
	random := harness.Random(seed, "faults")
	node := func() *harness.Server { return cluster.Node(random.IntN(cluster.Len())) }
	faults := []fault{
		killed(node, random), frozen(node, random), drained(node), crashed(database), cutOff(cluster.DatabaseURL()),
	}
	faultRounds(t, random, tally, spread(cluster), append(faults, crashes(node, random, harness.Postgres)...))
}

// TestNetwork_faultsUnderLoad does what happens to the network between a node and its
// database.
func TestNetwork_faultsUnderLoad(t *testing.T) {
	t.Parallel()
	seed := harness.Seed(t)
	tally := harness.Count(t, "T7", seed)
	server, network := behindNetwork(t)
	client := func(int) *harness.Client { return server.Client("") }
	random := harness.Random(seed, "network")
	faults := weather(network, random)
	random.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	// Some of them: each is met by a test of its own, too.
	faultRounds(t, random, tally, client, faults[:harness.Size(3, len(faults))])
}

// faultRounds goes through the faults, each with new writers.
func faultRounds(t *testing.T, random *rand.Rand, tally *harness.Tally, client func(int) *harness.Client, faults []fault) {
	t.Helper()
	for round := range harness.Rounds(t, 1, 100) {
		random.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
		for i, fault := range faults {
			faultRound(t, random, tally, client, fault, fmt.Sprintf("round-%d-%d", round, i))
			t.Logf("round %d: %s", round, fault.name)
		}
	}
}

// faultRound has writers that do what clients do, and followers of all they
// write. After the fault every acknowledged edit must be there once, at its
// version, and have been shown to every follower; all followers hold the same.
func faultRound(t *testing.T, random *rand.Rand, tally *harness.Tally, client func(int) *harness.Client, fault fault, name string) {
	t.Helper()
	const writing, spaces = 9, 3
	w := startWriters(t, writing, func(i int) *counter {
		return &counter{client: client(i), name: fmt.Sprintf("w%d", i), space: fmt.Sprintf("%s-space-%d", name, i%spaces)}
	})
	w.tally = tally
	ended := make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), killTimeout)
	defer cancel()
	following, ctx := errgroup.WithContext(ctx)
	var followers []*follower
	for i := range 2 * spaces {
		space := fmt.Sprintf("%s-space-%d", name, i%spaces)
		f := newFollower(client(i), space, rand.New(rand.NewPCG(random.Uint64(), 0)))
		followers = append(followers, f)
		following.Go(func() error { return f.follow(ctx, ended, w.seen[space]) })
	}
	w.await(t, 1+random.IntN(60))
	tally.Add(fault.counts)
	fault.strike(t, w)
	w.await(t, 20)
	w.end(t)
	close(ended)
	switch err := following.Wait(); {
	case errors.Is(err, context.DeadlineExceeded):
		tally.Add(harness.Figures{Stuck: 1})
		t.Fatalf("%s: %v", fault.name, err)
	case err != nil:
		tally.Add(harness.Figures{Gaps: 1})
		t.Fatalf("%s: %v", fault.name, err)
	}
	for _, f := range followers {
		if diff := f.differs(t, w.seen[f.space].newest()); diff != "" {
			tally.Add(harness.Figures{Diverged: 1})
			t.Errorf("%s: a follower of %s holds something else than is there (-there +held):\n%s", fault.name, f.space, diff)
		}
	}
}

// differs compares what a follower holds with what the space holds for who has just come.
func (f *follower) differs(t *testing.T, version int64) string {
	t.Helper()
	held, there := map[string]int64{}, map[string]int64{}
	for id, change := range f.at {
		if !change.Deleted {
			held[id] = change.Version
		}
	}
	for id, change := range pullAll(t, f.client, f.space, version) {
		there[id] = change.Version
	}
	return cmp.Diff(there, held)
}

// killed: others work on while it is away, if there are others.
func killed(node func() *harness.Server, random *rand.Rand) fault {
	return fault{"SIGKILL, twice", harness.Figures{Kills: 2}, func(t *testing.T, w *writers) {
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
func frozen(node func() *harness.Server, random *rand.Rand) fault {
	return fault{"SIGSTOP and SIGCONT", aFault, func(_ *testing.T, w *writers) {
		server := node()
		server.Pause()
		w.pass(harness.Size(4*time.Second, time.Duration(1+random.IntN(20))*time.Second))
		server.Resume()
	}}
}

// pass lets time pass, unless the writers end before.
func (w *writers) pass(d time.Duration) {
	select {
	case <-time.After(d):
	case <-w.done:
	}
}

// drained: Stop also expects the exit status 0, so no request was cut off.
func drained(node func() *harness.Server) fault {
	return fault{"SIGTERM", harness.Figures{}, func(*testing.T, *writers) {
		server := node()
		server.Stop()
		server.Restart()
	}}
}

// crashed: the database recovers from its log, and the nodes find it again.
func crashed(database *pgtest.Server) fault {
	return fault{"pg_ctl stop -m immediate", aKill, func(t *testing.T, _ *writers) {
		t.Helper()
		if err := errors.Join(database.StopImmediate(), database.Start()); err != nil {
			t.Fatal(err)
		}
	}}
}

// cutOff: every connection to the database ends, some in the middle of a push.
func cutOff(databaseURL string) fault {
	return fault{"pg_terminate_backend of everybody", harness.Figures{Faults: 3}, func(t *testing.T, w *writers) {
		t.Helper()
		for range 3 {
			terminate(t, databaseURL)
			w.await(t, 10)
		}
	}}
}

// crashes are crashes at the points of package fault, of which a soak meets all.
func crashes(node func() *harness.Server, random *rand.Rand, store harness.Store) (faults []fault) {
	if harness.Size(true, false) {
		return nil // tests/crash meets each of them once
	}
	for _, point := range []string{
		crash.PushParsed, crash.PushLocked, crash.PushDocumentsWritten, crash.PushClientsWritten, crash.PushBeforeCommit,
		crash.PushFlushed, crash.PushCommitted, crash.PushBeforePoke, crash.PushAnswered,
	} {
		between := point == crash.PushDocumentsWritten || point == crash.PushClientsWritten
		if between && store == harness.Postgres || point == crash.PushFlushed && store == harness.SQLite {
			continue
		}
		faults = append(faults, fault{"a crash at " + point, harness.Figures{Kills: 2}, func(t *testing.T, _ *writers) {
			t.Helper()
			server := node()
			server.Kill()
			server.Arm(point, 1+random.IntN(20))
			server.RestartToCrash()
			server.Restart()
		}})
	}
	return faults
}

// weather is what the network does, each for a while.
func weather(network *dbproxy.Proxy, random *rand.Rand) []fault {
	// A moment is shorter than any timeout, or longer than most.
	moment := func() time.Duration {
		return harness.Size(time.Second, time.Duration(random.IntN(8_000))*time.Millisecond)
	}
	return []fault{
		{"latency", aFault, func(t *testing.T, w *writers) {
			t.Helper()
			network.Delay(time.Duration(1+random.IntN(50)) * time.Millisecond)
			w.await(t, 20)
			network.Calm()
		}},
		{"resets", harness.Figures{Faults: 5}, func(t *testing.T, w *writers) {
			t.Helper()
			for range 5 {
				network.End(dbproxy.Reset)
				w.await(t, 5)
			}
		}},
		{"cuts in the middle", harness.Figures{Faults: 5}, func(t *testing.T, w *writers) {
			t.Helper()
			for range 5 {
				way := []dbproxy.Direction{dbproxy.ToDatabase, dbproxy.FromDatabase}[random.IntN(2)]
				<-network.CutAfter(way, random.IntN(4_000))
				w.await(t, 5)
			}
		}},
		{"half-open", aFault, func(_ *testing.T, w *writers) {
			network.Hold()
			w.pass(moment())
			network.Release()
		}},
		{"forgotten", aFault, func(*testing.T, *writers) { network.End(dbproxy.Silent) }},
		{"half-open, then forgotten", aFault, func(_ *testing.T, w *writers) {
			network.Hold()
			w.pass(moment())
			network.End(dbproxy.Silent)
			network.Release()
		}},
		{"away", aFault, func(_ *testing.T, w *writers) {
			network.Leave()
			w.pass(harness.Size(time.Second, 30*time.Second))
			network.Return()
		}},
		{"answers to COMMIT lost", harness.Figures{Faults: 3}, func(t *testing.T, w *writers) {
			t.Helper()
			for range 3 {
				<-network.OnCommit(dbproxy.Reset)
				w.await(t, 5)
			}
		}},
		{"an answer to COMMIT that never comes", aFault, func(*testing.T, *writers) { <-network.OnCommit(dbproxy.Silent) }},
	}
}

func terminate(t *testing.T, databaseURL string) {
	t.Helper()
	err := harness.Execute(t.Context(), databaseURL, `
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	if err != nil {
		t.Fatal(err)
	}
}

func dial(ctx context.Context, databaseURL string) (*pgx.Conn, error) {
	config, err := pgxpool.ParseConfig(databaseURL) // takes pool_max_conns out
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, config.ConnConfig)
}
