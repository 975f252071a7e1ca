package syncer

import (
	"container/list"
	"sync"
	"time"

	"github.com/tidemark/tidemark/models"
)

const (
	// lease is how long after a look at the database memory may answer. A node that
	// was frozen or cut off for longer asks again before it says anything.
	lease = time.Second

	// idleTail is how long a tail is kept that nobody asks for.
	idleTail = 30 * time.Second

	// defaultTailMemory bounds all tails of a node together.
	defaultTailMemory = 64 << 20

	// tailOverhead is about what a tail costs in memory without any change.
	tailOverhead = 1000
)

// tails are the tails of the spaces that somebody follows. They answer only while
// a refresher looks after them.
type tails struct {
	limit int              // of bytes, over all tails
	now   func() time.Time // must be monotonic

	mu     sync.Mutex
	on     bool // a refresher runs
	spaces map[string]*tail
	recent *list.List // of *tail, the last one used in front
	bytes  int
	// untold is when this node last committed to a space that had no tail.
	untold time.Time
	// behind names the tails that the refresher must look at without delay.
	// Each with the version that it is known to lack, 0 if that is not known.
	behind  map[string]int64
	wake    chan struct{} // of one: there is something in behind
	wakeAll chan struct{} // of one: any tail may be behind
}

func newTails(limit int, now func() time.Time) *tails {
	if limit == 0 {
		limit = defaultTailMemory
	}
	return &tails{
		limit: limit, now: now,
		spaces: make(map[string]*tail), recent: list.New(),
		behind: make(map[string]int64), wake: make(chan struct{}, 1), wakeAll: make(chan struct{}, 1),
	}
}

// turn turns the tails on, or off and empty.
func (ts *tails) turn(on bool) {
	ts.mu.Lock()
	defer ts.unlock()
	ts.on = on && ts.limit > 0
	ts.empty()
}

// empty forgets all tails. ts.mu is held.
func (ts *tails) empty() {
	ts.spaces, ts.recent, ts.bytes = make(map[string]*tail), list.New(), 0
	clear(ts.behind)
}

// unlock, deferred, ends what holds mu. What has panicked meanwhile may have left the
// books half written. So they are closed, and everybody asks the database: what is read
// from it from now on makes new tails.
func (ts *tails) unlock() {
	if r := recover(); r != nil {
		ts.empty()
		ts.untold = ts.now()
		ts.mu.Unlock()
		panic(r)
	}
	ts.mu.Unlock()
}

// find returns the tail of a space, nil if there is none.
func (ts *tails) find(space string) *tail {
	ts.mu.Lock()
	defer ts.unlock()
	return ts.use(space)
}

// use is find with ts.mu held.
func (ts *tails) use(space string) *tail {
	t := ts.spaces[space]
	if t != nil {
		ts.recent.MoveToFront(t.place)
	}
	return t
}

// read answers a pull from memory, if that can be done: the lease holds, and the
// tail has what lies after r.After and is not behind needed, a version that the
// client knows of.
func (ts *tails) read(space string, r Range, needed int64) (run Run, ok bool) {
	t := ts.find(space)
	if t == nil {
		return Run{}, false
	}
	now := ts.now()
	t.mu.Lock()
	defer t.unlock()
	t.used = now
	if now.Sub(t.checked) >= lease || t.space.Head < max(needed, t.lacks) {
		return Run{}, false
	}
	return t.read(r)
}

// heads answers from memory if all spaces are there, fresh, and not behind needed.
// All of them: that one space has come so far says nothing of another to which the
// same client has pushed before.
func (ts *tails) heads(spaces []string, needed int64) (rows []models.Space, ok bool) {
	rows = make([]models.Space, len(spaces))
	for i, space := range spaces {
		// Not even the changes after the head are asked for: there are none.
		run, ok := ts.read(space, Range{After: models.MaxVersion}, needed)
		if !ok {
			return nil, false
		}
		rows[i] = run.Space
	}
	return rows, true
}

// learn takes in a page that was read from the database: the space is one that
// somebody follows.
func (ts *tails) learn(space string, r Range, run Run, started time.Time) {
	t := ts.findOrMake(run.Space, space, started)
	if t == nil {
		return
	}
	if r.Sparse() {
		run.Through = -1 // it shows not all there is
	}
	var behind bool
	ts.change(t, func(t *tail) { behind = t.learn(run, r.After) })
	if behind {
		ts.look(space, 0)
	}
}

// findOrMake returns the tail of a space, one of nothing if there was none; nil while
// no tail answers.
func (ts *tails) findOrMake(row models.Space, space string, started time.Time) *tail {
	ts.mu.Lock()
	defer ts.unlock()
	if !ts.on {
		return nil
	}
	t := ts.spaces[space]
	if t == nil {
		t = newTail(space, row, started)
		if ts.untold.After(started) {
			t.checked = time.Time{} // the commit may have been to this space; the next look tells
		}
		t.place = ts.recent.PushFront(t)
		ts.spaces[space] = t
		ts.bytes += tailOverhead
	}
	return t
}

// change changes a tail and keeps account of its size.
func (ts *tails) change(t *tail, change func(*tail)) {
	t.change(change)
	ts.mu.Lock()
	defer ts.unlock()
	if ts.spaces[t.name] != t {
		return // it has been forgotten meanwhile
	}
	size := int(t.size.Load()) // as the last of several changes has left it
	ts.bytes += size - t.counted
	t.counted = size
	for ts.bytes > ts.limit {
		oldest, _ := ts.recent.Back().Value.(*tail) // nothing else is in it
		ts.forget(oldest)
	}
}

func (t *tail) change(change func(*tail)) {
	t.mu.Lock()
	defer t.unlock()
	change(t)
	t.size.Store(int64(t.bytes))
}

// forget takes a tail out. ts.mu is held.
func (ts *tails) forget(t *tail) {
	ts.recent.Remove(t.place)
	delete(ts.spaces, t.name)
	ts.bytes -= t.counted + tailOverhead
}

// drop takes the tail of a space out if it is still this one.
func (ts *tails) drop(t *tail) {
	ts.mu.Lock()
	defer ts.unlock()
	if ts.spaces[t.name] == t {
		ts.forget(t)
	}
}

// commit takes in what this node has committed.
func (ts *tails) commit(c *spaceCommit) {
	t := ts.findCommitted(c.space.ID)
	if t == nil {
		return
	}
	var ok bool
	ts.change(t, func(t *tail) { ok = t.commit(c) })
	if !ok {
		ts.look(c.space.ID, 0)
	}
}

// findCommitted is find for a space that was committed to.
func (ts *tails) findCommitted(space string) *tail {
	ts.mu.Lock()
	defer ts.unlock()
	t := ts.use(space)
	if t == nil {
		ts.untold = ts.now() // nobody follows the space, but somebody may be about to
	}
	return t
}

// look has the refresher look at a space without delay. It does nothing for one
// that has no tail.
func (ts *tails) look(space string, version int64) {
	ts.mu.Lock()
	defer ts.unlock()
	if ts.spaces[space] == nil {
		return
	}
	ts.behind[space] = max(ts.behind[space], version)
	select {
	case ts.wake <- struct{}{}:
	default: // the refresher has not looked since the last one
	}
}

// lookAtAll has the refresher look at all spaces without delay: at their heads first,
// for to read after each one would take longer than the leases of all others last.
func (ts *tails) lookAtAll() {
	select {
	case ts.wakeAll <- struct{}{}:
	default: // the refresher has not looked since the last one
	}
}

// takeBehind returns the tails that are to be looked at without delay, with the
// versions that they are known to lack.
func (ts *tails) takeBehind() map[*tail]int64 {
	ts.mu.Lock()
	defer ts.unlock()
	list := make(map[*tail]int64, len(ts.behind))
	for space, version := range ts.behind {
		if t := ts.spaces[space]; t != nil {
			list[t] = version
		}
	}
	clear(ts.behind)
	return list
}

// without returns those of the spaces that have no tail; none while no tail answers.
func (ts *tails) without(spaces []string) (missing []string) {
	ts.mu.Lock()
	defer ts.unlock()
	for _, space := range spaces {
		if ts.on && ts.spaces[space] == nil {
			missing = append(missing, space)
		}
	}
	return missing
}

// all returns all tails that are in use, and forgets the others.
func (ts *tails) all() []*tail {
	now := ts.now()
	ts.mu.Lock()
	defer ts.unlock()
	list := make([]*tail, 0, len(ts.spaces))
	for _, t := range ts.spaces {
		if t.idle(now) {
			ts.forget(t)
			continue
		}
		list = append(list, t)
	}
	return list
}

// idle reports whether nobody has asked for a tail for long.
func (t *tail) idle(now time.Time) bool {
	t.mu.Lock()
	defer t.unlock()
	return now.Sub(t.used) > idleTail
}
