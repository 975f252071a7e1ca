package memory_test

import (
	"context"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/brokertest"
	"github.com/tidemark/tidemark/syncer/broker/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBroker(t *testing.T) {
	t.Parallel()
	brokertest.Run(t, func(*testing.T) brokertest.Ends {
		broker := memory.New()
		return brokertest.Ends{A: broker, B: broker}
	})
}

// What one node publishes to itself is not lost: a long poll would wait in vain.
func TestBroker_losesNothing(t *testing.T) {
	t.Parallel()
	const spaces = 500
	broker := memory.New()
	heard := make(chan syncer.Message, spaces+1)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { done <- broker.Run(ctx, func(m syncer.Message) { heard <- m }) }()
	if first := <-heard; first.Space != "" {
		t.Errorf("Run begins with %v", first)
	}
	for i := range int64(spaces) {
		if err := broker.Publish(ctx, syncer.Message{Space: fmt.Sprint("s", i), Version: i + 1}); err != nil {
			t.Fatal(err)
		}
	}
	got := make(map[string]int64)
	for len(got) < spaces {
		m := <-heard
		got[m.Space] = m.Version
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
