package measure

import (
	"os"
	"runtime"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	t.Parallel()
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100 - i)
	}
	for _, test := range []struct {
		values []time.Duration
		q      float64
		want   time.Duration
	}{
		{nil, 0.5, 0},
		{[]time.Duration{7}, 0.99, 7},
		{[]time.Duration{3, 1, 2}, 0.5, 2},
		{[]time.Duration{4, 1, 3, 2}, 0.5, 2},
		{hundred, 0, 1},
		{hundred, 0.5, 50},
		{hundred, 0.99, 99},
		{hundred, 1, 100},
	} {
		if got := Quantile(test.values, test.q); got != test.want {
			t.Errorf("quantile %v of %d values is %d, want %d", test.q, len(test.values), got, test.want)
		}
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0},
		{[]float64{5}, 5},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 2, 9}, 3},
	} {
		if got := Median(test.values); got != test.want {
			t.Errorf("median of %v is %v, want %v", test.values, got, test.want)
		}
	}
	kept := []float64{3, 1, 2}
	if Median(kept); kept[0] != 3 {
		t.Error("the rounds come out in another order")
	}
}

func TestShare(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		value, limit float64
		less         bool
		want         float64
	}{
		{60, 100, false, 0.6},
		{120, 100, false, 1.2},
		{40, 30, true, 0.75},
		{20, 30, true, 1.5},
		{20, 0, false, 0},
		{0, 30, true, 0},
	} {
		if got := Share(test.value, test.limit, test.less); got != test.want {
			t.Errorf("the share of %v in %v (less is better: %v) is %v, want %v", test.value, test.limit, test.less, got, test.want)
		}
	}
}

// TestCPU_isThisProcess burns processor time until it is seen.
func TestCPU_isThisProcess(t *testing.T) {
	t.Parallel()
	before, err := CPU(os.Getpid())
	if runtime.GOOS != "linux" {
		if err == nil {
			t.Error("processor time was read where it can't be")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for after := before; after < before+20*time.Millisecond; {
		if after, err = CPU(os.Getpid()); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("30 s of work were not counted")
		}
	}
	tree, err := CPUTree(os.Getpid())
	if own, _ := CPU(os.Getpid()); err != nil || tree < own/2 {
		t.Errorf("the process and its children used %v (%v), the process alone %v", tree, err, own)
	}
	memory, err := MemoryOf(os.Getpid())
	if err != nil || memory.Resident < 1<<20 || memory.Peak < memory.Resident {
		t.Errorf("this process holds %+v, %v", memory, err)
	}
	if _, err := CPU(1 << 30); err == nil {
		t.Error("a process that is not there used processor time")
	}
}

func TestThisMachine(t *testing.T) {
	t.Parallel()
	m := ThisMachine()
	if m.Cores < 1 || m.CPU == "" || m.System == "" || m.Go == "" {
		t.Errorf("this machine is %+v", m)
	}
	for load, want := range map[string]bool{"": false, "0.10 3.00 3.00": false, "1.70 0.00 0.00": true} {
		if got := (Machine{Load: load}).Busy(); got != want {
			t.Errorf("load averages %q: busy is %v", load, got)
		}
	}
}
