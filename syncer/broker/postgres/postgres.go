// Package postgres is the broker of nodes that share a PostgreSQL: NOTIFY and
// LISTEN on the channel tidemark.
//
// NOTIFY is sent after the commit that it tells of, from a connection of its own:
// inside the pushes' transactions it would take a lock of the whole database at
// each commit, one after another. Each Run listens on another connection.
//
// Anybody may poke by hand, in any transaction:
//
//	SELECT pg_notify('tidemark', '{"space":"home"}')
//
// Poolers that hand a connection to several clients (PgBouncer's transaction mode)
// can't carry LISTEN; such a deployment needs the database's own address here.
package postgres

import (
	"context"
	"log/slog"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/mailbox"
	"github.com/tidemark/tidemark/syncer/broker/retry"
)

// Options set a Broker. The zero value works.
type Options struct {
	// Logger hears when connections are lost and found. Default: slog.Default().
	Logger *slog.Logger
}

// Broker carries messages over one database.
type Broker struct {
	config *pgx.ConnConfig
	log    *slog.Logger
	out    *mailbox.Outbox
}

var _ syncer.Broker = (*Broker)(nil)

// New returns a Broker on the database that url names, in the store's form. It
// doesn't wait for the database. The caller closes it; the end of ctx doesn't. Error: url is
// not valid.
func New(ctx context.Context, url string, opts Options) (*Broker, error) {
	config, err := Config(url)
	if err != nil {
		return nil, err
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	log := opts.Logger.With("broker", "postgres")
	return &Broker{
		config: config,
		log:    log,
		out:    mailbox.NewOutbox(ctx, &notifier{config: config}, log),
	}, nil
}

// Publish implements syncer.Broker.
func (b *Broker) Publish(ctx context.Context, m syncer.Message) error {
	return b.out.Publish(ctx, m)
}

// Run implements syncer.Broker. It returns no error.
func (b *Broker) Run(ctx context.Context, deliver func(syncer.Message)) error {
	in := mailbox.New()
	l := listener{config: b.config, log: b.log, in: in, quiet: quiet}
	var listening sync.WaitGroup
	listening.Go(func() { retry.Forever(ctx, b.log, l.listen) })
	in.Deliver(ctx, deliver)
	listening.Wait()
	return nil
}

// Close sends what is left, for at most a second, and closes the connection. What
// is published afterwards is lost; a Run goes on until its own context ends.
func (b *Broker) Close() error {
	b.out.Close()
	return nil
}
