package logical

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/mailbox"
	"github.com/tidemark/tidemark/syncer/broker/postgres"
	"github.com/tidemark/tidemark/syncer/broker/retry"
	"github.com/tidemark/tidemark/syncer/guard"
)

// Options set a Broker. The zero value works.
type Options struct {
	// Slot names a replication slot that stays. It is made if it is missing. If no
	// node reads it IT FILLS THE DISK; see the package's comment. Default: a
	// temporary slot.
	Slot string
	// Logger hears when the connection is lost and found. Default: slog.Default().
	Logger *slog.Logger
}

// Broker pokes for what is written into one database.
type Broker struct {
	config *pgconn.Config
	inner  syncer.Broker
	slot   string
	log    *slog.Logger

	slotTaken atomic.Bool // one Run reads the named slot; others take temporary ones
}

var _ syncer.Broker = (*Broker)(nil)

var slots = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

// CheckSlot returns what is wrong with the name of a slot.
func CheckSlot(name string) error {
	if !slots.MatchString(name) {
		return fmt.Errorf("a replication slot's name has 1 to 63 small letters, digits and underscores, which %q has not", name)
	}
	return nil
}

// Open returns a Broker on the database that url names, in the store's form, after
// it has seen that the database can be read so. News of presence goes through
// inner, which stays the caller's. Errors say what to do; they are also returned
// if the database is away now.
func Open(ctx context.Context, url string, inner syncer.Broker, opts Options) (*Broker, error) {
	if opts.Slot != "" {
		if err := CheckSlot(opts.Slot); err != nil {
			return nil, err
		}
	}
	config, err := postgres.Config(url)
	if err != nil {
		return nil, err
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	b := &Broker{
		config: config.Config.Copy(),
		inner:  inner,
		slot:   opts.Slot,
		log:    opts.Logger.With("broker", "logical"),
	}
	b.config.RuntimeParams["replication"] = "database"
	conn, err := b.connect(ctx)
	if err != nil {
		return nil, err
	}
	postgres.HangUp(ctx, conn)
	return b, nil
}

// Publish implements syncer.Broker. Pokes come from the database, so there is
// nothing to do for one.
func (b *Broker) Publish(ctx context.Context, m syncer.Message) error {
	if m.IsPoke() {
		return nil
	}
	return b.inner.Publish(ctx, m)
}

// Run implements syncer.Broker. Errors: those of the inner broker.
func (b *Broker) Run(ctx context.Context, deliver func(syncer.Message)) error {
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	in := mailbox.New()
	s := stream{broker: b, in: in, ask: askEvery}
	if b.slot != "" && b.slotTaken.CompareAndSwap(false, true) {
		defer b.slotTaken.Store(false)
		s.slot = b.slot
	}
	var hearing sync.WaitGroup
	hearing.Go(func() { retry.Forever(running, b.log, s.listen) })
	var failure error
	hearing.Go(func() {
		failure = guard.Keep(running, b.log, "the broker of presence", func(ctx context.Context) error {
			return b.inner.Run(ctx, in.Put)
		})
		cancel()
	})
	in.Deliver(running, deliver)
	hearing.Wait()
	if failure != nil {
		return fmt.Errorf("presence: %w", failure)
	}
	if ctx.Err() == nil {
		return errors.New("presence: its broker has ended")
	}
	return nil
}
