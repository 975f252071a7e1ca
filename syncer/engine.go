package syncer

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/fault"
	"github.com/tidemark/tidemark/syncer/guard"
)

const defaultRetention = 30 * 24 * time.Hour

// Options set an Engine. The zero value works.
type Options struct {
	// PollMin and PollMax bound what clients are told to wait between pulls:
	// PollMin while a space is active, up to PollMax when it is quiet. Defaults:
	// one and five seconds.
	PollMin, PollMax time.Duration

	// Now is the clock, for pace and waiting only; it orders nothing. Default: time.Now.
	Now func() time.Time

	// NewID makes edit ids for writes that bring none. Default: 130 random bits.
	NewID func() string

	// Retention is how long what was deleted, and past epochs, are remembered.
	// Default: 30 days.
	Retention time.Duration

	// Committers is how many transactions may carry out pushes at a time. Default:
	// one, which is right for a database with one writer.
	Committers int

	// TailMemory bounds what the newest changes of all spaces may take in memory,
	// in bytes. Default: 64 MiB. Negative: nothing is kept, every pull asks the
	// database.
	TailMemory int

	// Rules are what documents must be like to be stored. Default: nothing more than
	// their form.
	Rules Rules

	// Validator is asked about the edits of clients, not about those of the inbox.
	// Default: nobody is.
	Validator Validator

	// Replica is read in place of the Store where pages come from neither memory nor the
	// newest changes. Default: none.
	Replica Replica

	// OnPresence hears the news of presence that the broker brings; it is called
	// by one goroutine and delays pokes while it runs. Default: nobody.
	OnPresence func(Message)

	// Canary is how often this node writes a beat into models.CanarySpace, by which every
	// node measures how soon it sees what was written. Default: 0, never; then beats of
	// others are not looked at either.
	Canary time.Duration

	// OnChange hears of each commit of this engine that has changed a space, and the
	// version that it has come to. It delays the answer to the push. Default: nobody.
	OnChange func(space string, version int64)

	// Tracer is told what is done for requests. Default: nobody is.
	Tracer Tracer

	// Logger hears what no caller is told. Default: slog.Default().
	Logger *slog.Logger
}

// Engine decides pushes and answers pulls. It keeps no state that matters: any
// number of engines may work on one Store.
type Engine struct {
	store  Store
	broker Broker
	opts   Options

	watchers   watchers
	tails      *tails
	committer  *committer
	older      olderReceipts
	committing sync.WaitGroup // goroutines of committers
	collector  *collector
	slowly     chan struct{} // held by who waits for a slow space

	verified, faulty atomic.Int64 // spaces
	metrics          *metrics
	beats            beats

	followed  atomic.Bool // the refresher has begun
	drainOnce sync.Once
	draining  chan struct{}
}

// New returns an Engine on store. Pokes go to broker; Run brings them back.
func New(store Store, broker Broker, opts Options) *Engine {
	if opts.PollMin <= 0 {
		opts.PollMin = time.Second
	}
	if opts.PollMax <= 0 {
		opts.PollMax = 5 * time.Second
	}
	opts.PollMax = max(opts.PollMin, opts.PollMax)
	opts.Committers = max(opts.Committers, 1)
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.NewID == nil {
		opts.NewID = randomID
	}
	if opts.Retention == 0 {
		opts.Retention = defaultRetention
	}
	if opts.OnPresence == nil {
		opts.OnPresence = func(Message) {}
	}
	if opts.OnChange == nil {
		opts.OnChange = func(string, int64) {}
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	e := &Engine{
		store:    timed{store, opts.Tracer},
		broker:   broker,
		opts:     opts,
		tails:    newTails(opts.TailMemory, time.Now),
		slowly:   make(chan struct{}, maxSlowSpaces),
		draining: make(chan struct{}),
		metrics:  newMetrics(),
	}
	if opts.Canary > 0 {
		e.beats.begin(opts.NewID(), opts.Now)
	}
	e.committer = newCommitter(e)
	e.collector = newCollector(e)
	return e
}

// Run follows what others do, until ctx ends: it keeps the tails true, delivers
// pokes and news of presence, and has the rows of the inbox carried out. Without it
// an Engine works, but asks the database for everything and leaves the inbox alone.
// A bug in any of this costs what it struck: all of it goes on.
func (e *Engine) Run(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { e.keep(ctx, "the refresher", e.refresh) })
	running.Go(func() { e.keep(ctx, "the collector", e.collector.run) })
	running.Go(func() { e.keep(ctx, "purging", e.purgeNowAndThen) })
	running.Go(func() { e.keep(ctx, "verifying", e.verifyNowAndThen) })
	if e.opts.Canary > 0 {
		running.Go(func() { e.keep(ctx, "the canary", e.keepBeating) })
		running.Go(func() { e.keep(ctx, "the canary's watch", e.watchBeats) })
	}
	err := guard.Keep(ctx, e.opts.Logger, "the broker", func(ctx context.Context) error {
		return e.broker.Run(ctx, func(m Message) {
			// One that is not delivered is one that was lost, as brokers may lose any.
			guard.Do(ctx, e.opts.Logger, "a message", func() { e.deliver(m) })
		})
	})
	end()
	running.Wait()
	return err
}

// keep runs what has no end but that of ctx.
func (e *Engine) keep(ctx context.Context, name string, run func(context.Context)) {
	_ = guard.Keep(ctx, e.opts.Logger, name, func(ctx context.Context) error {
		run(ctx)
		return nil
	})
}

// deliver acts on what another engine, or this one, has published.
func (e *Engine) deliver(m Message) {
	if m.IsPoke() {
		e.metrics.heard(m, e.opts.Now())
		if m.Version == 0 {
			e.collector.look() // its sender may have written to the inbox
		}
	}
	switch {
	case !m.IsPoke():
		e.opts.OnPresence(m)
	case m.Space == "":
		e.tails.lookAtAll()
		e.watchers.wakeAll()
	default:
		t := e.tails.find(m.Space)
		if t == nil {
			e.watchers.wake(m.Space) // they look for themselves
		} else if m.Version == 0 || m.Version > t.poked(m.Version) {
			e.tails.look(m.Space, m.Version)
		}
	}
}

// Close waits for the commits that are under way. Nothing may be pushed any more.
func (e *Engine) Close() { e.committing.Wait() }

// Drain ends all long polls at once, each with the page it has; later ones don't
// wait. A server calls it before it shuts down.
func (e *Engine) Drain() {
	e.drainOnce.Do(func() { close(e.draining) })
}

// Draining returns a channel that is closed when Drain is called: for streams,
// which end then.
func (e *Engine) Draining() <-chan struct{} { return e.draining }

// CheckCursor tells what Pull would say of a cursor before it looks at the space.
// Errors: CodeInvalidCursor, CodeCursorExpired for another filter.
func (e *Engine) CheckCursor(text, space string, collections []string) error {
	_, err := openCursor(text, space, filterOf(collections))
	if models.CodeOf(err) == models.CodeInvalidCursor {
		return e.metrics.refused(err) // any other cause comes again, with the first page
	}
	return err
}

// Ready returns nil if the engine can answer: the database can, Run has begun to
// follow it, and the engine is not draining. Errors: CodeUnavailable, with what is
// missing, and those of Store.
func (e *Engine) Ready(ctx context.Context) error {
	select {
	case <-e.draining:
		return models.Errorf(models.CodeUnavailable, "It is shutting down.")
	default:
	}
	if !e.followed.Load() {
		return models.Errorf(models.CodeUnavailable, "It is starting.")
	}
	return e.store.Ping(ctx)
}

// announce tells whoever follows a space what was committed to it.
func (e *Engine) announce(ctx context.Context, c *spaceCommit) {
	if len(c.documents) == 0 {
		return
	}
	if c.newEpoch {
		e.metrics.newEpochs.Inc()
	}
	e.tails.commit(c)
	e.watchers.wake(c.space.ID)
	e.opts.OnChange(c.space.ID, c.space.Head)
	fault.Point(fault.PushBeforePoke)
	// If the poke is lost, other nodes find the change by themselves a little later.
	poke := Message{Space: c.space.ID, Version: c.space.Head}
	if err := e.broker.Publish(ctx, poke); err == nil {
		e.metrics.pokesSent.Inc()
	} else {
		e.metrics.pokesFailed.Inc()
		e.opts.Logger.WarnContext(ctx, "poke not published", "space", poke.Space, "version", poke.Version, "error", err)
	}
}

// Heads returns the newest version of each space, 0 for a space never written,
// and how long a client should wait before it asks again. minVersion is the newest
// version that a push answered to this client; a node that is behind it asks the
// database. Errors: those of Store.
func (e *Engine) Heads(ctx context.Context, spaces []string, minVersion int64) ([]models.Head, time.Duration, error) {
	rows, err := e.heads(ctx, spaces, minVersion)
	if err != nil {
		return nil, 0, err
	}
	heads := make([]models.Head, len(spaces))
	var newest int64
	for i, space := range spaces {
		heads[i] = models.Head{Space: space, Version: rows[i].Head}
		newest = max(newest, rows[i].Head)
	}
	return heads, e.pollAfter(newest), nil
}

func (e *Engine) heads(ctx context.Context, spaces []string, minVersion int64) ([]models.Space, error) {
	if rows, ok := e.tails.heads(spaces, minVersion); ok {
		workOf(ctx).source(SourceTail)
		return rows, nil
	}
	workOf(ctx).source(SourceDatabase)
	started := e.tails.now()
	rows, err := e.store.Heads(ctx, spaces)
	if err == nil {
		for i, space := range spaces {
			row := rows[i]
			e.tails.learn(space, Range{After: row.Head}, Run{Space: row, Through: row.Head}, started)
		}
	}
	return rows, err
}

// Document returns one document. Errors: CodeDocumentNotFound if there is none or
// it is deleted, and those of Store.
func (e *Engine) Document(ctx context.Context, space, collection, id string) (*models.Change, error) {
	doc, err := e.store.Document(ctx, space, Key{collection, id})
	if err != nil {
		return nil, err
	}
	if doc == nil || doc.Deleted {
		return nil, models.Errorf(models.CodeDocumentNotFound, "There is no document %s/%s in this space.", collection, id)
	}
	return doc.Change(), nil
}

// Setting returns the value of a setting, the same on every node; fresh, unless
// there is one already. Errors: those of Store.
func (e *Engine) Setting(ctx context.Context, name string, fresh []byte) ([]byte, error) {
	return e.store.Setting(ctx, name, fresh)
}

// pollAfter is the server's word on pace: a tenth of the time since the space
// last changed. Versions come from a clock in microseconds, so the head tells
// when that was.
func (e *Engine) pollAfter(head int64) time.Duration {
	age := e.opts.Now().Sub(time.UnixMicro(head))
	return min(max(age/10, e.opts.PollMin), e.opts.PollMax)
}

const idAlphabet = "abcdefghijklmnopqrstuvwxyz234567"

// randomID returns 130 random bits as 26 letters and digits.
func randomID() string {
	id := make([]byte, 26)
	for i := range id {
		id[i] = idAlphabet[rand.N(len(idAlphabet))]
	}
	return string(id)
}
