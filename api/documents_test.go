package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/models"
)

const todo = "/v1/spaces/s1/documents/todos/t1"

func TestDocument_life(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.get(todo).want(http.StatusNotFound, models.CodeDocumentNotFound)

	// Odd but right: the document comes back as it was sent, without what stands around it.
	const text = `{ "b":1.50,  "a" : "<&>\u00e9" }`
	created := w.ask(http.MethodPut, todo, "\n"+text+"\n", "If-None-Match", "*").
		want(http.StatusCreated, "").wantHeader("Location", todo)
	first := created.header.Get("Etag")
	if first != `"`+created.member("version")+`"` || !strings.Contains(created.body, `"data":`+text+`,`) {
		t.Errorf("%s: %s", first, created.body)
	}
	read := w.get(todo).want(http.StatusOK, "").wantHeader("Etag", first)
	if read.body != created.body {
		t.Errorf("got %s, want %s", read.body, created.body)
	}

	replaced := w.ask(http.MethodPut, todo, `{"c":1}`, "If-Match", first).want(http.StatusOK, "")
	second := replaced.header.Get("Etag")
	patched := w.ask(http.MethodPatch, todo, `{"d":2}`, "If-Match", second, "Content-Type", "application/merge-patch+json").want(http.StatusOK, "")
	if got := patched.member("data"); got != `{"c":1,"d":2}` {
		t.Errorf("patched: %s", got)
	}
	stale := w.ask(http.MethodPatch, todo, `{"d":3}`, "If-Match", second).want(http.StatusPreconditionFailed, models.CodeVersionConflict).
		wantHeader("Etag", patched.header.Get("Etag"))
	if got := stale.member("current"); got != patched.body {
		t.Errorf("current %s, want %s", got, patched.body)
	}
	w.ask(http.MethodDelete, todo, "", "If-Match", second).want(http.StatusPreconditionFailed, models.CodeVersionConflict)
	w.ask(http.MethodDelete, todo, "", "If-Match", patched.header.Get("Etag")).want(http.StatusNoContent, "")
	w.get(todo).want(http.StatusNotFound, models.CodeDocumentNotFound)
	w.ask(http.MethodPut, todo, `{}`, "If-None-Match", "*").want(http.StatusCreated, "")
}

// current is a document too: byte for byte, not as encoding/json would have it.
func TestDocument_currentByteForByte(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const text = `{ "t" : "<script>&\u2028" }`
	w.ask(http.MethodPut, todo, text, "If-None-Match", "*").want(http.StatusCreated, "")
	got := w.ask(http.MethodPut, todo, `{}`, "If-None-Match", "*").want(http.StatusPreconditionFailed, models.CodeVersionConflict)
	if !strings.Contains(got.body, `"data":`+text+`,`) {
		t.Errorf("%s", got.body)
	}
}

func TestDocument_preconditions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	version := w.ask(http.MethodPut, todo, `{"n":0}`, "If-None-Match", "*").want(http.StatusCreated, "").header.Get("Etag")
	for _, test := range []struct {
		name    string
		headers []string
		status  int
		code    models.Code
	}{
		{"none", nil, 428, models.CodePreconditionRequired},
		{"its version", []string{"If-Match", version}, 200, ""},
		{"one of several", []string{"If-Match", `"1", ` + version + `, "x"`}, 200, ""},
		{"one of several headers", []string{"If-Match", `"1"`, "If-Match", version}, 200, ""},
		{"any", []string{"If-Match", "*"}, 200, ""},
		{"another version", []string{"If-Match", `"1"`}, 412, models.CodeVersionConflict},
		{"weak", []string{"If-Match", "W/" + version}, 412, models.CodeVersionConflict},
		{"another form of the version", []string{"If-Match", `"0` + version[1:]}, 412, models.CodeVersionConflict},
		{"no version's tag", []string{"If-Match", `"abc"`}, 412, models.CodeVersionConflict},
		{"empty tag", []string{"If-Match", `""`}, 412, models.CodeVersionConflict},
		{"without quotes", []string{"If-Match", strings.Trim(version, `"`)}, 400, models.CodeInvalidRequest},
		{"unclosed", []string{"If-Match", `"1`}, 400, models.CodeInvalidRequest},
		{"glued together", []string{"If-Match", `"1""2"`}, 400, models.CodeInvalidRequest},
		{"empty", []string{"If-Match", ""}, 400, models.CodeInvalidRequest},
		{"must not be there", []string{"If-None-Match", "*"}, 412, models.CodeVersionConflict},
		{"not this version", []string{"If-None-Match", `"1"`}, 400, models.CodeInvalidRequest},
		{"both", []string{"If-Match", "*", "If-None-Match", "*"}, 400, models.CodeInvalidRequest},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			// A patch that changes nothing, so that the version stays.
			w.ask(http.MethodPatch, todo, `{"n":0}`, test.headers...).want(test.status, test.code)
		})
	}
}

func TestDocument_notModified(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	version := w.ask(http.MethodPut, todo, `{}`, "If-None-Match", "*").want(http.StatusCreated, "").header.Get("Etag")
	for header, status := range map[string]int{
		version: 304, "W/" + version: 304, `"1", ` + version: 304, "*": 304, `"1"`: 200,
	} {
		got := w.get(todo, "If-None-Match", header).want(status, "").wantHeader("Etag", version)
		if status == 304 && got.body != "" {
			t.Errorf("a 304 with a body: %q", got.body)
		}
	}
	w.get(todo, "If-None-Match", "x").want(http.StatusBadRequest, models.CodeInvalidRequest)
}

func TestDocument_idempotencyKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	write := func(body string) answer {
		return w.ask(http.MethodPut, todo, body, "If-None-Match", "*", "Idempotency-Key", "k1", "Tidemark-Client", "hook")
	}
	first := write(`{"a":1}`).want(http.StatusCreated, "")
	if first.text("edit_id") != "k1" || first.text("client_id") != "hook" {
		t.Errorf("%s", first.body)
	}
	again := write(`{"a":1}`)
	if again.status != http.StatusCreated && again.status != http.StatusOK || again.member("version") != first.member("version") {
		t.Errorf("the retry got %d %s, want what came first: %s", again.status, again.body, first.body)
	}
	write(`{"a":2}`).want(http.StatusUnprocessableEntity, models.CodeEditIDReused)
	for _, header := range []string{"Idempotency-Key", "Tidemark-Client"} {
		w.ask(http.MethodPut, todo, `{}`, "If-Match", "*", header, "a b").want(http.StatusBadRequest, models.CodeInvalidRequest)
		w.ask(http.MethodPut, todo, `{}`, "If-Match", "*", header, "a", header, "b").want(http.StatusBadRequest, models.CodeInvalidRequest)
		w.ask(http.MethodPut, todo, `{}`, "If-Match", "*", header, "").want(http.StatusBadRequest, models.CodeInvalidRequest)
	}
}

func TestDocument_badDocuments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for body, code := range map[string]models.Code{
		`null`:                   models.CodeInvalidDocument,
		`[]`:                     models.CodeInvalidDocument,
		`{"a":1e400}`:            models.CodeInvalidDocument,
		`{"a":"\ud800"}`:         models.CodeInvalidDocument,
		`{"a":1,"a":1}`:          models.CodeDuplicateKey,
		`{`:                      models.CodeMalformedJSON,
		`{} {}`:                  models.CodeMalformedJSON,
		" ":                      models.CodeMalformedJSON,
		deep(33):                 models.CodeDocumentTooDeep,
		deep(10_001):             models.CodeMalformedJSON,
		sized(256<<10 + 1):       models.CodeDocumentTooLarge,
		sized(1<<20 + 1):         models.CodeBodyTooLarge,
		"{\"a\":\"\xff\"}":       models.CodeMalformedJSON,
		"\ufeff{}":               models.CodeMalformedJSON,
		`{"a":9007199254740992}`: models.CodeInvalidDocument,
	} {
		w.ask(http.MethodPut, todo, body, "If-None-Match", "*").want(kinds[code].status, code)
	}
	w.get(todo).want(http.StatusNotFound, models.CodeDocumentNotFound)
	w.ask(http.MethodPut, todo, sized(256<<10), "If-None-Match", "*").want(http.StatusCreated, "")
}

func deep(n int) string { return strings.Repeat(`{"a":`, n-1) + `{}` + strings.Repeat(`}`, n-1) }

// sized returns a document of n bytes.
func sized(n int) string { return `{"a":"` + strings.Repeat("x", n-8) + `"}` }

// What is taken for a list of tags is one: written out again it reads the same.
func FuzzParseTags(f *testing.F) {
	for _, seed := range []string{`*`, `"17"`, `W/"17", "18"`, `"a b"`, `17`, `"1""2"`, ``, ` , `} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		tags, star, err := parseTags(&http.Request{Header: http.Header{"If-Match": {value}}}, "If-Match")
		if err == nil && star == (tags != nil) {
			t.Fatalf("%q: %v and %v", value, tags, star)
		}
		written := make([]string, len(tags))
		for i, tag := range tags {
			written[i] = `"` + tag.opaque + `"`
			if tag.weak {
				written[i] = "W/" + written[i]
			}
		}
		if err != nil || star {
			return
		}
		again, _, err := parseTags(&http.Request{Header: http.Header{"If-Match": written}}, "If-Match")
		if err != nil || !slices.Equal(tags, again) {
			t.Fatalf("%q: %v, then %v, %v", value, tags, again, err)
		}
	})
}
