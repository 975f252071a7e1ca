package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tidemark/tidemark/models"
)

const socketPath = "/v1/spaces/s1/socket"

// talking is a socket under way.
type talking struct {
	t    *testing.T
	ctx  context.Context //nolint:containedctx // of the test
	conn *websocket.Conn
}

// dial opens a socket; headers are pairs.
func (l *listening) dial(target string, headers ...string) (*talking, *http.Response, error) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	l.t.Cleanup(cancel)
	h := make(http.Header)
	if l.token != "" {
		h.Set("Authorization", "Bearer "+l.token)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			h.Del(headers[i])
		} else {
			h.Set(headers[i], headers[i+1])
		}
	}
	conn, response, err := websocket.Dial(ctx, l.url+target, &websocket.DialOptions{HTTPHeader: h})
	if err != nil {
		return nil, response, err
	}
	conn.SetReadLimit(4 << 20)
	l.t.Cleanup(func() { _ = conn.CloseNow() })
	return &talking{l.t, ctx, conn}, response, nil
}

func (l *listening) talk(target string, headers ...string) *talking {
	l.t.Helper()
	s, _, err := l.dial(target, headers...)
	if err != nil {
		l.t.Fatalf("%s: %v", target, err)
	}
	return s
}

// wantRefused wants the handshake answered with a problem.
func (l *listening) wantRefused(status int, code models.Code, target string, headers ...string) {
	l.t.Helper()
	_, response, err := l.dial(target, headers...)
	if err == nil || response == nil {
		l.t.Errorf("%s: %v, want %s", target, err, code)
		return
	}
	var problem struct{ Code models.Code }
	if err := json.NewDecoder(response.Body).Decode(&problem); err != nil || response.StatusCode != status || problem.Code != code {
		l.t.Errorf("%s: %d %s %v, want %d %s", target, response.StatusCode, problem.Code, err, status, code)
	}
}

// said is a frame of the server.
type said struct {
	Event        string
	Ref          string
	Data         json.RawMessage
	RetryAfterMS int64 `json:"retry_after_ms"`
}

func (s *talking) send(text string, args ...any) {
	s.t.Helper()
	if err := s.conn.Write(s.ctx, websocket.MessageText, fmt.Appendf(nil, text, args...)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *talking) next(event string) (f said) {
	s.t.Helper()
	kind, text, err := s.conn.Read(s.ctx)
	if err != nil {
		s.t.Fatalf("no %s: %v", event, err)
	}
	if err := json.Unmarshal(text, &f); err != nil || kind != websocket.MessageText || f.Event != event {
		s.t.Fatalf("got %v %s, want %s", err, text, event)
	}
	return f
}

func (s *talking) wantPage(ids string) streamPage {
	s.t.Helper()
	p := pageOf(s.t, string(s.next("changes").Data))
	if p.ids() != ids {
		s.t.Errorf("page %q, want %q", p.ids(), ids)
	}
	return p
}

func (s *talking) wantError(ref string, status int, code models.Code) {
	s.t.Helper()
	f := s.next("error")
	var problem struct {
		Status    int
		Code      models.Code
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal(f.Data, &problem); err != nil || f.Ref != ref || problem.Status != status || problem.Code != code || problem.RequestID == "" {
		s.t.Errorf("%v, ref %q, %s; want %s, %d %s", err, f.Ref, f.Data, ref, status, code)
	}
}

func (s *talking) wantBye(reason string, code websocket.StatusCode) {
	s.t.Helper()
	var bye struct {
		Reason       string
		RetryAfterMS *int64 `json:"retry_after_ms"`
	}
	if f := s.next("bye"); json.Unmarshal(f.Data, &bye) != nil || bye.Reason != reason || bye.RetryAfterMS == nil {
		s.t.Errorf("bye %s, want %s", f.Data, reason)
	}
	s.wantClosed(code)
}

func (s *talking) wantClosed(code websocket.StatusCode) {
	s.t.Helper()
	if _, text, err := s.conn.Read(s.ctx); websocket.CloseStatus(err) != code {
		s.t.Errorf("got %s %v, want that it is closed with %d", text, err, code)
	}
}

const pushOfOne = `{"push":{"client_id":"c1","edits":[{"edit_id":%q,"op":"put","collection":"todos","id":%q,"base_version":0,"data":{"n": 1}}]},"ref":%q}`

func TestSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	w.write("d1")
	s := w.talk(socketPath)
	first := s.wantPage("d1")
	if sockets, streams := w.server.streams.amount("socket"), w.server.streams.amount("space"); sockets != 1 || streams != 0 {
		t.Errorf("%d sockets are open, and %d streams", sockets, streams)
	}
	// What others write comes as on a stream, with line ends between tokens too.
	w.ask(http.MethodPost, "/v1/spaces/s1/push", `{"client_id":"c2","edits":[{"edit_id":"x","op":"put","collection":"todos","id":"d2","base_version":0,"data":{"a":`+"\r\n"+`1,"b":"data: "}}]}`).want(200, "")
	if p := s.wantPage("d2"); string(p.Changes[0].Data) != "{\"a\":\n1,\"b\":\"data: \"}" {
		t.Errorf("data %q", p.Changes[0].Data)
	}

	// A push is answered as a push is, and its change comes like any other.
	s.send(pushOfOne, "e1", "d3", "r1")
	var answered said
	for range 2 {
		kind, text, err := s.conn.Read(s.ctx)
		if err != nil || kind != websocket.MessageText {
			t.Fatal(err)
		}
		var f said
		if err := json.Unmarshal(text, &f); err != nil {
			t.Fatal(err)
		}
		if f.Event == "pushed" {
			answered = f
		} else if p := pageOf(t, string(f.Data)); p.ids() != "d3" {
			t.Errorf("page %q", p.ids())
		}
	}
	var result models.PushResponse
	if err := json.Unmarshal(answered.Data, &result); err != nil || answered.Ref != "r1" || !strings.Contains(string(answered.Data), `"edit_id":"e1","status":"applied"`) {
		t.Errorf("%v: answered %+v %s", err, answered, answered.Data)
	}
	s.send(pushOfOne, "e1", "d3", "r2")
	if f := s.next("pushed"); f.Ref != "r2" || !strings.Contains(string(f.Data), `"replayed":true`) {
		t.Errorf("retried: %+v %s", f, f.Data)
	}

	// A heartbeat is not answered; who is here is told.
	s.send(`{"presence":{"client_id":"c1","state":{"at":"d3"},"ttl_s":30}}`)
	if f := s.next("presence"); !strings.Contains(string(f.Data), `"client_id":"c1"`) || !strings.Contains(string(f.Data), `{"at":"d3"}`) {
		t.Errorf("presence %s", f.Data)
	}

	// It is resumed by the cursor of a page.
	again := w.talk(socketPath + "?cursor=" + first.Cursor)
	again.wantPage("d2 d3")
	again.next("presence")
	if err := s.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
}

func TestSocket_frames(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	s := w.talk(socketPath)
	s.wantPage("")
	for _, test := range []struct {
		frame  string
		ref    string
		status int
		code   models.Code
	}{
		{`{`, "", 400, models.CodeMalformedJSON},
		{"{\"ref\":\"r\xff\"}", "", 400, models.CodeMalformedJSON},
		{`[]`, "", 400, models.CodeInvalidRequest},
		{`{}`, "", 400, models.CodeInvalidRequest},
		{`{"ref":"r1"}`, "r1", 400, models.CodeInvalidRequest},
		{`{"ref":"a b"}`, "", 400, models.CodeInvalidRequest},
		{`{"pull":{},"ref":"r1"}`, "r1", 400, models.CodeUnknownField},
		{`{"push":{},"push":{},"ref":"r1"}`, "r1", 400, models.CodeDuplicateKey},
		{`{"push":{},"presence":{"client_id":"c1"},"ref":"r1"}`, "r1", 400, models.CodeInvalidRequest},
		{`{"push":{"client_id":"c1","edits":[]},"ref":"r1"}`, "r1", 400, models.CodeInvalidRequest},
		{`{"push":{"client_id":"c1","edits":[],"x":1},"ref":"r1"}`, "r1", 400, models.CodeUnknownField},
		{`{"push":null,"ref":"r1"}`, "r1", 400, models.CodeInvalidRequest},
		{`{"presence":{"client_id":"a b"},"ref":"r1"}`, "r1", 400, models.CodeInvalidID},
		{`{"presence":{"state":{}},"ref":"r1"}`, "r1", 400, models.CodeInvalidID},
		{`{"presence":{"client_id":"c1","ttl_s":0},"ref":"r1"}`, "r1", 400, models.CodeInvalidRequest},
		{`{"presence":{"client_id":"c1","state":{"x":"` + strings.Repeat("x", 1100) + `"}},"ref":"r1"}`, "r1", 413, models.CodeDocumentTooLarge},
	} {
		s.send("%s", test.frame)
		s.wantError(test.ref, test.status, test.code)
	}
	s.send(pushOfOne, "e1", "d1", "last") // the socket is as good as before
	for range 2 {
		if _, _, err := s.conn.Read(s.ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.conn.Write(s.ctx, websocket.MessageBinary, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	s.wantClosed(websocket.StatusUnsupportedData)

	s = w.talk(socketPath)
	s.wantPage("d1")
	s.send("%s", strings.Repeat(" ", maxFrameBytes+1))
	s.wantClosed(websocket.StatusMessageTooBig)
}

// A push of the largest size passes.
func TestSocket_large(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	s := w.talk(socketPath)
	s.wantPage("")
	var edits []string
	for i := range 5 {
		edits = append(edits, fmt.Sprintf(`{"edit_id":"e%d","op":"put","collection":"todos","id":"d%d","base_version":0,"data":{"x":%q}}`, i, i, strings.Repeat("x", 200<<10)))
	}
	s.send(`{"ref":"r1","push":{"client_id":"c1","edits":[%s]}}`, strings.Join(edits, ","))
	for pushed, seen := false, 0; !pushed || seen < 5; {
		_, text, err := s.conn.Read(s.ctx)
		if err != nil {
			t.Fatal(err)
		}
		pushed = pushed || strings.HasPrefix(string(text), `{"event":"pushed"`)
		seen += strings.Count(string(text), `"collection":"todos"`)
	}
}

func TestSocket_handshake(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.CORSOrigins = []string{"https://app.example"} }).listen()
	w.get(socketPath).want(http.StatusUpgradeRequired, models.CodeUpgradeRequired).wantHeader("Upgrade", "websocket")
	w.wantRefused(http.StatusUnauthorized, models.CodeUnauthenticated, socketPath, "Authorization", "")
	w.wantRefused(http.StatusNotFound, models.CodeSpaceNotFound, "/v1/spaces/other/socket")
	w.wantRefused(http.StatusBadRequest, models.CodeInvalidCursor, socketPath+"?cursor=x")
	w.wantRefused(http.StatusBadRequest, models.CodeInvalidRequest, socketPath+"?wait=1")
	host := strings.TrimPrefix(w.url, "http://")
	for origin, ok := range map[string]bool{
		"http://" + host: true, "https://" + host: true, "https://app.example": true,
		"https://app.example.org": false, "null": false, "https://app.example:444": false, "https://evil.example": false,
	} {
		s, _, err := w.dial(socketPath, "Origin", origin)
		if (err == nil) != ok {
			t.Errorf("a page of %s: %v", origin, err)
		}
		if err == nil {
			_ = s.conn.CloseNow()
		} else {
			w.wantRefused(http.StatusForbidden, models.CodeForbidden, socketPath, "Origin", origin)
		}
	}
	for _, header := range []string{"Sec-WebSocket-Version: 12\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x", "Sec-WebSocket-Version: 13"} {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n%s\r\n\r\n", socketPath, host, w.token, header)
		text := make([]byte, 12)
		if _, err := conn.Read(text); err != nil || string(text) != "HTTP/1.1 400" {
			t.Errorf("%s: %s %v", header, text, err)
		}
		_ = conn.Close()
	}
}

// A ticket opens a socket as it opens a stream; pushing must have been asked for.
func TestSocket_tickets(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	get := func(query string) string {
		return w.ask(http.MethodPost, "/v1/spaces/s1/stream-tickets"+query, "").want(200, "").text("ticket")
	}
	reader, writer := get("?write=false"), get("?write=true")
	s := w.talk(socketPath+"?ticket="+writer, "Authorization", "")
	s.wantPage("")
	s.send(pushOfOne, "e1", "d1", "r1")
	for range 2 {
		if _, text, err := s.conn.Read(s.ctx); err != nil || strings.HasPrefix(string(text), `{"event":"error"`) {
			t.Fatalf("%s %v", text, err)
		}
	}
	s = w.talk(socketPath+"?ticket="+reader, "Authorization", "")
	s.wantPage("d1")
	s.send(pushOfOne, "e2", "d2", "r1")
	s.wantError("r1", http.StatusForbidden, models.CodeForbidden)
	s.send(`{"presence":{"client_id":"c1"}}`) // who may read may be seen
	s.next("presence")

	w.ask(http.MethodPost, "/v1/spaces/s1/stream-tickets?write=yes", "").want(400, models.CodeInvalidRequest)
	w.token = w.mint(map[string]string{"s1": "r"})
	w.ask(http.MethodPost, "/v1/spaces/s1/stream-tickets?write=true", "").want(403, models.CodeForbidden)
	s = w.talk(socketPath)
	s.wantPage("d1")
	s.next("presence")
	s.send(pushOfOne, "e2", "d2", "r1")
	s.wantError("r1", http.StatusForbidden, models.CodeForbidden)
}

// Each frame counts as a request, also one that is no good.
func TestSocket_rate(t *testing.T) {
	t.Parallel()
	for name, frame := range map[string]string{
		"a frame":             `{"presence":{"client_id":"c1","state":{"n":%d}},"ref":"r%d"}`,
		"one that is no good": `{"nothing":%d,"ref":"r%d"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(o *Options) { o.RateLimit = 5 }).listen()
			s := w.talk(socketPath)
			s.wantPage("")
			for i := range 30 {
				s.send(frame, i, i)
			}
			s.wantLimit()
		})
	}
}

// wantLimit reads on until a frame is refused for the rate.
func (s *talking) wantLimit() {
	s.t.Helper()
	for range 32 {
		_, text, err := s.conn.Read(s.ctx)
		if err != nil {
			s.t.Fatal(err)
		}
		if !strings.Contains(string(text), `"`+string(models.CodeRateLimited)+`"`) {
			continue
		}
		var f said
		if err := json.Unmarshal(text, &f); err != nil || f.RetryAfterMS < 1 || f.RetryAfterMS > 1000 {
			s.t.Errorf("%v: %s", err, text)
		}
		return
	}
	s.t.Error("no frame was refused for the rate")
}

func TestSocket_reset(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	w.write("d1")
	s := w.talk(socketPath)
	cursor := s.wantPage("d1").Cursor
	s = w.talk(socketPath + "?collections=others&cursor=" + cursor)
	if f := s.next("reset"); !strings.Contains(string(f.Data), `"cause":"filter"`) {
		t.Errorf("reset %s", f.Data)
	}
	s.wantClosed(websocket.StatusNormalClosure)
}

// A server that ends says so to all, and waits for what is under way.
func TestSocket_drain(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	s := w.talk(socketPath)
	s.wantPage("")
	ended := make(chan struct{})
	go func() { defer close(ended); w.close() }()
	s.wantBye(byeShutdown, websocket.StatusGoingAway)
	<-ended
}

// Who does not read is cut off, and holds up nobody else.
func TestSocket_slowReader(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	w.server.streams.patience = 200 * time.Millisecond
	s := w.talk(socketPath)
	s.wantPage("")
	big := strings.Repeat("x", 200<<10)
	for i := 0; w.server.streams.count() > 0; i++ {
		if i > 400 {
			t.Fatal("it was not cut off")
		}
		w.ask(http.MethodPost, "/v1/spaces/s1/push", fmt.Sprintf(`{"client_id":"c9","edits":[{"edit_id":"e%d","op":"put","collection":"c","id":"d","force":true,"data":{"n":%d,"x":%q}}]}`, i, i, big)).want(200, "")
	}
	err := error(nil)
	for err == nil {
		_, _, err = s.conn.Read(s.ctx)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
