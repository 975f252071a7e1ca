package api

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/memory"
)

// brokenStore fails as a test wants.
type brokenStore struct {
	syncer.Store
	err error
}

func (s brokenStore) Ping(context.Context) error { return s.err }

func (s brokenStore) Heads(context.Context, []string) ([]models.Space, error) { return nil, s.err }

func (s brokenStore) Document(context.Context, string, syncer.Key) (*models.Document, error) {
	panic(s.err)
}

func withBrokenStore(err error) func(*Options) {
	return func(o *Options) { o.Engine = syncer.New(brokenStore{err: err}, memory.New(), syncer.Options{}) }
}

func TestProblem_internalSaysNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withBrokenStore(errors.New("secret driver text")), behindProxy)
	for _, target := range []string{"/v1/heads", "/v1/spaces/s1/documents/c/d"} {
		got := w.get(target, "X-Request-Id", "req-1").want(http.StatusInternalServerError, models.CodeInternal)
		if strings.Contains(got.body, "secret") {
			t.Errorf("%s tells what only the log should know: %s", target, got.body)
		}
	}
	log := w.log.String()
	if strings.Count(log, "request failed") != 2 || strings.Count(log, "secret driver text") != 2 || !strings.Contains(log, "request_id=req-1") {
		t.Errorf("the log does not have each fault once:\n%s", log)
	}
}

func TestProblem_unavailable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withBrokenStore(&models.Error{Code: models.CodeUnavailable, Detail: "The database is away.", Err: errors.New("secret")}))
	got := w.get("/v1/heads").want(http.StatusServiceUnavailable, models.CodeUnavailable).wantHeader("Retry-After", "1")
	if strings.Contains(got.body, "secret") {
		t.Errorf("%s", got.body)
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	broken := newWorld(t, withBrokenStore(errors.New("away")))
	broken.get("/readyz").want(http.StatusServiceUnavailable, models.CodeUnavailable)
	broken.get("/healthz").want(http.StatusOK, "")

	w := newReady(t)
	w.server.engine.Drain()
	w.get("/readyz").want(http.StatusServiceUnavailable, models.CodeUnavailable)
	w.get("/healthz").want(http.StatusOK, "")
}

// Who leaves says so, and goes on answering.
func TestReady_leaving(t *testing.T) {
	t.Parallel()
	w := newReady(t)
	w.server.Leave()
	w.server.Leave() // once is enough, twice is fine
	got := w.get("/readyz").want(http.StatusServiceUnavailable, models.CodeUnavailable)
	if !strings.Contains(got.body, "shutting down") {
		t.Errorf("it does not say why: %s", got.body)
	}
	if log := w.log.String(); strings.Contains(log, "request failed") {
		t.Errorf("that it leaves is logged as a fault:\n%s", log)
	}
	w.get(feed).want(http.StatusOK, "")
	w.ask(http.MethodPut, todo, `{}`, "If-None-Match", "*").want(http.StatusCreated, "")
}

// newReady returns a world once it is ready.
func newReady(t *testing.T, change ...func(*Options)) *world {
	t.Helper()
	w := newWorld(t, change...)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patient); w.get("/readyz").status != http.StatusOK; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the server does not become ready")
		}
	}
	return w
}

// Every code of package models has a kind, a page, and a line in openapi.yaml.
func TestProblem_everyCode(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../models/errors.go")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.token = ""
	codes := make(map[models.Code]bool)
	for _, m := range regexp.MustCompile(`(?m)^\tCode\w+\s+Code\s+=\s+"([a-z_]+)"`).FindAllSubmatch(source, -1) {
		codes[models.Code(m[1])] = true
	}
	if len(codes) != len(kinds) {
		t.Errorf("%d codes, %d kinds", len(codes), len(kinds))
	}
	for code := range codes {
		k, ok := kinds[code]
		if !ok || k.title == "" || k.meaning == "" || k.remedy == "" || k.status != 0 && http.StatusText(k.status) == "" {
			t.Errorf("%s: kind %+v", code, k)
		}
		got := w.get("/problems/"+string(code)).want(http.StatusOK, "")
		if !strings.HasPrefix(got.body, string(code)+" (") {
			t.Errorf("the page of %s: %s", code, got.body)
		}
		if !bytes.Contains(spec, []byte("- `"+code+"`")) {
			t.Errorf("openapi.yaml does not explain %s", code)
		}
	}
	w.get("/problems/nonsense").want(http.StatusNotFound, models.CodeNotFound)
	w.get("/problems/"+strings.Repeat("%80", 70)).want(http.StatusNotFound, models.CodeNotFound) // no UTF-8, and cut
	w.get("/problems/internal/x").want(http.StatusNotFound, models.CodeNotFound)
	w.get("/problems/"+strings.Repeat("x", 5000)).want(http.StatusNotFound, models.CodeNotFound)
}

// behindProxy trusts who asks.
func behindProxy(o *Options) {
	o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // httptest's peer is in there
}

// Clients choose no id: somebody who took another's would hide in his lines.
func TestRequestID_ofClients(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]*world{
		"no proxy": newWorld(t),
		"another proxy": newWorld(t, func(o *Options) {
			o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		}),
	} {
		if id := w.get("/healthz", "X-Request-Id", "chosen").header.Get("X-Request-Id"); id == "" || id == "chosen" {
			t.Errorf("%s: got %q", name, id)
		}
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, behindProxy)
	w.get("/healthz", "X-Request-Id", "Abc-1.2_3").wantHeader("X-Request-Id", "Abc-1.2_3")
	seen := make(map[string]bool)
	for _, bad := range []string{"", "a b", "a\tb", "é", `"`, strings.Repeat("a", 65)} {
		id := w.get("/healthz", "X-Request-Id", bad).header.Get("X-Request-Id")
		if !saneRequestID.MatchString(id) || id == bad || seen[id] {
			t.Errorf("%q: got %q", bad, id)
		}
		seen[id] = true
	}
}

func TestLog_holdsNoSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ask(http.MethodPut, todo, `{"a":"content"}`, "If-None-Match", "*").want(http.StatusCreated, "")
	w.get(feed + "?cursor=cursor-of-mine")
	w.get("/v1/spaces/s1/changes", "Authorization", "Bearer wrong-token")
	w.ask(http.MethodPut, todo, `{"a":"content"`, "If-Match", "*").want(http.StatusBadRequest, models.CodeMalformedJSON)
	log := w.log.String()
	for _, secret := range []string{w.token, "wrong-token", "content", "cursor-of-mine"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q:\n%s", secret, log)
		}
	}
	if n := strings.Count(log, "msg=request "); n != 4 {
		t.Errorf("%d lines for 4 requests:\n%s", n, log)
	}
	if !strings.Contains(log, "subject=alice") || !strings.Contains(log, "status=201") {
		t.Errorf("%s", log)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.token = ""
	got := w.get("/v1/config").want(http.StatusOK, "")
	if got.member("versions") != `{"server":"test","api":"v1"}` || !strings.Contains(got.body, `"push_edits":200`) {
		t.Errorf("%s", got.body)
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := feed + "?collections="
	w.get(at+strings.Repeat("a", models.MaxURLBytes-len(at))).want(http.StatusBadRequest, models.CodeInvalidRequest)
	w.get(at+strings.Repeat("a", models.MaxURLBytes-len(at)+1)).want(http.StatusRequestURITooLong, models.CodeURITooLong)
}

// The headers of answers are these and no others: what is not there costs nothing and
// tells nothing, as Server would.
func TestHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, behindProxy)
	w.ask(http.MethodPut, todo, `{}`, "If-None-Match", "*")
	page := w.get(feed)
	here := strings.Trim(page.header.Get("Etag"), `"`)
	common := map[string]string{"X-Content-Type-Options": "nosniff", "X-Request-Id": "r", "Cache-Control": "private, no-store", "Vary": "Authorization"}
	for _, test := range []struct {
		got   answer
		added map[string]string
	}{
		{w.get(feed+"?cursor="+here, "If-None-Match", page.header.Get("Etag"), "X-Request-Id", "r").want(http.StatusNotModified, ""), map[string]string{"Etag": page.header.Get("Etag")}},
		{w.get("/v1/config", "X-Request-Id", "r"), map[string]string{"Content-Type": "application/json"}},
		{w.get("/v1/spaces/s3/changes", "X-Request-Id", "r").want(http.StatusNotFound, models.CodeSpaceNotFound), map[string]string{"Content-Type": "application/problem+json"}},
	} {
		want := maps.Clone(common)
		maps.Copy(want, test.added)
		got := make(map[string]string)
		for name, values := range test.got.header {
			got[name] = strings.Join(values, ", ")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("headers (-want +got):\n%s", diff)
		}
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, development)
	for target, media := range map[string]string{
		"/":                    "text/html; charset=utf-8",
		"/example":             "text/html; charset=utf-8",
		"/gallery/":            "text/html; charset=utf-8",
		"/gallery/list":        "text/html; charset=utf-8",
		"/gallery/list.js":     "text/javascript; charset=utf-8",
		"/gallery/bridge.mjs":  "text/javascript; charset=utf-8",
		"/gallery/cron.sh":     "text/plain; charset=utf-8",
		"/gallery/gallery.css": "text/css; charset=utf-8",
		"/assets/yjs.js":       "text/javascript; charset=utf-8",
		"/demo.js":             "text/javascript; charset=utf-8",
		"/demo.css":            "text/css; charset=utf-8",
		"/favicon.svg":         "image/svg+xml",
		"/favicon.ico":         "image/svg+xml",
		"/docs":                "text/html; charset=utf-8",
		"/assets/docs.js":      "text/javascript; charset=utf-8",
		"/assets/scalar.js":    "text/javascript; charset=utf-8",
		"/openapi.yaml":        "application/yaml",
		"/tidemark.js":         "text/javascript; charset=utf-8",
		"/tidemark.js.map":     "application/json",
		"/tidemark.d.ts":       "text/plain; charset=utf-8",
	} {
		got := w.get(target).want(http.StatusOK, "").wantHeader("Content-Type", media).
			wantHeader("Cache-Control", "no-cache").wantHeader("X-Content-Type-Options", "nosniff")
		got.wantHeader("Referrer-Policy", "no-referrer")
		policy, opener := got.header.Get("Content-Security-Policy"), got.header.Get("Cross-Origin-Opener-Policy")
		if !strings.HasPrefix(media, "text/html") {
			if policy != "" || opener != "" {
				t.Errorf("%s: policy %q, opener %q", target, policy, opener)
			}
		} else if opener != "same-origin" || !strings.HasPrefix(policy, "default-src 'self'; ") || !strings.Contains(policy, "frame-ancestors 'none'") ||
			!strings.Contains(policy, "base-uri 'none'") || !strings.Contains(policy, "form-action ") || strings.Contains(policy, "unsafe-eval") || strings.Contains(policy, "*") {
			t.Errorf("%s: policy %q, opener %q", target, policy, opener)
		}
		again := w.get(target, "If-None-Match", got.header.Get("Etag")).want(http.StatusNotModified, "")
		if got.body == "" || again.body != "" {
			t.Errorf("%s: %d bytes, and again %d", target, len(got.body), len(again.body))
		}
	}
	// The one page that asks another server, of this machine.
	bridge := w.get("/gallery/socketio").want(http.StatusOK, "").header.Get("Content-Security-Policy")
	if want := ownOnly + "; connect-src 'self' http://localhost:* ws://localhost:* http://127.0.0.1:* ws://127.0.0.1:*"; bridge != want {
		t.Errorf("the policy of the bridge's page: %q, want %q", bridge, want)
	}
	plain := w.get("/assets/scalar.js").wantHeader("Content-Encoding", "")
	packed := w.get("/assets/scalar.js", "Accept-Encoding", "br, gzip").wantHeader("Content-Encoding", "gzip")
	if unpacked, err := inflate([]byte(packed.body)); err != nil || string(unpacked) != plain.body {
		t.Errorf("the two forms differ: %v", err)
	}
	for _, target := range []string{
		"/assets/nonsense.js", "/assets/index.html", "/assets/scalar.js.gz", "/assets/..%2fdemo.js", "/assets/gallery%2flist.js", "/assets/%00", "/assets/",
		"/gallery/nonsense", "/gallery/..%2findex.html", "/gallery/list/", "/gallery/%00",
	} {
		w.get(target).want(http.StatusNotFound, models.CodeNotFound)
	}

	// With tokens there is no demo, and no hint of one.
	private := newWorld(t)
	private.token = ""
	for _, target := range []string{"/", "/demo.js", "/demo.css", "/example", "/gallery", "/gallery/", "/gallery/list", "/gallery/list.js"} {
		private.get(target).want(http.StatusNotFound, models.CodeNotFound)
	}
}

func TestPanic_afterTheAnswerBegan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Logger = slog.New(slog.DiscardHandler) })
	w.server.echo.GET("/test", func(c echo.Context) error {
		_ = c.String(http.StatusOK, "begun")
		panic("late")
	})
	if got := w.get("/test"); got.body != "begun" {
		t.Errorf("an answer that had begun was added to: %q", got.body)
	}
}
