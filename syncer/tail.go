package syncer

import (
	"cmp"
	"container/list"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark/tidemark/models"
)

// A tail holds at most this much, in changes and in bytes (see weight).
const (
	maxTailChanges = 4000
	maxTailBytes   = 1 << 20
)

// changeOverhead is about what a change costs in memory beside its texts.
const changeOverhead = 400

// weight is about what a change costs in memory. Its names are there twice: in the form
// that goes on the wire, too.
func weight(c *models.Change) int {
	names := len(c.Collection) + len(c.ID) + len(c.UpdatedBy) + len(c.ClientID) + len(c.EditID)
	return len(c.Data) + 2*names + changeOverhead
}

// tail is the newest part of a space's feed in memory, so that those who follow
// the space are answered without a query.
//
// Invariant: it holds every document whose version lies in (from, space.Head], in
// the state it had at the head, and that head was committed in space.Epoch. In
// other words, it is what Store.Changes would return after from. It is kept true by
// only ever appending what follows the head without a gap, and by forgetting
// everything where that can't be shown.
type tail struct {
	name    string        // of the space
	counted int           // bytes that tails has counted; guarded by its mu
	place   *list.Element // in the order of use; guarded by the same
	size    atomic.Int64  // bytes, for tails to count

	mu      sync.Mutex
	space   models.Space
	from    int64
	entries []entry
	at      map[Key]int // where a document stands: its place in entries, plus gone
	gone    int         // entries that were cut off in front
	live    int         // entries that stand for a document
	bytes   int         // of them
	// checked is when the query began that has last shown that the head is the
	// head. What is older proves nothing: another node may have committed since.
	checked time.Time
	// lacks is the newest version that this node has committed and that did not follow
	// the head. Until the head has come so far, others would be shown less than is known here.
	lacks int64
	// told is the newest version that a poke has told of, and untold a head that was
	// found without one and that none has told of since; 0 if there is none.
	told, untold int64
	// used is when somebody was last answered from here.
	used time.Time
}

// entry is one change; nil if the document has changed again since.
type entry struct {
	version int64
	change  *models.Change
}

// newTail returns a tail of nothing: the head of a space and no change before it.
func newTail(name string, space models.Space, now time.Time) *tail {
	t := &tail{name: name, used: now}
	t.restart(space, now)
	return t
}

// restart forgets all changes and goes on from the head of space.
func (t *tail) restart(space models.Space, checked time.Time) {
	t.space, t.from, t.checked = space, space.Head, checked
	t.entries, t.at, t.gone, t.live, t.bytes = nil, make(map[Key]int), 0, 0, 0
}

// unlock, deferred, ends what holds mu. What has panicked meanwhile may have left the
// tail half changed. So it is emptied: a tail of nothing is true at any head, and
// without a lease it answers nobody before the refresher has looked.
func (t *tail) unlock() {
	if r := recover(); r != nil {
		t.restart(t.space, time.Time{})
		t.mu.Unlock()
		panic(r)
	}
	t.mu.Unlock()
}

// learn takes in a page that a pull has read after position from the database,
// where that makes the tail reach further back: it then answers the next of those
// who are as far behind. It reports whether the tail is behind the page.
func (t *tail) learn(run Run, position int64) (behind bool) {
	switch {
	case run.Space.Head > t.space.Head, run.Space.Epoch != t.space.Epoch && run.Space.Head > 0:
		return true
	case run.Space.Head == t.space.Head && run.Through == run.Space.Head && position < t.from:
		t.restart(run.Space, t.checked) // what was committed here meanwhile may not be in run
		t.from = position
		t.append(run.Changes)
	}
	return false
}

// advance takes in what the refresher has read after asked, the head of the tail
// when the query began. It reports false where that shows another history: then
// the tail is worth nothing.
func (t *tail) advance(run Run, asked int64, started time.Time) bool {
	switch {
	case run.Space.Head < asked, run.Space.Epoch != t.space.Epoch && run.Space.Head > 0 && t.space.Head > 0:
		return false
	case run.Through < run.Space.Head, run.Space.Floor > asked:
		// More than a page has changed: a part of it, shown as the head, would show a
		// push in part. Or tombstones that were to come are purged, and documents would
		// stay that are deleted. So nothing of it is kept.
		if run.Space.Head > t.space.Head {
			t.restart(run.Space, started)
		}
	case run.Space.Head >= t.space.Head:
		after, floor := t.space.Head, t.space.Floor
		t.space = run.Space
		t.space.Floor = max(floor, run.Space.Floor) // a pull may have read a newer one meanwhile
		if first := slices.IndexFunc(run.Changes, func(c models.Change) bool { return c.Version > after }); first >= 0 {
			t.append(run.Changes[first:])
		}
	}
	t.checked = maxTime(t.checked, started)
	return true
}

// commit appends what this node has committed. It reports false where something
// that the tail has not got was committed before it.
func (t *tail) commit(c *spaceCommit) bool {
	t.lacks = max(t.lacks, c.space.Head) // until it is there
	if t.space.Head != c.before || t.space.Epoch != c.space.Epoch && t.space.Head > 0 {
		return false
	}
	changes := make([]models.Change, len(c.documents))
	for i := range c.documents {
		changes[i] = *c.documents[i].Change()
	}
	slices.SortStableFunc(changes, func(a, b models.Change) int { return cmp.Compare(a.Version, b.Version) })
	t.space = c.space
	t.append(changes)
	return true
}

// append adds changes, which are above all that are there and in order.
func (t *tail) append(changes []models.Change) {
	for _, c := range changes {
		// c is the tail's own. What it is copied from may be in use elsewhere, and
		// would stay in memory as a whole for one of it.
		key := Key{c.Collection, c.ID}
		if old, ok := t.at[key]; ok {
			t.drop(old - t.gone)
		}
		t.at[key] = t.gone + len(t.entries)
		t.entries = append(t.entries, entry{c.Version, &c})
		t.live++
		t.bytes += weight(&c)
	}
	t.trim()
	if len(t.entries) > 2*t.live+16 {
		t.compact()
	}
}

// drop takes the change of an entry away.
func (t *tail) drop(i int) {
	t.live--
	t.bytes -= weight(t.entries[i].change)
	t.entries[i].change = nil
}

// trim forgets the oldest versions, each of them whole, until the limits are kept.
func (t *tail) trim() {
	n := 0
	for ; n < len(t.entries); n++ {
		e := t.entries[n]
		if t.live <= maxTailChanges && t.bytes <= maxTailBytes && e.version != t.from && e.change != nil {
			break
		}
		if e.change != nil {
			delete(t.at, Key{e.change.Collection, e.change.ID})
			t.drop(n)
			t.from = e.version
		}
	}
	t.entries, t.gone = t.entries[n:], t.gone+n
}

// compact closes the gaps that changed documents have left.
func (t *tail) compact() {
	kept := make([]entry, 0, 2*t.live)
	for _, e := range t.entries {
		if e.change != nil {
			t.at[Key{e.change.Collection, e.change.ID}] = len(kept)
			kept = append(kept, e)
		}
	}
	t.entries, t.gone = kept, 0
}

// read returns what Store.Changes would, if the tail holds it.
func (t *tail) read(r Range) (run Run, ok bool) {
	if r.After < t.from {
		return Run{}, false
	}
	first, _ := slices.BinarySearchFunc(t.entries, r.After+1, func(e entry, v int64) int { return cmp.Compare(e.version, v) })
	page, full := Pager{Limit: r.Limit}, false
	page.changes = make([]models.Change, 0, min(r.Limit, len(t.entries)-first))
	for _, e := range t.entries[first:] {
		c := e.change
		if c == nil || !r.Shows(c, t.space.Head) {
			continue
		}
		c.Encode()
		if full = !page.Add(c); full {
			break
		}
	}
	return page.Run(t.space, t.space.Head, full), true
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
