package blackbox_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/tests/harness"
)

// TestSpaceDelete deletes a space under nodes that follow it: what was shown before is
// refused on each of them, streams end with reset, and so it stays when the name is used
// again; versions never go back, and the space beside it hears nothing.
func TestSpaceDelete(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		testSpaceDelete(t, []*harness.Server{harness.Start(t, harness.Options{Store: store})})
	})
}

// Nobody hears of anything: each node has to find it out.
func TestSpaceDelete_nodesOutOfTouch(t *testing.T) {
	t.Parallel()
	cluster := harness.StartCluster(t, harness.ClusterOptions{Broker: harness.BrokerNone})
	testSpaceDelete(t, []*harness.Server{cluster.Node(0), cluster.Node(1), cluster.Node(2)})
}

func testSpaceDelete(t *testing.T, nodes []*harness.Server) {
	writer := nodes[0].LooseClient("")
	const documents = 1203 // more than one transaction takes
	var last harness.PushAnswer
	for from := 0; from < documents; from += 200 {
		var edits []harness.Edit
		for i := from; i < min(from+200, documents); i++ {
			edits = append(edits, put(fmt.Sprint("e", i), fmt.Sprint("d", i), 0, `{}`))
		}
		last = mustPush(t, writer, "room", edits...)
	}
	beside := mustPush(t, writer, "beside", put("e", "d", 0, `{}`))
	_, cursor, err := writer.PullAll(t.Context(), "room", harness.Pull{MinVersion: last.Version})
	if err != nil {
		t.Fatal(err)
	}
	within, err := writer.Pull(t.Context(), "room", harness.Pull{Limit: 5})
	if err != nil {
		t.Fatal(err)
	}
	var streams []*harness.Stream
	for _, node := range nodes {
		stream, err := node.LooseClient("").Stream(t.Context(), fmt.Sprintf("/v1/spaces/room/stream?cursor=%s&min_version=%d", cursor, last.Version), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		streams = append(streams, stream)
	}

	command := nodes[0]
	if _, stderr, err := command.Run(t.Context(), "space", "delete", "room"); err == nil || !strings.Contains(stderr, "--yes") {
		t.Fatalf("it deletes without having asked: %v\n%s", err, stderr)
	}
	if _, stderr, err := command.Run(t.Context(), "space", "delete", "rom", "--yes"); err == nil || !strings.Contains(stderr, "there is no space rom") {
		t.Fatalf("a space that is not there: %v\n%s", err, stderr)
	}
	stdout, stderr, err := command.Run(t.Context(), "space", "delete", "room", "--yes")
	if want := fmt.Sprintf("room: %d documents and 1 clients deleted\n", documents); err != nil || stdout != want {
		t.Fatalf("space delete: %v, %q, want %q\n%s", err, stdout, want, stderr)
	}

	for _, stream := range streams {
		for {
			event, err := stream.Next()
			if err != nil {
				t.Fatalf("a stream ended without reset: %v", err)
			}
			if event.Name == "reset" {
				if !strings.Contains(event.Data, `"cause":"deleted"`) {
					t.Errorf("reset says %s", event.Data)
				}
				break
			}
		}
	}
	refused := func() {
		t.Helper()
		for i, node := range nodes {
			client := node.LooseClient("")
			for name, old := range map[string]string{"at the head": cursor, "within the snapshot": within.Cursor} {
				harness.Until(t, raceTimeout, fmt.Sprintf("node %d refuses the cursor %s", i, name), func() bool {
					_, err := client.Pull(t.Context(), "room", harness.Pull{Cursor: old})
					return causeOf(err) == "deleted"
				})
				_, err := client.Push(t.Context(), "room", harness.Push{ClientID: "c1", Edits: []harness.Edit{put("late", "late", 0, `{}`)}, Cursor: &old})
				if causeOf(err) != "deleted" {
					t.Errorf("node %d: a push with the cursor %s: %v", i, name, err)
				}
			}
			page, err := client.Pull(t.Context(), "beside", harness.Pull{})
			if err != nil || page.Version != beside.Version {
				t.Errorf("node %d: the space beside it is at %d, %v", i, page.Version, err)
			}
		}
	}
	refused()
	if left := pullAll(t, writer, "room", last.Version); len(left) > 0 {
		t.Errorf("%d documents are left", len(left))
	}

	// The name is used again, with edits of the same names.
	again := mustPush(t, writer, "room", put("e0", "d0", 0, `{"new":true}`))
	if again.Version <= last.Version || again.Results[0].Version == last.Version {
		t.Errorf("version %d after %d", again.Version, last.Version)
	}
	refused()
	for i, node := range nodes {
		found := pullAll(t, node.LooseClient(""), "room", again.Version)
		if len(found) != 1 || string(found["d0"].Data) != `{"new":true}` {
			t.Errorf("node %d shows %v", i, found)
		}
	}
	if log, stderr, err := command.Run(t.Context(), "audit"); err != nil || strings.Count(log, "space_delete") != 1 || !strings.Contains(log, fmt.Sprintf(`"documents":%d`, documents)) {
		t.Errorf("the audit log: %v\n%s%s", err, log, stderr)
	}
	answer, err := writer.Do(t.Context(), http.MethodGet, "/v1/spaces/room/documents/c/d1", nil, nil)
	if err != nil || answer.Status != http.StatusNotFound {
		t.Errorf("a document of before: %d, %v", answer.Status, err)
	}
}
