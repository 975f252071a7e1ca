package syncer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
)

// desk is an engine on a modelStore, and pushes that are handed in one after another.
type desk struct {
	t      *testing.T
	store  *modelStore
	engine *Engine
	broker *deaf
	edits  int
	gate   chan struct{}
	log    strings.Builder
	asked  atomic.Int64 // how often the clock was
}

// handed is a push on its way.
type handed struct {
	space string
	done  chan struct{} // closed when res and err are there
	res   *models.PushResponse
	err   error
}

// atDesk runs test with one committer in a bubble with virtual time; no goroutine
// may outlive it.
func atDesk(t *testing.T, test func(*desk)) {
	t.Helper()
	atDesks(t, 1, test)
}

func atDesks(t *testing.T, committers int, test func(*desk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &desk{t: t, store: newModelStore(), broker: &deaf{}}
		d.engine = New(d.store, d.broker, Options{
			Committers: committers, Now: d.now, Logger: slog.New(slog.NewTextHandler(&d.log, nil)),
		})
		test(d)
		d.engine.Close()
		c := d.engine.committer
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.queued != 0 || c.bytes != 0 || c.ready != 0 || c.groups != 0 || c.alarm != nil ||
			len(c.waiting) != 0 || len(c.taken) != 0 || len(c.queue) != 0 || len(c.slow) != 0 {
			t.Errorf("the committer is left with %+v", c)
		}
	})
}

// now is the engine's clock. It panics when asked is 0 for once.
func (d *desk) now() time.Time {
	if d.asked.Add(1) == 0 {
		panic("planted")
	}
	return time.Now()
}

// shut makes the store wait at the begin of each commit, until pass or open.
func (d *desk) shut() {
	gate := make(chan struct{})
	d.gate = gate
	d.store.begin = func(context.Context, Group) error { <-gate; return nil }
}

// pass lets one commit begin, and returns when nothing moves any more.
func (d *desk) pass() {
	d.gate <- struct{}{}
	synctest.Wait()
}

// open lets all begin.
func (d *desk) open() {
	close(d.gate)
	synctest.Wait()
}

// send hands in a push and returns when it waits, or is through.
func (d *desk) send(ctx context.Context, space, client string, edits ...models.Edit) *handed {
	d.t.Helper()
	return d.request(ctx, space, &models.PushRequest{ClientID: client, Edits: edits})
}

func (d *desk) request(ctx context.Context, space string, req *models.PushRequest) *handed {
	d.t.Helper()
	h := d.begin(ctx, space, req)
	synctest.Wait()
	return h
}

func (d *desk) begin(ctx context.Context, space string, req *models.PushRequest) *handed {
	h := &handed{space: space, done: make(chan struct{})}
	go func() {
		h.res, h.err = d.engine.Push(ctx, space, "alice", req)
		close(h.done)
	}()
	return h
}

// one hands in a push of one new document.
func (d *desk) one(space string) *handed {
	d.t.Helper()
	return d.send(d.t.Context(), space, "c1", d.fresh())
}

// fresh is an edit that creates a document.
func (d *desk) fresh() models.Edit {
	d.edits++
	return put(fmt.Sprint("e", d.edits), fmt.Sprint("d", d.edits), version(0), `{}`)
}

// waits reports whether the push has no answer yet.
func (h *handed) waits() bool {
	select {
	case <-h.done:
		return false
	default:
		return true
	}
}

// version waits for a push that must have been applied.
func (d *desk) version(h *handed) int64 {
	d.t.Helper()
	<-h.done
	if h.err != nil {
		d.t.Fatalf("push to %s: %v", h.space, h.err)
	}
	for _, r := range h.res.Results {
		if r.Status != models.StatusApplied {
			d.t.Fatalf("push to %s: %s", h.space, brief(r))
		}
	}
	return h.res.Version
}

// wants waits for a push and compares its results, and the head it tells of.
func (d *desk) wants(h *handed, head int64, results ...string) {
	d.t.Helper()
	<-h.done
	if h.err != nil {
		d.t.Fatalf("push to %s: %v", h.space, h.err)
	}
	wantResults(d.t, h.res.Results, results...)
	if h.res.Version != head {
		d.t.Errorf("a push tells of head %d, want %d", h.res.Version, head)
	}
}

// fails waits for a push that must fail as a whole.
func (d *desk) fails(h *handed, code models.Code) {
	d.t.Helper()
	<-h.done
	var got *models.Error
	if !errors.As(h.err, &got) || got.Code != code || got.RetryAfter <= 0 {
		d.t.Errorf("push to %s: %v, want %s and when to come back", h.space, h.err, code)
	}
}

func (d *desk) committed(want ...string) {
	d.t.Helper()
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	var got []string
	for _, g := range d.store.groups {
		got = append(got, strings.Join(g, " "))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		d.t.Errorf("transactions, by the spaces they wrote (-want +got):\n%s", diff)
	}
}

func (d *desk) groups(want int, why string) {
	d.t.Helper()
	c := d.engine.committer
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.groups != want {
		d.t.Errorf("%d groups are under way, want %d: %s", c.groups, want, why)
	}
}

func TestCommit_whatIsQueuedSharesATransaction(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		d.shut()
		ctx := d.t.Context()
		first := d.one("a") // a lone push does not wait for company
		second := d.send(ctx, "b", "c1", put("x1", "d", version(0), `{"a":1}`))
		third := d.send(ctx, "a", "c2", put("x2", "d", version(0), `{"a":2}`), put("x3", "d", version(9), `{}`))
		fourth := d.send(ctx, "b", "c2", put("x4", "d", version(0), `{"a":3}`))
		fifth := d.request(ctx, "a", &models.PushRequest{ClientID: "c3", Atomic: true, Edits: []models.Edit{
			put("x5", "f", version(0), `{}`), put("x6", "d", version(0), `{}`),
		}})
		sixth := d.send(ctx, "a", "c2", patchOf("x7", "d", after("x2"), `{"b":1}`))
		seventh := d.send(ctx, "c", "c1", deletion("x8", "none", version(0)))
		d.open()

		d.wants(first, 1, "e1: applied at 1")
		d.wants(second, 1, "x1: applied at 1")
		d.wants(third, 2, "x2: applied at 2", `x3: conflict shows {"a":2} at 2`)
		d.wants(fourth, 1, `x4: conflict shows {"a":1} at 1`)
		d.wants(fifth, 2, "x5: skipped by x6", `x6: conflict shows {"a":2} at 2`)
		d.wants(sixth, 3, "x7: applied at 3")
		d.wants(seventh, 0, "x8: applied at 0")
		d.committed("a", "a b c")
		if diff := cmp.Diff([]Message{{Space: "a", Version: 1}, {Space: "a", Version: 3}, {Space: "b", Version: 1}}, d.broker.published); diff != "" {
			d.t.Errorf("pokes (-want +got):\n%s", diff)
		}
	})
}

func TestCommit_aSecondGroupWaitsForEnough(t *testing.T) {
	t.Parallel()
	atDesks(t, 2, func(d *desk) {
		d.shut()
		var list []*handed
		for range 3 {
			list = append(list, d.one("a"))
		}
		d.groups(1, "no two of the same space")
		for range enough/pushCount - 2 {
			d.one("b")
		}
		d.send(d.t.Context(), "b", "c2", d.fresh(), d.fresh())
		d.groups(1, "a push is missing")
		last := d.one("c")
		d.groups(2, "there are enough")
		for range enough {
			d.one("d")
		}
		d.groups(2, "there are no more committers")
		d.open()
		d.version(last)
		for i, h := range list {
			if got := d.version(h); got != int64(i+1) {
				d.t.Errorf("push %d has version %d", i+1, got)
			}
		}
		synctest.Wait()
		if !slices.ContainsFunc(d.store.groups, func(g []string) bool { return slices.Equal(g, []string{"b", "c"}) }) {
			d.t.Errorf("transactions %q, want one of b and c", d.store.groups)
		}
	})
}

// A group that hangs must not hold up a push that finds no company.
func TestCommit_patienceEnds(t *testing.T) {
	t.Parallel()
	atDesks(t, 2, func(d *desk) {
		d.shut()
		hangs, same := d.one("a"), d.one("a")
		lone := d.one("b")
		d.groups(1, "there is not enough for another")
		<-time.After(patience)
		synctest.Wait()
		d.groups(2, "it has waited long enough")
		third := d.one("c") // both places are taken
		d.open()
		for _, h := range []*handed{hangs, same, lone, third} {
			d.version(h)
		}
		if got := d.version(same); got != 2 {
			d.t.Errorf("the second push of a space has version %d", got)
		}
	})
}

func TestCommit_aPushSentTwiceInOneGroup(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		d.shut()
		ctx := d.t.Context()
		d.one("s")
		edit := put("x1", "d", version(0), `{}`)
		once, again := d.send(ctx, "s", "c1", edit), d.send(ctx, "s", "c1", edit)
		other := d.send(ctx, "s", "c2", edit) // another client's edit of that name
		d.open()
		d.wants(once, 2, "x1: applied at 2")
		d.wants(again, 2, "x1: applied at 2 replayed")
		d.wants(other, 2, "x1: conflict shows {} at 2")
		d.committed("s", "s")
	})
}

// Neither push alone needs the text for what it expects; together they do, because
// the first one is undone.
func TestCommit_twoBasesOfOneDocument(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		d.version(d.send(d.t.Context(), "s", "c1", put("x1", "d", version(0), `{"a":1}`)))
		d.shut()
		d.one("other")
		undone := d.request(d.t.Context(), "s", &models.PushRequest{ClientID: "c1", Atomic: true, Edits: []models.Edit{
			put("x2", "d", version(1), `{"a":2}`), put("x3", "none", version(1), `{}`),
		}})
		stale := d.send(d.t.Context(), "s", "c2", put("x4", "d", version(0), `{"a":3}`))
		d.open()
		d.wants(undone, 1, "x2: skipped by x3", "x3: conflict")
		d.wants(stale, 1, `x4: conflict shows {"a":1} at 1`)
	})
}

func TestCommit_groupsAreBounded(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		d.shut()
		many := func(space string) *handed {
			var edits []models.Edit
			for range models.MaxEdits {
				edits = append(edits, d.fresh())
			}
			return d.send(d.t.Context(), space, "c1", edits...)
		}
		d.one("a")
		for _, space := range []string{"b", "c", "d", "e", "f", "g"} {
			many(space)
		}
		large := func(space string) {
			for i := range 10 {
				e := d.fresh()
				e.Data = []byte(sized(models.MaxDocumentBytes))
				d.send(d.t.Context(), space+fmt.Sprint(i), "c1", e, d.fresh())
			}
		}
		large("h")
		large("i")
		d.open()
		d.committed("a", "b c d e f", "g h0 h1 h2 h3 h4 h5 h6 h7 h8 h9 i0 i1 i2 i3 i4", "i5 i6 i7 i8 i9")
	})
}

// poison makes the database refuse each group with a document called so.
func (d *desk) poison() {
	d.store.refuse = func(_ []Touch, writes []Writes) error {
		for _, w := range writes {
			for _, document := range w.Documents {
				if document.ID == "poison" {
					return &GroupError{Err: models.Errorf(models.CodeInternal, "refused")}
				}
			}
		}
		return nil
	}
}

func TestCommit_aRefusedPushHurtsNobody(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		d.poison()
		d.shut()
		first, before := d.one("a"), d.one("a")
		guilty := d.send(d.t.Context(), "a", "c2", put("x1", "poison", version(0), `{}`), put("x2", "d", version(0), `{}`))
		behind := d.one("a")
		neighbor := d.one("b")
		d.open()
		for i, h := range []*handed{first, before, behind} {
			if got := d.version(h); got != int64(i+1) {
				d.t.Errorf("push %d of the space has version %d", i+1, got)
			}
		}
		if got := d.version(neighbor); got != 1 {
			d.t.Errorf("the neighbor has version %d, want 1", got)
		}
		if <-guilty.done; models.CodeOf(guilty.err) != models.CodeInternal {
			d.t.Errorf("the guilty push: %v", guilty.err)
		}
		if d.store.spaces["a"].documents[Key{"c", "d"}].Version != 0 {
			d.t.Error("a part of the refused push was committed")
		}
	})
}

// What comes while a refused group is carried out one by one must not overtake it,
// and a space that is locked meanwhile must not hold up the others.
func TestCommit_splitKeepsTheOrder(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		d.poison()
		d.shut()
		first := d.one("a")
		free := d.store.lock("locked")
		var list []*handed
		for range 3 {
			list = append(list, d.one("a"))
		}
		waits := d.one("locked")
		guilty := d.send(d.t.Context(), "b", "c1", put("x1", "poison", version(0), `{}`))
		d.pass() // the first
		list = append(list, d.one("a"), d.one("a"))
		d.pass() // the group, which is refused
		list = append(list, d.one("a"))
		d.open()
		list = append(list, d.one("a"))
		if got := d.version(first); got != 1 {
			d.t.Errorf("the first has version %d", got)
		}
		for i, h := range list {
			if got := d.version(h); got != int64(i+2) {
				d.t.Errorf("push %d has version %d, want %d", i, got, i+2)
			}
		}
		if <-guilty.done; guilty.err == nil {
			d.t.Error("the guilty push was committed")
		}
		if !waits.waits() {
			d.t.Error("the push to the locked space has an answer")
		}
		free()
		d.version(waits)
	})
}

func TestCommit_databaseAwayFailsTheWholeGroup(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		d.shut()
		first := d.one("a")
		away := &models.Error{Code: models.CodeUnavailable, RetryAfter: time.Second}
		d.store.refuse = func([]Touch, []Writes) error { return away }
		list := []*handed{d.one("a"), d.one("b")}
		d.open()
		for _, h := range append(list, first) {
			d.fails(h, models.CodeUnavailable)
		}
		d.committed() // and nobody tried them one by one
		if len(d.broker.published) > 0 {
			d.t.Errorf("pokes of what was not committed: %v", d.broker.published)
		}
		d.store.refuse = nil
		if got := d.version(d.one("a")); got != 1 {
			d.t.Errorf("with the database back: version %d", got)
		}
	})
}

// A push that makes the engine panic is a bug; its neighbors are not to feel it.
func TestCommit_panicIsTheGuiltyPushsOwn(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		d.shut()
		first := d.one("s")
		before := d.one("s")
		broken := newEdit(patchOf("x1", "d1", forced, `{"a":1}`))
		broken.patch = nil
		failed := make(chan error, 1)
		go func() {
			_, err := d.engine.commit(d.t.Context(), &push{space: "s", subject: "alice", clientID: "c9", edits: []edit{
				newEdit(put("x0", "x", version(0), `{}`)), broken,
			}})
			failed <- err
		}()
		synctest.Wait()
		behind, elsewhere := d.one("s"), d.one("other")
		d.open()
		if err := <-failed; err == nil || !strings.Contains(err.Error(), "panic") {
			d.t.Errorf("the broken push: %v, want its panic", err)
		}
		for i, h := range []*handed{first, before, behind} {
			if got := d.version(h); got != int64(i+1) {
				d.t.Errorf("push %d of the space has version %d", i+1, got)
			}
		}
		d.version(elsewhere)
		if _, ok := d.store.spaces["s"].documents[Key{"c", "x"}]; ok {
			d.t.Error("a part of the broken push was committed")
		}
		d.committed("s", "other s")
	})
}

func TestCommit_clientsThatLeave(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		d.shut()
		ctx, leave := context.WithCancel(d.t.Context())
		taken := d.send(ctx, "s", "c1", put("x1", "taken", version(0), `{}`))
		dropped := d.send(ctx, "s", "c2", put("x2", "dropped", version(0), `{}`))
		stays := d.one("s")
		leave()
		synctest.Wait()
		if dropped.waits() || !errors.Is(dropped.err, context.Canceled) {
			d.t.Errorf("who leaves the queue gets %v, want to be told at once", dropped.err)
		}
		if !taken.waits() {
			d.t.Errorf("who leaves when the commit has begun is told %v before its end", taken.err)
		}
		d.open()
		d.wants(taken, 1, "x1: applied at 1")
		if got := d.version(stays); got != 2 {
			d.t.Errorf("who stays has version %d, want 2", got)
		}
		if _, ok := d.store.spaces["s"].documents[Key{"c", "dropped"}]; ok {
			d.t.Error("a push was committed whose client had left before it began")
		}
	})
}

func TestCommit_allLeave(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		d.shut()
		first := d.one("s")
		ctx, leave := context.WithCancel(d.t.Context())
		for range 3 {
			d.send(ctx, "s", "c1", d.fresh())
		}
		leave()
		synctest.Wait()
		d.open()
		d.version(first)
		d.committed("s")
		if got := d.version(d.one("s")); got != 2 {
			d.t.Errorf("the next push has version %d, want 2", got)
		}
	})
}

func TestCommit_tooOld(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		d.shut()
		d.one("s")
		old := d.one("s")
		<-time.After(commitTimeout / 2)
		young := d.one("s")
		<-time.After(commitTimeout/2 + 1)
		d.open()
		d.fails(old, models.CodeUnavailable)
		if got := d.version(young); got != 2 {
			d.t.Errorf("the younger push has version %d, want 2", got)
		}
	})
}

func TestCommit_queueOfASpaceIsBounded(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		d.shut()
		list := []*handed{d.one("s")} // taken: it waits no more
		for range models.MaxQueuedPushes {
			list = append(list, d.one("s"))
		}
		d.fails(d.one("s"), models.CodeSpaceBusy)
		other := d.one("other")
		d.open()
		for i, h := range list {
			if got := d.version(h); got != int64(i+1) {
				d.t.Errorf("push %d has version %d", i, got)
			}
		}
		d.version(other)
		d.version(d.one("s"))
	})
}

// The bound counts as well what waits for a slow space.
func TestCommit_queueOfASlowSpaceIsBounded(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		d.shut()
		free := d.store.lock("s")
		list := []*handed{d.one("s")}
		d.open() // it is left out; then it waits for the lock
		for range models.MaxQueuedPushes {
			list = append(list, d.one("s"))
		}
		d.fails(d.one("s"), models.CodeSpaceBusy)
		d.version(d.one("other"))
		free()
		for i, h := range list {
			if got := d.version(h); got != int64(i+1) {
				d.t.Errorf("push %d has version %d", i, got)
			}
		}
	})
}

func TestCommit_queueOfANodeIsBounded(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		d.shut()
		free := d.store.lock("locked")
		d.one("first")
		var list []*handed
		for i := range maxQueuedPushes {
			list = append(list, d.begin(d.t.Context(), fmt.Sprint("s", i%20), &models.PushRequest{
				ClientID: "c1", Edits: []models.Edit{d.fresh()},
			}))
		}
		synctest.Wait()
		d.fails(d.one("another"), models.CodeUnavailable)
		d.open()
		for _, h := range list {
			d.version(h)
		}
		waits := d.one("locked")
		d.version(d.one("another"))
		free()
		d.version(waits)
	})
}

func TestCommit_queueOfANodeIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		d.shut()
		d.one("a")
		waits := d.send(d.t.Context(), "a", "c2", put("x1", "d", version(0), `{"a":1}`), put("x2", "e", version(0), `{}`))
		c := d.engine.committer
		add := func(bytes int) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.bytes += bytes
		}
		others := maxQueuedBytes - len(`{"a":1}`) - len(`{}`)
		add(others)
		d.fails(d.one("b"), models.CodeUnavailable)
		add(-others)
		d.open()
		d.version(waits)
	})
}

// What a refused group leaves is tried one by one, but not for longer than its
// clients wait.
func TestCommit_splitIsBounded(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		d.poison()
		d.shut()
		d.one("a")
		before := d.one("a")
		guilty := d.send(d.t.Context(), "a", "c2", put("x1", "poison", version(0), `{}`))
		behind := d.one("a")
		d.pass() // the first
		d.pass() // the group, which is refused
		d.pass() // the space by itself, which is too
		<-time.After(commitTimeout + 1)
		d.open()
		for _, h := range []*handed{guilty, behind} {
			d.fails(h, models.CodeUnavailable)
		}
		<-before.done // it had begun
	})
}

// The first push of a group moves the client's receipts to the older ones, the
// second adds to the new ones.
func TestCommit_receiptsOfTwoPushes(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		many := func(n int) (edits []models.Edit) {
			for range n {
				edits = append(edits, d.fresh())
			}
			return edits
		}
		d.version(d.send(d.t.Context(), "s", "c1", many(maxNewest)...))
		d.shut()
		d.one("other")
		first, second := many(2), many(1)
		list := []*handed{d.send(d.t.Context(), "s", "c1", first...), d.send(d.t.Context(), "s", "c1", second...)}
		d.open()
		for _, h := range list {
			d.version(h)
		}
		d.committed("s", "other", "s")
		for i, edits := range [][]models.Edit{first, second} {
			again := d.send(d.t.Context(), "s", "c1", edits...)
			d.version(again)
			for _, r := range again.res.Results {
				if !r.Replayed {
					d.t.Errorf("an edit of push %d is not known again", i+1)
				}
			}
		}
	})
}

func TestCommit_aLockedSpaceHoldsUpNobody(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		free := d.store.lock("slow")
		d.shut()
		first := d.one("a")
		slow := []*handed{d.one("slow")}
		others := []*handed{d.one("a"), d.one("b")}
		slow = append(slow, d.one("slow"))
		d.open()
		slow = append(slow, d.one("slow")) // follows what waits already
		ctx, leave := context.WithCancel(d.t.Context())
		gone := d.send(ctx, "slow", "c1", put("x1", "gone", version(0), `{}`))
		slow = append(slow, d.one("slow"))
		others = append(others, d.one("a"), d.one("b"))
		d.version(first)
		for _, h := range others {
			if h.waits() {
				d.t.Errorf("a push to %s waits for somebody else's space", h.space)
			}
			d.version(h)
		}
		leave()
		if <-gone.done; !errors.Is(gone.err, context.Canceled) {
			d.t.Errorf("who leaves: %v", gone.err)
		}
		for _, h := range slow {
			if !h.waits() {
				d.t.Fatalf("a push to a locked space is answered: %v", h.err)
			}
		}
		free()
		for i, h := range slow {
			if got := d.version(h); got != int64(i+1) {
				d.t.Errorf("push %d of the slow space has version %d", i, got)
			}
		}
		if _, ok := d.store.spaces["slow"].documents[Key{"c", "gone"}]; ok {
			d.t.Error("the push of who left was committed")
		}
		if got := d.version(d.one("slow")); got != int64(len(slow)+1) { // an ordinary space again
			d.t.Errorf("the next push has version %d", got)
		}
	})
}

// A push that stood far behind in the queue when its space turned out to be slow is
// still before those that come later.
func TestCommit_slowSpaceKeepsTheOrder(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		free := d.store.lock("slow")
		d.shut()
		list := []*handed{d.one("slow")}
		for i := range 6 { // more than a group takes
			var edits []models.Edit
			for range models.MaxEdits {
				edits = append(edits, d.fresh())
			}
			d.send(d.t.Context(), fmt.Sprint("s", i), "c1", edits...)
		}
		list = append(list, d.one("slow"))
		d.pass() // the slow space is left out
		list = append(list, d.one("slow"))
		free()
		d.open()
		for i, h := range list {
			if got := d.version(h); got != int64(i+1) {
				d.t.Errorf("push %d has version %d", i, got)
			}
		}
	})
}

// Who was left out has not begun: it may leave, and grows too old.
func TestCommit_leftOutHasNotBegun(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		var frees []func()
		for i := range 2 * maxSlowSpaces { // they give up after one and two commitTimeouts
			frees = append(frees, d.store.lock(fmt.Sprint("s", i)))
			d.one(fmt.Sprint("s", i))
		}
		free := d.store.lock("last")
		old := d.one("last")
		ctx, leave := context.WithCancel(d.t.Context())
		leaves := d.send(ctx, "last", "c1", put("x1", "gone", version(0), `{}`))
		leave()
		if <-leaves.done; !errors.Is(leaves.err, context.Canceled) {
			d.t.Errorf("who leaves: %v", leaves.err)
		}
		<-time.After(commitTimeout + 1)
		young := d.one("last")
		free()
		d.fails(old, models.CodeUnavailable)
		if got := d.version(young); got != 1 {
			d.t.Errorf("the younger push has version %d, want 1", got)
		}
		if n := len(d.store.spaces["last"].documents); n != 1 {
			d.t.Errorf("%d documents were committed, want the younger push's", n)
		}
		for _, free := range frees {
			free()
		}
	})
}

func TestCommit_fewSlowSpacesAtATime(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		var mu sync.Mutex
		waiting := 0
		d.store.begin = func(_ context.Context, g Group) error {
			if g.Wait {
				mu.Lock()
				waiting++
				mu.Unlock()
			}
			return nil
		}
		var frees []func()
		var list []*handed
		for i := range 3 * maxSlowSpaces {
			name := fmt.Sprint("s", i)
			frees = append(frees, d.store.lock(name))
			list = append(list, d.one(name))
		}
		if waiting != maxSlowSpaces {
			d.t.Errorf("%d spaces are waited for at a time, want %d", waiting, maxSlowSpaces)
		}
		d.version(d.one("free"))
		for _, free := range frees {
			free()
		}
		for _, h := range list {
			d.version(h)
		}
	})
}

func TestCommit_decidedTwice(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		d.engine.store = twice{d.store}
		d.shut()
		first := d.one("s")
		a := d.send(d.t.Context(), "s", "c1", put("x1", "d", version(0), `{}`))
		b := d.send(d.t.Context(), "s", "c2", put("x2", "d", version(0), `{}`))
		d.open()
		d.version(first)
		d.wants(a, 2, "x1: applied at 2")
		d.wants(b, 2, "x2: conflict shows {} at 2")
	})
}

// twice is a store whose transactions are rolled back once.
type twice struct{ *modelStore }

func (s twice) Commit(ctx context.Context, g Group) error {
	decide := g.Decide
	g.Decide = func(found []*Locked) []Writes {
		again := make([]*Locked, len(found))
		for i := range g.Touches {
			again[i] = s.find(&g.Touches[i])
		}
		decide(found)
		return decide(again)
	}
	return s.modelStore.Commit(ctx, g)
}

// A bug below the engine is the answer of the pushes of that group. The next one goes on.
func TestPush_panicInTheStore(t *testing.T) {
	t.Parallel()
	broken := true
	e := New(&scriptedStore{commit: func(decide func(Locked) Writes) error {
		if broken {
			panic("a bug")
		}
		decide(Locked{Now: 7})
		return nil
	}}, &deaf{}, Options{Logger: slog.New(slog.DiscardHandler)})
	push := func() error {
		_, err := e.Push(t.Context(), "s", "alice", &models.PushRequest{
			ClientID: "c1", Edits: []models.Edit{put("e1", "d", version(0), `{}`)},
		})
		return err
	}
	if err := push(); models.CodeOf(err) != models.CodeOutcomeUnknown {
		t.Errorf("got %v, want %s", err, models.CodeOutcomeUnknown)
	}
	broken = false
	if err := push(); err != nil {
		t.Errorf("the next push: %v", err)
	}
}
