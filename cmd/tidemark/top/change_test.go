package top

import (
	"math"
	"testing"
)

func TestCurve_quantile(t *testing.T) {
	t.Parallel()
	inf := math.Inf(1)
	for _, test := range []struct {
		name  string
		curve curve
		share float64
		want  float64
	}{
		{"nothing", nil, .5, unknown},
		{"no observations", curve{1: 0, inf: 0}, .5, unknown},
		{"half way in the first", curve{1: 10, inf: 10}, .5, .5},
		{"in the second", curve{1: 5, 2: 10, inf: 10}, .75, 1.5},
		{"an empty one between", curve{1: 5, 2: 5, 3: 10, inf: 10}, .75, 2.5},
		{"above all bounds", curve{1: 0, 2: 1, inf: 10}, .99, 2},
	} {
		if got := test.curve.quantile(test.share); got != test.want && !(math.IsNaN(got) && math.IsNaN(test.want)) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
