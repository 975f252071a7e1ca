package harness

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Figures are what one run of a test has done and found. `make soak` sums them up.
type Figures struct {
	Part string `json:"part"` // of the test plan: "T2"
	Seed uint64 `json:"seed"`

	Operations int64 `json:"operations"`
	Faults     int64 `json:"faults"` // of the network, the database, the broker
	Kills      int64 `json:"kills"`  // processes ended without warning
	BadInputs  int64 `json:"bad_inputs"`

	Lost         int64 `json:"lost"`
	Doubled      int64 `json:"doubled"`
	Diverged     int64 `json:"diverged"`
	Stuck        int64 `json:"stuck"`
	Gaps         int64 `json:"gaps"`
	Panics       int64 `json:"panics"`
	ServerErrors int64 `json:"server_errors"` // 5xx that nothing excuses

	Seconds float64 `json:"seconds"`
}

// Add adds what was counted since. Part, Seed and Seconds stay.
func (f *Figures) Add(more Figures) {
	for _, sum := range []struct {
		to   *int64
		more int64
	}{
		{&f.Operations, more.Operations},
		{&f.Faults, more.Faults},
		{&f.Kills, more.Kills},
		{&f.BadInputs, more.BadInputs},
		{&f.Lost, more.Lost},
		{&f.Doubled, more.Doubled},
		{&f.Diverged, more.Diverged},
		{&f.Stuck, more.Stuck},
		{&f.Gaps, more.Gaps},
		{&f.Panics, more.Panics},
		{&f.ServerErrors, more.ServerErrors},
	} {
		*sum.to += sum.more
	}
}

// Found is how much went wrong.
func (f *Figures) Found() int64 {
	return f.Lost + f.Doubled + f.Diverged + f.Stuck + f.Gaps + f.Panics + f.ServerErrors
}

// FiguresMark begins a line of output that holds Figures as JSON.
const FiguresMark = "SOAK "

// panics counts the servers of this process whose log held a panic.
var panics atomic.Int64

// Tally collects the figures of a test, from any of its goroutines.
type Tally struct {
	mu      sync.Mutex
	figures Figures
}

// Count returns the tally of a part of the test plan. In a soak it is printed when
// the test has ended; call it before Start, so that servers end first.
func Count(t testing.TB, part string, seed uint64) *Tally {
	tally, began := &Tally{figures: Figures{Part: part, Seed: seed}}, time.Now()
	t.Cleanup(func() {
		if os.Getenv(EnvSoak) == "" {
			return
		}
		tally.Add(Figures{Panics: panics.Swap(0)})
		tally.mu.Lock()
		defer tally.mu.Unlock()
		tally.figures.Seconds = time.Since(began).Seconds()
		line, err := json.Marshal(tally.figures)
		if err != nil {
			t.Fatal(err)
		}
		// A line of its own, whatever stands on the last one.
		fmt.Printf("\n%s%s\n", FiguresMark, line)
	})
	return tally
}

// Add adds what was counted.
func (c *Tally) Add(more Figures) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.figures.Add(more)
}
