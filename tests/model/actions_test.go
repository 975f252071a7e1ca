package model_test

import (
	"context"
	"database/sql"
	"io"
	"maps"
	"net/http"
	"os"
	"time"

	_ "modernc.org/sqlite" // to back up the file under the server
	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/tests/harness"
)

// hangUp breaks a push off at some moment, after which nobody knows what became of it,
// and sends it again, whole, perhaps to another node. The answer to that must be the one
// that it gets if nothing had happened, or the one that it gets if it had.
func (m *machine) hangUp(t *rapid.T) {
	s := m.space(t)
	by := sample(t, writers, "writer")
	push := m.newPush(t, s, by)
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(draw(t, 4000, "after"))*time.Microsecond)
	answer, err := m.clients[by.subject].Push(ctx, s.name, push)
	cancel()
	s.pushes = append(s.pushes, sent{by, push})
	if err == nil {
		m.answered(t, s, by, push, answer)
		return
	}
	m.met["hung up"]++
	if answer, err = m.clients[by.subject].Push(t.Context(), s.name, push); err != nil {
		t.Fatalf("push %s, for the second time: %v", show(push), err)
	}
	never, done := s.oracle.clone(), s.oracle.clone()
	wrong := m.judge(s, never, by, push, answer)
	if wrong == nil {
		s.advance(never)
		return
	}
	// What had failed is decided again, on what the rest has made, so the retry may have a
	// version of its own.
	version := versionOf(answer, s.head)
	for _, result := range answer.Results {
		if result.Replayed && result.Version > s.head {
			version = result.Version
		}
	}
	if _, changed := done.push(by, push, version); changed && done.head <= s.ever {
		t.Fatalf("push %s: version %d after %d", show(push), done.head, s.ever)
	}
	if err := m.judge(s, done, by, push, answer); err != nil {
		t.Fatalf("push %s by %s, whose first answer was lost: neither was it not done: %v; nor was it: %v", show(push), by.subject, wrong, err)
	}
	m.met["hung up and done"]++
	s.advance(done)
}

// grant gives carol a token with other rights to a space than the last one, and
// holds the server to them.
func (m *machine) grant(t *rapid.T) {
	s := m.space(t)
	right := sample(t, []string{"", "r", "rw"}, "right")
	spaces := harness.Claims{"elsewhere": "rw", s.name: right}
	if right == "" {
		delete(spaces, s.name)
	}
	carol := m.server.LooseClient(harness.Token(harness.Claims{"sub": "carol", "spaces": spaces}))
	defer carol.HTTP.CloseIdleConnections()
	by := writer{"carol", "c1"}
	if right == "rw" {
		push := m.newPush(t, s, by)
		answer, err := carol.Push(t.Context(), s.name, push)
		if err != nil {
			t.Fatalf("push %s with the right to write: %v", show(push), err)
		}
		s.pushes = append(s.pushes, sent{by, push})
		m.answered(t, s, by, push, answer)
		return
	}
	status, code := http.StatusForbidden, "forbidden"
	if right == "" {
		status, code = http.StatusNotFound, "space_not_found"
	}
	_, err := carol.Push(t.Context(), s.name, m.newPush(t, s, by))
	m.wantProblem(t, err, status, code, "")
	page, err := carol.Pull(t.Context(), s.name, harness.Pull{Limit: 7})
	if right == "" {
		m.wantProblem(t, err, status, code, "")
		return
	}
	if err != nil {
		t.Fatalf("pull with the right to read: %v", err)
	}
	m.take(t, s, page, handed{position: position{began: s.head}}, 7)
}

// restart ends the server and starts it on the same data, on older data, or without
// the data that may be forgotten. It takes as long as a hundred other steps, so it
// is done seldom.
func (m *machine) restart(t *rapid.T) {
	switch draw(t, harness.Size(10, 60), "restart") {
	case 0:
		m.server.Kill()
		m.met["killed"]++
	case 1:
		m.server.Stop()
	case 2:
		m.restore(t)
	case 3:
		m.purge(t)
	case 4:
		m.deleteSpace(t)
		return
	default:
		m.pull(t)
		return
	}
	m.server.Restart()
	m.met["restarted"]++
}

// backUp backs the database up, and the oracles with it.
func (m *machine) backUp(t *rapid.T) {
	m.backup.take(t, m.server)
	m.kept = nil
	for _, s := range m.spaces {
		m.kept = append(m.kept, s.oracle.clone())
	}
}

// restore puts the backup in the place of the database. What was shown of what is lost
// by that is of no use any more.
func (m *machine) restore(t *rapid.T) {
	if m.kept == nil || draw(t, 3, "anew") == 0 {
		m.backUp(t)
		for range 3 {
			m.push(t)
			m.pull(t)
		}
	}
	m.backup.putBack(t, m.server)
	m.server.Forget()
	for i, s := range m.spaces {
		s.oracle = m.kept[i].clone()
		if s.head > 0 {
			s.gaps = append(s.gaps, gap{after: s.head})
		}
		for i := range s.cursors {
			s.cursors[i].lost = s.cursors[i].lost || s.cursors[i].seen > s.head
		}
		s.follower.lost = s.follower.lost || s.follower.seen > s.head
		s.author.lost = s.author.lost || s.author.seen > s.head
	}
	m.met["restored"]++
}

// purge forgets all tombstones and all clients, as if long ago.
func (m *machine) purge(t *rapid.T) {
	m.server.Stop()
	if _, stderr, err := m.server.Run(t.Context(), "gc", "--retention", "1ms"); err != nil {
		t.Fatalf("gc: %v\n%s", err, stderr)
	}
	for _, s := range m.spaces {
		for _, doc := range s.docs {
			if !doc.live {
				s.floor = max(s.floor, doc.version)
			}
		}
		s.docs = maps.Clone(s.docs)
		maps.DeleteFunc(s.docs, func(_ key, doc *document) bool { return !doc.live })
		s.receipts = map[writer][]receipt{}
	}
	m.met["purged"]++
}

// deleteSpace deletes a space, whose name is used on.
func (m *machine) deleteSpace(t *rapid.T) {
	s := m.space(t)
	if s.head == 0 {
		t.Skip("nothing was written")
	}
	m.server.Stop()
	if _, stderr, err := m.server.Run(t.Context(), "space", "delete", s.name, "--yes"); err != nil {
		t.Fatalf("space delete: %v\n%s", err, stderr)
	}
	m.server.Restart()
	m.server.Forget() // what was answered before says nothing any more
	heads, err := m.reader().Heads(t.Context(), 0, s.name)
	if err != nil || heads[0] <= s.head || heads[0] <= s.ever {
		t.Fatalf("a deleted space is at %v after %d and %d, %v", heads, s.head, s.ever, err)
	}
	s.head, s.floor, s.deleted, s.ever = heads[0], heads[0], heads[0], heads[0]
	s.docs, s.receipts = map[key]*document{}, map[writer][]receipt{}
	for i := range s.gaps {
		if s.gaps[i].before == 0 {
			s.gaps[i].after = s.head // the next push leaves those behind that were given out before
		}
	}
	m.met["space deleted"]++
}

// backup is a way to back a database up, and to put that back while the server is
// ended.
type backup interface {
	take(t *rapid.T, server *harness.Server)
	putBack(t *rapid.T, server *harness.Server)
}

// newBackup returns the way for a store. file is a place for it.
func newBackup(store harness.Store, file string) backup {
	if store == harness.SQLite {
		return fileBackup(file)
	}
	return tableBackup{}
}

// fileBackup is a copy of SQLite's file.
type fileBackup string

func (file fileBackup) take(t *rapid.T, server *harness.Server) {
	if err := os.RemoveAll(string(file)); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", server.SQLiteFile())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "VACUUM INTO ?", string(file)); err != nil {
		t.Fatal(err)
	}
}

func (file fileBackup) putBack(t *rapid.T, server *harness.Server) {
	server.Kill()
	for _, ending := range []string{"-wal", "-shm"} {
		if err := os.RemoveAll(server.SQLiteFile() + ending); err != nil {
			t.Fatal(err)
		}
	}
	source, err := os.Open(string(file))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	target, err := os.Create(server.SQLiteFile())
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	if _, err := io.Copy(target, source); err != nil {
		t.Fatal(err)
	}
}

// tableBackup is a copy of PostgreSQL's tables beside them. A database that goes on
// running can't tell that its rows were put back, so it is told.
type tableBackup struct{}

var tables = []string{"spaces", "documents", "clients"}

func (tableBackup) take(t *rapid.T, server *harness.Server) {
	statements := "BEGIN ISOLATION LEVEL REPEATABLE READ;"
	for _, table := range tables {
		statements += "DROP TABLE IF EXISTS kept_" + table + "; CREATE TABLE kept_" + table + " AS TABLE " + table + ";"
	}
	execute(t, server, statements+"COMMIT")
}

func (tableBackup) putBack(t *rapid.T, server *harness.Server) {
	server.Stop()
	statements := "BEGIN;"
	for _, table := range tables {
		statements += "DELETE FROM " + table + "; INSERT INTO " + table + " TABLE kept_" + table + ";"
	}
	execute(t, server, statements+"COMMIT")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); ; {
		_, stderr, err := server.Run(t.Context(), "epoch", "rotate")
		if err == nil {
			return
		}
		select {
		case <-tick.C: // PostgreSQL takes a moment to see that the servers are gone
		case <-deadline:
			t.Fatalf("epoch rotate: %v\n%s", err, stderr)
		}
	}
}

func execute(t *rapid.T, server *harness.Server, statements string) {
	if err := harness.Execute(t.Context(), server.DatabaseURL(), statements); err != nil {
		t.Fatalf("%v in %s", err, statements)
	}
}
