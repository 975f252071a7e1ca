package api

import (
	"encoding/json"
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

const here = "/v1/spaces/s1/presence"

// as lets the world speak for another subject.
func (w *world) as(subject string, spaces map[string]string) *world {
	w.t.Helper()
	token, err := auth.Mint(w.t.Context(), auth.Options{Secret: testSecret}, auth.Grant{Subject: subject, Spaces: spaces, TTL: time.Hour})
	if err != nil {
		w.t.Fatal(err)
	}
	other := *w
	other.token = token
	return &other
}

// present returns who is present, without the times, which are another each time.
func (a answer) present() []map[string]any {
	a.t.Helper()
	var body struct{ Present []map[string]any }
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		a.t.Fatal(err)
	}
	for _, p := range body.Present {
		since, _ := p["since"].(string)
		expires, _ := p["expires_in_ms"].(float64)
		if len(since) != len("2026-11-23T10:00:00.000Z") || expires <= 0 || expires > 120_000 {
			a.t.Errorf("times of %v", p)
		}
		delete(p, "since")
		delete(p, "expires_in_ms")
	}
	return body.Present
}

func TestPresence_life(t *testing.T) {
	t.Parallel()
	alice := newWorld(t)
	bob := alice.as("bob", map[string]string{"s1": "r"}) // reading suffices
	if got := alice.get(here).want(http.StatusOK, ""); !strings.HasPrefix(got.body, `{"present":[],`) {
		t.Errorf("nobody is %s", got.body)
	}
	const state = `{ "at" : "<t1>", "n":1.50 }`
	came := alice.ask(http.MethodPut, here+"/a", `{"ttl_s":120,"state":`+state+`}`).want(http.StatusOK, "").
		wantHeader("Cache-Control", "private, no-store")
	if !strings.Contains(came.body, `"state":`+state+`,`) || came.member("poll_after_ms") != "40000" {
		t.Errorf("%s", came.body)
	}
	want := []map[string]any{
		{"client_id": "a", "subject": "alice", "state": map[string]any{"at": "<t1>", "n": 1.5}},
		{"client_id": "b", "subject": "bob", "state": map[string]any{}},
	}
	if diff := cmp.Diff(want, bob.ask(http.MethodPut, here+"/b", `{}`).want(http.StatusOK, "").present()); diff != "" {
		t.Errorf("present (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, alice.get(here).want(http.StatusOK, "").present()); diff != "" {
		t.Errorf("present (-want +got):\n%s", diff)
	}
	if other := alice.get("/v1/spaces/s2/presence").want(http.StatusOK, "").present(); len(other) != 0 {
		t.Errorf("present in another space: %v", other)
	}

	bob.ask(http.MethodPut, here+"/a", `{}`).want(http.StatusConflict, models.CodePresenceTaken)
	bob.ask(http.MethodDelete, here+"/a", "").want(http.StatusConflict, models.CodePresenceTaken)
	alice.ask(http.MethodDelete, here+"/a", "").want(http.StatusNoContent, "")
	alice.ask(http.MethodDelete, here+"/a", "").want(http.StatusNoContent, "")
	if diff := cmp.Diff(want[1:], alice.get(here).present()); diff != "" {
		t.Errorf("present (-want +got):\n%s", diff)
	}
	bob.ask(http.MethodPut, here+"/a", `{}`).want(http.StatusOK, "")
}

func TestPresence_rights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, space := range []string{"s3", "-"} {
		at := "/v1/spaces/" + space + "/presence"
		w.get(at).want(http.StatusNotFound, models.CodeSpaceNotFound)
		w.ask(http.MethodPut, at+"/c", `{`).want(http.StatusNotFound, models.CodeSpaceNotFound)
		w.ask(http.MethodDelete, at+"/-", "").want(http.StatusNotFound, models.CodeSpaceNotFound)
	}
	all := w.as("alice", map[string]string{"*": "r"})
	all.get("/v1/spaces/-/presence").want(http.StatusBadRequest, models.CodeInvalidSpace)
}

func TestPresence_wrongRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for body, want := range map[string]struct {
		code    models.Code
		pointer string
	}{
		`{`:                             {models.CodeMalformedJSON, ""},
		`{}{}`:                          {models.CodeMalformedJSON, ""},
		`null`:                          {models.CodeInvalidRequest, ""},
		`[]`:                            {models.CodeInvalidRequest, ""},
		`{"state":null}`:                {models.CodeInvalidRequest, "/state"},
		`{"state":[]}`:                  {models.CodeInvalidRequest, "/state"},
		`{"state":"x"}`:                 {models.CodeInvalidRequest, "/state"},
		`{"ttl_s":4}`:                   {models.CodeInvalidRequest, "/ttl_s"},
		`{"ttl_s":121}`:                 {models.CodeInvalidRequest, "/ttl_s"},
		`{"ttl_s":30.0}`:                {models.CodeInvalidRequest, "/ttl_s"},
		`{"ttl_s":"30"}`:                {models.CodeInvalidRequest, "/ttl_s"},
		`{"ttl_s":null}`:                {models.CodeInvalidRequest, "/ttl_s"},
		`{"TTL_s":30}`:                  {models.CodeUnknownField, "/TTL_s"},
		`{"subject":"bob"}`:             {models.CodeUnknownField, "/subject"},
		`{"ttl_s":9,"ttl_s":9}`:         {models.CodeDuplicateKey, "/ttl_s"},
		`{"state":{},"state":{}}`:       {models.CodeDuplicateKey, "/state"},
		`{"state":{"a":{"b":1,"b":1}}}`: {models.CodeDuplicateKey, "/state/a/b"},
		`{"state":{"a":1e999}}`:         {models.CodeInvalidDocument, "/state/a"},
		`{"state":{"a":"\ud800"}}`:      {models.CodeInvalidDocument, "/state/a"},
		`{"state":{"a":"` + strings.Repeat("x", 1017) + `"}}`: {models.CodeDocumentTooLarge, "/state"},
	} {
		got := w.ask(http.MethodPut, here+"/c", body).want(kinds[want.code].status, want.code)
		if pointer := `"pointer":"` + want.pointer + `"`; want.code != models.CodeMalformedJSON && !strings.Contains(got.body, pointer) {
			t.Errorf("%s: %s, want %s", body, got.body, pointer)
		}
	}
	w.ask(http.MethodPut, here+"/c", "").want(http.StatusUnsupportedMediaType, models.CodeUnsupportedMedia)
	w.ask(http.MethodPut, here+"/c", "", "Content-Type", "application/json").want(http.StatusBadRequest, models.CodeMalformedJSON)
	w.ask(http.MethodPut, here+"/c?x=1", `{}`).want(http.StatusBadRequest, models.CodeInvalidRequest)
	w.ask(http.MethodDelete, here+"/c?x=1", "").want(http.StatusBadRequest, models.CodeInvalidRequest)
	w.get(here+"?x=1").want(http.StatusBadRequest, models.CodeInvalidRequest)
	for _, method := range []string{http.MethodPut, http.MethodDelete} {
		w.ask(method, here+"/-", `{}`).want(http.StatusBadRequest, models.CodeInvalidID)
		w.ask(method, here+"/"+strings.Repeat("c", 129), `{}`).want(http.StatusBadRequest, models.CodeInvalidID)
		w.ask(method, here+"/c/d", `{}`).want(http.StatusNotFound, models.CodeNotFound)
	}
	if got := w.get(here).present(); len(got) != 0 {
		t.Errorf("present after refused heartbeats: %v", got)
	}
}

func TestPresence_limits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, body := range []string{
		`{"ttl_s":5}`, `{"ttl_s":120}`, `{"state":{"a":"` + strings.Repeat("x", 1016) + `"}}`,
	} {
		w.ask(http.MethodPut, here+"/"+strings.Repeat("c", 128), body).want(http.StatusOK, "")
	}
	for i := 1; i < models.MaxPresent; i++ {
		w.ask(http.MethodPut, fmt.Sprintf("%s/c%d", here, i), `{}`).want(http.StatusOK, "")
	}
	w.ask(http.MethodPut, here+"/late", `{}`).want(http.StatusTooManyRequests, models.CodePresenceFull).wantHeader("Retry-After", "10")
	w.ask(http.MethodPut, here+"/c1", `{}`).want(http.StatusOK, "")
	w.ask(http.MethodPut, "/v1/spaces/s2/presence/late", `{}`).want(http.StatusOK, "")
	w.ask(http.MethodDelete, here+"/c1", "").want(http.StatusNoContent, "")
	w.ask(http.MethodPut, here+"/late", `{}`).want(http.StatusOK, "")
}

// wantPresent wants an event that tells who is present in a space, and nothing
// that a client would come back with.
func (f *following) wantPresent(space string, clientIDs ...string) string {
	f.t.Helper()
	before := f.events.Last().ID
	e := f.next("presence")
	var got struct {
		Space   string
		Present []struct {
			ClientID string `json:"client_id"`
		}
	}
	if err := json.Unmarshal([]byte(e.Data), &got); err != nil {
		f.t.Fatalf("%v: %s", err, e.Data)
	}
	var ids []string
	for _, p := range got.Present {
		ids = append(ids, p.ClientID)
	}
	if diff := cmp.Diff(clientIDs, ids); diff != "" || got.Space != space {
		f.t.Errorf("in %s (-want +got):\n%s", got.Space, diff)
	}
	if e.ID != before || strings.Contains(e.Data, "expires_in_ms") {
		f.t.Errorf("after the id %q came %+v", before, e)
	}
	return e.Data
}

func TestStream_presence(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	empty := w.follow(streamPath)
	empty.wantPage("")
	const state = "{ \"a\":\r\n1 }"
	w.ask(http.MethodPut, here+"/a", `{"state":`+state+`}`).want(http.StatusOK, "")
	first := empty.wantPresent("s1", "a")
	if !strings.Contains(first, `"state":{ "a":`+"\n"+`1 }`) { // a line end is one, whichever it was
		t.Errorf("%q", first)
	}
	late := w.follow(streamPath)
	late.wantPage("")
	if got := late.wantPresent("s1", "a"); got != first {
		t.Errorf("one stream got %s, another %s", first, got)
	}
	w.ask(http.MethodPut, here+"/a", `{"state":`+state+`}`).want(http.StatusOK, "") // no news
	w.ask(http.MethodPut, "/v1/spaces/s2/presence/b", `{}`).want(http.StatusOK, "") // nor here
	w.write("d")
	empty.wantPage("d")
	w.ask(http.MethodPut, here+"/a", `{}`).want(http.StatusOK, "")
	if got := empty.wantPresent("s1", "a"); !strings.Contains(got, `"state":{}`) {
		t.Errorf("%s", got)
	}
	w.ask(http.MethodDelete, here+"/a", "").want(http.StatusNoContent, "")
	empty.wantPresent("s1")
}

func TestStream_presenceInSeveralSpaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	f := w.follow("/v1/stream?space=s1&space=s2")
	f.wantPage("")
	f.wantPage("")
	w.ask(http.MethodPut, "/v1/spaces/s2/presence/b", `{}`).want(http.StatusOK, "")
	f.wantPresent("s2", "b")
	w.ask(http.MethodPut, here+"/a", `{}`).want(http.StatusOK, "")
	f.wantPresent("s1", "a")
}

// withPresence gives the server of a bubble a registry in which alice is present.
func withPresence(t *testing.T, o *Options) {
	t.Helper()
	o.Presence = newRegistry(t)
	if err := o.Presence.Enter(t.Context(), "s1", "a", "alice", models.PresenceRequest{TTL: models.MaxPresenceTTL}); err != nil {
		t.Fatal(err)
	}
}

// It is for the database to say whether there is a stream: who is present alone
// makes none.
func TestStream_presenceWithoutDatabase(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		b.store.set(1, "{}", &models.Error{Code: models.CodeUnavailable, Detail: "The database is away."})
		b.follow(streamPath).answer().want(http.StatusServiceUnavailable, models.CodeUnavailable)
	}, withPresence)
}

// However often somebody shows another state, the stream looks for lost pokes as
// often as ever.
func TestStream_presenceIsNoHeartbeat(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		f := b.follow(streamPath)
		f.wantPage("d1")
		f.wantPresent("s1", "a")
		b.store.set(2, "{}", nil) // and no poke
		for i := range 5 {
			time.AfterFunc(time.Duration(3*i+1)*time.Second, func() {
				state := fmt.Appendf(nil, `{"i":%d}`, i)
				_ = b.server.presence.Enter(b.t.Context(), "s1", "a", "alice", models.PresenceRequest{State: state})
			})
		}
		for range 5 {
			f.wantPresent("s1", "a")
		}
		if f.wantPage("d2"); f.after() != heartbeatEvery {
			t.Errorf("seen after %v", f.after())
		}
	}, withPresence)
}

// Who may no longer read a space is not shown who is there.
func TestStream_presenceAfterRightsAreLost(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		b.token = b.mint(time.Hour)
		f := b.follow(streamPath)
		f.wantPage("d1")
		f.wantPresent("s1", "a")
		synctest.Wait()
		b.server.streams.mu.Lock()
		for st := range b.server.streams.open {
			st.who = auth.NewReader("alice", nil, st.who.Expires)
		}
		b.server.streams.mu.Unlock()
		if err := b.server.presence.Leave(b.t.Context(), "s1", "a", "alice"); err != nil {
			t.Fatal(err)
		}
		f.wantBye("access_lost")
	}, withPresence, withTokens)
}
