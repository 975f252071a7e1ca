package wakeup

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/guard"
	"github.com/tidemark/tidemark/syncer/hook"
)

const (
	// maxSpaces go into one request, which has some ten kilobytes then.
	maxSpaces = 100

	// lookEvery is how often a node looks for what others have left in the Ledger, and
	// keeps there what waits while the receiver fails; hold is how long what it has
	// there is nobody else's.
	lookEvery = time.Minute
	hold      = 15 * time.Minute

	// claimed at a time.
	maxClaimed = 1000

	// lastTry and lastWrite bound the end of a node.
	lastTry   = 3 * time.Second
	lastWrite = 2 * time.Second
)

// Ledger keeps what the receiver has not taken, for all nodes. The store is one; its
// methods say more.
type Ledger interface {
	KeepUndelivered(ctx context.Context, list []models.Undelivered) error
	ClaimUndelivered(ctx context.Context, now, until time.Time, limit int) ([]models.Undelivered, error)
	ForgetUndelivered(ctx context.Context, told []models.Head) error
}

// Options set a Sender. The zero value works.
type Options struct {
	// Gather is how long changes are collected before they are sent. Default: a second.
	Gather time.Duration
	// GiveUp is how long one is tried to be told. Default: a day.
	GiveUp time.Duration
	// Logger hears of failures. Default: slog.Default().
	Logger *slog.Logger
}

// Sender tells one address of changes.
type Sender struct {
	target *hook.Target
	ledger Ledger
	opts   Options
	pauses pauses

	waiting waiting
	changed chan struct{} // of one: something waits
	counts  counts

	closeOnce sync.Once
	closing   chan struct{}
	cancel    context.CancelFunc
	ended     chan struct{}

	// What follows is of the goroutine that sends.
	underWay []entry   // out of waiting, and not yet told
	gate     time.Time // before it nothing is sent
	quiet    bool      // nothing was due at the last look
	failures int       // in a row
	limit    int       // spaces in the next request
}

// counts are what the metrics show.
type counts struct {
	delivered, failed, dead, full, unwanted atomic.Int64
	gone                                    atomic.Bool
}

// New returns a Sender to target. Start has it send.
func New(target *hook.Target, ledger Ledger, opts Options) *Sender {
	if opts.Gather <= 0 {
		opts.Gather = time.Second
	}
	if opts.GiveUp <= 0 {
		opts.GiveUp = 24 * time.Hour
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	return &Sender{
		target: target, ledger: ledger, opts: opts, pauses: defaultPauses, limit: maxSpaces, quiet: true,
		waiting: waiting{entries: make(map[string]entry)},
		changed: make(chan struct{}, 1), closing: make(chan struct{}), ended: make(chan struct{}),
	}
}

// Changed tells that a space has come to a version. It never waits.
func (s *Sender) Changed(space string, version int64) {
	if models.OwnSpace(space) {
		return // the server's own
	}
	if !s.waiting.add(space, version, time.Now()) {
		s.miss()
		return
	}
	s.wake()
}

func (s *Sender) miss() {
	if s.counts.gone.Load() {
		s.counts.unwanted.Add(1)
	} else if s.counts.full.Add(1) == 1 {
		s.opts.Logger.Warn("too many spaces wait for the webhook; some changes will not be told of", "spaces", maxWaiting)
	}
}

func (s *Sender) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Start begins to send. Close ends it.
func (s *Sender) Start() {
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	go guard.Do(ctx, s.opts.Logger, "the end of wake-ups", func() {
		defer close(s.ended)
		_ = guard.Keep(ctx, s.opts.Logger, "wake-ups", func(ctx context.Context) error {
			s.run(ctx)
			return nil
		})
		s.finish(ctx)
	})
}

// Close tries a last time to send what waits, leaves the rest to other nodes, and
// returns when that is done, which takes five seconds at most. Nothing may change any more.
func (s *Sender) Close() {
	s.closeOnce.Do(func() { close(s.closing) })
	timer := time.NewTimer(lastTry)
	defer timer.Stop()
	select {
	case <-s.ended:
	case <-timer.C:
	}
	s.cancel()
	<-s.ended
	s.target.CloseIdleConnections()
}

// run sends what waits until Close is called, or nobody is there to be told.
func (s *Sender) run(ctx context.Context) {
	s.retry(s.underWay) // of before a panic
	look := time.NewTicker(s.pauses.look)
	defer look.Stop()
	s.look(ctx)
	for !s.counts.gone.Load() {
		timer := time.NewTimer(s.sendDue(ctx))
		select {
		case <-s.closing:
			timer.Stop()
			return
		case <-look.C:
			s.look(ctx)
		case <-s.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// sendDue sends one request if there is something due, and returns how long until there
// may be again.
func (s *Sender) sendDue(ctx context.Context) time.Duration {
	now := time.Now()
	if wait := s.gate.Sub(now); wait > 0 {
		return wait
	}
	wait := s.waiting.next(now)
	switch {
	case wait > 0:
		s.quiet = true
		return wait
	case s.quiet:
		s.quiet = false
		s.gate = now.Add(s.opts.Gather) // there may be more soon
		return s.opts.Gather
	}
	s.underWay = s.waiting.take(now, s.limit)
	full := len(s.underWay) == s.limit
	if s.send(ctx) && full {
		return 0 // and on
	}
	s.gate = latest(s.gate, now.Add(s.opts.Gather))
	return time.Until(s.gate)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// send sends what is under way, and reports whether it was taken.
func (s *Sender) send(ctx context.Context) bool {
	answer, err := s.post(ctx, s.underWay)
	switch {
	case err == nil:
		s.succeed(ctx)
	case answer.gone:
		s.stop(ctx, err)
	default:
		s.fail(ctx, answer, err)
	}
	return err == nil
}

func (s *Sender) succeed(ctx context.Context) {
	if s.failures > 0 {
		s.opts.Logger.InfoContext(ctx, "the webhook answers again", "failures", s.failures)
	}
	s.counts.delivered.Add(1)
	s.failures, s.limit = 0, min(2*s.limit, maxSpaces)
	told := heads(s.underWay)
	s.underWay = nil
	if err := s.ledger.ForgetUndelivered(ctx, told); err != nil {
		// Then it is told again, once it is due.
		s.opts.Logger.WarnContext(ctx, "told wake-ups not forgotten", "error", err)
	}
}

func (s *Sender) fail(ctx context.Context, a answer, err error) {
	s.counts.failed.Add(1)
	s.failures++
	level := slog.LevelDebug
	if s.failures == 1 {
		level = slog.LevelWarn
	}
	s.opts.Logger.Log(ctx, level, "the webhook failed", "failures", s.failures, "spaces", len(s.underWay), "error", err)

	s.limit = max(len(s.underWay)/2, 1)
	now := time.Now()
	// Nodes that failed together are not to come back together; spaces that did are, or
	// chance would decide which of them are tried alone.
	part := 0.5 + rand.Float64()/2
	s.gate = now.Add(max(s.pauses.after(s.failures, part), a.retryAfter))
	for i := range s.underWay {
		e := &s.underWay[i]
		e.attempts, e.lastError = e.attempts+1, models.Cut(err.Error(), 300)
		e.due = now.Add(s.pauses.after(int(e.attempts), part))
	}
	s.retry(s.underWay)
	s.bury(ctx, s.waiting.takeOld(now.Add(-s.opts.GiveUp)))
	s.keep(ctx)
}

// retry puts back what was not told.
func (s *Sender) retry(list []entry) {
	s.waiting.putBack(list)
	s.underWay = nil
}

// stop ends everything: the receiver has said that it is gone.
func (s *Sender) stop(ctx context.Context, err error) {
	s.counts.failed.Add(1)
	s.counts.gone.Store(true)
	s.opts.Logger.ErrorContext(ctx, "the webhook is gone; nothing is sent until the server is started again", "error", err)
	list := s.underWay
	s.underWay = nil
	for i := range list {
		list[i].attempts++
	}
	list = append(list, s.waiting.close()...)
	for i := range list {
		list[i].lastError = err.Error()
	}
	s.bury(ctx, list)
}

// bury makes dead letters.
func (s *Sender) bury(ctx context.Context, list []entry) {
	if len(list) == 0 {
		return
	}
	if err := s.ledger.KeepUndelivered(ctx, rows(list, nil)); err != nil {
		s.opts.Logger.WarnContext(ctx, "dead wake-ups not written", "error", err)
		s.waiting.putBack(list) // and they are tried on
		return
	}
	s.counts.dead.Add(int64(len(list)))
	s.opts.Logger.WarnContext(ctx, "wake-ups given up; see tidemark webhook dead", "spaces", len(list), "first", list[0].space)
}

// keep writes down what waits, in case that the node dies before the receiver is back.
func (s *Sender) keep(ctx context.Context) {
	now := time.Now()
	until := now.Add(hold)
	list := s.waiting.unkept(now.Add(hold/2), until)
	if err := s.ledger.KeepUndelivered(ctx, rows(list, &until)); err != nil {
		s.waiting.notKept(list)
		s.opts.Logger.WarnContext(ctx, "waiting wake-ups not written", "error", err)
	}
}

// look takes up what nobody holds any more.
func (s *Sender) look(ctx context.Context) {
	if s.failures > 0 {
		s.keep(ctx)
	}
	for more := true; more && s.waiting.room() >= maxClaimed; {
		now := time.Now()
		until := now.Add(hold)
		list, err := s.ledger.ClaimUndelivered(ctx, now, until, maxClaimed)
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				s.opts.Logger.WarnContext(ctx, "no look for wake-ups that are due", "error", err)
			}
			return
		}
		s.waiting.putBack(claimed(list, now, until))
		more = len(list) == maxClaimed
	}
}

func claimed(list []models.Undelivered, now, until time.Time) []entry {
	entries := make([]entry, len(list))
	for i, u := range list {
		entries[i] = entry{
			space: u.Space, version: u.Version, since: time.UnixMilli(u.Since), due: now,
			attempts: u.Attempts, lastError: u.LastError, kept: u.Version, keptUntil: until,
		}
	}
	return entries
}

// finish tries what is left a last time, as long as that goes well, and leaves the rest
// to whoever looks next.
func (s *Sender) finish(ctx context.Context) {
	left := append(s.underWay, s.waiting.close()...)
	for len(left) > 0 && ctx.Err() == nil && !s.counts.gone.Load() {
		s.underWay = left[:min(len(left), maxSpaces)]
		answer, err := s.post(ctx, s.underWay)
		if err != nil {
			for i := range s.underWay {
				s.underWay[i].attempts, s.underWay[i].lastError = s.underWay[i].attempts+1, models.Cut(err.Error(), 300)
			}
			s.counts.failed.Add(1)
			s.counts.gone.Store(answer.gone)
			break
		}
		left = left[len(s.underWay):]
		s.succeed(ctx)
	}
	if len(left) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
	defer cancel()
	now := time.Now()
	if err := s.ledger.KeepUndelivered(ctx, rows(left, &now)); err != nil {
		s.opts.Logger.ErrorContext(ctx, "changes not told of", "spaces", len(left), "error", err)
	}
}

// pauses between tries.
type pauses struct {
	first, longest time.Duration // double from failure to failure
	timeout        time.Duration // of one request
	look           time.Duration
}

var defaultPauses = pauses{first: time.Second, longest: 5 * time.Minute, timeout: 10 * time.Second, look: lookEvery}

// after returns a part of the pause after n failures.
func (p pauses) after(n int, part float64) time.Duration {
	pause := p.longest
	if n < 30 {
		pause = min(p.first<<(n-1), p.longest)
	}
	return time.Duration(part * float64(pause))
}
