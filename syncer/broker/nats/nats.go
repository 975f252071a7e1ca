// Package nats is the broker of nodes that share a NATS server or cluster: core
// NATS, one subject, nothing stored there.
//
// Anybody may poke by hand: nats pub tidemark '{"space":"home"}'
package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/mailbox"
	"github.com/tidemark/tidemark/syncer/broker/retry"
	"github.com/tidemark/tidemark/syncer/guard"
)

const (
	// pingEvery is how often the server is asked whether it is still there; after
	// two pings without an answer the client connects again.
	pingEvery = 10 * time.Second
	// answer bounds the wait for an answer of the server.
	answer = 5 * time.Second
)

// Options set a Broker. The zero value works.
type Options struct {
	// Logger hears when the connection is lost and found. Default: slog.Default().
	Logger *slog.Logger
}

// Broker carries messages over one subject, on one connection.
type Broker struct {
	subject string
	log     *slog.Logger
	conn    *nats.Conn
	out     *mailbox.Outbox

	boxes mailbox.Boxes

	mu   sync.Mutex
	away bool // and log has been told
}

var _ syncer.Broker = (*Broker)(nil)

// New returns a Broker. url names one server, or several of a cluster separated by
// commas; a user and a password stand in it, and the path is the subject, by
// default tidemark. If no server answers, it goes on trying in the background. The
// caller closes it; the end of ctx doesn't. Error: url is not valid.
func New(ctx context.Context, url string, opts Options) (*Broker, error) {
	servers, subject, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	b := &Broker{
		subject: subject,
		log:     opts.Logger.With("broker", "nats"),
	}
	b.conn, err = nats.Connect(strings.Join(servers, ","), b.options(context.WithoutCancel(ctx))...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	b.out = mailbox.NewOutbox(ctx, sender{b.conn, subject}, b.log)
	return b, nil
}

// options make the client connect again for ever. It buffers nothing meanwhile:
// that is the outbox's affair, which merges.
func (b *Broker) options(ctx context.Context) []nats.Option {
	return []nats.Option{
		nats.Name("tidemark"),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // a password may be put right on the server
		nats.CustomReconnectDelay(retry.After),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(pingEvery),
		nats.MaxPingsOutstanding(1),
		nats.NoCallbacksAfterClientClose(),
		nats.ConnectHandler(func(conn *nats.Conn) { b.call(ctx, func() { b.connected(conn) }) }),
		nats.ReconnectHandler(func(conn *nats.Conn) { b.call(ctx, func() { b.connected(conn) }) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { b.call(ctx, func() { b.disconnected(err) }) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { b.call(ctx, func() { b.disconnected(err) }) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			b.call(ctx, func() { b.log.WarnContext(ctx, "broker refused", "error", err) })
		}),
	}
}

// call is how the library's goroutines come in here.
func (b *Broker) call(ctx context.Context, do func()) {
	guard.Do(ctx, b.log, "a callback of NATS", do)
}

// connected: the client has subscribed again, but what was sent meanwhile is lost.
func (b *Broker) connected(conn *nats.Conn) {
	// Not before the server has our subscriptions: what changes between the poke and
	// them would be neither looked for nor heard. If it doesn't answer, the next
	// connection pokes again.
	_ = conn.FlushTimeout(answer)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		b.log.Info("broker hears again")
	}
	b.away = false
	b.boxes.Put(syncer.Message{})
}

func (b *Broker) disconnected(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.away {
		b.log.Warn("broker hears nothing", "error", err)
	}
	b.away = true
}

// Publish implements syncer.Broker.
func (b *Broker) Publish(ctx context.Context, m syncer.Message) error {
	return b.out.Publish(ctx, m)
}

// Run implements syncer.Broker. Error: the Broker is closed.
func (b *Broker) Run(ctx context.Context, deliver func(syncer.Message)) error {
	in := b.boxes.Open() // first of all: a connection that is made from here on pokes it
	defer b.boxes.Close(in)
	sub, err := b.conn.Subscribe(b.subject, func(m *nats.Msg) { b.call(ctx, func() { b.hear(in, m.Data) }) })
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails if the Broker was closed
	if b.conn.IsConnected() {
		flushing, cancel := context.WithTimeout(ctx, answer)
		defer cancel()
		_ = b.conn.FlushWithContext(flushing) // as in connected
		in.Put(syncer.Message{})
	}
	in.Deliver(ctx, deliver)
	return nil
}

func (b *Broker) hear(in *mailbox.Box, text []byte) {
	m, err := syncer.ParseMessage(text)
	if err != nil {
		b.log.Warn("broker heard what is no message", "error", err)
		return
	}
	in.Put(m)
}

// Close sends what is left, for at most a second, and closes the connection. What
// is published afterwards is lost, and a Run hears nothing more.
func (b *Broker) Close() error {
	b.out.Close()
	b.conn.Close()
	return nil
}

// sender is the mailbox.Sender of a connection.
type sender struct {
	conn    *nats.Conn
	subject string
}

var errAway = errors.New("not connected")

// Send implements mailbox.Sender. It waits until the server has the batch.
func (s sender) Send(ctx context.Context, batch [][]byte) error {
	if !s.conn.IsConnected() {
		return errAway
	}
	for _, text := range batch {
		if err := s.conn.Publish(s.subject, text); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	return s.conn.FlushWithContext(ctx)
}

// Close implements mailbox.Sender: the connection is the Broker's.
func (s sender) Close(context.Context) {}
