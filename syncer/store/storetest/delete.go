package storetest

import (
	"fmt"
	"testing"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

var deleteRequirements = []requirement{
	{"takes all documents, clients and receipts, and leaves a marker", deleteAll},
	{"refuses what was seen before, also once the name is used again", deleteRefuses},
	{"is done in parts, each of which leaves a space that is whole", deleteInParts},
	{"takes fewer documents where they are large", deleteLarge},
	{"leaves other spaces alone", deleteAlone},
	{"takes what waits in the inbox", deleteInbox},
	{"takes it in parts, too", deleteInboxInParts},
	{"of a space never written does nothing", deleteNothing},
	{"waits for whoever writes to the space", deleteWaits},
}

// deleted deletes the world's space.
func (w *world) deleted(t testing.TB) syncer.Erased {
	t.Helper()
	done, err := w.engine.DeleteSpace(t.Context(), w.space, "operator")
	if err != nil {
		t.Fatalf("delete: %v", err)
	}
	return done
}

func deleteAll(t *testing.T, w *world) {
	w.fill(t, 3)
	w.alice.must(t, remove("d1", "todos/t1", on(1)))
	w.bob.must(t, put("b1", "todos/t4", on(0), `{}`))
	before := w.row(t)
	same(t, "taken", w.deleted(t), syncer.Erased{Documents: 4, Clients: 2, Found: true})
	row := w.row(t)
	if row.Head <= before.Head {
		t.Errorf("head %d, after %d", row.Head, before.Head)
	}
	want := before
	want.Head, want.Floor, want.DeletedThrough, want.Digest, want.LiveCount = row.Head, row.Head, row.Head, 0, 0
	same(t, "space", row, want)
	same(t, "documents", w.alice.all(t, w.store), nil)
	w.verified(t, w.space)

	var entries int
	err := w.db.SQL.QueryRowContext(t.Context(), `SELECT count(*) FROM audit_log WHERE action = 'space_delete' AND actor = 'operator' AND target = $1`, w.space).Scan(&entries)
	if err != nil || entries != 1 {
		t.Errorf("%d entries in the audit log, %v", entries, err)
	}
	same(t, "taken again", w.deleted(t), syncer.Erased{Found: true})
	w.verified(t, w.space)
}

func deleteRefuses(t *testing.T, w *world) {
	empty := w.alice.cursor(t)
	w.fill(t, 3)
	edge := w.alice.cursor(t)
	snapshot := w.alice.pull(t, syncer.PullRequest{Limit: 1}).Cursor
	feed := w.alice.pull(t, syncer.PullRequest{Cursor: empty, Limit: 1}).Cursor
	w.deleted(t)
	refused := func() {
		t.Helper()
		for name, cursor := range map[string]string{"empty": empty, "the head": edge, "within a snapshot": snapshot, "within the feed": feed} {
			_, err := w.engine.Pull(t.Context(), w.space, syncer.PullRequest{Cursor: cursor})
			expires(t, "pull from "+name, err, models.CauseDeleted)
			_, err = w.bob.try(t, models.PushRequest{Edits: []models.Edit{put("x", "todos/x", on(0), `{}`)}, Cursor: &cursor})
			expires(t, "push from "+name, err, models.CauseDeleted)
		}
	}
	refused()
	deleted := w.row(t).DeletedThrough
	first := w.alice.must(t, put("again", "todos/t1", on(0), `{"new":true}`))
	if first <= deleted {
		t.Errorf("version %d after the deletion took %d", first, deleted)
	}
	refused()
	same(t, "documents", names(w.read(t, syncer.Range{Limit: 100}).Changes), []string{"todos/t1"})
	page := w.alice.pull(t, syncer.PullRequest{})
	same(t, "a snapshot", names(page.Changes), []string{"todos/t1"})
	w.alice.must(t, put("more", "todos/t2", on(0), `{}`))
	same(t, "from there", names(w.alice.pull(t, syncer.PullRequest{Cursor: page.Cursor}).Changes), []string{"todos/t2"})
	same(t, "on what was", w.bob.push(t, put("b1", "todos/t3", on(3), `{}`)), []models.EditResult{conflict("b1", nil)})
	w.verified(t, w.space)
}

// part takes a part of the space, as DeleteSpace does.
func (w *world) part(t testing.TB, documents int, bytes int64) (syncer.Erased, int64) {
	t.Helper()
	head := int64(0)
	done, err := w.store.Erase(t.Context(), w.space, syncer.Erasure{Documents: documents, Bytes: bytes, Account: func(s *models.Space, _ int64, gone []models.Document) {
		for _, d := range gone {
			s.Digest -= int64(hash(d.Collection, d.ID, d.Version))
			s.LiveCount--
		}
		s.Head++
		s.Floor, s.DeletedThrough, head = s.Head, s.Head, s.Head
	}})
	if err != nil {
		t.Fatal(err)
	}
	return done, head
}

func deleteInParts(t *testing.T, w *world) {
	w.fill(t, 5)
	for n := 4; n > 0; n -= 2 {
		between := w.alice.cursor(t)
		done, head := w.part(t, 2, 1<<20)
		same(t, "taken", [2]any{done.Documents, done.More}, [2]any{2, true})
		same(t, "head", w.row(t).Head, head)
		same(t, "left", len(w.read(t, syncer.Range{Limit: 100}).Changes), n-1)
		w.checkDigest(t, w.space)
		_, err := w.engine.Pull(t.Context(), w.space, syncer.PullRequest{Cursor: between})
		expires(t, "who came between", err, models.CauseDeleted)
	}
	done, _ := w.part(t, 2, 1<<20)
	same(t, "taken", [2]any{done.Documents, done.More}, [2]any{1, false})
	w.checkDigest(t, w.space)
}

func deleteLarge(t *testing.T, w *world) {
	for i := range 3 {
		w.alice.must(t, put(fmt.Sprint("e", i), fmt.Sprint("todos/t", i), on(0), `{"a":"1234567890"}`))
	}
	for _, more := range []bool{true, true, false} {
		done, _ := w.part(t, 100, 1)
		same(t, "taken", [2]any{done.Documents, done.More}, [2]any{1, more})
	}
}

func deleteAlone(t *testing.T, w *world) {
	w.fill(t, 2)
	other := *w
	other.space = newSpace()
	other.alice.space = other.space
	other.fill(t, 2)
	at := other.alice.cursor(t)
	w.deleted(t)
	same(t, "documents", len(other.alice.all(t, w.store)), 2)
	same(t, "news", len(other.alice.pull(t, syncer.PullRequest{Cursor: at}).Changes), 0)
	same(t, "receipts", other.alice.push(t, put("e1", "todos/t1", on(0), `{}`)), []models.EditResult{replayed(applied("e1", 1))})
	w.verified(t, other.space)
}

func deleteInboxInParts(t *testing.T, w *world) {
	w.fill(t, 1)
	for i := range 3 {
		w.exec(t, `INSERT INTO inbox (space, collection, id, op, data) VALUES ($1, 'todos', $2, 'put', '{}')`, w.space, fmt.Sprint("t", i))
	}
	for _, left := range []int{1, 0} {
		done, _ := w.part(t, 2, 1<<20)
		same(t, "there is more", done.More, left > 0)
		rows := 0
		err := w.db.SQL.QueryRowContext(t.Context(), `SELECT count(*) FROM inbox WHERE space = $1`, w.space).Scan(&rows)
		if err != nil || rows != left {
			t.Errorf("%d rows are left, %v, want %d", rows, err, left)
		}
	}
}

func deleteInbox(t *testing.T, w *world) {
	w.fill(t, 1)
	w.exec(t, `INSERT INTO inbox (space, collection, id, op, data) VALUES ($1, 'todos', 't9', 'put', '{}')`, w.space)
	w.exec(t, `INSERT INTO inbox_rejected (inbox_id, space, collection, id, op, created_at, code, detail, pointer, rejected_at)
SELECT -inbox_id, space, collection, id, op, created_at, 'c', 'd', 'p', 0 FROM inbox WHERE space = $1`, w.space)
	w.deleted(t)
	for _, table := range []string{"inbox", "inbox_rejected"} {
		var rows int
		if err := w.db.SQL.QueryRowContext(t.Context(), `SELECT count(*) FROM `+table+` WHERE space = $1`, w.space).Scan(&rows); err != nil || rows != 0 {
			t.Errorf("%d rows in %s, %v", rows, table, err)
		}
	}
}

func deleteNothing(t *testing.T, w *world) {
	same(t, "taken", w.deleted(t), syncer.Erased{})
	same(t, "space", w.row(t).DeletedThrough, int64(0))
	// One that has a row, for its retention, and nothing else.
	w.exec(t, `INSERT INTO spaces (id, epoch, created_at) VALUES ($1, 0, 0)`, w.space)
	same(t, "taken", w.deleted(t), syncer.Erased{Found: true})
	same(t, "head", w.row(t).Head, int64(0))
}

func deleteWaits(t *testing.T, w *world) {
	w.fill(t, 1)
	tx := w.begin(t)
	w.in(t, tx, `UPDATE spaces SET head = 9 WHERE id = $1`)
	w.in(t, tx, `UPDATE documents SET version = 9 WHERE space_id = $1`)
	done := make(chan syncer.Erased)
	go func() {
		erased, _ := w.part(t, 10, 1<<20)
		done <- erased
	}()
	w.waiting(t)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	await(t, "the deletion", done)
	same(t, "head", w.row(t).Head, int64(10))
}
