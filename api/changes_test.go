package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/models"
)

const feed = "/v1/spaces/s1/changes"

func TestChanges_notModified(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ask(http.MethodPut, todo, `{}`, "If-None-Match", "*").want(http.StatusCreated, "")
	page := w.get(feed).want(http.StatusOK, "")
	cursor := page.text("cursor")
	tag := `"` + cursor + `"`
	page.wantHeader("Etag", tag).wantHeader("Cache-Control", "private, no-store").wantHeader("Vary", "Authorization")

	at := feed + "?cursor=" + cursor
	// Nothing new, and not asked to say 304.
	if got := w.get(at).want(http.StatusOK, "").wantHeader("Etag", tag); got.member("changes") != "[]" || got.text("cursor") != cursor {
		t.Errorf("%s", got.body)
	}
	for _, header := range []string{tag, "W/" + tag, "*", `"x", ` + tag} {
		got := w.get(at, "If-None-Match", header).want(http.StatusNotModified, "").wantHeader("Etag", tag).wantHeader("Vary", "Authorization")
		if got.body != "" {
			t.Errorf("a 304 with a body: %q", got.body)
		}
	}
	w.get(at, "If-None-Match", `"another"`).want(http.StatusOK, "")
	w.get(feed, "If-None-Match", tag).want(http.StatusOK, "") // a snapshot is not a poll
	w.get(feed, "If-None-Match", "*").want(http.StatusOK, "")

	w.ask(http.MethodPut, todo, `{"n":1}`, "If-Match", "*").want(http.StatusOK, "")
	got := w.get(at, "If-None-Match", tag).want(http.StatusOK, "")
	if got.text("cursor") == cursor || !strings.Contains(got.body, `{"n":1}`) {
		t.Errorf("%s", got.body)
	}
}

func TestChanges_parameters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for query, pointer := range map[string]string{
		"":                              "-",
		"cursor=":                       "-",
		"limit=1":                       "-",
		"limit=1000":                    "-",
		"limit=0":                       "limit",
		"limit=1001":                    "limit",
		"limit=-1":                      "limit",
		"limit=%2B1":                    "limit",
		"limit=":                        "limit",
		"limit=abc":                     "limit",
		"limit=1.0":                     "limit",
		"limit=1e2":                     "limit",
		"limit=0x10":                    "limit",
		"limit=1_0":                     "limit",
		"limit=%EF%BC%99":               "limit",
		"limit=99999999999999999999":    "limit",
		"limit=1&limit=1":               "limit",
		"wait=0":                        "-",
		"wait=26":                       "wait",
		"wait=1.5":                      "wait",
		"wait=1s":                       "wait",
		"wait=0&wait=0":                 "wait",
		"min_version=0":                 "-",
		"min_version=9007199254740992":  "min_version",
		"min_version=-1":                "min_version",
		"cursor=1&cursor=2":             "cursor",
		"collections=a":                 "-",
		"collections=a,b&collections=c": "-",
		"collections=":                  "collections",
		"collections=a,,b":              "collections",
		"collections=a%20b":             "collections",
		"Limit=1":                       "Limit",
		"since=1":                       "since",
		"token=x":                       "token",
		"a%ZZ":                          "query",
		"a;b":                           "query",
	} {
		got := w.get(feed + "?" + query)
		if pointer == "-" {
			got.want(http.StatusOK, "")
			continue
		}
		got.want(http.StatusBadRequest, models.CodeInvalidRequest)
		if !strings.Contains(got.body, fmt.Sprintf(`"pointer":%q`, pointer)) {
			t.Errorf("%s: %s does not point at %s", query, got.body, pointer)
		}
	}
	for _, cursor := range []string{"xyz", "-5", "1' OR 1=1--", strings.Repeat("A", 2000), "\x00", "é"} {
		w.get(feed+"?cursor="+url.QueryEscape(cursor)).want(http.StatusBadRequest, models.CodeInvalidCursor)
	}
}

func TestChanges_filter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"a", "b", "c"} {
		w.ask(http.MethodPut, "/v1/spaces/s1/documents/"+name+"/x", `{}`, "If-None-Match", "*").want(http.StatusCreated, "")
	}
	got := w.get(feed+"?collections=c,a").want(http.StatusOK, "")
	if !strings.Contains(got.body, `"collection":"a"`) || strings.Contains(got.body, `"collection":"b"`) || !strings.Contains(got.body, `"collection":"c"`) {
		t.Errorf("%s", got.body)
	}
	cursor := got.text("cursor")
	w.get(feed+"?collections=a&collections=c&cursor="+cursor).want(http.StatusOK, "") // order does not matter
	expired := w.get(feed+"?collections=a&cursor="+cursor).want(http.StatusGone, models.CodeCursorExpired)
	if expired.text("cause") != "filter" {
		t.Errorf("cause %s", expired.text("cause"))
	}
	w.get(feed+"?cursor="+cursor).want(http.StatusGone, models.CodeCursorExpired)
}

func TestHeads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	version := w.ask(http.MethodPut, todo, `{}`, "If-None-Match", "*").want(http.StatusCreated, "").member("version")

	w.token = w.mint(map[string]string{"s1": "r", "s2": "rw", "news-*": "r"})
	all := w.get("/v1/heads").want(http.StatusOK, "").wantHeader("Vary", "Authorization")
	if want := `[{"space":"s1","version":` + version + `},{"space":"s2","version":0}]`; all.member("heads") != want {
		t.Errorf("got %s, want %s", all.member("heads"), want)
	}
	tag := all.header.Get("Etag")
	w.get("/v1/heads", "If-None-Match", tag).want(http.StatusNotModified, "").wantHeader("Etag", tag)

	some := w.get("/v1/heads?space=news-1,s1&space=s1").want(http.StatusOK, "")
	if want := `[{"space":"news-1","version":0},{"space":"s1","version":` + version + `}]`; some.member("heads") != want {
		t.Errorf("got %s, want %s", some.member("heads"), want)
	}
	w.get("/v1/heads?space=s1&spaces=s2").want(http.StatusBadRequest, models.CodeInvalidRequest)
	w.get("/v1/heads?space=s1&space=other").want(http.StatusNotFound, models.CodeSpaceNotFound)

	names := make([]string, models.MaxHeads+1)
	for i := range names {
		names[i] = fmt.Sprint("news-", i)
	}
	w.get("/v1/heads?space="+strings.Join(names[1:], ",")).want(http.StatusOK, "")
	w.get("/v1/heads?space="+strings.Join(names, ",")).want(http.StatusBadRequest, models.CodeInvalidRequest)

	w.token = w.mint(map[string]string{"news-*": "r"})
	if got := w.get("/v1/heads").want(http.StatusOK, ""); got.member("heads") != "[]" {
		t.Errorf("a token of patterns only: %s", got.body)
	}
}

func TestPush_andPull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := w.ask(http.MethodPost, "/v1/spaces/s1/push", `{"client_id":"c1","cursor":"","edits":[`+put+`]}`).want(http.StatusOK, "")
	for _, name := range []string{"results", "version", "changes", "cursor", "has_more", "poll_after_ms"} {
		if got.member(name) == "" {
			t.Errorf("no %s in %s", name, got.body)
		}
	}
	if got := w.ask(http.MethodPost, "/v1/spaces/s1/push", pushOf(put)).want(http.StatusOK, ""); got.member("cursor") != "" || !strings.Contains(got.body, `"replayed":true`) {
		t.Errorf("%s", got.body)
	}
	w.ask(http.MethodPost, "/v1/spaces/s1/push?atomic=true", pushOf(put)).want(http.StatusBadRequest, models.CodeInvalidRequest)
	w.ask(http.MethodPost, "/v1/spaces/s1/push", `{"client_id":"c1","cursor":"x","edits":[`+put+`]}`).want(http.StatusBadRequest, models.CodeInvalidCursor)
}
