package brokertest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/syncer"
)

// probe is the space of messages by which a listener finds out that it hears.
const probe = "probe"

// listener is a Run and what it has heard.
type listener struct {
	heard  chan syncer.Message
	probes chan syncer.Message
	stop   context.CancelFunc
	done   chan error // gets what Run returned
}

// listen starts a Run that passes messages on, and waits until it hears pokes and
// presence. deliver gets neither probes nor pokes of no space.
func listen(t *testing.T, b syncer.Broker, deliver func(syncer.Message)) *listener {
	t.Helper()
	l := run(t, b, deliver)
	deadline := time.After(patience)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for poke, news := false, false; !poke || !news; {
		publish(t, b, syncer.Message{Space: probe, Version: 1})
		publish(t, b, syncer.Message{Space: probe, Presence: json.RawMessage("1")})
		for waiting := true; waiting && (!poke || !news); {
			select {
			case m := <-l.probes:
				poke, news = poke || m.IsPoke(), news || !m.IsPoke()
			case <-again.C:
				waiting = false
			case <-deadline:
				t.Fatalf("Run hears nothing within %v", patience)
			}
		}
	}
	return l
}

func run(t *testing.T, b syncer.Broker, deliver func(syncer.Message)) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &listener{
		heard:  make(chan syncer.Message, 1024),
		probes: make(chan syncer.Message, 1024),
		stop:   cancel,
		done:   make(chan error, 1),
	}
	go func() {
		l.done <- b.Run(ctx, func(m syncer.Message) {
			out := l.heard
			if m.Space == probe {
				out = l.probes
			} else if deliver != nil && m.Space != "" {
				deliver(m)
			}
			select {
			case out <- m:
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

// await returns the first message that is wanted.
func (l *listener) await(t *testing.T, wanted func(syncer.Message) bool) syncer.Message {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case got := <-l.heard:
			if wanted(got) {
				return got
			}
		case err := <-l.done:
			l.done <- err
			t.Fatalf("Run returned %v while its context goes on", err)
		case <-deadline:
			t.Fatalf("what is waited for was not heard within %v", patience)
		}
	}
}

// waitFor publishes m through b until l hears it, because messages may be lost.
// Of a poke, a newer one of its space will do.
func (l *listener) waitFor(t *testing.T, b syncer.Broker, m syncer.Message) {
	t.Helper()
	deadline := time.After(patience)
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		publish(t, b, m)
		for waiting := true; waiting; {
			select {
			case got := <-l.heard:
				if cmp.Equal(m, got) || m.IsPoke() && got.IsPoke() && got.Space == m.Space && got.Version >= m.Version {
					return
				}
			case <-again.C:
				waiting = false
			case <-deadline:
				t.Fatalf("%v was not heard within %v", m, patience)
			}
		}
	}
}

func publish(t *testing.T, b syncer.Broker, m syncer.Message) {
	t.Helper()
	if err := b.Publish(t.Context(), m); err != nil {
		t.Fatalf("publish %.200v: %v", m, err)
	}
}
