package ha

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidemark/tidemark/tests/harness"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// pooled puts pgbouncer between nodes and HAProxy: a connection is a transaction's. What
// needs one of its own, LISTEN and migrations, goes past it.
func (r *run) pooled() {
	r.t.Helper()
	const variant = "synchronous, pgbouncer in transaction mode"
	direct := url(r.db.primary, "tidemark", "tidemark")
	nodes := r.startNodes(harness.Options{
		DatabaseURL: url(r.startPgbouncer(), "tidemark", "tidemark") + "&default_query_exec_mode=cache_describe",
		Env:         []string{"TIDEMARK_BROKER=" + direct, "TIDEMARK_MIGRATE_URL=" + direct},
	})
	var old *member
	r.safe(nodes, variant, "PostgreSQL and Patroni of the primary are killed", func(*load) { old = r.failover((*member).killBoth) })
	r.safe(nodes, variant, "the old primary comes back as a replica", func(*load) {
		old.startPatroni()
		r.back(old)
	})
	// pgbouncer can't pass on what nodes set for their connections: it is the role's.
	const settings = "SELECT concat_ws(' ', current_setting('statement_timeout'), current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout'), current_setting('plan_cache_mode'))"
	const want = "5s 2s 3s force_generic_plan"
	if got, err := r.db.query(nodes[0].DatabaseURL(), settings); err != nil || got != want {
		r.t.Errorf("settings behind pgbouncer: %q, %v, want %q", got, err, want)
	}
}

// startPgbouncer returns its address.
func (r *run) startPgbouncer() string {
	r.t.Helper()
	port := r.freePort()
	host, primary, _ := strings.Cut(r.db.primary, ":")
	policy, err := os.ReadFile(filepath.Join(r.root, "deploy/ha/pgbouncer.ini"))
	if err != nil {
		r.t.Fatal(err)
	}
	copied := filepath.Join(r.dir, "pgbouncer-policy.ini") // where its user may read it
	if err := os.WriteFile(copied, policy, 0o644); err != nil {
		r.t.Fatal(err)
	}
	users, file := filepath.Join(r.dir, "userlist.txt"), filepath.Join(r.dir, "pgbouncer.ini")
	config := fmt.Sprintf(`[databases]
tidemark = host=%s port=%s dbname=tidemark
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_file = %s
%%include %s
`, host, primary, port, users, copied)
	for name, text := range map[string]string{users: `"tidemark" "` + password + `"` + "\n", file: config} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
	r.start("pgbouncer", pgtest.Unprivileged, nil, r.tool("usr/sbin/pgbouncer"), file)
	address := local(port)
	r.until("pgbouncer", func() bool {
		_, err := r.db.query(url(address, "tidemark", "tidemark"), "SELECT 'there'")
		return err == nil
	})
	return address
}
