package deploy_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/harness"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// rollTimeout bounds each wait of a roll.
const rollTimeout = time.Minute

// steadily asks at url from several clients at a time until the test ends, and returns
// how many were answered. What is not answered with 200 fails the test.
func steadily(t *testing.T, url string) *atomic.Int64 {
	t.Helper()
	ctx := t.Context() // at whose end nginx is ended, too
	var asking sync.WaitGroup
	var answered atomic.Int64
	for range 4 {
		asking.Go(func() {
			client := harness.NewClient(func() string { return url }, "")
			pace := time.NewTicker(2 * time.Millisecond) // this machine is for others, too
			defer pace.Stop()
			for ; ctx.Err() == nil; <-pace.C {
				answer, err := client.Do(ctx, http.MethodGet, "/v1/spaces/home/changes", nil, nil)
				switch {
				case ctx.Err() != nil:
				case err != nil:
					t.Errorf("after %d answers: %v", answered.Load(), err)
					return
				case answer.Status != http.StatusOK:
					t.Errorf("after %d answers: %d %s", answered.Load(), answer.Status, answer.Body)
					return
				default:
					answered.Add(1)
				}
			}
		})
	}
	t.Cleanup(asking.Wait)
	return &answered
}

var pulled = regexp.MustCompile(`(?m)^tidemark_requests_total\{method="GET",route="/v1/spaces/\{space\}/changes",status="2xx"\} (\d+)`)

// pulls is how many pulls a node has answered since its start.
func pulls(t *testing.T, node *harness.Server) int {
	t.Helper()
	answer, err := node.Client("").Do(t.Context(), http.MethodGet, "/metrics", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	found := pulled.FindSubmatch(answer.Body)
	if found == nil {
		t.Fatalf("/metrics does not count pulls:\n%s", answer.Body)
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestNginx_roll does what "Upgrade" says, behind nginx as it is set in local.conf: a node
// is replaced, and the next one only when nginx sends requests to the first again. No
// request meets a moment without a node (502).
func TestNginx_roll(t *testing.T) {
	t.Parallel()
	at := freeAddresses(t, 4)
	database := pgtest.URL(t)
	nodes := make([]*harness.Server, 2)
	for i := range nodes {
		// The same address after a restart, because nginx's file names it.
		nodes[i] = harness.New(t, harness.Options{DatabaseURL: database, Args: []string{"--listen", at[2+i], "--log-level", "warn"}})
		nodes[i].Restart()
	}
	startNginx(t, asItIs, at[0], at[1], at[2], at[3])
	answered := steadily(t, "http://"+at[0])
	takesPart := func(node *harness.Server) {
		t.Helper()
		before := pulls(t, node)
		harness.Until(t, rollTimeout, fmt.Sprintf("nginx sends requests to %s", node.URL()), func() bool {
			return t.Failed() || pulls(t, node) > before
		})
	}
	for _, node := range nodes {
		takesPart(node)
	}
	for range 2 { // each node is once the first, and once the second
		for _, node := range nodes {
			node.Stop()
			gone := answered.Load()
			harness.Until(t, rollTimeout, "the other node answers", func() bool { return t.Failed() || answered.Load() > gone+100 })
			node.Restart() // waits until it is ready
			takesPart(node)
		}
	}
}
