package scenario

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAll_namesAreOnce(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range All() {
		if seen[c.Name] || c.Name == "" || c.Group == "" || c.Ours == nil || c.Seconds == nil {
			t.Errorf("the case %q is incomplete or there twice", c.Name)
		}
		seen[c.Name] = true
		for _, row := range c.Rows {
			if row.AtLeast > 0 && c.Limit == nil {
				t.Errorf("%s: %s has a share and no limit", c.Name, row.Title)
			}
		}
	}
}

func TestHall_countsWhatIsLost(t *testing.T) {
	t.Parallel()
	h := newHall(&Env{}, audience{streams: 2, edits: func(*Env) int { return 2 }}, 10)
	h.acked = []time.Duration{100, 200}
	h.seats = []*seat{
		{seen: []time.Duration{150, 190}}, // the second was seen before its writer had the answer
		{seen: []time.Duration{300, 0}},   // the second never came
	}
	f := Figures{}
	h.addLatencies(f)
	if want := milliseconds(200); f[P99] != want {
		t.Errorf("the 99th percentile is %v, want %v", f[P99], want)
	}
	if want := milliseconds(50); f[P50] != want {
		t.Errorf("the median is %v, want %v", f[P50], want)
	}
	f = Figures{}
	h.seats = nil
	if h.addLatencies(f); len(f) > 0 {
		t.Errorf("nothing was seen, and its latency is %v", f)
	}
}

// What polls and pushes used together is no cost of a poll.
func TestSample_addCPU(t *testing.T) {
	t.Parallel()
	start := time.Now()
	s := sample{from: usage{at: start, served: true}, to: usage{at: start.Add(time.Second), server: 50 * time.Millisecond, served: true}}
	for units, want := range map[int64]Figures{
		0:  {ServerCores: 0.05, PostgresCores: 0},
		10: {ServerCores: 0.05, PostgresCores: 0, ServerCPU: 5000, PostgresCPU: 0},
	} {
		f := Figures{}
		s.units = units
		if s.addCPU(f); !cmp.Equal(want, f) {
			t.Errorf("%d units (-want +got):\n%s", units, cmp.Diff(want, f))
		}
	}
}

func TestDrive_endsWithTheFirstError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	good := func(context.Context) (int, error) { return 1, nil }
	bad := func(context.Context) (int, error) { return 0, broken }
	if _, err := drive(t.Context(), []step{good, bad}, 0, time.Hour, func() usage { return usage{} }); !errors.Is(err, broken) {
		t.Errorf("the load ended with %v", err)
	}
}
