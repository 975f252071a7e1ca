package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/memory"
)

// series is what a registry shows, one string for each series with its value.
func series(t *testing.T, registry *prometheus.Registry) map[string]string {
	t.Helper()
	w := httptest.NewRecorder()
	ShowMetrics(registry).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	all := map[string]string{}
	for line := range strings.Lines(w.Body.String()) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "} "); ok {
			all[name+"}"] = value
		}
	}
	return all
}

func TestMetrics_streamsEnded(t *testing.T) {
	t.Parallel()
	m, registry := newMetrics(), prometheus.NewRegistry()
	registry.MustRegister(m.all...)
	slow := fmt.Errorf("%w: %w", errCut, os.ErrDeadlineExceeded)
	m.streamEnded(endOf("", slow))
	m.streamEnded(endOf("", errCut))
	m.streamEnded(endOf("", errCut))
	m.streamEnded(endOf(byeMaxAge, errEnded))
	m.streamEnded(endOf(endReset, errCut)) // the client has heard of it and closed
	m.streamEnded(endOf(endBug, errCut))
	got := series(t, registry)
	for reason, want := range map[string]string{endSlow: "1", endClient: "2", byeMaxAge: "1", endReset: "1", endBug: "1", byeShutdown: "0", byeTokenExpired: "0", byeAccessLost: "0", byeUnavailable: "0"} {
		if n := got[fmt.Sprintf("tidemark_streams_ended_total{reason=%q}", reason)]; n != want {
			t.Errorf("%s: %q streams, want %s", reason, n, want)
		}
	}
}

// What a stream had to catch up with is not what happened while it waited.
func TestMetrics_streamLag(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	w.write("a", "b")
	f := w.follow(streamPath + "?limit=1")
	f.wantPage("a")
	f.wantPage("b")
	w.write("c")
	f.wantPage("c")
	w.ask(http.MethodDelete, "/v1/spaces/s1/documents/c/a", "", "If-Match", "*").want(http.StatusNoContent, "")
	f.wantPage("-a")
	registry := prometheus.NewRegistry()
	registry.MustRegister(w.server.metrics.streamLag)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patient)
	for { // it is noted once it is written, and then read already
		got := series(t, registry)[`tidemark_stream_lag_seconds_bucket{le="+Inf"}`]
		if got == "2" {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s pages were timed, want 2", got)
		case <-tick.C:
		}
	}
}

// pinged is a Store whose Ping may be another one.
type pinged struct {
	syncer.Store
	ping atomic.Pointer[func() error]
}

func (s *pinged) Ping(ctx context.Context) error {
	if ping := s.ping.Load(); ping != nil {
		return (*ping)()
	}
	return s.Store.Ping(ctx)
}

// A database that is away, or a bug on the way to it, is a 0 and nothing worse.
func TestMetrics_ready(t *testing.T) {
	t.Parallel()
	store := &pinged{Store: newStore(t)}
	w := newReady(t, func(o *Options) { o.Engine = newEngine(t, store) })
	if got := w.server.readyGauge(); got != 1 {
		t.Errorf("there: %v", got)
	}
	for name, ping := range map[string]func() error{
		"away": func() error { return errors.New("away") },
		"bug":  func() error { panic("a bug") },
	} {
		store.ping.Store(&ping)
		if got := w.server.readyGauge(); got != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	store.ping.Store(nil)
	w.server.Leave()
	if got := w.server.readyGauge(); got != 0 {
		t.Errorf("leaving: %v", got)
	}
}

// Requests are counted by what answers them, never by what they ask for.
func TestMetrics_requests(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	s, err := New(Options{Engine: syncer.New(quietStore{}, memory.New(), syncer.Options{}), Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	before := series(t, registry)
	for _, r := range []struct{ method, path string }{
		{http.MethodGet, "/v1/config"},
		{http.MethodHead, "/v1/config"},
		{http.MethodGet, "/healthz"},
		{http.MethodGet, "/v1/spaces/somebody/changes"},
		{http.MethodGet, "/v1/spaces/somebody/changes?cursor=x"},
		{http.MethodGet, "/favicon.svg"},
		{http.MethodGet, "/nobody/has/that"},
		{"BREW", "/v1/config"},
	} {
		request := httptest.NewRequest(r.method, r.path, nil)
		request.Host = "localhost"
		s.ServeHTTP(httptest.NewRecorder(), request)
	}
	after := series(t, registry)
	for name, want := range map[string]string{
		`method="GET",route="/v1/config",status="2xx"`:                 "2",
		`method="GET",route="/healthz",status="2xx"`:                   "1",
		`method="GET",route="/v1/spaces/{space}/changes",status="2xx"`: "1",
		`method="GET",route="/v1/spaces/{space}/changes",status="4xx"`: "1",
		`method="any",route="other",status="2xx"`:                      "1",
		`method="any",route="other",status="4xx"`:                      "2",
	} {
		if got := after["tidemark_requests_total{"+name+"}"]; got != want {
			t.Errorf("%s: %q requests, want %s", name, got, want)
		}
	}
	if len(before) == 0 || len(after) != len(before) {
		t.Errorf("there were %d series, now there are %d", len(before), len(after))
	}
}
