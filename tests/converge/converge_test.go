package converge_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/tests/converge"
	"github.com/tidemark/tidemark/tests/converge/crowd"
	"github.com/tidemark/tidemark/tests/harness"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// EnvClients and EnvSeconds name the variables that say how many clients edit, and
// for how long.
const (
	EnvClients = "TIDEMARK_TEST_CLIENTS"
	EnvSeconds = "TIDEMARK_TEST_SECONDS"
)

// convergeIn is how long it may take until all hold the same, once the network is
// healed and nobody edits.
const convergeIn = 30 * time.Second

// TestConverge lets optimistic clients edit one space over a bad network, while nodes
// are killed. Then the network heals, the users stop, and all must come to hold the
// same. What each was told is judged.
func TestConverge(t *testing.T) {
	t.Parallel()
	seed := harness.Seed(t)
	harness.Each(t, func(t *testing.T, store harness.Store) {
		tally := harness.Count(t, "T2", seed)
		random := harness.Random(seed, "world "+string(store))
		w := &world{
			t: t, seed: seed, store: store, tally: tally, random: random,
			clients: size(t, EnvClients, harness.Size(8, 50)),
			length:  time.Duration(size(t, EnvSeconds, harness.Size(5, 300))) * time.Second,
		}
		w.start()
		w.run()
	})
}

// TestConverge_moved moves the database from SQLite to PostgreSQL and back while
// clients edit: the server is stopped or killed, its database copied, and started on the
// copy. Edits wait or are under way by then, some of them without an answer for ever.
// Nobody hears of it but by what the servers answer.
func TestConverge_moved(t *testing.T) {
	t.Parallel()
	seed := harness.Seed(t)
	w := &world{
		t: t, seed: seed, store: "moved", tally: harness.Count(t, "T2", seed), random: harness.Random(seed, "moved world"),
		clients: size(t, EnvClients, harness.Size(8, 50)),
		length:  time.Duration(size(t, EnvSeconds, harness.Size(6, 300))) * time.Second,
	}
	homes := []string{pgtest.URL(t), "sqlite:" + filepath.Join(t.TempDir(), "tidemark.db")} // gone after the server's end
	server := harness.Start(t, harness.Options{Store: harness.SQLite, Secret: harness.Secret})
	w.client = server.Client
	w.trouble = func(ctx context.Context) {
		for i, home := range homes {
			_ = crowd.Wait(ctx, w.length/time.Duration(len(homes)+1)) // its end ends the run
			if w.random.IntN(2) == 0 {
				server.Stop()
			} else {
				server.Kill()
				w.kills++
			}
			if stdout, stderr, err := server.Run(ctx, "copy", "--from", server.DatabaseURL(), "--to", home); err != nil {
				t.Errorf("move %d: %v\n%s%s", i, err, stdout, stderr)
			}
			server.Use(home)
			server.Restart() //nolint:contextcheck // it bounds its own start
		}
		_ = crowd.Wait(ctx, w.length/time.Duration(len(homes)+1))
	}
	w.run()
}

func size(t *testing.T, name string, otherwise int) int {
	t.Helper()
	given := os.Getenv(name)
	if given == "" {
		return otherwise
	}
	n, err := strconv.Atoi(given)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a number above 0", name, given)
	}
	return n
}

// world is one run on one store.
type world struct {
	t       *testing.T
	seed    uint64
	store   harness.Store
	random  *rand.Rand
	tally   *harness.Tally
	clients int
	length  time.Duration

	trouble func(context.Context) // lasts as long as users edit
	client  func(token string) *harness.Client
	node    func() *harness.Server // any of them
	stage   crowd.Stage
	healed  atomic.Bool
	network []*network
	kills   int64
}

// start starts one server on SQLite, or three nodes on one PostgreSQL behind a
// round-robin, with a broker or, one time in four, with none, so that all pokes
// are lost.
func (w *world) start() {
	w.t.Helper()
	w.trouble = w.disturb
	options := harness.Options{Store: w.store, Secret: harness.Secret}
	if w.store == harness.SQLite {
		server := harness.Start(w.t, options)
		w.client, w.node = server.Client, func() *harness.Server { return server }
		return
	}
	broker := []harness.Broker{harness.BrokerNone, harness.BrokerNATS, harness.DefaultBroker(), harness.DefaultBroker()}[w.random.IntN(4)]
	w.t.Logf("broker %s", broker)
	cluster := harness.StartCluster(w.t, harness.ClusterOptions{Node: options, Broker: broker})
	w.client = cluster.Client
	w.node = func() *harness.Server { return cluster.Node(w.random.IntN(cluster.Len())) }
}

// connect returns a client of a subject of its own.
func (w *world) connect(name string) *harness.Client {
	return w.client(harness.Token(harness.Claims{"sub": name, "spaces": harness.Claims{crowd.Space: "rw"}}))
}

func (w *world) run() {
	w.t.Helper()
	if _, err := w.connect("setup").Push(w.t.Context(), crowd.Space, crowd.Setup()); err != nil {
		w.t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "tidemark-history-")
	if err != nil {
		w.t.Fatal(err)
	}
	file := filepath.Join(dir, fmt.Sprintf("converge-%s-%d.jsonl", w.store, w.seed))
	record, err := converge.Record(file)
	if err != nil {
		w.t.Fatal(err)
	}
	record.Add(converge.Event{Kind: converge.KindRun, Seed: w.seed, Store: string(w.store)})
	err = w.play(record)
	if closed := record.Close(); err == nil {
		err = closed
	}
	if err != nil {
		w.t.Errorf("%v; the history is in %s", err, file)
		return
	}
	w.judge(file)
	if !w.t.Failed() {
		os.RemoveAll(dir)
	}
}

// play runs the clients to their end.
func (w *world) play(record *converge.Recorder) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), w.length+convergeIn+time.Minute)
	defer cancel()
	w.stage.Think = time.Duration(w.clients) * 4 * time.Millisecond // so that a machine can follow
	ending, end := context.WithCancel(ctx)
	defer end()
	running, living := errgroup.WithContext(ending)
	for i := range w.clients {
		name := fmt.Sprint("c", i)
		client := w.connect(name)
		bad := &network{next: client.HTTP.Transport, client: ctx, healed: &w.healed, random: harness.Random(w.seed, "network of "+name)}
		client.HTTP.Transport = bad
		w.network = append(w.network, bad)
		c := crowd.New(name, i, client, harness.Random(w.seed, name), record, &w.stage)
		running.Go(func() error { return c.Run(living) })
	}
	w.trouble(living)
	w.healed.Store(true)
	w.stage.Stop()
	for _, n := range w.network {
		n.settle()
	}
	deadline := time.AfterFunc(convergeIn, end)
	defer deadline.Stop()
	w.stage.Witness(living, w.clients, w.connect(converge.Witness), harness.Random(w.seed, converge.Witness), record)
	err := running.Wait()
	w.stage.Close()
	return err
}

// disturb lasts as long as users edit, and kills or freezes a node now and then.
func (w *world) disturb(ctx context.Context) {
	over := time.NewTimer(w.length)
	defer over.Stop()
	for {
		next := time.NewTimer(min(w.length/3, 20*time.Second))
		select {
		case <-next.C:
		case <-over.C:
			next.Stop()
			return
		case <-ctx.Done():
			next.Stop()
			return
		}
		node := w.node()
		if w.random.IntN(3) > 0 {
			node.Kill()
			w.kills++
			node.Restart() //nolint:contextcheck // it bounds its own start
			continue
		}
		node.Pause()
		_ = crowd.Wait(ctx, time.Duration(w.random.IntN(2000))*time.Millisecond) // its end ends the run
		node.Resume()
		w.tally.Add(harness.Figures{Faults: 1})
	}
}

// judge reads the history and reports.
func (w *world) judge(file string) {
	w.t.Helper()
	verdict, err := converge.Judge(file)
	if err != nil {
		w.t.Fatalf("%v in the history %s", err, file)
	}
	faults := int64(0)
	for _, n := range w.network {
		faults += n.faults.Load()
	}
	w.tally.Add(harness.Figures{
		Operations: int64(verdict.Met["answer"] + verdict.Met["page"]), Faults: faults, Kills: w.kills,
		Lost: int64(verdict.Lost), Doubled: int64(verdict.Doubled), Diverged: int64(verdict.Diverged),
		Stuck: int64(verdict.Stuck), Gaps: int64(verdict.Gaps), ServerErrors: int64(verdict.ServerErrors),
	})
	w.t.Logf("%d faults, %d kills; met %v", faults, w.kills, verdict.Met)
	if verdict.Bad() > 0 {
		w.t.Errorf("%d lost, %d doubled, %d diverged, %d stuck, %d gaps, %d server errors; the history is in %s:\n%s", verdict.Lost, verdict.Doubled,
			verdict.Diverged, verdict.Stuck, verdict.Gaps, verdict.ServerErrors, file, strings.Join(verdict.Findings, "\n"))
	}
	for _, what := range mustMeet {
		if verdict.Met[what] == 0 {
			w.t.Errorf("%q was never met: the history proves little", what)
		}
	}
}

// mustMeet is what no run is without.
var mustMeet = []string{"applied", "conflict", "skipped", "merged", "replayed", "page by push", "page by pull", "page by stream", "expired filter"}
