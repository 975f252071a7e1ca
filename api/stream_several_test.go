package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
)

const bothPath = "/v1/stream?space=s1,s2"

func (f *following) wantPageOf(space, ids string) streamPage {
	f.t.Helper()
	p := f.wantPage(ids)
	if p.Space != space {
		f.t.Errorf("a page of %s, want %s", p.Space, space)
	}
	return p
}

func TestStreamSpaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	w.write("a")
	f := w.follow(bothPath)
	f.wantPageOf("s1", "a")
	f.wantPageOf("s2", "")
	w.writeTo("s2", "b")
	f.wantPageOf("s2", "b")
	w.write("c")
	last := f.wantPageOf("s1", "c")
	id := f.events.Last().ID
	f.stop()
	if want := "s1=" + last.Cursor + ",s2="; !strings.HasPrefix(id, want) {
		t.Errorf("id %s, want %s…", id, want)
	}

	w.writeTo("s2", "d")
	w.follow(bothPath, "Last-Event-ID", id).wantPageOf("s2", "d")
	w.follow(bothPath+"&cursor="+url.QueryEscape(id)).wantPageOf("s2", "d")
	w.follow(bothPath+"&cursor="+id).wantPageOf("s2", "d") // nothing in it needs escaping
	w.follow("/v1/stream", "Last-Event-ID", id).wantPageOf("s2", "d")
	// The order of both does not matter; a space that is not in the id begins anew.
	one, two, _ := strings.Cut(id, ",")
	w.follow("/v1/stream?space=s2&space=s1&cursor="+two+","+one).wantPageOf("s2", "d")
	f = w.follow(bothPath + "&cursor=" + two)
	f.wantPageOf("s1", "a c")
	f.wantPageOf("s2", "d")
	f = w.follow(bothPath+"&cursor="+id, "Last-Event-ID", "")
	f.wantPageOf("s1", "a c")
	f.wantPageOf("s2", "b d")
}

// The spaces take turns: a large one does not keep a small one waiting.
func TestStreamSpaces_takeTurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	w.write("a", "b", "c")
	w.writeTo("s2", "x", "y")
	f := w.follow(bothPath + "&limit=1")
	f.wantPageOf("s1", "a")
	f.wantPageOf("s2", "x")
	f.wantPageOf("s1", "b")
	f.wantPageOf("s2", "y")
	f.wantPageOf("s1", "c")
}

// A reset is of one space; the ids that follow do not have it, and the other
// spaces lose nothing.
func TestStreamSpaces_reset(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	w.write("a")
	bad := "s1=" + w.get(feed+"?collections=other").text("cursor")
	good := "s2=" + w.get("/v1/spaces/s2/changes").text("cursor")
	w.writeTo("s2", "b")

	f := w.follow(bothPath + "&cursor=" + bad + "," + good)
	e := f.next("reset")
	got := answer{t: t, body: e.Data}
	if e.ID != good || got.text("space") != "s1" || got.text("cause") != "filter" {
		t.Errorf("%+v", e)
	}
	f.wantPageOf("s2", "b")
	f.wantEnd()
	f = w.follow(bothPath + "&cursor=" + f.events.Last().ID)
	f.wantPageOf("s1", "a")
	w.writeTo("s2", "c")
	f.wantPageOf("s2", "c")

	// All at once.
	f = w.follow(bothPath + "&collections=x&cursor=" + bad + "," + good)
	f.next("reset")
	if e := f.next("reset"); e.ID != "" {
		t.Errorf("after both the id is %q", e.ID)
	}
	f.wantEnd()
}

func TestStreamSpaces_parameters(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	names := make([]string, models.MaxStreamSpaces+1)
	for i := range names {
		names[i] = fmt.Sprint("news-", i)
	}
	w.token = w.mint(map[string]string{"s1": "r", "s2": "r", "news-*": "r"})
	f := w.follow("/v1/stream?space=" + strings.Join(names[1:], ","))
	for _, name := range names[1:] {
		f.wantPageOf(name, "")
	}
	w.connect("/v1/stream?space="+strings.Join(names, ",")).answer().want(http.StatusBadRequest, models.CodeInvalidRequest)
	w.connect("/v1/stream?space=s1,other").answer().want(http.StatusNotFound, models.CodeSpaceNotFound)
	// The cursor of a damaged or foreign space is none.
	cursor := w.get(feed).text("cursor")
	for _, id := range []string{
		"xyz", cursor, "s1", "s1=", "=" + cursor, "s1=xyz", "s2=" + cursor, "s3=" + cursor, "s1=" + cursor + ",", ",",
		"s1=" + cursor + ",s1=" + cursor, "s1=" + cursor + ";s2=" + cursor, " s1=" + cursor,
	} {
		w.connect(bothPath+"&cursor="+url.QueryEscape(id)).answer().want(http.StatusBadRequest, models.CodeInvalidCursor)
	}
	w.connect(bothPath+"&min_version=1").answer().want(http.StatusBadRequest, models.CodeInvalidRequest)
	w.connect(bothPath+"&wait=1").answer().want(http.StatusBadRequest, models.CodeInvalidRequest)
	// The token says which, if the URL does not.
	f = w.follow("/v1/stream")
	f.wantPageOf("s1", "")
	f.wantPageOf("s2", "")
	w.token = w.mint(map[string]string{"news-*": "r"})
	w.connect("/v1/stream").answer().want(http.StatusBadRequest, models.CodeInvalidRequest)
}

// As many spaces as may be, of the longest names: what comes back from a client
// fits a header and, with short names, a URL.
func TestStreamSpaces_idFits(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	var names []string
	rights := make(map[string]string)
	for i := range models.MaxStreamSpaces {
		names = append(names, fmt.Sprintf("%02d", i)+strings.Repeat("x", models.MaxSpaceBytes-2))
		rights[names[i]] = "rw"
	}
	w.token = w.mint(rights)
	target := "/v1/stream?space=" + strings.Join(names, ",")
	f := w.follow(target)
	for range names {
		f.page()
	}
	id := f.events.Last().ID
	w.writeTo(names[29], "a")
	w.follow(target, "Last-Event-ID", id).wantPageOf(names[29], "a")
	w.follow(target+"&cursor="+url.QueryEscape(id)).wantPageOf(names[29], "a")

	// Beside a ticket, which names them too, the names don't fit.
	rest := "ticket=" + w.ticketFor("/v1/stream-tickets") + "&cursor=" + url.QueryEscape(id)
	w.token = ""
	w.follow("/v1/stream?"+rest).wantPageOf(names[29], "a")
	w.connect(target+"&"+rest).answer().want(http.StatusRequestURITooLong, models.CodeURITooLong)
}

func TestStreamID(t *testing.T) {
	t.Parallel()
	follows := []follow{{space: "a", cursor: "1"}, {space: "b"}, {space: "c", cursor: "3"}}
	id := string(appendStreamID(nil, follows))
	if id != "a=1,c=3" {
		t.Errorf("id %q", id)
	}
	got, err := openStreamID(id, []string{"a", "b", "c"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(follows, got, cmp.AllowUnexported(follow{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if id := appendStreamID(nil, follows[1:2]); len(id) != 0 {
		t.Errorf("of none: %q", id)
	}
}
