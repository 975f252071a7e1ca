package syncer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark/tidemark/models"
)

// node is an engine that runs on a modelStore, on which others write as well.
type node struct {
	t      *testing.T
	store  *modelStore
	others *Engine // another node
	engine *Engine
	broker *handBroker
	writes int
}

// handBroker delivers what a test hands it, and loses what engines publish.
type handBroker struct{ deliver func(Message) }

func (*handBroker) Publish(context.Context, Message) error { return nil }

func (b *handBroker) Run(ctx context.Context, deliver func(Message)) error {
	b.deliver = deliver
	<-ctx.Done()
	return nil
}

// onNode runs test with a node that runs, in virtual time.
func onNode(t *testing.T, test func(*node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &node{t: t, store: newModelStore(), broker: &handBroker{}}
		n.others = New(n.store, &deaf{}, Options{})
		n.engine = New(n.store, n.broker, Options{
			OnPresence: func(Message) { n.store.meet("OnPresence") },
			Logger:     slog.New(slog.DiscardHandler),
		})
		ctx, end := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- n.engine.Run(ctx) }()
		synctest.Wait()
		test(n)
		end()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if n.engine.tails.bytes != 0 || len(n.engine.tails.spaces) != 0 {
			t.Error("tails are left when nobody looks after them")
		}
		n.engine.Close()
		n.others.Close()
	})
}

// write commits a document by an engine.
func (n *node) write(by *Engine, space string) int64 {
	n.t.Helper()
	n.writes++
	res, err := by.Push(n.t.Context(), space, "alice", &models.PushRequest{ClientID: "c1", Edits: []models.Edit{
		put(fmt.Sprint("e", n.writes), fmt.Sprint("d", n.writes), version(0), `{}`),
	}})
	if err != nil {
		n.t.Fatalf("push: %v", err)
	}
	return res.Version
}

func (n *node) pull(cursor string, wait time.Duration) *models.Page {
	n.t.Helper()
	page, err := n.engine.Pull(n.t.Context(), "s", PullRequest{Cursor: cursor, Wait: wait})
	if err != nil {
		n.t.Fatalf("pull: %v", err)
	}
	return page
}

// costs fails unless what is done asks the store so often.
func (n *node) costs(what string, reads, looks int, do func()) {
	n.t.Helper()
	readsBefore, looksBefore := n.store.calls()
	do()
	synctest.Wait()
	readsAfter, looksAfter := n.store.calls()
	if r, l := readsAfter-readsBefore, looksAfter-looksBefore; r != reads || l != looks {
		n.t.Errorf("%s: %d reads and %d looks at heads, want %d and %d", what, r, l, reads, looks)
	}
}

// fails makes reads and heads fail from now on, nil: not any more.
func (n *node) fails(reads, heads error) {
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	n.store.down, n.store.standby = reads, heads
}

// tick lets time pass until the refresher has looked, n times.
func tick(n int) {
	for range n {
		<-time.After(refreshEvery)
		synctest.Wait()
	}
}

func TestRefresh_findsWhatOthersCommit(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		n.write(n.others, "s")
		cursor := n.pull("", 0).Cursor
		for range 3 {
			tick(2)
			began := time.Now()
			polled := make(chan *models.Page)
			go func() { polled <- n.pull(cursor, models.MaxWait) }()
			synctest.Wait()
			<-time.After(time.Millisecond)
			want := n.write(n.others, "s")
			page := <-polled
			if len(page.Changes) != 1 || page.Version != want {
				n.t.Errorf("a long poll brings %+v, want version %d", page, want)
			}
			if late := time.Since(began); late > refreshEvery+time.Millisecond {
				n.t.Errorf("another node's change is found after %v", late)
			}
			cursor = page.Cursor
		}
		// And who comes just afterwards is answered from memory.
		n.costs("a poll at the head", 0, 0, func() { n.pull(cursor, 0) })
	})
}

func TestRefresh_pollsCostNothing(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		n.write(n.engine, "s")
		var start, cursor string
		n.costs("the first pull", 1, 0, func() { start = n.pull("", 0).Cursor })
		cursor = start
		n.costs("idle polls", 0, 40, func() {
			for range 40 {
				tick(1)
				if page := n.pull(cursor, 0); len(page.Changes) != 0 || page.Cursor != cursor {
					n.t.Fatalf("an idle poll brings %+v", page)
				}
			}
		})
		n.costs("polls after own commits", 0, 10, func() {
			for range 10 {
				tick(1)
				want := n.write(n.engine, "s")
				page := n.pull(cursor, 0)
				if len(page.Changes) != 1 || page.Version != want {
					n.t.Fatalf("a poll after version %d brings %+v", want, page)
				}
				cursor = page.Cursor
			}
		})
		n.costs("one that comes from further back", 0, 0, func() {
			if page := n.pull(start, 0); len(page.Changes) != 10 {
				n.t.Errorf("%d changes, want 10", len(page.Changes))
			}
		})
		n.costs("a long poll without news", 0, 99, func() { n.pull(cursor, 100*refreshEvery-1) })
		n.costs("heads", 0, 0, func() {
			if heads, _, err := n.engine.Heads(n.t.Context(), []string{"s"}, 0); err != nil || heads[0].Version == 0 {
				n.t.Errorf("heads %+v, %v", heads, err)
			}
		})
	})
}

// Where the database doesn't answer, or may be behind, memory answers no longer than
// the lease; then it is the database that the client hears of.
func TestRefresh_withoutLeaseTheStoreIsAsked(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		n.write(n.others, "s")
		cursor := n.pull("", 0).Cursor
		tick(1)
		down := models.Errorf(models.CodeUnavailable, "away")
		n.fails(down, down)
		<-time.After(lease - 1)
		synctest.Wait()
		n.costs("a poll within the lease", 0, 0, func() { n.pull(cursor, 0) })
		<-time.After(2) // a tick is in between
		synctest.Wait()
		n.costs("polls after it", 2, 0, func() {
			for range 2 {
				if _, err := n.engine.Pull(n.t.Context(), "s", PullRequest{Cursor: cursor}); !errors.Is(err, down) {
					n.t.Errorf("a poll is answered %v, want the store's error", err)
				}
			}
		})
		n.costs("heads after it", 0, 1, func() {
			if _, _, err := n.engine.Heads(n.t.Context(), []string{"s"}, 0); !errors.Is(err, down) {
				n.t.Errorf("heads are answered %v, want the store's error", err)
			}
		})
		n.fails(nil, nil)
		tick(1)
		n.costs("a poll when it is back", 0, 0, func() { n.pull(cursor, 0) })
	})
}

// A database that has become a standby can be read, but may be behind: what it shows
// is passed on and not kept.
func TestRefresh_standby(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		n.write(n.others, "s")
		cursor := n.pull("", 0).Cursor
		n.fails(nil, models.Errorf(models.CodeUnavailable, "a standby"))
		<-time.After(lease + 1)
		synctest.Wait()
		for range 3 {
			tick(1)
			n.costs("a poll", 1, 0, func() { n.pull(cursor, 0) })
		}
	})
}

// A process that was frozen, and runs on before its refresher does.
func TestRefresh_frozen(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		cursor := n.pull("", 0).Cursor
		n.write(n.engine, "s")
		cursor = n.pull(cursor, 0).Cursor
		var jump time.Duration
		n.engine.tails.now = func() time.Time { return time.Now().Add(jump) }
		n.costs("a poll before it", 0, 0, func() { n.pull(cursor, 0) })
		jump = 20 * time.Second
		want := n.write(n.others, "s") // meanwhile
		n.costs("the first poll after it", 2, 0, func() {
			if page := n.pull(cursor, 0); page.Version != want || len(page.Changes) != 1 {
				n.t.Errorf("a stale answer: %+v", page)
			}
		})
	})
}

func TestRefresh_readYourWrites(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		n.write(n.others, "s")
		cursor := n.pull("", 0).Cursor
		tick(1)
		want := n.write(n.others, "s")
		// The second read is the refresher's, who hears that the tail is behind.
		n.costs("a poll that names the version", 2, 0, func() {
			page, err := n.engine.Pull(n.t.Context(), "s", PullRequest{Cursor: cursor, MinVersion: want})
			if err != nil || page.Version != want || len(page.Changes) != 1 {
				n.t.Errorf("got %+v, %v", page, err)
			}
		})
		ahead, err := n.others.Pull(n.t.Context(), "s", PullRequest{Cursor: cursor})
		if err != nil {
			n.t.Fatal(err)
		}
		tick(1)
		want = n.write(n.others, "s")
		if ahead, err = n.others.Pull(n.t.Context(), "s", PullRequest{Cursor: ahead.Cursor}); err != nil {
			n.t.Fatal(err)
		}
		n.costs("a poll with a cursor of another node", 2, 0, func() {
			if page := n.pull(ahead.Cursor, 0); page.Version != want {
				n.t.Errorf("got %+v, want version %d", page, want)
			}
		})
		n.costs("heads with the version", 1, 1, func() {
			want = n.write(n.others, "s")
			heads, _, err := n.engine.Heads(n.t.Context(), []string{"s"}, want)
			if err != nil || heads[0].Version != want {
				n.t.Errorf("heads %+v, %v", heads, err)
			}
		})
	})
}

func TestRefresh_pokes(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		n.write(n.others, "s")
		head := n.write(n.others, "s")
		cursor := n.pull("", 0).Cursor
		poke := func(m Message) func() {
			return func() { n.broker.deliver(m); synctest.Wait() }
		}
		n.costs("of what is known", 0, 0, poke(Message{Space: "s", Version: head}))
		n.costs("of something older", 0, 0, poke(Message{Space: "s", Version: head - 1}))
		n.costs("of a space that nobody follows", 0, 0, poke(Message{Space: "other", Version: 9}))
		n.costs("of no version", 1, 0, poke(Message{Space: "s"}))
		n.costs("of a version that is not there", 1, 0, poke(Message{Space: "s", Version: head + 1}))
		n.costs("of no space", 0, 1, poke(Message{}))
		n.costs("of presence", 0, 0, poke(Message{Space: "s", Presence: []byte("{}")}))

		polled := make(chan *models.Page)
		for what, message := range map[string]Message{
			"news":         {Space: "s", Version: 1 << 40},
			"no version":   {Space: "s"},
			"lost contact": {},
		} {
			began := time.Now()
			go func() { polled <- n.pull(cursor, models.MaxWait) }()
			synctest.Wait()
			want := n.write(n.others, "s")
			poke(message)()
			page := <-polled
			if page.Version != want || len(page.Changes) != 1 || time.Since(began) != 0 {
				n.t.Errorf("%s: %+v after %v, want version %d at once", what, page, time.Since(began), want)
			}
			cursor = page.Cursor
		}
	})
}

// A poke that is lost, and a commit past it: what the node has not got is fetched.
func TestRefresh_ownCommitPastAGap(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		n.write(n.engine, "s")
		cursor := n.pull("", 0).Cursor
		n.write(n.others, "s")
		want := n.write(n.engine, "s")
		page := n.pull(cursor, models.MaxWait)
		if page.Version != want || len(page.Changes) != 2 {
			n.t.Errorf("a poll after both commits brings %+v", page)
		}
	})
}

// The same before the refresher had time to look.
func TestPull_ownCommitPastAGap(t *testing.T) {
	t.Parallel()
	store := newModelStore()
	here, there := New(store, &deaf{}, Options{}), New(store, &deaf{}, Options{})
	here.tails.turn(true) // and nobody refreshes them
	push := func(e *Engine, id string) int64 {
		t.Helper()
		res, err := e.Push(t.Context(), "s", "alice", &models.PushRequest{
			ClientID: "c1", Edits: []models.Edit{put("e"+id, id, version(0), `{}`)},
		})
		if err != nil {
			t.Fatal(err)
		}
		return res.Version
	}
	push(here, "d1")
	first, err := here.Pull(t.Context(), "s", PullRequest{})
	if err != nil {
		t.Fatal(err)
	}
	push(there, "d2")
	want := push(here, "d3")
	page, err := here.Pull(t.Context(), "s", PullRequest{Cursor: first.Cursor})
	if err != nil || page.Version != want || len(page.Changes) != 2 {
		t.Errorf("after a push at %d somebody else pulls %+v, %v", want, page, err)
	}
}

// The database was put back: no client is told what was lost, and who knows of it
// hears so.
func TestRefresh_lostHistory(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		n.write(n.engine, "s")
		before := n.pull("", 0).Cursor
		n.store.mu.Lock()
		backup := *n.store.spaces["s"]
		n.store.mu.Unlock()
		n.write(n.engine, "s")
		lost := n.pull(before, 0).Cursor
		polled := make(chan error)
		go func() {
			_, err := n.engine.Pull(n.t.Context(), "s", PullRequest{Cursor: lost, Wait: models.MaxWait})
			polled <- err
		}()
		synctest.Wait()
		n.store.mu.Lock()
		delete(n.store.spaces["s"].documents, Key{"c", "d2"})
		n.store.spaces["s"].row = backup.row
		n.store.mu.Unlock()
		began := time.Now()
		if err := <-polled; causeOf(err) != models.CauseEpoch || time.Since(began) > refreshEvery {
			n.t.Errorf("who waits is told %v after %v", err, time.Since(began))
		}
		if _, err := n.engine.Pull(n.t.Context(), "s", PullRequest{Cursor: lost}); causeOf(err) != models.CauseEpoch {
			n.t.Errorf("who asks is told %v", err)
		}
		if page := n.pull(before, 0); len(page.Changes) != 0 {
			n.t.Errorf("a cursor from before the backup brings %+v", page)
		}
	})
}

// A space that is never written is followed like any other.
func TestRefresh_firstWriteOfASpace(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		cursor := n.pull("", 0).Cursor
		n.costs("idle polls", 0, 8, func() {
			for range 8 {
				tick(1)
				n.pull(cursor, 0)
			}
		})
		want := n.write(n.others, "s")
		if page := n.pull(cursor, models.MaxWait); page.Version != want || len(page.Changes) != 1 {
			n.t.Errorf("got %+v, want version %d", page, want)
		}
	})
}

func TestRefresh_idle(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		n.pull("", 0)
		n.costs("while somebody may come back", 0, int(idleTail/refreshEvery), func() { tick(int(idleTail / refreshEvery)) })
		tick(1)
		n.costs("when nobody has asked for long", 0, 0, func() { tick(9) })
		n.costs("the next pull", 1, 0, func() { n.pull("", 0) })
	})
}

// More spaces than one statement asks for.
func TestRefresh_many(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		var names []string
		for i := range headsAtOnce + 1 {
			names = append(names, fmt.Sprint("s", i))
		}
		if _, _, err := n.engine.Heads(n.t.Context(), names, 0); err != nil {
			n.t.Fatal(err)
		}
		n.write(n.others, names[0])
		n.write(n.others, names[headsAtOnce])
		n.costs("a look at all", 2, 2, func() { tick(1) })
		want := n.write(n.others, names[0])
		n.write(n.others, names[headsAtOnce])
		n.costs("a poke of no space", 2, 2, func() { n.broker.deliver(Message{}) })
		n.costs("heads of all", 0, 0, func() {
			heads, _, err := n.engine.Heads(n.t.Context(), names, 0)
			if err != nil || heads[0].Version != want || heads[1].Version != 0 || heads[headsAtOnce].Version != want {
				n.t.Errorf("heads %v…, %v", heads[:2], err)
			}
		})
	})
}

// The page in a push's answer holds the push, also where the tail has not got it
// because another node committed before: it must not be older than the results.
func TestPush_pageHoldsThePush(t *testing.T) {
	t.Parallel()
	store := newModelStore()
	here, there := New(store, &deaf{}, Options{}), New(store, &deaf{}, Options{})
	here.tails.turn(true)
	push := func(e *Engine, id, cursor string) *models.PushResponse {
		t.Helper()
		res, err := e.Push(t.Context(), "s", "alice", &models.PushRequest{
			ClientID: "c1", Cursor: &cursor, Edits: []models.Edit{put("e"+id, id, version(0), `{}`)},
		})
		if err != nil || res.Page == nil {
			t.Fatalf("push %s: %+v, %v", id, res, err)
		}
		return res
	}
	followed := push(here, "d1", "").Page.Cursor // from here on the space has a tail
	push(there, "d2", followed)
	res := push(here, "d3", followed)
	if page := res.Page; page.Version != res.Version || len(page.Changes) != 2 {
		t.Errorf("a push at %d brings a page at %d with %d changes, want the other node's and its own", res.Version, page.Version, len(page.Changes))
	}
}
