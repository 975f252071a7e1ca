package syncer

import (
	"context"
	"errors"
	"math"
	"regexp"
	"testing"
	"time"

	"github.com/tidemark/tidemark/models"
)

func TestPollAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	e := New(nil, nil, Options{Now: func() time.Time { return now }})
	for _, test := range []struct {
		name string
		head int64
		want time.Duration
	}{
		{"just changed", now.UnixMicro(), time.Second},
		{"10 s ago", now.Add(-10 * time.Second).UnixMicro(), time.Second},
		{"30 s ago", now.Add(-30 * time.Second).UnixMicro(), 3 * time.Second},
		{"150 s ago", now.Add(-150 * time.Second).UnixMicro(), 5 * time.Second},
		{"a day ago", now.AddDate(0, 0, -1).UnixMicro(), 5 * time.Second},
		{"never", 0, 5 * time.Second},
		{"ahead of this clock", now.Add(time.Hour).UnixMicro(), time.Second},
		{"as far ahead as can be", models.MaxVersion, time.Second},
		{"nonsense", math.MinInt64, 5 * time.Second},
	} {
		if got := e.pollAfter(test.head); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestNew_defaults(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		opts     Options
		min, max time.Duration
	}{
		"none":                   {Options{}, time.Second, 5 * time.Second},
		"both":                   {Options{PollMin: 2 * time.Second, PollMax: 4 * time.Second}, 2 * time.Second, 4 * time.Second},
		"a least above the most": {Options{PollMin: time.Minute}, time.Minute, time.Minute},
	} {
		e := New(nil, nil, test.opts)
		now := e.opts.Now()
		if got := e.pollAfter(now.UnixMicro()); got != test.min {
			t.Errorf("%s: active space: %v, want %v", name, got, test.min)
		}
		if got := e.pollAfter(0); got != test.max {
			t.Errorf("%s: quiet space: %v, want %v", name, got, test.max)
		}
		if id := e.opts.NewID(); !models.ValidName(id) || !regexp.MustCompile(`^[a-z2-7]{26}$`).MatchString(id) {
			t.Errorf("%s: made the id %q", name, id)
		}
	}
}

type pinged struct {
	Store
	err error
}

func (p pinged) Ping(context.Context) error { return p.err }

func TestReady(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	e := New(pinged{}, nil, Options{})
	if err := e.Ready(t.Context()); models.CodeOf(err) != models.CodeUnavailable {
		t.Errorf("nothing runs: %v, want %s", err, models.CodeUnavailable)
	}
	follow := func(e *Engine) {
		ended, end := context.WithCancel(t.Context())
		end()
		e.refresh(ended)
	}
	broken := New(pinged{err: away}, nil, Options{})
	follow(broken)
	if err := broken.Ready(t.Context()); !errors.Is(err, away) {
		t.Errorf("database away: %v, want its error", err)
	}
	follow(e)
	if err := e.Ready(t.Context()); err != nil {
		t.Errorf("database there: %v", err)
	}
	e.Drain()
	if err := e.Ready(t.Context()); models.CodeOf(err) != models.CodeUnavailable {
		t.Errorf("draining: %v, want %s", err, models.CodeUnavailable)
	}
}
