package presence

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
)

// told is what a watch has been told of: client ids by space. Nil: nothing.
func told(w *Watch) map[string][]string {
	select {
	case <-w.C:
	default:
		return nil
	}
	spaces := make(map[string][]string)
	for _, e := range w.Events() {
		ids := []string{}
		for _, p := range e.Present {
			ids = append(ids, p.ClientID)
		}
		spaces[e.Space] = ids
	}
	return spaces
}

func TestWatch(t *testing.T) {
	t.Parallel()
	n := newNode(t, &clock{start}, Options{NodeID: "a"})
	other := newNode(t, n.clock, Options{NodeID: "b"})
	w := n.Watch("s0", "s1")
	want := func(what string, ids ...string) {
		t.Helper()
		n.tell()
		var events map[string][]string
		if ids != nil {
			events = map[string][]string{"s1": ids}
		}
		if diff := cmp.Diff(events, told(w)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	nobody := []string{}
	want("nothing")
	n.beat("c1", `{}`, 30*time.Second)
	n.beat("c2", `{}`, 30*time.Second)
	want("two came", "c1", "c2")
	want("once for both")
	n.beat("c1", `{}`, 30*time.Second)
	want("a mere heartbeat")
	n.beat("c1", `{"a":1}`, 30*time.Second)
	want("another state", "c1", "c2")
	n.leaves("c1")
	want("one left", "c2")
	n.leaves("c1")
	want("left again")
	other.beat("c3", `{}`, 60*time.Second)
	other.beat("c3", `{}`, 60*time.Second)
	n.Receive(other.sent.messages[0])
	want("one came to another node", "c2", "c3")
	n.Receive(other.sent.messages[1])
	want("a mere heartbeat there")
	n.clock.advance(30 * time.Second)
	n.sweep()
	want("c2 expired", "c3")
	n.sweep()
	want("nobody else")
	n.leaves("c3")
	want("the last left", nobody...)

	w.Stop()
	w.Stop()
	n.beat("c4", `{}`, 30*time.Second)
	want("ended")
	n.leaves("c4")
	if len(n.spaces) != 0 {
		t.Errorf("%d spaces are remembered", len(n.spaces))
	}
}

// Who comes to watch is shown who is there, once.
func TestWatch_begins(t *testing.T) {
	t.Parallel()
	n := newNode(t, &clock{start}, Options{})
	early := n.Watch("s1")
	n.beat("c1", `{}`, 0)
	late := n.Watch("s2", "s1")
	there := map[string][]string{"s1": {"c1"}}
	if diff := cmp.Diff(there, told(late)); diff != "" {
		t.Errorf("at the beginning (-want +got):\n%s", diff)
	}
	n.tell()
	if diff := cmp.Diff(there, told(early)); diff != "" {
		t.Errorf("one was there before (-want +got):\n%s", diff)
	}
	if got := told(late); len(got) != 0 {
		t.Errorf("the same again: %v", got)
	}
}

// A thousand streams that are told of one change encode it once.
func TestEvent_shared(t *testing.T) {
	t.Parallel()
	n := newNode(t, &clock{start}, Options{})
	a, b := n.Watch("s1"), n.Watch("s1")
	n.beat("c1", `{ "a":1 }`, 0)
	n.tell()
	encoded := 0
	encode := func(e *models.PresenceEvent) []byte {
		encoded++
		return e.AppendJSON(nil)
	}
	const want = `{"space":"s1","present":[{"client_id":"c1","subject":"alice","state":{ "a":1 },"since":"2026-11-23T10:00:00.000Z"}]}`
	for _, w := range []*Watch{a, b} {
		if got := string(w.Events()[0].Text(encode)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if encoded != 1 {
		t.Errorf("encoded %d times", encoded)
	}
	n.beat("c1", `{}`, 0)
	n.tell()
	a.Events()[0].Text(encode)
	if encoded != 2 {
		t.Errorf("encoded %d times after another change", encoded)
	}
}

// running runs a registry on the clock of a synctest bubble until it ends.
func running(t *testing.T) *Registry {
	t.Helper()
	r := New(&sent{}, Options{})
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return r
}

func enter(t *testing.T, r *Registry, space, clientID string) {
	t.Helper()
	if err := r.Enter(t.Context(), space, clientID, "alice", models.PresenceRequest{TTL: 5 * time.Second}); err != nil {
		t.Fatal(err)
	}
}

// Run tells of who expires in a space for which nobody asks.
func TestRun_expiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := running(t)
		enter(t, r, "s1", "c1")
		w := r.Watch("s1")
		defer w.Stop()
		<-w.C
		w.Events()
		began := time.Now()
		<-w.C
		if late := time.Since(began) - 5*time.Second; late < 0 || late > sweepEvery+tellEvery {
			t.Errorf("told %v after the end of the ttl", late)
		}
		if events := w.Events(); len(events) != 1 || len(events[0].Present) != 0 {
			t.Errorf("got %+v, want that nobody is there", events)
		}
	})
}

// However often a space changes, its watches are told only so often.
func TestRun_bursts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := running(t)
		w := r.Watch("s1")
		defer w.Stop()
		times := 0
		for i := range 100 {
			enter(t, r, "s1", fmt.Sprint("c", i))
			select {
			case <-w.C:
				times++
				w.Events()
			case <-time.After(10 * time.Millisecond):
			}
		}
		if times < 5 || times > 10 {
			t.Errorf("told %d times in a second", times)
		}
	})
}

// What happens in other spaces puts nothing off.
func TestRun_inTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := running(t)
		w := r.Watch("s1")
		defer w.Stop()
		began := time.Now()
		enter(t, r, "s1", "c1")
		for i := range 100 {
			space := fmt.Sprint("other", i)
			defer r.Watch(space).Stop()
			enter(t, r, space, "c1")
			select {
			case <-w.C:
				if late := time.Since(began); late > tellEvery {
					t.Errorf("told after %v", late)
				}
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
		t.Error("not told")
	})
}

// A bug while it tells or sweeps costs a moment: what was to be told is told.
func TestRun_panic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var bug atomic.Bool
		r := New(nil, Options{Logger: slog.New(slog.DiscardHandler), Now: func() time.Time {
			if bug.Load() {
				panic("planted")
			}
			return time.Now()
		}})
		ctx, end := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		w := r.Watch("s1")
		defer w.Stop()
		if err := r.Enter(t.Context(), "s1", "c1", "alice", models.PresenceRequest{TTL: 5 * time.Second}); err != nil {
			t.Fatal(err)
		}
		<-time.After(sweepEvery - 10*time.Millisecond)
		synctest.Wait()
		if got := told(w); len(got["s1"]) != 1 {
			t.Fatalf("told of %v", got)
		}
		bug.Store(true)
		<-time.After(sweepEvery)
		bug.Store(false)
		<-time.After(2 * 5 * time.Second)
		synctest.Wait()
		if got := told(w); got == nil || len(got["s1"]) != 0 {
			t.Errorf("told of %v, want that c1 has gone", got)
		}
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
