package tests

import (
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/tests/harness"
)

// TestREADME_example: the page that README shows is the page that the server
// shows at /example, so the one that the browser test runs.
func TestREADME_example(t *testing.T) {
	t.Parallel()
	_, rest, found := strings.Cut(readFile(t, "README.md"), "```html\n")
	if !found {
		t.Fatal("README has no ```html block")
	}
	shown, _, _ := strings.Cut(rest, "```")
	if served := readFile(t, "api/web/example.html"); shown != served {
		t.Errorf("README's example is not api/web/example.html:\n%s\nwant:\n%s", shown, served)
	}
}

// exchange is a request in curl with the answer under it.
var exchange = regexp.MustCompile("(?s)```sh\ncurl -s localhost:8080(\\S+)([^`]*)\n```\n```json\n(.*?)```")

// body is what curl sends with -d.
var body = regexp.MustCompile(`(?s)-d '(.*)'`)

// TestREADME_curl: what README sends gets the answers that it shows, but for what
// is another each time.
func TestREADME_curl(t *testing.T) {
	t.Parallel()
	exchanges := exchange.FindAllStringSubmatch(readFile(t, "README.md"), -1)
	if len(exchanges) < 3 {
		t.Fatalf("README shows %d requests with their answers, want a push, a pull and a conflict", len(exchanges))
	}
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, harness.Options{Store: store})
		for _, x := range exchanges {
			path, options, want := x[1], x[2], x[3]
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL()+path, nil)
			if sent := body.FindStringSubmatch(options); sent != nil && err == nil {
				request, err = http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL()+path, strings.NewReader(sent[1]))
				request.Header.Set("Content-Type", "application/json")
			}
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(response.Body)
			if closeErr := response.Body.Close(); err != nil || closeErr != nil {
				t.Fatal(err, closeErr)
			}
			if diff := cmp.Diff(constant(t, want), constant(t, string(got))); diff != "" {
				t.Errorf("%s: the answer is not README's (-README +answer):\n%s", path, diff)
			}
		}
	})
}

// constant returns an answer without what is another each time.
func constant(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var blank func(any)
	blank = func(value any) {
		switch value := value.(type) {
		case []any:
			for _, element := range value {
				blank(element)
			}
		case map[string]any:
			for name, member := range value {
				switch name {
				case "version", "cursor", "updated_at", "digest":
					value[name] = "…"
				default:
					blank(member)
				}
			}
		}
	}
	blank(value)
	return value
}

// sqlBlock is an SQL example.
var sqlBlock = regexp.MustCompile("(?s)```sql\n(.*?)```")

// TestREADME_inbox: what README writes in SQL is seen by clients, and its trigger
// mirrors a table.
func TestREADME_inbox(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(readFile(t, "README.md"), "## Write from SQL")
	blocks := sqlBlock.FindAllStringSubmatch(section, -1)
	if len(blocks) != 2 {
		t.Fatalf("README has %d SQL examples, want an insert and a trigger", len(blocks))
	}
	insert, trigger := blocks[0][1], blocks[1][1]
	harness.Each(t, func(t *testing.T, kind harness.Store) {
		server := harness.Start(t, harness.Options{Store: kind})
		execute(t, server, insert)
		wantDocuments(t, server, "home", map[string]string{"t7": `{"title": "Tea"}`})
	})
	server := harness.Start(t, harness.Options{Store: harness.Postgres})
	execute(t, server, `
		CREATE SCHEMA app;
		CREATE TABLE app.todos (id bigint PRIMARY KEY, board text NOT NULL, title text NOT NULL, done boolean NOT NULL DEFAULT false);
		INSERT INTO app.todos (id, board, title) VALUES (1, 'home', 'Milk');`)
	execute(t, server, trigger)
	wantDocuments(t, server, "home", map[string]string{"1": `{"title" : "Milk", "done" : false}`})
	execute(t, server, `
		INSERT INTO app.todos (id, board, title) VALUES (2, 'home', 'Bread'), (3, 'home', 'Salt'), (4, 'home', 'Tea');
		UPDATE app.todos SET done = true WHERE id = 1;
		UPDATE app.todos SET board = 'work' WHERE id = 3;
		DELETE FROM app.todos WHERE id = 4;`)
	execute(t, server, `BEGIN; DELETE FROM app.todos; ROLLBACK`)
	wantDocuments(t, server, "work", map[string]string{"3": `{"title" : "Salt", "done" : false}`})
	wantDocuments(t, server, "home", map[string]string{
		"1": `{"title" : "Milk", "done" : true}`,
		"2": `{"title" : "Bread", "done" : false}`,
	})
}

func execute(t *testing.T, server *harness.Server, statements string) {
	t.Helper()
	if err := harness.Execute(t.Context(), server.DatabaseURL(), statements); err != nil {
		t.Fatalf("%v in\n%s", err, statements)
	}
}

// wantDocuments polls until a space holds these documents, by id, and no others.
func wantDocuments(t *testing.T, server *harness.Server, space string, want map[string]string) {
	t.Helper()
	client := server.Client("")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); ; {
		changes, _, err := client.PullAll(t.Context(), space, harness.Pull{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, change := range changes {
			if !change.Deleted {
				got[change.ID] = string(change.Data)
			}
		}
		diff := cmp.Diff(want, got)
		if diff == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("documents of %s (-want +got):\n%s", space, diff)
		}
	}
}

var (
	namedTest = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+(?:_[A-Za-z0-9]+)*)(_?…)?`")
	testFunc  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

// TestDocs_namedTests: a test that the documents name as a proof is there.
func TestDocs_namedTests(t *testing.T) {
	t.Parallel()
	var all []string
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == "node_modules" {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, "_test.go") {
			text, err := os.ReadFile(path)
			for _, found := range testFunc.FindAllStringSubmatch(string(text), -1) {
				all = append(all, found[1])
			}
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "SECURITY.md", "tests/TRACK_RECORD.md"} {
		named := namedTest.FindAllStringSubmatch(readFile(t, name), -1)
		if len(named) == 0 {
			t.Errorf("%s names no test", name)
		}
		for _, n := range named {
			there := slices.ContainsFunc(all, func(test string) bool {
				return test == n[1] || n[2] != "" && strings.HasPrefix(test, n[1])
			})
			if !there {
				t.Errorf("%s names %s, which is not there", name, n[0])
			}
		}
	}
}
