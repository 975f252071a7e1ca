package blackbox_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/syncer/store"
	"github.com/tidemark/tidemark/tests/harness"
)

// block is a command or a query of the operators' documentation.
var block = regexp.MustCompile("(?s)```(sh|sql)\n(.*?)```")

// TestOperate_wasMyEditLost: the greps and the query that deploy/README.md gives find the
// edit, as they stand there, on both databases.
func TestOperate_wasMyEditLost(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(harness.File(t, "deploy/README.md"), "### Was my edit lost?")
	section, _, _ = strings.Cut(section, "\n### ")
	found := block.FindAllStringSubmatch(section, -1)
	if len(found) != 4 {
		t.Fatalf("the section has %d blocks, want three greps and a query", len(found))
	}
	byClient, byEdit, query, readers := found[0][2], found[1][2], found[2][2], found[3][2]
	harness.Each(t, func(t *testing.T, kind harness.Store) {
		server := harness.Start(t, harness.Options{Store: kind, Nodes: 1, Env: []string{"TIDEMARK_LOG_FORMAT=json", "TIDEMARK_LOG_LEVEL=debug"}})
		if server.Nodes() > 1 {
			t.Skip("the log of one node is looked at")
		}
		client := server.Client("")
		edit := func(clientID, id string, base int64, data string) harness.PushAnswer {
			e := put(id, "t1", base, data)
			e.Collection = "todos"
			answer, err := client.Push(t.Context(), "home", harness.Push{ClientID: clientID, Edits: []harness.Edit{e}})
			if err != nil {
				t.Fatal(err)
			}
			return answer
		}
		first := edit("laptop", "e1", 0, `{"title":"Milk"}`)
		other := edit("phone", "e7", first.Version, `{"title":"Bread"}`)
		edit("laptop", "e2", first.Version, `{"title":"Tea"}`)
		pullAll(t, client, "home", other.Version)

		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "node-1.log"), []byte(server.Log()), 0o600); err != nil {
			t.Fatal(err)
		}
		grep := func(command string) []string {
			run := exec.CommandContext(t.Context(), "sh", "-c", command)
			run.Dir = dir
			out, err := run.Output()
			if err != nil {
				t.Fatalf("%s: %v", command, err)
			}
			return strings.Split(strings.TrimSpace(string(out)), "\n")
		}
		if lines := grep(byClient); len(lines) != 2 || !strings.Contains(lines[0], `"applied":1`) || !strings.Contains(lines[1], `"conflict":1`) {
			t.Errorf("the laptop's lines are\n%s", strings.Join(lines, "\n"))
		}
		if lines := grep(byEdit); len(lines) != 1 || !strings.Contains(lines[0], `"e2=conflict"`) {
			t.Errorf("the edit's lines are\n%s", strings.Join(lines, "\n"))
		}
		if lines := grep(readers); !strings.Contains(lines[len(lines)-1], `"cursor_out":`+strconv.FormatInt(other.Version, 10)) {
			t.Errorf("the readers' lines are\n%s", strings.Join(lines, "\n"))
		}
		db, err := store.OpenSQL(server.DatabaseURL())
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var version, head int64
		var deleted bool
		var by, clientID, editID string
		if err := db.QueryRowContext(t.Context(), query).Scan(&version, &deleted, &by, &clientID, &editID, &head); err != nil {
			t.Fatal(err)
		}
		if version != other.Version || deleted || clientID != "phone" || editID != "e7" || head != other.Version {
			t.Errorf("the query says version %d of %s by %s, deleted %v, space at %d", version, editID, clientID, deleted, head)
		}
	})
}
