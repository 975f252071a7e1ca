package ha

import (
	"fmt"
	"strconv"

	"github.com/tidemark/tidemark/tests/harness"
)

// replicas has pages read from the replicas of the primary, and then has those stand
// still: they go on receiving what is committed, and show nothing of it.
func (r *run) replicas() {
	r.t.Helper()
	const variant = "synchronous, pages from replicas"
	nodes := r.startNodes(harness.Options{
		DatabaseURL: url(r.db.primary, "tidemark", "tidemark"),
		Env:         []string{"TIDEMARK_REPLICA_URL=" + url(r.db.replica, "tidemark", "tidemark")},
	})
	before := r.scans()
	r.safe(nodes, variant, "nothing happens", func(*load) {})
	// A server tells of its scans a little later.
	r.until("replicas were read", func() bool { return r.scans() > before })
	r.safe(nodes, variant, "the replicas stand still, and go on", func(l *load) {
		r.onReplicas("SELECT pg_wal_replay_pause()")
		r.until("replay stands still", func() bool {
			return r.all("SELECT pg_get_wal_replay_pause_state() = 'paused'")
		})
		r.readYourWrites(nodes)
		l.more()
		r.onReplicas("SELECT pg_wal_replay_resume()")
		r.until("replay goes on", func() bool {
			return r.all("SELECT NOT pg_is_wal_replay_paused() AND pg_last_wal_replay_lsn() = pg_last_wal_receive_lsn()")
		})
	})
}

// readYourWrites: with replicas that stand still nobody is shown less than was
// acknowledged: not who begins anew, nor who comes back with an old cursor.
func (r *run) readYourWrites(nodes []*harness.Server) {
	r.t.Helper()
	const space = "ha-read-your-writes"
	client := nodes[0].Client("")
	cursor := ""
	for i := range 30 {
		id := fmt.Sprint("d", i)
		answer, err := client.Push(r.t.Context(), space, harness.Push{ClientID: "c", Edits: []harness.Edit{
			{EditID: id, Op: "put", Collection: "todos", ID: id, BaseVersion: harness.At(0), Data: []byte(`{}`)},
		}})
		if err != nil {
			r.t.Fatal(err)
		}
		for _, node := range nodes {
			reader := node.Client("")
			for _, from := range []string{"", cursor} {
				page, err := reader.Pull(r.t.Context(), space, harness.Pull{Cursor: from, MinVersion: answer.Version})
				if err != nil {
					r.t.Fatal(err)
				}
				if page.Version < answer.Version || !page.HasMore && len(page.Changes) == 0 {
					r.t.Fatalf("after a push at %d a page from %q is of %d, with %d documents", answer.Version, from, page.Version, len(page.Changes))
				}
			}
		}
		if i == 0 { // an old one, from here on
			page, err := client.Pull(r.t.Context(), space, harness.Pull{})
			if err != nil {
				r.t.Fatal(err)
			}
			cursor = page.Cursor
		}
	}
}

// followers are the members that are not the primary.
func (r *run) followers() (list []*member) {
	leader := r.db.leader()
	for _, m := range r.db.members {
		if m != leader {
			list = append(list, m)
		}
	}
	return list
}

func (r *run) onReplicas(statement string) {
	r.t.Helper()
	for _, m := range r.followers() {
		if _, err := m.ask(statement); err != nil {
			r.t.Fatalf("%s on %s: %v", statement, m.name, err)
		}
	}
}

// all reports whether something is true on all replicas.
func (r *run) all(statement string) bool {
	for _, m := range r.followers() {
		if got, err := m.ask(statement); err != nil || got != "true" {
			return false
		}
	}
	return true
}

// scans is how often the replicas have looked documents up.
func (r *run) scans() (sum int) {
	r.t.Helper()
	for _, m := range r.followers() {
		const scans = `SELECT COALESCE(sum(idx_scan), 0)::text FROM pg_stat_user_tables WHERE relname = 'documents'`
		got, err := m.db.query(url(local(m.port), "postgres", "tidemark"), scans)
		if err != nil {
			r.t.Fatal(err)
		}
		n, err := strconv.Atoi(got)
		if err != nil {
			r.t.Fatal(err)
		}
		sum += n
	}
	return sum
}
