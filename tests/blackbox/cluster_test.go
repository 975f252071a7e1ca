package blackbox_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/tests/harness"
)

// TestCluster_readYourWrites: what a push was answered is there on every node at
// once, for who says what he knows of, by the push's cursor or by min_version.
// Without a broker the other nodes have not heard of it.
func TestCluster_readYourWrites(t *testing.T) {
	t.Parallel()
	seed := harness.Seed(t)
	eachLink(t, func(t *testing.T, cluster *harness.Cluster) {
		random := harness.Random(seed, "read your writes")
		first := mustPush(t, cluster.Client(""), "room", put("e", "first", 0, `{}`))
		for round := range harness.Size(60, 2000) {
			a := random.IntN(cluster.Len())
			b := a + 1 + random.IntN(cluster.Len()-1)
			writer, reader := cluster.Node(a).Client(""), cluster.Node(b).Client("")
			// The reader's node knows the space, so it could answer from memory.
			before, err := reader.Pull(t.Context(), "room", harness.Pull{MinVersion: first.Version})
			if err != nil {
				t.Fatal(err)
			}
			edit := forced(fmt.Sprint("e", round), fmt.Sprint("d", round%50), `{}`) // few documents: one page shows all
			pushed, err := writer.Push(t.Context(), "room", harness.Push{
				ClientID: fmt.Sprint("c", a), Edits: []harness.Edit{edit}, Cursor: &before.Cursor,
			})
			if err != nil {
				t.Fatal(err)
			}
			wantApplied(t, pushed)
			wantSeen(t, reader, before.Cursor, pushed)
		}
	})
}

// wantSeen asks the reader's node for the push in the ways there are.
func wantSeen(t *testing.T, reader *harness.Client, before string, pushed harness.PushAnswer) {
	t.Helper()
	version := pushed.Results[0].Version
	after, err := reader.Pull(t.Context(), "room", harness.Pull{Cursor: pushed.Cursor})
	if err != nil || after.Version < version {
		t.Fatalf("a cursor from behind version %d is answered at head %d, %v", version, after.Version, err)
	}
	page, err := reader.Pull(t.Context(), "room", harness.Pull{Cursor: before, MinVersion: version})
	if err != nil || len(page.Changes) != 1 || page.Changes[0].Version != version {
		t.Fatalf("min_version %d brings %+v, %v", version, page, err)
	}
	heads, err := reader.Heads(t.Context(), version, "room")
	if err != nil || len(heads) != 1 || heads[0] < version {
		t.Fatalf("min_version %d brings heads %v, %v", version, heads, err)
	}
}

// TestCluster_longPollOnAnotherNode: a change is seen by who waits on another
// node, at the latest when his wait is over, also if no poke ever arrives.
func TestCluster_longPollOnAnotherNode(t *testing.T) {
	t.Parallel()
	for _, broker := range append([]harness.Broker{harness.BrokerNone}, harness.Brokers...) {
		t.Run(string(broker), func(t *testing.T) {
			t.Parallel()
			cluster := harness.StartCluster(t, harness.ClusterOptions{Nodes: 2, Broker: broker})
			reader := cluster.Node(1).Client("")
			version := mustPush(t, cluster.Node(0).Client(""), "room", put("e0", "d0", 0, `{}`)).Version
			page, err := reader.Pull(t.Context(), "room", harness.Pull{MinVersion: version})
			if err != nil {
				t.Fatal(err)
			}
			rounds := harness.Size(3, 100)
			if broker == harness.BrokerNone {
				rounds = 1 // it may take as long as a poll can wait
			}
			for n := range rounds {
				waiting := startPoll(t, reader, page.Cursor, longest, nil)
				id := fmt.Sprint("n", n)
				version := mustPush(t, cluster.Node(0).Client(""), "room", put(id, id, 0, `{}`)).Version
				<-waiting.done // bounded by the client's own timeout
				page = waiting.page
				if waiting.err != nil || len(page.Changes) != 1 || page.Changes[0].Version != version {
					t.Fatalf("the poll brought %+v, %v, want version %d", page, waiting.err, version)
				}
			}
		})
	}
}

// eachLink runs the test on a cluster that hears each other, by the broker that
// is asked for, and on one that does not.
func eachLink(t *testing.T, test func(t *testing.T, cluster *harness.Cluster)) {
	t.Helper()
	for name, broker := range map[string]harness.Broker{"connected": "", "out of touch": harness.BrokerNone} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, harness.StartCluster(t, harness.ClusterOptions{Broker: broker}))
		})
	}
}

// TestCluster_pausedNodeServesNothingStale freezes a node that follows its spaces
// closely, lets the others write, and asks it as soon as it goes on: what it
// remembers is then as old as its pause, and must not be anybody's answer.
func TestCluster_pausedNodeServesNothingStale(t *testing.T) {
	t.Parallel()
	const spaces, asking = 6, 4
	pause := harness.Size(3*time.Second, 20*time.Second)
	cluster := harness.StartCluster(t, harness.ClusterOptions{})
	frozen := cluster.Node(0)
	for n := range harness.Size(1, 10) {
		round := fmt.Sprint("round-", n)
		before := make([]*stand, spaces)
		for i := range before {
			before[i] = standOn(t, frozen, cluster.Node(1), fmt.Sprintf("space-%d", i), round)
		}
		frozen.Pause()
		newest := writeFor(t, cluster, before, round, pause)
		// Half of the requests are there before the node goes on, half come right after.
		var polls errgroup.Group
		sent := make(chan struct{}, asking*spaces)
		ask := func(early bool) {
			for i, s := range before {
				for range asking {
					polls.Go(func() error { return s.ask(t.Context(), sent, early, newest[i]) })
				}
			}
		}
		ask(true)
		for range asking * spaces {
			<-sent
		}
		frozen.Resume()
		ask(false)
		if err := polls.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// stand is how far a client of one node has come in a space.
type stand struct {
	client *harness.Client
	space  string
	cursor string
	etag   string
}

// standOn writes to the space and lets a client of node come to its head.
func standOn(t *testing.T, node, other *harness.Server, space, round string) *stand {
	t.Helper()
	version := mustPush(t, other.Client(""), space, forced("stand-"+round, "d", `{}`)).Version
	s := &stand{client: node.Client(""), space: space}
	var page harness.Page
	for path := fmt.Sprintf("/v1/spaces/%s/changes?min_version=%d", space, version); ; path = s.path() {
		answer, err := s.client.Do(t.Context(), http.MethodGet, path, nil, nil)
		if err == nil {
			err = answer.Decode(&page)
		}
		if err != nil {
			t.Fatal(err)
		}
		s.cursor, s.etag = page.Cursor, answer.Header.Get("ETag")
		if !page.HasMore && len(page.Changes) == 0 {
			return s
		}
	}
}

func (s *stand) path() string { return "/v1/spaces/" + s.space + "/changes?cursor=" + s.cursor }

// ask polls as an idle client does, with all it has, and expects to be told that
// the head is at version or above. An early request says when it is on its way.
func (s *stand) ask(ctx context.Context, sent chan<- struct{}, early bool, version int64) error {
	if early {
		ctx = onceWritten(ctx, func() { sent <- struct{}{} })
	}
	answer, err := s.client.Do(ctx, http.MethodGet, s.path(), http.Header{"If-None-Match": {s.etag}}, nil)
	if err != nil {
		return err
	}
	var page harness.Page
	if err := answer.Decode(&page); err != nil {
		return fmt.Errorf("%s, where version %d was acknowledged, is answered with %d: %w", s.space, version, answer.Status, err)
	}
	if page.Version < version || len(page.Changes) == 0 {
		return fmt.Errorf("%s is shown at %d with %d changes, and version %d was acknowledged", s.space, page.Version, len(page.Changes), version)
	}
	return nil
}

// writeFor writes to the spaces through the nodes that are not frozen, for as
// long as the pause is to last, and returns the newest version of each.
func writeFor(t *testing.T, cluster *harness.Cluster, spaces []*stand, round string, pause time.Duration) []int64 {
	t.Helper()
	newest := make([]int64, len(spaces))
	over := time.After(pause)
	for n := 0; ; n++ {
		for i, s := range spaces {
			client := cluster.Node(1 + (n+i)%(cluster.Len()-1)).Client("")
			newest[i] = mustPush(t, client, s.space, forced(fmt.Sprint(round, "-", n), fmt.Sprint("d", n%50), `{}`)).Version
		}
		select {
		case <-over:
			return newest
		default:
		}
	}
}

// TestCluster_frozenNodeHoldsUpNobodyElse freezes a node in the middle of its
// pushes to one space, whose lock it may hold. Pushes of other nodes to other
// spaces go on, and after a while the database takes the lock from it.
func TestCluster_frozenNodeHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	seed := harness.Seed(t)
	cluster := harness.StartCluster(t, harness.ClusterOptions{})
	random := harness.Random(seed, "freeze")
	for round := range harness.Size(3, 100) {
		hot := fmt.Sprintf("hot-%d", round)
		w := startWriters(t, 6, func(i int) *counter {
			return &counter{client: cluster.Node(0).Client(""), name: fmt.Sprintf("w%d", i), space: hot}
		})
		w.await(t, 1+random.IntN(40))
		cluster.Node(0).Pause()
		for n := range 20 {
			other := fmt.Sprintf("other-%d-%d", round, n%4)
			mustPush(t, cluster.Node(1+n%2).Client(""), other, put(fmt.Sprint("e", n), fmt.Sprint("d", n), 0, `{}`))
		}
		push := harness.Push{ClientID: "c1", Edits: []harness.Edit{put("e", "d", 0, `{}`)}}
		answer, _, err := pushUntilAnswered(t.Context(), cluster.Node(1).Client(""), hot, push)
		if err != nil {
			t.Fatalf("the space of the frozen node: %v", err)
		}
		wantApplied(t, answer)
		cluster.Node(0).Resume()
		w.await(t, 10)
		w.end(t)
	}
}
