package mailbox_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/syncer/broker/mailbox"
)

// network is a Sender whose fate the test decides batch by batch.
type network struct {
	sent   chan []string // what Send got
	fate   chan error    // what it then returns
	closed chan struct{}
}

func (n *network) Send(ctx context.Context, batch [][]byte) error {
	var texts []string
	for _, text := range batch {
		texts = append(texts, string(text))
	}
	n.sent <- texts
	select {
	case err := <-n.fate:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *network) Close(context.Context) { close(n.closed) }

func newNetwork() *network {
	return &network{sent: make(chan []string), fate: make(chan error), closed: make(chan struct{})}
}

func TestOutbox(t *testing.T) {
	t.Parallel()
	n := newNetwork()
	out := mailbox.NewOutbox(t.Context(), n, slog.New(slog.DiscardHandler))
	ctx := t.Context()
	put := func(texts ...string) {
		for _, text := range texts {
			if err := out.Publish(ctx, news(text)); err != nil {
				t.Error(err)
			}
		}
	}
	want := func(what string, texts ...string) {
		t.Helper()
		if diff := cmp.Diff(texts, <-n.sent); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	if err := out.Publish(ctx, poke("a", 1)); err != nil {
		t.Error(err)
	}
	want("the first goes alone", `{"space":"a","version":1}`)
	for _, m := range []int64{2, 4, 3} {
		if err := out.Publish(ctx, poke("a", m)); err != nil {
			t.Error(err)
		}
	}
	put("x", "y")
	n.fate <- nil
	want("what came meanwhile is a batch", `{"space":"a","version":4}`, `{"space":"s1","presence":"x"}`, `{"space":"s1","presence":"y"}`)
	n.fate <- errors.New("away")
	want("after a failure pokes are sent again, late news is not", `{"space":"a","version":4}`)
	if err := out.Publish(ctx, poke("a", 5)); err != nil {
		t.Error(err)
	}
	n.fate <- errors.New("still away")
	want("and are merged with newer ones", `{"space":"a","version":5}`)
	put("z")
	n.fate <- nil
	want("news of when the network is back goes out", `{"space":"s1","presence":"z"}`)
	n.fate <- nil
	out.Close()
	<-n.closed
}

// What was published before Close is sent, so that the last pushes before a
// shutdown are heard elsewhere.
func TestOutbox_Close(t *testing.T) {
	t.Parallel()
	n := newNetwork()
	out := mailbox.NewOutbox(t.Context(), n, slog.New(slog.DiscardHandler))
	if err := out.Publish(t.Context(), poke("a", 1)); err != nil {
		t.Error(err)
	}
	first := <-n.sent
	if err := out.Publish(t.Context(), poke("b", 1)); err != nil {
		t.Error(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		out.Close()
	}()
	// The send that is under way is cut off, and its poke sent again.
	second := <-n.sent
	n.fate <- nil
	<-ended
	if diff := cmp.Diff([]string{`{"space":"a","version":1}`}, first); diff != "" {
		t.Error(diff)
	}
	if len(second) != 2 {
		t.Errorf("Close sent %v, want both pokes", second)
	}
}

// buggy is a network over which the first batch panics.
type buggy struct {
	*network
	first bool
}

func (b *buggy) Send(ctx context.Context, batch [][]byte) error {
	if !b.first {
		b.first = true
		panic("planted")
	}
	return b.network.Send(ctx, batch)
}

// A batch over which something panics is lost; the outbox is not.
func TestOutbox_panic(t *testing.T) {
	t.Parallel()
	n := &buggy{network: newNetwork()}
	out := mailbox.NewOutbox(t.Context(), n, slog.New(slog.DiscardHandler))
	// There may be two batches, and the first is lost.
	go func() {
		for i := int64(1); ; i++ {
			select {
			case <-n.closed:
				return
			case <-time.After(time.Millisecond):
				_ = out.Publish(context.Background(), poke("a", i))
			}
		}
	}()
	if got := <-n.sent; len(got) != 1 || !strings.HasPrefix(got[0], `{"space":"a","version":`) {
		t.Errorf("after the panic it sends %q", got)
	}
	close(n.fate)
	closing := make(chan struct{})
	go func() { defer close(closing); out.Close() }()
	for {
		select {
		case <-n.sent:
		case <-closing:
			<-n.closed
			return
		}
	}
}
