package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/tests/eventstream"
)

const streamPath = "/v1/spaces/s1/stream"

// patient is how long a test waits for what must come.
const patient = 30 * time.Second

// listen serves w over TCP until the test ends.
func (w *world) listen(change ...func(*http.Server)) *listening {
	server := httptest.NewUnstartedServer(nil)
	server.Config, server.Listener = w.server.HTTPServer(), Listener(server.Listener)
	for _, c := range change {
		c(server.Config)
	}
	server.Start()
	end := func() {
		w.server.engine.Drain()
		server.Close()
		w.server.Wait()
	}
	w.t.Cleanup(end)
	return &listening{w, server.URL, server.Client(), end}
}

type listening struct {
	*world
	url    string
	client *http.Client
	close  func() // ends all streams and waits for all requests
}

// following is a stream under way.
type following struct {
	t        *testing.T
	response *http.Response
	events   *eventstream.Reader
	stop     context.CancelFunc
}

// connect asks for a stream; headers are pairs. Its time is bounded.
func (l *listening) connect(target string, headers ...string) *following {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	l.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+target, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	if l.token != "" {
		r.Header.Set("Authorization", "Bearer "+l.token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := l.client.Do(r)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = response.Body.Close() })
	return &following{l.t, response, eventstream.NewReader(response.Body), cancel}
}

// follow connects and wants a stream.
func (l *listening) follow(target string, headers ...string) *following {
	l.t.Helper()
	f := l.connect(target, headers...)
	if f.response.StatusCode != http.StatusOK || f.response.Header.Get("Content-Type") != "text/event-stream" {
		text, _ := io.ReadAll(f.response.Body)
		l.t.Fatalf("%s: %d %s", target, f.response.StatusCode, text)
	}
	return f
}

// answer is what came in place of a stream.
func (f *following) answer() answer {
	f.t.Helper()
	text, err := io.ReadAll(f.response.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return answer{f.t, f.response.StatusCode, f.response.Header, string(text)}
}

// streamPage is what of a page the tests look at.
type streamPage struct {
	Space   string
	Changes []struct {
		Collection string
		ID         string
		Deleted    bool
		Data       json.RawMessage
	}
	Cursor  string
	Version int64
	HasMore bool `json:"has_more"`
}

// ids are the documents of a page, tombstones with a minus.
func (p streamPage) ids() string {
	var ids []string
	for _, c := range p.Changes {
		if c.Deleted {
			c.ID = "-" + c.ID
		}
		ids = append(ids, c.ID)
	}
	return strings.Join(ids, " ")
}

func pageOf(t *testing.T, data string) (p streamPage) {
	t.Helper()
	if err := json.Unmarshal([]byte(data), &p); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return p
}

func (f *following) next(name string) eventstream.Event {
	f.t.Helper()
	e, err := f.events.Next()
	if err != nil {
		f.t.Fatalf("no %s: %v", name, err)
	}
	if e.Name != name {
		f.t.Fatalf("got %+v, want %s", e, name)
	}
	return e
}

// page wants a page, with an id that can be resumed from.
func (f *following) page() streamPage {
	f.t.Helper()
	e := f.next("changes")
	p := pageOf(f.t, e.Data)
	if p.Space == "" && e.ID != p.Cursor || p.Space != "" && !strings.Contains(","+e.ID+",", ","+p.Space+"="+p.Cursor+",") {
		f.t.Errorf("the id %q is not that of %+v", e.ID, p)
	}
	return p
}

func (f *following) wantPage(ids string) streamPage {
	f.t.Helper()
	p := f.page()
	if diff := cmp.Diff(ids, p.ids()); diff != "" {
		f.t.Errorf("page (-want +got):\n%s", diff)
	}
	return p
}

func (f *following) wantBye(reason string) eventstream.Event {
	f.t.Helper()
	e := f.next("bye")
	var bye struct {
		Reason       string
		RetryAfterMS *int64 `json:"retry_after_ms"`
	}
	if err := json.Unmarshal([]byte(e.Data), &bye); err != nil || bye.RetryAfterMS == nil {
		f.t.Fatalf("%v: %s", err, e.Data)
	}
	if bye.Reason != reason || *bye.RetryAfterMS > 5000 || *bye.RetryAfterMS > 0 && e.Retry != time.Duration(*bye.RetryAfterMS)*time.Millisecond {
		f.t.Errorf("got %+v with retry %v, want %s", e, e.Retry, reason)
	}
	f.wantEnd()
	return e
}

func (f *following) wantEnd() {
	f.t.Helper()
	if e, err := f.events.Next(); !errors.Is(err, io.EOF) {
		f.t.Errorf("got %+v, %v, want the end", e, err)
	}
}

// write makes documents of s1 (or another space).
func (w *world) write(ids ...string) {
	w.t.Helper()
	w.writeTo("s1", ids...)
}

func (w *world) writeTo(space string, ids ...string) {
	w.t.Helper()
	for _, id := range ids {
		w.ask(http.MethodPut, "/v1/spaces/"+space+"/documents/c/"+id, `{}`, "If-None-Match", "*").want(http.StatusCreated, "")
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	w.write("a", "b")
	f := w.follow(streamPath)
	for name, want := range map[string]string{
		"Cache-Control": "private, no-store", "X-Accel-Buffering": "no", "Content-Encoding": "", "Content-Length": "",
		"Vary": "Authorization", "X-Content-Type-Options": "nosniff",
	} {
		if got := f.response.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	f.wantPage("a b")
	if last := f.events.Last(); last.Retry < time.Second || last.Retry > 3*time.Second {
		t.Errorf("retry: %v", last.Retry)
	}
	w.write("c")
	f.wantPage("c")
	w.ask(http.MethodDelete, "/v1/spaces/s1/documents/c/a", "", "If-Match", "*").want(http.StatusNoContent, "")
	f.wantPage("-a")
	w.writeTo("s2", "elsewhere") // not here
	w.write("d")
	f.wantPage("d")
}

func TestStream_emptySpace(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	f := w.follow(streamPath)
	p := f.wantPage("") // the snapshot is complete
	if p.HasMore || p.Version != 0 {
		t.Errorf("%+v", p)
	}
	w.write("a")
	f.wantPage("a")

	// At the head there is nothing to say, until there is.
	f = w.follow(streamPath + "?cursor=" + f.events.Last().ID)
	w.write("b")
	f.wantPage("b")
}

func TestStream_snapshotInPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	w.write("a", "b", "c", "d", "e")
	f := w.follow(streamPath + "?limit=2")
	for i, want := range []string{"a b", "c d", "e"} {
		if p := f.wantPage(want); p.HasMore != (i < 2) {
			t.Errorf("page %d: has_more is %v", i, p.HasMore)
		}
	}
}

func TestStream_resumes(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	w.write("a")
	first := w.follow(streamPath)
	first.wantPage("a")
	w.write("b")
	first.wantPage("b")
	old := w.get(feed).text("cursor") // after b
	first.stop()

	w.write("c")
	w.follow(streamPath + "?cursor=" + old).wantPage("c")
	w.follow(streamPath, "Last-Event-ID", first.events.Last().ID).wantPage("c")
	second := w.follow(streamPath+"?cursor="+old, "Last-Event-ID", w.get(feed).text("cursor"))
	w.write("d")
	second.wantPage("d") // the header wins
	w.follow(streamPath+"?cursor="+old, "Last-Event-ID", "").wantPage("a b c d")
	w.follow(streamPath + "?cursor=").wantPage("a b c d")
}

func TestStream_filter(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	w.write("a")
	f := w.follow(streamPath + "?collections=x,c")
	f.wantPage("a")
	other := w.follow(streamPath + "?collections=other")
	other.wantPage("")
	w.write("b")
	f.wantPage("b")
	w.ask(http.MethodPut, "/v1/spaces/s1/documents/other/o", `{}`, "If-None-Match", "*").want(http.StatusCreated, "")
	other.wantPage("o")
	w.write("c")
	f.wantPage("c")
}

func TestStream_reset(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	w.write("a")
	filtered := w.get(feed + "?collections=c").text("cursor")
	here := w.get(feed).text("cursor")
	for target, cause := range map[string]string{
		streamPath + "?cursor=" + filtered:                                "filter",
		streamPath + "?min_version=9007199254740991&cursor=" + here:       "epoch",
		streamPath + "?collections=other&cursor=" + url.QueryEscape(here): "filter",
	} {
		f := w.follow(target)
		e := f.next("reset")
		got := answer{t: t, body: e.Data}
		if e.ID != "" || got.text("code") != "cursor_expired" || got.text("cause") != cause || got.member("status") != "410" || got.member("space") != "" {
			t.Errorf("%+v, want cause %s", e, cause)
		}
		f.wantEnd()
	}
	// Without a cursor there is nothing to lose.
	w.follow(streamPath + "?min_version=9007199254740991").wantPage("a")
}

// Parameters that are wrong are a status, not a stream.
func TestStream_parameters(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	for _, query := range []string{"limit=0", "limit=1001", "min_version=x", "collections=-", "wait=1", "since=3", "cursor=1&cursor=2", "space=s1"} {
		w.connect(streamPath+"?"+query).answer().want(http.StatusBadRequest, models.CodeInvalidRequest)
	}
	other := w.get("/v1/spaces/s2/changes").text("cursor")
	for _, cursor := range []string{"xyz", other, "s1=" + other} {
		w.connect(streamPath+"?cursor="+url.QueryEscape(cursor)).answer().want(http.StatusBadRequest, models.CodeInvalidCursor)
		w.connect(streamPath, "Last-Event-ID", cursor).answer().want(http.StatusBadRequest, models.CodeInvalidCursor)
	}
	w.connect("/v1/spaces/s3/stream").answer().want(http.StatusNotFound, models.CodeSpaceNotFound)
	w.token = ""
	w.connect(streamPath).answer().want(http.StatusUnauthorized, models.CodeUnauthenticated)
}

func TestStream_head(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, target := range []string{streamPath, "/v1/stream?space=s1"} {
		head := w.ask(http.MethodHead, target, "").want(http.StatusOK, "").wantHeader("Content-Type", "text/event-stream")
		if head.body != "" {
			t.Errorf("%s: a body: %q", target, head.body)
		}
	}
	w.ask(http.MethodHead, streamPath+"?limit=0", "").want(http.StatusBadRequest, models.CodeInvalidRequest)
}

// What wants to compress must leave streams alone: it would hold events back.
func TestStream_neverCompressed(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	w.ask(http.MethodPut, todo, fmt.Sprintf(`{"a":%q}`, strings.Repeat("x", 100_000)), "If-None-Match", "*").want(http.StatusCreated, "")
	f := w.follow(streamPath, "Accept-Encoding", "gzip, zstd")
	if got := f.response.Header.Get("Content-Encoding"); got != "" {
		t.Errorf("Content-Encoding: %s", got)
	}
	f.page()
}

func TestStream_databaseAway(t *testing.T) {
	t.Parallel()
	db := &oneDocument{err: &models.Error{Code: models.CodeUnavailable, Detail: "The database is away."}}
	w := newWorld(t, func(o *Options) { o.Engine = newEngine(t, db) }).listen()
	w.connect(streamPath).answer().want(http.StatusServiceUnavailable, models.CodeUnavailable)
	if w.server.streams.count() != 0 {
		t.Error("what is no stream is counted as one")
	}
}

func TestStream_drain(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	var streams []*following
	for range 10 {
		f := w.follow(streamPath)
		f.page()
		streams = append(streams, f)
	}
	w.server.engine.Drain()
	waits := make(map[string]bool)
	for _, f := range streams {
		e := f.wantBye("shutdown")
		if e.Retry < 500*time.Millisecond {
			t.Errorf("all come back after %v", e.Retry)
		}
		waits[e.Data] = true
	}
	if len(waits) < 5 {
		t.Errorf("they come back in step: %v", waits)
	}
	w.connect(streamPath).answer().want(http.StatusServiceUnavailable, models.CodeUnavailable)
}

// The line in the log comes at the end, as for all requests.
func TestStream_isLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	f := w.follow(streamPath + "?cursor=")
	f.page()
	w.close()
	f.wantBye("shutdown")
	if log := w.log.String(); !strings.Contains(log, "path="+streamPath+" status=200") {
		t.Errorf("%s", log)
	}
}
