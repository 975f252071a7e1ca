package syncer

import (
	"context"
	"slices"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/guard"
)

const (
	// refreshEvery is how often the heads of all spaces that somebody follows are
	// compared with the database. It bounds how late a node can be, whatever the
	// broker loses.
	refreshEvery = 250 * time.Millisecond

	// visibleAfter is when what the database has logged as committed is visible.
	visibleAfter = 10 * time.Millisecond

	// headsAtOnce bounds the parameters of one statement.
	headsAtOnce = 1000
)

// refresh keeps the tails true until ctx ends. Pokes only make it faster: it looks
// at all heads anyhow. Where it ends, by a panic too, there are no tails any more, and
// pulls ask the database.
func (e *Engine) refresh(ctx context.Context) {
	e.tails.turn(true)
	defer e.tails.turn(false)
	e.followed.Store(true) // until then this node would learn of others' changes only when asked
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-e.tails.wakeAll:
			e.compareHeads(ctx, e.tails.all())
		case <-e.tails.wake:
			for t, version := range e.tails.takeBehind() {
				e.advance(ctx, t)
				if t.head() < version {
					// A poke from the log of the database can be faster than the commit
					// becomes visible. Once more is enough; then the tick will find it.
					time.AfterFunc(visibleAfter, func() {
						guard.Do(ctx, e.opts.Logger, "a second look", func() { e.tails.look(t.name, 0) })
					})
				}
			}
		case <-tick.C:
			e.compareHeads(ctx, e.tails.all())
			e.adopt(ctx, e.tails.without(e.watchers.names()))
		}
	}
}

// adopt gives tails to spaces that somebody waits for and that have none: they were
// read before this began, or their tails had to make room. Nobody knows what was
// missed meanwhile, so who waits is told to look.
func (e *Engine) adopt(ctx context.Context, names []string) {
	for chunk := range slices.Chunk(names, headsAtOnce) {
		started := e.tails.now()
		heads, err := e.store.Heads(ctx, chunk)
		if err != nil {
			return // the next tick tries again
		}
		for i, row := range heads {
			e.tails.learn(chunk[i], Range{After: row.Head}, Run{Space: row, Through: row.Head}, started)
			e.watchers.wake(chunk[i])
		}
	}
}

// compareHeads asks for the heads of tails, and for the changes of those that have
// moved.
func (e *Engine) compareHeads(ctx context.Context, all []*tail) {
	for some := range slices.Chunk(all, headsAtOnce) {
		names, asked := make([]string, len(some)), make([]int64, len(some))
		for i, t := range some {
			names[i], asked[i] = t.name, t.head()
		}
		started := e.tails.now()
		heads, err := e.store.Heads(ctx, names)
		if err != nil {
			// Leases run out meanwhile, and pulls ask the database themselves.
			e.opts.Logger.DebugContext(ctx, "heads not read", "error", err)
			return
		}
		var moved []*tail
		for i, t := range some {
			if heads[i].Head != asked[i] || !t.confirm(heads[i], started) {
				moved = append(moved, t)
			}
		}
		for _, t := range moved { // when all others have their lease: each is a query
			e.advance(ctx, t)
		}
	}
}

// advance reads what has changed after a tail and wakes whoever waits for it. Where
// that panics the space is to blame, and the others must not suffer: it is left without
// a tail, until adopt begins anew.
func (e *Engine) advance(ctx context.Context, t *tail) {
	if !guard.Do(ctx, e.opts.Logger, "a tail", func() { e.readOn(ctx, t) }) {
		e.tails.drop(t)
	}
}

func (e *Engine) readOn(ctx context.Context, t *tail) {
	asked, started := t.head(), e.tails.now()
	run, err := e.store.Changes(ctx, t.name, Range{After: asked, Limit: models.MaxPageChanges})
	if err != nil {
		e.opts.Logger.DebugContext(ctx, "changes not read", "space", t.name, "error", err)
		return
	}
	same := true
	e.tails.change(t, func(t *tail) { same = t.advance(run, asked, started) })
	if !same {
		e.tails.drop(t)
	}
	if !same || run.Space.Head > asked {
		e.watchers.wake(t.name)
	}
}

// head returns the head that the tail has come to.
func (t *tail) head() int64 {
	t.mu.Lock()
	defer t.unlock()
	return t.space.Head
}

// confirm notes that the database had the tail's head when a query began. It
// reports false if the row shows another history.
func (t *tail) confirm(row models.Space, started time.Time) bool {
	t.mu.Lock()
	defer t.unlock()
	if row.Epoch != t.space.Epoch {
		return false
	}
	t.space.Floor = max(t.space.Floor, row.Floor)
	t.checked = maxTime(t.checked, started)
	return true
}
