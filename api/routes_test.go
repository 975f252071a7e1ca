package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/models"
)

// filled puts something into the parameters of a path.
var filled = strings.NewReplacer("{space}", "s1", "{collection}", "c", "{id}", "d", "{client_id}", "c1", "{code}", "internal", "{file}", "docs.js")

// The public list of the design, by hand: a route that is made public by
// mistake must not pass because the test reads the same table.
var publicPaths = []string{
	"/v1/config", "/healthz", "/readyz", "/openapi.yaml", "/docs", "/assets/{file}",
	"/tidemark.js", "/tidemark.js.map", "/tidemark.d.ts", "/problems/{code}", "/",
}

func TestRoutes_tokenWanted(t *testing.T) {
	t.Parallel()
	w := newReady(t)
	w.token = ""
	for _, r := range Routes() {
		open := slices.Contains(publicPaths, r.Path)
		if r.Public != open {
			t.Errorf("%s %s: public is %v", r.Method, r.Path, r.Public)
		}
		got := w.ask(r.Method, filled.Replace(r.Path), "")
		switch {
		case r.Path == "/":
			got.want(http.StatusNotFound, models.CodeNotFound)
		case open:
			got.want(http.StatusOK, "")
		default:
			got.want(http.StatusUnauthorized, models.CodeUnauthenticated).wantHeader("Www-Authenticate", `Bearer realm="tidemark"`)
		}
	}
}

func TestRoutes_oddPathsWantTokenToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.token
	for target, code := range map[string]models.Code{
		"/nope":                              models.CodeNotFound,
		"/v1":                                models.CodeNotFound,
		"/v1/":                               models.CodeNotFound,
		"/v1/spaces/s1/changes/":             models.CodeNotFound,
		"//v1/spaces/s1/changes":             models.CodeNotFound,
		"/v1/%73paces/s1/changes":            models.CodeNotFound,
		"/v1%2Fspaces/s1/changes":            models.CodeNotFound,
		"/V1/spaces/s1/changes":              models.CodeNotFound,
		"/v1/spaces/s1/../s2/changes":        models.CodeNotFound,
		"/v1/spaces/s1/%2e%2e/s2/changes":    models.CodeNotFound,
		"/docs/../v1/spaces/s1/changes":      models.CodeNotFound,
		"/assets/..%2fv1/spaces/s1/changes":  "", // a route that is public: see below
		"/v1/spaces/s1/documents/c":          models.CodeNotFound,
		"/v1/spaces/s1/documents/c/":         models.CodeNotFound,
		"/v1/spaces/s1/documents/c/d/e":      models.CodeNotFound,
		"/v1/spaces/s1%2Fdocuments/c/d":      models.CodeNotFound,
		"/v1/spaces//changes":                models.CodeSpaceNotFound,
		"/v1/spaces/s1%2F/changes":           models.CodeSpaceNotFound,
		"/v1/spaces/%73%31/changes":          "",
		"/healthz/":                          models.CodeNotFound,
		"/v1/config/":                        models.CodeNotFound,
		"/v1/spaces/s1/changes?access_token": models.CodeInvalidRequest,
	} {
		w.token = token
		got := w.get(target)
		if code != "" {
			got.want(kinds[code].status, code)
		}
		w.token = ""
		if strings.HasPrefix(target, "/assets/") {
			w.get(target).want(http.StatusNotFound, models.CodeNotFound)
			continue
		}
		w.get(target).want(http.StatusUnauthorized, models.CodeUnauthenticated)
	}
}

func TestRoutes_methods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for target, allow := range map[string]string{
		"/v1/spaces/s1/push":          "POST",
		"/v1/spaces/s1/changes":       "GET, HEAD",
		"/v1/spaces/s1/documents/c/d": "DELETE, GET, HEAD, PATCH, PUT",
		"/v1/spaces/s1/presence":      "GET, HEAD",
		"/v1/spaces/s1/presence/c1":   "DELETE, PUT",
		"/healthz":                    "GET, HEAD",
	} {
		for _, method := range []string{http.MethodTrace, "BREW"} {
			got := w.ask(method, target, "").want(http.StatusMethodNotAllowed, models.CodeMethodNotAllowed)
			var allowed []string
			for m := range strings.SplitSeq(got.header.Get("Allow"), ", ") {
				if m != http.MethodOptions {
					allowed = append(allowed, m)
				}
			}
			slices.Sort(allowed)
			if got := strings.Join(allowed, ", "); got != allow {
				t.Errorf("%s allows %q, want %q", target, got, allow)
			}
		}
	}
}

// RFC 9110, section 9.3.2: HEAD is GET without the body.
func TestRoutes_head(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, target := range []string{"/healthz", "/openapi.yaml", "/v1/spaces/s1/changes"} {
		got := w.ask(http.MethodGet, target, "").want(http.StatusOK, "")
		head := w.ask(http.MethodHead, target, "").want(http.StatusOK, "")
		if got, want := head.header.Get("ETag"), got.header.Get("ETag"); got != want {
			t.Errorf("HEAD %s has ETag %s, GET %s", target, got, want)
		}
	}
	if s := w.ask(http.MethodHead, "/v1/spaces/s1/push", ""); s.status != http.StatusMethodNotAllowed {
		t.Errorf("HEAD of a POST is %d, want 405", s.status)
	}
}

// A parameter is unescaped exactly once, however net/http keeps the path.
func TestRoutes_parametersUnescapedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ask(http.MethodPut, "/v1/spaces/s1/documents/c/a:b", `{}`, "If-None-Match", "*").want(http.StatusCreated, "")
	for id, code := range map[string]models.Code{
		"a:b":       "",
		"a%3Ab":     "",
		"%61%3A%62": "",
		"a%253Ab":   models.CodeInvalidID,
		"a%2Fb":     models.CodeInvalidID,
		"a%252Fb":   models.CodeInvalidID,
		"a%25b":     models.CodeInvalidID,
		"a+b":       models.CodeInvalidID,
		"a%2Bb":     models.CodeInvalidID,
		"a%20b":     models.CodeInvalidID,
		"%C3%A9":    models.CodeInvalidID,
		"é":         models.CodeInvalidID,
		"%00":       models.CodeInvalidID,
		"%FF":       models.CodeInvalidID,
		"..":        models.CodeInvalidID,
	} {
		got := w.get("/v1/spaces/s1/documents/c/" + id)
		if code == "" {
			got.want(http.StatusOK, "")
		} else {
			got.want(http.StatusBadRequest, code)
		}
	}
	w.get("/v1/spaces/s1/documents/a%2Fb/d").want(http.StatusBadRequest, models.CodeInvalidCollection)
	// Where it was created says where it is.
	for _, id := range []string{"x:y", "x%3Az"} {
		created := w.ask(http.MethodPut, "/v1/spaces/s1/documents/c/"+id, `{}`, "If-None-Match", "*").want(http.StatusCreated, "")
		w.get(created.header.Get("Location")).want(http.StatusOK, "")
	}
}
