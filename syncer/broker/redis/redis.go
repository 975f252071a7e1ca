// Package redis is the broker of nodes that share a Redis (or Valkey) server:
// PUBLISH and SUBSCRIBE on one channel, nothing stored there.
//
// Redis doesn't keep the channels of its databases apart, so the channel has the
// database's number in its name, but for database 0: tidemark, tidemark:1 and so
// on. Deployments that share a server under several numbers don't hear each other.
//
// Anybody may poke by hand: redis-cli publish tidemark '{"space":"home"}'
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/mailbox"
	"github.com/tidemark/tidemark/syncer/broker/retry"
)

// answer bounds the wait for an answer of the server.
const answer = 5 * time.Second

// Options set a Broker. The zero value works.
type Options struct {
	// Logger hears when connections are lost and found. Default: slog.Default().
	Logger *slog.Logger
}

// Broker carries messages over one channel.
type Broker struct {
	client  *redis.Client
	channel string
	log     *slog.Logger
	out     *mailbox.Outbox
}

var _ syncer.Broker = (*Broker)(nil)

var errURL = errors.New("a Redis URL looks like redis://USER:PASSWORD@HOST:6379/0, or rediss:// for TLS")

// parseURL reads a URL. Its errors don't repeat it, because it may hold a password.
func parseURL(text string) (*redis.Options, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Hostname() == "" {
		return nil, errURL
	}
	opts, err := redis.ParseURL(text)
	if err != nil || opts.DB < 0 {
		return nil, errURL
	}
	opts.ClientName = "tidemark"
	opts.Protocol = 2 // all that is needed here, and every server speaks it
	opts.DisableIdentity = true
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	// Trying again is done here, with pauses, and what is unsent is merged meanwhile.
	opts.MaxRetries = -1
	opts.DialerRetries = 1
	opts.DialTimeout, opts.ReadTimeout, opts.WriteTimeout = answer, answer, answer
	opts.ContextTimeoutEnabled = true
	return opts, nil
}

// CheckURL returns what is wrong with a URL, without repeating it.
func CheckURL(url string) error {
	_, err := parseURL(url)
	return err
}

// New returns a Broker on the server that url names. It doesn't wait for the
// server. The caller closes it; the end of ctx doesn't. Error: url is not valid.
func New(ctx context.Context, url string, opts Options) (*Broker, error) {
	client, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	b := &Broker{client: redis.NewClient(client), channel: "tidemark", log: opts.Logger.With("broker", "redis")}
	if client.DB > 0 {
		b.channel = fmt.Sprintf("tidemark:%d", client.DB)
	}
	// The library has one logger for the process. It speaks of each attempt.
	redis.SetLogger(debugLog{b.log})
	b.out = mailbox.NewOutbox(ctx, sender{b.client, b.channel}, b.log)
	return b, nil
}

// debugLog is the library's logger.
type debugLog struct{ log *slog.Logger }

// Printf implements what the library wants of a logger.
func (l debugLog) Printf(ctx context.Context, format string, values ...any) {
	l.log.DebugContext(ctx, "redis client", "message", fmt.Sprintf(format, values...))
}

// Publish implements syncer.Broker.
func (b *Broker) Publish(ctx context.Context, m syncer.Message) error {
	return b.out.Publish(ctx, m)
}

// Run implements syncer.Broker. It returns no error.
func (b *Broker) Run(ctx context.Context, deliver func(syncer.Message)) error {
	in := mailbox.New()
	l := listener{client: b.client, channel: b.channel, log: b.log, in: in, ping: pingEvery}
	var listening sync.WaitGroup
	listening.Go(func() { retry.Forever(ctx, b.log, l.listen) })
	in.Deliver(ctx, deliver)
	listening.Wait()
	return nil
}

// Close sends what is left, for at most a second, and closes the connections. What
// is published afterwards is lost, and a Run hears nothing more.
func (b *Broker) Close() error {
	b.out.Close()
	return b.client.Close()
}

// sender is the mailbox.Sender of a client.
type sender struct {
	client  *redis.Client
	channel string
}

// Send implements mailbox.Sender. The batch is one round trip.
func (s sender) Send(ctx context.Context, batch [][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	pipe := s.client.Pipeline()
	for _, text := range batch {
		pipe.Publish(ctx, s.channel, text)
	}
	_, err := pipe.Exec(ctx)
	return err
}

// Close implements mailbox.Sender: the client is the Broker's.
func (s sender) Close(context.Context) {}
