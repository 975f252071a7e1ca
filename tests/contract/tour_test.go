package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/getkin/kin-openapi/openapi3"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/tests/harness"
)

// elsewhere are the answers that no tour can ask for; each says where it is seen.
var elsewhere = map[string]string{
	"request_timeout": "takes 15 seconds; the corpus of bad inputs has it (F19)",
	"internal":        "is a bug",
	"unavailable":     "needs a database that is away",
	"outcome_unknown": "needs a commit whose answer is lost",
	"space_busy":      "needs hundreds of pushes that wait for one space",
}

// TestTour walks through every operation with every answer it describes, on
// both stores. The recorder judges each; at the end nothing that is described
// may be left unseen.
func TestTour(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		recorder := NewRecorder(load(t))
		tour(t, recorder, store)
		development(t, recorder, store)
		inHaste(t, recorder, store)
		rules(t, recorder, store)
		nothingUnseen(t, recorder)
	})
}

// guide asks one server, as one caller after the other.
type guide struct {
	t      *testing.T
	client *harness.Client
}

func newGuide(t *testing.T, recorder *Recorder, server *harness.Server) *guide {
	client := server.Client("")
	client.HTTP.Transport = recorder.Transport(client.HTTP.Transport)
	return &guide{t, client}
}

// headers are "Name: value" each.
type headers []string

// ask sends a request and wants its status and, of an error, its code.
func (g *guide) ask(want, method, path string, h headers, body string) (harness.Answer, map[string]any) {
	g.t.Helper()
	sent := http.Header{}
	if body != "" {
		sent.Set("Content-Type", "application/json")
	}
	for _, line := range h {
		name, value, _ := strings.Cut(line, ": ")
		sent.Set(name, value)
	}
	var raw []byte
	if body != "" {
		raw = []byte(body)
	}
	answer, err := g.client.Do(g.t.Context(), method, path, sent, raw)
	if err != nil {
		g.t.Fatal(err)
	}
	got := strconv.Itoa(answer.Status)
	var decoded map[string]any
	if json.Unmarshal(answer.Body, &decoded) == nil && answer.Status >= 400 {
		got = fmt.Sprintf("%s %v", got, decoded["code"])
		if cause := decoded["cause"]; cause != nil {
			got = fmt.Sprintf("%s %v", got, cause)
		}
	}
	if got != want {
		g.t.Fatalf("%s %.200s %.200s: answered %s %.300s, want %s", method, path, body, got, answer.Body, want)
	}
	return answer, decoded
}

func (g *guide) get(want, path string, h ...string) (harness.Answer, map[string]any) {
	g.t.Helper()
	return g.ask(want, http.MethodGet, path, h, "")
}

const (
	pushPath  = "/v1/spaces/team-42/push"
	pullPath  = "/v1/spaces/team-42/changes"
	herePath  = "/v1/spaces/team-42/presence"
	itemPath  = "/v1/spaces/team-42/documents/notes/"
	largeText = 262_144 - 10 // with its frame just within a document
)

// edit pushes one edit and wants its status and, if it failed, its code.
func (g *guide) edit(want, edit string) {
	g.t.Helper()
	g.push([]string{want}, `{"client_id":"guide","edits":[`+edit+`]}`)
}

// push wants one status (and code) per edit.
func (g *guide) push(want []string, body string) map[string]any {
	g.t.Helper()
	_, answer := g.ask("200", http.MethodPost, pushPath, nil, body)
	var got []string
	for _, one := range answer["results"].([]any) {
		result := one.(map[string]any)
		status := result["status"].(string)
		if err, ok := result["error"].(map[string]any); ok {
			status += " " + err["code"].(string)
		}
		got = append(got, status)
	}
	if !slices.Equal(got, want) {
		g.t.Fatalf("push %.300s: results are %q, want %q", body, got, want)
	}
	return answer
}

func tour(t *testing.T, recorder *Recorder, store harness.Store) {
	server := harness.Start(t, harness.Options{Store: store, Secret: harness.Secret})
	g := newGuide(t, recorder, server)
	g.publicPages()
	g.withoutToken(recorder.spec)

	g.client.Token = harness.Token(harness.Claims{"spaces": harness.Claims{"team-42": "rw", "news-*": "r", "*": "rw"}})
	g.longURLs(recorder.spec)
	g.get("200", "/metrics")
	g.get("404 not_found", "/v1/nowhere")
	g.ask("405 method_not_allowed", http.MethodPut, pullPath, nil, "{}")
	g.pushes()
	g.edits()
	g.largePush()
	g.badPushes()
	g.pulls()
	g.heads()
	g.streams()
	g.socket(server, recorder.spec)
	g.items()
	g.badItems()
	g.presence()

	g.client.Token = harness.Token(harness.Claims{"spaces": harness.Claims{"team-42": "r"}})
	g.readOnly()
	g.otherSpaces()
	g.narrowed()
	g.lastStreams(server)
}

// publicPages needs no token.
func (g *guide) publicPages() {
	for _, path := range []string{"/v1/config", "/healthz", "/readyz", "/problems/cursor_expired"} {
		g.get("200", path)
	}
	for _, path := range []string{"/openapi.yaml", "/docs", "/assets/docs.js", "/tidemark.js", "/tidemark.js.map", "/tidemark.d.ts"} {
		file, _ := g.get("200", path)
		g.get("304", path, "If-None-Match: "+file.Header.Get("ETag"))
	}
	g.get("400 invalid_request", "/v1/config?verbose=1")
	g.get("404 not_found", "/problems/nonsense")
	g.get("404 not_found", "/assets/nonsense.js")
	g.get("404 not_found", "/") // the demo is for development
}

func (g *guide) withoutToken(spec *Spec) {
	for _, op := range spec.Operations() {
		if !op.Public {
			g.ask("401 unauthenticated", op.Method, concrete(op.Path), nil, "")
		}
	}
}

func (g *guide) longURLs(spec *Spec) {
	for _, op := range spec.Operations() {
		g.ask("414 uri_too_long", op.Method, concrete(op.Path)+"?x="+strings.Repeat("x", 8<<10), nil, "")
	}
}

// concrete puts names in place of a path's parameters.
func concrete(path string) string {
	return strings.NewReplacer("{space}", "team-42", "{collection}", "notes", "{id}", "n1", "{client_id}", "guide",
		"{code}", "internal", "{file}", "docs.js").Replace(path)
}

func (g *guide) pushes() {
	first := g.push([]string{"applied", "applied"}, `{"client_id":"guide","edits":[
		{"edit_id":"p1","op":"put","collection":"notes","id":"n1","base_version":0,"data":{"a":1,"b":[null]}},
		{"edit_id":"p2","op":"patch","collection":"notes","id":"n1","base_edit_id":"p1","data":{"b":null}}]}`)
	version := first["version"].(float64)
	g.edit("applied", `{"edit_id":"p1","op":"put","collection":"notes","id":"n1","base_version":0,"data":{"a":1,"b":[null]}}`)
	g.edit("conflict", `{"edit_id":"p3","op":"put","collection":"notes","id":"n1","base_version":0,"data":{}}`)
	g.edit("conflict", `{"edit_id":"p4","op":"patch","collection":"notes","id":"missing","base_version":0,"data":{"a":1}}`)
	g.edit("applied", `{"edit_id":"p5","op":"patch","collection":"notes","id":"n1","force":true,"data":{"a":2}}`)
	g.edit("applied", fmt.Sprintf(`{"edit_id":"p6","op":"patch","collection":"notes","id":"n1","base_version":%.0f,"data":{"c":1}}`, version))
	g.edit("conflict", fmt.Sprintf(`{"edit_id":"p7","op":"patch","collection":"notes","id":"n1","base_version":%.0f,"data":{"a":9}}`, version))
	g.edit("applied", `{"edit_id":"p8","op":"delete","collection":"notes","id":"missing","base_version":0}`)

	g.push([]string{"skipped", "rejected base_required", "skipped"}, `{"client_id":"guide","atomic":true,"edits":[
		{"edit_id":"p9","op":"put","collection":"notes","id":"n2","base_version":0,"data":{}},
		{"edit_id":"p10","op":"put","collection":"notes","id":"n3","data":{}},
		{"edit_id":"p11","op":"put","collection":"notes","id":"n4","base_version":0,"data":{}}]}`)
	page := g.push([]string{"applied"}, `{"client_id":"guide","cursor":"","collections":["notes"],"limit":10,"edits":[
		{"edit_id":"p12","op":"put","collection":"notes","id":"n2","base_version":0,"data":{}}]}`)
	if page["cursor"] == nil || page["changes"] == nil || page["has_more"] == nil {
		g.t.Errorf("a push with a cursor answered without a page: %v", page)
	}
	g.ask("410 cursor_expired filter", http.MethodPost, pushPath, nil, fmt.Sprintf(
		`{"client_id":"guide","cursor":%q,"edits":[{"edit_id":"p13","op":"delete","collection":"notes","id":"n2","force":true}]}`, page["cursor"]))
}

// edits that are wrong in themselves, one code after the other.
func (g *guide) edits() {
	edit := func(id, rest string) string { return fmt.Sprintf(`{"edit_id":%q,"op":"put",%s}`, id, rest) }
	for code, rest := range map[string]string{
		"rejected base_required":      `"collection":"notes","id":"w","data":{}`,
		"skipped base_unknown":        `"collection":"notes","id":"w","base_edit_id":"never","data":{}`,
		"rejected invalid_edit":       `"collection":"notes","id":"w","base_version":0,"force":true,"data":{}`,
		"rejected invalid_collection": `"collection":"-","id":"w","base_version":0,"data":{}`,
		"rejected invalid_id":         `"collection":"notes","id":"","base_version":0,"data":{}`,
		"rejected invalid_document":   `"collection":"notes","id":"w","base_version":0,"data":[]`,
		"rejected duplicate_key":      `"collection":"notes","id":"w","base_version":0,"data":{"a":1,"a":2}`,
		"rejected document_too_large": `"collection":"notes","id":"w","base_version":0,"data":{"a":"` + strings.Repeat("x", 262_144) + `"}`,
		"rejected document_too_deep":  `"collection":"notes","id":"w","base_version":0,"data":{"a":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`,
	} {
		g.edit(code, edit("w-"+strings.Fields(code)[1], rest))
	}
	g.edit("rejected edit_id_reused", edit("p1", `"collection":"notes","id":"n1","base_version":0,"data":{"other":true}`))
}

// largePush patches documents that are large already, because a push may write
// more than a body may hold.
func (g *guide) largePush() {
	const documents = 18
	for i := range documents {
		g.edit("applied", fmt.Sprintf(`{"edit_id":"l%d","op":"put","collection":"large","id":"d%d","base_version":0,"data":{"a":"%s"}}`,
			i, i, strings.Repeat("x", largeText-2)))
	}
	var patches, want []string
	for i := range documents {
		patches = append(patches, fmt.Sprintf(`{"edit_id":"m%d","op":"patch","collection":"large","id":"d%d","force":true,"data":{"a":"%s"}}`,
			i, i, strings.Repeat("y", 50_000)))
		want = append(want, "applied")
	}
	// Two thirds of a document each, so the push fits; then whole ones, so it does not.
	g.push(want, `{"client_id":"guide","edits":[`+strings.Join(patches, ",")+`]}`)
	patches, want = nil, nil
	for i := range documents {
		g.edit("applied", fmt.Sprintf(`{"edit_id":"n%d","op":"put","collection":"large","id":"d%d","force":true,"data":{"a":"%s"}}`,
			i, i, strings.Repeat("z", largeText-100)))
		patches = append(patches, fmt.Sprintf(`{"edit_id":"o%d","op":"patch","collection":"large","id":"d%d","force":true,"data":{"b":1}}`, i, i))
		status := "applied"
		if i >= (4<<20)/largeText {
			status = "rejected push_too_large"
		}
		want = append(want, status)
	}
	g.push(want, `{"client_id":"guide","edits":[`+strings.Join(patches, ",")+`]}`)
}

func (g *guide) badPushes() {
	const edit = `{"edit_id":"b","op":"put","collection":"notes","id":"b","base_version":0,"data":{}}`
	post := func(want, body string, h ...string) {
		g.t.Helper()
		g.ask(want, http.MethodPost, pushPath, h, body)
	}
	post("400 malformed_json", `{"client_id":"guide"`)
	post("400 invalid_request", `{"client_id":"guide","edits":[]}`)
	post("400 invalid_request", `{"client_id":"guide","edits":[`+edit+`,`+edit+`]}`)
	post("400 unknown_field", `{"client_id":"guide","edits":[`+edit+`],"Atomic":true}`)
	post("400 duplicate_key", `{"client_id":"guide","client_id":"guide","edits":[`+edit+`]}`)
	post("400 invalid_cursor", `{"client_id":"guide","edits":[`+edit+`],"cursor":"xyz"}`)
	post("413 batch_too_large", `{"client_id":"guide","edits":[`+strings.Repeat(edit+",", 200)+edit+`]}`)
	post("413 body_too_large", `{"client_id":"`+strings.Repeat("x", 1<<20)+`"}`)
	post("415 unsupported_media_type", `{}`, "Content-Type: text/plain")
	post("415 unsupported_encoding", `{}`, "Content-Encoding: br")
	g.ask("400 invalid_space", http.MethodPost, "/v1/spaces/-/push", nil, `{}`)
}

func (g *guide) pulls() {
	first, page := g.get("200", pullPath+"?limit=1")
	for page["has_more"] == true {
		first, page = g.get("200", pullPath+"?limit=100&cursor="+page["cursor"].(string))
	}
	here := pullPath + "?cursor=" + page["cursor"].(string)
	g.get("200", here+"&wait=0")
	g.get("304", here, "If-None-Match: "+first.Header.Get("ETag"))
	g.get("200", here+"&min_version="+fmt.Sprintf("%.0f", page["version"]))
	g.get("200", pullPath+"?collections=notes,large&collections=other")

	g.get("410 cursor_expired filter", here+"&collections=notes")
	g.get("410 cursor_expired epoch", here+"&min_version=9007199254740991")
	g.get("400 invalid_cursor", pullPath+"?cursor=xyz")
	for _, query := range []string{"limit=0", "limit=1001", "limit=1&limit=2", "wait=26", "since=3", "collections=-", "min_version=x"} {
		g.get("400 invalid_request", pullPath+"?"+query)
	}
	g.get("400 invalid_space", "/v1/spaces/-/changes")
}

func (g *guide) heads() {
	heads, _ := g.get("200", "/v1/heads")
	g.get("304", "/v1/heads", "If-None-Match: "+heads.Header.Get("ETag"))
	g.get("200", "/v1/heads?space=team-42,news-today&space=never-written")
	g.get("400 invalid_request", "/v1/heads?spaces=team-42")
	g.get("400 invalid_space", "/v1/heads?space=-")
}

// stream opens a stream and wants events of these names, then leaves it.
func (g *guide) stream(path string, want ...string) {
	g.t.Helper()
	stream, err := g.client.Stream(g.t.Context(), path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	defer stream.Close()
	for _, name := range want {
		if event, err := stream.Next(); err != nil || event.Name != name {
			g.t.Fatalf("%s: event %+v, %v, want %s", path, event, err, name)
		}
	}
}

func (g *guide) streams() {
	const one, several = "/v1/spaces/team-42/stream", "/v1/stream"
	g.stream(one+"?limit=1", "changes", "changes", "changes")
	g.stream(several+"?space=team-42,news-today&space=never-written&limit=1", "changes", "changes", "changes", "changes")
	g.ask("200", http.MethodHead, one, nil, "")
	for _, path := range []string{one, several} {
		g.get("400 invalid_request", path+"?wait=1")
		g.get("400 invalid_cursor", path+"?cursor=xyz")
	}
	g.get("400 invalid_space", "/v1/spaces/-/stream")

	_, page := g.get("200", pullPath+"?limit=1")
	cursor := page["cursor"].(string)
	g.stream(one+"?collections=notes&cursor="+cursor, "reset")
	g.stream(several+"?space=team-42&collections=notes&cursor=team-42="+cursor, "reset")

	for path, open := range map[string]string{
		"/v1/spaces/team-42/stream-tickets": one + "?limit=1&ticket=", "/v1/stream-tickets": several + "?limit=1&ticket=",
	} {
		_, ticket := g.ask("200", http.MethodPost, path, nil, "")
		g.ask("400 invalid_request", http.MethodPost, path+"?ttl=60", nil, "")
		token := g.client.Token
		g.client.Token = ""
		g.stream(open+ticket["ticket"].(string), "changes")
		g.get("401 unauthenticated", open+"x"+ticket["ticket"].(string))
		g.client.Token = token
	}
}

// handshake is what asks for a WebSocket.
var handshake = []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg=="}

// socket opens one, and holds each kind of frame against what it is said to hold.
func (g *guide) socket(server *harness.Server, spec *Spec) {
	const path = "/v1/spaces/team-42/socket"
	g.get("426 upgrade_required", path)
	g.get("400 invalid_request", path+"?wait=1")
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Minute)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, server.URL()+path, &websocket.DialOptions{
		HTTPClient: g.client.HTTP, HTTPHeader: http.Header{"Authorization": {"Bearer " + g.client.Token}},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	conn.SetReadLimit(-1) // the space has large documents, and a version is not split
	defer func() { _ = conn.CloseNow() }()
	for _, sent := range []string{
		`{"push":{"client_id":"guide","edits":[{"edit_id":"ws","op":"put","collection":"todos","id":"ws","force":true,"data":{}}]},"ref":"r"}`,
		`{"push":{}}`,
	} {
		if err := conn.Write(ctx, websocket.MessageText, []byte(sent)); err != nil {
			g.t.Fatal(err)
		}
	}
	schemas := map[string]string{"changes": "Page", "pushed": "PushResponse", "error": "Problem"}
	for seen := map[string]bool{}; len(seen) < len(schemas); {
		_, text, err := conn.Read(ctx)
		if err != nil {
			g.t.Fatalf("after %v: %v", seen, err)
		}
		var frame struct {
			Event string
			Data  any
		}
		if err := json.Unmarshal(text, &frame); err != nil || schemas[frame.Event] == "" {
			g.t.Fatalf("%v: %s", err, text)
		}
		seen[frame.Event] = true
		schema := spec.doc.Components.Schemas[schemas[frame.Event]].Value
		if err := schema.VisitJSON(frame.Data, openapi3.VisitAsResponse(), openapi3.MultiErrors()); err != nil {
			g.t.Errorf("frame %s: %v: %s", frame.Event, err, text)
		}
	}
}

// lastStreams opens as many streams as one subject may, and ends the server.
func (g *guide) lastStreams(server *harness.Server) {
	g.client.Token = harness.Token(harness.Claims{"sub": "watcher", "spaces": harness.Claims{"team-42": "r"}})
	var streams []*harness.Stream
	for range models.MaxStreamsPerSubject / 2 {
		for _, path := range []string{"/v1/stream?collections=notes", "/v1/spaces/team-42/stream?collections=notes"} {
			stream, err := g.client.Stream(g.t.Context(), path, nil)
			if err != nil {
				g.t.Fatal(err)
			}
			defer stream.Close()
			streams = append(streams, stream)
		}
	}
	g.get("429 too_many_streams", "/v1/stream")
	g.get("429 too_many_streams", "/v1/spaces/team-42/stream")
	var reading errgroup.Group
	for _, stream := range streams {
		reading.Go(func() error {
			for {
				if event, err := stream.Next(); err != nil || event.Name == "bye" {
					return err
				}
			}
		})
	}
	server.Stop()
	if err := reading.Wait(); err != nil {
		g.t.Errorf("no bye: %v", err)
	}
}

// items takes single documents through their lives.
func (g *guide) items() {
	put := func(want, h, body string) harness.Answer {
		g.t.Helper()
		answer, _ := g.ask(want, http.MethodPut, itemPath+"i1", headers{h}, body)
		return answer
	}
	put("201", "If-None-Match: *", `{"a":1}`)
	put("412 version_conflict", "If-None-Match: *", `{"a":1}`)
	tag := put("200", "If-Match: *", `{"a":2}`).Header.Get("ETag")
	g.get("200", itemPath+"i1")
	g.get("304", itemPath+"i1", "If-None-Match: "+tag)
	tag = put("200", "If-Match: "+tag, `{"a":3}`).Header.Get("ETag")

	patch := func(want, body string, h ...string) harness.Answer {
		g.t.Helper()
		answer, _ := g.ask(want, http.MethodPatch, itemPath+"i1", h, body)
		return answer
	}
	tag = patch("200", `{"b":1}`, "If-Match: "+tag).Header.Get("ETag")
	tag = patch("200", `{"b":null}`, "If-Match: "+tag, "Content-Type: application/merge-patch+json", "Tidemark-Client: hook").Header.Get("ETag")
	patch("412 version_conflict", `{"b":1}`, `If-Match: W/`+tag)

	const key = "Idempotency-Key: k1"
	remove := func(want string, h ...string) {
		g.t.Helper()
		g.ask(want, http.MethodDelete, itemPath+"i1", h, "")
	}
	remove("412 version_conflict", `If-Match: "1"`)
	remove("204", "If-Match: "+tag, key)
	remove("204", "If-Match: "+tag, key)
	remove("412 version_conflict", "If-Match: *")
	g.get("404 document_not_found", itemPath+"i1")
	patch("412 version_conflict", `{"b":1}`, "If-Match: *")
	put("201", "If-None-Match: *", `{"again":true}`)

	for method, body := range map[string]string{http.MethodPut: `{}`, http.MethodPatch: `{}`, http.MethodDelete: ""} {
		g.ask("422 edit_id_reused", method, itemPath+"i2", headers{"If-Match: *", key}, body)
	}
}

func (g *guide) badItems() {
	g.get("400 invalid_id", itemPath+"-")
	g.get("400 invalid_collection", "/v1/spaces/team-42/documents/-/i1")
	for method, body := range map[string]string{http.MethodPut: `{}`, http.MethodPatch: `{}`, http.MethodDelete: ""} {
		g.ask("428 precondition_required", method, itemPath+"i1", nil, body)
		g.ask("400 invalid_request", method, itemPath+"i1", headers{"If-Match: 17"}, body)
		if body == "" {
			continue
		}
		send := func(want, body string, h ...string) {
			g.t.Helper()
			g.ask(want, method, itemPath+"i1", append(headers{"If-Match: *"}, h...), body)
		}
		send("400 malformed_json", `{`)
		send("415 unsupported_media_type", body, "Content-Type: text/plain")
		send("415 unsupported_encoding", body, "Content-Encoding: br")
		send("413 body_too_large", `"`+strings.Repeat("x", 1<<20)+`"`)
		send("413 document_too_large", `{"a":"`+strings.Repeat("x", 262_144)+`"}`)
		send("422 invalid_document", `[]`)
		send("422 document_too_deep", `{"a":`+strings.Repeat("[", 32)+strings.Repeat("]", 32)+`}`)
	}
}

// presence is seen and shown by two subjects in turn.
func (g *guide) presence() {
	put := func(want, body string, h ...string) {
		g.t.Helper()
		g.ask(want, http.MethodPut, herePath+"/guide", h, body)
	}
	put("200", `{}`)
	put("200", `{"state":{"looks_at":["notes","n1"]},"ttl_s":120}`)
	g.get("200", herePath)
	g.get("400 invalid_request", herePath+"?limit=1")
	g.get("400 invalid_space", "/v1/spaces/-/presence")

	put("400 malformed_json", `{`)
	put("400 unknown_field", `{"status":{}}`)
	put("400 invalid_request", `{"ttl_s":121}`)
	put("400 duplicate_key", `{"state":{"a":1,"a":2}}`)
	put("413 document_too_large", `{"state":{"a":"`+strings.Repeat("x", 1<<10)+`"}}`)
	put("415 unsupported_media_type", `{}`, "Content-Type: text/plain")
	put("422 invalid_document", `{"state":{"a":9007199254740992}}`)
	g.ask("400 invalid_id", http.MethodPut, herePath+"/-", nil, `{}`)
	g.ask("400 invalid_id", http.MethodDelete, herePath+"/-", nil, "")

	g.stream("/v1/spaces/team-42/stream?collections=none", "changes", "presence")
	g.stream("/v1/stream?space=team-42&collections=none", "changes", "presence")

	guide := g.client.Token
	g.client.Token = harness.Token(harness.Claims{"sub": "stranger", "spaces": harness.Claims{"team-42": "r"}})
	put("409 presence_taken", `{}`)
	g.ask("409 presence_taken", http.MethodDelete, herePath+"/guide", nil, "")
	g.ask("200", http.MethodPut, herePath+"/stranger", nil, `{"ttl_s":120}`) // for as long as the crowd takes to come
	g.client.Token = guide
	g.crowd(998)
	g.ask("429 presence_full", http.MethodPut, herePath+"/late", nil, `{}`)
	g.ask("204", http.MethodDelete, herePath+"/guide", nil, "")
	g.ask("204", http.MethodDelete, herePath+"/guide", nil, "")
}

// crowd lets clients come, past the recorder: what they are answered has been seen.
func (g *guide) crowd(clients int) {
	g.t.Helper()
	plain := *g.client
	plain.HTTP = &http.Client{}
	for i := range clients {
		answer, err := plain.Do(g.t.Context(), http.MethodPut, fmt.Sprintf("%s/c%d", herePath, i),
			http.Header{"Content-Type": {"application/json"}}, []byte(`{"ttl_s":120}`))
		if err != nil || answer.Status != http.StatusOK {
			g.t.Fatalf("client %d of the crowd: %d %v", i, answer.Status, err)
		}
	}
}

// readOnly is a token that may read only.
func (g *guide) readOnly() {
	g.ask("403 forbidden", http.MethodPost, "/v1/spaces/team-42/stream-tickets?write=true", nil, "")
	g.ask("403 forbidden", http.MethodPost, pushPath, nil, `{"client_id":"guide","edits":[]}`)
	for method, body := range map[string]string{http.MethodPut: `{}`, http.MethodPatch: `{}`, http.MethodDelete: ""} {
		g.ask("403 forbidden", method, itemPath+"i1", headers{"If-Match: *"}, body)
	}
}

// narrowed is a token that reaches one collection.
func (g *guide) narrowed() {
	wide := g.client.Token
	defer func() { g.client.Token = wide }()
	g.client.Token = harness.Token(harness.Claims{"spaces": harness.Claims{"team-42": "rw:todos"}})
	g.edit("rejected collection_forbidden", `{"edit_id":"f1","op":"put","collection":"notes","id":"n","base_version":0,"data":{}}`)
	g.ask("403 forbidden", http.MethodPost, pushPath, nil, `{"client_id":"guide","cursor":"","collections":["notes"],"edits":[
		{"edit_id":"f2","op":"put","collection":"todos","id":"n","base_version":0,"data":{}}]}`)
	g.get("403 forbidden", pullPath+"?collections=notes")
	g.get("403 forbidden", "/v1/spaces/team-42/stream?collections=notes")
	g.get("403 forbidden", "/v1/spaces/team-42/socket?collections=notes", handshake...)
	g.get("403 forbidden", "/v1/stream?space=team-42&collections=notes")
	g.get("404 document_not_found", itemPath+"i1")
	for method, body := range map[string]string{http.MethodPut: `{}`, http.MethodPatch: `{}`, http.MethodDelete: ""} {
		g.ask("404 document_not_found", method, itemPath+"i1", headers{"If-Match: *"}, body)
	}
}

// otherSpaces are not named by the token.
func (g *guide) otherSpaces() {
	const other = "/v1/spaces/other"
	g.get("404 space_not_found", other+"/stream")
	g.get("404 space_not_found", other+"/socket")
	g.get("404 space_not_found", "/v1/stream?space=other")
	g.ask("404 space_not_found", http.MethodPost, other+"/stream-tickets", nil, "")
	g.ask("404 space_not_found", http.MethodPost, "/v1/stream-tickets?space=other", nil, "")
	g.get("404 space_not_found", other+"/changes")
	g.get("404 space_not_found", other+"/presence")
	g.ask("404 space_not_found", http.MethodPut, other+"/presence/guide", nil, `{}`)
	g.ask("404 space_not_found", http.MethodDelete, other+"/presence/guide", nil, "")
	g.get("404 space_not_found", "/v1/heads?space=other")
	g.get("404 space_not_found", other+"/documents/notes/i1")
	g.ask("404 space_not_found", http.MethodPost, other+"/push", nil, `{}`)
	for method, body := range map[string]string{http.MethodPut: `{}`, http.MethodPatch: `{}`, http.MethodDelete: ""} {
		g.ask("404 space_not_found", method, other+"/documents/notes/i1", headers{"If-Match: *"}, body)
	}
}

// development is what is different without tokens.
func development(t *testing.T, recorder *Recorder, store harness.Store) {
	g := newGuide(t, recorder, harness.Start(t, harness.Options{Store: store}))
	page, _ := g.get("200", "/")
	g.get("304", "/", "If-None-Match: "+page.Header.Get("ETag"))
	g.get("200", "/v1/spaces/any/changes")
	g.get("400 invalid_request", "/v1/heads")
	// Each code has its page, which says the same status as openapi.yaml.
	for code, status := range recorder.spec.Problems {
		answer, _ := g.get("200", "/problems/"+code)
		if want := fmt.Sprintf("%s (%d)\n", code, status); !bytes.HasPrefix(answer.Body, []byte(want)) {
			t.Errorf("/problems/%s begins %.60q, want %q", code, answer.Body, want)
		}
	}
	for code := range recorder.spec.EditErrors {
		g.get("200", "/problems/"+code)
	}
}

// inHaste asks until it is told to wait, everywhere but where the server is watched.
func inHaste(t *testing.T, recorder *Recorder, store harness.Store) {
	g := newGuide(t, recorder, harness.Start(t, harness.Options{
		Store: store, Secret: harness.Secret, Env: []string{"TIDEMARK_RATE_LIMIT=1"},
	}))
	for _, op := range recorder.spec.Operations() {
		watched := op.Path == "/healthz" || op.Path == "/readyz"
		refused := false
		for range 100 { // one a second is let through
			answer, err := g.client.Do(t.Context(), op.Method, concrete(op.Path), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if refused = answer.Problem().Code == "rate_limited"; refused {
				break
			}
		}
		if refused == watched {
			t.Errorf("%s: refused in haste: %v", op.ID, refused)
		}
	}
}

// rules are what a server with rules of an application answers besides.
func rules(t *testing.T, recorder *Recorder, store harness.Store) {
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ Edits []map[string]any }
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Error(err)
		}
		rejected := []map[string]any{}
		for _, e := range asked.Edits {
			if e["id"] == "closed" {
				rejected = append(rejected, map[string]any{"edit_id": e["edit_id"], "detail": "it is closed", "pointer": "/id"})
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"rejected": rejected})
	}))
	defer application.Close()
	schemas := t.TempDir()
	if err := os.WriteFile(filepath.Join(schemas, "notes.json"), []byte(`{"properties": {"n": {"type": "integer"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	g := newGuide(t, recorder, harness.Start(t, harness.Options{
		Store: store,
		Args:  []string{"--schemas", schemas, "--validation-url", application.URL},
		Env:   []string{"TIDEMARK_VALIDATION_SECRET=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
	}))
	g.push([]string{"applied", "rejected schema_violation", "rejected validation_failed"}, `{"client_id":"guide","edits":[
		{"edit_id":"r1","op":"put","collection":"notes","id":"r1","base_version":0,"data":{"n":1}},
		{"edit_id":"r2","op":"put","collection":"notes","id":"r2","base_version":0,"data":{"n":"1"}},
		{"edit_id":"r3","op":"put","collection":"notes","id":"closed","base_version":0,"data":{"n":1}}]}`)
	for method, body := range map[string]string{http.MethodPut: `{"n":1}`, http.MethodPatch: `{"n":1}`, http.MethodDelete: ""} {
		g.ask("422 validation_failed", method, itemPath+"closed", headers{"If-Match: *"}, body)
	}
	for _, method := range []string{http.MethodPut, http.MethodPatch} {
		g.ask("422 schema_violation", method, itemPath+"r1", headers{"If-Match: *"}, `{"n":1.5}`)
	}
}

// nothingUnseen wants every answer and every code that is described to have
// been seen, apart from those elsewhere.
func nothingUnseen(t *testing.T, recorder *Recorder) {
	t.Helper()
	codes := recorder.Codes()
	for _, code := range slices.Sorted(maps.Keys(recorder.spec.Problems)) {
		if codes[code] == 0 && elsewhere[code] == "" {
			t.Errorf("code %s is listed in Problem and was never seen", code)
		}
	}
	for _, code := range slices.Sorted(maps.Keys(recorder.spec.EditErrors)) {
		if codes[code] == 0 {
			t.Errorf("code %s is listed in EditError and was never seen", code)
		}
	}
	out := make(map[int]bool) // statuses whose codes are all elsewhere
	for code := range elsewhere {
		out[recorder.spec.Problems[code]] = true
	}
	events := recorder.Events()
	for _, name := range []string{"changes", "presence", "reset", "bye"} {
		if events[name] == 0 {
			t.Errorf("event %s is described, and was never seen", name)
		}
	}
	seen := recorder.Answers()
	for _, op := range recorder.spec.Operations() {
		for text := range op.Spec.Responses.Map() {
			status, err := strconv.Atoi(text)
			if err == nil && !out[status] && seen[Answered{op.ID, status}] == 0 {
				t.Errorf("%s describes %d, which was never seen", op.ID, status)
			}
		}
	}
}
