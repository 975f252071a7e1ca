package syncer

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/models"
)

// clock is a monotonic clock that a test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func (c *clock) pass(d time.Duration) { c.at = c.at.Add(d) }

// newTestTails are tails that are on, of a clock that stands.
func newTestTails(limit int) (*tails, *clock) {
	c := &clock{time.Unix(1_000_000, 0)}
	ts := newTails(limit, c.now)
	ts.turn(true)
	return ts, c
}

// follow makes a tail of a space at head 9, as a pull at the head does.
func (ts *tails) follow(space string) *tail {
	ts.learn(space, Range{After: 9}, runOf(9, 9), ts.now())
	return ts.find(space)
}

// answers reports whether a pull from the head is answered from memory.
func (ts *tails) answers(space string) bool {
	_, ok := ts.read(space, Range{After: 9, Limit: 1}, 0)
	return ok
}

func TestTails_lease(t *testing.T) {
	t.Parallel()
	ts, clock := newTestTails(0)
	tail := ts.follow("s")
	clock.pass(lease - 1)
	if !ts.answers("s") {
		t.Error("within the lease memory does not answer")
	}
	clock.pass(1)
	if ts.answers("s") {
		t.Error("memory answers when the lease is over")
	}
	if _, ok := ts.heads([]string{"s"}, 0); ok {
		t.Error("heads are told when the lease is over")
	}
	// What this node commits shows nothing about what others commit.
	tail.commit(commitOf(1, 9, 10))
	if ts.answers("s") {
		t.Error("an own commit renews the lease")
	}
	// A query that began before the lease was over has taken long.
	if !tail.confirm(models.Space{Head: 10, Epoch: 1}, clock.at.Add(-lease)) || ts.answers("s") {
		t.Error("a query that began too long ago renews the lease")
	}
	if !tail.confirm(models.Space{Head: 10, Epoch: 1}, clock.at) || !ts.answers("s") {
		t.Error("heads do not renew the lease")
	}
	if !tail.confirm(models.Space{Head: 10, Epoch: 1}, clock.at.Add(-lease)) || !ts.answers("s") {
		t.Error("an older query takes the lease back")
	}
	clock.pass(lease)
	if !tail.advance(runOf(10, 10), 10, clock.at) || !ts.answers("s") {
		t.Error("changes do not renew the lease")
	}
	// A clock that stood still while the process did: nobody looked for 20 s.
	clock.pass(20 * time.Second)
	if ts.answers("s") {
		t.Error("memory answers after 20 s without a look")
	}
}

func TestTails_needed(t *testing.T) {
	t.Parallel()
	ts, _ := newTestTails(0)
	ts.follow("a")
	ts.follow("b").commit(commitOf(1, 9, 12))
	for needed, want := range map[int64]bool{0: true, 9: true, 10: false} {
		if _, ok := ts.read("a", Range{After: 9, Limit: 1}, needed); ok != want {
			t.Errorf("at head 9, %d is needed: answered %t", needed, ok)
		}
	}
	// A client that has pushed 10 to one space and 12 to the other needs both.
	for needed, want := range map[int64]bool{0: true, 9: true, 10: false, 12: false} {
		rows, ok := ts.heads([]string{"b", "a"}, needed)
		if ok != want {
			t.Errorf("heads 12 and 9, %d is needed: answered %t", needed, ok)
		}
		if ok && (rows[0].Head != 12 || rows[1].Head != 9) {
			t.Errorf("heads %+v, want 12 and 9", rows)
		}
	}
	if _, ok := ts.heads([]string{"a", "unknown"}, 0); ok {
		t.Error("the head of a space without a tail is told from memory")
	}
}

// What this node has committed is found on it at once, also where it doesn't follow
// what the tail has: another node has committed before it.
func TestTails_ownCommitPastAGap(t *testing.T) {
	t.Parallel()
	ts, clock := newTestTails(0)
	tail := ts.follow("s")
	ts.commit(commitOf(1, 11, 12))
	if ts.answers("s") {
		t.Error("memory answers without what was committed here")
	}
	// What was read before the commit gives the lease, and not the commit.
	clock.pass(1)
	if !tail.advance(runOf(9, 9), 9, clock.at) || ts.answers("s") {
		t.Error("memory answers after an older look")
	}
	if _, ok := ts.heads([]string{"s"}, 0); ok {
		t.Error("heads are told without what was committed here")
	}
	if !tail.advance(runOf(12, 12, 11, 12), 9, clock.at) || !ts.answers("s") {
		t.Error("memory doesn't answer when the commit is there")
	}
}

// A page was read before this node committed, and makes a tail after it.
func TestTails_ownCommitBeforeTheTail(t *testing.T) {
	t.Parallel()
	ts, clock := newTestTails(0)
	started := ts.now()
	clock.pass(1)
	ts.commit(commitOf(1, 9, 10)) // nobody follows the space yet
	ts.learn("s", Range{After: 9}, runOf(9, 9), started)
	if ts.answers("s") {
		t.Error("memory answers without what was committed here")
	}
	if !ts.find("s").advance(runOf(10, 10, 10), 9, ts.now()) || !ts.answers("s") {
		t.Error("memory doesn't answer when the commit is there")
	}
	if ts.follow("later"); !ts.answers("later") {
		t.Error("memory doesn't answer with a page that was read after the commit")
	}
}

// Nor does a pull that had begun before the commit, and brings what lies before the
// tail, make memory answer again.
func TestTails_ownCommitBeforeAnOlderPage(t *testing.T) {
	t.Parallel()
	ts, clock := newTestTails(0)
	started := ts.now()
	clock.pass(1)
	ts.commit(commitOf(1, 9, 10))
	for range 2 {
		ts.learn("s", Range{After: 5}, runOf(9, 9, 6, 9), started)
		if ts.answers("s") {
			t.Error("memory answers without what was committed here")
		}
	}
}

func TestTails_onlyWhileLookedAfter(t *testing.T) {
	t.Parallel()
	ts, _ := newTestTails(0)
	ts.follow("s")
	ts.turn(false)
	if ts.answers("s") || ts.follow("s") != nil {
		t.Error("tails that nobody looks after answer")
	}
	ts.turn(true)
	if ts.answers("s") {
		t.Error("what was there before the turn is back")
	}
	off, _ := newTestTails(-1)
	if off.follow("s") != nil {
		t.Error("tails of no memory take in a space")
	}
}

func TestTails_idle(t *testing.T) {
	t.Parallel()
	ts, clock := newTestTails(0)
	ts.follow("idle")
	ts.follow("used")
	clock.pass(idleTail)
	if n := len(ts.all()); n != 2 {
		t.Errorf("%d tails after %v, want 2", n, idleTail)
	}
	ts.answers("used") // too late to be answered, but somebody asks
	clock.pass(1)
	if all := ts.all(); len(all) != 1 || all[0].name != "used" || ts.find("idle") != nil {
		t.Errorf("%d tails are left, want the one in use", len(all))
	}
	accounts(t, ts)
}

func TestTails_leastRecentlyUsedGoes(t *testing.T) {
	t.Parallel()
	ts, _ := newTestTails(3 * tailOverhead)
	for _, space := range []string{"a", "b", "c"} {
		ts.follow(space)
	}
	ts.answers("a")
	ts.follow("d")
	for space, want := range map[string]bool{"a": true, "b": false, "c": true, "d": true} {
		if got := ts.find(space) != nil; got != want {
			t.Errorf("%s is there: %t, want %t", space, got, want)
		}
	}
	// One that grows beyond all goes itself in the end.
	ts.commit(&spaceCommit{space: models.Space{ID: "d", Epoch: 1, Head: 10}, before: 9, documents: []*models.Document{
		{Collection: "c", ID: "d", Version: 10, Data: new(sized(4 * tailOverhead))},
	}})
	accounts(t, ts)
	if len(ts.spaces) != 0 || ts.bytes != 0 {
		t.Errorf("%d tails of %d bytes are left", len(ts.spaces), ts.bytes)
	}
}

func TestTails_look(t *testing.T) {
	t.Parallel()
	ts, _ := newTestTails(0)
	woken := func() bool {
		select {
		case <-ts.wake:
			return true
		default:
			return false
		}
	}
	ts.look("unknown", 0)
	if woken() || len(ts.behind) != 0 {
		t.Error("a space without a tail is looked at")
	}
	known := ts.follow("s")
	gone := ts.follow("gone")
	ts.look("s", 0)
	ts.look("gone", 0)
	ts.look("s", 0)
	ts.drop(gone)
	if !woken() || woken() {
		t.Error("want one wake-up")
	}
	if behind := ts.takeBehind(); len(behind) != 1 || !slices.Contains(slices.Collect(maps.Keys(behind)), known) {
		t.Errorf("%d tails are to be looked at, want the one that is there", len(behind))
	}
	if behind := ts.takeBehind(); len(behind) != 0 {
		t.Error("a tail is looked at twice")
	}
	// What a node can't append is fetched.
	ts.commit(commitOf(1, 11, 12))
	if !woken() || len(ts.takeBehind()) != 1 {
		t.Error("a commit past a gap makes nobody look")
	}
	ts.commit(&spaceCommit{space: models.Space{ID: "unknown"}})
	ts.learn("s", Range{After: 9}, runOf(12, 12, 12), ts.now())
	if !woken() || len(ts.takeBehind()) != 1 {
		t.Error("a page of a newer head makes nobody look")
	}
	ts.drop(gone) // another time, when it is not there
	accounts(t, ts)
}

// A sparse page shows not all there is: what it hides would be missing in the tail.
func TestTails_learnsNothingFromSparsePages(t *testing.T) {
	t.Parallel()
	for what, r := range map[string]Range{
		"a snapshot":         {After: 5, Snapshot: true},
		"within a snapshot":  {After: 5, HideUpTo: 7},
		"of some collection": {After: 5, Collections: []string{"c"}},
	} {
		ts, _ := newTestTails(0)
		ts.learn("s", r, runOf(9, 9, 6, 9), ts.now())
		wantTail(t, what, ts.find("s"), 9, 9)
		ts.learn("s", Range{After: 5}, runOf(9, 9, 6, 7, 9), ts.now())
		wantTail(t, what+", then all", ts.find("s"), 5, 9, 6, 7, 9)
	}
}

// accounts fails if what tails count is not what they hold.
func accounts(t rapid.TB, ts *tails) {
	t.Helper()
	sum := 0
	var recent []string
	for e := ts.recent.Front(); e != nil; e = e.Next() {
		tail := e.Value.(*tail)
		recent = append(recent, tail.name)
		sum += tail.bytes + tailOverhead
		if tail.counted != tail.bytes {
			t.Errorf("%d bytes of %s are counted, it holds %d", tail.counted, tail.name, tail.bytes)
		}
		if ts.spaces[tail.name] != tail || tail.place != e {
			t.Errorf("%s is not found", tail.name)
		}
	}
	if len(ts.spaces) != len(recent) {
		t.Errorf("%d tails are found, %d are in the list", len(ts.spaces), len(recent))
	}
	if ts.bytes != sum || ts.bytes > ts.limit {
		t.Errorf("%d bytes are counted, the tails hold %d, the limit is %d", ts.bytes, sum, ts.limit)
	}
}

// Whatever happens, memory is counted to the byte and bounded, and the last ones
// used stay.
func TestTails_accounts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		ts, clock := newTestTails(20 * tailOverhead)
		names := []string{"a", "b", "c", "d", "e"}
		heads := map[string]int64{}
		space := func(r *rapid.T) string { return rapid.SampledFrom(names).Draw(r, "space") }
		feed := func(r *rapid.T, after, head int64) Run {
			run := runOf(head, head)
			for v := after + 1; v <= head; v++ {
				size := rapid.IntRange(2, 2*tailOverhead).Draw(r, "size")
				run.Changes = append(run.Changes, models.Change{
					Collection: "c", ID: fmt.Sprint("d", v%4), Version: v, Data: bytes.Repeat([]byte("x"), size),
				})
			}
			return run
		}
		r.Repeat(map[string]func(*rapid.T){
			"": func(r *rapid.T) { accounts(r, ts) },
			"learn": func(r *rapid.T) {
				name := space(r)
				after := rapid.Int64Range(max(0, heads[name]-4), heads[name]).Draw(r, "after")
				ts.learn(name, Range{After: after}, feed(r, after, heads[name]), clock.at)
			},
			"commit": func(r *rapid.T) {
				name := space(r)
				c := commitOf(1, heads[name], heads[name]+1)
				c.space.ID = name
				c.documents[0].Data = new(sized(rapid.IntRange(20, 2*tailOverhead).Draw(r, "size")))
				heads[name]++
				ts.commit(c)
			},
			"of another node": func(r *rapid.T) { heads[space(r)]++ },
			"advance": func(r *rapid.T) {
				if t := ts.find(space(r)); t != nil {
					run := feed(r, t.head(), heads[t.name])
					asked := t.head()
					ts.change(t, func(t *tail) { t.advance(run, asked, clock.at) })
				}
			},
			"drop": func(r *rapid.T) {
				if t := ts.find(space(r)); t != nil {
					ts.drop(t)
					ts.drop(t)
				}
			},
			"read": func(r *rapid.T) {
				name := space(r)
				ts.read(name, Range{Limit: 1}, 0)
				if front := ts.recent.Front(); ts.find(name) != nil && front.Value.(*tail).name != name {
					r.Errorf("%s was asked for last and is not the last to go", name)
				}
			},
			"time": func(r *rapid.T) {
				clock.pass(time.Duration(rapid.IntRange(1, 20).Draw(r, "seconds")) * time.Second)
				ts.all()
			},
			"look": func(r *rapid.T) { ts.look(space(r), 0); ts.takeBehind() },
		})
	})
}

// The accounts are right as well when many change one tail at once.
func TestTails_concurrentAccounts(t *testing.T) {
	t.Parallel()
	ts, clock := newTestTails(0)
	ts.follow("s")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 500 {
				tail := ts.find("s")
				head := tail.head()
				c := commitOf(1, head, head+1)
				c.documents[0].ID = fmt.Sprint("d", head%7)
				c.documents[0].Data = new(fmt.Sprintf(`{"n":%d}`, head*head))
				ts.commit(c)
				ts.learn("s", Range{After: head}, runOf(head, head), clock.at)
				ts.read("s", Range{After: head - 3, Limit: 9}, 0)
			}
		})
	}
	all.Wait()
	accounts(t, ts)
	sound(t, ts.find("s"))
}

// A page that was read from the database is sent while others are answered with the
// same changes from the tail.
func TestTails_pagesAreSentMeanwhile(t *testing.T) {
	t.Parallel()
	ts, clock := newTestTails(0)
	run := runOf(9, 9, 6, 7, 8, 9)
	ts.learn("s", Range{After: 5}, run, clock.at)
	var all sync.WaitGroup
	texts := make([][]byte, 4)
	for i := range texts {
		all.Go(func() {
			page := models.Page{Changes: run.Changes}
			if i > 0 {
				answer, _ := ts.read("s", Range{After: 5, Limit: 9}, 0)
				page.Changes = answer.Changes
			}
			texts[i] = page.AppendJSON(nil)
		})
	}
	all.Wait()
	if same := slices.CompactFunc(texts, bytes.Equal); len(same) != 1 {
		t.Error(gocmp.Diff(string(same[0]), string(same[1])))
	}
}
