package ha

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/tests/harness"
)

// TestHA is one run through all steps on one set of servers: each finds what the one
// before has left, as in life.
func TestHA(t *testing.T) { //nolint:paralleltest // it takes the whole machine
	if os.Getenv(envTools) == "" {
		t.Skip("this takes minutes and programs that make ha fetches")
	}
	s := newStack(t)
	r := &run{stack: s, db: startDatabase(s)}
	t.Cleanup(func() { fmt.Println(table(r.rows)) })
	for _, part := range []struct {
		name string
		run  func()
	}{
		{"synchronous", r.synchronous}, {"replicas", r.replicas}, {"pgbouncer", r.pooled}, {"asynchronous", r.asynchronous},
	} {
		t.Run(part.name, func(t *testing.T) { // not in parallel: each finds what the one before has left
			s.t = t
			defer func() { s.t = s.whole }()
			s.until("a primary and two replicas", r.db.isWhole)
			part.run()
		})
	}
	if commit := os.Getenv(envPublish); commit != "" && !t.Failed() {
		if err := publish(commit, r.rows); err != nil {
			t.Error(err)
		}
	}
}

// startNodes starts two nodes.
func (r *run) startNodes(options harness.Options) (nodes []*harness.Server) {
	r.t.Helper()
	options.Store = harness.Postgres
	for range 2 {
		nodes = append(nodes, harness.Start(r.t, options))
	}
	return nodes
}

type run struct {
	*stack

	db   *database
	rows []*row
}

// step does something to the database while clients edit, and waits until pushes are
// answered again.
func (r *run) step(nodes []*harness.Server, variant, name string, do func(l *load)) *row {
	r.t.Helper()
	r.t.Logf("%s: %s", variant, name)
	l := startLoad(r.stack, fmt.Sprint("ha-", len(r.rows)+1), nodes)
	do(l)
	l.more()
	row := l.end(r.db)
	row.variant, row.step = variant, name
	r.rows = append(r.rows, row)
	if r.t.Failed() {
		r.t.FailNow()
	}
	return row
}

// safe is a step in which nothing may be lost.
func (r *run) safe(nodes []*harness.Server, variant, name string, do func(l *load)) {
	r.t.Helper()
	if row := r.step(nodes, variant, name, do); row.lost > 0 || row.mismatches > 0 {
		r.t.Fatalf("%s, %s: %d acknowledged edits are lost, %d digests differ", variant, name, row.lost, row.mismatches)
	}
}

// failover does something to the primary, waits until another is one, and returns the old one.
func (r *run) failover(do func(old *member)) *member {
	r.t.Helper()
	old := r.db.leader()
	if old == nil {
		r.t.Fatal("there is no primary")
	}
	do(old)
	r.until("another primary", func() bool {
		now := r.db.leader()
		return now != nil && now != old
	})
	return old
}

// back waits until a member follows the primary, whose timeline is a newer one.
func (r *run) back(old *member) {
	r.t.Helper()
	r.until(old.name+" follows", func() bool {
		recovering, err := old.ask("SELECT pg_is_in_recovery()")
		return err == nil && recovering == "true" && r.db.isWhole()
	})
}

func (r *run) synchronous() {
	r.t.Helper()
	const variant = "synchronous"
	nodes := r.startNodes(harness.Options{DatabaseURL: url(r.db.primary, "tidemark", "tidemark")})
	scraped := r.watch(nodes)
	r.until("Prometheus scrapes both nodes", scraped)
	var old *member
	r.safe(nodes, variant, "PostgreSQL and Patroni of the primary are killed", func(*load) { old = r.failover((*member).killBoth) })
	r.safe(nodes, variant, "the old primary comes back as a replica", func(*load) {
		old.startPatroni()
		r.back(old)
	})
	r.safe(nodes, variant, "PostgreSQL of the primary is killed, Patroni is not", func(*load) {
		// Patroni starts it again, or hands over: either will do.
		r.db.leader().crash()
		r.until("a primary and two replicas", r.db.isWhole)
	})
	r.safe(nodes, variant, "the primary is cut off from all, and comes back", func(*load) {
		old = r.failover((*member).cut)
		// By itself, for nobody can tell it anything.
		r.until("the old primary has stopped being one", func() bool {
			recovering, err := old.ask("SELECT pg_is_in_recovery()")
			return err != nil || recovering == "true"
		})
		old.heal()
		r.back(old)
	})
	r.safe(nodes, variant, "the primary's machine is frozen, then reset", func(*load) {
		// As a watchdog does. Without one Patroni 3.0.2, woken in the middle of its round,
		// was seen to take the lock back from the new primary.
		old = r.failover((*member).freeze)
		old.killBoth()
		old.startPatroni()
		r.back(old)
	})
	r.until("Prometheus still scrapes both nodes", scraped)
}

// asynchronous makes a loss: what the primary acknowledged last has reached no replica.
func (r *run) asynchronous() {
	r.t.Helper()
	const variant = "asynchronous"
	nodes := r.startNodes(harness.Options{DatabaseURL: url(r.db.primary, "tidemark", "tidemark")})
	r.db.configure(`{"synchronous_mode": false, "synchronous_mode_strict": false}`)
	r.until("nobody waits for a replica", func() bool {
		names, err := r.db.leader().ask("SELECT current_setting('synchronous_standby_names')")
		return err == nil && names == ""
	})
	var old *member
	row := r.step(nodes, variant, "the primary is killed after its replicas were cut off", func(l *load) {
		old = r.failover(func(m *member) {
			m.replication.Hold()
			l.more()
			m.killBoth()
			m.replication.Leave() // what was under way never arrives
			m.replication.Release()
		})
	})
	if row.lost == 0 || row.expired["epoch"] == 0 {
		r.t.Errorf("%d acknowledged edits are lost and %d cursors refused for it: nothing was tried", row.lost, row.expired["epoch"])
	}
	before := strings.Count(old.log(), "running pg_rewind")
	r.step(nodes, variant, "the old primary comes back as a replica", func(*load) {
		old.replication.Return()
		old.startPatroni()
		r.back(old)
	})
	if strings.Count(old.log(), "running pg_rewind") == before {
		r.t.Errorf("%s has come back with what was lost, and without pg_rewind", old.name)
	}
}
