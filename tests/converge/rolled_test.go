package converge_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/converge/crowd"
	"github.com/tidemark/tidemark/tests/harness"
)

// Of the later release: expand only, as a release's migrations must be.
const (
	expand   = `ALTER TABLE documents ADD COLUMN rolled text; CREATE TABLE rolled (id bigint PRIMARY KEY)`
	contract = `DROP TABLE rolled; ALTER TABLE documents DROP COLUMN rolled`
)

// TestConverge_rolled replaces the nodes by those of another release, one after
// another, then goes back, and forward again, while clients edit over a bad network.
// Nodes of both releases are at work at the same time, the old ones also on the new
// schema. No edit may be lost or doubled, and all must come to hold the same; a client
// may be told to try again, and that is all it may notice.
//
// As long as there is no release, the old one is this tree, and the later one is this
// tree with one more migration. With TIDEMARK_BIN the old one is that binary.
func TestConverge_rolled(t *testing.T) {
	t.Parallel()
	seed := harness.Seed(t)
	later := harness.Release(t, "later", expand, contract)
	cluster := harness.StartCluster(t, harness.ClusterOptions{Node: harness.Options{Secret: harness.Secret}})
	w := &world{
		t: t, seed: seed, store: harness.Postgres, tally: harness.Count(t, "T2", seed), random: harness.Random(seed, "rolled"),
		clients: harness.Size(8, 50), length: 5 * time.Minute, // the roll says when it is over
		client: cluster.Client,
	}
	old := cluster.Node(0).Binary()
	w.trouble = func(ctx context.Context) {
		before := wantNewer(ctx, t, cluster, false)
		w.roll(ctx, cluster, later)
		if after := wantNewer(ctx, t, cluster, true); after == before {
			t.Errorf("both releases call themselves %s", after)
		}
		w.roll(ctx, cluster, old)
		wantNewer(ctx, t, cluster, true) // going back leaves the schema
		w.roll(ctx, cluster, later)
	}
	w.run()
}

// roll replaces all nodes, each after edits have come through since the last one was.
func (w *world) roll(ctx context.Context, cluster *harness.Cluster, binary string) {
	w.t.Helper()
	for i := range cluster.Len() {
		node := cluster.Node(i)
		node.Stop() // expects the exit code 0, so no request was cut off
		node.Deploy(binary)
		w.awaitEdits(ctx, cluster.Node(i+1)) // others carry on
		node.Restart()                       //nolint:contextcheck // it bounds its own start
		w.awaitEdits(ctx, node)
	}
}

// awaitEdits waits until a node has seen the space move twice.
func (w *world) awaitEdits(ctx context.Context, node *harness.Server) {
	w.t.Helper()
	client := node.Client(harness.Token(harness.Claims{"sub": "observer", "spaces": harness.Claims{crowd.Space: "r"}}))
	for at, moves := int64(0), -1; moves < 2; {
		heads, err := client.Heads(ctx, 0, crowd.Space)
		if err != nil {
			w.t.Errorf("a node that is up does not answer: %v", err)
			return
		}
		if heads[0] != at {
			at, moves = heads[0], moves+1
		}
		if crowd.Wait(ctx, 10*time.Millisecond) != nil {
			return // the clients have failed, and say why
		}
	}
}

// wantNewer says whether the database has the later schema, and returns the version
// that all nodes say they have.
func wantNewer(ctx context.Context, t *testing.T, cluster *harness.Cluster, newer bool) (version string) {
	t.Helper()
	err := harness.Execute(ctx, cluster.DatabaseURL(), "SELECT rolled FROM documents LIMIT 0")
	if (err == nil) != newer {
		t.Errorf("the later schema: %v", err)
	}
	for i := range cluster.Len() {
		var config struct {
			Versions struct{ Server string }
		}
		answer, err := cluster.Node(i).Client("").Do(ctx, http.MethodGet, "/v1/config", nil, nil)
		if err == nil {
			err = answer.Decode(&config)
		}
		if err != nil {
			t.Fatal(err)
		}
		if is := config.Versions.Server; version != "" && is != version {
			t.Errorf("nodes have the versions %s and %s", version, is)
		}
		version = config.Versions.Server
	}
	return version
}
