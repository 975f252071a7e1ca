//nolint:paralleltest // environment and collector are the process's
package main

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestTuneCollector(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
	for _, test := range []struct {
		name, gogc, gomemlimit string
		percent                int
		limit                  int64
	}{
		{"nothing set", "", "", 400, 1280 << 20},
		{"both set", "100", "off", 100, math.MaxInt64},
	} {
		t.Setenv("GOGC", test.gogc)
		t.Setenv("GOMEMLIMIT", test.gomemlimit)
		debug.SetGCPercent(100) // what Go has made of them at its start
		debug.SetMemoryLimit(math.MaxInt64)
		tuneCollector(512)
		if got := debug.SetGCPercent(100); got != test.percent {
			t.Errorf("%s: GOGC is %d, want %d", test.name, got, test.percent)
		}
		if got := debug.SetMemoryLimit(-1); got != test.limit {
			t.Errorf("%s: GOMEMLIMIT is %d, want %d", test.name, got, test.limit)
		}
	}
}
