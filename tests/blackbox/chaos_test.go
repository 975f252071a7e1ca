package blackbox_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/memory"
	"github.com/tidemark/tidemark/syncer/store"
	"github.com/tidemark/tidemark/tests/harness"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// TestFeed_whateverTheBrokerDoes runs the feed race on two nodes whose broker
// doubles, delays, shuffles or invents messages. Pokes carry no data, so all that
// may suffer is how soon a follower hears of a change.
//
// No real broker does this on request, so here the nodes are in this process.
// That every message is lost is tested on three real ones.
func TestFeed_whateverTheBrokerDoes(t *testing.T) {
	t.Parallel()
	seed := harness.Seed(t)
	tally := harness.Count(t, "T8", seed)
	for name, fate := range map[string]fateOfMessages{
		"doubled, late and out of order": late(),
		"lost, of other spaces and versions": func(r *rand.Rand, m syncer.Message) []syncer.Message {
			other := m
			other.Space, other.Version = []string{"", "elsewhere", m.Space}[r.IntN(3)], r.Int64N(2*m.Version+1)
			return []syncer.Message{other}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := harness.WithSetting(t, pgtest.URL(t), "pool_max_conns", "8")
			broker := &chaos{Broker: memory.New(), fate: fate, random: harness.Random(seed, name), tally: tally}
			nodes := []func() string{startNode(t, database, broker), startNode(t, database, broker)}
			raceFeed(t, seed, feedRace{inbox: openSQL(t, database), tally: tally}, func(i int) *harness.Client {
				client := harness.NewClient(nodes[i%2], "")
				t.Cleanup(client.HTTP.CloseIdleConnections)
				return client
			})
		})
	}
}

// fateOfMessages says what arrives when m is published.
type fateOfMessages func(r *rand.Rand, m syncer.Message) []syncer.Message

// late keeps messages back and lets any two of them go, old ones among newer,
// and the same one twice.
func late() fateOfMessages {
	var kept []syncer.Message
	return func(r *rand.Rand, m syncer.Message) []syncer.Message {
		kept = append(kept, m)
		if len(kept) < 10 {
			return nil
		}
		i := r.IntN(len(kept))
		out := kept[i]
		kept = slices.Delete(kept, i, i+1)
		return []syncer.Message{out, kept[r.IntN(len(kept))]}
	}
}

// chaos is a broker that has its own mind about messages.
type chaos struct {
	syncer.Broker

	mu     sync.Mutex
	fate   fateOfMessages
	random *rand.Rand
	tally  *harness.Tally
}

// Publish implements syncer.Broker. Some of the calls fail, which is allowed too.
func (c *chaos) Publish(ctx context.Context, m syncer.Message) error {
	c.tally.Add(harness.Figures{Faults: 1})
	c.mu.Lock()
	arriving := c.fate(c.random, m)
	failing := c.random.IntN(10) == 0
	c.mu.Unlock()
	for _, m := range arriving {
		if err := c.Broker.Publish(ctx, m); err != nil {
			return err
		}
	}
	if failing {
		return errors.New("the broker says no")
	}
	return nil
}

// startNode runs a node in this process and returns where it listens.
func startNode(t *testing.T, databaseURL string, broker syncer.Broker) func() string {
	t.Helper()
	migrator, err := store.OpenMigrator(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(migrator.Up(t.Context()), migrator.Close()); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	database, err := store.Open(t.Context(), databaseURL, store.Options{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	engine := syncer.New(database, broker, syncer.Options{Logger: log})
	server, err := api.New(api.Options{Engine: engine, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewUnstartedServer(nil)
	listener.Config, listener.Listener = server.HTTPServer(), api.Listener(listener.Listener)
	listener.Start()
	running, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(running) }()
	t.Cleanup(func() {
		engine.Drain()
		listener.Close()
		end()
		if err := errors.Join(<-ended, database.Close()); err != nil {
			t.Errorf("end a node: %v", err)
		}
	})
	return func() string { return listener.URL }
}
