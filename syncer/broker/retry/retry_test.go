package retry_test

import (
	"context"
	"testing"
	"time"

	"github.com/tidemark/tidemark/syncer/broker/retry"
)

func TestPause(t *testing.T) {
	t.Parallel()
	var pause retry.Pause
	for round := range 2 {
		for attempt := range 100 {
			most := 5 * time.Second
			if attempt < 6 {
				most = min(most, 100*time.Millisecond<<attempt)
			}
			if got := pause.Next(); got < most/2 || got > most {
				t.Errorf("round %d, attempt %d: %v, want between %v and %v", round, attempt, got, most/2, most)
			}
		}
		pause.Reset()
	}
}

func TestPause_ends(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var pause retry.Pause
	if pause.Wait(ctx) {
		t.Error("a pause whose context has ended reports that it is over")
	}
}
