package top

import (
	"io"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// reading is what a node told at a moment.
type reading struct {
	at time.Time
	// numbers are counters and gauges by name, summed up over their labels, and each
	// by its label's value, too: name, and name{value}.
	numbers map[string]float64
	// curves are histograms by name, summed up over their labels.
	curves  map[string]curve
	version string // of the server; "" where it can't be told
}

// curve is how many observations were at most a bound, by bound.
type curve map[float64]float64

// parse reads what /metrics answers.
func parse(text io.Reader, at time.Time) (reading, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(text)
	if err != nil {
		return reading{}, err
	}
	r := reading{at: at, numbers: map[string]float64{}, curves: map[string]curve{}}
	for name, family := range families {
		for _, metric := range family.GetMetric() {
			if histogram := metric.GetHistogram(); histogram != nil {
				if r.curves[name] == nil {
					r.curves[name] = curve{}
				}
				for _, bucket := range histogram.GetBucket() {
					r.curves[name][bucket.GetUpperBound()] += float64(bucket.GetCumulativeCount())
				}
				continue
			}
			// One of the three is there, the others are 0.
			value := metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + metric.GetUntyped().GetValue()
			r.numbers[name] += value
			for _, label := range metric.GetLabel() {
				r.numbers[name+"{"+label.GetValue()+"}"] += value
				if name == buildInfo && label.GetName() == "version" {
					r.version = label.GetValue()
				}
			}
		}
	}
	return r, nil
}
