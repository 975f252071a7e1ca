package brokertest

import (
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/syncer"
)

// await waits for a signal.
func await(t *testing.T, signal <-chan struct{}) {
	t.Helper()
	select {
	case <-signal:
	case <-time.After(patience):
		t.Fatalf("no signal within %v", patience)
	}
}

func oneAtATime(t *testing.T, ends Ends) {
	var inside, most atomic.Int32
	l := listen(t, ends.B, func(syncer.Message) {
		most.Store(max(most.Load(), inside.Add(1)))
		inside.Add(-1)
	})
	for i := range int64(50) {
		for _, space := range []string{"s1", "s2", "s3"} {
			publish(t, ends.A, syncer.Message{Space: space, Version: i + 1})
		}
		publish(t, ends.A, syncer.Message{Space: "s1", Presence: json.RawMessage("1")})
	}
	l.waitFor(t, ends.A, syncer.Message{Space: "s3", Version: 50})
	if most.Load() != 1 {
		t.Errorf("%d delivers ran at a time, want 1", most.Load())
	}
}

func publishDoesNotWait(t *testing.T, ends Ends) {
	release := make(chan struct{})
	l := listen(t, ends.B, func(syncer.Message) { <-release })
	published := make(chan struct{})
	go func() {
		defer close(published)
		for i := range int64(1000) {
			poke := syncer.Message{Space: "s1", Version: i + 1}
			news := syncer.Message{Space: "s1", Presence: json.RawMessage("1")}
			for _, m := range []syncer.Message{poke, news} {
				if err := ends.A.Publish(t.Context(), m); err != nil {
					t.Errorf("publish: %v", err)
					return
				}
			}
		}
	}()
	select {
	case <-published:
	case <-time.After(patience):
		t.Error("publishing waits for a deliver that hangs")
	}
	close(release)
	await(t, published)
	l.waitFor(t, ends.A, syncer.Message{Space: "s1", Version: 1001})
}

func runEnds(t *testing.T, ends Ends) {
	entered, release := make(chan struct{}, 1), make(chan struct{})
	l := listen(t, ends.B, func(syncer.Message) {
		select {
		case entered <- struct{}{}:
		default:
		}
		<-release
	})
	publish(t, ends.A, syncer.Message{Space: "s1", Version: 1})
	select {
	case <-entered:
	case <-time.After(patience):
		close(release)
		t.Fatal("the poke was not heard")
	}
	l.stop()
	select {
	case err := <-l.done:
		t.Errorf("Run returned %v while deliver was running", err)
		l.done <- nil
	default:
	}
	close(release)
	l.end(t)
}

func endedHearsNothing(t *testing.T, ends Ends) {
	gone, stays := listen(t, ends.B, nil), listen(t, ends.B, nil)
	gone.end(t)
	for len(gone.heard) > 0 {
		<-gone.heard
	}
	stays.waitFor(t, ends.A, syncer.Message{Space: "s1", Version: 1})
	if len(gone.heard) > 0 {
		t.Errorf("a Run that returned delivered %v", <-gone.heard)
	}
}

func beginsWithPoke(t *testing.T, ends Ends) {
	for range 2 { // nothing is left of the first
		l := run(t, ends.B, nil)
		first := l.await(t, func(syncer.Message) bool { return true })
		if diff := cmp.Diff(syncer.Message{}, first); diff != "" {
			t.Errorf("the first message of a Run (-want +got):\n%s", diff)
		}
		l.end(t)
	}
}

func comesBack(t *testing.T, ends Ends) {
	if ends.Break == nil {
		return
	}
	l := listen(t, ends.B, nil)
	l.waitFor(t, ends.A, syncer.Message{Space: "s1", Version: 1})
	for version := range int64(2) {
		ends.Break(t)
		l.await(t, func(m syncer.Message) bool { return cmp.Equal(m, syncer.Message{}) })
		l.waitFor(t, ends.A, syncer.Message{Space: "s1", Version: version + 2})
	}
	l.waitFor(t, ends.A, syncer.Message{Space: "s1", Presence: json.RawMessage(`"back"`)})
}
