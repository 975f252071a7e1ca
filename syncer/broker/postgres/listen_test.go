package postgres

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/brokertest"
	"github.com/tidemark/tidemark/syncer/broker/mailbox"
	"github.com/tidemark/tidemark/syncer/broker/retry"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// A connection that died without a word is found out by asking.
func TestListener_silentDeath(t *testing.T) {
	t.Parallel()
	config, err := Config(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	deaf, deafen := brokertest.Deafen(config.DialFunc)
	config.DialFunc = deaf
	in := mailbox.New()
	l := listener{config: config, log: slog.New(slog.DiscardHandler), in: in, quiet: 50 * time.Millisecond}
	ctx, cancel := context.WithCancel(t.Context())
	heard, ended := make(chan syncer.Message, 16), make(chan struct{})
	go func() {
		defer close(ended)
		retry.Forever(ctx, l.log, l.listen)
	}()
	go in.Deliver(ctx, func(m syncer.Message) { heard <- m })
	<-heard
	deafen()
	<-heard // it listens again
	cancel()
	<-ended
}

// Quiet is not death: a listener that nothing is sent to keeps its connection.
func TestListener_quiet(t *testing.T) {
	t.Parallel()
	config, err := Config(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 1024)
	var dials atomic.Int32
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		dials.Add(1)
		return countingConn{conn, asked}, nil
	}
	in := mailbox.New()
	l := listener{config: config, log: slog.New(slog.DiscardHandler), in: in, quiet: time.Millisecond}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.listen(ctx, func() {}) }()
	for range 100 {
		<-asked
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

type countingConn struct {
	net.Conn
	writes chan struct{}
}

func (c countingConn) Write(p []byte) (int, error) {
	select {
	case c.writes <- struct{}{}:
	default:
	}
	return c.Conn.Write(p)
}

// Messages share notifications as far as they fit, and each fits.
func TestLines(t *testing.T) {
	t.Parallel()
	small, large := []byte(`{"space":"s1"}`), bytes.Repeat([]byte("x"), syncer.MaxMessageBytes)
	for name, test := range map[string]struct {
		batch [][]byte
		want  []int // messages in each notification
	}{
		"one":            {[][]byte{small}, []int{1}},
		"several":        {[][]byte{small, small, small}, []int{3}},
		"two large ones": {[][]byte{large, large}, []int{1, 1}},
		"mixed":          {[][]byte{small, large, small, large, small}, []int{3, 2}},
	} {
		var got []int
		for _, payload := range lines(test.batch) {
			got = append(got, 1+strings.Count(payload, "\n"))
			if len(payload) > maxPayload {
				t.Errorf("%s: a payload of %d bytes", name, len(payload))
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
