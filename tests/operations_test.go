package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/harness"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// shBlock is a list of commands.
var shBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// TestOperations_backUpRestoreMove does what deploy/README.md says, with the commands as
// they stand there.
func TestOperations_backUpRestoreMove(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(readFile(t, "deploy/README.md"), "\n## Back up, restore, move\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var blocks []string
	for _, block := range shBlock.FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, block[1])
	}
	next := func(begins string) string {
		t.Helper()
		if len(blocks) == 0 || !strings.HasPrefix(blocks[0], begins) {
			t.Fatalf("the next commands don't begin with %s: %q", begins, blocks)
		}
		block := blocks[0]
		blocks = blocks[1:]
		return block
	}
	const was, lost = `{"n":1}`, `{"n":2}`

	// SQLite, where the documents have it.
	dir := t.TempDir()
	sqlite := harness.Start(t, harness.Options{DatabaseURL: "sqlite:" + filepath.Join(dir, "data", "tidemark.db")})
	o := operator{t: t, dir: dir, server: sqlite}
	o.push(was)
	o.must(next("tidemark backup"))
	o.push(lost)
	restore := next("tidemark restore")
	if out, err := o.run(restore); err == nil {
		t.Errorf("it restores under the server: %s", out)
	}
	sqlite.Stop()
	o.must(restore)
	sqlite.Restart()
	wantDocuments(t, sqlite, "home", map[string]string{"d": was})

	// PostgreSQL.
	postgres := harness.Start(t, harness.Options{Store: harness.Postgres})
	p := operator{t: t, dir: dir, server: postgres}
	p.push(was)
	dump, undump := next("pg_dump"), next("pg_restore")
	if path, err := pgtest.Program("pg_dump"); err == nil { // one that the tests had to fetch is the server alone
		p.path = filepath.Dir(path)
		p.must(dump)
		p.push(lost)
		postgres.Stop()
		p.mustIn(undump, "servers are connected") // PostgreSQL takes a moment to see that they are gone
		postgres.Restart()
		wantDocuments(t, postgres, "home", map[string]string{"d": was})
	}

	// From one to the other.
	sqlite.Stop()
	o.new = pgtest.URL(t)
	o.must(next("tidemark copy"))
	moved := harness.Start(t, harness.Options{DatabaseURL: o.new})
	wantDocuments(t, moved, "home", map[string]string{"d": was})

	o.must(next("tidemark export"))
	if out, err := (&operator{t: t, dir: dir, server: harness.New(t, harness.Options{})}).run(next("tidemark import")); err != nil {
		t.Errorf("import: %v\n%s", err, out)
	}

	stats, err := o.run(next("tidemark stats"))
	if err != nil {
		t.Errorf("stats: %v\n%s", err, stats)
	}
	var counted struct {
		Spaces, Documents, Tombstones, Clients, Bytes int64
		Largest                                       []struct{ Space string }
		WrittenLast                                   []struct{ Space string } `json:"written_last"`
	}
	if err := json.Unmarshal([]byte(stats[strings.Index(stats, "\n{"):]), &counted); err != nil {
		t.Fatalf("stats: %v\n%s", err, stats)
	}
	if counted.Spaces != 1 || counted.Documents != 1 || counted.Clients != 1 || counted.Bytes == 0 || len(counted.Largest) != 1 || counted.WrittenLast[0].Space != "home" {
		t.Errorf("stats counted %+v", counted)
	}
	sqlite.Restart()
	o.must(next("tidemark space delete"))
	wantDocuments(t, sqlite, "home", map[string]string{})
	if len(blocks) > 0 {
		t.Errorf("nobody has tried %q", blocks)
	}
}

const operatorPatience = time.Minute

// operator types commands.
type operator struct {
	t      *testing.T
	dir    string
	server *harness.Server
	path   string // of PostgreSQL's programs
	new    string // the database to move to
	pushed []string
}

func (o *operator) push(data string) {
	o.t.Helper()
	o.pushed = append(o.pushed, data)
	edit := harness.Edit{EditID: fmt.Sprint("e", len(o.pushed)), Op: "put", Collection: "c", ID: "d", Force: true, Data: []byte(data)}
	if _, err := o.server.Client("").Push(o.t.Context(), "home", harness.Push{ClientID: "c", Edits: []harness.Edit{edit}}); err != nil {
		o.t.Fatal(err)
	}
}

func (o *operator) run(commands string) (string, error) {
	bin := o.t.TempDir()
	if err := os.Symlink(o.server.Binary(), filepath.Join(bin, "tidemark")); err != nil {
		return "", err
	}
	shell := exec.CommandContext(o.t.Context(), "sh", "-eu", "-c", commands)
	shell.Dir = o.dir
	database := o.server.DatabaseURL()
	if u, err := url.Parse(database); err == nil && u.Host != "" { // as the documents say
		query := u.Query()
		query.Del("pool_max_conns")
		u.RawQuery = query.Encode()
		database = u.String()
	}
	shell.Env = append(os.Environ(), "PATH="+strings.Join([]string{bin, o.path, os.Getenv("PATH")}, ":"),
		"TIDEMARK_DATABASE_URL="+database, "NEW_DATABASE_URL="+o.new)
	out, err := shell.CombinedOutput()
	return string(out), err
}

func (o *operator) must(commands string) {
	o.t.Helper()
	if out, err := o.run(commands); err != nil {
		o.t.Fatalf("%v in\n%s\n%s", err, commands, out)
	}
}

// mustIn is must, again and again as long as the output has busy.
func (o *operator) mustIn(commands, busy string) {
	o.t.Helper()
	harness.Until(o.t, operatorPatience, commands, func() bool {
		out, err := o.run(commands)
		var status *exec.ExitError
		if err != nil && (!errors.As(err, &status) || !strings.Contains(out, busy)) {
			o.t.Fatalf("%v in\n%s\n%s", err, commands, out)
		}
		return err == nil
	})
}
