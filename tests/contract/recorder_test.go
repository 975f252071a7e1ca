package contract

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

const (
	goodPage = `{"changes":[],"cursor":"abc","version":7,"has_more":false,"poll_after_ms":1000}`
	goodPush = `{"client_id":"c","edits":[{"edit_id":"e","op":"put","collection":"t","id":"1","base_version":0,"data":{"a":[null]}}]}`
	change   = `{"collection":"t","id":"1","version":7,"deleted":false,"data":{},"updated_at":"2026-11-23T10:00:00.123Z","updated_by":"u","client_id":"c","edit_id":"e"}`
	pageOfS  = `{"space":"s","changes":[],"cursor":"abc","version":7,"has_more":false,"poll_after_ms":1000}`
	one      = "/v1/spaces/s/stream"
	both     = "/v1/stream"
	events   = "Content-Type: text/event-stream\nVary: Authorization\nCache-Control: private, no-store"
	gone     = `{"type":"/problems/cursor_expired","title":"t","status":410,"detail":"d","code":"cursor_expired","cause":"filter"}`
)

// The planted answers: each is right but for one thing, and that must be found.
var planted = []struct {
	name     string
	method   string // GET if empty
	path     string // a pull if empty
	sent     string
	header   string // of the request, "Name: value"
	status   int    // 200 if 0
	headers  string // of the answer, "Name: value" by lines; those of a page if empty
	received string
	want     string // in the error; "" if the exchange is right
}{
	{name: "a page", received: goodPage},
	{name: "missing member", received: strings.Replace(goodPage, `,"has_more":false`, "", 1), want: "has_more"},
	{name: "further member", received: strings.Replace(goodPage, `{`, `{"digest":"x",`, 1), want: "digest"},
	{name: "wrong type", received: strings.Replace(goodPage, `7`, `"7"`, 1), want: "version"},
	{name: "null", received: strings.Replace(goodPage, `[]`, `null`, 1), want: "changes"},
	{name: "two values", received: goodPage + "{}", want: "after top-level value"},
	{name: "not JSON", received: "<html>", want: "invalid character"},
	{name: "bad time", received: strings.Replace(goodPage, `[]`, `[`+strings.Replace(change, "2026-11-23T10", "yesterday", 1)+`]`, 1), want: "date-time"},
	{name: "wrong content type", headers: "Content-Type: text/plain\nETag: \"abc\"\nVary: A\nCache-Control: c", received: goodPage, want: "content type"},
	{name: "missing header", headers: "Content-Type: application/json\nVary: A\nCache-Control: c", received: goodPage, want: "ETag is missing"},
	{name: "ETag of another page", headers: "Content-Type: application/json\nETag: \"x\"\nVary: A\nCache-Control: c", received: goodPage, want: "not its cursor"},
	{name: "undescribed status", status: 202, received: goodPage, want: "202 is not described"},
	{name: "304", header: `If-None-Match: "abc"`, status: 304},
	{name: "surprise 304", status: 304, want: "without If-None-Match"},
	{name: "accepted parameter", path: "/v1/spaces/s/changes?since=3", received: goodPage, want: `"since"`},
	{name: "accepted limit", path: "/v1/spaces/s/changes?limit=1001", received: goodPage, want: "limit"},
	{name: "accepted twice", path: "/v1/spaces/s/changes?limit=1&limit=2", received: goodPage, want: "twice"},
	{name: "commas", path: "/v1/spaces/s/changes?collections=a,b&collections=c", received: goodPage},
	{name: "accepted collection", path: "/v1/spaces/s/changes?collections=a,-b", received: goodPage, want: "collections"},
	{name: "accepted space", path: "/v1/spaces/-s/changes", received: goodPage, want: "space"},

	{name: "410", status: 410, headers: "Content-Type: application/problem+json", received: gone},
	{name: "unknown cause", status: 410, headers: "Content-Type: application/problem+json", received: strings.Replace(gone, "filter", "mood", 1), want: "mood"},
	{name: "unknown code", status: 410, headers: "Content-Type: application/problem+json", received: strings.ReplaceAll(gone, "cursor_expired", "too_late"), want: "too_late"},
	{name: "code of another status", status: 400, headers: "Content-Type: application/problem+json", received: strings.Replace(gone, "410", "400", 1), want: "listed with 410"},
	{name: "other status in the body", status: 410, headers: "Content-Type: application/problem+json", received: strings.Replace(gone, "410", "400", 1), want: "the body says 400"},
	{name: "error as plain JSON", status: 410, headers: "Content-Type: application/json", received: gone, want: "content type"},
	{name: "status of another operation", method: "GET", path: "/v1/config", status: 410, headers: "Content-Type: application/problem+json", received: gone, want: "410 is not described"},

	{name: "a push", method: "POST", path: "/v1/spaces/s/push", sent: goodPush, received: `{"results":[{"edit_id":"e","status":"applied","version":1}],"version":1,"poll_after_ms":1000}`},
	{
		name: "accepted edit", method: "POST", path: "/v1/spaces/s/push", sent: strings.Replace(goodPush, `"1"`, `"-1"`, 1),
		received: `{"results":[{"edit_id":"e","status":"applied","version":1}],"version":1,"poll_after_ms":1000}`, want: "accepted what is not described",
	},
	{
		name: "accepted member", method: "POST", path: "/v1/spaces/s/push", sent: strings.Replace(goodPush, `{`, `{"clientId":"c",`, 1),
		received: `{"results":[{"edit_id":"e","status":"applied","version":1}],"version":1,"poll_after_ms":1000}`, want: "clientId",
	},
	{
		name: "rejected edit", method: "POST", path: "/v1/spaces/s/push", sent: strings.Replace(goodPush, `"1"`, `"-1"`, 1),
		received: `{"results":[{"edit_id":"e","status":"rejected","error":{"code":"invalid_id","detail":"d"}}],"version":1,"poll_after_ms":1000}`,
	},
	{
		name: "unknown edit code", method: "POST", path: "/v1/spaces/s/push", sent: goodPush,
		received: `{"results":[{"edit_id":"e","status":"rejected","error":{"code":"bad_mood","detail":"d"}}],"version":1,"poll_after_ms":1000}`, want: "bad_mood",
	},
	{
		name: "rejected without error", method: "POST", path: "/v1/spaces/s/push", sent: goodPush,
		received: `{"results":[{"edit_id":"e","status":"rejected"}],"version":1,"poll_after_ms":1000}`, want: "with error: false",
	},
	{
		name: "unknown status", method: "POST", path: "/v1/spaces/s/push", sent: goodPush,
		received: `{"results":[{"edit_id":"e","status":"merged"}],"version":1,"poll_after_ms":1000}`, want: "status",
	},

	{name: "a document", path: "/v1/spaces/s/documents/t/1", headers: "Content-Type: application/json\nETag: \"7\"", received: change},
	{name: "ETag of another version", path: "/v1/spaces/s/documents/t/1", headers: "Content-Type: application/json\nETag: \"8\"", received: change, want: "not its version"},
	{name: "weak ETag", path: "/v1/spaces/s/documents/t/1", headers: "Content-Type: application/json\nETag: W/\"7\"", received: change, want: "not its version"},
	{name: "204", method: "DELETE", path: "/v1/spaces/s/documents/t/1", status: 204, headers: "A: b"},
	{name: "204 with body", method: "DELETE", path: "/v1/spaces/s/documents/t/1", status: 204, headers: "A: b", received: "{}", want: "a body where none"},
	{name: "escaped slash is no separator", path: "/v1/spaces/s/documents/t%2F1", received: change, want: "operation that is not described"},

	{name: "a stream", path: one, headers: events, received: "retry: 1\n: hello\n\nevent: changes\ndata: " + goodPage + "\nid: abc\n\n:\n\n"},
	{name: "a stream of several", path: both, headers: events, received: "event: changes\ndata: " + pageOfS + "\nid: r=x,s=abc\n\n"},
	{name: "a stream cut off", path: one, headers: events, received: "event: changes\ndata: {\n"},
	{name: "event of another id", path: one, headers: events, received: "event: changes\ndata: " + goodPage + "\nid: abcd\n\n", want: "the id of a page"},
	{name: "event without id", path: one, headers: events, received: "event: changes\ndata: " + goodPage + "\n\n", want: "the id of a page"},
	{name: "event of another space", path: both, headers: events, received: "event: changes\ndata: " + pageOfS + "\nid: t=abc\n\n", want: "the id of a page"},
	{name: "event of no space", path: both, headers: events, received: "event: changes\ndata: " + goodPage + "\nid: abc\n\n", want: "of space"},
	{name: "event with a space", path: one, headers: events, received: "event: changes\ndata: " + pageOfS + "\nid: s=abc\n\n", want: "of space"},
	{name: "event without a member", path: one, headers: events, received: "event: changes\ndata: " + strings.Replace(goodPage, `,"has_more":false`, "", 1) + "\nid: abc\n\n", want: "has_more"},
	{name: "unknown event", path: one, headers: events, received: "event: news\ndata: {}\n\n", want: "not described"},
	{name: "event without a name", path: one, headers: events, received: "data: {}\n\n", want: "not described"},
	{name: "event that is not JSON", path: one, headers: events, received: "event: changes\ndata: {\n\n", want: "unexpected EOF"},
	{name: "reset", path: one, headers: events, received: "event: reset\ndata: " + gone + "\nid:\n\n"},
	{name: "reset of one of several", path: both, headers: events, received: "event: reset\ndata: " + strings.Replace(gone, `{`, `{"space":"s",`, 1) + "\nid: t=abc\n\n"},
	{name: "reset that keeps the id", path: one, headers: events, received: "id: abc\n\nevent: reset\ndata: " + gone + "\n\n", want: "reset with"},
	{name: "reset that keeps the cursor", path: both, headers: events, received: "event: reset\ndata: " + strings.Replace(gone, `{`, `{"space":"s",`, 1) + "\nid: r=x,s=abc\n\n", want: "reset with"},
	{name: "bye", path: one, headers: events, received: "event: bye\ndata: {\"reason\":\"max_age\",\"retry_after_ms\":1}\n\n"},
	{name: "bye for no known reason", path: one, headers: events, received: "event: bye\ndata: {\"reason\":\"mood\",\"retry_after_ms\":1}\n\n", want: "mood"},
	{name: "bye without a time", path: one, headers: events, received: "event: bye\ndata: {\"reason\":\"max_age\"}\n\n", want: "retry_after_ms"},
	{name: "ticket", path: one + "?ticket=x", headers: events, received: ":\n\n"},
	{name: "ticket where it is none", path: "/v1/spaces/s/changes?ticket=x", received: goodPage, want: `"ticket"`},
	{name: "stream as JSON", path: one, received: goodPage, want: "content type"},

	{name: "unknown route", path: "/v1/nowhere", status: 404, headers: "Content-Type: application/problem+json", received: `{"type":"/problems/not_found","title":"t","status":404,"detail":"d","code":"not_found"}`},
	{name: "unknown route, plain", path: "/v1/nowhere", status: 404, headers: "Content-Type: application/json", received: `{"message":"Not Found"}`, want: "content type"},
	{name: "unknown route answered", path: "/v1/nowhere", received: `{}`, want: "operation that is not described"},
	{name: "405 without Allow", method: "TRACE", path: "/v1/config", status: 405, headers: "Content-Type: application/problem+json", received: `{"type":"/problems/method_not_allowed","title":"t","status":405,"detail":"d","code":"method_not_allowed"}`, want: "Allow"},
}

// TestRecorder_findsPlantedFaults proves the prover: the recorder is shown
// answers that break the contract in one way each.
func TestRecorder_findsPlantedFaults(t *testing.T) {
	t.Parallel()
	for _, test := range planted {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			recorder := NewRecorder(load(t))
			client := &http.Client{Transport: recorder.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
				status := test.status
				if status == 0 {
					status = http.StatusOK
				}
				headers := test.headers
				if headers == "" {
					headers = "Content-Type: application/json\nETag: \"abc\"\nVary: Authorization\nCache-Control: private, no-store"
				}
				return &http.Response{
					StatusCode: status, Status: http.StatusText(status), Request: r,
					Header: parseHeaders(headers), Body: io.NopCloser(strings.NewReader(test.received)),
				}, nil
			}))}
			method, path := test.method, test.path
			if path == "" {
				path = "/v1/spaces/s/changes"
			}
			request, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1"+path, bytes.NewReader([]byte(test.sent)))
			if err != nil {
				t.Fatal(err)
			}
			if test.sent != "" {
				request.Header.Set("Content-Type", "application/json")
			}
			if name, value, ok := strings.Cut(test.header, ": "); ok {
				request.Header.Set(name, value)
			}
			response, err := client.Do(request)
			if err == nil {
				_, err = io.ReadAll(response.Body)
				response.Body.Close()
			}
			switch {
			case test.want == "" && err != nil:
				t.Errorf("the recorder refuses a good exchange: %v", err)
			case test.want != "" && err == nil:
				t.Errorf("the recorder lets it pass, want an error that says %q", test.want)
			case test.want != "" && !strings.Contains(err.Error(), test.want):
				t.Errorf("the recorder says %v, want %q", err, test.want)
			}
			if got, want := len(recorder.Violations()) > 0, test.want != ""; got != want {
				t.Errorf("violation recorded: %v, want %v", got, want)
			}
		})
	}
}

func parseHeaders(lines string) http.Header {
	header := http.Header{}
	for line := range strings.SplitSeq(lines, "\n") {
		name, value, _ := strings.Cut(line, ": ")
		header.Set(name, value)
	}
	return header
}
