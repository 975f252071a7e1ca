package syncer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
)

// scriptedStore answers with functions, to bring about what a database does
// only by chance.
type scriptedStore struct {
	Store
	changes func(Range) (Run, error)
	commit  func(decide func(Locked) Writes) error
}

func (s *scriptedStore) Changes(ctx context.Context, _ string, r Range) (Run, error) {
	if err := ctx.Err(); err != nil {
		return Run{}, err
	}
	return s.changes(r)
}

func (s *scriptedStore) Commit(_ context.Context, g Group) error {
	return s.commit(func(locked Locked) Writes { return g.Decide([]*Locked{&locked})[0] })
}

// deaf is a broker on which no poke ever arrives.
type deaf struct {
	mu        sync.Mutex
	published []Message
}

func (d *deaf) Publish(_ context.Context, p Message) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.published = append(d.published, p)
	return nil
}

func (*deaf) Run(ctx context.Context, _ func(Message)) error { <-ctx.Done(); return nil }

// feed is a space's feed of one document, changed at head.
func feed(head int64, r Range) Run {
	run := Run{Through: head, Space: models.Space{Head: head, Epoch: 1}}
	if head > r.After {
		run.Changes = []models.Change{{Collection: "c", ID: "d", Version: head, Data: []byte("{}")}}
	}
	return run
}

func at(position int64) string { return cursor{position: position, epoch: 1}.encode("s") }

func TestPull_waitsForAPoke(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		head := int64(1)
		e := New(&scriptedStore{changes: func(r Range) (Run, error) { return feed(head, r), nil }}, &deaf{}, Options{})
		type answer struct {
			page *models.Page
			err  error
		}
		answers := make(chan answer)
		go func() {
			page, err := e.Pull(t.Context(), "s", PullRequest{Cursor: at(1), Wait: models.MaxWait})
			answers <- answer{page, err}
		}()
		synctest.Wait()
		e.watchers.wake("other")
		e.watchers.wake("s") // nothing is new yet: a poke may be late
		synctest.Wait()
		head = 2
		e.watchers.wake("s")
		got := <-answers
		if got.err != nil || len(got.page.Changes) != 1 || got.page.Version != 2 {
			t.Errorf("got %+v, %v, want the change at version 2", got.page, got.err)
		}
		if len(e.watchers.spaces) != 0 {
			t.Error("a watch stays after its pull")
		}
	})
}

// The change is committed, and its poke delivered, after the first read has
// looked and before the pull waits. The watch was there first, so it is not missed.
func TestPull_losesNoWakeUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		head := int64(1)
		var e *Engine
		e = New(&scriptedStore{changes: func(r Range) (Run, error) {
			run := feed(head, r)
			if head == 1 {
				head = 2
				e.watchers.wake("s")
			}
			return run, nil
		}}, &deaf{}, Options{})
		began := time.Now()
		page, err := e.Pull(t.Context(), "s", PullRequest{Cursor: at(1), Wait: models.MaxWait})
		if err != nil || len(page.Changes) != 1 || time.Since(began) != 0 {
			t.Errorf("got %+v, %v after %v, want the change at once", page, err, time.Since(began))
		}
	})
}

// Pokes may be lost: what was committed meanwhile is found when the wait is over.
func TestPull_looksAgainAfterTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		e := New(&scriptedStore{changes: func(r Range) (Run, error) {
			reads++
			return feed(int64(reads), r), nil
		}}, &deaf{}, Options{})
		began := time.Now()
		page, err := e.Pull(t.Context(), "s", PullRequest{Cursor: at(1), Wait: 3 * time.Second})
		if err != nil || len(page.Changes) != 1 || page.Version != 2 {
			t.Errorf("got %+v, %v, want the change at version 2", page, err)
		}
		if reads != 2 || time.Since(began) != 3*time.Second {
			t.Errorf("%d reads in %v, want 2 in 3s", reads, time.Since(began))
		}
	})
}

func TestPull_nothingNew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := New(&scriptedStore{changes: func(r Range) (Run, error) { return feed(1, r), nil }}, &deaf{}, Options{})
		for _, wait := range []time.Duration{0, time.Second} {
			began := time.Now()
			page, err := e.Pull(t.Context(), "s", PullRequest{Cursor: at(1), Wait: wait})
			if err != nil || page.Cursor != at(1) || len(page.Changes) != 0 || page.HasMore {
				t.Errorf("wait %v: got %+v, %v, want the same cursor and no changes", wait, page, err)
			}
			if time.Since(began) != wait {
				t.Errorf("wait %v took %v", wait, time.Since(began))
			}
		}
	})
}

// The head moved past documents of other collections: nothing to show, so the
// wait goes on from there, and the cursor that comes back has advanced.
func TestPull_waitGoesOnFromWhereItRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked []int64
		e := New(&scriptedStore{changes: func(r Range) (Run, error) {
			asked = append(asked, r.After)
			head := int64(4 + len(asked))
			return Run{Through: head, Space: models.Space{Head: head, Epoch: 1}}, nil
		}}, &deaf{}, Options{})
		filter := []string{"c"}
		from := cursor{position: 4, epoch: 1, filter: filterOf(filter)}
		page, err := e.Pull(t.Context(), "s", PullRequest{Cursor: from.encode("s"), Wait: time.Second, Collections: filter})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int64{4, 5}, asked); diff != "" {
			t.Errorf("read after (-want +got):\n%s", diff)
		}
		from.position = 6
		if page.Cursor != from.encode("s") {
			t.Errorf("the cursor has not advanced to what was read")
		}
	})
}

func TestPull_ends(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(e *Engine, cancel context.CancelFunc){
		"the client goes":    func(_ *Engine, cancel context.CancelFunc) { cancel() },
		"the engine drains":  func(e *Engine, _ context.CancelFunc) { e.Drain() },
		"it drains again":    func(e *Engine, _ context.CancelFunc) { e.Drain(); e.Drain() },
		"a poke at that":     func(e *Engine, _ context.CancelFunc) { e.Drain(); e.watchers.wake("s") },
		"the database fails": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var broken error
				e := New(&scriptedStore{changes: func(r Range) (Run, error) { return feed(1, r), broken }}, &deaf{}, Options{})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				began := time.Now()
				go func() {
					_, err := e.Pull(ctx, "s", PullRequest{Cursor: at(1), Wait: models.MaxWait})
					done <- err
				}()
				synctest.Wait()
				var want error
				switch name {
				case "the client goes":
					want = context.Canceled
				case "the database fails":
					want = models.Errorf(models.CodeUnavailable, "away")
					broken = want
					end = func(e *Engine, _ context.CancelFunc) { e.watchers.wake("s") }
				}
				end(e, cancel)
				if err := <-done; !errors.Is(err, want) || time.Since(began) != 0 {
					t.Errorf("got %v after %v, want %v at once", err, time.Since(began), want)
				}
				cancel()
			})
		})
	}
}

func TestPull_snapshotNeverWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := New(&scriptedStore{changes: func(r Range) (Run, error) { return Run{}, nil }}, &deaf{}, Options{})
		began := time.Now()
		page, err := e.Pull(t.Context(), "s", PullRequest{Wait: models.MaxWait, MinVersion: 9})
		if err != nil || page.Version != 0 || page.Cursor == "" || time.Since(began) != 0 {
			t.Errorf("got %+v, %v after %v, want an empty page at once", page, err, time.Since(began))
		}
	})
}

func TestPull_asksForWhatTheCursorMeans(t *testing.T) {
	t.Parallel()
	var asked Range
	e := New(&scriptedStore{changes: func(r Range) (Run, error) {
		asked = r
		return Run{Through: 10, Space: models.Space{Head: 20, Epoch: 1}}, nil
	}}, &deaf{}, Options{})
	page := func(c string, limit int) string {
		t.Helper()
		p, err := e.Pull(t.Context(), "s", PullRequest{Cursor: c, Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		if !p.HasMore || p.PollAfter != 0 || p.Version != 20 {
			t.Errorf("got %+v, want more at once, of head 20", p)
		}
		return p.Cursor
	}
	next := page("", 0)
	if diff := cmp.Diff(Range{Snapshot: true, Limit: models.DefaultPageChanges}, asked); diff != "" {
		t.Errorf("first page of a snapshot (-want +got):\n%s", diff)
	}
	page(next, 7)
	if diff := cmp.Diff(Range{After: 10, HideUpTo: 20, Limit: 7}, asked); diff != "" {
		t.Errorf("second page of a snapshot (-want +got):\n%s", diff)
	}
	page(at(5), 7)
	if diff := cmp.Diff(Range{After: 5, Limit: 7}, asked); diff != "" {
		t.Errorf("page of a feed (-want +got):\n%s", diff)
	}
}

func TestPull_minVersion(t *testing.T) {
	t.Parallel()
	e := New(&scriptedStore{changes: func(r Range) (Run, error) { return feed(5, r), nil }}, &deaf{}, Options{})
	for version, want := range map[int64]models.Cause{0: "", 5: "", 6: models.CauseEpoch} {
		_, err := e.Pull(t.Context(), "s", PullRequest{Cursor: at(5), MinVersion: version})
		if got := causeOf(err); got != want {
			t.Errorf("min_version %d at head 5: %v, want cause %q", version, err, want)
		}
	}
}

func TestPush_announcesAfterTheCommit(t *testing.T) {
	t.Parallel()
	lost := models.Errorf(models.CodeOutcomeUnknown, "lost")
	for name, test := range map[string]struct {
		base   int64
		failed error
		want   []Message
	}{
		"committed":       {0, nil, []Message{{Space: "s", Version: 7}}},
		"nothing changed": {5, nil, nil},
		"not committed":   {0, lost, nil},
	} {
		broker := &deaf{}
		e := New(&scriptedStore{commit: func(decide func(Locked) Writes) error {
			for range 2 { // a Store may run it again
				decide(Locked{Now: 7, Space: models.Space{ID: "s"}})
				if broker.published != nil {
					t.Errorf("%s: announced before the commit", name)
				}
			}
			return test.failed
		}}, broker, Options{})
		_, err := e.Push(t.Context(), "s", "alice", &models.PushRequest{ClientID: "c1", Edits: []models.Edit{
			put("e1", "d", version(test.base), `{}`),
		}})
		if !errors.Is(err, test.failed) {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(test.want, broker.published); diff != "" {
			t.Errorf("%s: pokes (-want +got):\n%s", name, diff)
		}
	}
}

// committing is a store that only looks at the context it is given.
type committing struct {
	Store
	ctx func(context.Context)
}

func (c committing) Commit(ctx context.Context, g Group) error {
	g.Decide([]*Locked{{}})
	c.ctx(ctx)
	return ctx.Err()
}

// A push cut off in its commit is one more outcome that somebody must find out.
func TestPush_clientGoes(t *testing.T) {
	t.Parallel()
	ctx, leave := context.WithCancel(t.Context())
	begun := 0
	e := New(committing{ctx: func(inner context.Context) {
		begun++
		leave()
		if inner.Err() != nil {
			t.Error("the client went, and took its push with it")
		}
		if _, bounded := inner.Deadline(); !bounded {
			t.Error("a push may take for ever")
		}
	}}, &deaf{}, Options{})
	req := &models.PushRequest{ClientID: "c1", Edits: []models.Edit{put("e1", "d", version(0), `{}`)}}
	if _, err := e.Push(ctx, "s", "alice", req); err != nil {
		t.Errorf("gone during the commit: %v", err)
	}
	if _, err := e.Push(ctx, "s", "alice", req); !errors.Is(err, context.Canceled) || begun != 1 {
		t.Errorf("gone before it: %v, begun %d times, want not begun", err, begun)
	}
}

// The client must learn what became of its edits, whatever happens to the page.
func TestPush_pageThatFails(t *testing.T) {
	t.Parallel()
	e := New(&scriptedStore{
		commit: func(decide func(Locked) Writes) error {
			decide(Locked{Now: 7})
			return nil
		},
		changes: func(Range) (Run, error) { return Run{}, errors.New("away") },
	}, &deaf{}, Options{})
	start := ""
	res, err := e.Push(t.Context(), "s", "alice", &models.PushRequest{
		ClientID: "c1", Cursor: &start, Edits: []models.Edit{put("e1", "d", version(0), `{}`)},
	})
	if err != nil || res.Version != 7 || res.Page != nil {
		t.Fatalf("got %+v, %v, want results without a page", res, err)
	}
	wantResults(t, res.Results, "e1: applied at 7")
}

func TestPush_cursor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cursor string
		code   models.Code
	}{
		"damaged":                         {at(5) + "x", models.CodeInvalidCursor},
		"of another filter":               {cursor{position: 5, epoch: 1, filter: 3}.encode("s"), models.CodeCursorExpired},
		"ahead of the head":               {at(6), models.CodeCursorExpired},
		"below the floor, under the lock": {at(2), models.CodeCursorExpired},
	} {
		wrote := false
		e := New(&scriptedStore{commit: func(decide func(Locked) Writes) error {
			writes := decide(Locked{Now: 7, Space: models.Space{Head: 5, Floor: 3, Epoch: 1}})
			wrote = !writes.Empty()
			return nil
		}}, &deaf{}, Options{})
		_, err := e.Push(t.Context(), "s", "alice", &models.PushRequest{
			ClientID: "c1", Cursor: &test.cursor, Edits: []models.Edit{put("e1", "d", version(0), `{}`)},
		})
		if err == nil || models.CodeOf(err) != test.code || wrote {
			t.Errorf("%s: %v, wrote %t, want %s and nothing written", name, err, wrote, test.code)
		}
	}
}

// News that are not for its filter move the cursor of a long poll, and the cursor it
// answers with is the last one, however often it has looked.
func TestPull_waitMovesTheCursor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var head atomic.Int64
		head.Store(1)
		e := New(&scriptedStore{changes: func(Range) (Run, error) {
			return Run{Through: head.Load(), Space: models.Space{Head: head.Load(), Epoch: 1}}, nil
		}}, &deaf{}, Options{})
		time.AfterFunc(time.Second, func() {
			head.Store(2)
			e.watchers.wake("s")
		})
		page, err := e.Pull(t.Context(), "s", PullRequest{Cursor: at(1), Wait: 3 * time.Second})
		if err != nil || page.Cursor != at(2) || page.Version != 2 {
			t.Errorf("got %+v, %v, want an empty page with the cursor at 2", page, err)
		}
	})
}
