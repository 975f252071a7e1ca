// Package brokertest holds what every syncer.Broker must do, as tests.
package brokertest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark/tidemark/syncer"
)

// patience bounds every wait; a broker that needs it has failed.
const patience = 10 * time.Second

// Run holds a broker against its contract. open returns two ends of one new
// broker: what one publishes, both hear. They may be the same value. open cleans
// up after itself through t.
func Run(t *testing.T, open func(t *testing.T) (a, b syncer.Broker)) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, syncer.Broker, syncer.Broker){
		"every run hears a poke, also its publisher":        everyRunHears,
		"pokes of several spaces all arrive":                severalSpaces,
		"the newest version of a space arrives":             newestArrives,
		"one poke is delivered at a time":                   oneAtATime,
		"publish doesn't wait for a deliver that hangs":     publishDoesNotWait,
		"publish succeeds while nobody runs":                nobodyRuns,
		"run ends with its context, after the last deliver": runEnds,
		"a run that ended hears nothing more":               endedHearsNothing,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := open(t)
			test(t, a, b)
		})
	}
}

// listener is a Run and what it has heard.
type listener struct {
	heard chan syncer.Message
	stop  context.CancelFunc
	done  chan error // gets what Run returned
}

// listen starts a Run that passes pokes on, and waits until it hears. Pokes may
// be lost, most of all before a listener is in place, so it publishes until one
// arrives.
func listen(t *testing.T, b syncer.Broker, deliver func(syncer.Message)) *listener {
	t.Helper()
	l := run(t, b, deliver)
	l.waitFor(t, b, syncer.Message{Space: "ready", Version: 1})
	return l
}

func run(t *testing.T, b syncer.Broker, deliver func(syncer.Message)) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &listener{heard: make(chan syncer.Message, 1024), stop: cancel, done: make(chan error, 1)}
	go func() {
		l.done <- b.Run(ctx, func(p syncer.Message) {
			if deliver != nil && p.Space != "ready" {
				deliver(p)
			}
			select {
			case l.heard <- p:
			default: // the test doesn't look any more
			}
		})
	}()
	t.Cleanup(func() { l.end(t) })
	return l
}

// end stops the Run and waits for it.
func (l *listener) end(t *testing.T) {
	t.Helper()
	l.stop()
	select {
	case err := <-l.done:
		if err != nil {
			t.Errorf("Run returned %v after its context ended, want nil", err)
		}
		l.done <- nil // for whoever ends it again
	case <-time.After(patience):
		t.Errorf("Run goes on %v after its context ended", patience)
	}
}

// waitFor publishes p through b until l hears it or a newer one of its space.
func (l *listener) waitFor(t *testing.T, b syncer.Broker, p syncer.Message) {
	t.Helper()
	deadline := time.After(patience)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		publish(t, b, p)
		for waiting := true; waiting; {
			select {
			case got := <-l.heard:
				if got.Space == p.Space && got.Version >= p.Version {
					return
				}
			case <-again.C:
				waiting = false
			case <-deadline:
				t.Fatalf("poke %v was not heard within %v", p, patience)
			}
		}
	}
}

func publish(t *testing.T, b syncer.Broker, p syncer.Message) {
	t.Helper()
	if err := b.Publish(t.Context(), p); err != nil {
		t.Fatalf("publish %v: %v", p, err)
	}
}

func everyRunHears(t *testing.T, a, b syncer.Broker) {
	own, other, third := listen(t, a, nil), listen(t, b, nil), listen(t, b, nil)
	p := syncer.Message{Space: "s1", Version: 7}
	own.waitFor(t, a, p)
	other.waitFor(t, a, p)
	third.waitFor(t, a, p)
}

func severalSpaces(t *testing.T, a, b syncer.Broker) {
	l := listen(t, b, nil)
	for _, space := range []string{"s1", "s2", "a.b_c-d"} {
		l.waitFor(t, a, syncer.Message{Space: space, Version: 1<<53 - 1})
	}
}

func newestArrives(t *testing.T, a, b syncer.Broker) {
	l := listen(t, b, nil)
	for v := range int64(100) {
		publish(t, a, syncer.Message{Space: "s1", Version: v + 1})
	}
	l.waitFor(t, a, syncer.Message{Space: "s1", Version: 100})
}

func oneAtATime(t *testing.T, a, b syncer.Broker) {
	var inside, most atomic.Int32
	l := listen(t, b, func(syncer.Message) {
		most.Store(max(most.Load(), inside.Add(1)))
		inside.Add(-1)
	})
	for i := range int64(50) {
		for _, space := range []string{"s1", "s2", "s3"} {
			publish(t, a, syncer.Message{Space: space, Version: i + 1})
		}
	}
	l.waitFor(t, a, syncer.Message{Space: "s3", Version: 50})
	if most.Load() != 1 {
		t.Errorf("%d delivers ran at a time, want 1", most.Load())
	}
}

func publishDoesNotWait(t *testing.T, a, b syncer.Broker) {
	release := make(chan struct{})
	l := listen(t, b, func(syncer.Message) { <-release })
	published := make(chan struct{})
	go func() {
		defer close(published)
		for i := range int64(1000) {
			if err := a.Publish(t.Context(), syncer.Message{Space: "s1", Version: i + 1}); err != nil {
				t.Errorf("publish: %v", err)
				return
			}
		}
	}()
	select {
	case <-published:
	case <-time.After(patience):
		t.Error("publishing waits for a deliver that hangs")
	}
	close(release)
	<-published
	l.waitFor(t, a, syncer.Message{Space: "s1", Version: 1001})
}

func nobodyRuns(t *testing.T, a, b syncer.Broker) {
	for i := range int64(100) {
		publish(t, a, syncer.Message{Space: "s1", Version: i + 1})
	}
	listen(t, b, nil).waitFor(t, a, syncer.Message{Space: "s1", Version: 101})
}

func runEnds(t *testing.T, a, b syncer.Broker) {
	entered, release := make(chan struct{}, 1), make(chan struct{})
	l := listen(t, b, func(syncer.Message) {
		select {
		case entered <- struct{}{}:
		default:
		}
		<-release
	})
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(patience)
	for inside := false; !inside; {
		publish(t, a, syncer.Message{Space: "s1", Version: 1})
		select {
		case <-entered:
			inside = true
		case <-again.C:
		case <-deadline:
			close(release)
			t.Fatal("the poke was not heard")
		}
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

func endedHearsNothing(t *testing.T, a, b syncer.Broker) {
	gone, stays := listen(t, b, nil), listen(t, b, nil)
	gone.end(t)
	for len(gone.heard) > 0 {
		<-gone.heard
	}
	stays.waitFor(t, a, syncer.Message{Space: "s1", Version: 1})
	if len(gone.heard) > 0 {
		t.Errorf("a Run that returned delivered %v", <-gone.heard)
	}
}
