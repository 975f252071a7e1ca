package blackbox_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/tests/harness"
)

const (
	validationSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

	// Rules for the collection c, first and later.
	looseSchema = `{"properties": {"title": {"type": "string"}}}`
	noteSchema  = `{"required": ["title"], "properties": {"title": {"type": "string", "maxLength": 5}}}`
)

// schemas makes a folder with a schema for the collection c.
func schemas(t *testing.T, text string) string {
	t.Helper()
	folder := t.TempDir()
	replaceSchema(t, folder, text)
	return folder
}

func replaceSchema(t *testing.T, folder, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, "c.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// application is a program that is asked about edits. Unless a test says otherwise
// it allows everything.
type application struct {
	*httptest.Server
	t *testing.T

	mu     sync.Mutex
	asked  []string // edit_id
	answer http.HandlerFunc
}

func newApplication(t *testing.T) *application {
	a := &application{t: t}
	a.Server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	return a
}

// settings are those of a server that asks a.
func (a *application) settings(store harness.Store, timeout string) harness.Options {
	return harness.Options{
		Store: store,
		Args:  []string{"--validation-url", a.URL, "--validation-timeout", timeout},
		Env:   []string{"TIDEMARK_VALIDATION_SECRET=" + validationSecret},
	}
}

func (a *application) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // who asked is gone
	}
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(validationSecret, "whsec_"))
	sum := hmac.New(sha256.New, key)
	sum.Write([]byte(r.Header.Get("Webhook-Id") + "." + r.Header.Get("Webhook-Timestamp") + "." + string(body)))
	if r.Header.Get("Webhook-Signature") != "v1,"+base64.StdEncoding.EncodeToString(sum.Sum(nil)) {
		a.t.Errorf("a question is not signed: %v", r.Header)
	}
	var question struct {
		Edits []struct {
			EditID string `json:"edit_id"`
		} `json:"edits"`
	}
	if err := json.Unmarshal(body, &question); err != nil {
		a.t.Errorf("asked %s: %v", body, err)
	}
	a.mu.Lock()
	for _, e := range question.Edits {
		a.asked = append(a.asked, e.EditID)
	}
	answer := a.answer
	a.mu.Unlock()
	if answer == nil {
		answer = says(`{"rejected":[]}`)
	}
	answer(w, r)
}

func (a *application) answers(with http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = with
}

// refuses makes a refuse edits.
func (a *application) refuses(editIDs ...string) {
	rejected := []map[string]string{}
	for _, id := range editIDs {
		rejected = append(rejected, map[string]string{"edit_id": id, "detail": "closed", "pointer": "/data/title"})
	}
	text, err := json.Marshal(map[string]any{"rejected": rejected})
	if err != nil {
		a.t.Fatal(err)
	}
	a.answers(says(string(text)))
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

// fates says each result in a few words.
func fates(answer harness.PushAnswer) []string {
	list := make([]string, len(answer.Results))
	for i, r := range answer.Results {
		list[i] = r.EditID + " " + r.Status
		if r.Error != nil {
			list[i] += " " + r.Error.Code + " " + r.Error.Pointer
		}
		if r.Replayed {
			list[i] += " replayed"
		}
	}
	return list
}

func wantFates(t *testing.T, client *harness.Client, space string, push harness.Push, want ...string) harness.PushAnswer {
	t.Helper()
	push.ClientID = "c1"
	answer, err := client.Push(t.Context(), space, push)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, fates(answer)); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	return answer
}

func patched(editID, id string, base int64, data string) harness.Edit {
	e := put(editID, id, base, data)
	e.Op = "patch"
	return e
}

func TestServe_schemas(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		folder := schemas(t, looseSchema)
		server := harness.Start(t, harness.Options{Store: store, Args: []string{"--schemas", folder}})
		client := server.Client("")
		old := mustPush(t, client, "home", put("old", "old", 0, `{"title":"from before"}`)).Version
		server.Stop()
		replaceSchema(t, folder, noteSchema)
		server.Restart()

		answer := wantFates(t, client, "home", harness.Push{Edits: []harness.Edit{
			put("e1", "d1", 0, `{"title":"Milk"}`),
			put("e2", "d2", 0, `{"title":"Milk and bread"}`),
			put("e3", "d3", 0, `{}`),
			patched("e4", "old", old, `{"done":true}`),
			patched("e5", "old", old, `{"title":"short","done":true}`),
			{EditID: "e6", Op: "put", Collection: "others", ID: "d", BaseVersion: harness.At(0), Data: []byte(`{}`)},
		}},
			"e1 applied",
			"e2 rejected schema_violation /data/title",
			"e3 rejected schema_violation /data",
			"e4 rejected schema_violation /data/title",
			"e5 applied",
			"e6 applied",
		)
		if places := answer.Results[1].Error.Errors; len(places) != 1 || places[0].Pointer != "/data/title" || places[0].Detail == "" {
			t.Errorf("errors %+v", places)
		}
		// It was applied when there was no such rule.
		wantFates(t, client, "home", harness.Push{Edits: []harness.Edit{put("old", "old", 0, `{"title":"from before"}`)}}, "old applied replayed")
		wantFates(t, client, "home", harness.Push{Atomic: true, Edits: []harness.Edit{
			put("a1", "a1", 0, `{"title":"a"}`), patched("a2", "d1", answer.Version, `{"title":null}`),
		}}, "a1 skipped", "a2 rejected schema_violation /data")

		found, err := client.Do(t.Context(), http.MethodPut, "/v1/spaces/home/documents/c/d1",
			http.Header{"Content-Type": {"application/json"}, "If-Match": {"*"}}, []byte(`{"title":1}`))
		if err != nil {
			t.Fatal(err)
		}
		problem := found.Problem()
		if found.Status != http.StatusUnprocessableEntity || problem.Code != "schema_violation" || len(problem.Errors) != 1 || problem.Errors[0].Pointer != "/title" {
			t.Errorf("answered %d %+v", found.Status, problem)
		}

		script(t, server.DatabaseURL(), `
			INSERT INTO inbox (space, collection, id, op, data) VALUES ('home', 'c', 'row', 'put', '{"title": "too long"}');
			INSERT INTO inbox (space, collection, id, op, data) VALUES ('home', 'c', 'row', 'put', '{"title": "fits"}');`)
		changes := pullAll(t, client, "home", awaitDocument(t, client, "home", "row"))
		if got := string(changes["row"].Data); !strings.Contains(got, "fits") {
			t.Errorf("the row is %s", got)
		}
		var code, pointer string
		if err := openSQL(t, server.DatabaseURL()).QueryRowContext(t.Context(), `SELECT code, pointer FROM inbox_rejected`).Scan(&code, &pointer); err != nil || code != "schema_violation" || pointer != "/data/title" {
			t.Errorf("rejected row: %s %s %v", code, pointer, err)
		}
		if got := string(changes["d1"].Data); got != `{"title":"Milk"}` || len(changes) != 4 {
			t.Errorf("the space holds %+v", changes)
		}
	})
}

// awaitDocument waits until a document is there, and returns the head then.
func awaitDocument(t *testing.T, client *harness.Client, space, id string) int64 {
	t.Helper()
	pull := harness.Pull{Wait: 10}
	for range 100 {
		page, err := client.Pull(t.Context(), space, pull)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(page.Changes, func(c harness.Change) bool { return c.ID == id }) {
			return page.Version
		}
		pull.Cursor = page.Cursor
	}
	t.Fatalf("no %s has come", id)
	return 0
}

// A token is narrowed from its making to what it is shown.
func TestServe_narrowedToken(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, harness.Options{Store: store, Secret: harness.Secret})
		client := func(access string) *harness.Client {
			token, stderr, err := server.Run(t.Context(), "token", "--subject", "alice", "--space", "home="+access)
			if err != nil {
				t.Fatalf("%v: %s", err, stderr)
			}
			return server.Client(strings.TrimSpace(token))
		}
		wide, narrow := client("rw"), client("rw:notes,todos")
		secret, todo := put("e1", "secret", 0, `{}`), put("e2", "todo", 0, `{}`)
		todo.Collection = "todos"
		mustPush(t, wide, "home", secret)
		answer := wantFates(t, narrow, "home", harness.Push{Cursor: new(string), Edits: []harness.Edit{todo, forced("e3", "secret", `{"mine":true}`)}},
			"e2 applied", "e3 rejected collection_forbidden /collection")
		if len(answer.Changes) != 1 || answer.Changes[0].ID != "todo" {
			t.Errorf("the page shows %+v", answer.Changes)
		}
		page, err := narrow.Pull(t.Context(), "home", harness.Pull{})
		if err != nil || len(page.Changes) != 1 || page.Changes[0].ID != "todo" {
			t.Errorf("shown %+v, %v", page.Changes, err)
		}
		var problem *harness.Problem
		if _, err := narrow.Pull(t.Context(), "home", harness.Pull{Collections: []string{"c"}}); !errors.As(err, &problem) || problem.Code != "forbidden" {
			t.Errorf("another collection: %v", err)
		}
		if _, err := client("rw:todos").Pull(t.Context(), "home", harness.Pull{Cursor: page.Cursor}); !errors.As(err, &problem) || problem.Cause != "filter" {
			t.Errorf("a cursor of another token: %v", err)
		}
		if changes := pullAll(t, wide, "home", page.Version); len(changes) != 2 || string(changes["secret"].Data) != `{}` {
			t.Errorf("the space holds %+v", changes)
		}
	})
}

func TestServe_validationURL(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		app := newApplication(t)
		server := harness.Start(t, app.settings(store, "20s"))
		client := server.Client("")
		app.refuses("e2")
		wantFates(t, client, "home", harness.Push{Edits: []harness.Edit{
			put("e1", "d1", 0, `{"title":"Milk"}`),
			put("e2", "d2", 0, `{"title":"Bread"}`),
			put("bad", "d3", 0, `{"a":1,"a":2}`),
		}}, "e1 applied", "e2 rejected validation_failed /data/title", "bad rejected duplicate_key /data/a")
		app.mu.Lock()
		if diff := cmp.Diff([]string{"e1", "e2"}, app.asked); diff != "" {
			t.Errorf("asked about (-want +got):\n%s", diff)
		}
		app.mu.Unlock()

		// The answer was lost, and the application has changed its mind since.
		app.refuses("e1", "e4")
		wantFates(t, client, "home", harness.Push{Edits: []harness.Edit{put("e1", "d1", 0, `{"title":"Milk"}`), put("e4", "d4", 0, `{}`)}},
			"e1 applied replayed", "e4 rejected validation_failed /data/title")
		// And may change it again: nothing is remembered.
		app.refuses()
		wantFates(t, client, "home", harness.Push{Edits: []harness.Edit{put("e4", "d4", 0, `{}`)}}, "e4 applied")

		app.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
		script(t, server.DatabaseURL(), `INSERT INTO inbox (space, collection, id, op, data) VALUES ('home', 'c', 'row', 'put', '{}');`)
		awaitDocument(t, client, "home", "row") // nobody is asked about it
	})
}

// Whatever is wrong with the application: nothing is applied, the client is told to
// come back, and once all is well the same push goes through.
func TestServe_validationURLFails(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]http.HandlerFunc{
		"hanging":     func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"dripping":    drip,
		"garbage":     says(`<html>`),
		"another one": says(`{"rejected":[{"edit_id":"of somebody else","detail":"no"}]}`),
		"failing":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"redirecting": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusPermanentRedirect)
		},
		"endless": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.CopyN(w, spaces{}, 64<<20) },
		"cut":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newApplication(t)
			timeout := "20s"
			if name == "hanging" || name == "dripping" {
				timeout = "200ms"
			}
			server := harness.Start(t, app.settings(harness.SQLite, timeout))
			client := server.Client("")
			push := harness.Push{ClientID: "c1", Edits: []harness.Edit{put("e1", "d1", 0, `{}`), put("bad", "d2", 0, `{"a":1,"a":2}`)}}
			app.answers(broken)
			_, err := client.Push(t.Context(), "home", push)
			var problem *harness.Problem
			if !errors.As(err, &problem) || problem.Code != "unavailable" || problem.RetryAfter == "" {
				t.Fatalf("got %v, want 503 unavailable and when to come back", err)
			}
			if page, err := client.Pull(t.Context(), "home", harness.Pull{}); err != nil || len(page.Changes) > 0 {
				t.Errorf("something was applied: %+v, %v", page.Changes, err)
			}
			app.refuses()
			// On a slow machine a short time may be too short for a good answer as well.
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			answer, _, err := pushUntilAnswered(ctx, client, "home", push)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"e1 applied", "bad rejected duplicate_key /data/a"}, fates(answer)); diff != "" {
				t.Errorf("results (-want +got):\n%s", diff)
			}
		})
	}
}

// drip answers a byte at a time.
func drip(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_, _ = w.Write([]byte(" "))
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// spaces is a stream of nothing but spaces.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
