package access_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/tests/harness"
)

// tenant has a space of its own. The names in it are the same for all tenants; what
// the documents, presence and subjects say has the tenant's marker.
type tenant struct {
	space, marker string
	client        *harness.Client
	cursor        string
	version       int64  // of the document t1
	ticket        string // for the space's stream
	tickets       string // the same, for several spaces
	secrets       []string
	content       []harness.Change
}

func newTenant(t *testing.T, server *harness.Server, space, marker string) *tenant {
	t.Helper()
	claims := harness.Claims{"sub": "user-" + marker, "jti": "jti-" + marker, "spaces": harness.Claims{space: "rw"}}
	o := &tenant{space: space, marker: marker, client: server.Client(harness.Token(claims))}
	push := harness.Push{ClientID: "c1", Edits: []harness.Edit{
		{EditID: "e1", Op: "put", Collection: "todos", ID: "t1", BaseVersion: harness.At(0), Data: fmt.Appendf(nil, `{"text":%q,"n":1}`, marker)},
		{EditID: "e2", Op: "put", Collection: "todos", ID: "t2", BaseVersion: harness.At(0), Data: fmt.Appendf(nil, `{"text":%q}`, marker)},
	}}
	for _, p := range []harness.Push{push, {ClientID: "c1", Edits: []harness.Edit{{EditID: "e3", Op: "delete", Collection: "todos", ID: "t2", Force: true}}}} {
		answer, err := o.client.Push(t.Context(), space, p)
		if err != nil {
			t.Fatal(err)
		}
		if o.version == 0 { // of the live documents
			o.version = answer.Version
		}
	}
	body := fmt.Appendf(nil, `{"state":{"text":%q},"ttl_s":120}`, marker)
	o.must(t, http.MethodPut, "/v1/spaces/"+space+"/presence/c1", body)
	page := o.must(t, http.MethodGet, "/v1/spaces/"+space+"/changes", nil)
	o.cursor = page["cursor"]
	o.ticket = o.must(t, http.MethodPost, "/v1/spaces/"+space+"/stream-tickets", nil)["ticket"]
	o.tickets = o.must(t, http.MethodPost, "/v1/stream-tickets", nil)["ticket"]
	o.content = o.pull(t)
	o.secrets = []string{marker, page["digest"], page["version"], fmt.Sprint(o.version)}
	if slices.Contains(o.secrets, "") {
		t.Fatalf("there is nothing to look for: %q", o.secrets)
	}
	return o
}

// must asks and returns the members of the answer as text.
func (o *tenant) must(t *testing.T, method, path string, body []byte) map[string]string {
	t.Helper()
	headers := http.Header{}
	if body != nil {
		headers.Set("Content-Type", "application/json")
	}
	answer, err := o.client.Do(t.Context(), method, path, headers, body)
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]json.RawMessage
	if err := answer.Decode(&members); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	texts := make(map[string]string)
	for name, value := range members {
		texts[name] = strings.Trim(string(value), `"`)
	}
	return texts
}

func (o *tenant) pull(t *testing.T) []harness.Change {
	t.Helper()
	changes, _, err := o.client.PullAll(t.Context(), o.space, harness.Pull{})
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

// attempt is a request with which one tenant tries to get at what is another's.
type attempt struct {
	route   string // as openapi.yaml names it
	path    string
	headers http.Header
	body    string
	status  int
	code    string
}

// attempts are those of mine on theirs. Wherever a space, a cursor or a ticket can
// stand, theirs does.
func attempts(mine, theirs *tenant) []attempt {
	const (
		absent  = http.StatusNotFound
		bad     = http.StatusBadRequest
		noToken = http.StatusUnauthorized
	)
	a, b := "/v1/spaces/"+mine.space, "/v1/spaces/"+theirs.space
	edits := func(extra string, edits ...string) string {
		return fmt.Sprintf(`{"client_id":"c1"%s,"edits":[%s]}`, extra, strings.Join(edits, ","))
	}
	edit := func(op, base, data string) string {
		if data != "" {
			data = `,"data":` + data
		}
		return fmt.Sprintf(`{"edit_id":"e1","op":%q,"collection":"todos","id":"t1",%s%s}`, op, base, data)
	}
	known := fmt.Sprintf(`"base_version":%d`, theirs.version)
	match := func(header, value string) http.Header { return http.Header{header: {value}} }
	tag := fmt.Sprintf(`"%d"`, theirs.version)
	rest := func(method string, headers http.Header, body string) attempt {
		headers.Set("Idempotency-Key", "e1")
		headers.Set("Tidemark-Client", "c1")
		return attempt{method + " /v1/spaces/{space}/documents/{collection}/{id}", b + "/documents/todos/t1", headers, body, absent, "space_not_found"}
	}
	cursor := func(space string, of *tenant) string { return url.QueryEscape(space + "=" + of.cursor) }
	const push, changes, stream, streams = "POST /v1/spaces/{space}/push", "GET /v1/spaces/{space}/changes", "GET /v1/spaces/{space}/stream", "GET /v1/stream"
	const socket = "GET /v1/spaces/{space}/socket"
	// What a handshake asks for is judged before whether it is one.
	return []attempt{
		{push, b + "/push", nil, edits("", edit("put", `"base_version":0`, `{"x":1}`)), absent, "space_not_found"},
		{push, b + "/push", nil, edits("", edit("put", `"force":true`, `{"x":1}`)), absent, "space_not_found"},
		{push, b + "/push", nil, edits("", edit("patch", known, `{"x":1}`)), absent, "space_not_found"},
		{push, b + "/push", nil, edits("", edit("delete", known, "")), absent, "space_not_found"},
		{push, b + "/push", nil, edits(fmt.Sprintf(`,"cursor":%q`, theirs.cursor), edit("put", `"base_version":1`, `{"x":1}`)), absent, "space_not_found"},
		{push, b + "/push", nil, `not even JSON`, absent, "space_not_found"},
		{push, a + "/push", nil, edits(fmt.Sprintf(`,"cursor":%q`, theirs.cursor), edit("put", `"base_version":1`, `{"x":1}`)), bad, "invalid_cursor"},
		{changes, b + "/changes", nil, "", absent, "space_not_found"},
		{changes, b + "/changes?cursor=" + theirs.cursor, nil, "", absent, "space_not_found"},
		{changes, b + "/changes?wait=1&cursor=" + theirs.cursor, match("If-None-Match", `"`+theirs.cursor+`"`), "", absent, "space_not_found"},
		{changes, b + "/changes?collections=todos&limit=1&min_version=1", nil, "", absent, "space_not_found"},
		{changes, b + "/changes?cursor=rubbish", nil, "", absent, "space_not_found"},
		{changes, a + "/changes?cursor=" + theirs.cursor, nil, "", bad, "invalid_cursor"},
		{changes, a + "/changes?ticket=" + theirs.ticket, nil, "", bad, "invalid_request"},
		{stream, b + "/stream", nil, "", absent, "space_not_found"},
		{stream, b + "/stream", match("Last-Event-Id", theirs.cursor), "", absent, "space_not_found"},
		{stream, b + "/stream?cursor=" + theirs.cursor, nil, "", absent, "space_not_found"},
		{stream, b + "/stream?ticket=" + mine.ticket, match("Authorization", ""), "", absent, "space_not_found"},
		{stream, b + "/stream?ticket=" + mine.tickets, match("Authorization", ""), "", absent, "space_not_found"},
		{stream, b + "/stream?ticket=" + theirs.ticket, nil, "", bad, "invalid_request"}, // beside a token
		{stream, a + "/stream?ticket=" + theirs.ticket, match("Authorization", ""), "", absent, "space_not_found"},
		{stream, a + "/stream", match("Last-Event-Id", theirs.cursor), "", bad, "invalid_cursor"},
		{stream, a + "/stream?cursor=" + theirs.cursor, nil, "", bad, "invalid_cursor"},
		{socket, b + "/socket", nil, "", absent, "space_not_found"},
		{socket, b + "/socket?cursor=" + theirs.cursor, nil, "", absent, "space_not_found"},
		{socket, b + "/socket?ticket=" + mine.ticket, match("Authorization", ""), "", absent, "space_not_found"},
		{socket, a + "/socket?ticket=" + theirs.ticket, match("Authorization", ""), "", absent, "space_not_found"},
		{socket, a + "/socket?cursor=" + theirs.cursor, handshake(), "", bad, "invalid_cursor"},
		{streams, "/v1/stream?space=" + theirs.space, nil, "", absent, "space_not_found"},
		{streams, "/v1/stream?space=" + mine.space + "," + theirs.space, nil, "", absent, "space_not_found"},
		{streams, "/v1/stream?space=" + theirs.space + "&ticket=" + mine.tickets, match("Authorization", ""), "", absent, "space_not_found"},
		{streams, "/v1/stream?space=" + mine.space + "&ticket=" + theirs.tickets, match("Authorization", ""), "", absent, "space_not_found"},
		{streams, "/v1/stream?space=" + mine.space + "&cursor=" + cursor(theirs.space, theirs), nil, "", bad, "invalid_cursor"},
		{streams, "/v1/stream?space=" + mine.space + "&cursor=" + cursor(mine.space, theirs), nil, "", bad, "invalid_cursor"},
		{streams, "/v1/stream?space=" + mine.space, match("Last-Event-Id", mine.space+"="+theirs.cursor), "", bad, "invalid_cursor"},
		{"POST /v1/spaces/{space}/stream-tickets", b + "/stream-tickets", nil, "", absent, "space_not_found"},
		{"POST /v1/stream-tickets", "/v1/stream-tickets?space=" + theirs.space, nil, "", absent, "space_not_found"},
		{"POST /v1/stream-tickets", "/v1/stream-tickets?space=" + mine.space + "&space=" + theirs.space, nil, "", absent, "space_not_found"},
		{"POST /v1/stream-tickets", "/v1/stream-tickets?ticket=" + theirs.tickets, match("Authorization", ""), "", noToken, "unauthenticated"},
		{"GET /v1/heads", "/v1/heads?space=" + theirs.space, nil, "", absent, "space_not_found"},
		{"GET /v1/heads", "/v1/heads?space=" + mine.space + "," + theirs.space + "&min_version=1", nil, "", absent, "space_not_found"},
		{"GET /v1/heads", "/v1/heads?ticket=" + theirs.tickets, match("Authorization", ""), "", noToken, "unauthenticated"},
		{"GET /v1/heads", "/v1/heads", nil, "", http.StatusOK, ""},
		rest(http.MethodGet, http.Header{}, ""),
		rest(http.MethodGet, match("If-None-Match", tag), ""),
		rest(http.MethodPut, match("If-Match", tag), `{"x":1}`),
		rest(http.MethodPut, match("If-Match", `"1"`), `{"x":1}`), // whose answer would have current
		rest(http.MethodPut, match("If-None-Match", "*"), `{"x":1}`),
		rest(http.MethodPut, match("If-Match", "*"), `{"x":1}`),
		rest(http.MethodPut, http.Header{}, `{"x":1}`),
		rest(http.MethodPatch, match("If-Match", tag), `{"x":1}`),
		rest(http.MethodDelete, match("If-Match", tag), ""),
		{"GET /v1/spaces/{space}/presence", b + "/presence", nil, "", absent, "space_not_found"},
		{"PUT /v1/spaces/{space}/presence/{client_id}", b + "/presence/c1", nil, `{"state":{}}`, absent, "space_not_found"},
		{"PUT /v1/spaces/{space}/presence/{client_id}", b + "/presence/c2", nil, `{"state":{}}`, absent, "space_not_found"},
		{"DELETE /v1/spaces/{space}/presence/{client_id}", b + "/presence/c1", nil, "", absent, "space_not_found"},
		{"GET /metrics", "/metrics", nil, "", http.StatusOK, ""},
	}
}

// TestIsolation: two spaces that hold the same names. Whatever one tenant asks, of
// its own things with the other's tokens of all kinds or of the other's things, no
// answer has anything of the other's in it, and nothing of the other's is changed.
func TestIsolation(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, harness.Options{Store: store, Secret: harness.Secret})
		one := newTenant(t, server, "red", "mark-of-red")
		two := newTenant(t, server, "blue", "mark-of-blue")
		for _, pair := range [][2]*tenant{{one, two}, {two, one}} {
			mine, theirs := pair[0], pair[1]
			for _, a := range attempts(mine, theirs) {
				try(t, mine, theirs, a)
			}
			// What is mine is decided by mine alone, though all names are the same.
			replay := harness.Push{ClientID: "c1", Edits: []harness.Edit{
				{EditID: "e1", Op: "put", Collection: "todos", ID: "t1", BaseVersion: harness.At(0), Data: fmt.Appendf(nil, `{"text":%q,"n":1}`, mine.marker)},
			}}
			answer, err := mine.client.Push(t.Context(), mine.space, replay)
			if err != nil || !answer.Results[0].Replayed || answer.Results[0].Version != mine.version {
				t.Errorf("%s: my own retry: %+v, %v", mine.space, answer.Results, err)
			}
			stale := harness.Push{ClientID: "c1", Edits: []harness.Edit{{EditID: "e9", Op: "put", Collection: "todos", ID: "t1", BaseVersion: harness.At(theirs.version), Data: []byte(`{}`)}}}
			if answer, err = mine.client.Push(t.Context(), mine.space, stale); err != nil || answer.Results[0].Status != "conflict" ||
				answer.Results[0].Current == nil || !strings.Contains(string(answer.Results[0].Current.Data), mine.marker) {
				t.Errorf("%s: an edit based on another's version: %+v, %v", mine.space, answer.Results, err)
			}
		}
		for _, o := range []*tenant{one, two} {
			if diff := cmp.Diff(o.content, o.pull(t)); diff != "" {
				t.Errorf("%s was changed (-before +after):\n%s", o.space, diff)
			}
			if got := o.must(t, http.MethodGet, "/v1/spaces/"+o.space+"/presence", nil)["present"]; strings.Count(got, "client_id") != 1 || !strings.Contains(got, o.marker) {
				t.Errorf("%s: present are %s", o.space, got)
			}
		}
		var tried []string
		for _, a := range attempts(one, two) {
			tried = append(tried, a.route)
		}
		for _, r := range api.Routes() {
			if route := r.Method + " " + r.Path; !r.Public && !slices.Contains(tried, route) {
				t.Errorf("%s was not tried", route)
			}
		}
	})
}

func try(t *testing.T, mine, theirs *tenant, a attempt) {
	t.Helper()
	method, _, _ := strings.Cut(a.route, " ")
	headers, body := a.headers.Clone(), []byte(nil)
	if headers == nil {
		headers = http.Header{}
	}
	client := *mine.client
	if headers.Values("Authorization") != nil {
		client.Token = "" // what is tried comes without one
		headers.Del("Authorization")
	}
	if a.body != "" {
		body = []byte(a.body)
		headers.Set("Content-Type", "application/json")
		if method == http.MethodPatch {
			headers.Set("Content-Type", "application/merge-patch+json")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // a stream would not end
	defer cancel()
	answer, err := client.Do(ctx, method, a.path, headers, body)
	if err != nil {
		t.Errorf("%s %s: %v", method, a.path, err)
		return
	}
	code := ""
	if answer.Status >= http.StatusBadRequest {
		code = answer.Problem().Code
	}
	if answer.Status != a.status || code != a.code {
		t.Errorf("%s %s %v: %d %s, want %d %s", method, a.path, headers, answer.Status, code, a.status, a.code)
	}
	whole := fmt.Sprintf("%v %s", answer.Header, answer.Body)
	for _, secret := range theirs.secrets {
		if strings.Contains(whole, secret) {
			t.Errorf("%s %s: the answer has %q of the other tenant: %s", method, a.path, secret, whole)
		}
	}
}

// handshake asks for a WebSocket.
func handshake() http.Header {
	return http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"MDEyMzQ1Njc4OWFiY2RlZg=="},
	}
}
