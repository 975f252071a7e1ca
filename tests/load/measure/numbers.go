package measure

import (
	"math"
	"slices"
	"time"
)

// Quantile returns the smallest value that at least the share q of all values
// does not exceed (nearest rank), 0 of none. It sorts the values.
func Quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	rank := int(math.Ceil(q * float64(len(values))))
	return values[min(max(rank, 1), len(values))-1]
}

// Median returns the middle value, of an even number the mean of the middle
// two, and 0 of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Share says how near a value comes to its limit: 1 is as good as the limit,
// 0.5 half as good. Of rates more is better, of costs less.
func Share(value, limit float64, lessIsBetter bool) float64 {
	if lessIsBetter {
		value, limit = limit, value
	}
	if limit == 0 {
		return 0
	}
	return value / limit
}
