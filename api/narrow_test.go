package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/models"
)

// newShop returns a world whose space s1 has documents in the collections c, secret
// and todos, with a token that reaches c and todos, and one that reaches all.
func newShop(t *testing.T) (w *world, all string) {
	t.Helper()
	w = newWorld(t)
	all = w.token
	w.put("c", "public")
	w.put("secret", "marker")
	w.put("todos", "todo")
	w.token = w.mint(map[string]string{"s1": "rw:c,todos"})
	return w, all
}

// put makes a document in s1.
func (w *world) put(collection, id string) {
	w.t.Helper()
	w.ask(http.MethodPut, "/v1/spaces/s1/documents/"+collection+"/"+id, `{"id":"`+id+`"}`, "If-None-Match", "*").want(http.StatusCreated, "")
}

// seen is what a page shows, as collection/id.
func seen(t *testing.T, body string) string {
	t.Helper()
	var list []string
	for _, c := range pageOf(t, body).Changes {
		list = append(list, c.Collection+"/"+c.ID)
	}
	if strings.Contains(body, "marker") && !strings.Contains(strings.Join(list, " "), "secret/") {
		t.Errorf("what the token does not reach is told: %s", body)
	}
	return strings.Join(list, " ")
}

func TestNarrowed_pull(t *testing.T) {
	t.Parallel()
	const target = "/v1/spaces/s1/changes"
	w, all := newShop(t)
	page := w.get(target).want(http.StatusOK, "")
	if got := seen(t, page.body); got != "c/public todos/todo" {
		t.Errorf("shown %s", got)
	}
	if digest := page.member("digest") + page.member("count"); digest != "" {
		t.Errorf("a digest of the whole space is told: %s", digest) // it changes with what is hidden
	}
	if got := seen(t, w.get(target+"?collections=todos").want(http.StatusOK, "").body); got != "todos/todo" {
		t.Errorf("shown %s", got)
	}
	for _, asked := range []string{"secret", "c,secret", "unheard-of"} {
		w.get(target+"?collections="+asked).want(http.StatusForbidden, models.CodeForbidden)
	}

	// A cursor belongs to what it has shown.
	cursor := page.text("cursor")
	w.get(target+"?cursor="+cursor).want(http.StatusOK, "")
	w.get(target+"?collections=todos,c&cursor="+cursor).want(http.StatusOK, "")
	for _, spaces := range []map[string]string{{"s1": "r:c"}, {"s1": "r:c,secret,todos"}, {"s1": "r"}} {
		w.token = w.mint(spaces)
		got := w.get(target+"?cursor="+cursor).want(http.StatusGone, models.CodeCursorExpired)
		if got.text("cause") != "filter" {
			t.Errorf("%s", got.body)
		}
	}
	w.token = all
	page = w.get(target).want(http.StatusOK, "")
	whole := page.text("cursor")
	if page.member("digest") == "" {
		t.Errorf("no digest: %s", page.body)
	}
	w.token = w.mint(map[string]string{"s1": "r:c,todos"})
	w.get(target+"?cursor="+whole).want(http.StatusGone, models.CodeCursorExpired)
	w.get("/v1/heads").want(http.StatusOK, "")
	w.get("/v1/spaces/s1/presence").want(http.StatusOK, "")
}

// A long poll is woken by every change and shows only those that the token reaches.
func TestNarrowed_longPoll(t *testing.T) {
	t.Parallel()
	w, all := newShop(t)
	cursor := w.get("/v1/spaces/s1/changes").text("cursor")
	narrow := w.token
	w.token = all
	w.put("secret", "marker2")
	w.put("c", "public2")
	w.token = narrow
	got := w.get("/v1/spaces/s1/changes?wait=20&cursor="+cursor).want(http.StatusOK, "")
	if shown := seen(t, got.body); shown != "c/public2" {
		t.Errorf("shown %s", shown)
	}
}

func TestNarrowed_push(t *testing.T) {
	t.Parallel()
	w, all := newShop(t)
	push := func(body string) answer {
		t.Helper()
		return w.ask(http.MethodPost, "/v1/spaces/s1/push", body).want(http.StatusOK, "")
	}
	edit := func(id, op, collection, doc, base string) string {
		data := `,"data":{"a":1}`
		if op == "delete" {
			data = ""
		}
		return fmt.Sprintf(`{"edit_id":%q,"op":%q,"collection":%q,"id":%q,%s%s}`, id, op, collection, doc, base, data)
	}
	const forbidden = `"status":"rejected","error":{"code":"collection_forbidden"`
	got := push(`{"client_id":"x","edits":[` + strings.Join([]string{
		edit("e1", "put", "secret", "marker", `"base_version":0`), // would be a conflict that shows it
		edit("e2", "patch", "secret", "marker", `"force":true`),
		edit("e3", "delete", "secret", "marker", `"base_version":7`),
		edit("e4", "put", "-", "d", `"base_version":0`),
		edit("e5", "put", "c", "mine", `"base_version":0`),
		edit("e6", "put", "c", "mine", `"base_edit_id":"e1"`),
	}, ",") + `],"cursor":""}`)
	if n := strings.Count(got.body, forbidden); n != 4 || strings.Contains(got.body, "marker") || !strings.Contains(got.body, `"edit_id":"e5","status":"applied"`) {
		t.Errorf("%d forbidden: %s", n, got.body)
	}
	if shown := seen(t, got.body); shown != "c/public todos/todo c/mine" {
		t.Errorf("the page shows %s", shown)
	}
	got = push(`{"client_id":"x","atomic":true,"edits":[` + edit("e7", "put", "c", "two", `"base_version":0`) + "," + edit("e8", "put", "secret", "n", `"base_version":0`) + `]}`)
	if !strings.Contains(got.body, `"edit_id":"e7","status":"skipped"`) {
		t.Errorf("%s", got.body)
	}
	w.ask(http.MethodPost, "/v1/spaces/s1/push", `{"client_id":"x","edits":[`+edit("e9", "put", "c", "three", `"base_version":0`)+`],"cursor":"","collections":["secret"]}`).
		want(http.StatusForbidden, models.CodeForbidden)
	w.get("/v1/spaces/s1/documents/c/three").want(http.StatusNotFound, models.CodeDocumentNotFound)

	// The answer to the retry of a merged edit shows the document: not to whose token
	// has lost it meanwhile.
	narrow := w.token
	w.token = all
	base := w.get("/v1/spaces/s1/documents/secret/marker").text("version")
	w.ask(http.MethodPatch, "/v1/spaces/s1/documents/secret/marker", `{"b":1}`, "If-Match", "*").want(http.StatusOK, "")
	merged := `{"client_id":"x","edits":[` + edit("m1", "patch", "secret", "marker", `"base_version":`+base) + `]}`
	if got := push(merged); !strings.Contains(got.body, `"merged":true`) || !strings.Contains(got.body, "marker") {
		t.Fatalf("not merged: %s", got.body)
	}
	w.token = narrow
	if got := push(merged); !strings.Contains(got.body, forbidden) || strings.Contains(got.body, "marker") {
		t.Errorf("a retry: %s", got.body)
	}
}

func TestNarrowed_documents(t *testing.T) {
	t.Parallel()
	w, all := newShop(t)
	const secret, public = "/v1/spaces/s1/documents/secret/marker", "/v1/spaces/s1/documents/c/public"
	w.get(public).want(http.StatusOK, "")
	there := w.get(secret).want(http.StatusNotFound, models.CodeDocumentNotFound)
	nowhere := w.get("/v1/spaces/s1/documents/secret/none").want(http.StatusNotFound, models.CodeDocumentNotFound)
	if there.text("detail") != nowhere.text("detail") {
		t.Errorf("what is there is told: %s, %s", there.body, nowhere.body)
	}
	for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodDelete} {
		w.ask(method, secret, `{}`, "If-Match", "*").want(http.StatusNotFound, models.CodeDocumentNotFound)
	}
	w.ask(http.MethodPut, secret, `{}`, "If-None-Match", "*").want(http.StatusNotFound, models.CodeDocumentNotFound)
	w.ask(http.MethodPatch, public, `{"a":1}`, "If-Match", "*").want(http.StatusOK, "")
	w.token = w.mint(map[string]string{"s1": "r:c"})
	w.ask(http.MethodPatch, public, `{"a":2}`, "If-Match", "*").want(http.StatusForbidden, models.CodeForbidden)
	w.token = all
	if got := w.get(secret).want(http.StatusOK, "").text("version"); got == "" {
		t.Error("the document has gone")
	}
}

func TestNarrowed_streams(t *testing.T) {
	t.Parallel()
	shop, all := newShop(t)
	shop.token = all
	shop.writeTo("s2", "other")
	w := shop.listen()
	w.token = w.mint(map[string]string{"s1": "r:c,todos", "s2": "r"})
	ticket := w.ticketFor("/v1/stream-tickets")
	one := w.ticketFor("/v1/spaces/s1/stream-tickets")
	token := w.token
	w.token = ""
	type stream struct{ target, token string }
	for _, s := range []stream{{streamPath, token}, {streamPath + "?ticket=" + one, ""}, {streamPath + "?ticket=" + ticket, ""}} {
		w.token = s.token
		f := w.follow(s.target)
		f.wantPage("public todo")
		w.token = all
		w.put("secret", "marker"+fmt.Sprint(len(s.target)))
		w.put("c", "new"+fmt.Sprint(len(s.target)))
		f.wantPage("new" + fmt.Sprint(len(s.target)))
		w.ask(http.MethodDelete, "/v1/spaces/s1/documents/c/new"+fmt.Sprint(len(s.target)), "", "If-Match", "*").want(http.StatusNoContent, "")
		f.stop()
	}
	for _, s := range []stream{{bothPath, token}, {"/v1/stream", token}, {"/v1/stream?ticket=" + ticket, ""}} {
		w.token = s.token
		f := w.follow(s.target)
		got := map[string]string{}
		for range 2 {
			p := f.page()
			got[p.Space] = p.ids()
		}
		if diff := cmp.Diff(map[string]string{"s1": "public todo", "s2": "other"}, got); diff != "" {
			t.Errorf("%.20s (-want +got):\n%s", s.target, diff)
		}
		f.stop()
	}
	for _, s := range []stream{
		{streamPath + "?collections=secret", token},
		{streamPath + "?collections=c,secret", token},
		{bothPath + "&collections=secret", token}, // of s2 it could be had
		{streamPath + "?collections=secret&ticket=" + one, ""},
		{"/v1/stream?collections=secret&ticket=" + ticket, ""},
	} {
		w.token = s.token
		w.connect(s.target).answer().want(http.StatusForbidden, models.CodeForbidden)
	}
	w.token = token
	w.follow(streamPath + "?collections=todos").wantPage("todo")
	// The cursor of a wider token is of another filter.
	w.token = all
	cursor := w.get("/v1/spaces/s1/changes").text("cursor")
	w.token = token
	if e := w.follow(streamPath + "?cursor=" + cursor).next("reset"); !strings.Contains(e.Data, `"filter"`) {
		t.Errorf("%s", e.Data)
	}
}

// Whatever the server answers, a new route too, tells nothing of what the token does
// not reach. Streams have tests of their own.
func TestNarrowed_everyRoute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ask(http.MethodPut, "/v1/spaces/s1/documents/secret/d", `{"text":"needle"}`, "If-None-Match", "*").want(http.StatusCreated, "")
	fill := strings.NewReplacer("{space}", "s1", "{collection}", "secret", "{id}", "d", "{client_id}", "x", "{code}", "internal", "{file}", "docs.js")
	const push = `{"client_id":"x","cursor":"","edits":[{"edit_id":"e","op":"put","collection":"secret","id":"d","base_version":0,"data":{}}]}`
	send := func() (shown int) {
		for _, r := range Routes() {
			if strings.HasSuffix(r.Path, "/stream") {
				continue
			}
			for _, body := range []string{"", "{}", push} {
				if got := w.ask(r.Method, fill.Replace(r.Path), body, "If-Match", `"1"`); strings.Contains(got.body, "needle") {
					shown++
				}
			}
		}
		return shown
	}
	all := w.token
	w.token = w.mint(map[string]string{"s1": "rw:c"})
	if n := send(); n > 0 {
		t.Errorf("%d answers tell of it", n)
	}
	w.token = all
	if send() == 0 {
		t.Error("no answer tells of it, also to those who may know: the test finds nothing")
	}
}

// A token whose pattern is narrowed may want a ticket for as many spaces as there may
// be: it must fit a URL.
func TestNarrowed_largeTicket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var collections, spaces []string
	for i := range models.MaxCollections {
		collections = append(collections, fmt.Sprintf("collection-%03d", i))
	}
	for i := range models.MaxStreamSpaces {
		spaces = append(spaces, fmt.Sprintf("s%0*d", models.MaxSpaceBytes-1, i))
	}
	w.token = w.mint(map[string]string{"s*": "r:" + strings.Join(collections, ",")})
	l := w.listen()
	ticket := l.ticketFor("/v1/stream-tickets?space=" + strings.Join(spaces, ","))
	if n := len("/v1/stream?ticket=" + ticket); n > models.MaxURLBytes {
		t.Errorf("its URL has %d bytes", n)
	}
	l.token = ""
	l.connect("/v1/stream?space="+spaces[7]+"&collections=x&ticket="+ticket).answer().want(http.StatusForbidden, models.CodeForbidden)
}

// Rights that become narrower end a stream, whether it has asked for all or for some.
func TestNarrowed_rightsAreReadAgain(t *testing.T) {
	t.Parallel()
	for target, first := range map[string]string{streamPath: "d1", streamPath + "?collections=x,y": ""} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			inStreamBubble(t, func(b *bubble) {
				b.token = b.mint(time.Hour)
				f := b.follow(target)
				f.wantPage(first)
				synctest.Wait()
				b.server.streams.mu.Lock()
				for st := range b.server.streams.open {
					st.who = auth.NewReader("alice", map[string][]string{"s1": {"x"}}, st.who.Expires)
				}
				b.server.streams.mu.Unlock()
				b.change(2)
				f.wantBye("access_lost")
			}, withTokens)
		})
	}
}
