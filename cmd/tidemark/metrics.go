package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/guard"
)

// metricsListener shows the metrics, and profiles of the process, where no token is asked
// for. It is there before the database is, and until after it: what goes wrong then is
// what an operator wants to see.
type metricsListener struct {
	url    string // "": there is none
	server *http.Server
	ended  chan struct{}
}

// listenForMetrics opens the listener, if the settings name one.
func listenForMetrics(ctx context.Context, s *Settings, registry *prometheus.Registry, log *slog.Logger) (*metricsListener, error) {
	if s.MetricsListen == "" {
		return &metricsListener{}, nil
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", s.MetricsListen)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", api.ShowMetrics(registry))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	// Not pprof.Cmdline: settings may be given as flags, and some are secrets.
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	m := &metricsListener{
		url: "http://" + listener.Addr().String() + "/metrics",
		server: &http.Server{
			Handler:           ownHostOnly(s.MetricsListen, mux),
			ReadHeaderTimeout: 5 * time.Second, // no WriteTimeout: a profile takes as long as it is asked to
			IdleTimeout:       75 * time.Second,
			MaxHeaderBytes:    models.MaxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		},
		ended: make(chan struct{}),
	}
	log.InfoContext(ctx, "metrics are shown", "url", m.url) // before the database is asked for anything
	go guard.Do(ctx, log, "the metrics", func() {
		defer close(m.ended)
		if err := m.server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			log.ErrorContext(ctx, "metrics are not served any more", "error", err)
		}
	})
	return m, nil
}

// ownHostOnly refuses what a web page sends that has pointed its own name at 127.0.0.1
// (DNS rebinding), where only this machine can connect.
func ownHostOnly(listen string, next http.Handler) http.Handler {
	if !api.Loopback(listen) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !api.Loopback(r.Host) {
			http.Error(w, "This listener answers only requests for localhost.", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// close ends it. A profile that is being made is cut off.
func (m *metricsListener) close() {
	if m.server != nil {
		_ = m.server.Close() // what it can say is that connections were cut off
		<-m.ended
	}
}
