package api

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/guard"
)

// metrics are what this package counts. Children are looked up once, so that a request
// costs one look into a map that nobody writes to.
type metrics struct {
	requests    map[routeKey]*[6]prometheus.Counter // by the first digit of the status
	others      *[6]prometheus.Counter              // of what is no route, or a part of a page
	notModified prometheus.Counter

	ended       map[string]prometheus.Counter
	refused     map[models.Code]prometheus.Counter
	streamPages prometheus.Counter
	streamLag   prometheus.Histogram

	all []prometheus.Collector
}

// routeKey is a route as echo names it.
type routeKey struct{ method, path string }

func newMetrics() *metrics {
	m := &metrics{
		requests: make(map[routeKey]*[6]prometheus.Counter),
		ended:    make(map[string]prometheus.Counter),
		refused:  make(map[models.Code]prometheus.Counter),
	}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidemark_requests_total",
		Help: "Requests answered, by route and class of the status. A stream counts when it is opened.",
	}, []string{"method", "route", "status"})
	classes := func(method, route string) *[6]prometheus.Counter {
		var list [6]prometheus.Counter
		for i := 2; i <= 5; i++ { // this server answers with no 1xx
			list[i] = requests.WithLabelValues(method, route, strconv.Itoa(i)+"xx")
		}
		return &list
	}
	for _, r := range routes {
		if r.access != page {
			m.requests[routeKey{r.method, r.echoPath()}] = classes(r.method, r.path)
		}
	}
	m.others = classes("any", "other")
	m.notModified = prometheus.NewCounter(prometheus.CounterOpts{Name: "tidemark_not_modified_total", Help: "Requests answered with 304: nothing was new."})

	ended := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidemark_streams_ended_total",
		Help: "Streams that have ended, by reason: that of their bye, reset (cursor expired), client (it closed), slow (it did not read), bug.",
	}, []string{"reason"})
	for _, reason := range []string{byeShutdown, byeMaxAge, byeTokenExpired, byeAccessLost, byeUnavailable, endReset, endClient, endSlow, endBug} {
		m.ended[reason] = ended.WithLabelValues(reason)
	}
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidemark_streams_refused_total",
		Help: "Streams refused, by code: too_many_streams of one subject, or unavailable: too many on this node, or it shuts down.",
	}, []string{"code"})
	for _, code := range []models.Code{models.CodeTooManyStreams, models.CodeUnavailable} {
		m.refused[code] = refused.WithLabelValues(string(code))
	}
	m.streamPages = prometheus.NewCounter(prometheus.CounterOpts{Name: "tidemark_stream_pages_total", Help: "Pages sent on streams."})
	m.streamLag = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "tidemark_stream_lag_seconds",
		Help:    "Time from when a version was made to when a stream that waited for it had written it. Clocks must be in step.",
		Buckets: syncer.LagBuckets,
	})
	m.all = []prometheus.Collector{requests, m.notModified, ended, refused, m.streamPages, m.streamLag}
	return m
}

// answered counts a request.
func (m *metrics) answered(c echo.Context) {
	method, status := c.Request().Method, c.Response().Status
	if method == http.MethodHead {
		method = http.MethodGet
	}
	classes := m.requests[routeKey{method, c.Path()}]
	if classes == nil {
		classes = m.others
	}
	if class := status / 100; class >= 2 && class <= 5 {
		classes[class].Inc()
	}
	if status == http.StatusNotModified {
		m.notModified.Inc()
	}
}

// streamEnded counts a stream by why it ended.
func (m *metrics) streamEnded(reason string) {
	if c := m.ended[reason]; c != nil {
		c.Inc()
	}
}

// readyPatience is how long the metrics wait for the database.
const readyPatience = time.Second

// register has registry show what the server, its engine and the process can tell.
func (s *Server) register(registry *prometheus.Registry) error {
	gauge := func(name, help string, labels prometheus.Labels, tell func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, tell)
	}
	all := append([]prometheus.Collector{
		gauge("tidemark_build_info", "The version that runs; always 1.",
			prometheus.Labels{"version": s.opts.Version, "go": runtime.Version()}, func() float64 { return 1 }),
		gauge("tidemark_ready", "1 if /readyz says yes, within a second.", nil, s.readyGauge),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "tidemark_panics_total",
			Help: "Bugs that were caught. The log has each with its stack.",
		}, func() float64 { return float64(guard.Panics()) }),
		s.rates.refused,
	}, verified(s.engine)...)
	for _, kind := range streamKinds {
		all = append(all, gauge("tidemark_streams", "Streams that are open, of one space or of several, and sockets.",
			prometheus.Labels{"kind": kind}, func() float64 { return float64(s.streams.amount(kind)) }))
	}
	all = append(append(all, s.engine.Metrics()...), s.metrics.all...)
	var errs []error
	for _, c := range all {
		errs = append(errs, registry.Register(c))
	}
	return errors.Join(errs...)
}

func (s *Server) readyGauge() float64 {
	ctx, cancel := context.WithTimeout(context.Background(), readyPatience)
	defer cancel()
	// The registry asks in a goroutine of its own, in which a panic would end the process.
	if guard.Call(func() error { return s.readiness(ctx) }) != nil {
		return 0
	}
	return 1
}

// verified exports what the engine has counted while it verified spaces.
func verified(engine *syncer.Engine) []prometheus.Collector {
	counter := func(name, help string, count func() int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(count()) })
	}
	return []prometheus.Collector{
		counter("tidemark_verified_total", "Spaces verified by their rows.", func() int64 { n, _ := engine.Verified(); return n }),
		counter("tidemark_verified_faulty_total", "Spaces that were not as they should be.", func() int64 { _, n := engine.Verified(); return n }),
	}
}

// NewRegistry returns a registry that shows what there is to know about the process.
func NewRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// ShowMetrics serves what registry shows, as GET /metrics does.
func ShowMetrics(registry *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true})
}

// showMetrics is GET /metrics.
func (s *Server) showMetrics(c echo.Context) error {
	if s.opts.MetricsElsewhere {
		return nothingHere(c)
	}
	s.shown.ServeHTTP(c.Response(), c.Request())
	return nil
}
