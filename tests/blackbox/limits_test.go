package blackbox_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tidemark/tidemark/syncer/store"
	"github.com/tidemark/tidemark/tests/harness"
)

// limits are the numbers of the design, by hand, as GET /v1/config names them.
var limits = map[string]int{
	"header_bytes":         16 << 10,
	"url_bytes":            8 << 10,
	"body_bytes":           1 << 20,
	"token_bytes":          4 << 10,
	"push_edits":           200,
	"push_bytes":           4 << 20,
	"document_bytes":       256 << 10,
	"document_depth":       32,
	"document_values":      10_000,
	"key_bytes":            256,
	"name_bytes":           128,
	"space_bytes":          63,
	"cursor_bytes":         256,
	"page_changes":         1000,
	"page_changes_default": 500,
	"page_bytes":           1 << 20,
	"page_rows":            20_000,
	"collections":          100,
	"heads":                200,
	"wait_s":               25,
	"receipts":             256,
	"present":              1000,
	"presence_state_bytes": 1 << 10,
	"presence_ttl_s":       120,
	"queued_pushes":        256,
	"stream_spaces":        30,
	"streams_per_subject":  20,
	"streams_per_node":     10_000,
	"requests_per_s":       0, // the harness turns it off
}

// An edge is where a limit lies. send uses n of what is limited and says what came
// of it: "ok" at the limit, beyond for one more.
type edge struct {
	limit, what string
	send        func(a *asker, n int) string
	beyond      string
}

var edges = []edge{
	{"header_bytes", "", (*asker).head, "431"}, // of net/http, which has no code
	{"url_bytes", "", (*asker).url, "414 uri_too_long"},
	{"body_bytes", "plain", func(a *asker, n int) string { return a.body(n, false) }, "413 body_too_large"},
	{"body_bytes", "inflated", func(a *asker, n int) string { return a.body(n, true) }, "413 body_too_large"},
	{"token_bytes", "", (*asker).token, "401 unauthenticated"},
	{"push_edits", "", (*asker).edits, "413 batch_too_large"},
	{"push_bytes", "", (*asker).pushBytes, "rejected push_too_large"},
	{"document_bytes", "put", func(a *asker, n int) string { return a.document(sized(n)) }, "rejected document_too_large"},
	{"document_bytes", "made by a patch", (*asker).patched, "rejected document_too_large"},
	{"document_bytes", "alone", func(a *asker, n int) string { return a.single(sized(n)) }, "413 document_too_large"},
	{"document_depth", "", func(a *asker, n int) string { return a.document(deep(n)) }, "rejected document_too_deep"},
	{"document_depth", "alone", func(a *asker, n int) string { return a.single(deep(n)) }, "422 document_too_deep"},
	{"document_values", "", func(a *asker, n int) string { return a.document(many(n)) }, "rejected document_too_large"},
	{"key_bytes", "", func(a *asker, n int) string { return a.document(`{"` + strings.Repeat("k", n) + `":1}`) }, "rejected invalid_document"},
	{"name_bytes", "id", func(a *asker, n int) string { return a.named("e", "c", name(n), "c1") }, "rejected invalid_id"},
	{"name_bytes", "collection", func(a *asker, n int) string { return a.named("e", name(n), "d", "c1") }, "rejected invalid_collection"},
	{"name_bytes", "edit_id", func(a *asker, n int) string { return a.named(name(n), "c", "d", "c1") }, "400 invalid_request"},
	{"name_bytes", "client_id", func(a *asker, n int) string { return a.named("e", "c", "d", name(n)) }, "400 invalid_request"},
	{"space_bytes", "", func(a *asker, n int) string { return a.get("/v1/spaces/" + name(n) + "/changes") }, "400 invalid_space"},
	{"page_changes", "", func(a *asker, n int) string { return a.get(a.path("changes?limit=" + strconv.Itoa(n))) }, "400 invalid_request"},
	{"page_changes_default", "", (*asker).defaultPage, "more"},
	{"page_bytes", "", (*asker).pageBytes, "more"},
	{"collections", "", func(a *asker, n int) string { return a.get(a.path("changes?collections=" + list(n))) }, "400 invalid_request"},
	{"heads", "", func(a *asker, n int) string { return a.get("/v1/heads?space=" + list(n)) }, "400 invalid_request"},
	// A snapshot does not wait.
	{"wait_s", "", func(a *asker, n int) string { return a.get(a.path("changes?wait=" + strconv.Itoa(n))) }, "400 invalid_request"},
	{"receipts", "", (*asker).receipts, "conflict"},
	{"presence_state_bytes", "", func(a *asker, n int) string { return a.beat("c1", `{"state":`+sized(n)+`}`) }, "413 document_too_large"},
	{"presence_ttl_s", "", func(a *asker, n int) string { return a.beat("c1", fmt.Sprintf(`{"ttl_s":%d}`, n)) }, "400 invalid_request"},
	{"queued_pushes", "", (*asker).queue, "429 space_busy"},
	{"stream_spaces", "", func(a *asker, n int) string { return a.streams(1, "/v1/stream?space="+list(n)) }, "400 invalid_request"},
	{"streams_per_subject", "", func(a *asker, n int) string { return a.streams(n, a.path("stream")) }, "429 too_many_streams"},
}

// elsewhere are the limits of which no request over HTTP finds the edge, and the tests that do.
var elsewhere = map[string][2]string{
	"cursor_bytes":     {"../../syncer/cursor_test.go", "models.MaxCursorBytes"},            // none that is given out is longer; all else is no cursor
	"page_rows":        {"../../syncer/store/storetest/changes.go", "models.MaxPageRows-1"}, // 20,000 documents
	"present":          {"../contract/tour_test.go", "g.crowd(998)"},                        // over HTTP, beside two others
	"streams_per_node": {"../../api/streams_test.go", "streams.perNode ="},                  // 10,000 connections are a bench's
	"requests_per_s":   {"limits_test.go", "func TestLimits_rate("},
}

// At each limit everything works, and one beyond is refused as openapi.yaml says.
// The limits are kept before a database is asked, so one will do; where databases
// could differ, storetest has the edge for both.
func TestLimits(t *testing.T) {
	t.Parallel()
	server := harness.Start(t, harness.Options{Secret: harness.Secret})
	if told := config(t, server); !maps.Equal(told, limits) {
		t.Errorf("GET /v1/config tells %v, want %v", told, limits)
	}
	covered := maps.Clone(elsewhere)
	for i, e := range edges {
		covered[e.limit] = [2]string{}
		limit, known := limits[e.limit]
		if !known {
			t.Errorf("there is no limit %s", e.limit)
		}
		t.Run(e.limit+" "+e.what, func(t *testing.T) {
			a := &asker{t: t, server: server, client: server.Client(tokenFor("tester")), space: fmt.Sprint("at-", i)}
			if got := e.send(a, limit); got != "ok" {
				t.Errorf("%d: %s, want ok", limit, got)
			}
			a.space = fmt.Sprint("beyond-", i)
			if got := e.send(a, limit+1); got != e.beyond {
				t.Errorf("%d: %s, want %s", limit+1, got, e.beyond)
			}
		})
	}
	for name, test := range elsewhere {
		if text, err := os.ReadFile(test[0]); err != nil || !strings.Contains(string(text), test[1]) {
			t.Errorf("%s: the test in %s is gone: %v", name, test[0], err)
		}
	}
	for name := range limits {
		if _, ok := covered[name]; !ok {
			t.Errorf("%s has no test of its edge", name)
		}
	}
	// Numbers are no limit of this server, but of every client (RFC 7493).
	a := &asker{t: t, server: server, client: server.Client(tokenFor("tester")), space: "numbers"}
	for document, want := range map[string]string{
		`{"n":9007199254740991}`: "ok", `{"n":-9007199254740991}`: "ok", `{"n":1.7976931348623157e308}`: "ok",
		`{"n":9007199254740992}`: "rejected invalid_document", `{"n":-9007199254740992}`: "rejected invalid_document", `{"n":1.8e308}`: "rejected invalid_document",
	} {
		if got := a.document(document); got != want {
			t.Errorf("%s: %s, want %s", document, got, want)
		}
	}
}

func TestLimits_rate(t *testing.T) {
	t.Parallel()
	server := harness.Start(t, harness.Options{Secret: harness.Secret, Env: []string{"TIDEMARK_RATE_LIMIT=1"}})
	if told := config(t, server)["requests_per_s"]; told != 1 {
		t.Errorf("GET /v1/config tells %d requests a second, want 1", told)
	}
	a := &asker{t: t, server: server, client: server.Client(tokenFor("alice")), space: "s"}
	var answers []string
	for range 100 { // a slow machine lets through some more
		answers = append(answers, a.get(a.path("changes")))
		if answers[len(answers)-1] != "ok" {
			break
		}
	}
	if len(answers) < 3 || answers[len(answers)-1] != "429 rate_limited" {
		t.Errorf("answers %q, want two and then a refusal", answers)
	}
	a.client.Token = tokenFor("bob")
	if got := a.get(a.path("changes")); got != "ok" {
		t.Errorf("another subject: %s", got)
	}
}

// Whom a proxy speaks for is believed only of those that are named, also from the
// environment.
func TestTrustedProxies(t *testing.T) {
	t.Parallel()
	forwarded := http.Header{"X-Forwarded-For": {"203.0.113.9"}}
	for env, want := range map[string]string{"TIDEMARK_TRUSTED_PROXIES=10.0.0.0/8,127.0.0.1": "address=203.0.113.9", "": "address=127.0.0.1"} {
		server := harness.Start(t, harness.Options{Env: []string{env}})
		if _, err := server.Client("").Do(t.Context(), http.MethodGet, "/v1/config", forwarded, nil); err != nil {
			t.Fatal(err)
		}
		server.Stop() // so that the line is there
		if log := server.Log(); !strings.Contains(log, want) {
			t.Errorf("%q: no %s in\n%s", env, want, log)
		}
	}
}

func config(t *testing.T, server *harness.Server) map[string]int {
	t.Helper()
	answer, err := server.Client("").Do(t.Context(), http.MethodGet, "/v1/config", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var told struct{ Limits map[string]int }
	if err := answer.Decode(&told); err != nil {
		t.Fatal(err)
	}
	return told.Limits
}

func tokenFor(subject string) string {
	return harness.Token(harness.Claims{"sub": subject, "spaces": harness.Claims{"*": "rw"}})
}

// asker asks about one limit, in a space of its own.
type asker struct {
	t      *testing.T
	server *harness.Server
	client *harness.Client
	space  string
}

func (a *asker) path(rest string) string { return "/v1/spaces/" + a.space + "/" + rest }

// ask returns "ok", "more" for a page that is not the last, or what went wrong: of a
// push the status of the first edit that was not applied.
func (a *asker) ask(method, path string, headers http.Header, body []byte) string {
	a.t.Helper()
	answer, err := a.client.Do(a.t.Context(), method, path, headers, body)
	if err != nil {
		a.t.Fatal(err)
	}
	return said(answer)
}

func said(answer harness.Answer) string {
	if answer.Status >= 400 {
		return strings.TrimSpace(fmt.Sprint(answer.Status, " ", answer.Problem().Code))
	}
	var told harness.PushAnswer
	if json.Unmarshal(answer.Body, &told) != nil {
		return "ok" // has none of this
	}
	for _, result := range told.Results {
		if result.Error != nil {
			return result.Status + " " + result.Error.Code
		}
		if result.Status != "applied" {
			return result.Status
		}
	}
	if told.HasMore {
		return "more"
	}
	return "ok"
}

func (a *asker) get(path string) string {
	a.t.Helper()
	return a.ask(http.MethodGet, path, nil, nil)
}

var asJSON = http.Header{"Content-Type": {"application/json"}}

// push pushes edits as the client c1.
func (a *asker) push(edits ...string) string {
	a.t.Helper()
	return a.ask(http.MethodPost, a.path("push"), asJSON, []byte(`{"client_id":"c1","edits":[`+strings.Join(edits, ",")+`]}`))
}

func edit(id, op, document string) string {
	return fmt.Sprintf(`{"edit_id":"e-%[1]s-%[2]s","op":%[2]q,"collection":"c","id":%[1]q,"force":true,"data":%[3]s}`, id, op, document)
}

func (a *asker) document(text string) string {
	a.t.Helper()
	return a.push(edit("d"+strconv.Itoa(len(text)), "put", text))
}

func (a *asker) single(text string) string {
	a.t.Helper()
	return a.ask(http.MethodPut, a.path("documents/c/d"), http.Header{"Content-Type": {"application/json"}, "If-None-Match": {"*"}}, []byte(text))
}

func (a *asker) named(editID, collection, id, clientID string) string {
	a.t.Helper()
	return a.ask(http.MethodPost, a.path("push"), asJSON, fmt.Appendf(nil,
		`{"client_id":%q,"edits":[{"edit_id":%q,"op":"put","collection":%q,"id":%q,"base_version":0,"data":{}}]}`, clientID, editID, collection, id))
}

// sized returns a document of n bytes.
func sized(n int) string { return `{"a":"` + strings.Repeat("x", n-len(`{"a":""}`)) + `"}` }

// deep returns a document of n levels.
func deep(n int) string {
	return `{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}`
}

// many returns a document of n values: itself, its array, and what is in that.
func many(n int) string { return `{"a":[` + strings.TrimSuffix(strings.Repeat("0,", n-2), ",") + `]}` }

func name(n int) string { return strings.Repeat("n", n) }

// list returns n names with commas between them.
func list(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = "n" + strconv.Itoa(i)
	}
	return strings.Join(names, ",")
}

// head sends a request of n bytes, byte for byte, and returns the status.
func (a *asker) head(n int) string {
	a.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.server.URL(), "http://"))
	if err != nil {
		a.t.Fatal(err)
	}
	defer conn.Close()
	const begin, end = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Padding: ", "\r\n\r\n"
	if _, err := conn.Write([]byte(begin + strings.Repeat("x", n-len(begin+end)) + end)); err != nil {
		a.t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		a.t.Fatal(err)
	}
	response.Body.Close()
	return strings.Replace(strconv.Itoa(response.StatusCode), "200", "ok", 1)
}

func (a *asker) url(n int) string {
	a.t.Helper()
	path := a.path("changes?collections=")
	for n-len(path) > limits["name_bytes"] {
		path += name(100) + ","
	}
	return a.get(path + name(n-len(path)))
}

func (a *asker) body(n int, compressed bool) string {
	a.t.Helper()
	text := `{"client_id":"c1","edits":[` + edit("d", "put", "{}") + `]}`
	body := []byte(text + strings.Repeat(" ", n-len(text)))
	headers := asJSON.Clone()
	if compressed {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(body); err != nil || z.Close() != nil {
			a.t.Fatal(err)
		}
		body = b.Bytes()
		headers.Set("Content-Encoding", "gzip")
	}
	return a.ask(http.MethodPost, a.path("push"), headers, body)
}

// token asks with a token of n bytes. The padding is in two places, because base64
// has no text of every length.
func (a *asker) token(n int) string {
	a.t.Helper()
	for kid := range 4 {
		for pad := n/2 - 200; pad < n; pad++ {
			token := harness.Sign(harness.Secret, harness.Claims{"alg": "HS256", "kid": name(kid)},
				harness.Claims{"spaces": harness.Claims{"*": "r"}, "pad": name(pad)})
			if len(token) == n {
				a.client.Token = token
				return a.get(a.path("changes"))
			}
		}
	}
	a.t.Fatalf("no token has %d bytes", n)
	return ""
}

func (a *asker) edits(n int) string {
	a.t.Helper()
	edits := make([]string, n)
	for i := range edits {
		edits[i] = edit(fmt.Sprint("d", i), "put", "{}")
	}
	return a.push(edits...)
}

const patch, patchAdds = `{"b":1}`, len(`,"b":1`)

// pushBytes patches documents, because a push may write more than its body holds:
// as many of the largest as fit, but for the last bytes.
func (a *asker) pushBytes(n int) string {
	a.t.Helper()
	var patches []string
	for rest := n - len("{}"); rest > 0; {
		size := min(rest, limits["document_bytes"])
		rest -= size
		id := fmt.Sprint("d", len(patches))
		a.prepare(edit(id, "put", sized(size-patchAdds)))
		patches = append(patches, edit(id, "patch", patch))
	}
	return a.push(append(patches, edit("last", "put", "{}"))...)
}

func (a *asker) patched(n int) string {
	a.t.Helper()
	a.prepare(edit("d", "put", sized(n-patchAdds)))
	return a.push(edit("d", "patch", patch))
}

// prepare pushes what is not in question, past the recorder.
func (a *asker) prepare(edits ...string) {
	a.t.Helper()
	quick := *a
	quick.client = harness.NewClient(a.server.URL, a.client.Token)
	quick.client.HTTP.Transport = http.DefaultTransport
	if got := quick.push(edits...); got != "ok" {
		a.t.Fatalf("preparing: %s", got)
	}
}

// defaultPage pushes n documents, the last at a version of its own, and pulls
// without a limit.
func (a *asker) defaultPage(n int) string {
	a.t.Helper()
	var edits []string
	for i := range n - 1 {
		edits = append(edits, edit(fmt.Sprint("d", i), "put", "{}"))
	}
	for part := range slices.Chunk(edits, 100) {
		a.prepare(part...)
	}
	a.prepare(edit("last", "put", "{}"))
	return a.get(a.path("changes"))
}

// pageBytes pushes documents of n bytes together, and pulls.
func (a *asker) pageBytes(n int) string {
	a.t.Helper()
	for i := 0; n > 0; i++ {
		size := min(n, limits["document_bytes"]-8) // so that what is left is a document, too
		n -= size
		a.prepare(edit(fmt.Sprint("d", i), "put", sized(size)))
	}
	return a.get(a.path("changes"))
}

// receipts creates n documents, then retries the first edit.
func (a *asker) receipts(n int) string {
	a.t.Helper()
	var edits []string
	for i := range n {
		edits = append(edits, fmt.Sprintf(`{"edit_id":"e%d","op":"put","collection":"c","id":"d%d","base_version":0,"data":{}}`, i, i))
	}
	for part := range slices.Chunk(edits, 100) {
		a.prepare(part...)
	}
	return a.push(edits[0])
}

// beat is a heartbeat.
func (a *asker) beat(clientID, body string) string {
	a.t.Helper()
	return a.ask(http.MethodPut, a.path("presence/"+clientID), asJSON, []byte(body))
}

// streams opens n streams of one subject, all at a time.
func (a *asker) streams(n int, path string) string {
	a.t.Helper()
	client := a.server.Client(tokenFor(a.space))
	for range n {
		stream, err := client.Stream(a.t.Context(), path, nil)
		if problem, ok := errors.AsType[*harness.Problem](err); ok {
			return fmt.Sprint(problem.HTTPStatus, " ", problem.Code)
		}
		if err != nil {
			a.t.Fatal(err)
		}
		defer stream.Close()
	}
	return "ok"
}

// queue holds the database, as a slow one would be, so that one push is being
// carried out and n wait. It lets go once all have been sent and as many refused as
// there are too many.
func (a *asker) queue(n int) string {
	a.t.Helper()
	db, err := store.OpenSQL(a.server.DatabaseURL())
	if err != nil {
		a.t.Fatal(err)
	}
	defer db.Close()
	hold, err := db.BeginTx(a.t.Context(), nil) // immediate: with the lock
	if err != nil {
		a.t.Fatal(err)
	}
	defer hold.Rollback()

	var sent sync.WaitGroup
	sent.Add(n + 1)
	answers := make(chan string, n+1)
	ctx := httptrace.WithClientTrace(a.t.Context(), &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { sent.Done() }})
	for i := range n + 1 {
		go func() {
			answer, err := a.client.Do(ctx, http.MethodPost, a.path("push"), asJSON, []byte(`{"client_id":"c1","edits":[`+edit(fmt.Sprint("d", i), "put", "{}")+`]}`))
			if err != nil {
				answers <- err.Error()
				return
			}
			answers <- said(answer)
		}()
	}
	sent.Wait()
	worst := "ok"
	take := func() {
		if got := <-answers; got != "ok" {
			worst = got
		}
	}
	tooMany := max(n-limits["queued_pushes"], 0)
	for range tooMany {
		take()
	}
	if err := hold.Rollback(); err != nil {
		a.t.Fatal(err)
	}
	refused := worst
	for range n + 1 - tooMany {
		take()
	}
	if refused != worst {
		a.t.Errorf("after the first refusals: %s", worst)
	}
	return worst
}
