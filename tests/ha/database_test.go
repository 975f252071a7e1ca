package ha

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tidemark/tidemark/syncer/store"
	"github.com/tidemark/tidemark/tests/pgtest"
)

const password = "loopback-only"

// database is three PostgreSQL servers under Patroni.
type database struct {
	*stack

	etcd    string
	members []*member
	primary string // address of whoever is the primary: HAProxy's
	replica string // address of the replicas
}

// member is one of them, and its Patroni.
type member struct {
	db         *database
	name       string
	data       string
	port, rest int // where it listens; what others know are the cables
	patroni    *daemon
	frozen     []int        // processes of its PostgreSQL
	postmaster atomic.Int64 // its process id, as the keeper has seen it last

	clients, replication, api, etcd cable
}

func startDatabase(s *stack) *database {
	s.t.Helper()
	db := &database{stack: s}
	db.startEtcd()
	for i := range 3 {
		db.members = append(db.members, db.newMember(i+1))
	}
	for _, m := range db.members {
		m.startPatroni()
	}
	db.startHAProxy()
	s.until("a primary and two replicas", func() bool { return db.isWhole() })
	db.createRole()
	return db
}

func (db *database) startEtcd() {
	client, peer := db.freePort(), db.freePort()
	db.etcd = local(client)
	db.start("etcd", nil, nil, db.tool("usr/bin/etcd"), "--data-dir", filepath.Join(db.dir, "etcd"),
		"--listen-client-urls", "http://"+db.etcd, "--advertise-client-urls", "http://"+db.etcd,
		"--listen-peer-urls", "http://"+local(peer), "--initial-advertise-peer-urls", "http://"+local(peer),
		"--initial-cluster", "default=http://"+local(peer))
	db.until("etcd", func() bool { return db.status("http://"+db.etcd+"/health") == http.StatusOK })
}

func (db *database) newMember(n int) *member {
	m := &member{db: db, name: fmt.Sprint("node", n), port: db.freePort(), rest: db.freePort()}
	m.data = filepath.Join(db.dir, m.name)
	m.clients, m.replication, m.api = db.cable(m.port), db.cable(m.port), db.cable(m.rest)
	_, port, _ := strings.Cut(db.etcd, ":")
	number, err := strconv.Atoi(port)
	if err != nil {
		db.t.Fatal(err)
	}
	m.etcd = db.cable(number)
	keeping := make(chan struct{})
	db.t.Cleanup(func() {
		close(keeping)
		m.end()
	})
	go m.keep(keeping)
	return m
}

// keep tells the lifeline of the postmasters that Patroni starts: they are nobody's
// children.
func (m *member) keep(until chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-until:
			return
		case <-tick.C:
		}
		pid := m.readPostmaster()
		last := m.postmaster.Load()
		if pid == last {
			continue
		}
		if p, err := os.FindProcess(int(last)); err == nil && last > 0 {
			m.db.line.Forget(p)
		}
		if p, err := os.FindProcess(int(pid)); err == nil && pid > 0 {
			m.db.line.Watch(p)
		}
		m.postmaster.Store(pid)
	}
}

// readPostmaster returns the id of the running postmaster, 0 if there is none.
func (m *member) readPostmaster() int64 {
	text, err := os.ReadFile(filepath.Join(m.data, "postmaster.pid"))
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.ParseInt(strings.TrimSpace(line), 10, 32)
	if err != nil || pid <= 1 || syscall.Kill(int(pid), 0) != nil {
		return 0
	}
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !bytes.Contains(command, []byte(m.data)) {
		return 0 // the number belongs to somebody else by now
	}
	return pid
}

// end ends Patroni and then PostgreSQL, which outlives it.
func (m *member) end() {
	if m.patroni != nil {
		m.patroni.kill()
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) { //nolint:forbidigo // it is nobody's child: nothing tells when it has ended
		pid := m.readPostmaster()
		if pid == 0 {
			return
		}
		signal := syscall.SIGQUIT
		if time.Now().After(deadline) {
			signal = syscall.SIGKILL
		}
		_ = syscall.Kill(int(pid), signal)
		_ = syscall.Kill(int(pid), syscall.SIGCONT)
	}
}

func (m *member) startPatroni() {
	bin, err := pgtest.Binaries()
	if err != nil {
		m.db.t.Fatal(err)
	}
	// Copied where PostgreSQL's user may read it.
	config, err := os.ReadFile(filepath.Join(m.db.root, "deploy/ha/patroni.yml"))
	if err != nil {
		m.db.t.Fatal(err)
	}
	file := filepath.Join(m.db.dir, "patroni.yml")
	if err := os.WriteFile(file, config, 0o644); err != nil {
		m.db.t.Fatal(err)
	}
	m.patroni = m.db.start("patroni-"+m.name, pgtest.Unprivileged, []string{
		"PATRONI_NAME=" + m.name,
		"PATRONI_ETCD3_HOSTS=" + m.etcd.address,
		"PATRONI_ETCD3_USE_PROXIES=true", // else it asks etcd for another way to it, past the cable
		"PATRONI_RESTAPI_LISTEN=" + local(m.rest),
		"PATRONI_RESTAPI_CONNECT_ADDRESS=" + m.api.address,
		"PATRONI_POSTGRESQL_LISTEN=" + local(m.port),
		"PATRONI_POSTGRESQL_CONNECT_ADDRESS=" + m.replication.address,
		"PATRONI_POSTGRESQL_DATA_DIR=" + m.data,
		"PATRONI_POSTGRESQL_BIN_DIR=" + bin,
		"PATRONI_POSTGRESQL_PGPASS=" + filepath.Join(m.db.dir, "pgpass-"+m.name),
		"PATRONI_SUPERUSER_USERNAME=postgres", "PATRONI_SUPERUSER_PASSWORD=" + password,
		"PATRONI_REPLICATION_USERNAME=replicator", "PATRONI_REPLICATION_PASSWORD=" + password,
		"PATRONI_REWIND_USERNAME=rewinder", "PATRONI_REWIND_PASSWORD=" + password,
	}, "/usr/bin/python3", m.db.tool("usr/bin/patroni"), file)
}

func (db *database) startHAProxy() {
	db.primary, db.replica = local(db.freePort()), local(db.freePort())
	env := []string{"PRIMARY_ADDRESS=" + db.primary, "REPLICAS_ADDRESS=" + db.replica}
	for i, m := range db.members {
		env = append(env, fmt.Sprintf("NODE%d_ADDRESS=%s", i+1, m.clients.address), fmt.Sprintf("NODE%d_CHECK_PORT=%s", i+1, m.api.port))
	}
	db.start("haproxy", nil, env, db.tool("usr/sbin/haproxy"), "-db", "-f", filepath.Join(db.root, "deploy/ha/haproxy.cfg"))
}

// url is a database at an address, for a role.
func url(address, role, name string) string {
	return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable&connect_timeout=3", role, password, address, name)
}

func (db *database) createRole() {
	db.t.Helper()
	settings, err := os.ReadFile(filepath.Join(db.root, "deploy/ha/role.sql"))
	if err != nil {
		db.t.Fatal(err)
	}
	// HAProxy may not have seen the primary yet.
	db.until("the role", func() bool {
		_, err := db.query(url(db.primary, "postgres", "postgres"), "SELECT pg_reload_conf()")
		return err == nil
	})
	for _, statement := range []string{
		"CREATE ROLE tidemark LOGIN PASSWORD '" + password + "'", string(settings), "CREATE DATABASE tidemark OWNER tidemark",
	} {
		if _, err := db.query(url(db.primary, "postgres", "postgres"), statement); err != nil {
			db.t.Fatalf("%s: %v", statement, err)
		}
	}
}

// query returns the only value of a statement, as text; "" if there is none.
func (db *database) query(databaseURL, statement string, arguments ...any) (value string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := store.OpenSQL(databaseURL)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if !strings.HasPrefix(statement, "SELECT") {
		_, err = conn.ExecContext(ctx, statement)
		return "", err
	}
	var text sql.NullString
	err = conn.QueryRowContext(ctx, statement, arguments...).Scan(&text)
	return text.String, err
}

// ask asks a member itself, as its superuser.
func (m *member) ask(statement string) (string, error) {
	return m.db.query(url(local(m.port), "postgres", "postgres"), statement)
}

func (db *database) status(url string) int {
	client := http.Client{Timeout: 2 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}

// leader is the member whose Patroni says that it is the primary; nil if none does.
func (db *database) leader() *member {
	for _, m := range db.members {
		if db.status("http://"+local(m.rest)+"/primary") == http.StatusOK {
			return m
		}
	}
	return nil
}

// isWhole reports whether there is a primary that two replicas follow, as far as it wants.
func (db *database) isWhole() bool { return db.followed(2) }

func (db *database) followed(replicas int) bool {
	m := db.leader()
	if m == nil {
		return false
	}
	const follow = `SELECT count(*) || ' ' || (count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) > 0 OR current_setting('synchronous_standby_names') = '')
FROM pg_stat_replication WHERE state = 'streaming' AND application_name LIKE 'node%'`
	got, err := m.ask(follow)
	return err == nil && got == fmt.Sprint(replicas, " true")
}

// configure changes what the Patroni of every member goes by.
func (db *database) configure(change string) {
	db.t.Helper()
	m := db.leader()
	if m == nil {
		db.t.Fatal("there is no primary")
	}
	request, err := http.NewRequest(http.MethodPatch, "http://"+local(m.rest)+"/config", strings.NewReader(change))
	if err != nil {
		db.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		db.t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		db.t.Fatalf("Patroni's configuration: %s", answer.Status)
	}
}

// killPostmaster is a PostgreSQL that crashes.
func (m *member) killPostmaster() {
	m.db.t.Helper()
	pid := m.readPostmaster()
	if pid == 0 {
		m.db.t.Fatal("no postmaster to kill")
	}
	if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil {
		m.db.t.Fatal(err)
	}
}

// crash kills its PostgreSQL and waits until another one runs, here or elsewhere.
func (m *member) crash() {
	m.db.t.Helper()
	old := m.readPostmaster()
	m.killPostmaster()
	m.db.until("PostgreSQL is started again", func() bool {
		now := m.readPostmaster()
		return now != 0 && now != old
	})
}

// killBoth is a machine that is gone.
func (m *member) killBoth() {
	m.db.t.Helper()
	m.patroni.kill()
	m.killPostmaster()
	for _, pid := range m.frozen { // nobody else would wake them, and they hold on to its memory
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	m.frozen = nil
}

// freeze stops Patroni and every process of PostgreSQL: a virtual machine that is paused.
func (m *member) freeze() {
	const signal = syscall.SIGSTOP
	m.patroni.signal(signal)
	postmaster := m.readPostmaster()
	if postmaster == 0 {
		return
	}
	_ = syscall.Kill(int(postmaster), signal)
	for range 2 { // who was forked meanwhile
		children, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, file := range children {
			text, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			// pid (name) state parent …
			fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
			if len(fields) > 1 && fields[1] == fmt.Sprint(postmaster) {
				if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
					_ = syscall.Kill(pid, signal)
					m.frozen = append(m.frozen, pid)
				}
			}
		}
	}
}

// cut pulls all cables of a member: no bytes pass any more, and nobody is told.
func (m *member) cut() {
	for _, c := range m.cables() {
		c.Hold()
	}
}

func (m *member) heal() {
	for _, c := range m.cables() {
		c.Release()
	}
}

func (m *member) cables() []cable { return []cable{m.clients, m.replication, m.api, m.etcd} }

// log is what its Patroni has said, and PostgreSQL under it.
func (m *member) log() string {
	text, err := os.ReadFile(filepath.Join(m.db.logs, "patroni-"+m.name+".log"))
	if err != nil {
		m.db.t.Fatal(err)
	}
	return string(text)
}
