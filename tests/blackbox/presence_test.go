package blackbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/harness"
)

// TestPresence_onAllNodes: who comes to one node is seen on the others, and so is
// who leaves, whatever broker carries it.
func TestPresence_onAllNodes(t *testing.T) {
	t.Parallel()
	for _, broker := range harness.Brokers {
		t.Run(string(broker), func(t *testing.T) {
			t.Parallel()
			cluster := harness.StartCluster(t, harness.ClusterOptions{Nodes: 2, Broker: broker})
			here, there := cluster.Node(0).Client(""), cluster.Node(1).Client("")
			enter(t, here, "a", `{"looks_at":"d1"}`)
			enter(t, there, "b", `{}`)
			// A heartbeat may be lost while a broker connects; the next one is not.
			awaitPresent(t, there, func() { enter(t, here, "a", `{"looks_at":"d1"}`) }, "a", "b")
			awaitPresent(t, here, func() { enter(t, there, "b", `{}`) }, "a", "b")
			if _, err := here.Do(t.Context(), http.MethodDelete, "/v1/spaces/room/presence/a", nil, nil); err != nil {
				t.Fatal(err)
			}
			awaitPresent(t, there, nil, "b")
		})
	}
}

func enter(t *testing.T, client *harness.Client, id, state string) {
	t.Helper()
	answer, err := client.Do(t.Context(), http.MethodPut, "/v1/spaces/room/presence/"+id,
		http.Header{"Content-Type": {"application/json"}}, []byte(`{"ttl_s":60,"state":`+state+`}`))
	if err != nil || answer.Status != http.StatusOK {
		t.Fatalf("%s enters: %d %s, %v", id, answer.Status, answer.Body, err)
	}
}

// awaitPresent asks until exactly these clients are present, and does again before
// each further time.
func awaitPresent(t *testing.T, client *harness.Client, again func(), want ...string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var got string
	for range 300 {
		answer, err := client.Do(t.Context(), http.MethodGet, "/v1/spaces/room/presence", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		var list struct {
			Present []struct {
				ClientID string `json:"client_id"`
			} `json:"present"`
		}
		if err := json.Unmarshal(answer.Body, &list); err != nil {
			t.Fatalf("%s: %v", answer.Body, err)
		}
		var ids []string
		for _, p := range list.Present {
			ids = append(ids, p.ClientID)
		}
		if slices.Sort(ids); slices.Equal(ids, want) {
			return
		}
		got = fmt.Sprint(ids)
		<-tick.C
		if again != nil {
			again()
		}
	}
	t.Fatalf("present are %s, want %v", got, want)
}
