package syncer

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/models"
)

// metrics are what the engine counts of itself. Each is a few atomics: counting waits
// for nobody and allocates nothing. The children of a vector are looked up once, here,
// so that all of them are there to be seen from the start, at zero.
type metrics struct {
	results     map[models.Status]prometheus.Counter // but for those that have a name of their own:
	merged      prometheus.Counter
	replayed    prometheus.Counter
	failures    map[models.Code]prometheus.Counter // "": any other code
	pushTime    prometheus.Histogram
	queueTime   prometheus.Histogram
	groupPushes prometheus.Histogram
	groupEdits  prometheus.Histogram

	fromTail, fromDatabase, fromReplica prometheus.Counter
	changes                             prometheus.Counter
	clientLag                           prometheus.Histogram
	refusals                            map[models.Cause]prometheus.Counter // "": invalid

	gaps        prometheus.Counter
	regressions prometheus.Counter
	newEpochs   prometheus.Counter

	pokesSent, pokesFailed, pokesHeard, outOfTouch prometheus.Counter
	pokesMissed                                    prometheus.Counter
	pokeLag                                        prometheus.Histogram

	seenOwn, seenOther prometheus.Histogram
	inboxRows          prometheus.Gauge

	all []prometheus.Collector
}

// LagBuckets are the bounds of the histograms of how late something is seen.
var LagBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60}

// The bounds of the others. What clients wait for is within milliseconds on a quiet
// machine, and within commitTimeout on any.
var (
	waitBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	ageBuckets  = []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86400}
	sizeBuckets = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}
)

// failureCodes are those with which a push may fail as a whole.
var failureCodes = []models.Code{
	models.CodeSpaceBusy, models.CodeUnavailable, models.CodeOutcomeUnknown, models.CodeCursorExpired, models.CodeInternal,
}

func newMetrics() *metrics {
	m := &metrics{}
	results := m.counters("tidemark_push_results_total", "Results of edits, by outcome; merged and replayed ones were applied, too.", "outcome")
	m.results = make(map[models.Status]prometheus.Counter)
	for _, status := range []models.Status{models.StatusApplied, models.StatusConflict, models.StatusRejected, models.StatusSkipped} {
		m.results[status] = results.WithLabelValues(string(status))
	}
	m.merged, m.replayed = results.WithLabelValues("merged"), results.WithLabelValues("replayed")
	failures := m.counters("tidemark_push_failures_total", "Pushes that failed as a whole, by code; canceled: the client left before it began.", "code")
	m.failures = make(map[models.Code]prometheus.Counter)
	for _, code := range failureCodes {
		m.failures[code] = failures.WithLabelValues(string(code))
	}
	m.failures[codeCanceled], m.failures[""] = failures.WithLabelValues(string(codeCanceled)), failures.WithLabelValues("other")
	m.pushTime = m.histogram("tidemark_push_seconds", "Time from a push's arrival at the engine to its answer.", waitBuckets)
	m.queueTime = m.histogram("tidemark_push_queue_seconds", "Time that a push waited for its transaction to begin.", waitBuckets)
	m.groupPushes = m.histogram("tidemark_group_pushes", "Pushes that shared a transaction.", sizeBuckets)
	m.groupEdits = m.histogram("tidemark_group_edits", "Edits that shared a transaction.", sizeBuckets)

	pages := m.counters("tidemark_pages_total", "Pages read, by what answered: the tail in memory, the database, or its replica. Streams share pages.", "source")
	m.fromTail, m.fromDatabase, m.fromReplica = pages.WithLabelValues(SourceTail), pages.WithLabelValues(SourceDatabase), pages.WithLabelValues(SourceReplica)
	m.changes = m.counter("tidemark_page_changes_total", "Changes on those pages.")
	m.clientLag = m.histogram("tidemark_client_lag_seconds", "How old the oldest change was that a client with a cursor had not seen, when its page was read.", ageBuckets)
	refusals := m.counters("tidemark_cursor_refusals_total", "Cursors refused, by cause; invalid: damaged, or of another space.", "cause")
	m.refusals = make(map[models.Cause]prometheus.Counter)
	for _, cause := range []models.Cause{models.CauseRetention, models.CauseEpoch, models.CauseFilter, models.CauseDeleted} {
		m.refusals[cause] = refusals.WithLabelValues(string(cause))
	}
	m.refusals[""] = refusals.WithLabelValues("invalid")

	m.gaps = m.counter("tidemark_feed_gaps_total", "Pages that did not follow their cursor, were out of order, or went beyond the head: 0 for ever.")
	m.regressions = m.counter("tidemark_head_regressions_total", "Heads that went back within an epoch, so that acknowledged edits are gone: 0 for ever.")
	m.newEpochs = m.counter("tidemark_epochs_entered_total", "Spaces that were written for the first time after the database was started, restored or replaced.")

	pokes := m.counters("tidemark_pokes_total", "Pokes: sent, failed to be sent, heard; out_of_touch: the broker has come back after it had lost its server.", "event")
	m.pokesSent, m.pokesFailed = pokes.WithLabelValues("sent"), pokes.WithLabelValues("failed")
	m.pokesHeard, m.outOfTouch = pokes.WithLabelValues("heard"), pokes.WithLabelValues("out_of_touch")
	m.pokesMissed = m.counter("tidemark_pokes_missed_total", "Changes that this node found by looking, and no poke told of by its next look.")
	m.pokeLag = m.histogram("tidemark_poke_lag_seconds", "Time from when a version was made to when its poke arrived here.", LagBuckets)

	seen := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tidemark_visibility_seconds", Buckets: LagBuckets,
		Help: "Time from when a node wrote a beat to when this node saw it as streams do. Clocks must be in step.",
	}, []string{"from"})
	m.all = append(m.all, seen)
	m.seenOwn, m.seenOther = mustHistogram(seen.WithLabelValues("self")), mustHistogram(seen.WithLabelValues("other"))
	m.inboxRows = prometheus.NewGauge(prometheus.GaugeOpts{Name: "tidemark_inbox_rows", Help: "Rows of the inbox that the last look at it found."})
	m.all = append(m.all, m.inboxRows)
	return m
}

// mustHistogram: what a vector of histograms holds is one.
func mustHistogram(o prometheus.Observer) prometheus.Histogram {
	h, ok := o.(prometheus.Histogram)
	if !ok {
		panic("a vector of histograms holds something else")
	}
	return h
}

func (m *metrics) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	m.all = append(m.all, c)
	return c
}

func (m *metrics) counters(name, help, label string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	m.all = append(m.all, c)
	return c
}

func (m *metrics) histogram(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	m.all = append(m.all, h)
	return h
}

// Metrics are what the engine counts, and what it can tell when it is asked: to be
// registered once, by who shows them.
func (e *Engine) Metrics() []prometheus.Collector {
	gauge := func(name, help string, tell func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, tell)
	}
	return append([]prometheus.Collector{
		gauge("tidemark_tails_bytes", "Memory that the tails take.", func() float64 { _, bytes := e.tails.amount(); return float64(bytes) }),
		gauge("tidemark_tails", "Spaces whose newest changes are in memory.", func() float64 { n, _ := e.tails.amount(); return float64(n) }),
		gauge("tidemark_tails_limit_bytes", "Memory that the tails may take.", func() float64 { return float64(max(e.tails.limit, 0)) }),
		gauge("tidemark_pushes_waiting", "Pushes that wait for a transaction.", func() float64 { n, _ := e.committer.amount(); return float64(n) }),
		gauge("tidemark_pushes_waiting_bytes", "Documents in those pushes.", func() float64 { _, bytes := e.committer.amount(); return float64(bytes) }),
		gauge("tidemark_spaces_followed", "Spaces that streams or long polls of this node wait for.", func() float64 { return float64(e.watchers.amount()) }),
		gauge("tidemark_inbox_spaces", "Spaces whose rows of the inbox are on their way or have failed.", func() float64 { return float64(e.collector.amount()) }),
		gauge("tidemark_inbox_failing_spaces", "Spaces whose rows of the inbox have failed and are tried again.", func() float64 { return float64(e.collector.failing()) }),
		gauge("tidemark_beat_age_seconds", "Age of the newest beat of this node or of another that was heard of in the last five minutes, whichever is oldest; 0 without the canary.", e.beats.age),
		gauge("tidemark_nodes_seen", "Nodes whose beats were seen in the last five minutes, this one among them; 0 without the canary.", e.beats.nodes),
	}, e.metrics.all...)
}

func (ts *tails) amount() (spaces, bytes int) {
	ts.mu.Lock()
	defer ts.unlock()
	return len(ts.spaces), ts.bytes
}

func (c *committer) amount() (pushes, bytes int) {
	c.mu.Lock()
	defer c.unlock()
	return c.queued, c.bytes
}

func (w *watchers) amount() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.spaces)
}

func (c *collector) amount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.spaces)
}

func (c *collector) failing() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spaces {
		if s.waits || s.tries > 0 {
			n++
		}
	}
	return n
}

// codeCanceled is no code that anybody is told of: the client has gone.
const codeCanceled models.Code = "canceled"

// pushed counts a push that has ended.
func (m *metrics) pushed(took time.Duration, results []models.EditResult, err error) {
	if err != nil {
		code := models.CodeOf(err)
		if errors.Is(err, context.Canceled) {
			code = codeCanceled
		}
		if m.failures[code] == nil {
			code = ""
		}
		m.failures[code].Inc()
		return
	}
	m.pushTime.Observe(took.Seconds())
	for i := range results {
		switch r := &results[i]; {
		case r.Replayed:
			m.replayed.Inc()
		case r.Merged:
			m.merged.Inc()
		default:
			if c := m.results[r.Status]; c != nil {
				c.Inc()
			}
		}
	}
}

// refused counts err if it says that a cursor is no good, and returns it.
func (m *metrics) refused(err error) error {
	if err == nil {
		return nil
	}
	var e *models.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code {
	case models.CodeInvalidCursor:
		m.refusals[""].Inc()
	case models.CodeCursorExpired:
		if c := m.refusals[e.Cause]; c != nil {
			c.Inc()
		}
	}
	return err
}

// heard counts a poke that has arrived.
func (m *metrics) heard(poke Message, now time.Time) {
	if poke.Space == "" {
		m.outOfTouch.Inc()
		return
	}
	m.pokesHeard.Inc()
	if poke.Version > 0 {
		m.pokeLag.Observe(since(poke.Version, now))
	}
}

// since is how long ago a version was made, in seconds: versions come from the clock of
// the database, which may be ahead of this one.
func since(version int64, now time.Time) float64 {
	return max(now.Sub(time.UnixMicro(version)).Seconds(), 0)
}

// inspect looks at a page that is about to be handed out: whether it holds what a feed
// promises, and how old the news on it is.
func (e *Engine) inspect(ctx context.Context, space string, c cursor, run *Run) {
	e.metrics.changes.Add(float64(len(run.Changes)))
	if !follows(c, run) {
		e.metrics.gaps.Inc()
		e.opts.Logger.ErrorContext(ctx, "a page does not follow its cursor",
			"space", space, "after", c.position, "through", run.Through, "head", run.Space.Head, "changes", len(run.Changes))
	}
	if len(run.Changes) > 0 && !c.start && !c.inSnapshot() && space != models.CanarySpace {
		e.metrics.clientLag.Observe(since(run.Changes[0].Version, e.opts.Now()))
	}
}

// follows reports whether a page goes on where its cursor stands, in order, to no
// further than the head, and further than its cursor if there is more.
func follows(c cursor, run *Run) bool {
	last := c.position
	for i := range run.Changes {
		v := run.Changes[i].Version
		if v < last || v == c.position {
			return false
		}
		last = v
	}
	return last <= run.Through && run.Through <= run.Space.Head &&
		(run.Through == run.Space.Head || run.Through > c.position)
}

// regressed counts a head that has gone back, though the epoch says that nothing was
// lost: what was acknowledged up to before is not all there any more.
func (e *Engine) regressed(ctx context.Context, space string, before, now *models.Space) {
	if now.Epoch != before.Epoch || now.Head >= before.Head {
		return
	}
	e.metrics.regressions.Inc()
	e.opts.Logger.ErrorContext(ctx, "a head went back: acknowledged edits are gone",
		"space", space, "epoch", now.Epoch, "before", before.Head, "head", now.Head)
}
