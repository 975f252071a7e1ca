package syncer

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/models"
)

// counted returns the value of one of an engine's metrics, or how often a histogram has
// observed something. label is its value, "" for a metric without labels.
func counted(t *testing.T, e *Engine, name, label string) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(e.Metrics()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() != name || len(m.GetLabel()) > 0 != (label != "") || label != "" && m.GetLabel()[0].GetValue() != label {
				continue
			}
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	t.Fatalf("there is no %s{%s}", name, label)
	return 0
}

// counts fails unless metrics, written as name or name/label, have these values.
func counts(t *testing.T, e *Engine, what string, want map[string]float64) {
	t.Helper()
	for metric, value := range want {
		name, label, _ := strings.Cut(metric, "/")
		if got := counted(t, e, name, label); got != value {
			t.Errorf("%s: %s is %v, want %v", what, metric, got, value)
		}
	}
}

func TestMetrics_pushes(t *testing.T) {
	t.Parallel()
	e := New(newModelStore(), &deaf{}, Options{})
	push := func(edits ...models.Edit) {
		if _, err := e.Push(t.Context(), "s", "alice", &models.PushRequest{ClientID: "c1", Edits: edits}); err != nil {
			t.Fatal(err)
		}
	}
	push(put("e1", "d1", version(0), `{"a":1}`), put("e2", "d2", version(0), `{}`))
	push(put("e1", "d1", version(0), `{"a":1}`))           // again
	push(put("e3", "d1", version(0), `{}`))                // in conflict
	push(put("e4", "d3", version(0), `[]`))                // no object
	push(patchOf("e5", "d1", after("nothing"), `{"b":1}`)) // on an edit that nobody knows
	push(put("e6", "d1", forced, `{"a":2}`))
	push(patchOf("e7", "d1", version(1), `{"new":1}`)) // the put has changed every field
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Push(gone, "s", "alice", &models.PushRequest{ClientID: "c1", Edits: []models.Edit{put("e8", "d8", forced, `{}`)}}); err == nil {
		t.Error("a push of a client that is gone succeeds")
	}
	ahead := cursor{position: models.MaxVersion, epoch: 7}.encode("s") // which only the space's row can tell
	if _, err := e.Push(t.Context(), "s", "alice", &models.PushRequest{ClientID: "c1", Cursor: &ahead, Edits: []models.Edit{put("e9", "d9", forced, `{}`)}}); models.CodeOf(err) != models.CodeCursorExpired {
		t.Errorf("a push with a cursor of a lost history: %v", err)
	}
	counts(t, e, "results", map[string]float64{
		"tidemark_push_results_total/applied": 3, "tidemark_push_results_total/replayed": 1,
		"tidemark_push_results_total/conflict": 2, "tidemark_push_results_total/rejected": 1,
		"tidemark_push_results_total/skipped": 1, "tidemark_push_results_total/merged": 0,
		"tidemark_push_failures_total/canceled": 1, "tidemark_push_failures_total/internal": 0,
		"tidemark_push_failures_total/cursor_expired": 1, "tidemark_cursor_refusals_total/epoch": 1,
		"tidemark_push_seconds": 7, "tidemark_push_queue_seconds": 8, "tidemark_group_pushes": 8, "tidemark_group_edits": 8,
		"tidemark_epochs_entered_total": 1, "tidemark_pokes_total/sent": 2, "tidemark_pushes_waiting": 0,
	})
	e.metrics.pushed(0, []models.EditResult{{Status: models.StatusApplied, Merged: true}}, nil)
	e.metrics.pushed(0, nil, models.Errorf(models.CodeNotFound, "of a validator, say"))
	counts(t, e, "then", map[string]float64{"tidemark_push_results_total/merged": 1, "tidemark_push_results_total/applied": 3, "tidemark_push_failures_total/other": 1})
}

func TestMetrics_cursors(t *testing.T) {
	t.Parallel()
	head := int64(9)
	store := &scriptedStore{changes: func(r Range) (Run, error) { return feed(head, r), nil }}
	e := New(store, &deaf{}, Options{})
	past := models.Space{Head: 9, Epoch: 1, Floor: 7}
	for _, cursor := range []string{"nonsense", at(3), cursor{position: 3, epoch: 1, filter: 5}.encode("s"), at(10)} {
		_, _ = e.Pull(t.Context(), "s", PullRequest{Cursor: cursor})
	}
	if err := e.metrics.refused(cursor{position: 3, epoch: 1}.check(past, 0)); err == nil {
		t.Error("a cursor below the floor is good")
	}
	if err := e.CheckCursor("nonsense", "s", nil); err == nil {
		t.Error("nonsense is a cursor")
	}
	counts(t, e, "refusals", map[string]float64{
		"tidemark_cursor_refusals_total/invalid": 2, "tidemark_cursor_refusals_total/filter": 1,
		"tidemark_cursor_refusals_total/epoch": 1, "tidemark_cursor_refusals_total/retention": 1,
		"tidemark_pages_total/database": 2, "tidemark_pages_total/tail": 0,
		"tidemark_page_changes_total": 1, "tidemark_client_lag_seconds": 1, "tidemark_feed_gaps_total": 0,
	})
}

func TestFollows(t *testing.T) {
	t.Parallel()
	run := func(through, head int64, versions ...int64) Run {
		r := Run{Through: through, Space: models.Space{Head: head}}
		for _, v := range versions {
			r.Changes = append(r.Changes, models.Change{Version: v})
		}
		return r
	}
	for name, test := range map[string]struct {
		run  Run
		want bool
	}{
		"nothing new":              {run(5, 5), true},
		"all there is":             {run(9, 9, 6, 6, 9), true},
		"a part":                   {run(7, 9, 6, 7), true},
		"nothing to show":          {run(7, 9), true},
		"head moved, none shown":   {run(9, 9), true},
		"what was seen":            {run(9, 9, 5, 9), false},
		"what is older":            {run(9, 9, 4, 9), false},
		"out of order":             {run(9, 9, 8, 7), false},
		"beyond what was read":     {run(7, 9, 6, 8), false},
		"beyond the head":          {run(10, 9, 10), false},
		"more and no step forward": {run(5, 9), false},
	} {
		if got := follows(cursor{position: 5}, &test.run); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A page that is wrong is handed out, for it may be all that there is, and told of.
func TestMetrics_gap(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	e := New(&scriptedStore{changes: func(r Range) (Run, error) {
		run := feed(9, r)
		run.Changes[0].Version = 3
		return run, nil
	}}, &deaf{}, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if _, err := e.Pull(t.Context(), "s", PullRequest{Cursor: at(5)}); err != nil {
		t.Error(err)
	}
	counts(t, e, "a wrong page", map[string]float64{"tidemark_feed_gaps_total": 1})
	if !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("the log says %q", log.String())
	}
}

// The head that a node has seen goes back: within an epoch that is what must never be.
func TestMetrics_regression(t *testing.T) {
	t.Parallel()
	for epoch, want := range map[int64]float64{7: 1, 8: 0} {
		t.Run(fmt.Sprint(epoch), func(t *testing.T) {
			t.Parallel()
			onNode(t, func(n *node) {
				n.write(n.others, "s")
				n.pull("", 0)
				n.write(n.others, "s")
				tick(2)
				n.store.mu.Lock()
				row := &n.store.spaces["s"].row
				row.Head, row.Epoch = row.Head-1, epoch
				n.store.mu.Unlock()
				tick(4)
				counts(t, n.engine, "a head that went back", map[string]float64{"tidemark_head_regressions_total": want})
			})
		})
	}
}

func TestMetrics_pokes(t *testing.T) {
	t.Parallel()
	onNode(t, func(n *node) {
		n.write(n.others, "s")
		n.pull("", 0)
		missed := func(what string, want float64) {
			t.Helper()
			synctest.Wait()
			counts(t, n.engine, what, map[string]float64{"tidemark_pokes_missed_total": want})
		}
		n.broker.deliver(Message{Space: "s", Version: n.write(n.others, "s")})
		tick(3)
		missed("told in time", 0)
		v := n.write(n.others, "s")
		tick(1)
		n.broker.deliver(Message{Space: "s", Version: v})
		tick(3)
		missed("told a little late", 0)
		n.write(n.others, "s")
		tick(1)
		missed("it may still come", 0)
		tick(3)
		missed("never told", 1)
		n.broker.deliver(Message{})
		synctest.Wait()
		counts(t, n.engine, "pokes", map[string]float64{
			"tidemark_pokes_total/heard": 2, "tidemark_pokes_total/out_of_touch": 1, "tidemark_poke_lag_seconds": 2,
			"tidemark_tails": 1, "tidemark_spaces_followed": 0,
		})
	})
}

// What counting adds to an idle poll, and to a push of one edit: no allocation.
func BenchmarkMetrics(b *testing.B) {
	e := New(newModelStore(), &deaf{}, Options{})
	run := Run{Through: 9, Space: models.Space{Head: 9}}
	results := []models.EditResult{{Status: models.StatusApplied}}
	b.Run("idle poll", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.metrics.fromTail.Inc()
			e.inspect(b.Context(), "s", cursor{position: 9}, &run)
		}
	})
	b.Run("push", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.metrics.pushed(time.Millisecond, results, e.metrics.refused(nil))
			e.metrics.queueTime.Observe(.001)
			e.metrics.groupPushes.Observe(1)
			e.metrics.groupEdits.Observe(1)
			e.metrics.pokesSent.Inc()
			e.metrics.heard(Message{Space: "s", Version: 1}, time.Time{})
		}
	})
}
