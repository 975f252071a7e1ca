package main

import (
	"testing"
	"time"
)

// A line has no Inf and no NaN, also before anything has come and when no time has passed.
func TestProgress_line(t *testing.T) {
	t.Parallel()
	began := time.Unix(1_800_000_000, 0)
	for _, test := range []struct {
		total, done int64
		after       time.Duration
		want        string
	}{
		{1000, 0, 0, "export: 0 of about 1000 documents"},
		{1000, 100, 0, "export: 100 of about 1000 documents"},
		{1000, 0, time.Minute, "export: 0 of about 1000 documents"},
		{0, 0, 0, "export: 0 of about 0 documents"},
		{1000, 200, 10 * time.Second, "export: 200 of about 1000 documents, 20/s, 40s left"},
		{1000, 1200, 10 * time.Second, "export: 1200 of about 1200 documents, 120/s, 0s left"},
	} {
		p := newProgress(nil, "export")
		p.total, p.done, p.began = test.total, test.done, began
		if line := p.line(began.Add(test.after)); line != test.want {
			t.Errorf("%d of %d in %v: %q, want %q", test.done, test.total, test.after, line, test.want)
		}
	}
}
