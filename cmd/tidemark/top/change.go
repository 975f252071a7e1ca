package top

import (
	"maps"
	"math"
	"slices"
)

// unknown is a figure that no node has told.
var unknown = math.NaN()

// change is what happened at a node between two readings. Without the first there are
// numbers but no rates.
type change struct{ before, after *reading }

// number is the newest value of a counter or a gauge.
func (c change) number(name string) float64 {
	if c.after == nil {
		return unknown
	}
	if v, ok := c.after.numbers[name]; ok {
		return v
	}
	return unknown
}

// rate is how much a counter grew in a second. One that is smaller than before belongs
// to a process that was started since, and has counted all of it.
func (c change) rate(name string) float64 {
	seconds := c.seconds()
	if math.IsNaN(seconds) {
		return unknown
	}
	after, known := c.after.numbers[name]
	if !known {
		return unknown
	}
	grown := after - c.before.numbers[name]
	if grown < 0 {
		grown = after
	}
	return grown / seconds
}

func (c change) seconds() float64 {
	if c.before == nil || c.after == nil {
		return unknown
	}
	if s := c.after.at.Sub(c.before.at).Seconds(); s > 0 {
		return s
	}
	return unknown
}

// curve is what was observed between the readings.
func (c change) curve(name string) curve {
	if math.IsNaN(c.seconds()) {
		return nil
	}
	grown := curve{}
	for bound, n := range c.after.curves[name] {
		grown[bound] = n - c.before.curves[name][bound]
		if grown[bound] < 0 { // the process was started since
			return c.after.curves[name]
		}
	}
	return grown
}

// add adds what was observed elsewhere.
func (c curve) add(more curve) {
	for bound, n := range more {
		c[bound] += n
	}
}

// quantile is the bound below which a share of the observations was, between two bounds
// as if they lay evenly between. unknown: there were none.
func (c curve) quantile(share float64) float64 {
	bounds := slices.Sorted(maps.Keys(c))
	if len(bounds) == 0 || c[bounds[len(bounds)-1]] <= 0 {
		return unknown
	}
	wanted := share * c[bounds[len(bounds)-1]]
	lower, below := 0.0, 0.0
	for _, bound := range bounds {
		if n := c[bound]; n >= wanted && n > below {
			if math.IsInf(bound, 1) {
				return lower // more than that is all there is to say
			}
			return lower + (bound-lower)*(wanted-below)/(n-below)
		}
		lower, below = bound, c[bound]
	}
	return unknown
}

// sum adds up what is known of several nodes; unknown if nothing is.
func sum(values []float64) float64 {
	total, known := 0.0, false
	for _, v := range values {
		if !math.IsNaN(v) {
			total, known = total+v, true
		}
	}
	if !known {
		return unknown
	}
	return total
}
