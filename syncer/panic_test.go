package syncer

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/guard"
)

// Whatever panics under a node that runs, it goes on: what others commit is still
// found, and what it says is true.
func TestEngine_goesOnAfterPanics(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method       string
		times, reads int
	}{
		{method: "Heads", times: 3, reads: 1}, // the tail began anew
		{method: "Changes", times: 1, reads: 1},
		{method: "Inbox", times: 4},
		{method: "OnPresence", times: 2},
	} {
		t.Run(test.method, func(t *testing.T) {
			t.Parallel()
			onNode(t, func(n *node) {
				n.write(n.others, "s")
				cursor := n.pull("", 0).Cursor
				watch := n.engine.Watch("s")
				defer watch.Stop()
				before := guard.Panics()
				n.store.plant(test.method, test.times)
				for range test.times {
					n.broker.deliver(Message{Space: "s", Presence: []byte("{}")})
				}
				want := n.write(n.others, "s")
				// As long as the pauses after so many panics may last.
				tick(20)
				select {
				case <-watch.C:
				default:
					n.t.Error("nobody was told of another node's change")
				}
				n.costs("a poll, when it has gone on", test.reads, 0, func() {
					page := n.pull(cursor, 0)
					if len(page.Changes) != 1 || page.Version != want {
						n.t.Errorf("it brings %+v, want version %d", page, want)
					}
				})
				if caught := guard.Panics() - before; caught < int64(test.times) {
					n.t.Errorf("%d panics are counted, want %d", caught, test.times)
				}
			})
		})
	}
}

// The broker's own bug costs what it would have told meanwhile, and the refresher
// finds that.
func TestEngine_brokerPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker := &brokenBroker{}
		engine := New(newModelStore(), broker, Options{Logger: slog.New(slog.DiscardHandler)})
		ctx, end := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- engine.Run(ctx) }()
		<-time.After(time.Second)
		synctest.Wait()
		if n := broker.runs.Load(); n != 3 {
			t.Errorf("the broker was run %d times, want a third time after two panics", n)
		}
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// brokenBroker panics when it is run for the first and the second time.
type brokenBroker struct {
	deaf
	runs atomic.Int64
}

func (b *brokenBroker) Run(ctx context.Context, _ func(Message)) error {
	if b.runs.Add(1) < 3 {
		panic("planted")
	}
	<-ctx.Done()
	return nil
}

// A panic after the commit: the client is told that nobody knows, its retry finds out,
// and what others are shown is what was committed.
func TestCommit_panicAfterTheFact(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		n.write(n.engine, "s")
		cursor := n.pull("", 0).Cursor
		n.store.plant("Commit", 1)
		req := &models.PushRequest{ClientID: "c1", Edits: []models.Edit{put("again", "d9", version(0), `{}`)}}
		if _, err := n.engine.Push(n.t.Context(), "s", "alice", req); models.CodeOf(err) != models.CodeOutcomeUnknown {
			n.t.Fatalf("got %v, want %s", err, models.CodeOutcomeUnknown)
		}
		res, err := n.engine.Push(n.t.Context(), "s", "alice", req)
		if err != nil || res.Results[0].Status != models.StatusApplied || !res.Results[0].Replayed {
			n.t.Fatalf("the retry: %+v, %v", res, err)
		}
		tick(2)
		if page := n.pull(cursor, 0); len(page.Changes) != 1 || page.Version != res.Version {
			n.t.Errorf("others are shown %+v, want version %d", page, res.Version)
		}
	})
}

// A tail that was being changed when something panicked is not believed any more, its
// lock is free, and the next look at the database makes it answer again.
func TestTails_panicWithinAChange(t *testing.T) {
	t.Parallel()
	for name, half := range map[string]func(*tail){
		"the head has moved":      func(t *tail) { t.space.Head = 12 },
		"the last change is gone": func(t *tail) { t.drop(len(t.entries) - 1) },
		"a place is wrong":        func(t *tail) { t.at[Key{"c", "d9"}] = 99 },
	} {
		ts, clock := newTestTails(0)
		followed := ts.follow("s")
		ts.learn("s", Range{After: 5}, runOf(9, 9, 6, 7, 8, 9), clock.at)
		err := guard.Call(func() error {
			ts.change(followed, func(t *tail) { half(t); panic("planted") })
			return nil
		})
		if !guard.Is(err) {
			t.Fatalf("%s: %v", name, err)
		}
		if ts.answers("s") {
			t.Errorf("%s: what was half changed is believed", name)
		}
		if _, ok := ts.heads([]string{"s"}, 0); ok {
			t.Errorf("%s: the head is believed", name)
		}
		clock.pass(1)
		asked := followed.head()
		if !followed.advance(runOf(13, 13, 13), asked, clock.at) {
			t.Fatalf("%s: the next look shows another history", name)
		}
		run, ok := ts.read("s", Range{After: asked, Limit: 9}, 0)
		if !ok || len(run.Changes) != 1 || run.Changes[0].Version != 13 {
			t.Errorf("%s: after the next look it reads %+v, %t", name, run, ok)
		}
		if _, ok := ts.read("s", Range{After: 5, Limit: 9}, 0); ok {
			t.Errorf("%s: it answers from what was half changed", name)
		}
	}
}

// An own commit that panics on its way into the tail is not passed over in silence by a
// look that began before it.
func TestTails_panicWithinACommit(t *testing.T) {
	t.Parallel()
	ts, clock := newTestTails(0)
	tail := ts.follow("s")
	commit := commitOf(1, 9, 10)
	commit.documents = append(commit.documents, nil)
	before := clock.at
	clock.pass(1)
	if err := guard.Call(func() error { ts.commit(commit); return nil }); !guard.Is(err) {
		t.Fatalf("got %v", err)
	}
	if !tail.confirm(models.Space{Head: 9, Epoch: 1}, before) || ts.answers("s") {
		t.Error("memory answers without what was committed here")
	}
	if !tail.advance(runOf(10, 10, 10), 9, clock.at) || !ts.answers("s") {
		t.Error("memory doesn't answer when the commit is there")
	}
}

// Books of the tails that are half written are closed, and nothing stays locked.
func TestTails_panicWithinTheBooks(t *testing.T) {
	t.Parallel()
	ts, clock := newTestTails(0)
	ts.follow("s")
	ts.follow("other")
	read := clock.at
	clock.pass(1)
	if err := guard.Call(func() error {
		ts.mu.Lock()
		defer ts.unlock()
		delete(ts.spaces, "s")
		panic("planted")
	}); !guard.Is(err) {
		t.Fatalf("got %v", err)
	}
	if ts.answers("s") || ts.answers("other") || ts.bytes != 0 || ts.recent.Len() != 0 {
		t.Errorf("half of the books is believed: %d tails, %d bytes", len(ts.spaces), ts.bytes)
	}
	// What was read before that doesn't show what happened since.
	ts.learn("s", Range{After: 9}, runOf(9, 9), read)
	if ts.answers("s") {
		t.Error("memory answers by what was read before")
	}
	if ts.follow("other"); !ts.answers("other") {
		t.Error("memory doesn't answer with what was read after")
	}
}

// A bug in the committer's books: pushes that have not begun are sent away, none waits
// for ever, and the committer works on.
func TestCommitter_panicWithinTheBooks(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		// The first group fails, so that its push asks the clock no more.
		gate := make(chan struct{})
		d.store.begin = func(context.Context, Group) error {
			<-gate
			return errors.New("no")
		}
		running := d.one("s")
		waiting := []*handed{d.one("s"), d.one("t"), d.one("t"), d.one("u")}
		// The clock is asked of each push that is taken into a group: of the third one
		// in the next.
		d.asked.Store(-3)
		gate <- struct{}{}
		synctest.Wait()
		if running.waits() || !strings.Contains(d.log.String(), "panic: planted") {
			t.Fatalf("the bug was not met; the clock was asked %d times", 3+d.asked.Load())
		}
		for _, h := range waiting {
			if h.waits() {
				t.Fatalf("a push to %s waits for ever", h.space)
			}
			if models.CodeOf(h.err) != models.CodeUnavailable {
				t.Errorf("a push to %s: %v, want %s", h.space, h.err, models.CodeUnavailable)
			}
		}
		d.store.begin = nil
		for _, space := range []string{"s", "t", "u"} {
			d.version(d.one(space))
		}
	})
}

// The same, while another group is under way: its space's pushes, which are passed over,
// are sent away as well, and its end does not disturb the new books.
func TestCommitter_panicBesideAGroup(t *testing.T) {
	t.Parallel()
	atDesks(t, 2, func(d *desk) {
		gate := make(chan struct{})
		d.store.begin = func(context.Context, Group) error { <-gate; return nil }
		running := d.one("s")
		waiting := []*handed{d.one("t"), d.one("s"), d.one("u"), d.one("s")}
		// Of the four the clock is asked over t, which is taken, and over u.
		d.asked.Store(-2)
		<-time.After(patience)
		synctest.Wait()
		if !strings.Contains(d.log.String(), "panic: planted") {
			t.Fatal("the bug was not met")
		}
		for i, h := range waiting {
			if h.waits() {
				t.Fatalf("push %d, to %s, waits for ever", i, h.space)
			}
			if models.CodeOf(h.err) != models.CodeUnavailable {
				t.Errorf("push %d, to %s: %v, want %s", i, h.space, h.err, models.CodeUnavailable)
			}
		}
		gate <- struct{}{}
		d.version(running)
		d.store.begin = nil
		for _, space := range []string{"s", "t", "u"} {
			d.version(d.one(space))
		}
	})
}

// A panic over one group costs nothing of the next.
func TestCommitter_panicOverASlowSpace(t *testing.T) {
	t.Parallel()
	atDesk(t, func(d *desk) {
		free := d.store.lock("s")
		first := d.one("s") // left out of its group, and followed
		d.store.begin = func(_ context.Context, g Group) error {
			if g.Wait {
				panic("planted")
			}
			return nil
		}
		second := d.one("s")
		free()
		synctest.Wait()
		if d.version(first); models.CodeOf(second.err) != models.CodeOutcomeUnknown {
			t.Errorf("the second push: %v, want %s", second.err, models.CodeOutcomeUnknown)
		}
		d.store.begin = nil
		d.version(d.one("s"))
		if len(d.engine.slowly) != 0 {
			t.Error("the room for a slow space is not given back")
		}
		if n := strings.Count(d.log.String(), "panic: planted"); n != 1 {
			t.Errorf("told %d times:\n%s", n, d.log.String())
		}
	})
}
