package wakeup

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/models"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What comes while a request waits, or is under way, goes into the next one, and of each
// space only the newest version does.
func TestSender_coalesces(t *testing.T) {
	t.Parallel()
	arrived, let := make(chan struct{}), make(chan struct{})
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-let
		w.WriteHeader(http.StatusNoContent)
	})
	r.Start()
	s := start(t, r.URL+"/poke", newLedger(), func(s *Sender) { s.opts.Gather = 100 * time.Millisecond })
	for v := range int64(50) {
		s.Changed("home", 1795434214444013+v)
	}
	s.Changed("_canary", 3)
	<-arrived
	for v := range int64(50) {
		s.Changed("work", 100+v)
		s.Changed("home", 1795434214445000-v)
	}
	close(let)
	until(t, "told of all", func() bool { return r.told(map[string]int64{"work": 149, "home": 1795434214445000}) })
	want := []request{
		{Path: "/poke", Timestamp: "2026-11-23T11:43:34.444Z", Spaces: map[string]int64{"home": 1795434214444062}},
		{Path: "/poke", Timestamp: "2026-11-23T11:43:34.445Z", Spaces: map[string]int64{"home": 1795434214445000, "work": 149}},
	}
	got := r.requests()
	if diff := cmp.Diff(want, got, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".ID" }, cmp.Ignore())); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	for _, one := range got {
		if !strings.HasPrefix(one.ID, "msg_") || len(one.ID) < 20 {
			t.Errorf("id %q", one.ID)
		}
	}
}

// However the receiver fails, it is told in the end, and the same again has the same id.
func TestSender_triesAgain(t *testing.T) {
	t.Parallel()
	elsewhere := newReceiver(t)
	elsewhere.Start()
	for name, fail := range map[string]http.HandlerFunc{
		"500": answers(500), "400": answers(400), "404": answers(404), "429": answers(429), "503": answers(503, "Retry-After", "0"),
		"reset": reset, "hanging": hang,
		"redirect": answers(http.StatusTemporaryRedirect, "Location", elsewhere.URL),
		"304":      answers(http.StatusNotModified),
		"no end": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, l := newReceiver(t, fail, fail, fail), newLedger()
			r.Start()
			s := start(t, r.URL, l, func(s *Sender) {
				if name == "hanging" || name == "no end" {
					s.pauses.timeout = 50 * time.Millisecond
				}
			})
			s.Changed("home", 7)
			until(t, "told", func() bool { return r.told(map[string]int64{"home": 7}) })
			until(t, "the ledger is empty", func() bool { return len(l.states()) == 0 })
			got := r.requests()
			// net/http itself tries again after a reset on a connection that was kept.
			if len(got) < 4 || got[0].ID != got[1].ID || got[0].ID != got[len(got)-1].ID {
				t.Errorf("requests %v, want at least four of one id", got)
			}
			if failed, delivered := s.counts.failed.Load(), s.counts.delivered.Load(); failed != 3 || delivered != 1 {
				t.Errorf("%d failed, %d delivered", failed, delivered)
			}
			if r.tooMany {
				t.Error("more than one request was under way")
			}
		})
	}
	t.Cleanup(func() {
		if got := elsewhere.requests(); len(got) > 0 {
			t.Errorf("a redirect was followed: %v", got)
		}
	})
}

// A receiver whose certificate nobody has vouched for is told nothing.
func TestSender_wrongTLS(t *testing.T) {
	t.Parallel()
	r, l := newReceiver(t), newLedger()
	r.StartTLS()
	s := start(t, r.URL, l)
	s.Changed("home", 7)
	until(t, "it has failed", func() bool { return s.counts.failed.Load() > 2 })
	if got := r.requests(); len(got) > 0 {
		t.Errorf("the receiver got %v", got)
	}
	s.Close()
	if row := l.rows["home"]; !strings.Contains(row.LastError, "certificate") || strings.Contains(row.LastError, r.URL) {
		t.Errorf("last error %q", row.LastError)
	}
}

// What a slow receiver takes late is taken.
func TestSender_slow(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		<-time.After(100 * time.Millisecond)
		w.WriteHeader(http.StatusAccepted)
	})
	r.Start()
	s := start(t, r.URL, newLedger())
	s.Changed("home", 7)
	until(t, "delivered", func() bool { return s.counts.delivered.Load() == 1 })
	if failed := s.counts.failed.Load(); failed != 0 {
		t.Errorf("%d failed", failed)
	}
}

func TestSender_retryAfter(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, answers(429, "Retry-After", "600"))
	r.Start()
	s := start(t, r.URL, newLedger())
	s.Changed("home", 7)
	until(t, "it has failed", func() bool { return s.counts.failed.Load() == 1 })
	s.Changed("work", 8)
	s.Close() // after which the gate can be looked at, and by a last try all are told
	if wait := time.Until(s.gate); wait < 500*time.Second || wait > 601*time.Second {
		t.Errorf("it waits for %v, want what Retry-After says", wait)
	}
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "soon": 0, "9999999": maxRetryAfter,
		"Fri, 27 Nov 2026 12:00:30 GMT": 30 * time.Second, "Fri, 27 Nov 2026 11:00:00 GMT": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("Retry-After %q: %v, want %v", text, got, want)
		}
	}
}

// A space over which the receiver stumbles holds up no other.
func TestSender_poison(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	poisoned := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		_, bad := r.got[len(r.got)-1].Spaces["s13"]
		if !bad {
			maps.Copy(r.taken, r.got[len(r.got)-1].Spaces)
		}
		r.mu.Unlock()
		if bad {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	for range 10_000 {
		r.fails = append(r.fails, poisoned)
	}
	r.Start()
	s := start(t, r.URL, newLedger())
	want := make(map[string]int64)
	for i := range 40 {
		space := fmt.Sprintf("s%02d", i)
		s.Changed(space, 7)
		if space != "s13" {
			want[space] = 7
		}
	}
	until(t, "all others are told", func() bool { return r.told(want) })
}

// A receiver that is gone is left alone, and what it was not told is a dead letter.
func TestSender_gone(t *testing.T) {
	t.Parallel()
	r, l := newReceiver(t, answers(http.StatusGone)), newLedger()
	r.Start()
	s := start(t, r.URL, l)
	s.Changed("home", 7)
	until(t, "it is a dead letter", func() bool { return l.states()["home"] == "dead" })
	s.Changed("work", 8)
	s.Close()
	if row := l.rows["home"]; row.Version != 7 || row.Attempts != 1 || row.LastError != "the answer is 410, not 2xx" {
		t.Errorf("dead letter %+v", row)
	}
	if got := r.requests(); len(got) != 1 || s.counts.unwanted.Load() != 1 {
		t.Errorf("requests %v, %d dropped; want one of each", got, s.counts.unwanted.Load())
	}
}

func TestSender_givesUp(t *testing.T) {
	t.Parallel()
	r, l := newReceiver(t), newLedger()
	for range 100_000 {
		r.fails = append(r.fails, answers(500))
	}
	r.Start()
	s := start(t, r.URL, l, func(s *Sender) { s.opts.GiveUp = 50 * time.Millisecond })
	s.Changed("home", 7)
	until(t, "it is a dead letter", func() bool { return l.states()["home"] == "dead" })
	if row := l.rows["home"]; row.Version != 7 || row.Attempts < 1 || row.LastError != "the answer is 500, not 2xx" {
		t.Errorf("dead letter %+v", row)
	}
	// The next change of the space is told, and nobody needs the letter any more.
	r.mu.Lock()
	r.fails = nil
	r.mu.Unlock()
	s.Changed("home", 8)
	until(t, "told", func() bool { return r.told(map[string]int64{"home": 8}) })
	until(t, "the ledger is empty", func() bool { return len(l.states()) == 0 })
}

// A node that dies while the receiver is away has written down what it had to tell, and
// another one tells it when the first no longer holds it.
func TestSender_takesUp(t *testing.T) {
	t.Parallel()
	down, l := newReceiver(t), newLedger()
	down.Start()
	for range 100_000 {
		down.fails = append(down.fails, answers(500))
	}
	s := start(t, down.URL, l, func(s *Sender) { s.pauses.look = time.Hour })
	s.Changed("home", 7)
	until(t, "it is held", func() bool { return l.states()["home"] == "held" })
	s.Changed("work", 8)
	until(t, "what comes later too", func() bool { return l.states()["work"] == "held" })

	l.mu.Lock()
	other := newLedger()
	past := time.Now().Add(-time.Second).UnixMilli()
	for space, u := range l.rows { // as if time had passed
		u.DueAt = &past
		other.rows[space] = u
	}
	l.mu.Unlock()
	up := newReceiver(t)
	up.Start()
	start(t, up.URL, other)
	until(t, "the other tells", func() bool { return up.told(map[string]int64{"home": 7, "work": 8}) })
	until(t, "the ledger is empty", func() bool { return len(other.states()) == 0 })
}

// Who ends in order sends at once what waits; what is not taken then is left as due.
func TestSender_close(t *testing.T) {
	t.Parallel()
	patient := func(s *Sender) { s.opts.Gather = time.Hour }
	r, l := newReceiver(t), newLedger()
	r.Start()
	s := start(t, r.URL, l, patient)
	s.Changed("home", 7)
	s.Close()
	if !r.told(map[string]int64{"home": 7}) || len(l.states()) > 0 {
		t.Errorf("told %v, left %v", r.requests(), l.states())
	}

	r = newReceiver(t, answers(500))
	r.Start()
	s = start(t, r.URL, l, patient)
	s.Changed("home", 8)
	s.Close()
	if len(r.requests()) != 1 || l.states()["home"] != "due" {
		t.Errorf("after one last try: requests %v, left %v", r.requests(), l.states())
	}
	// A receiver that hangs doesn't hold up the end.
	r = newReceiver(t, hang)
	r.Start()
	s = start(t, r.URL, l, func(s *Sender) { s.pauses.timeout = time.Hour })
	until(t, "it hangs over home", func() bool { return len(r.requests()) == 1 })
	s.Close()
	if l.states()["home"] != "due" {
		t.Errorf("left %v", l.states())
	}
}

// A database that is away hinders nobody's wake-up.
func TestSender_ledgerAway(t *testing.T) {
	t.Parallel()
	r, l := newReceiver(t, answers(500), answers(500)), newLedger()
	l.away = true
	r.Start()
	s := start(t, r.URL, l)
	s.Changed("home", 7)
	until(t, "told", func() bool { return r.told(map[string]int64{"home": 7}) })
}

// What waits is bounded, and what finds no room is counted.
func TestSender_full(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, hang)
	r.Start()
	s := start(t, r.URL, newLedger(), func(s *Sender) { s.opts.Gather = time.Hour })
	for i := range maxWaiting + 5 {
		s.Changed(fmt.Sprintf("s%d", i), 1)
	}
	s.Changed("s0", 2) // has its place
	if n, _ := s.waiting.figures(); n != maxWaiting || s.counts.full.Load() != 5 {
		t.Errorf("%d wait, %d found no room", n, s.counts.full.Load())
	}
	s.cancel() // a last try of so many is not the matter here
}

// What was under way when a bug struck is told too.
func TestSender_afterAPanic(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, answers(500))
	r.Start()
	s := start(t, r.URL, newLedger(), func(s *Sender) { s.opts.Logger = slog.New(&panicking{Handler: slog.DiscardHandler}) })
	s.Changed("home", 7)
	s.Changed("work", 8)
	until(t, "told after the panic", func() bool { return r.told(map[string]int64{"home": 7, "work": 8}) })
}

// panicking is a log with a bug that strikes once, when the receiver has failed.
type panicking struct {
	slog.Handler
	struck bool
}

func (*panicking) Enabled(context.Context, slog.Level) bool { return true }

func (p *panicking) Handle(_ context.Context, line slog.Record) error {
	if line.Message == "the webhook failed" && !p.struck {
		p.struck = true
		panic("a bug")
	}
	return nil
}

// A newer version that comes while a request fails is what is told next.
func TestSender_newerMeanwhile(t *testing.T) {
	t.Parallel()
	arrived, let := make(chan struct{}), make(chan struct{})
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-let
		w.WriteHeader(http.StatusInternalServerError)
	})
	r.Start()
	s := start(t, r.URL, newLedger())
	s.Changed("home", 7)
	<-arrived
	s.Changed("home", 9)
	close(let)
	until(t, "told", func() bool { return r.told(map[string]int64{"home": 9}) })
	if got := r.requests(); len(got) != 2 || got[0].ID == got[1].ID {
		t.Errorf("requests %v, want two with an id each", got)
	}
}

// Between two tries that are far apart, what comes is written down nevertheless.
func TestSender_keepsBetweenTries(t *testing.T) {
	t.Parallel()
	r, l := newReceiver(t, answers(500)), newLedger()
	r.Start()
	s := start(t, r.URL, l, func(s *Sender) { s.pauses.first, s.pauses.longest = time.Hour, time.Hour })
	s.Changed("home", 7)
	until(t, "it has failed", func() bool { return s.counts.failed.Load() == 1 })
	s.Changed("work", 8)
	until(t, "it is held", func() bool { return l.states()["work"] == "held" })
}

func TestCollectors(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, answers(500))
	r.Start()
	s := start(t, r.URL, newLedger(models.Undelivered{Space: "old", Version: 1}), func(s *Sender) { s.pauses.first, s.pauses.longest = time.Hour, time.Hour })
	s.Changed("home", 7)
	until(t, "it has failed", func() bool { return s.counts.failed.Load() == 1 })
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.Collectors()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	if got["tidemark_webhook_oldest_seconds"] <= 0 {
		t.Errorf("nothing has waited: %v", got)
	}
	delete(got, "tidemark_webhook_oldest_seconds")
	want := map[string]float64{
		"tidemark_webhook_requests_total delivered": 0, "tidemark_webhook_requests_total failed": 1, "tidemark_webhook_dead_total": 0,
		"tidemark_webhook_dropped_total full": 0, "tidemark_webhook_dropped_total gone": 0, "tidemark_webhook_waiting": 1, "tidemark_webhook_gone": 0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
