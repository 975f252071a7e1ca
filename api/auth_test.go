package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/models"
)

func TestAuth_header(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := w.token
	w.token = ""
	const target = "/v1/spaces/s1/changes"
	for _, test := range []struct {
		name      string
		headers   []string
		status    int
		challenge string
	}{
		{"good", []string{"Bearer " + good}, 200, ""},
		{"scheme in another case", []string{"bEARER " + good}, 200, ""},
		{"none", nil, 401, `Bearer realm="tidemark"`},
		{"empty", []string{""}, 401, `Bearer realm="tidemark"`},
		{"no token", []string{"Bearer "}, 401, `Bearer realm="tidemark", error="invalid_token"`},
		{"another scheme", []string{"Basic YTpi"}, 401, `Bearer realm="tidemark"`},
		{"two spaces", []string{"Bearer  " + good}, 401, `Bearer realm="tidemark", error="invalid_token"`},
		{"rubbish", []string{"Bearer abc"}, 401, `Bearer realm="tidemark", error="invalid_token"`},
		{"too long", []string{"Bearer " + strings.Repeat("a", models.MaxTokenBytes+1)}, 401, `Bearer realm="tidemark", error="invalid_token"`},
		{"two headers", []string{"Bearer " + good, "Bearer " + good}, 400, `Bearer realm="tidemark", error="invalid_request"`},
		{"two in one header", []string{"Bearer a, Bearer b"}, 400, `Bearer realm="tidemark", error="invalid_request"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var headers []string
			for _, h := range test.headers {
				headers = append(headers, "Authorization", h)
			}
			code := map[int]models.Code{200: "", 400: models.CodeInvalidRequest, 401: models.CodeUnauthenticated}[test.status]
			w.get(target, headers...).want(test.status, code).wantHeader("Www-Authenticate", test.challenge)
		})
	}
	w.get(target+"?access_token="+good).want(http.StatusUnauthorized, models.CodeUnauthenticated)
}

func TestAuth_spaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ask(http.MethodPut, "/v1/spaces/s1/documents/c/d", `{"secret":"marker"}`, "If-None-Match", "*").want(http.StatusCreated, "")
	w.token = w.mint(map[string]string{"s1": "r", "s2": "rw", "news-*": "r"})
	push := pushOf(put)

	w.get("/v1/spaces/s1/changes").want(http.StatusOK, "")
	w.get("/v1/spaces/news-today/changes").want(http.StatusOK, "")
	for _, target := range []string{"/v1/spaces/s1/push", "/v1/spaces/news-today/push"} {
		w.ask(http.MethodPost, target, push).want(http.StatusForbidden, models.CodeForbidden).
			wantHeader("Www-Authenticate", `Bearer realm="tidemark", error="insufficient_scope"`)
	}
	for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodDelete} {
		w.ask(method, "/v1/spaces/s1/documents/c/d", `{}`, "If-Match", "*").want(http.StatusForbidden, models.CodeForbidden)
	}

	w.token = w.mint(map[string]string{"s2": "rw"})
	for _, space := range []string{"s1", "never", "S2", "..", "a%20b", strings.Repeat("a", 64)} {
		w.get("/v1/spaces/"+space+"/changes").want(http.StatusNotFound, models.CodeSpaceNotFound)
		w.ask(http.MethodPost, "/v1/spaces/"+space+"/push", push).want(http.StatusNotFound, models.CodeSpaceNotFound)
		w.get("/v1/heads?space=s2&space="+space).want(http.StatusNotFound, models.CodeSpaceNotFound)
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			got := w.ask(method, "/v1/spaces/"+space+"/documents/c/d", `{}`, "If-Match", "*").want(http.StatusNotFound, models.CodeSpaceNotFound)
			if strings.Contains(got.body, "marker") {
				t.Errorf("%s of %s tells what is there: %s", method, space, got.body)
			}
		}
	}

	// A token for all spaces reaches the check of the name.
	w.token = w.mint(map[string]string{"*": "rw"})
	w.get("/v1/spaces/a%20b/changes").want(http.StatusBadRequest, models.CodeInvalidSpace)
	w.get("/v1/heads?space=").want(http.StatusBadRequest, models.CodeInvalidSpace)
}

func TestAuth_cursorOfAnotherSpace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cursor := w.get("/v1/spaces/s1/changes").want(http.StatusOK, "").text("cursor")
	w.get("/v1/spaces/s2/changes?cursor="+cursor).want(http.StatusBadRequest, models.CodeInvalidCursor)
}

func TestDevelopment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, development)
	w.token = ""
	got := w.ask(http.MethodPut, "/v1/spaces/any/documents/c/d", `{}`, "If-None-Match", "*").want(http.StatusCreated, "")
	if got.text("updated_by") != "anonymous" {
		t.Errorf("updated_by %s", got.text("updated_by"))
	}
	w.get("/v1/spaces/a%20b/changes").want(http.StatusBadRequest, models.CodeInvalidSpace)
	w.get("/v1/heads").want(http.StatusBadRequest, models.CodeInvalidRequest)
	w.get("/").want(http.StatusOK, "").wantHeader("Content-Type", "text/html; charset=utf-8")
	w.get("/demo.js").want(http.StatusOK, "")
	w.get("/metrics").want(http.StatusOK, "")
	// Headers that mean nothing here do no harm.
	w.get("/v1/spaces/any/changes", "Authorization", "Bearer x").want(http.StatusOK, "")
}

// A web page that points its own name at 127.0.0.1 must not read along.
func TestDevelopment_onlyForLoopbackNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, development)
	for host, ok := range map[string]bool{
		"localhost": true, "localhost:8080": true, "LOCALHOST": true, "127.0.0.1:8080": true, "127.1.2.3": true, "[::1]:8080": true, "[::1]": true,
		"evil.example": false, "evil.example:8080": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false,
		"192.168.0.1": false, "0.0.0.0:8080": false, "[::]:8080": false, "": false,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/config", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		if got := w.send(r); ok != (got.status == http.StatusOK) {
			t.Errorf("%q: %d", host, got.status)
		}
	}
}

// Pages of other sites must not write, nor have anything done for them, also by what
// browsers send without asking first.
func TestDevelopment_onlyForKnownPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, development, func(o *Options) { o.CORSOrigins = []string{"https://app.example"} })
	w.token = ""
	const at = "/v1/spaces/any/documents/c/"
	for origin, ok := range map[string]bool{
		"http://localhost:8080": true, "http://127.0.0.1:8080": true, "http://[::1]:8080": true, "http://localhost": true,
		"http://localhost:5173": true, "https://localhost:3000": true, "https://app.example": true,
		"https://evil.example": false, "http://app.example": false, "https://app.example:8443": false, "null": false, "": false,
		"http://localhost.evil.example": false, "http://127.0.0.1.evil.example": false, "http://localhost@evil.example": false,
		"http://localhost:80@evil.example": false, "http://192.168.0.1:8080": false, "http://0.0.0.0:8080": false,
		"file://localhost": false, "chrome-extension://localhost": false, "localhost:8080": false, "http://localhost:8080/": false,
	} {
		w.get("/v1/spaces/any/changes", "Origin", origin).
			wantHeader("Access-Control-Allow-Origin", map[bool]string{true: origin}[ok]).
			want(map[bool]int{true: 200, false: 403}[ok], map[bool]models.Code{false: models.CodeForbidden}[ok])
		// A form or a beacon: no preflight.
		beacon := w.ask(http.MethodPost, "/v1/spaces/any/push", pushOf(put), "Origin", origin, "Content-Type", "text/plain")
		if ok {
			beacon.want(http.StatusUnsupportedMediaType, models.CodeUnsupportedMedia)
		} else {
			beacon.want(http.StatusForbidden, models.CodeForbidden)
		}
		preflight := w.ask(http.MethodOptions, at+"d", "", "Origin", origin, "Access-Control-Request-Method", "PUT")
		if allowed := preflight.header.Get("Access-Control-Allow-Methods") != ""; allowed != ok {
			t.Errorf("%s may send a PUT: %v", origin, allowed)
		}
	}
	w.get(at+"t1").want(http.StatusNotFound, models.CodeDocumentNotFound) // none of that was written
	w.get("/v1/spaces/any/changes", "Origin", "http://localhost", "Origin", "https://evil.example").want(http.StatusForbidden, models.CodeForbidden)
	// EventSource, whose answer would go on.
	w.get("/v1/spaces/any/stream", "Origin", "https://evil.example").want(http.StatusForbidden, models.CodeForbidden)

	for _, test := range []struct {
		site, dest string
		status     int
	}{
		{"cross-site", "script", 403},
		{"cross-site", "image", 403},
		{"cross-site", "empty", 403},
		{"cross-site", "iframe", 403},
		{"cross-site", "", 403},
		{"cross-site", "document", 200}, // a link
		{"same-site", "script", 200},    // another port of this machine
		{"same-origin", "script", 200},
		{"none", "document", 200},
	} {
		if got := w.get("/v1/spaces/any/changes", "Sec-Fetch-Site", test.site, "Sec-Fetch-Dest", test.dest); got.status != test.status {
			t.Errorf("%s %s: %d, want %d", test.site, test.dest, got.status, test.status)
		}
	}
	// From http://localhost to http://127.0.0.1 is cross-site too; the Origin says who it is.
	w.get("/v1/spaces/any/changes", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "empty", "Origin", "http://localhost:5173").want(http.StatusOK, "")
}

func TestCORS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.CORSOrigins = []string{"https://app.example", "http://localhost:5173"} })
	const target = "/v1/spaces/s1/push"

	preflight := w.ask(http.MethodOptions, target, "", "Origin", "https://app.example", "Access-Control-Request-Method", "POST",
		"Access-Control-Request-Headers", "authorization,content-type", "Authorization", "")
	preflight.want(http.StatusNoContent, "").wantHeader("Access-Control-Allow-Origin", "https://app.example").
		wantHeader("Access-Control-Allow-Credentials", "")
	for _, name := range []string{"Authorization", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key", "Tidemark-Client"} {
		if !strings.Contains(preflight.header.Get("Access-Control-Allow-Headers"), name) {
			t.Errorf("%s is not allowed", name)
		}
	}
	for _, origin := range []string{"https://evil.example", "https://app.example.evil.example", "http://app.example", "null", "https://APP.example", "https://app.example:443", "https://app.example/", "http://localhost", "*", ""} {
		refused := w.ask(http.MethodOptions, target, "", "Origin", origin, "Access-Control-Request-Method", "POST", "Authorization", "")
		for name := range refused.header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("a preflight of %s is answered with %s", origin, name)
			}
		}
		if refused.status != http.StatusNoContent || !strings.Contains(refused.header.Get("Vary"), "Origin") && !slices.Contains(refused.header.Values("Vary"), "Origin") {
			t.Errorf("a preflight of %s: %d, Vary: %q", origin, refused.status, refused.header.Values("Vary"))
		}
		w.get("/v1/spaces/s1/changes", "Origin", origin).want(http.StatusOK, "").wantHeader("Access-Control-Allow-Origin", "")
	}
	got := w.get("/v1/spaces/s1/changes", "Origin", "http://localhost:5173").want(http.StatusOK, "").
		wantHeader("Access-Control-Allow-Origin", "http://localhost:5173").
		wantHeader("Access-Control-Expose-Headers", "ETag,Location,RateLimit,RateLimit-Policy,Retry-After,X-Request-Id")
	got.wantHeader("Access-Control-Allow-Credentials", "")
	if vary := strings.Join(got.header.Values("Vary"), ","); !strings.Contains(vary, "Origin") || !strings.Contains(vary, "Authorization") {
		t.Errorf("Vary: %s", vary)
	}
	// A cache must not give one origin's answer, or that to no page, to another.
	for _, origin := range []string{"https://app.example", "https://evil.example", ""} {
		if vary := strings.Join(w.get("/tidemark.js", "Origin", origin).header.Values("Vary"), ","); !strings.Contains(vary, "Origin") {
			t.Errorf("Vary for %q: %s", origin, vary)
		}
	}
	// A method for which there is no safelist.
	for _, method := range []string{"PUT", "PATCH", "DELETE"} {
		if !strings.Contains(preflight.header.Get("Access-Control-Allow-Methods"), method) {
			t.Errorf("%s is not allowed", method)
		}
	}
	// Errors can be read too: a page must see why.
	w.token = ""
	w.get("/v1/spaces/s1/changes", "Origin", "https://app.example").want(http.StatusUnauthorized, models.CodeUnauthenticated).
		wantHeader("Access-Control-Allow-Origin", "https://app.example")
}
