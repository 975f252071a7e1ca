package auth

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/guard"
)

const (
	// staleAfter is how old may be what a node knows of keys and revocations, counted
	// from when it began to read that. So long at most a revocation is not seen.
	staleAfter = 5 * time.Second
	// A look that fails or hangs leaves time for another.
	lookEvery   = 2 * time.Second
	lookTimeout = 2 * time.Second
	retryEvery  = 500 * time.Millisecond

	cleanEvery = 10 * time.Minute
	// cleanTimeout is short because looking waits for it.
	cleanTimeout = time.Second

	// maxTold bounds how many revocations one look writes into the log.
	maxTold = 100
)

// Source is where keys and revocations are kept.
type Source interface {
	// Access returns the API keys that are not revoked, and all revocations, each in
	// an order that stays. What was committed before the call is in it.
	Access(ctx context.Context) ([]models.APIKey, []models.Revocation, error)
	// ForgetRevocations deletes the revocations that expired before now, and were made
	// before the other time.
	ForgetRevocations(ctx context.Context, now, madeBefore time.Time) error
}

// DirectoryOptions set a Directory. The zero value works.
type DirectoryOptions struct {
	MaxTTL time.Duration // longest lifetime of a token; default 24 h
	Logger *slog.Logger  // default: slog.Default()
	Later  bool          // the source may not be there yet
}

// Directory knows the API keys and what is revoked. It reads both whole, again and
// again, whatever anybody tells it: no poke need arrive for a revocation to be seen.
// If it can't it knows nothing after five seconds, and then nobody is let in, for what
// it knew may have been revoked. It is safe for concurrent use.
type Directory struct {
	source  Source
	maxTTL  time.Duration
	log     *slog.Logger
	current atomic.Pointer[edition]
	failure error // of the last look; nobody but who looks reads it
}

// edition is what a Directory knew at a time. Nobody changes it.
type edition struct {
	*entries
	began time.Time // the reading of what is known
	stale bool      // that was too long ago
	// replaced is closed when there is another edition that says something else.
	replaced chan struct{}
}

// entries is what was read.
type entries struct {
	rows        []models.APIKey
	revocations []models.Revocation

	keys     map[string]*knownKey // by their ids
	tokens   map[string]bool      // by jti: it is revoked
	subjects map[string]int64     // whose tokens that were issued up to then are revoked
}

// OpenDirectory returns a Directory that has read source once, unless opts.Later lets it
// do without; then nobody is let in before it has. Run keeps it true.
func OpenDirectory(ctx context.Context, source Source, opts DirectoryOptions) (*Directory, error) {
	if opts.MaxTTL <= 0 {
		opts.MaxTTL = defaultMaxTTL
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	d := &Directory{source: source, maxTTL: opts.MaxTTL, log: opts.Logger}
	d.current.Store(&edition{entries: &entries{}, stale: true, replaced: make(chan struct{})})
	if err := d.read(ctx); err != nil && !opts.Later {
		return nil, fmt.Errorf("read API keys and revocations: %w", err)
	}
	return d, nil
}

// Run follows the source until ctx ends.
func (d *Directory) Run(ctx context.Context) error {
	look, clean := time.NewTimer(lookEvery), time.NewTicker(cleanEvery)
	defer look.Stop()
	defer clean.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			d.look(ctx)
			look.Reset(d.pause())
		case <-clean.C:
			d.clean(ctx)
		}
	}
}

// look reads anew.
func (d *Directory) look(ctx context.Context) {
	d.giveUp(ctx)
	now := d.current.Load()
	timeout := lookTimeout
	if !now.stale {
		timeout = min(timeout, time.Until(now.began.Add(staleAfter)))
	}
	reading, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if d.failure = d.read(reading); d.failure == nil && now.stale {
		d.log.InfoContext(ctx, "keys and revocations are read again")
	}
	d.giveUp(ctx)
}

// giveUp forgets what is known once it is too old, and wakes those to whom nobody
// would say so.
func (d *Directory) giveUp(ctx context.Context) {
	now := d.current.Load()
	if now.stale || time.Since(now.began) < staleAfter || ctx.Err() != nil {
		return
	}
	d.log.WarnContext(ctx, "keys and revocations can't be read: nobody is let in", "error", d.failure)
	d.replace(now, &edition{entries: now.entries, began: now.began, stale: true})
}

// pause is the time to the next look, which comes no later than what is known becomes
// too old.
func (d *Directory) pause() time.Duration {
	now := d.current.Load()
	switch {
	case d.failure == nil:
		return time.Until(now.began.Add(lookEvery)) // reading may have taken long
	case now.stale:
		return retryEvery
	}
	return min(retryEvery, time.Until(now.began.Add(staleAfter)))
}

// read makes the next edition. Only one goroutine does so at a time.
func (d *Directory) read(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = guard.Caught(r)
		}
	}()
	now, began := d.current.Load(), time.Now()
	rows, revocations, err := d.source.Access(ctx)
	if err != nil {
		return err
	}
	if !now.stale && reflect.DeepEqual(rows, now.rows) && reflect.DeepEqual(revocations, now.revocations) {
		d.current.Store(&edition{entries: now.entries, began: began, replaced: now.replaced})
		return nil
	}
	next := newEntries(rows, revocations)
	d.tell(ctx, now.entries, next)
	d.replace(now, &edition{entries: next, began: began})
	return nil
}

// replace makes next the current edition and wakes who waits for that.
func (d *Directory) replace(now, next *edition) {
	next.replaced = make(chan struct{})
	d.current.Store(next) // before the others look
	close(now.replaced)
}

func newEntries(rows []models.APIKey, revocations []models.Revocation) *entries {
	e := &entries{
		rows: rows, revocations: revocations,
		keys: make(map[string]*knownKey), tokens: make(map[string]bool), subjects: make(map[string]int64),
	}
	for i := range rows {
		if key, err := newKnownKey(&rows[i]); err == nil { // tell has said so
			e.keys[rows[i].ID] = key
		}
	}
	for _, r := range revocations {
		if r.Kind == models.RevokedToken {
			e.tokens[r.Name] = true
		} else {
			e.subjects[r.Name] = r.NotBefore
		}
	}
	return e
}

// tell writes down what a look has found.
func (d *Directory) tell(ctx context.Context, before, now *entries) {
	told := 0
	say := func(action string, what ...slog.Attr) {
		if told++; told <= maxTold {
			d.log.LogAttrs(ctx, slog.LevelInfo, "audit", append(what, slog.String("action", action))...)
		}
	}
	for i := range now.rows {
		if row := &now.rows[i]; now.keys[row.ID] == nil && before.keys[row.ID] == nil {
			_, err := newKnownKey(row)
			d.log.WarnContext(ctx, "an API key's row can't be read; the key is not good", "key_id", row.ID, "error", err)
		}
	}
	for id, key := range before.keys {
		if now.keys[id] == nil {
			say("key_revocation_seen", slog.String("key_id", id), slog.String("subject", key.principal.Subject))
		}
	}
	for _, r := range now.revocations {
		switch {
		case r.Kind == models.RevokedToken && !before.tokens[r.Name]:
			say("token_revocation_seen", slog.String("token_id", r.Name))
		case r.Kind == models.RevokedSubject && before.subjects[r.Name] < r.NotBefore:
			say("subject_revocation_seen", slog.String("subject", r.Name))
		}
	}
	if told > maxTold {
		d.log.InfoContext(ctx, "more revocations were seen than are logged", "seen", told, "logged", maxTold)
	}
}

// clean deletes the revocations of tokens that can't be alive any more. A token is
// good for leeway after it expired, and may have been issued leeway ahead.
func (d *Directory) clean(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, cleanTimeout)
	defer cancel()
	now := time.Now()
	if err := d.source.ForgetRevocations(ctx, now, now.Add(-RevocationTTL(d.maxTTL))); err != nil && ctx.Err() == nil {
		d.log.WarnContext(ctx, "old revocations not deleted", "error", err)
	}
}

// RevocationTTL is how long a revocation must be kept where tokens live for at most maxTTL.
func RevocationTTL(maxTTL time.Duration) time.Duration { return maxTTL + 2*leeway }

// changed returns a channel that is closed when something else is known.
func (d *Directory) changed() <-chan struct{} { return d.current.Load().replaced }

// known returns what is known now. Error: CodeUnavailable.
func (d *Directory) known(now time.Time) (*edition, error) {
	e := d.current.Load()
	if e.stale || now.Sub(e.began) >= staleAfter {
		return nil, &models.Error{
			Code: models.CodeUnavailable, Detail: "What is revoked can't be read now, so nobody is let in.",
			RetryAfter: lookEvery,
		}
	}
	return e, nil
}

// open returns whom an API key lets in.
func (d *Directory) open(key string, now time.Time) (*Principal, error) {
	e, err := d.known(now)
	if err != nil {
		return nil, err
	}
	k := e.keys[keyID(key)]
	if k == nil || !k.opens(key) || k.principal.Expired(now) {
		return nil, models.Errorf(models.CodeUnauthenticated, "The API key is not good: it is unknown, expired or revoked.")
	}
	return k.principal, nil
}

// renew returns p as it is now. Errors: CodeUnauthenticated, CodeUnavailable.
func (d *Directory) renew(p *Principal, now time.Time) (*Principal, error) {
	e, err := d.known(now)
	if err != nil {
		return nil, err
	}
	if id := p.Origin.KeyID; id != "" {
		k := e.keys[id]
		if k == nil || k.principal.Expired(now) {
			return nil, models.Errorf(models.CodeUnauthenticated, "The API key is expired or revoked.")
		}
		return k.principal, nil
	}
	if notBefore, ok := e.subjects[p.Subject]; e.tokens[p.Origin.TokenID] || ok && p.Origin.Issued <= notBefore {
		return nil, models.Errorf(models.CodeUnauthenticated, "The token is revoked.")
	}
	return p, nil
}
