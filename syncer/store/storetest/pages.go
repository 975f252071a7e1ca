package storetest

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

var pageRequirements = []requirement{
	{"a space never written reads as empty", pageNeverWritten},
	{"a snapshot is what is live, a feed is what changed", pageSnapshotAndFeed},
	{"the default limit is 500", pageDefaultLimit},
	{"has_more always advances, to the same end whatever the limit", pageWalk},
	{"the pace is told at the end and not before", pagePace},
	{"a document deleted between two pages of a snapshot gets its tombstone", pageSnapshotActions},
	{"a snapshot hides what was deleted before it began", pageSnapshotHides},
	{"what was pushed into an empty space and deleted is heard of", pageEmptyThenDeleted},
	{"a filter shows its collections and moves over the others", pageFilter},
	{"a cursor at the head stays as it is", pageSameCursor},
	{"every cursor ever given out can be resumed from", pageResume},
	{"a push brings the page that its cursor asks for", pageInPush},
	{"a document is what its newest change says", pageDocument},
	{"heads are those of the spaces asked for", pageHeads},
}

func pageNeverWritten(t *testing.T, w *world) {
	page := w.alice.pull(t, syncer.PullRequest{})
	same(t, "page", *page, models.Page{Cursor: page.Cursor, Digest: digest(), PollAfter: page.PollAfter})
	if page.Cursor == "" {
		t.Error("no cursor")
	}
	again := w.alice.pull(t, syncer.PullRequest{Cursor: page.Cursor})
	same(t, "page from its cursor", *again, *page)
	w.untouched(t)
}

func pageSnapshotAndFeed(t *testing.T, w *world) {
	w.alice.must(t, put("e1", "todos/t1", on(0), `{"a":1}`), put("e2", "todos/t2", on(0), `{}`), put("e3", "notes/n1", on(0), `{}`))
	snapshot := w.bob.pull(t, syncer.PullRequest{})
	same(t, "snapshot", *snapshot, models.Page{
		Changes: []models.Change{
			*w.alice.live(1, "notes/n1", `{}`, "e3"), *w.alice.live(1, "todos/t1", `{"a":1}`, "e1"), *w.alice.live(1, "todos/t2", `{}`, "e2"),
		},
		Digest:  digest("notes/n1@1", "todos/t1@1", "todos/t2@1"),
		Version: 1, Cursor: snapshot.Cursor, PollAfter: snapshot.PollAfter,
	})
	w.bob.must(t, remove("b2", "todos/t2", on(1)))
	w.alice.must(t, patch("e4", "todos/t1", on(1), `{"b":2}`))
	feed := w.bob.pull(t, syncer.PullRequest{Cursor: snapshot.Cursor})
	same(t, "feed", *feed, models.Page{
		Changes: []models.Change{*w.bob.gone(2, "todos/t2", "b2"), *w.alice.live(3, "todos/t1", `{"a":1,"b":2}`, "e4")},
		Digest:  digest("notes/n1@1", "todos/t1@3"),
		Version: 3, Cursor: feed.Cursor, PollAfter: feed.PollAfter,
	})
}

func pageDefaultLimit(t *testing.T, w *world) {
	for i := range models.DefaultPageChanges/100 + 1 {
		var edits []models.Edit
		for j := range 100 {
			id := fmt.Sprintf("e%d-%d", i, j)
			edits = append(edits, put(id, "todos/"+id, on(0), `{}`))
		}
		w.alice.must(t, edits...)
	}
	page := w.alice.pull(t, syncer.PullRequest{})
	same(t, "changes", len(page.Changes), models.DefaultPageChanges)
	same(t, "more", page.HasMore, true)
	rest := w.alice.pull(t, syncer.PullRequest{Cursor: page.Cursor})
	same(t, "the rest", len(rest.Changes), 100)
}

// fill pushes n documents t1, t2, … each a version of its own.
func (w *world) fill(t testing.TB, n int) {
	t.Helper()
	for i := 1; i <= n; i++ {
		w.alice.must(t, put(fmt.Sprintf("e%d", i), fmt.Sprintf("todos/t%d", i), on(0), `{}`))
	}
}

// follow pulls from a cursor to the end.
func (c client) follow(t testing.TB, req syncer.PullRequest) (list []models.Change, cursor string) {
	t.Helper()
	for {
		page := c.pull(t, req)
		list = append(list, page.Changes...)
		if !page.HasMore {
			return list, page.Cursor
		}
		if page.Cursor == req.Cursor {
			t.Fatalf("there is more, but the cursor stays after %v", names(list))
		}
		req.Cursor = page.Cursor
	}
}

func pageWalk(t *testing.T, w *world) {
	w.fill(t, 4)
	w.alice.must(t, put("p1", "todos/p1", on(0), `{}`), put("p2", "todos/p2", on(0), `{}`), remove("p3", "todos/t2", on(2)))
	w.alice.must(t, remove("p4", "todos/t4", on(4)))
	want, end := w.alice.follow(t, syncer.PullRequest{})
	same(t, "snapshot", names(want), []string{"todos/t1", "todos/t3", "todos/p1", "todos/p2"})
	for limit := 1; limit <= 7; limit++ {
		got, cursor := w.alice.follow(t, syncer.PullRequest{Limit: limit})
		same(t, fmt.Sprintf("snapshot with limit %d", limit), got, want)
		if cursor != end {
			t.Errorf("limit %d ends with another cursor", limit)
		}
	}
}

func pagePace(t *testing.T, w *world) {
	w.fill(t, 2)
	var now time.Time
	w.alice.engine = syncer.New(w.store, deaf{}, syncer.Options{
		PollMin: 2 * time.Second, PollMax: 20 * time.Second, Now: func() time.Time { return now },
	})
	for age, want := range map[time.Duration]time.Duration{
		0: 2 * time.Second, 10 * time.Second: 2 * time.Second, 50 * time.Second: 5 * time.Second,
		200 * time.Second: 20 * time.Second, time.Hour: 20 * time.Second, -time.Hour: 2 * time.Second,
	} {
		now = time.UnixMicro(2).Add(age)
		if got := w.alice.pull(t, syncer.PullRequest{}).PollAfter; got != want {
			t.Errorf("pace of a space that changed %v ago: %v, want %v", age, got, want)
		}
		if page := w.alice.pull(t, syncer.PullRequest{Limit: 1}); !page.HasMore || page.PollAfter != 0 {
			t.Errorf("pace of a page with more: %v, want at once", page.PollAfter)
		}
	}
}

func pageSnapshotActions(t *testing.T, w *world) {
	w.fill(t, 6)
	page := w.bob.pull(t, syncer.PullRequest{Limit: 2})
	same(t, "first page", names(page.Changes), []string{"todos/t1", "todos/t2"})

	w.alice.must(t, remove("d1", "todos/t1", on(1))) // shown
	w.alice.must(t, remove("d5", "todos/t5", on(5))) // not yet shown
	w.alice.must(t, patch("p2", "todos/t2", on(2), `{"a":1}`))
	w.alice.must(t, patch("p6", "todos/t6", on(6), `{"a":1}`))
	w.alice.must(t, put("n7", "todos/t7", on(0), `{}`), put("n8", "todos/t8", on(0), `{}`))
	w.alice.must(t, remove("d8", "todos/t8", on(11)))

	rest, cursor := w.bob.follow(t, syncer.PullRequest{Cursor: page.Cursor, Limit: 2})
	same(t, "the rest", names(rest), []string{
		"todos/t3", "todos/t4", "-todos/t1", "-todos/t5", "todos/t2", "todos/t6", "todos/t7", "-todos/t8",
	})
	more, _ := w.bob.follow(t, syncer.PullRequest{Cursor: cursor})
	same(t, "after the end", more, nil)
}

func pageSnapshotHides(t *testing.T, w *world) {
	w.fill(t, 3)
	w.alice.must(t, remove("d1", "todos/t1", on(1)))
	w.fillMore(t, "x", 2)
	first := w.bob.pull(t, syncer.PullRequest{Limit: 1})
	same(t, "first page", names(first.Changes), []string{"todos/t2"})
	// Beyond where the snapshot began it is a feed, with tombstones, and with the
	// same document's whole story.
	w.alice.must(t, remove("d2", "todos/t2", on(2)))
	w.alice.must(t, put("p2", "todos/t2", on(7), `{}`))
	w.alice.must(t, remove("d3", "todos/t2", on(8)))
	rest, _ := w.bob.follow(t, syncer.PullRequest{Cursor: first.Cursor, Limit: 1})
	same(t, "the rest", names(rest), []string{"todos/t3", "todos/x1", "todos/x2", "-todos/t2"})
	all, _ := w.bob.follow(t, syncer.PullRequest{Limit: 1})
	same(t, "another snapshot", names(all), []string{"todos/t3", "todos/x1", "todos/x2"})
}

// fillMore pushes n documents, each a version of its own.
func (w *world) fillMore(t testing.TB, prefix string, n int) {
	t.Helper()
	for i := 1; i <= n; i++ {
		w.alice.must(t, put(fmt.Sprintf("%s%d", prefix, i), fmt.Sprintf("todos/%s%d", prefix, i), on(0), `{}`))
	}
}

// The client of an empty space may hold documents that it pushed since.
func pageEmptyThenDeleted(t *testing.T, w *world) {
	cursor := w.alice.cursor(t)
	w.alice.must(t, put("e1", "todos/t1", on(0), `{}`))
	w.bob.must(t, remove("b1", "todos/t1", on(1)))
	same(t, "changes", w.alice.pull(t, syncer.PullRequest{Cursor: cursor}).Changes,
		[]models.Change{*w.bob.gone(2, "todos/t1", "b1")})
}

func pageFilter(t *testing.T, w *world) {
	todos, both := []string{"todos"}, []string{"notes", "todos"}
	w.alice.must(t, put("e1", "todos/t1", on(0), `{}`), put("e2", "notes/n1", on(0), `{}`))
	page := w.bob.pull(t, syncer.PullRequest{Collections: todos})
	same(t, "snapshot", names(page.Changes), []string{"todos/t1"})

	w.alice.must(t, put("e3", "notes/n2", on(0), `{}`))
	moved := w.bob.pull(t, syncer.PullRequest{Collections: todos, Cursor: page.Cursor})
	same(t, "page over others", *moved, models.Page{Version: 2, Cursor: moved.Cursor, PollAfter: moved.PollAfter})
	if moved.Cursor == page.Cursor {
		t.Error("the cursor does not move over what the filter leaves out")
	}
	w.alice.must(t, remove("e4", "todos/t1", on(1)), put("e5", "notes/n3", on(0), `{}`))
	page = w.bob.pull(t, syncer.PullRequest{Collections: todos, Cursor: moved.Cursor})
	same(t, "tombstone", names(page.Changes), []string{"-todos/t1"})

	all, _ := w.bob.follow(t, syncer.PullRequest{Collections: both, Limit: 1})
	same(t, "both", names(all), []string{"notes/n1", "notes/n2", "notes/n3"})
}

func pageSameCursor(t *testing.T, w *world) {
	w.fill(t, 3)
	_, cursor := w.alice.follow(t, syncer.PullRequest{Limit: 2})
	for range 2 {
		page := w.alice.pull(t, syncer.PullRequest{Cursor: cursor})
		same(t, "page", *page, models.Page{
			Version: 3, Cursor: cursor, Digest: digest("todos/t1@1", "todos/t2@2", "todos/t3@3"), PollAfter: page.PollAfter,
		})
	}
}

// A client that goes on from an old cursor, or from a page of a snapshot it has
// long finished, ends with the same documents.
func pageResume(t *testing.T, w *world) {
	type point struct {
		cursor string
		docs   map[string]string // collection/id to text
	}
	take := func(docs map[string]string, list []models.Change) map[string]string {
		next := make(map[string]string, len(docs))
		maps.Copy(next, docs)
		for _, c := range list {
			if delete(next, c.Collection+"/"+c.ID); !c.Deleted {
				next[c.Collection+"/"+c.ID] = string(c.Data)
			}
		}
		return next
	}
	w.alice.must(t, put("e1", "todos/t1", on(0), `{}`))
	points := []point{{}, {cursor: w.bob.cursor(t), docs: map[string]string{"todos/t1": `{}`}}}
	for round := range 4 {
		id := func(name string) string { return fmt.Sprintf("%s-%d", name, round) }
		w.alice.must(t, put(id("a"), "todos/"+id("a"), on(0), `{}`), put(id("b"), "todos/"+id("b"), on(0), `{}`))
		w.alice.must(t, patch(id("p"), "todos/t1", force, `{"n":`+fmt.Sprint(round)+`}`))
		w.alice.must(t, remove(id("d"), "todos/"+id("a"), force))
		for _, from := range slices.Clone(points) {
			page := w.bob.pull(t, syncer.PullRequest{Cursor: from.cursor, Limit: 1 + round%2})
			points = append(points, point{page.Cursor, take(from.docs, page.Changes)})
		}
	}
	all, _ := w.bob.follow(t, syncer.PullRequest{})
	want := take(nil, all)
	for _, from := range points {
		rest, _ := w.bob.follow(t, syncer.PullRequest{Cursor: from.cursor, Limit: 2})
		same(t, "documents of a client that resumed", take(from.docs, rest), want)
	}
}

func pageInPush(t *testing.T, w *world) {
	w.fill(t, 3)
	snapshot := ""
	res := w.bob.send(t, models.PushRequest{Cursor: &snapshot, Limit: 2, Edits: []models.Edit{put("b1", "notes/n1", on(0), `{}`)}})
	same(t, "results", res.Results, []models.EditResult{applied("b1", 4)})
	same(t, "page", *res.Page, models.Page{
		Changes: []models.Change{*w.alice.live(1, "todos/t1", `{}`, "e1"), *w.alice.live(2, "todos/t2", `{}`, "e2")},
		Cursor:  res.Page.Cursor, Version: 4, HasMore: true,
	})
	res = w.bob.send(t, models.PushRequest{Cursor: &res.Page.Cursor, Edits: []models.Edit{put("b2", "notes/n1", on(4), `[]`)}})
	same(t, "its own changes come back", names(res.Page.Changes), []string{"todos/t3", "notes/n1"})
	same(t, "results", res.Results, []models.EditResult{rejected("b2", models.CodeInvalidDocument, "/data")})

	notes := []string{"notes"}
	res = w.bob.send(t, models.PushRequest{Cursor: &snapshot, Collections: notes, Edits: []models.Edit{put("b3", "todos/t9", on(0), `{}`)}})
	same(t, "filtered", names(res.Page.Changes), []string{"notes/n1"})
	same(t, "pace", res.PollAfter, res.Page.PollAfter)
}

func pageDocument(t *testing.T, w *world) {
	w.alice.must(t, put("e1", "todos/t1", on(0), `{ "a" : 1 }`), put("e2", "todos/t2", on(0), `{}`))
	w.alice.must(t, remove("e3", "todos/t2", on(1)))
	got, err := w.engine.Document(t.Context(), w.space, "todos", "t1")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "document", got, w.alice.live(1, "todos/t1", `{ "a" : 1 }`, "e1"))
	for _, id := range []string{"t2", "t3"} {
		_, err := w.engine.Document(t.Context(), w.space, "todos", id)
		fails(t, "document "+id, err, models.CodeDocumentNotFound)
	}
}

func pageHeads(t *testing.T, w *world) {
	w.fill(t, 3)
	never := newSpace()
	heads, pace, err := w.engine.Heads(t.Context(), []string{never, w.space}, 0)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "heads", heads, []models.Head{{Space: never}, {Space: w.space, Version: 3}})
	if pace <= 0 {
		t.Errorf("pace %v", pace)
	}
}
