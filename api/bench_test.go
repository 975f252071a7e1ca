package api

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/memory"
)

// quietStore is a store with one space in which nothing happens.
type quietStore struct{ syncer.Store }

func (quietStore) Changes(context.Context, string, syncer.Range) (syncer.Run, error) {
	const head = 1795434214444013
	return syncer.Run{Space: models.Space{ID: "s1", Head: head, Epoch: 1, PastEpochs: "[]"}, Through: head}, nil
}

// sink is a connection that only counts.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkIdlePoll is what a poll that brings nothing costs in this package and
// the engine, beside a handler that only writes two bytes. The log goes where
// nobody reads it, but its lines are made.
func BenchmarkIdlePoll(b *testing.B) {
	verifier, err := auth.New(b.Context(), auth.Options{Secret: testSecret})
	if err != nil {
		b.Fatal(err)
	}
	grant := auth.Grant{Subject: "alice", Spaces: map[string]string{"s1": "rw"}, TTL: time.Hour}
	token, err := auth.Mint(b.Context(), auth.Options{Secret: testSecret}, grant)
	if err != nil {
		b.Fatal(err)
	}
	newServer := func(level slog.Level) http.Handler {
		s, err := New(Options{
			Engine:    syncer.New(quietStore{}, memory.New(), syncer.Options{}),
			Verifier:  verifier,
			RateLimit: 1 << 30,                                                                       // counted, and never reached
			Logger:    slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: level})), //nolint:sloglint // a line costs what a line costs
		})
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })
	request := func(query string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/v1/spaces/s1/changes"+query, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		return r
	}
	snapshot := httptest.NewRecorder()
	newServer(slog.LevelWarn).ServeHTTP(snapshot, request(""))
	again := request("?cursor=" + snapshot.Header().Get("ETag")[1:len(snapshot.Header().Get("ETag"))-1])
	again.Header.Set("If-None-Match", snapshot.Header().Get("ETag"))

	for _, bench := range []struct {
		name    string
		handler http.Handler
		want    int
	}{
		{"bare", bare, 0},
		{"quiet log", newServer(slog.LevelWarn), http.StatusNotModified},
		{"log", newServer(slog.LevelInfo), http.StatusNotModified},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := sink{header: make(http.Header, 8)}
				bench.handler.ServeHTTP(&w, again)
				if w.status != bench.want {
					b.Fatal(w.status)
				}
			}
		})
	}
}
