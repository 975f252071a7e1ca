package blackbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	_ "modernc.org/sqlite" // to read the file that the killed server left

	"github.com/tidemark/tidemark/tests/harness"
)

// killTimeout bounds all rounds of a kill test.
var killTimeout = harness.Size(5*time.Minute, time.Hour)

// TestServe_killedWhilePushing kills the server under writers that do what
// clients do: an unanswered push is sent again, whole. No acknowledged edit may
// be lost and none may take effect twice.
func TestServe_killedWhilePushing(t *testing.T) {
	t.Parallel()
	seed := harness.Seed(t)
	harness.Each(t, func(t *testing.T, store harness.Store) {
		tally := harness.Count(t, "T6", seed)
		server := harness.Start(t, harness.Options{Store: store})
		random := harness.Random(seed, string(store))
		w := startWriters(t, 8, func(i int) *counter {
			return &counter{client: server.Client(""), name: fmt.Sprintf("w%d", i), space: fmt.Sprintf("space-%d", i%3)}
		})
		w.tally = tally
		for range harness.Rounds(t, 3, 100) {
			w.await(t, 1+random.IntN(60))
			server.Kill()
			server.Restart()
			tally.Add(harness.Figures{Kills: 1})
		}
		w.end(t)
		if store == harness.SQLite {
			server.Kill()
			wantIntegrity(t, server.SQLiteFile())
		}
	})
}

// writers are counters at work.
type writers struct {
	done     <-chan struct{} // closed when they have ended or one has failed
	counters []*counter
	seen     map[string]*acknowledged // by space
	answered chan struct{}            // gets a value after each answer, unless it is full
	stop     chan struct{}
	group    *errgroup.Group
	tally    *harness.Tally // gets what they have done and what was wrong; nil: nobody counts
}

func startWriters(t *testing.T, n int, writer func(i int) *counter) *writers {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), killTimeout)
	t.Cleanup(cancel)
	w := &writers{answered: make(chan struct{}, 1000), stop: make(chan struct{}), seen: map[string]*acknowledged{}}
	w.group, ctx = errgroup.WithContext(ctx)
	w.done = ctx.Done()
	for i := range n {
		c := writer(i)
		w.counters = append(w.counters, c)
		if w.seen[c.space] == nil {
			w.seen[c.space] = &acknowledged{}
		}
	}
	for _, c := range w.counters {
		w.group.Go(func() error { return c.write(ctx, w.heard, w.stop) })
	}
	return w
}

func (w *writers) heard(space string, answer harness.PushAnswer) {
	w.seen[space].add(answer.Results)
	select {
	case w.answered <- struct{}{}:
	default: // nobody is counting
	}
}

// await waits for n answers from now on. After it a test does something at a
// random moment, with other pushes under way.
func (w *writers) await(t *testing.T, n int) {
	t.Helper()
	for range len(w.answered) {
		<-w.answered
	}
	for range n {
		select {
		case <-w.answered:
		case <-w.done:
			t.Fatalf("the writers have ended: %v", w.group.Wait())
		}
	}
}

// end lets the writers come to their end and checks what they have written.
func (w *writers) end(t *testing.T) {
	t.Helper()
	close(w.stop)
	err := w.group.Wait()
	figures, retried := harness.Figures{}, 0
	for _, c := range w.counters {
		figures.Operations += int64(len(c.acks))
		retried += c.retried
		if err == nil {
			figures.Add(c.check(t))
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		figures.Stuck++
	} else if err != nil {
		figures.Doubled++ // what a writer alone writes was not as it had left it
	}
	if w.tally != nil {
		w.tally.Add(figures)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pushes, %d of them had to be sent again", figures.Operations, retried)
}

// counter is a writer. Each of its pushes creates a document and counts one up
// in another that it alone writes, based on what it has seen: a push that was
// lost, or took effect twice, breaks the chain.
type counter struct {
	client      *harness.Client
	name, space string
	acks        []int64 // version of each push, in order
	retried     int
}

func (c *counter) write(ctx context.Context, heard func(string, harness.PushAnswer), stop <-chan struct{}) error {
	for n := 0; ; n++ {
		var base int64
		if n > 0 {
			base = c.acks[n-1]
		}
		push := harness.Push{ClientID: c.name, Atomic: true, Edits: []harness.Edit{
			put(fmt.Sprintf("doc-%d", n), fmt.Sprintf("%s-%d", c.name, n), 0, fmt.Sprintf(`{"n":%d}`, n)),
			put(fmt.Sprintf("count-%d", n), c.name+"-count", base, fmt.Sprintf(`{"n":%d}`, n+1)),
		}}
		answer, tries, err := pushUntilAnswered(ctx, c.client, c.space, push)
		if err != nil {
			return fmt.Errorf("%s push %d: %w", c.name, n, err)
		}
		if tries > 1 {
			c.retried++
		}
		for _, result := range answer.Results {
			if result.Status != "applied" {
				return fmt.Errorf("%s push %d, sent %d times: %s is %s, current %+v", c.name, n, tries, result.EditID, result.Status, result.Current)
			}
		}
		c.acks = append(c.acks, answer.Results[0].Version)
		heard(c.space, answer)
		select {
		case <-stop:
			return nil
		default:
		}
	}
}

// check holds what is there against what was acknowledged, and counts what is wrong.
func (c *counter) check(t *testing.T) (wrong harness.Figures) {
	t.Helper()
	// A client that knows what it wrote says so, and no node may show it less.
	found := pullAll(t, c.client, c.space, c.acks[len(c.acks)-1])
	for n, version := range c.acks {
		got := found[fmt.Sprintf("%s-%d", c.name, n)].Version
		switch {
		case got < version:
			wrong.Lost++
		case got > version:
			wrong.Doubled++
		default:
			continue
		}
		t.Errorf("%s: document %d was acknowledged at version %d and is at %d", c.name, n, version, got)
	}
	if extra, ok := found[fmt.Sprintf("%s-%d", c.name, len(c.acks))]; ok {
		t.Errorf("%s: %s was never acknowledged", c.name, extra.ID)
		wrong.Doubled++
	}
	if got, want := string(found[c.name+"-count"].Data), fmt.Sprintf(`{"n":%d}`, len(c.acks)); got != want {
		t.Errorf("%s counted to %s, want %s", c.name, got, want)
		wrong.Lost++
	}
	return wrong
}

func wantIntegrity(t *testing.T, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity_check says %q, %v", verdict, err)
	}
}
