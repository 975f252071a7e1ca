package webhook

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
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

const (
	testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

	long  = time.Minute           // for what must not time out
	short = 50 * time.Millisecond // for what must
)

// application returns a hook to a server that answers with handler.
func application(t *testing.T, timeout time.Duration, handler http.HandlerFunc) *Hook {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	h, err := New(server.URL+"/validate", testSecret, timeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.target.CloseIdleConnections)
	return h
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func proposal() syncer.Proposal {
	base := int64(7)
	return syncer.Proposal{Space: "home", Subject: "alice", ClientID: "laptop", Edits: []models.Edit{
		{EditID: "e1", Op: models.OpPut, Collection: "todos", ID: "t1", BaseVersion: &base, Data: []byte(`{"a": 1.50}`)},
		{EditID: "e2", Op: models.OpDelete, Collection: "todos", ID: "t2", Force: true},
	}}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	var body, method, path string
	var header http.Header
	h := application(t, long, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		body, method, path, header = string(text), r.Method, r.URL.Path, r.Header
		_, _ = io.WriteString(w, `{"rejected":[{"edit_id":"e2","detail":" it is Sunday ","pointer":"/id"}]}`)
	})
	refused, err := h.Validate(t.Context(), proposal())
	want := map[string]*models.EditError{"e2": {Code: models.CodeValidationFailed, Detail: "it is Sunday", Pointer: "/id"}}
	if diff := cmp.Diff(want, refused); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	const wantBody = `{"space":"home","subject":"alice","client_id":"laptop","edits":[` +
		`{"edit_id":"e1","op":"put","collection":"todos","id":"t1","base_version":7,"data":{"a":1.50}},` +
		`{"edit_id":"e2","op":"delete","collection":"todos","id":"t2","force":true}]}`
	if body != wantBody || method != http.MethodPost || path != "/validate" || header.Get("Content-Type") != "application/json" {
		t.Errorf("asked %s %s %v\n%s\nwant\n%s", method, path, header, body, wantBody)
	}
	sent, err := strconv.ParseInt(header.Get("Webhook-Timestamp"), 10, 64)
	if age := time.Since(time.Unix(sent, 0)); err != nil || age < -time.Minute || age > time.Minute {
		t.Errorf("webhook-timestamp %q", header.Get("Webhook-Timestamp"))
	}
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(testSecret, "whsec_"))
	sum := hmac.New(sha256.New, key)
	sum.Write([]byte(header.Get("Webhook-Id") + "." + header.Get("Webhook-Timestamp") + "." + body))
	if header.Get("Webhook-Signature") != "v1,"+base64.StdEncoding.EncodeToString(sum.Sum(nil)) || !strings.HasPrefix(header.Get("Webhook-Id"), "msg_") {
		t.Errorf("signed %v", header)
	}
	if _, ok := header["Idempotency-Key"]; ok {
		t.Error("the Idempotency-Key was sent")
	}
}

func TestValidate_noAnswer(t *testing.T) {
	t.Parallel()
	many, err := json.Marshal(map[string]any{"rejected": []any{}, "x": strings.Repeat("x", maxAnswerBytes)})
	if err != nil {
		t.Fatal(err)
	}
	for name, handler := range map[string]http.HandlerFunc{
		"nothing":         says(``),
		"no JSON":         says(`OK`),
		"another value":   says(`[]`),
		"no list":         says(`{}`),
		"null":            says(`{"rejected":null}`),
		"misspelled":      says(`{"rejects":[{"edit_id":"e1"}]}`),
		"in another case": says(`{"Rejected":[{"edit_id":"e1"}]}`),
		"beside it":       says(`{"rejected":[],"also":1}`),
		"twice":           says(`{"rejected":[{"edit_id":"e1"}],"rejected":[]}`),
		"two values":      says(`{"rejected":[]}{"rejected":[]}`),
		"an unknown edit": says(`{"rejected":[{"edit_id":"e9","detail":"no"}]}`),
		"no edit":         says(`{"rejected":[{"detail":"no"}]}`),
		"an edit twice":   says(`{"rejected":[{"edit_id":"e1"},{"edit_id":"e1"}]}`),
		"no pointer":      says(`{"rejected":[{"edit_id":"e1","pointer":"title"}]}`),
		"a long pointer":  says(`{"rejected":[{"edit_id":"e1","pointer":"/` + strings.Repeat("a", models.MaxKeyBytes) + `"}]}`),
		"a number":        says(`{"rejected":[{"edit_id":1}]}`),
		"too much":        says(string(many)),
		"without end":     func(w http.ResponseWriter, r *http.Request) { pour(w, r) },
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99")
			says(`{"rejected":[]}`)(w, nil)
		},
		"204": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"201": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			says(`{"rejected":[]}`)(w, nil)
		},
		"500": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			says(`{"rejected":[]}`)(w, nil)
		},
		"redirect":         func(w http.ResponseWriter, r *http.Request) { redirect(w, r) },
		"a hanging server": func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() },
		"a hanging body":   func(w http.ResponseWriter, r *http.Request) { hang(w, r) },
		"a cut connection": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a header too long": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 32<<10))
			says(`{"rejected":[]}`)(w, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timeout := long
			if strings.Contains(name, "hanging") {
				timeout = short
			}
			refused, err := application(t, timeout, handler).Validate(t.Context(), proposal())
			var failure *models.Error
			if !errors.As(err, &failure) || failure.Code != models.CodeUnavailable || failure.RetryAfter <= 0 || refused != nil {
				t.Errorf("got %v, %v, want %s and when to come back", refused, err, models.CodeUnavailable)
			}
		})
	}
}

// pour answers for ever.
func pour(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, strings.Repeat(" ", 4096)); err != nil {
			return
		}
	}
}

// redirect leads to where all is well.
func redirect(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/validate" {
		http.Redirect(w, r, "/well", http.StatusTemporaryRedirect)
		return
	}
	says(`{"rejected":[]}`)(w, r)
}

// hang begins an answer.
func hang(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, `{"rejected":`)
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func TestValidate_details(t *testing.T) {
	t.Parallel()
	h := application(t, long, says(`{"rejected":[{"edit_id":"e1","detail":"`+strings.Repeat("é", 2*maxDetailBytes)+`"},{"edit_id":"e2"}]}`))
	refused, err := h.Validate(t.Context(), proposal())
	if err != nil {
		t.Fatal(err)
	}
	if got := refused["e1"].Detail; len(got) > maxDetailBytes+len("…") || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("a detail of %d bytes: %.20q", len(got), got)
	}
	if refused["e2"].Detail == "" {
		t.Error("no detail")
	}
}

// A client that hangs up ends the question.
func TestValidate_canceled(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	h := application(t, long, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(asked)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := h.Validate(ctx, proposal()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the context is canceled", err)
	}
}

// While as many ask as may, others wait, but no longer than for an answer.
func TestValidate_turns(t *testing.T) {
	t.Parallel()
	asked, let := make(chan struct{}, 2), make(chan struct{})
	h := application(t, long, func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-let
		says(`{"rejected":[]}`)(w, r)
	})
	h.asking = make(chan struct{}, 1)
	first, third := make(chan error, 1), make(chan error, 1)
	go func() { _, err := h.Validate(t.Context(), proposal()); first <- err }()
	<-asked
	hasty := *h
	hasty.timeout = short
	if _, err := hasty.Validate(t.Context(), proposal()); models.CodeOf(err) != models.CodeUnavailable {
		t.Errorf("got %v", err)
	}
	if len(asked) > 0 {
		t.Error("one more was asked than may be")
	}
	go func() { _, err := h.Validate(t.Context(), proposal()); third <- err }()
	close(let)
	if err := errors.Join(<-first, <-third); err != nil {
		t.Error(err)
	}
}

// A connection that was kept, and that the application closes just then, is its right
// and no reason to fail the push.
func TestValidate_closedConnection(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // requests on two connections
	requests, connections := 0, make(map[string]bool)
	h := application(t, long, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		requests++
		connections[r.RemoteAddr] = true
		if requests == 3 {
			panic(http.ErrAbortHandler)
		}
		says(`{"rejected":[]}`)(w, r)
	})
	for range 3 {
		if _, err := h.Validate(t.Context(), proposal()); err != nil {
			t.Error(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if requests != 4 || len(connections) != 2 {
		t.Errorf("%d requests on %d connections, want 4 on 2", requests, len(connections))
	}
}
