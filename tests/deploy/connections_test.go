package deploy_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/syncer/store"
	"github.com/tidemark/tidemark/tests/harness"
)

const (
	// brokerConnections is what the broker postgres holds: one listens, one notifies.
	brokerConnections = 2
	// postgresConnections is what PostgreSQL gives out as it comes: max_connections is 100,
	// and superuser_reserved_connections keeps 3 of them.
	postgresConnections = 97
)

func number(t *testing.T, name, pattern string) int {
	t.Helper()
	n, err := strconv.Atoi(find(t, name, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestFiles_connections: a PostgreSQL as it comes has room for all pods that the example
// may have at a time, and the documentation does the same sum.
func TestFiles_connections(t *testing.T) {
	t.Parallel()
	pool := number(t, "deploy/k8s/example/tidemark.env.example", `[?&]pool_max_conns=(\d+)`)
	most := number(t, "deploy/k8s/base/horizontalpodautoscaler.yaml", `maxReplicas: (\d+)`)
	surge := number(t, "deploy/k8s/base/deployment.yaml", `maxSurge: (\d+)`)
	pods := most + surge + 1 // one that is ending is counted by nobody else
	sum := pods * (pool + brokerConnections)
	if sum > postgresConnections {
		t.Errorf("%d pods hold up to %d connections, and PostgreSQL gives out %d", pods, sum, postgresConnections)
	}
	byDefault := number(t, "syncer/store/postgres.go", `const connections = (\d+)`)
	for name, says := range map[string][]string{
		"deploy/k8s/base/horizontalpodautoscaler.yaml": {
			fmt.Sprintf("up to %d connections", byDefault+brokerConnections), fmt.Sprintf("gives out %d", postgresConnections),
			fmt.Sprintf("pool_max_conns=%d: %d each", pool, pool+brokerConnections),
		},
		"deploy/SCALE.md": {fmt.Sprintf("up to %d a node of the %d", byDefault+brokerConnections, postgresConnections)},
		"deploy/README.md": {
			fmt.Sprintf("up to %d connections", pool+brokerConnections), fmt.Sprintf("%d of its pool (`pool_max_conns=%d`; %d without it)", pool, pool, byDefault),
			fmt.Sprintf("%d of the %d connections", sum, postgresConnections), fmt.Sprintf("it would be %d", pods*(byDefault+brokerConnections)),
		},
	} {
		text := strings.Join(strings.Fields(strings.ReplaceAll(file(t, name), "#", "")), " ")
		for _, want := range says {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q", name, want)
			}
		}
	}
}

// TestConnections_ofBroker holds that sum against a node: so many connections are its
// broker's, and its pool heeds the URL.
func TestConnections_ofBroker(t *testing.T) {
	t.Parallel()
	pool := find(t, "deploy/k8s/example/tidemark.env.example", `[?&]pool_max_conns=(\d+)`)
	server := harness.New(t, harness.Options{Store: harness.Postgres, Secret: harness.Secret})
	url := server.DatabaseURL()
	separator := "?"
	if strings.Contains(url, "?") {
		separator = "&"
	}
	server.Use(url + separator + "pool_max_conns=" + pool)
	server.Restart()
	client := server.Client(harness.Token(harness.Claims{"sub": "alice", "spaces": harness.Claims{"home": "rw"}}))
	push := harness.Push{ClientID: "laptop", Edits: []harness.Edit{
		{EditID: "e1", Op: "put", Collection: "c", ID: "d1", BaseVersion: harness.At(0), Data: []byte(`{}`)},
	}}
	if _, err := client.Push(t.Context(), "home", push); err != nil {
		t.Fatal(err)
	}
	limit := fmt.Sprintf("tidemark_pool_limit{pool=\"postgres\"} %s\n", pool)
	shown, err := client.Do(t.Context(), http.MethodGet, "/metrics", nil, nil)
	if err != nil || !strings.Contains(string(shown.Body), limit) {
		t.Errorf("%v: /metrics does not say %s%s", err, limit, shown.Body)
	}
	db, err := store.OpenSQL(url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const held = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tidemark-broker'`
	harness.Until(t, time.Minute, "the broker has listened and notified", func() bool {
		var n int
		if err := db.QueryRowContext(t.Context(), held).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == brokerConnections
	})
}
