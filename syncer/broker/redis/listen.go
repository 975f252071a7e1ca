package redis

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/mailbox"
	"github.com/tidemark/tidemark/syncer/guard"
)

// pingEvery is how often a listener asks whether the server is still there. A
// connection on which nothing comes for two pings and an answer's time is dead.
const pingEvery = 10 * time.Second

// listener puts what the server sends into a mailbox.
//
// It uses the library's Receive, not its Channel: that one reconnects by itself,
// but doesn't notice a server that takes its pings and never answers them.
type listener struct {
	client  *redis.Client
	channel string
	log     *slog.Logger
	in      *mailbox.Box
	ping    time.Duration // as the constant; tests are less patient
}

// listen listens on one connection until that breaks or ctx ends. It calls begun
// when it begins to hear.
func (l *listener) listen(ctx context.Context, begun func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sub := l.client.Subscribe(ctx, l.channel)
	var pinging sync.WaitGroup
	pinging.Go(func() { guard.Do(ctx, l.log, "asking Redis", func() { l.keepAsking(ctx, sub) }) })
	defer pinging.Wait()
	defer cancel()
	for {
		received, err := sub.ReceiveTimeout(ctx, 2*l.ping+answer)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		switch received := received.(type) {
		case *redis.Subscription:
			begun()
			// What was sent before was not heard.
			l.in.Put(syncer.Message{})
		case *redis.Message:
			if m, err := syncer.ParseMessage([]byte(received.Payload)); err != nil {
				l.log.WarnContext(ctx, "broker heard what is no message", "error", err)
			} else {
				l.in.Put(m)
			}
		}
	}
}

// keepAsking pings until ctx ends or the connection breaks, and then closes it:
// only that ends a Receive.
func (l *listener) keepAsking(ctx context.Context, sub *redis.PubSub) {
	defer func() { _ = sub.Close() }() // it may have been
	tick := time.NewTicker(l.ping)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := sub.Ping(ctx); err != nil {
				return
			}
		}
	}
}
