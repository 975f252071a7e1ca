package presence

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// pair is two nodes; whatever one publishes is carried by the test.
func pair(t *testing.T) (a, b *node) {
	t.Helper()
	c := &clock{start}
	return newNode(t, c, Options{NodeID: "a"}), newNode(t, c, Options{NodeID: "b"})
}

// last is what a node published last.
func (n *node) last() syncer.Message {
	n.t.Helper()
	return n.sent.messages[len(n.sent.messages)-1]
}

func TestReceive_otherNode(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	a.beat("c1", `{"a": "<é>"}`, 30*time.Second)
	text, err := a.last().Encode()
	if err != nil {
		t.Fatal(err)
	}
	carried, err := syncer.ParseMessage(text)
	if err != nil {
		t.Fatal(err)
	}
	if carried.IsPoke() {
		t.Fatal("the message is a poke")
	}
	b.Receive(carried)
	if diff := cmp.Diff(a.List("s1"), b.List("s1")); diff != "" {
		t.Errorf("the nodes differ:\n%s", diff)
	}
	if err := b.Enter(t.Context(), "s1", "c1", "bob", models.PresenceRequest{}); models.CodeOf(err) != models.CodePresenceTaken {
		t.Errorf("another subject on the other node: %v", err)
	}
	// The client goes on with the other node, and leaves there.
	b.clock.advance(10 * time.Second)
	b.beat("c1", `{}`, 30*time.Second)
	a.Receive(b.last())
	if diff := cmp.Diff(b.List("s1"), a.List("s1")); diff != "" || b.List("s1")[0].Since != start.UnixMilli() {
		t.Errorf("the nodes differ:\n%s", diff)
	}
	b.leaves("c1")
	a.Receive(b.last())
	a.want()
}

// A message that comes twice must not make anybody present for longer.
func TestReceive_twice(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	a.beat("c1", `{}`, 30*time.Second)
	b.Receive(a.last())
	b.clock.advance(20 * time.Second)
	b.Receive(a.last())
	a.Receive(a.last())
	if got := b.List("s1")[0].ExpiresIn; got != 10*time.Second {
		t.Errorf("expires in %v after the message came again", got)
	}
	b.clock.advance(10 * time.Second)
	b.Receive(a.last())
	a.Receive(a.last())
	a.want()
	b.want()
	// Its own a node knows for ever, also when it has forgotten whose they were.
	a.clock.advance(3 * rememberFor)
	a.Receive(a.last())
	a.want()
}

// Heartbeats in the same microsecond on two nodes: both nodes choose the same.
func TestReceive_tie(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	a.beat("c1", `{"at":"a"}`, 0)
	b.beat("c1", `{"at":"b"}`, 0)
	a.Receive(b.last())
	b.Receive(a.last())
	if diff := cmp.Diff(a.List("s1"), b.List("s1")); diff != "" {
		t.Errorf("the nodes differ:\n%s", diff)
	}
}

func TestReceive_lateDoesNotResurrect(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	a.beat("c1", `{"n":1}`, 120*time.Second)
	first := a.last()
	a.beat("c1", `{"n":2}`, 120*time.Second)
	b.Receive(a.last())
	b.Receive(first)
	if got := string(b.List("s1")[0].State); got != `{"n":2}` {
		t.Errorf("a late message brought back the state %s", got)
	}
	second := a.last()
	a.leaves("c1")
	b.Receive(a.last())
	for range 10 {
		b.Receive(first)
		b.Receive(second)
		b.want()
		b.clock.advance(rememberFor/10 - 1)
	}
	// It comes back by itself, of course.
	a.beat("c1", `{"n":3}`, 120*time.Second)
	b.Receive(a.last())
	b.want("c1")

	// The farewell may be first: also at the node that has never heard of the client.
	a.leaves("c2")
	a.beat("c3", `{}`, 0)
	hello := a.last()
	a.leaves("c3")
	b.Receive(a.last())
	b.Receive(hello)
	b.want("c1")
}

// One who leaves by another node than it came by, which has not heard of it yet.
func TestReceive_leavesByAnotherNode(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	a.beat("c1", `{}`, 0)
	hello := a.last()
	a.clock.advance(time.Millisecond)
	b.leaves("c1")
	b.Receive(hello)
	b.want()
	a.Receive(b.last())
	a.want()
	b.clock.advance(time.Millisecond)
	b.beat("c1", `{}`, 0)
	a.Receive(b.last())
	a.want("c1")
}

// Of two subjects with one client id, on two nodes that have not heard of each
// other, one is left, the same everywhere; nobody's farewell ends another's.
func TestReceive_twoSubjects(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	a.beat("c1", `{}`, 0)
	b.clock.advance(time.Millisecond)
	if err := b.Leave(t.Context(), "s1", "c1", "bob"); err != nil {
		t.Fatal(err)
	}
	a.Receive(b.last())
	a.want("c1")
	if err := b.Enter(t.Context(), "s1", "c1", "bob", models.PresenceRequest{}); err != nil {
		t.Fatal(err)
	}
	hello := a.sent.messages[0]
	a.Receive(b.last())
	b.Receive(hello)
	if diff := cmp.Diff(a.List("s1"), b.List("s1")); diff != "" || a.List("s1")[0].Subject != "bob" {
		t.Errorf("the nodes differ, or the older is left:\n%s", diff)
	}
	if err := a.Enter(t.Context(), "s1", "c1", "alice", models.PresenceRequest{}); models.CodeOf(err) != models.CodePresenceTaken {
		t.Errorf("the other's next heartbeat: %v", err)
	}
}

// A node whose clock is slow is heard as soon as it has heard the others.
func TestReceive_slowClock(t *testing.T) {
	t.Parallel()
	fast, slow := &clock{start.Add(time.Hour)}, &clock{start}
	a, b := newNode(t, fast, Options{NodeID: "a"}), newNode(t, slow, Options{NodeID: "b"})
	a.beat("c1", `{"n":1}`, 120*time.Second)
	b.beat("c1", `{"n":2}`, 120*time.Second)
	a.Receive(b.last())
	if got := string(a.List("s1")[0].State); got != `{"n":1}` {
		t.Errorf("state %s: what of a slow clock's is newer can't be known yet", got)
	}
	a.beat("c2", `{}`, 120*time.Second)
	b.Receive(a.last())
	b.beat("c1", `{"n":3}`, 120*time.Second)
	a.Receive(b.last())
	if got := a.List("s1")[0]; string(got.State) != `{"n":3}` || got.ExpiresIn != 120*time.Second {
		t.Errorf("got %+v, want the newest, for as long as it says", got)
	}
}

func TestReceive_passesOverNonsense(t *testing.T) {
	t.Parallel()
	n := newNode(t, &clock{start}, Options{})
	const good = `{"stamp":{"time":%s,"node":%q},"client_id":%q,"subject":%q,"state":"e30=","since":1,"ttl_ms":%s}`
	message := func(time, node, client, subject, ttl string) string {
		return fmt.Sprintf(good, time, node, client, subject, ttl)
	}
	day := fmt.Sprint(start.Add(maxAhead).UnixMicro())
	n.Receive(syncer.Message{Space: "s1", Presence: []byte(message(day, "b", "c1", "alice", "120000"))})
	n.want("c1")
	for _, text := range []string{
		``, `null`, `[]`, `{}`, `"x"`, `{"client_id":7}`,
		message("0", "b", "c2", "alice", "30000"),
		message("-1", "b", "c2", "alice", "30000"),
		message(day+"0", "b", "c2", "alice", "30000"),
		message("1", "", "c2", "alice", "30000"),
		message("1", "b", "", "alice", "30000"),
		message("1", "b", "c 2", "alice", "30000"),
		message("1", "b", "c2", "", "30000"),
		message("1", "b", "c2", strings.Repeat("x", maxSubjectBytes+1), "30000"),
		message("1", "b", "c2", "alice", "0"),
		message("1", "b", "c2", "alice", "120001"),
		message("1", "b", "c2", "alice", "9223372036854775807"),
		strings.Replace(message("1", "b", "c2", "alice", "30000"), `"since":1`, `"since":0`, 1),
		strings.Replace(message("1", "b", "c2", "alice", "30000"), `"since":1`, `"since":-1`, 1),
		strings.Replace(message("1", "b", "c2", "alice", "30000"), `"since":1`, `"since":4611686018427387904`, 1),
		strings.Replace(message("1", "b", "c2", "alice", "30000"), "e30=", "W10=", 1), // []
		strings.Replace(message("1", "b", "c2", "alice", "30000"), "e30=", "????", 1),
		strings.Replace(message("1", "b", "c2", "alice", "30000"), `"e30="`, `""`, 1),
	} {
		n.Receive(syncer.Message{Space: "s1", Presence: []byte(text)})
	}
	n.Receive(syncer.Message{Space: "../s1", Presence: []byte(message("1", "b", "c2", "alice", "30000"))})
	n.Receive(syncer.Message{Presence: []byte(message("1", "b", "c2", "alice", "30000"))})
	n.want("c1")
	if len(n.spaces) != 1 {
		t.Errorf("%d spaces, want 1", len(n.spaces))
	}
}

// Whatever a token and a heartbeat may hold fits a message.
func TestNews_fitsAMessage(t *testing.T) {
	t.Parallel()
	largest := &news{
		Stamp:    stamp{models.MaxVersion, strings.Repeat("n", 26)},
		ClientID: strings.Repeat("c", models.MaxNameBytes),
		Subject:  strings.Repeat("<", 128), // six bytes each, escaped
		State:    []byte(strings.Repeat("<", models.MaxPresenceStateBytes)),
		Since:    models.MaxVersion,
		TTLMS:    models.MaxPresenceTTL.Milliseconds(),
	}
	if _, err := largest.message(strings.Repeat("s", models.MaxSpaceBytes)).Encode(); err != nil {
		t.Error(err)
	}
}

func TestDeparted_bounded(t *testing.T) {
	t.Parallel()
	var d departed
	for i := range 3 * maxDeparted {
		d.add(client{"s1", fmt.Sprint(i)}, stamp{Time: 1}, start)
	}
	if len(d.young) > maxDeparted || len(d.old) > maxDeparted {
		t.Errorf("%d and %d are remembered", len(d.young), len(d.old))
	}
	for i := range maxDeparted { // the newest
		if d.stamp(client{"s1", fmt.Sprint(3*maxDeparted - 1 - i)}, start) == (stamp{}) {
			t.Fatalf("the newest but %d is forgotten", i)
		}
	}
	d.age(start.Add(rememberFor))
	d.age(start.Add(2 * rememberFor))
	if len(d.young)+len(d.old) != 0 {
		t.Errorf("%d are remembered for ever", len(d.young)+len(d.old))
	}
}
