package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/memory"
	"github.com/tidemark/tidemark/syncer/presence"
	"github.com/tidemark/tidemark/syncer/store"
)

const testSecret = "0123456789abcdef0123456789abcdef"

// world is a server on a fresh SQLite database, asked without a network.
type world struct {
	t      *testing.T
	server *Server
	log    *bytes.Buffer
	token  string // sent with each request, if any
}

// newWorld starts one with tokens; token names s1 and s2.
func newWorld(t *testing.T, change ...func(*Options)) *world {
	t.Helper()
	verifier, err := auth.New(t.Context(), auth.Options{Secret: testSecret})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, log: &bytes.Buffer{}}
	w.token = w.mint(map[string]string{"s1": "rw", "s2": "rw"})
	opts := Options{
		Engine:   newEngine(t, newStore(t)),
		Presence: newRegistry(t),
		Verifier: verifier,
		Logger:   slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Version:  "test",
	}
	for _, c := range change {
		c(&opts)
	}
	if w.server, err = New(opts); err != nil {
		t.Fatal(err)
	}
	return w
}

// development takes the tokens away.
func development(o *Options) { o.Verifier = nil }

func newStore(t *testing.T) syncer.Store {
	t.Helper()
	url := "sqlite:" + filepath.Join(t.TempDir(), "tidemark.db")
	m, err := store.OpenMigrator(url)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.Up(t.Context()), m.Close()); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), url, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// newEngine returns an engine that runs until the test ends.
func newEngine(t *testing.T, db syncer.Store) *syncer.Engine {
	t.Helper()
	engine := syncer.New(db, memory.New(), syncer.Options{})
	ctx, end := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = engine.Run(ctx)
	}()
	t.Cleanup(func() { end(); <-done })
	return engine
}

// newRegistry returns a registry that runs until the test ends.
func newRegistry(t *testing.T) *presence.Registry {
	t.Helper()
	registry := presence.New(nil, presence.Options{})
	ctx, end := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = registry.Run(ctx)
	}()
	t.Cleanup(func() { end(); <-done })
	return registry
}

func (w *world) mint(spaces map[string]string) string {
	w.t.Helper()
	token, err := auth.Mint(context.Background(), auth.Options{Secret: testSecret}, auth.Grant{Subject: "alice", Spaces: spaces, TTL: time.Hour})
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// answer is what a request got.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   string
}

// ask sends a request; headers are pairs of name and value, and one that is
// given twice is sent twice.
func (w *world) ask(method, target, body string, headers ...string) answer {
	w.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, reader)
	r.Host = "localhost"
	if w.token != "" {
		r.Header.Set("Authorization", "Bearer "+w.token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	set := make(map[string]bool)
	for i := 0; i < len(headers); i += 2 {
		if !set[headers[i]] {
			r.Header.Del(headers[i])
		}
		set[headers[i]] = true
		r.Header.Add(headers[i], headers[i+1])
	}
	return w.send(r)
}

func (w *world) send(r *http.Request) answer {
	recorder := httptest.NewRecorder()
	w.server.ServeHTTP(recorder, r)
	return answer{w.t, recorder.Code, recorder.Header(), recorder.Body.String()}
}

func (w *world) get(target string, headers ...string) answer {
	w.t.Helper()
	return w.ask(http.MethodGet, target, "", headers...)
}

// want holds an answer against a status and, for a problem, its code.
func (a answer) want(status int, code models.Code) answer {
	a.t.Helper()
	var got struct {
		Code      models.Code
		Status    int
		Type      string
		Title     string
		Detail    string
		RequestID string `json:"request_id"`
	}
	if a.status >= 400 {
		if err := json.Unmarshal([]byte(a.body), &got); err != nil {
			a.t.Fatalf("%d with a body that is not JSON: %v: %q", a.status, err, a.body)
		}
		if got.Status != a.status || got.Type != "/problems/"+string(got.Code) || got.Title == "" || got.Detail == "" ||
			got.RequestID != a.header.Get("X-Request-Id") || a.header.Get("Content-Type") != "application/problem+json" {
			a.t.Errorf("not a whole problem: %s %v", a.body, a.header)
		}
	}
	if a.status != status || got.Code != code {
		a.t.Errorf("got %d %s, want %d %s: %s", a.status, got.Code, status, code, a.body)
	}
	return a
}

func (a answer) wantHeader(name, value string) answer {
	a.t.Helper()
	if got := a.header.Get(name); got != value {
		a.t.Errorf("%s: %q, want %q", name, got, value)
	}
	return a
}

// member returns a top-level member of the body as JSON text.
func (a answer) member(name string) string {
	a.t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(a.body), &members); err != nil {
		a.t.Fatalf("%v: %q", err, a.body)
	}
	return string(members[name])
}

func (a answer) text(name string) string {
	a.t.Helper()
	return strings.Trim(a.member(name), `"`)
}
