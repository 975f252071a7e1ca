package blackbox_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/tests/harness"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// oddText has what a line of JSON can't hold as it is, and what is easily lost.
const oddText = "{\"n\": 1.0,\r\n \"u\":\"\\u0041\u2028<&>\", \"big\":9007199254740991, \"n2\":1e2}"

// filled starts a server with documents of all kinds: put, patched, deleted, odd; by
// several clients, in several spaces, of which one was deleted once.
func filled(t *testing.T, store harness.Store) *harness.Server {
	t.Helper()
	server := harness.Start(t, harness.Options{Store: store})
	client := server.Client("")
	for _, space := range []string{"b", "a.long-name", "A"} {
		first := mustPush(t, client, space, put("e1", "d1", 0, `{"a":1,"b":2}`), put("e2", "d2", 0, oddText), put("e3", "d3", 0, `{}`))
		mustPush(t, client, space,
			harness.Edit{EditID: "e4", Op: "patch", Collection: "c", ID: "d1", BaseVersion: &first.Version, Data: []byte(`{"b":3}`)},
			harness.Edit{EditID: "e5", Op: "delete", Collection: "c", ID: "d3", BaseVersion: &first.Version})
		other := harness.Push{ClientID: "other", Edits: []harness.Edit{forced("e1", "d4", `{"x":[]}`)}}
		if _, err := client.Push(t.Context(), space, other); err != nil {
			t.Fatal(err)
		}
	}
	mustPush(t, client, "gone", put("e1", "d1", 0, `{}`))
	must(t, server, "space", "delete", "gone", "--yes")
	must(t, server, "space", "retention", "b", "48h")
	must(t, server, "space", "retention", "reserved", "48h") // has a row and was never written
	return server
}

// must runs a command that must not fail.
func must(t *testing.T, server *harness.Server, args ...string) (stdout string) {
	t.Helper()
	stdout, stderr, err := server.Run(t.Context(), args...)
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", args, err, stdout, stderr)
	}
	return stdout
}

// another is a place for an empty database, with the commands for it.
func another(t *testing.T, store harness.Store) *harness.Server {
	t.Helper()
	database := "sqlite:" + filepath.Join(t.TempDir(), "another.db")
	if store == harness.Postgres {
		database = pgtest.URL(t)
	}
	return harness.New(t, harness.Options{DatabaseURL: database})
}

// lines are those of an export, without the first, which tells where it was made.
func lines(t *testing.T, server *harness.Server, args ...string) []string {
	t.Helper()
	return strings.SplitAfter(must(t, server, append([]string{"export"}, args...)...), "\n")[1:]
}

// TestExport_roundTrip: what goes from one kind of database to the other and back is
// the same to the last byte, and a second import finds it there.
func TestExport_roundTrip(t *testing.T) {
	t.Parallel()
	other := map[harness.Store]harness.Store{harness.SQLite: harness.Postgres, harness.Postgres: harness.SQLite}
	harness.Each(t, func(t *testing.T, store harness.Store) {
		source := filled(t, store)
		want := lines(t, source)
		there, back := another(t, other[store]), another(t, store)
		must(t, source, "copy", "--from", source.DatabaseURL(), "--to", there.DatabaseURL())
		file := filepath.Join(t.TempDir(), "all.ndjson")
		must(t, there, "export", "--output", file)
		if out := must(t, back, "import", file); out != "12 documents in 5 spaces imported, 0 spaces were there already\n" {
			t.Errorf("import said %q", out)
		}
		if diff := cmp.Diff(want, lines(t, back)); diff != "" {
			t.Errorf("what has come back (-want +got):\n%s", diff)
		}
		if out := must(t, back, "import", file); out != "0 documents in 0 spaces imported, 5 spaces were there already\n" {
			t.Errorf("the second import said %q", out)
		}
		for _, at := range []*harness.Server{there, back} {
			if out := must(t, at, "verify"); !strings.Contains(out, "5 spaces verified, 0 with faults") {
				t.Errorf("verify said %q", out)
			}
		}

		// By space, and from where one was broken off.
		if got := strings.Join(lines(t, source, "b"), ""); strings.Count(got, `{"space":{`) != 1 || !strings.Contains(got, `{"id":"b",`) {
			t.Errorf("the export of one space has %s", got)
		}
		if got, all := lines(t, source, "--after", "a.long-name"), strings.Join(want, ""); !strings.HasSuffix(
			all, strings.TrimSuffix(strings.Join(got, ""), "{\"done\":{\"spaces\":3}}\n")+"{\"done\":{\"spaces\":5}}\n") || len(got) < 8 {
			t.Errorf("after the second space come %v", got)
		}
		if _, stderr, err := source.Run(t.Context(), "export", "nowhere"); err == nil || !strings.Contains(stderr, "only 0 are there") {
			t.Errorf("a space that is not there: %v\n%s", err, stderr)
		}
	})
}

// TestImport_continues kills an import, which can't be served from then, and lets it go on.
func TestImport_continues(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		source := harness.Start(t, harness.Options{Store: harness.SQLite})
		const documents = 30_000
		for from := 0; from < documents; from += 200 {
			var edits []harness.Edit
			for i := range 200 {
				edits = append(edits, put(fmt.Sprint("e", from+i), fmt.Sprint("d", from+i), 0, `{"a":"`+strings.Repeat("x", 100)+`"}`))
			}
			mustPush(t, source.Client(""), "room", edits...)
		}
		file := filepath.Join(t.TempDir(), "all.ndjson")
		must(t, source, "export", "--output", file)
		target := another(t, store)
		must(t, target, "migrate", "up")
		db := openSQL(t, target.DatabaseURL())
		rows := func() (n int) {
			if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM documents").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		ctx, kill := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			_, _, err := target.Run(ctx, "import", file)
			ended <- err
		}()
		harness.Until(t, raceTimeout, "a part is there", func() bool { return rows() > 0 })
		kill()
		<-ended
		half := rows()
		if half == 0 || half >= documents {
			t.Fatalf("%d of %d rows are there: it was not killed on its way", half, documents)
		}
		if _, stderr, err := target.Run(t.Context(), "serve"); err == nil || !strings.Contains(stderr, "the import of room was not finished") {
			t.Fatalf("a server starts on half a space: %v\n%s", err, stderr)
		}
		if out := must(t, target, "verify"); !strings.Contains(out, " 0 with faults") {
			t.Errorf("verify said %q", out)
		}
		harness.Until(t, raceTimeout, "the killed import's connection is gone", func() bool {
			stdout, stderr, err := target.Run(t.Context(), "import", file)
			if err != nil && !strings.Contains(stderr, "another import works") {
				t.Fatalf("import: %v\n%s", err, stderr)
			}
			return err == nil && stdout == fmt.Sprintf("%d documents in 1 spaces imported, 0 spaces were there already\n", documents)
		})
		if diff := cmp.Diff(lines(t, source), lines(t, target)); diff != "" {
			t.Errorf("what has come (-want +got):\n%.2000s", diff)
		}
		target.Restart()
		if found := pullAll(t, target.Client(""), "room", 0); len(found) != documents {
			t.Errorf("%d documents are there", len(found))
		}
	})
}

// TestImport_otherExport: what another export has left of a space is cleared away, and a
// space that is in use stays as it is.
func TestImport_otherExport(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		source := filled(t, harness.SQLite)
		older := strings.Join(strings.SplitAfter(must(t, source, "export", "b"), "\n"), "")
		mustPush(t, source.Client(""), "b", forced("later", "d9", `{}`))
		file, half := filepath.Join(t.TempDir(), "all.ndjson"), filepath.Join(t.TempDir(), "half.ndjson")
		must(t, source, "export", "--output", file)
		if err := os.WriteFile(half, []byte(older[:strings.Index(older, `{"client":`)]), 0o600); err != nil {
			t.Fatal(err)
		}
		target := another(t, store)
		if _, stderr, err := target.Run(t.Context(), "import", half); err == nil || !strings.Contains(stderr, "is not complete") {
			t.Fatalf("half an export: %v\n%s", err, stderr)
		}
		must(t, target, "import", file)
		if diff := cmp.Diff(lines(t, source), lines(t, target)); diff != "" {
			t.Errorf("what has come (-want +got):\n%s", diff)
		}

		// The target goes on, and then the source too: now their histories differ.
		target.Restart()
		if _, stderr, err := target.Run(t.Context(), "import", file); err == nil || !strings.Contains(stderr, "another tidemark is working") && !strings.Contains(stderr, "a server is connected") {
			t.Errorf("import under a server: %v\n%s", err, stderr)
		}
		mustPush(t, target.Client(""), "b", forced("there", "d1", `{"there":true}`))
		target.Stop()
		harness.Until(t, raceTimeout, "what is imported and has gone on passes", func() bool {
			_, _, err := target.Run(t.Context(), "import", file)
			return err == nil
		})
		mustPush(t, source.Client(""), "b", forced("here", "d1", `{"here":true}`))
		newer := filepath.Join(t.TempDir(), "newer.ndjson")
		must(t, source, "export", "--output", newer)
		before := lines(t, target)
		_, stderr, err := target.Run(t.Context(), "import", newer)
		if err == nil || !strings.Contains(stderr, "b is there already, with another history") {
			t.Errorf("import over another history: %v\n%s", err, stderr)
		}
		if diff := cmp.Diff(before, lines(t, target)); diff != "" {
			t.Errorf("the import has changed what was there (-before +after):\n%s", diff)
		}
		must(t, target, "verify")
	})
}

// TestImport_damaged: whatever is done to an export, no space comes of it that differs.
func TestImport_damaged(t *testing.T) {
	t.Parallel()
	source := filled(t, harness.SQLite)
	good := must(t, source, "export", "b")
	for name, damage := range map[string]struct{ from, to, want string }{
		"a document is missing": {good[strings.Index(good, `{"document":`):strings.Index(good, `{"document":{"collection":"c","id":"d2"`)], "", "not the space's end"},
		"another version":       {`"id":"d4","version":17`, `"id":"d4","version":16`, "the export is damaged"},
		"a document twice":      {`"id":"d2"`, `"id":"d1"`, "out of order"},
		"no JSON":               {`{"x":[]}`, `{"x":[}`, "can't be read"},
		"no object":             {`{"x":[]}`, `[1]`, "object"},
		"a member of tomorrow":  {`"floor":0`, `"flor":0`, "can't be read"},
		"another format":        {`"format":1`, `"format":2`, "format 2"},
		"a deletion to come":    {`"deleted_through":0`, `"deleted_through":7`, "it was deleted at 7"},
		"a space of our own":    {`{"id":"b",`, `{"id":"_b",`, "no name of a space"},
		"no first line":         {good[:strings.Index(good, "\n")+1], "", "no export"},
		"no last line":          {"{\"done\":{\"spaces\":1}}\n", "", "not complete"},
		"receipts":              {`"receipts":"A`, `"receipts":"B`, "can't be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := strings.Replace(good, damage.from, damage.to, 1)
			if bad == good {
				t.Fatal("nothing was damaged")
			}
			file := filepath.Join(t.TempDir(), "bad.ndjson")
			if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
				t.Fatal(err)
			}
			target := another(t, harness.SQLite)
			if _, stderr, err := target.Run(t.Context(), "import", file); err == nil || !strings.Contains(stderr, damage.want) {
				t.Errorf("%v, want one that says %q\n%s", err, damage.want, stderr)
			}
			if out := must(t, target, "verify"); !strings.Contains(out, " 0 with faults") {
				t.Errorf("verify said %q", out)
			}
		})
	}
}

// TestRestore_refuses what is no sound backup, and to work under a server; the database
// stays as it is.
func TestRestore_refuses(t *testing.T) {
	t.Parallel()
	server := filled(t, harness.SQLite)
	dir := t.TempDir()
	good := filepath.Join(dir, "good.db")
	must(t, server, "backup", good)
	before := lines(t, server)
	if _, stderr, err := server.Run(t.Context(), "restore", good); err == nil || !strings.Contains(stderr, "another tidemark is working") {
		t.Errorf("restore under a server: %v\n%s", err, stderr)
	}
	server.Stop()
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	faulty := filepath.Join(dir, "faulty.db")
	must(t, server, "backup", faulty)
	if err := harness.Execute(t.Context(), "sqlite:"+faulty, `UPDATE documents SET version = version - 1 WHERE id = 'd4'`); err != nil {
		t.Fatal(err)
	}
	for name, backup := range map[string]struct{ file, want string }{
		"half a file":   {write(t, dir, "half.db", text[:len(text)/2]), "no sound database"},
		"another file":  {write(t, dir, "text.db", []byte(strings.Repeat("no database\n", 1000))), "no sound database"},
		"wrong rows":    {faulty, "not as it should be"},
		"no such file":  {filepath.Join(dir, "nothing.db"), "no such file"},
		"with its log":  {write(t, dir, "logged.db", text), "half of a database"},
		"empty":         {write(t, dir, "empty.db", nil), "no sound database"},
		"a broken page": {write(t, dir, "page.db", broken(text)), "no sound database"},
	} {
		if name == "with its log" {
			write(t, dir, "logged.db-wal", []byte("x"))
		}
		if _, stderr, err := server.Run(t.Context(), "restore", backup.file); err == nil || !strings.Contains(stderr, backup.want) {
			t.Errorf("%s: %v, want one that says %q\n%s", name, err, backup.want, stderr)
		}
	}
	if diff := cmp.Diff(before, lines(t, server)); diff != "" {
		t.Errorf("the database has changed (-before +after):\n%s", diff)
	}
	must(t, server, "space", "delete", "b", "--yes")
	out := must(t, server, "restore", good)
	if diff := cmp.Diff(before, lines(t, server)); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	_, kept, _ := strings.Cut(strings.TrimSpace(out), "the database that was there is ")
	replaced := harness.New(t, harness.Options{DatabaseURL: "sqlite:" + kept})
	if got := strings.Join(lines(t, replaced, "b"), ""); strings.Contains(got, `{"document":`) {
		t.Errorf("the database that was there has %s", got)
	}
	entries, err := filepath.Glob(server.SQLiteFile() + "*")
	if err != nil || strings.Contains(strings.Join(entries, " "), ".part") {
		t.Errorf("it leaves %v, %v", entries, err)
	}
}

func write(t *testing.T, dir, name string, text []byte) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// broken is a database with nonsense in the page of its second table.
func broken(database []byte) []byte {
	const page = 4096
	text := append([]byte{}, database...)
	copy(text[page:2*page], strings.Repeat("\xff", page))
	return text
}

// On PostgreSQL backup and restore say what to use.
func TestBackup_postgres(t *testing.T) {
	t.Parallel()
	server := harness.Start(t, harness.Options{Store: harness.Postgres})
	for command, want := range map[string]string{"backup": "pg_dump", "restore": "pg_restore"} {
		if _, stderr, err := server.Run(t.Context(), command, "file"); err == nil || !strings.Contains(stderr, want) {
			t.Errorf("%s: %v\n%s", command, err, stderr)
		}
	}
}

// TestExport_resumed: an export that was cut off in the middle of a space goes on after
// the last space that it has whole, and both files together are all.
func TestExport_resumed(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		source := filled(t, store)
		whole := must(t, source, "export")
		cut := strings.LastIndex(whole, `"id":"d2"`) // in a document of the third space of five
		last := whole[:cut]
		_, after, _ := strings.Cut(last[strings.LastIndex(last, `{"end":`):], `"space":"`)
		after, _, _ = strings.Cut(after, `"`)
		if after != "a.long-name" {
			t.Fatalf("the last space that is whole is %q", after)
		}
		dir := t.TempDir()
		first, second := write(t, dir, "first.ndjson", []byte(last)), filepath.Join(dir, "second.ndjson")
		must(t, source, "export", "--after", after, "--output", second)

		target := another(t, store)
		if _, stderr, err := target.Run(t.Context(), "import", first); err == nil || !strings.Contains(stderr, "the export ends here, and is not complete") {
			t.Errorf("the first file: %v\n%s", err, stderr)
		}
		must(t, target, "import", second)
		if diff := cmp.Diff(lines(t, source), lines(t, target)); diff != "" {
			t.Errorf("what has come of both files (-want +got):\n%s", diff)
		}
		if out := must(t, target, "verify"); !strings.Contains(out, "5 spaces verified, 0 with faults") {
			t.Errorf("verify said %q", out)
		}
	})
}
