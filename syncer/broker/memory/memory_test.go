package memory_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/brokertest"
	"github.com/tidemark/tidemark/syncer/broker/memory"
)

func TestBroker(t *testing.T) {
	t.Parallel()
	brokertest.Run(t, func(*testing.T) (a, b syncer.Broker) {
		broker := memory.New()
		return broker, broker
	})
}

// What one node publishes to itself is not lost: a long poll would wait in vain.
func TestBroker_losesNothing(t *testing.T) {
	t.Parallel()
	const spaces = 500
	broker := memory.New()
	heard := make(chan syncer.Message, spaces)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { done <- broker.Run(ctx, func(p syncer.Message) { heard <- p }) }()
	for ready := false; !ready; { // pokes from before Run listens are nobody's
		if err := broker.Publish(ctx, syncer.Message{Space: "ready", Version: 1}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-heard:
			ready = true
		default:
			runtime.Gosched()
		}
	}

	for i := range int64(spaces) {
		if err := broker.Publish(ctx, syncer.Message{Space: fmt.Sprint("s", i), Version: i + 1}); err != nil {
			t.Fatal(err)
		}
	}
	got := make(map[string]int64)
	for len(got) < spaces {
		if p := <-heard; p.Space != "ready" {
			got[p.Space] = p.Version
		}
	}
	for i := range int64(spaces) {
		if v := got[fmt.Sprint("s", i)]; v != i+1 {
			t.Errorf("space s%d: heard version %d, want %d", i, v, i+1)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}
