package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/memory"
	"github.com/tidemark/tidemark/syncer/presence"
)

// A long poll must not hold up the end of the server, and gets its answer.
func TestServe_drainsLongPolls(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	settings := &Settings{DatabaseURL: "sqlite:" + filepath.Join(t.TempDir(), "x.db")}
	database, closeDatabase, err := openDatabase(t.Context(), settings, log)
	if err != nil {
		t.Fatal(err)
	}
	defer closeDatabase()
	engine := syncer.New(database, memory.New(), syncer.Options{})
	registry := presence.New(memory.New(), presence.Options{})
	waiting := make(chan struct{})
	handler, err := api.New(api.Options{Engine: engine, Presence: registry, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	server := handler.HTTPServer()
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("wait") {
			close(waiting)
		}
		handler.ServeHTTP(w, r)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, end, engine, registry, server, listener, log) }()

	url := "http://" + listener.Addr().String() + "/v1/spaces/s1/changes"
	_, page, _ := strings.Cut(ask(t, url), `"cursor":"`)
	cursor, _, _ := strings.Cut(page, `"`)
	polled := make(chan string, 1)
	go func() { polled <- ask(t, url+"?wait=25&cursor="+cursor) }()
	<-waiting
	start := time.Now()
	end()
	if err := <-ended; err != nil {
		t.Errorf("the server ended with %v", err)
	}
	if answer := <-polled; !strings.Contains(answer, `"changes":[]`) {
		t.Errorf("the poll got %q", answer)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

// ask returns the body of an answer, "" if there was none.
func ask(t *testing.T, url string) string {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}

func TestGreet(t *testing.T) {
	t.Parallel()
	const url = "http://127.0.0.1:4711"
	for name, test := range map[string]struct {
		settings      Settings
		want, wantNot []string
	}{
		"development": {Settings{}, []string{url + "/docs", "curl -s " + url + "/v1/spaces/hello/push", "No auth"}, []string{"token"}},
		"secret":      {Settings{AuthSecret: testSecret}, []string{url + "/docs", "tidemark token"}, []string{"Demo", testSecret, "No auth"}},
		"JWKS": {
			Settings{AuthJWKS: "https://u:hush@id.example/keys"},
			[]string{url + "/docs", "id.example/keys"},
			[]string{"Demo", "hush", "tidemark token"},
		},
	} {
		var out bytes.Buffer
		greet(&out, &test.settings, url)
		if first, _, _ := strings.Cut(out.String(), "\n"); first != "tidemark: listening on "+url {
			t.Errorf("%s: first line %q", name, first)
		}
		for _, want := range test.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in\n%s", name, want, out.String())
			}
		}
		for _, not := range test.wantNot {
			if strings.Contains(out.String(), not) {
				t.Errorf("%s: %q in\n%s", name, not, out.String())
			}
		}
	}
}

// On all addresses, what is to be pasted names one that can be connected to.
func TestGreet_everywhere(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://[::]:4711", "http://0.0.0.0:4711"} {
		var out bytes.Buffer
		greet(&out, &Settings{AuthSecret: testSecret}, url)
		if text := out.String(); strings.Count(text, url) != 1 || !strings.Contains(text, "http://localhost:4711/docs") {
			t.Errorf("%s:\n%s", url, text)
		}
	}
}
