package presence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// start is where the clocks of the tests begin.
var start = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// clock stands still until somebody moves it.
type clock struct{ now time.Time }

func (c *clock) advance(d time.Duration) { c.now = c.now.Add(d) }

// sent keeps what a registry publishes.
type sent struct {
	messages []syncer.Message
	err      error
}

func (s *sent) Publish(ctx context.Context, m syncer.Message) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.messages = append(s.messages, m)
	return s.err
}

// node is a registry with what it hangs on.
type node struct {
	*Registry
	t     testing.TB
	clock *clock
	sent  *sent
}

func newNode(t testing.TB, c *clock, opts Options) *node {
	t.Helper()
	n := &node{t: t, clock: c, sent: &sent{}}
	opts.Now = func() time.Time { return n.clock.now }
	opts.Logger = slog.New(slog.DiscardHandler)
	n.Registry = New(n.sent, opts)
	return n
}

// beat is a heartbeat of alice that must be taken.
func (n *node) beat(clientID, state string, ttl time.Duration) {
	n.t.Helper()
	req := models.PresenceRequest{State: []byte(state), TTL: ttl}
	if err := n.Enter(n.t.Context(), "s1", clientID, "alice", req); err != nil {
		n.t.Fatalf("%s: %v", clientID, err)
	}
}

func (n *node) leaves(clientID string) {
	n.t.Helper()
	if err := n.Leave(n.t.Context(), "s1", clientID, "alice"); err != nil {
		n.t.Fatalf("%s: %v", clientID, err)
	}
}

// want holds who is present against client ids.
func (n *node) want(clientIDs ...string) {
	n.t.Helper()
	var got []string
	for _, p := range n.List("s1") {
		got = append(got, p.ClientID)
	}
	if diff := cmp.Diff(clientIDs, got); diff != "" {
		n.t.Errorf("present (-want +got):\n%s", diff)
	}
}

func TestEnter_life(t *testing.T) {
	t.Parallel()
	n := newNode(t, &clock{start}, Options{})
	const text = `{ "at" : "t1", "n":1.50 }`
	n.beat("c2", text, 0)
	n.clock.advance(10 * time.Second)
	n.beat("c1", `{}`, 5*time.Second)
	n.beat("c0", `{}`, 120*time.Second)
	want := []models.Presence{
		{ClientID: "c2", Subject: "alice", State: []byte(text), Since: start.UnixMilli(), ExpiresIn: 20 * time.Second},
		{ClientID: "c0", Subject: "alice", State: []byte(`{}`), Since: start.UnixMilli() + 10_000, ExpiresIn: 120 * time.Second},
		{ClientID: "c1", Subject: "alice", State: []byte(`{}`), Since: start.UnixMilli() + 10_000, ExpiresIn: 5 * time.Second},
	}
	if diff := cmp.Diff(want, n.List("s1")); diff != "" {
		t.Errorf("present (-want +got):\n%s", diff)
	}
	if other := n.List("s2"); len(other) != 0 {
		t.Errorf("in another space: %v", other)
	}

	n.clock.advance(5*time.Second - 1)
	n.want("c2", "c0", "c1")
	n.clock.advance(1)
	n.want("c2", "c0")
	n.beat("c2", `{"at":"t2"}`, 30*time.Second) // again, before its 30 s are over
	n.clock.advance(29 * time.Second)
	want = []models.Presence{
		{ClientID: "c2", Subject: "alice", State: []byte(`{"at":"t2"}`), Since: start.UnixMilli(), ExpiresIn: time.Second},
		{ClientID: "c0", Subject: "alice", State: []byte(`{}`), Since: start.UnixMilli() + 10_000, ExpiresIn: 86 * time.Second},
	}
	if diff := cmp.Diff(want, n.List("s1")); diff != "" {
		t.Errorf("present after heartbeats (-want +got):\n%s", diff)
	}
	n.leaves("c0")
	n.want("c2")
	n.clock.advance(time.Second)
	n.want()
	n.beat("c2", `{}`, 0) // comes back as somebody new
	if got := n.List("s1")[0].Since; got != n.clock.now.UnixMilli() {
		t.Errorf("since %d, want %d", got, n.clock.now.UnixMilli())
	}
	n.leaves("c2")
	n.leaves("c2")
	n.leaves("never")
	if len(n.spaces) != 0 || n.clients != 0 {
		t.Errorf("%d spaces and %d clients are remembered when all have left", len(n.spaces), n.clients)
	}
}

// What a caller does with its body afterwards must not change what is shown.
func TestEnter_keepsItsOwnState(t *testing.T) {
	t.Parallel()
	n := newNode(t, &clock{start}, Options{})
	body := []byte(`{"a":1}`)
	if err := n.Enter(t.Context(), "s1", "c1", "alice", models.PresenceRequest{State: body}); err != nil {
		t.Fatal(err)
	}
	copy(body, `XXXXXXX`)
	if got := string(n.List("s1")[0].State); got != `{"a":1}` {
		t.Errorf("state %s", got)
	}
}

func TestEnter_taken(t *testing.T) {
	t.Parallel()
	n := newNode(t, &clock{start}, Options{})
	n.beat("c1", `{"a":1}`, 0)
	before := n.List("s1")
	messages := len(n.sent.messages)
	for name, err := range map[string]error{
		"heartbeat": n.Enter(t.Context(), "s1", "c1", "bob", models.PresenceRequest{}),
		"farewell":  n.Leave(t.Context(), "s1", "c1", "bob"),
	} {
		if models.CodeOf(err) != models.CodePresenceTaken {
			t.Errorf("%s of another subject: %v, want %s", name, err, models.CodePresenceTaken)
		}
	}
	if diff := cmp.Diff(before, n.List("s1")); diff != "" || len(n.sent.messages) != messages {
		t.Errorf("a refused request was published, or changed something:\n%s", diff)
	}
	// In another space it is another presence, and later it is free.
	if err := n.Enter(t.Context(), "s2", "c1", "bob", models.PresenceRequest{}); err != nil {
		t.Error(err)
	}
	n.clock.advance(models.DefaultPresenceTTL)
	if err := n.Enter(t.Context(), "s1", "c1", "bob", models.PresenceRequest{}); err != nil {
		t.Error(err)
	}
}

func TestEnter_badState(t *testing.T) {
	t.Parallel()
	n := newNode(t, &clock{start}, Options{})
	exactly := func(bytes int) string { return `{"a":"` + strings.Repeat("x", bytes-len(`{"a":""}`)) + `"}` }
	n.beat("c1", exactly(models.MaxPresenceStateBytes), 0)
	for state, want := range map[string]struct {
		code    models.Code
		pointer string
	}{
		exactly(models.MaxPresenceStateBytes + 1): {models.CodeDocumentTooLarge, "/state"},
		`[]`:                           {models.CodeInvalidDocument, "/state"},
		`{"a":{"b":9007199254740992}}`: {models.CodeInvalidDocument, "/state/a/b"},
		`{"a":1,"a":2}`:                {models.CodeDuplicateKey, "/state/a"},
		`{"a":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`: {models.CodeDocumentTooDeep, "/state"},
	} {
		err := n.Enter(t.Context(), "s1", "c2", "alice", models.PresenceRequest{State: []byte(state)})
		var problem *models.Error
		if !errors.As(err, &problem) || problem.Code != want.code || problem.Fields[0].Pointer != want.pointer {
			t.Errorf("%.40s: %+v, want %s at %s", state, problem, want.code, want.pointer)
		}
	}
	n.want("c1")
}

func TestEnter_fullSpace(t *testing.T) {
	t.Parallel()
	n := newNode(t, &clock{start}, Options{})
	for i := range models.MaxPresent {
		n.beat(fmt.Sprintf("c%d", i), `{}`, 30*time.Second)
	}
	err := n.Enter(t.Context(), "s1", "late", "alice", models.PresenceRequest{})
	var full *models.Error
	if !errors.As(err, &full) || full.Code != models.CodePresenceFull || full.RetryAfter <= 0 {
		t.Fatalf("one more: %v, want %s with a time", err, models.CodePresenceFull)
	}
	n.beat("c0", `{}`, 60*time.Second) // who is in stays in
	n.leaves("c1")
	n.beat("late", `{}`, 60*time.Second)
	n.clock.advance(30 * time.Second)
	n.beat("later", `{}`, 60*time.Second)
	n.want("c0", "late", "later")
}

func TestEnter_fullNode(t *testing.T) {
	t.Parallel()
	n := newNode(t, &clock{start}, Options{MaxClients: 2})
	other := newNode(t, n.clock, Options{})
	n.beat("c1", `{}`, 5*time.Second)
	if err := n.Enter(t.Context(), "s2", "c1", "alice", models.PresenceRequest{TTL: 5 * time.Second}); err != nil {
		t.Fatal(err)
	}
	err := n.Enter(t.Context(), "s3", "c1", "alice", models.PresenceRequest{})
	var full *models.Error
	if !errors.As(err, &full) || full.Code != models.CodeUnavailable || full.RetryAfter <= 0 {
		t.Fatalf("one more: %v, want %s with a time", err, models.CodeUnavailable)
	}
	other.beat("c2", `{}`, 0)
	n.Receive(other.sent.messages[0])
	n.want("c1")
	n.beat("c1", `{}`, 5*time.Second)

	n.clock.advance(5 * time.Second)
	n.sweep() // nobody asks for the spaces of those who have expired
	n.beat("c3", `{}`, 0)
	n.Receive(other.sent.messages[0])
	n.want("c2", "c3")
}

// A page that is closed has sent its farewell and is gone before it is published.
func TestLeave_goesOnWithoutItsClient(t *testing.T) {
	t.Parallel()
	n := newNode(t, &clock{start}, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Leave(ctx, "s1", "c1", "alice"); err != nil || len(n.sent.messages) != 1 {
		t.Errorf("%v, %d messages", err, len(n.sent.messages))
	}
}

func TestEnter_brokerAway(t *testing.T) {
	t.Parallel()
	n := newNode(t, &clock{start}, Options{})
	n.sent.err = errors.New("away")
	n.beat("c1", `{}`, 0)
	n.want("c1")
}
