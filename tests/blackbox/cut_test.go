package blackbox_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/tests/harness"
)

// TestPush_cutAtAnyByte cuts the connection after byte k of the request or of
// the answer and then does what a client does: it sends the push again, whole.
// However much had arrived, there is one effect and all answers are equal.
func TestPush_cutAtAnyByte(t *testing.T) {
	t.Parallel()
	step := harness.Size(64, 1)
	harness.Each(t, func(t *testing.T, store harness.Store) {
		tally := harness.Count(t, "T3", 0)
		server := harness.Start(t, harness.Options{Store: store})
		for _, direction := range []direction{request, answer} {
			cuts := 0
			for k := 0; ; k += step {
				space := fmt.Sprintf("%s-%d", direction, k)
				if !cutOnce(t, server, space, direction, k) {
					break
				}
				cuts++
				tally.Add(harness.Figures{Operations: 3, Faults: 1}) // the push before, the cut one, its retry
			}
			if cuts < 5 {
				t.Errorf("only %d cuts of the %s: the push is too small to be cut", cuts, direction)
			}
		}
	})
}

type direction string

const (
	request direction = "request"
	answer  direction = "answer"
)

// cutOnce reports whether the cut was inside; if not, the push went through.
func cutOnce(t *testing.T, server *harness.Server, space string, direction direction, k int) (inside bool) {
	t.Helper()
	client := server.Client("")
	before := mustPush(t, client, space, put("before-1", "patched", 0, `{"a":1,"b":1}`), put("before-2", "deleted", 0, `{}`)).Version
	push := harness.Push{ClientID: "c1", Edits: []harness.Edit{
		put("e1", "created", 0, `{"title":"a document of some length, so that there is something to cut"}`),
		{EditID: "e2", Op: "patch", Collection: "c", ID: "patched", BaseVersion: harness.At(before), Data: []byte(`{"a":2}`)},
		{EditID: "e3", Op: "patch", Collection: "c", ID: "patched", BaseEditID: "e2", Data: []byte(`{"b":2}`)},
		{EditID: "e4", Op: "delete", Collection: "c", ID: "deleted", BaseVersion: harness.At(before)},
		// Nothing but the receipt keeps a forced edit from taking effect twice.
		forced("e5", "forced", `{"x":1}`),
	}}
	cut := &cutter{direction: direction, left: k}
	cutting := server.Client("")
	cutting.HTTP.Transport = &http.Transport{DialContext: cut.dial, DisableKeepAlives: true}
	_, err := cutting.Push(t.Context(), space, push)
	inside = cut.happened()
	if inside == (err == nil) {
		t.Fatalf("cut at byte %d of the %s: %v, push: %v", k, direction, inside, err)
	}

	first, _, err := pushUntilAnswered(t.Context(), client, space, push)
	if err != nil {
		t.Fatalf("retry after the cut at byte %d of the %s: %v", k, direction, err)
	}
	wantApplied(t, first)
	second, err := client.Push(t.Context(), space, push)
	if err != nil {
		t.Fatal(err)
	}
	for i := range first.Results {
		if !second.Results[i].Replayed {
			t.Errorf("edit %s is not replayed the second time", first.Results[i].EditID)
		}
		first.Results[i].Replayed = true
	}
	if diff := cmp.Diff(first.Results, second.Results); diff != "" {
		t.Fatalf("cut at byte %d of the %s: answers differ (-first +second):\n%s", k, direction, diff)
	}
	wantOneEffect(t, client, space, before, first.Results[0].Version)
	return inside
}

func wantOneEffect(t *testing.T, client *harness.Client, space string, before, version int64) {
	t.Helper()
	changes, cursor, err := client.PullAll(t.Context(), space, harness.Pull{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, change := range changes {
		got[change.ID] = fmt.Sprintf("%d %s", change.Version, change.Data)
	}
	want := map[string]string{
		"created": fmt.Sprintf("%d %s", version, `{"title":"a document of some length, so that there is something to cut"}`),
		"patched": fmt.Sprintf("%d %s", version, `{"a":2,"b":2}`),
		"forced":  fmt.Sprintf("%d %s", version, `{"x":1}`),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("what is left (-want +got):\n%s", diff)
	}
	page, err := client.Pull(t.Context(), space, harness.Pull{Cursor: cursor})
	if err != nil || page.Version != version || version <= before {
		t.Fatalf("the head is %d (%v), want the one version of the push, %d, above %d", page.Version, err, version, before)
	}
}

var errCut = errors.New("the connection was cut")

// cutter dials connections of which the first so many bytes in one direction
// pass. Then they are reset, on both sides at once.
type cutter struct {
	direction direction

	mu   sync.Mutex
	left int
	cut  bool
}

func (c *cutter) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &cutConn{TCPConn: conn.(*net.TCPConn), cutter: c}, nil
}

func (c *cutter) happened() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}

// pass says how many of n bytes may go through.
func (c *cutter) pass(n int) (allowed int, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	allowed = min(n, c.left)
	c.left -= allowed
	c.cut = c.cut || allowed < n
	return allowed, allowed < n
}

type cutConn struct {
	*net.TCPConn
	cutter *cutter
}

func (c *cutConn) Write(b []byte) (int, error) {
	if c.cutter.direction != request {
		return c.TCPConn.Write(b)
	}
	allowed, cut := c.cutter.pass(len(b))
	n, err := c.TCPConn.Write(b[:allowed])
	if cut && err == nil {
		c.reset()
		err = errCut
	}
	return n, err
}

func (c *cutConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if c.cutter.direction != answer || err != nil {
		return n, err
	}
	allowed, cut := c.cutter.pass(n)
	if cut {
		c.reset()
		return allowed, errCut
	}
	return n, nil
}

func (c *cutConn) reset() {
	c.SetLinger(0)
	c.TCPConn.Close()
}
