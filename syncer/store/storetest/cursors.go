package storetest

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

var cursorRequirements = []requirement{
	{"a damaged cursor is no cursor", cursorDamaged},
	{"a cursor of another space is no cursor", cursorOfOtherSpace},
	{"a cursor of another filter has expired", cursorOfOtherFilter},
	{"a filter is a set", cursorFilterIsSet},
	{"a cursor ahead of the space is of a lost history", cursorAhead},
	{"a cursor between two pages is of the history of the newest page", cursorAheadBetweenPages},
	{"a cursor of another epoch is of a lost history", cursorOfOtherEpoch},
	{"a cursor of a space never written is good in every epoch", cursorOfNothing},
	{"a cursor below the floor has expired", cursorBelowFloor},
	{"of a snapshot the floor is compared with where it began", cursorSnapshotAndFloor},
	{"a space behind min_version has lost a push", cursorMinVersion},
	{"a push with a bad cursor applies nothing", cursorInPush},
	{"a cursor fits its limit", cursorSize},
}

func cursorDamaged(t *testing.T, w *world) {
	w.fill(t, 2)
	good := w.alice.cursor(t)
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	bad := []string{"x", "0", "null", good + "A", good[1:], good[:len(good)-1], good + "=", " " + good, strings.Repeat("A", len(good))}
	for i := range raw {
		raw[i] ^= 1
		bad = append(bad, base64.RawURLEncoding.EncodeToString(raw))
		raw[i] ^= 1
	}
	for _, cursor := range bad {
		_, err := w.engine.Pull(t.Context(), w.space, syncer.PullRequest{Cursor: cursor})
		fails(t, "cursor "+cursor, err, models.CodeInvalidCursor)
	}
}

func cursorOfOtherSpace(t *testing.T, w *world) {
	w.fill(t, 2)
	cursor := w.alice.cursor(t)
	neighbor := w.alice
	for _, neighbor.space = range []string{newSpace(), strings.ToUpper(w.space), w.space + "0", w.space[:len(w.space)-1]} {
		_, err := w.engine.Pull(t.Context(), neighbor.space, syncer.PullRequest{Cursor: cursor})
		fails(t, "cursor in "+neighbor.space, err, models.CodeInvalidCursor)
	}
}

func cursorOfOtherFilter(t *testing.T, w *world) {
	w.fill(t, 2)
	filters := [][]string{nil, {"todos"}, {"notes"}, {"notes", "todos"}, {"notestodos"}, {"Todos"}}
	for i, made := range filters {
		cursor := w.alice.pull(t, syncer.PullRequest{Collections: made}).Cursor
		for j, used := range filters {
			_, err := w.engine.Pull(t.Context(), w.space, syncer.PullRequest{Cursor: cursor, Collections: used})
			if i == j && err != nil {
				t.Errorf("cursor of %v: %v", made, err)
			}
			if i != j {
				expires(t, "cursor of "+strings.Join(made, ",")+" with "+strings.Join(used, ","), err, models.CauseFilter)
			}
		}
	}
}

func cursorFilterIsSet(t *testing.T, w *world) {
	w.fill(t, 2)
	cursor := w.alice.pull(t, syncer.PullRequest{Collections: []string{"todos", "notes"}}).Cursor
	w.alice.pull(t, syncer.PullRequest{Cursor: cursor, Collections: []string{"notes", "todos", "notes"}})
}

// restore puts the head back, as a restored backup does.
func (w *world) restore(t testing.TB, head int64) {
	t.Helper()
	w.exec(t, `DELETE FROM documents WHERE space_id = $1 AND version > $2`, w.space, head)
	w.exec(t, `UPDATE spaces SET head = $2 WHERE id = $1`, w.space, head)
}

func cursorAhead(t *testing.T, w *world) {
	w.fill(t, 5)
	cursor := w.alice.cursor(t)
	w.restore(t, 4)
	_, err := w.engine.Pull(t.Context(), w.space, syncer.PullRequest{Cursor: cursor})
	expires(t, "cursor ahead of the head", err, models.CauseEpoch)
}

func cursorAheadBetweenPages(t *testing.T, w *world) {
	w.fill(t, 5)
	first := w.alice.pull(t, syncer.PullRequest{Limit: 1})
	second := w.alice.pull(t, syncer.PullRequest{Limit: 2, Cursor: first.Cursor})
	feed := w.alice.cursor(t)
	w.fillMore(t, "x", 2)
	page := w.alice.pull(t, syncer.PullRequest{Limit: 1, Cursor: feed})
	w.restore(t, 6)
	// Its position is still there, but its client may hold what is not: a
	// document comes in its newest state, in place of one that was lost.
	_, err := w.engine.Pull(t.Context(), w.space, syncer.PullRequest{Cursor: page.Cursor})
	expires(t, "cursor between two pages of a feed", err, models.CauseEpoch)
	for _, page := range []*models.Page{first, second} {
		w.alice.pull(t, syncer.PullRequest{Cursor: page.Cursor}) // read at head 5
	}
	w.restore(t, 4)
	for _, page := range []*models.Page{first, second} {
		_, err := w.engine.Pull(t.Context(), w.space, syncer.PullRequest{Cursor: page.Cursor})
		expires(t, "cursor between two pages of a snapshot", err, models.CauseEpoch)
	}
}

func cursorOfOtherEpoch(t *testing.T, w *world) {
	w.fill(t, 3)
	first, end := w.alice.pull(t, syncer.PullRequest{Limit: 1}).Cursor, w.alice.cursor(t)
	w.exec(t, `UPDATE spaces SET epoch = epoch + 1 WHERE id = $1`, w.space)
	for _, cursor := range []string{first, end} {
		_, err := w.engine.Pull(t.Context(), w.space, syncer.PullRequest{Cursor: cursor})
		expires(t, "cursor of another epoch", err, models.CauseEpoch)
	}
}

func cursorOfNothing(t *testing.T, w *world) {
	before := w.alice.cursor(t)
	w.alice.must(t, remove("e0", "todos/t1", on(0))) // the row is there now, at head 0
	made := w.alice.cursor(t)
	w.fill(t, 2)
	w.exec(t, `UPDATE spaces SET epoch = epoch + 1 WHERE id = $1`, w.space)
	for _, cursor := range []string{before, made} {
		same(t, "changes", names(w.alice.pull(t, syncer.PullRequest{Cursor: cursor}).Changes), []string{"todos/t1", "todos/t2"})
	}
}

func cursorBelowFloor(t *testing.T, w *world) {
	empty := w.alice.cursor(t)
	w.fill(t, 2)
	below := w.alice.cursor(t)
	w.alice.must(t, remove("d1", "todos/t1", on(1)))
	at := w.alice.cursor(t)
	w.alice.must(t, put("e4", "todos/t4", on(0), `{}`))
	w.purge(t, 3)

	for _, cursor := range []string{empty, below} {
		_, err := w.engine.Pull(t.Context(), w.space, syncer.PullRequest{Cursor: cursor})
		expires(t, "cursor below the floor", err, models.CauseRetention)
	}
	same(t, "from the floor", names(w.alice.pull(t, syncer.PullRequest{Cursor: at}).Changes), []string{"todos/t4"})
	same(t, "snapshot", names(w.alice.pull(t, syncer.PullRequest{}).Changes), []string{"todos/t2", "todos/t4"})
}

func cursorSnapshotAndFloor(t *testing.T, w *world) {
	w.fill(t, 4)
	w.alice.must(t, remove("d1", "todos/t1", on(1)))
	began := w.bob.pull(t, syncer.PullRequest{Limit: 1}) // stands at 2, began at 5
	w.purge(t, 5)
	next := w.bob.pull(t, syncer.PullRequest{Limit: 1, Cursor: began.Cursor})
	same(t, "the next page, below the floor", names(next.Changes), []string{"todos/t3"})

	w.alice.must(t, remove("d2", "todos/t2", on(2)))
	w.alice.must(t, put("n7", "todos/t7", on(0), `{}`))
	w.purge(t, 6)
	// What was deleted after it began is gone, and nobody told the client.
	for _, cursor := range []string{began.Cursor, next.Cursor} {
		_, err := w.engine.Pull(t.Context(), w.space, syncer.PullRequest{Cursor: cursor})
		expires(t, "a snapshot begun below the floor", err, models.CauseRetention)
	}
}

func cursorMinVersion(t *testing.T, w *world) {
	w.fill(t, 3)
	cursor := w.alice.cursor(t)
	w.alice.pull(t, syncer.PullRequest{Cursor: cursor, MinVersion: 3})
	_, err := w.engine.Pull(t.Context(), w.space, syncer.PullRequest{Cursor: cursor, MinVersion: 4})
	expires(t, "a head below min_version", err, models.CauseEpoch)
	w.alice.pull(t, syncer.PullRequest{MinVersion: 4}) // a snapshot: it starts again anyway
}

func cursorInPush(t *testing.T, w *world) {
	w.fill(t, 3)
	good := w.alice.cursor(t)
	w.alice.must(t, remove("d1", "todos/t1", on(1)))
	ahead := w.alice.cursor(t)
	w.restore(t, 3)
	other := w.alice
	other.space = newSpace()
	foreign := other.cursor(t)
	filtered := w.alice.pull(t, syncer.PullRequest{Collections: []string{"todos"}}).Cursor

	for name, tt := range map[string]struct {
		cursor string
		cause  models.Cause
	}{
		"damaged":             {good[1:], ""},
		"of another space":    {foreign, ""},
		"of another filter":   {filtered, models.CauseFilter},
		"of a history lost":   {ahead, models.CauseEpoch},
		"below the floor":     {w.expired(t, good), models.CauseRetention},
		"with a retried edit": {good, models.CauseRetention},
	} {
		edits := []models.Edit{put("e9", "todos/t9", on(0), `{}`)}
		if name == "with a retried edit" {
			edits = []models.Edit{put("e1", "todos/t1", on(0), `{}`)}
		}
		_, err := w.alice.try(t, models.PushRequest{Cursor: &tt.cursor, Edits: edits})
		if tt.cause == "" {
			fails(t, "push with a cursor "+name, err, models.CodeInvalidCursor)
		} else {
			expires(t, "push with a cursor "+name, err, tt.cause)
		}
	}
	snapshot := w.alice.pull(t, syncer.PullRequest{})
	same(t, "documents", names(snapshot.Changes), []string{"todos/t2", "todos/t3"})
	same(t, "the same edit without a cursor", w.alice.push(t, put("e9", "todos/t9", on(0), `{}`)),
		[]models.EditResult{applied("e9", 4)})
}

// expired raises the floor above a cursor at the head.
func (w *world) expired(t testing.TB, cursor string) string {
	t.Helper()
	w.exec(t, `UPDATE spaces SET floor = head + 1 WHERE id = $1`, w.space)
	return cursor
}

func cursorSize(t *testing.T, w *world) {
	w.fill(t, 3)
	w.exec(t, `UPDATE spaces SET head = $2, epoch = $3 WHERE id = $1`, w.space, models.MaxVersion, int64(1)<<62)
	page := w.alice.pull(t, syncer.PullRequest{Limit: 1, Collections: []string{"todos"}})
	if len(page.Cursor) > models.MaxCursorBytes {
		t.Errorf("a cursor of %d bytes, want at most %d", len(page.Cursor), models.MaxCursorBytes)
	}
}
