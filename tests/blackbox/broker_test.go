package blackbox_test

import (
	"context"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/harness"
	"github.com/tidemark/tidemark/tests/natstest"
	"github.com/tidemark/tidemark/tests/redistest"
)

// TestFeed_brokerComesAndGoes runs the feed race while the broker is taken away
// and given back. What was poked meanwhile is lost; no change is.
func TestFeed_brokerComesAndGoes(t *testing.T) {
	t.Parallel()
	seed := harness.Seed(t)
	tally := harness.Count(t, "T8", seed)
	for _, broker := range harness.Brokers {
		t.Run(string(broker), func(t *testing.T) {
			t.Parallel()
			database := harness.WithSetting(t, broker.Database(t), "pool_max_conns", "8")
			setting, breakIt := breakable(t, broker, database)
			cluster := harness.StartCluster(t, harness.ClusterOptions{
				Broker: setting, Node: harness.Options{DatabaseURL: database},
			})
			race := feedRace{writers: 16, followers: 6, pushes: harness.Size(12, 400), tally: tally}
			race.disturb = func(ctx context.Context) error {
				return repeatedly(ctx, func(ctx context.Context) error {
					tally.Add(harness.Figures{Faults: 1})
					return breakIt(ctx)
				})
			}
			raceFeed(t, seed, race, spread(cluster))
		})
	}
}

// breakable returns the broker and what breaks it, or mends it, one of them at
// each call.
func breakable(t *testing.T, broker harness.Broker, database string) (harness.Broker, func(context.Context) error) {
	t.Helper()
	switch broker {
	case harness.BrokerNATS:
		return breakableNATS(t)
	case harness.BrokerRedis:
		server := redistest.Start(t)
		return harness.Broker(server.URL()), server.Cut
	default:
		return broker, func(ctx context.Context) error { return cutBrokers(ctx, database) }
	}
}

// repeatedly breaks the broker now and then until ctx ends, at least once.
func repeatedly(ctx context.Context, breakIt func(context.Context) error) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := breakIt(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// cutBrokers ends the connections on which nodes listen, notify and replicate.
func cutBrokers(ctx context.Context, database string) error {
	return harness.Execute(ctx, database, `
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'tidemark-broker'`)
}

// breakableNATS is a server that is away every other turn.
func breakableNATS(t *testing.T) (harness.Broker, func(context.Context) error) {
	t.Helper()
	server := natstest.Start(t)
	away := false
	return harness.Broker(server.URL()), func(context.Context) error {
		away = !away
		if away {
			server.Stop()
			return nil
		}
		return server.Start()
	}
}
