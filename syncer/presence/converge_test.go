package presence

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// network is some nodes and the messages between them, which the test carries,
// doubles, loses and mixes up.
type network struct {
	t     *rapid.T
	nodes []*node
	// flying are messages on their way, each to one node.
	flying []flying
	taken  []int // of each node's messages, how many have been put on their way
}

type flying struct {
	to      int
	message syncer.Message
}

func newNetwork(tb testing.TB, t *rapid.T, skew time.Duration) *network {
	tb.Helper()
	n := &network{t: t}
	for i := range rapid.IntRange(2, 4).Draw(t, "nodes") {
		ahead := time.Duration(rapid.Int64Range(-int64(skew), int64(skew)).Draw(t, "ahead"))
		n.nodes = append(n.nodes, newNode(tb, &clock{start.Add(ahead)}, Options{NodeID: fmt.Sprintf("n%d", i)}))
	}
	n.taken = make([]int, len(n.nodes))
	return n
}

func (n *network) pass(d time.Duration) {
	for _, node := range n.nodes {
		node.clock.advance(d)
	}
}

// send puts on their way what the nodes have published, to all of them.
func (n *network) send() {
	for i, node := range n.nodes {
		for _, m := range node.sent.messages[n.taken[i]:] {
			for to := range n.nodes {
				n.flying = append(n.flying, flying{to, m})
			}
		}
		n.taken[i] = len(node.sent.messages)
	}
}

// deliver lets any message arrive; it may stay on its way and arrive again.
func (n *network) deliver() {
	if len(n.flying) == 0 {
		return
	}
	i := rapid.IntRange(0, len(n.flying)-1).Draw(n.t, "message")
	f := n.flying[i]
	if rapid.IntRange(0, 3).Draw(n.t, "again") > 0 {
		n.flying = append(n.flying[:i], n.flying[i+1:]...)
	}
	n.nodes[f.to].Receive(f.message)
}

// arrive delivers everything, in any order.
func (n *network) arrive() {
	n.send()
	for _, f := range rapid.Permutation(n.flying).Draw(n.t, "arrivals") {
		n.nodes[f.to].Receive(f.message)
	}
	n.flying = nil
}

func (n *network) node() *node { return rapid.SampledFrom(n.nodes).Draw(n.t, "node") }

var (
	someClient  = rapid.SampledFrom([]string{"c1", "c2", "c3", "c4"})
	someSubject = rapid.SampledFrom([]string{"alice", "alice", "bob"})
	someState   = rapid.SampledFrom([]string{`{}`, `{"a":1}`, `{"a":2}`})
	someTTL     = rapid.SampledFrom([]time.Duration{5 * time.Second, 30 * time.Second, 120 * time.Second})
)

func (n *network) beat(at *node, clientID, subject string) error {
	return at.Enter(n.nodes[0].t.Context(), "s1", clientID, subject, models.PresenceRequest{
		State: []byte(someState.Draw(n.t, "state")), TTL: someTTL.Draw(n.t, "ttl"),
	})
}

// trouble lets anything happen.
func (n *network) trouble() {
	n.t.Repeat(map[string]func(*rapid.T){
		"heartbeat": func(t *rapid.T) {
			_ = n.beat(n.node(), someClient.Draw(t, "client"), someSubject.Draw(t, "subject")) // or taken
		},
		"farewell": func(t *rapid.T) {
			_ = n.node().Leave(n.nodes[0].t.Context(), "s1", someClient.Draw(t, "client"), someSubject.Draw(t, "subject")) // or taken
		},
		"time passes": func(t *rapid.T) {
			n.pass(time.Duration(rapid.Int64Range(1, int64(40*time.Second)).Draw(t, "time")))
		},
		"a message arrives": func(*rapid.T) { n.deliver() },
		"a message is lost": func(t *rapid.T) {
			if len(n.flying) > 0 {
				i := rapid.IntRange(0, len(n.flying)-1).Draw(t, "message")
				n.flying = append(n.flying[:i], n.flying[i+1:]...)
			}
		},
		"": func(*rapid.T) { n.send(); n.pass(time.Millisecond) },
	})
}

// TestNodes_agree: whatever has happened to the messages, and however wrong the
// clocks are, once heartbeats go on and arrive all nodes show the same.
func TestNodes_agree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := newNetwork(t, rt, time.Hour)
		n.trouble()
		n.arrive() // what is late

		// From now on these stay, sending to any node; each node hears somebody.
		staying := map[string]string{"c1": "alice", "c2": "bob"}
		for i := range n.nodes {
			staying[fmt.Sprintf("at%d", i)] = "alice"
		}
		beats := 0
		for passed := time.Duration(0); passed <= models.MaxPresenceTTL+10*time.Second; passed += 4 * time.Second {
			for _, clientID := range slices.Sorted(maps.Keys(staying)) {
				at := n.nodes[beats%len(n.nodes)]
				beats++
				_ = n.beat(at, clientID, staying[clientID]) // taken, for a while yet
			}
			n.arrive()
			n.pass(4 * time.Second)
		}
		got := make(map[string]string)
		for _, p := range n.nodes[0].List("s1") {
			got[p.ClientID] = p.Subject
		}
		if diff := cmp.Diff(staying, got); diff != "" {
			rt.Fatalf("present on the first node (-want +got):\n%s", diff)
		}
		// A node measures by its own clock, from when it heard.
		ignore := cmpopts.IgnoreFields(models.Presence{}, "ExpiresIn")
		for i, other := range n.nodes[1:] {
			if diff := cmp.Diff(n.nodes[0].List("s1"), other.List("s1"), ignore); diff != "" {
				rt.Fatalf("node 0 and node %d differ:\n%s", i+1, diff)
			}
		}
	})
}

// TestNodes_noResurrection: where clocks agree, nothing that was sent before a
// farewell brings its client back, to no node that has heard the farewell.
func TestNodes_noResurrection(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := newNetwork(t, rt, 0)
		for range rapid.IntRange(1, 20).Draw(rt, "heartbeats") {
			if err := n.beat(n.node(), "c1", "alice"); err != nil {
				rt.Fatal(err)
			}
			n.send()
			n.pass(time.Millisecond)
			if rapid.Bool().Draw(rt, "arrives") {
				n.deliver()
			}
		}
		late := n.flying
		n.flying = nil
		if err := n.node().Leave(t.Context(), "s1", "c1", "alice"); err != nil {
			rt.Fatal(err)
		}
		n.arrive()
		for _, f := range rapid.Permutation(late).Draw(rt, "late") {
			n.nodes[f.to].Receive(f.message)
			n.pass(time.Millisecond)
			if list := n.nodes[f.to].List("s1"); len(list) > 0 {
				rt.Fatalf("somebody is back: %+v", list)
			}
		}
	})
}
