package blackbox_test

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/tidemark/tidemark/tests/harness"
)

// traceCollector is an OTLP/HTTP collector that keeps what it gets.
type traceCollector struct {
	mu       sync.Mutex
	spans    []*tracepb.Span
	services map[string]bool
	text     string // all of it
}

func (r *traceCollector) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	var got tracepb.TracesData // ExportTraceServiceRequest has the same form
	if err != nil || request.URL.Path != "/v1/traces" || proto.Unmarshal(body, &got) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text += got.String()
	for _, from := range got.GetResourceSpans() {
		for _, a := range from.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				r.services[a.GetValue().GetStringValue()] = true
			}
		}
		for _, scope := range from.GetScopeSpans() {
			r.spans = append(r.spans, scope.GetSpans()...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// under returns the names of the spans right under one, and the spans.
func (r *traceCollector) under(parent []byte) (names []string, spans []*tracepb.Span) {
	for _, s := range r.spans {
		if string(s.GetParentSpanId()) == string(parent) {
			names, spans = append(names, s.GetName()), append(spans, s)
		}
	}
	return names, spans
}

// TestTrace: a push and a pull that carry a traceparent become a part of that trace, with
// the database's spans under them; who is not sampled is not told of. The spans hold no
// document, no token and no cursor, and the log's lines name the trace.
func TestTrace(t *testing.T) {
	t.Parallel()
	collector := &traceCollector{services: map[string]bool{}}
	listening := httptest.NewServer(collector)
	defer listening.Close()
	server := harness.New(t, harness.Options{
		Store: harness.Postgres, Secret: harness.Secret,
		Env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + listening.URL, "TIDEMARK_LOG_FORMAT=json"},
	})
	server.Restart()
	const pushed, pulled, unseen = "4bf92f3577b34da6a3ce929d0e0e4736", "5bf92f3577b34da6a3ce929d0e0e4736", "6bf92f3577b34da6a3ce929d0e0e4736"
	const caller = "00f067aa0ba902b7"
	token := harness.Token(harness.Claims{"sub": "alice", "spaces": harness.Claims{"room": "rw"}})
	client := server.Client(token)
	ask := func(method, path, trace, flags, body string) harness.Answer {
		headers := http.Header{"Traceparent": {"00-" + trace + "-" + caller + "-" + flags}, "Content-Type": {"application/json"}}
		answer, err := client.Do(t.Context(), method, path, headers, []byte(body))
		if err != nil || answer.Status != http.StatusOK {
			t.Fatalf("%s %s: %d %s, %v", method, path, answer.Status, answer.Body, err)
		}
		return answer
	}
	push := func(trace, flags, id string) {
		ask(http.MethodPost, "/v1/spaces/room/push", trace, flags,
			`{"client_id":"c1","edits":[{"edit_id":"`+id+`","op":"put","collection":"c","id":"`+id+`","base_version":0,"data":{"a":"hush"}}]}`)
	}
	push(unseen, "00", "e0") // the first push to a space is tried twice: it must make the space
	push(pushed, "01", "e1")
	var page harness.Page
	if err := ask(http.MethodGet, "/v1/spaces/room/changes", pulled, "01", "").Decode(&page); err != nil {
		t.Fatal(err)
	}
	push(unseen, "00", "e2")
	ask(http.MethodGet, "/v1/spaces/room/changes?cursor="+page.Cursor, pulled, "01", "")
	server.Stop() // sends the rest

	collector.mu.Lock()
	defer collector.mu.Unlock()
	if len(collector.services) != 1 || !collector.services["tidemark"] {
		t.Errorf("the services are %v, want tidemark", collector.services)
	}
	for _, s := range collector.spans {
		if id := hex.EncodeToString(s.GetTraceId()); id != pushed && id != pulled {
			t.Errorf("trace %s holds %s", id, s.GetName())
		}
	}
	for _, secret := range []string{"hush", token, page.Cursor} {
		if strings.Contains(collector.text, secret) {
			t.Errorf("the spans hold %q", secret)
		}
	}
	parent, _ := hex.DecodeString(caller)
	names, requests := collector.under(parent)
	slices.Sort(names)
	if want := []string{"GET /v1/spaces/:space/changes", "GET /v1/spaces/:space/changes", "POST /v1/spaces/:space/push"}; !slices.Equal(names, want) {
		t.Fatalf("under the caller's span are %q, want %q", names, want)
	}
	reads := 0
	for _, request := range requests {
		names, spans := collector.under(request.GetSpanId())
		switch hex.EncodeToString(request.GetTraceId()) {
		case pushed:
			if want := []string{"push commit", "push queue"}; !slices.Equal(sorted(names), want) {
				t.Errorf("a push has the spans %q, want %q", names, want)
			}
			for _, s := range spans {
				if statements, _ := collector.under(s.GetSpanId()); (s.GetName() == "push commit") != (len(statements) > 0) {
					t.Errorf("under %s are %q", s.GetName(), statements)
				}
			}
		case pulled:
			for _, s := range spans {
				reads++
				if statements, _ := collector.under(s.GetSpanId()); s.GetName() != "pull read" || len(statements) == 0 {
					t.Errorf("a pull has the span %s, and under it %q", s.GetName(), statements)
				}
			}
		}
	}
	if reads == 0 {
		t.Error("no pull has read the database") // the first of a space does
	}
	for _, want := range []string{`"trace_id":"` + pushed + `"`, `"trace_id":"` + pulled + `"`} {
		if !strings.Contains(server.Log(), want) {
			t.Errorf("the log has no line with %s", want)
		}
	}
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

// TestTrace_settings: what can't work is refused at the start, and a collector that is
// away holds up nobody.
func TestTrace_settings(t *testing.T) {
	t.Parallel()
	server := harness.New(t, harness.Options{Store: harness.SQLite, Env: []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
	}})
	if _, stderr, err := server.Run(t.Context(), "serve"); err == nil || !strings.Contains(stderr, "http/protobuf only") {
		t.Errorf("grpc: %v, %q", err, stderr)
	}
	away := harness.Start(t, harness.Options{Store: harness.SQLite, Env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"}})
	mustPush(t, away.Client(""), "room", put("e", "d", 0, `{}`))
	away.Stop() // expects the exit code 0
}
