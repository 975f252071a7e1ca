package conformance

import (
	"fmt"
	"net/http"
	"strings"
)

func refusing() []check {
	const one = `{"edit_id":"e1","op":"put","collection":"todos","id":"t1","base_version":0,"data":{}}`
	return []check{
		{name: "what is wrong with a push as a whole is a 4xx, and applies nothing", run: func(t *trial) {
			body := func(client, edits string) string { return `{"client_id":"` + client + `","edits":[` + edits + `]}` }
			for what, bad := range map[string]string{
				"no JSON":                   `{"client_id":`,
				"an array":                  `[]`,
				"trailing data":             body("c1", one) + "{}",
				"an unknown member":         `{"client_id":"c1","x":1,"edits":[` + one + `]}`,
				"a member twice":            `{"client_id":"c1","client_id":"c1","edits":[` + one + `]}`,
				"an unknown member of edit": body("c1", strings.Replace(one, `"op"`, `"x":1,"op"`, 1)),
				"a member of edit twice":    body("c1", strings.Replace(one, `"op"`, `"id":"t1","op"`, 1)),
				"no edits":                  body("c1", ""),
				"no client_id":              `{"edits":[` + one + `]}`,
				"a bad client_id":           body("c 1", one),
				"an unknown op":             body("c1", strings.Replace(one, `"put"`, `"merge"`, 1)),
				"no edit_id":                body("c1", strings.Replace(one, `"edit_id":"e1",`, "", 1)),
				"an edit_id twice":          body("c1", one+","+strings.Replace(one, "t1", "t2", 1)),
				"a base that is a text":     body("c1", strings.Replace(one, `:0,`, `:"0",`, 1)),
				"a negative base":           body("c1", strings.Replace(one, `:0,`, `:-1,`, 1)),
				"a base of 2^53":            body("c1", strings.Replace(one, `:0,`, `:9007199254740992,`, 1)),
			} {
				a := t.ask("POST", t.path("/push"), bad)
				t.is(a.status == 400, "%s: status %d, want 400: %.200s", what, a.status, a.body)
				t.problem(a, what)
			}
			t.refused(t.ask("POST", t.path("/push"), body("c1", many(201))), 413, "batch_too_large")
			t.holds()
		}},
		{name: "documents are I-JSON objects, within limits", run: func(t *trial) {
			deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
			for data, want := range map[string]string{
				`{"a":1,"a":2}`:            "duplicate_key",
				`{"o":{"a":1,"\u0061":2}}`: "duplicate_key",
				`{"a":"\ud800"}`:           "invalid_document",
				`{"a":"\u0000"}`:           "invalid_document",
				`{"n":9007199254740993}`:   "invalid_document",
				`{"n":-1e999}`:             "invalid_document",
				`"text"`:                   "invalid_document",
				`null`:                     "invalid_document",
				deep:                       "document_too_deep",
				`{"a":"` + strings.Repeat("x", 257<<10) + `"}`: "document_too_large",
			} {
				t.edits++
				body := fmt.Sprintf(`{"client_id":"c1","edits":[{"edit_id":"e%d","op":"put","collection":"todos","id":"t1","base_version":0,"data":%s}]}`, t.edits, data)
				var res pushAnswer
				t.read(t.ask("POST", t.path("/push"), body), &res)
				t.same(fmt.Sprintf("the result of %.40s", data), res.Results[0].Status+code(res.Results[0]), "rejected "+want)
			}
			t.holds()
		}},
		{name: "other media types and encodings are 415, too long a body is 413", run: func(t *trial) {
			body := `{"client_id":"c1","edits":[` + one + `]}`
			t.refused(t.ask("POST", t.path("/push"), body, "Content-Type", "text/plain"), 415, "unsupported_media_type")
			t.refused(t.ask("POST", t.path("/push"), body, "Content-Encoding", "br"), 415, "unsupported_encoding")
			t.refused(t.ask("POST", t.path("/push"), body+strings.Repeat(" ", 2<<20)), 413, "body_too_large")
			t.holds()
		}},
		{name: "names of spaces are checked", run: func(t *trial) {
			for _, name := range []string{"a%20b", "-a", strings.Repeat("a", 64), "%F0%9F%98%80"} {
				a := t.ask("GET", "/v1/spaces/"+name+"/changes", "")
				t.is(a.status == 400 || a.status == 404, "space %s: status %d", name, a.status)
				t.problem(a, "space "+name)
			}
		}},
		{name: "parameters are known, and given once", run: func(t *trial) {
			for _, bad := range []string{"x=1", "limit=0", "limit=1001", "limit=x", "limit=1&limit=2", "wait=26", "wait=-1", "min_version=-1", "collections=a%20b"} {
				a := t.ask("GET", t.path("/changes?"+bad), "")
				t.is(a.status == 400, "%s: status %d, want 400: %.200s", bad, a.status, a.body)
				t.problem(a, bad)
			}
		}},
		{name: "an unknown path is 404, another method 405 with Allow", run: func(t *trial) {
			t.refused(t.ask("GET", "/v1/nothing", ""), 404, "not_found")
			a := t.ask("DELETE", t.path("/push"), "")
			t.refused(a, 405, "method_not_allowed")
			t.is(strings.Contains(a.header.Get("Allow"), "POST"), "Allow is %q", a.header.Get("Allow"))
		}},
		{name: "without a good token there is nothing under /v1", withToken: true, run: func(t *trial) {
			for _, token := range []string{"", "Bearer x", "Bearer a.b.c", "Basic eDp5"} {
				for _, path := range []string{t.path("/changes"), t.path("/stream"), "/v1/heads", "/v1/nothing"} {
					a := t.ask("GET", path, "", "Authorization", token)
					t.refused(a, http.StatusUnauthorized, "unauthenticated")
					t.is(a.header.Get("WWW-Authenticate") != "", "%s: 401 without WWW-Authenticate", path)
				}
			}
		}},
	}
}

// many are so many edits.
func many(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`{"edit_id":"m%d","op":"put","collection":"todos","id":"m%d","base_version":0,"data":{}}`, i, i)
	}
	return strings.Join(list, ",")
}

// problem fails unless an answer is an error with a code.
func (t *trial) problem(a answer, what string) {
	var p problem
	t.parse(a, "application/problem+json", &p)
	t.is(p.Code != "" && p.Title != "" && p.Status == a.status && strings.HasSuffix(p.Type, "/problems/"+p.Code),
		"%s: want type, title, status and code, got %.300s", what, a.body)
}
