package harness

import (
	"testing"
	"time"
)

// askEvery is how often Until looks.
const askEvery = 20 * time.Millisecond

// Until waits until something holds, and fails t if it doesn't in time.
func Until(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for deadline := time.After(within); !holds(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, within)
		}
	}
}
