package redis

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/brokertest"
	"github.com/tidemark/tidemark/syncer/broker/mailbox"
	"github.com/tidemark/tidemark/syncer/broker/retry"
	"github.com/tidemark/tidemark/tests/redistest"
)

// A connection that died without a word is found out by asking, and one on which
// nothing is said but the answers lives.
func TestListener_silentDeath(t *testing.T) {
	t.Parallel()
	opts, err := parseURL(redistest.Start(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	deaf, deafen := brokertest.Deafen(new(net.Dialer).DialContext)
	opts.Dialer = deaf
	client := redis.NewClient(opts)
	defer client.Close()
	in := mailbox.New()
	l := listener{client: client, channel: "tidemark", log: slog.New(slog.DiscardHandler), in: in, ping: 10 * time.Millisecond}
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
