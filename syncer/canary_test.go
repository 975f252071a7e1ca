package syncer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark/tidemark/models"
)

// strict refuses every document, as an application's rules may.
type strict struct{}

func (strict) Check(string, []byte) *models.EditError {
	return &models.EditError{Code: models.CodeSchemaViolation}
}

func (strict) Validate(context.Context, Proposal) (map[string]*models.EditError, error) {
	return nil, errors.New("nobody is to be asked")
}

// beating runs an engine with the canary on a store until end is called.
func beating(t *testing.T, store *modelStore) (e *Engine, end func()) {
	t.Helper()
	e = New(store, &deaf{}, Options{Canary: 15 * time.Second, Rules: strict{}, Validator: strict{}, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	return e, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		e.Close()
	}
}

// onTime gives a store the clock of the test.
func onTime() *modelStore {
	store := newModelStore()
	store.begin = func(context.Context, Group) error {
		store.mu.Lock()
		defer store.mu.Unlock()
		store.now = time.Now().UnixMicro()
		return nil
	}
	return store
}

func TestCanary(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := onTime()
		a, endA := beating(t, store)
		defer endA()
		b, endB := beating(t, store)
		<-time.After(2 * time.Minute)
		synctest.Wait()
		for _, e := range []*Engine{a, b} {
			self, other := counted(t, e, "tidemark_visibility_seconds", "self"), counted(t, e, "tidemark_visibility_seconds", "other")
			if self < 8 || self > 10 || other < 7 || other > 10 {
				t.Errorf("in two minutes a node has seen %v beats of its own and %v of the other", self, other)
			}
			if age := counted(t, e, "tidemark_beat_age_seconds", ""); age < 0 || age > 15 {
				t.Errorf("the oldest beat is %v s old", age)
			}
			counts(t, e, "two nodes", map[string]float64{
				"tidemark_nodes_seen": 2, "tidemark_push_results_total/applied": 0, "tidemark_client_lag_seconds": 0, "tidemark_feed_gaps_total": 0,
			})
		}
		c, endC := beating(t, store)
		<-time.After(time.Minute)
		counts(t, a, "another", map[string]float64{"tidemark_nodes_seen": 3})
		endC()
		<-time.After(time.Second)
		counts(t, a, "after its farewell", map[string]float64{"tidemark_nodes_seen": 2})
		if c.beats.self == a.beats.self {
			t.Error("two nodes have one name")
		}
		begin := store.begin
		store.mu.Lock()
		store.begin = func(context.Context, Group) error { return models.Errorf(models.CodeUnavailable, "no farewell") }
		store.mu.Unlock()
		endB()
		store.mu.Lock()
		store.begin = begin
		store.mu.Unlock()
		<-time.After(4 * time.Minute)
		if age := counted(t, a, "tidemark_beat_age_seconds", ""); age < 230 {
			t.Errorf("a node has been away for four minutes, the oldest beat is %v s old", age)
		}
		<-time.After(2 * time.Minute)
		counts(t, a, "after the other has gone", map[string]float64{"tidemark_nodes_seen": 1})
		if live := liveBeats(store); live != 2 {
			t.Errorf("%d beats are stored, want 2", live)
		}
		<-time.After(beatsKept)
		if live := liveBeats(store); live != 1 {
			t.Errorf("an hour later %d beats are stored, want one", live)
		}
		a.beats.mu.Lock() // a beat may be heard at this very moment
		defer a.beats.mu.Unlock()
		if n := len(a.beats.newest); n != 1 {
			t.Errorf("%d nodes are remembered", n)
		}
		store.mu.Lock()
		defer store.mu.Unlock()
		if n := len(store.spaces[models.CanarySpace].receipts); n != 0 {
			t.Errorf("beats have left receipts of %d clients", n)
		}
	})
}

func liveBeats(store *modelStore) (n int) {
	store.mu.Lock()
	defer store.mu.Unlock()
	for _, d := range store.spaces[models.CanarySpace].documents {
		if !d.Deleted {
			n++
		}
	}
	return n
}

// While the database is away the beat gets old, and nothing else happens.
func TestCanary_databaseAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := onTime()
		e, end := beating(t, store)
		defer end()
		<-time.After(time.Minute)
		begin := store.begin
		away := func(context.Context, Group) error { return models.Errorf(models.CodeUnavailable, "away") }
		store.mu.Lock()
		store.begin = away
		store.mu.Unlock()
		<-time.After(20 * time.Minute)
		if age := counted(t, e, "tidemark_beat_age_seconds", ""); age < 1180 {
			t.Errorf("the database is away for 20 minutes, the beat is %v s old", age)
		}
		store.mu.Lock()
		store.begin = begin
		store.mu.Unlock()
		<-time.After(30 * time.Second)
		if age := counted(t, e, "tidemark_beat_age_seconds", ""); age > 15 {
			t.Errorf("the database is back, the beat is %v s old", age)
		}
	})
}

func TestBeats_bounded(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_800_000_000_000)
	var b beats
	b.begin("self", func() time.Time { return now })
	for i := range maxBeats + 100 {
		b.take(&models.Change{ID: fmt.Sprint("n", i), UpdatedAt: now.Add(-2 * beatsKept).UnixMilli()})
	}
	if len(b.newest) != maxBeats || len(b.gone()) != forgetAtOnce {
		t.Errorf("%d nodes are remembered, %d are to be forgotten at once", len(b.newest), len(b.gone()))
	}
}
