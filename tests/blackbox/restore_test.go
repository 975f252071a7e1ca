package blackbox_test

import (
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/tests/harness"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// A backup is a way to back up the database of a running server and to put that back.
// putBack may be called again and again, and returns with the server running.
type backup struct {
	take, putBack func()
}

// backups are the ways that operators have. A PostgreSQL that the tests had to fetch is
// the server alone, without pg_dump.
func backups() map[string]func(t *testing.T) (*harness.Server, backup) {
	all := map[string]func(t *testing.T) (*harness.Server, backup){
		"SQLite, the file copied while nobody has it open": sqliteFile,
		"SQLite, VACUUM INTO":                              sqliteVacuum,
		"SQLite, the folder copied":                        sqliteFolder,
		"SQLite, backup and restore":                       sqliteBackup,
		"from SQLite to PostgreSQL, exported and imported": moved(harness.SQLite, harness.Postgres),
		"from PostgreSQL to SQLite, exported and imported": moved(harness.Postgres, harness.SQLite),
		"PostgreSQL, the database copied":                  copiedDatabase,
		"PostgreSQL, a base backup":                        baseBackup,
	}
	if _, err := pgtest.Program("pg_dump"); err == nil {
		all["PostgreSQL, pg_dump into the same database"] = dumpToSame
		all["PostgreSQL, pg_dump under the running node"] = dumpUnderNode
		all["PostgreSQL, pg_dump into another database"] = dumpToOther
	}
	return all
}

// TestServe_restored restores the same backup twice, with edits before, between and
// after. Who has seen what was lost must start again, whenever it comes back and
// whatever it does first; who has not goes on; and all hold the same in the end.
func TestServe_restored(t *testing.T) {
	t.Parallel()
	tally := harness.Count(t, "T9", 0)
	for name, prepare := range backups() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, b := prepare(t)
			r := &restores{t: t, server: server, client: server.Client("")}
			t.Cleanup(func() { tally.Add(harness.Figures{Operations: int64(r.edits), Faults: 2}) }) // it restores twice
			for _, space := range []string{"quiet", "busy"} {
				r.edit(space, "kept", `{"a":1,"b":1}`)
				r.edit(space, "more", `{}`)
			}
			kept := map[string]bystander{"quiet": r.stand("quiet"), "busy": r.stand("busy")}
			b.take()
			for round := range 2 {
				lost := map[string]bystander{}
				for space := range kept {
					r.edit(space, "kept", `{"a":2,"b":1}`)
					r.edit(space, fmt.Sprint("lost", round), `{}`)
					lost[space] = r.stand(space)
				}
				born := fmt.Sprint("born", round)
				empty, err := r.client.Pull(t.Context(), born, harness.Pull{})
				if err != nil {
					t.Fatal(err)
				}
				r.edit(born, "lost", `{}`)
				lost[born] = r.stand(born)
				b.putBack()
				server.Forget()
				for space, who := range lost {
					r.wantLost(space, who) // at once: the cursor is ahead of the head
				}
				for i := range 4 { // twice as much as was lost
					r.patch("busy", "kept", fmt.Sprintf(`{"a":%d}`, 10*round+i))
					r.edit(born, "new", `{}`)
				}
				for space, who := range lost {
					r.wantLost(space, who)
				}
				for space, who := range kept {
					r.wantKept(space, who, lost[space].newest)
				}
				// Who has pushed to a new space and not yet pulled has only this to go by.
				_, err = r.client.Pull(t.Context(), born, harness.Pull{Cursor: empty.Cursor, MinVersion: lost[born].newest})
				wantExpired(t, err)
			}
		})
	}
}

type restores struct {
	t      *testing.T
	server *harness.Server
	client *harness.Client
	edits  int
}

// edit puts a document, whatever it is.
func (r *restores) edit(space, id, data string) {
	r.t.Helper()
	r.edits++
	mustPush(r.t, r.client, space, forced(fmt.Sprint("e", r.edits), id, data))
}

// patch changes fields of a document, whatever they are.
func (r *restores) patch(space, id, data string) {
	r.t.Helper()
	r.edits++
	edit := forced(fmt.Sprint("e", r.edits), id, data)
	edit.Op = "patch"
	mustPush(r.t, r.client, space, edit)
}

// bystander is a client that was shown something and has gone away.
type bystander struct {
	cursor  string   // at the head
	between []string // between two pages: of a snapshot, and of a feed
	newest  int64    // version
	held    map[string]harness.Change
}

func (r *restores) stand(space string) bystander {
	r.t.Helper()
	pull := func(p harness.Pull) harness.Page {
		page, err := r.client.Pull(r.t.Context(), space, p)
		if err != nil {
			r.t.Fatal(err)
		}
		return page
	}
	before := pull(harness.Pull{}).Cursor
	r.edit(space, "last", `{}`)
	r.edit(space, "very-last", `{}`)
	b := bystander{
		between: []string{pull(harness.Pull{Limit: 1}).Cursor, pull(harness.Pull{Cursor: before, Limit: 1}).Cursor},
		held:    pullAll(r.t, r.client, space, 0),
	}
	whole := pull(harness.Pull{})
	b.cursor, b.newest = whole.Cursor, whole.Version
	return b
}

// wantLost: nothing that has been lost is taken for what is there.
func (r *restores) wantLost(space string, who bystander) {
	t := r.t
	t.Helper()
	for _, cursor := range append(slices.Clone(who.between), who.cursor) {
		_, err := r.client.Pull(t.Context(), space, harness.Pull{Cursor: cursor})
		wantExpired(t, err)
		_, err = r.client.Push(t.Context(), space, harness.Push{
			ClientID: "c2", Edits: []harness.Edit{forced("with-a-cursor", "with-a-cursor", `{}`)}, Cursor: &cursor,
		})
		wantExpired(t, err)
	}
	if _, ok := pullAll(t, r.client, space, 0)["with-a-cursor"]; ok {
		t.Errorf("%s: a push with an expired cursor was applied", space)
	}
	known, here := who.held["kept"]
	if !here {
		return
	}
	// A field that nobody has changed since; and a whole document.
	for _, edit := range []harness.Edit{
		{EditID: "patch", Op: "patch", Collection: "c", ID: "kept", BaseVersion: &known.Version, Data: []byte(`{"b":9}`)},
		{EditID: "put", Op: "put", Collection: "c", ID: "kept", BaseVersion: &known.Version, Data: []byte(`{"b":9}`)},
	} {
		answer, err := r.client.Push(t.Context(), space, harness.Push{ClientID: "c2", Edits: []harness.Edit{edit}})
		if err != nil || answer.Results[0].Status != "conflict" {
			t.Errorf("%s: a %s on version %d, which is lost: %+v, %v", space, edit.Op, known.Version, answer.Results, err)
		}
	}
}

// wantKept: who was not shown what is lost goes on from where it stands, and comes to
// hold what is there. lost is a version that a push has answered and that is lost: who
// knows of that must start again.
func (r *restores) wantKept(space string, who bystander, lost int64) {
	t := r.t
	t.Helper()
	want := pullAll(t, r.client, space, 0)
	for _, cursor := range append(slices.Clone(who.between), who.cursor) {
		_, err := r.client.Pull(t.Context(), space, harness.Pull{Cursor: cursor, MinVersion: lost})
		wantExpired(t, err)
		changes, _, err := r.client.PullAll(t.Context(), space, harness.Pull{Cursor: cursor, Limit: 1})
		if err != nil {
			t.Fatalf("%s: a cursor of what was kept: %v", space, err)
		}
		held := maps.Clone(who.held)
		for _, change := range changes {
			held[change.ID] = change
		}
		if diff := cmp.Diff(want, held); diff != "" {
			t.Errorf("%s: who goes on holds something else (-want +got):\n%s", space, diff)
		}
	}
}

// A database that was put back together with all that makes its identity can't notice:
// somebody must say so. Who was shown nothing that is lost goes on.
func TestEpoch_rotate(t *testing.T) {
	t.Parallel()
	server := harness.Start(t, harness.Options{Store: harness.Postgres})
	r := &restores{t: t, server: server, client: server.Client("")}
	r.edit("room", "kept", `{"a":1,"b":1}`)
	kept := r.stand("room")
	tables := []string{"spaces", "documents", "clients"}
	for _, table := range tables {
		script(t, server.DatabaseURL(), fmt.Sprintf("CREATE TABLE kept_%[1]s AS TABLE %[1]s", table))
	}
	r.edit("room", "kept", `{"a":2,"b":1}`)
	r.edit("room", "lost", `{}`)
	lost := r.stand("room")
	for _, table := range tables {
		script(t, server.DatabaseURL(), fmt.Sprintf("BEGIN; DELETE FROM %[1]s; INSERT INTO %[1]s TABLE kept_%[1]s; COMMIT", table))
	}
	server.Forget()
	command := harness.New(t, harness.Options{DatabaseURL: server.DatabaseURL()})
	if _, stderr, err := command.Run(t.Context(), "epoch", "rotate"); err == nil || !strings.Contains(stderr, "stop them first") {
		t.Fatalf("epoch rotate while servers run: %v\n%s", err, stderr)
	}
	server.Stop()
	harness.Until(t, raceTimeout, "the epoch is rotated once nobody is connected", func() bool {
		stdout, _, err := command.Run(t.Context(), "epoch", "rotate")
		return err == nil && strings.Contains(stdout, "new epoch")
	})
	if log, stderr, err := command.Run(t.Context(), "audit"); err != nil || strings.Count(log, "epoch_rotate") != 1 {
		t.Errorf("who has rotated the epoch is not in the audit log once: %v\n%s%s", err, log, stderr)
	}
	server.Restart()
	for i := range 4 {
		r.patch("room", "kept", fmt.Sprintf(`{"a":%d}`, 10+i))
	}
	r.wantLost("room", lost)
	r.wantKept("room", kept, lost.newest)
}

func copyFile(t *testing.T, to, from string) {
	t.Helper()
	source, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	target, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	if _, err := io.Copy(target, source); err != nil {
		t.Fatal(err)
	}
}

func sqliteFile(t *testing.T) (*harness.Server, backup) {
	server := harness.Start(t, harness.Options{Store: harness.SQLite})
	file, kept := server.SQLiteFile(), filepath.Join(t.TempDir(), "backup.db")
	return server, backup{
		take: func() {
			server.Stop()
			copyFile(t, kept, file)
			server.Restart()
		},
		putBack: func() {
			server.Stop()
			copyFile(t, file, kept)
			server.Restart()
		},
	}
}

func sqliteVacuum(t *testing.T) (*harness.Server, backup) {
	server := harness.Start(t, harness.Options{Store: harness.SQLite})
	file, kept := server.SQLiteFile(), filepath.Join(t.TempDir(), "backup.db")
	return server, backup{
		take: func() { script(t, server.DatabaseURL(), "VACUUM INTO '"+kept+"'") },
		putBack: func() {
			server.Kill() // it leaves a write-ahead log
			for _, ending := range []string{"-wal", "-shm"} {
				if err := os.RemoveAll(file + ending); err != nil {
					t.Fatal(err)
				}
			}
			copyFile(t, file, kept)
			server.Restart()
		},
	}
}

// sqliteBackup uses the commands for it.
func sqliteBackup(t *testing.T) (*harness.Server, backup) {
	server := harness.Start(t, harness.Options{Store: harness.SQLite})
	file := filepath.Join(t.TempDir(), "backup.db")
	must := func(want string, args ...string) {
		t.Helper()
		if stdout, stderr, err := server.Run(t.Context(), args...); err != nil || !strings.Contains(stdout, want) {
			t.Fatalf("%v: %v\n%s%s", args, err, stdout, stderr)
		}
	}
	return server, backup{
		take: func() { must("backed up", "backup", file) },
		putBack: func() {
			server.Kill() // it leaves a write-ahead log
			must("spaces verified", "restore", file)
			server.Restart()
		},
	}
}

// moved exports under the server, and imports into an empty database of the other kind:
// what was acknowledged after the export is lost, as after a restore.
func moved(from, to harness.Store) func(t *testing.T) (*harness.Server, backup) {
	return func(t *testing.T) (*harness.Server, backup) {
		var others []string // dropped after the server's end
		for i := range 2 {
			if to == harness.Postgres {
				others = append(others, harness.WithSetting(t, harness.DefaultBroker().Database(t), "pool_max_conns", "8"))
			} else {
				others = append(others, "sqlite:"+filepath.Join(t.TempDir(), fmt.Sprint("other", i), "tidemark.db"))
			}
		}
		server := harness.New(t, harness.Options{Store: from})
		server.Restart()
		file := filepath.Join(t.TempDir(), "export.ndjson")
		must := func(args ...string) {
			t.Helper()
			if _, stderr, err := server.Run(t.Context(), args...); err != nil {
				t.Fatalf("%v: %v\n%s", args, err, stderr)
			}
		}
		return server, backup{
			take: func() { must("export", "--output", file) },
			putBack: func() {
				server.Stop()
				server.Use(others[0])
				others = others[1:]
				must("import", file)
				server.Restart()
			},
		}
	}
}

// sqliteFolder copies the folder of the data, and lets the server go on with a copy of
// the copy: both histories go on from the same point.
func sqliteFolder(t *testing.T) (*harness.Server, backup) {
	dir := t.TempDir()
	data, kept, copies := filepath.Join(dir, "data"), filepath.Join(dir, "kept"), 0
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	server := harness.Start(t, harness.Options{Store: harness.SQLite, DatabaseURL: "sqlite:" + filepath.Join(data, "tidemark.db")})
	return server, backup{
		take: func() {
			server.Kill()
			if err := os.CopyFS(kept, os.DirFS(data)); err != nil {
				t.Fatal(err)
			}
			server.Restart()
		},
		putBack: func() {
			server.Kill()
			copies++
			data = filepath.Join(dir, fmt.Sprint("copy", copies))
			if err := os.CopyFS(data, os.DirFS(kept)); err != nil {
				t.Fatal(err)
			}
			server.Use("sqlite:" + filepath.Join(data, "tidemark.db"))
			server.Restart()
		},
	}
}

// run runs one of PostgreSQL's programs.
func run(t *testing.T, program string, args ...string) {
	t.Helper()
	path, err := pgtest.Program(program)
	if err != nil {
		t.Fatal(err)
	}
	if output, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, output)
	}
}

// awaitLook waits until all nodes tell of the spaces what is in the database. What a node
// remembers of a space it may tell for a second.
func awaitLook(t *testing.T, server *harness.Server, spaces ...string) {
	t.Helper()
	db, client := openSQL(t, server.DatabaseURL()), server.Client("")
	for _, space := range spaces {
		harness.Until(t, raceTimeout, "the nodes have looked", func() bool {
			want := headOf(t, db, space)
			for range harness.Nodes() { // the client asks them in turn
				if heads, err := client.Heads(t.Context(), 0, space); err != nil || heads[0] != want {
					return false
				}
			}
			return true
		})
	}
}

func dump(t *testing.T, server *harness.Server) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "dump")
	run(t, "pg_dump", "--format=custom", "--file="+file, forPsql(t, server.DatabaseURL()))
	return file
}

// undump puts a dump into a database, in place of what is there.
func undump(t *testing.T, databaseURL, file string) {
	t.Helper()
	run(t, "pg_restore", "--clean", "--if-exists", "--single-transaction", "--dbname="+forPsql(t, databaseURL), file)
}

func dumpToSame(t *testing.T) (*harness.Server, backup) {
	server := harness.Start(t, harness.Options{Store: harness.Postgres})
	var file string
	return server, backup{
		take: func() { file = dump(t, server) },
		putBack: func() {
			server.Stop()
			undump(t, server.DatabaseURL(), file)
			server.Restart()
		},
	}
}

// dumpUnderNode restores while the node goes on: it is the tables that are new.
func dumpUnderNode(t *testing.T) (*harness.Server, backup) {
	server := harness.Start(t, harness.Options{Store: harness.Postgres})
	var file string
	return server, backup{
		take: func() { file = dump(t, server) },
		putBack: func() {
			undump(t, server.DatabaseURL(), file)
			awaitLook(t, server, "quiet", "busy", "born0", "born1")
		},
	}
}

func dumpToOther(t *testing.T) (*harness.Server, backup) {
	others := []string{harness.DefaultBroker().Database(t), harness.DefaultBroker().Database(t)} // dropped after the server's end
	server := harness.Start(t, harness.Options{Store: harness.Postgres})
	var file string
	return server, backup{
		take: func() { file = dump(t, server) },
		putBack: func() {
			undump(t, others[0], file)
			server.Stop()
			server.Use(harness.WithSetting(t, others[0], "pool_max_conns", "8"))
			server.Restart()
			others = others[1:]
		},
	}
}

// copiedDatabase puts a copy of the database in its place: one whose files have the same
// numbers, in a server that is not started again.
func copiedDatabase(t *testing.T) (*harness.Server, backup) {
	postgres := pgtest.Start(t, harness.DefaultBroker().DatabaseSettings()...)
	live := postgres.URL(t)
	server := harness.Start(t, harness.Options{Store: harness.Postgres, DatabaseURL: live})
	at, err := url.Parse(live)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(at.Path, "/")
	copyDatabase := func(from, to string) {
		t.Helper()
		server.Stop() // nobody else may be connected
		for _, statement := range []string{
			"DROP DATABASE IF EXISTS " + to + " WITH (FORCE)", "CREATE DATABASE " + to + " TEMPLATE " + from,
		} {
			harness.Until(t, raceTimeout, "the server's connections are gone", func() bool {
				return pgtest.Execute(t.Context(), postgres.AdminURL(), statement) == nil
			})
		}
		server.Restart()
	}
	return server, backup{
		take:    func() { copyDatabase(name, name+"_kept") },
		putBack: func() { copyDatabase(name+"_kept", name) },
	}
}

func baseBackup(t *testing.T) (*harness.Server, backup) {
	postgres := pgtest.Start(t, harness.DefaultBroker().DatabaseSettings()...)
	server := harness.Start(t, harness.Options{Store: harness.Postgres, DatabaseURL: postgres.URL(t)})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	return server, backup{
		take: func() { must(postgres.BackUp()) },
		putBack: func() {
			server.Stop()
			must(postgres.Stop())
			must(postgres.PutBack())
			must(postgres.Start())
			server.Restart()
		},
	}
}
