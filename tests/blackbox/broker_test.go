package blackbox_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark/tidemark/tests/harness"
	"github.com/tidemark/tidemark/tests/natstest"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// TestFeed_brokerComesAndGoes runs the feed race while the broker is taken away
// and given back. What was poked meanwhile is lost; no change is.
func TestFeed_brokerComesAndGoes(t *testing.T) {
	t.Parallel()
	seed := harness.Seed(t)
	for kind, link := range map[string]func(t *testing.T, database string) (broker harness.Broker, breakIt func(context.Context) error){
		"postgres": postgresLink,
		"nats":     natsLink,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			database := harness.WithSetting(t, pgtest.URL(t), "pool_max_conns", "8")
			broker, breakIt := link(t, database)
			cluster := harness.StartCluster(t, harness.ClusterOptions{
				Broker: broker, Node: harness.Options{DatabaseURL: database},
			})
			race := feedRace{writers: 16, followers: 6, pushes: harness.Size(12, 400)}
			race.disturb = func(ctx context.Context) error { return repeatedly(ctx, breakIt) }
			raceFeed(t, seed, race, spread(cluster))
		})
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

// postgresLink is broken by ending the connections on which the nodes listen and
// notify.
func postgresLink(_ *testing.T, database string) (harness.Broker, func(context.Context) error) {
	return harness.BrokerPostgres, func(ctx context.Context) error {
		return onDatabase(ctx, database, func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, `
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'tidemark-broker'`)
			return err
		})
	}
}

// natsLink is broken by ending the server. It stays away for as long as the next
// turn takes to come.
func natsLink(t *testing.T, _ string) (harness.Broker, func(context.Context) error) {
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
