package storetest

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

var inboxRequirements = []requirement{
	{"what a writer leaves out has its default", inboxDefaults},
	{"text that is no JSON, an unknown op and an empty space fail where they are written", inboxWriterFails},
	{"rows come by space, and by number within it", inboxOrder},
	{"spaces before a name and those to skip are left out", inboxRange},
	{"of a space as many rows come as a push may hold", inboxCut},
	{"what is not committed is not there", inboxUncommitted},
	{"a push finds which of its rows are still there", inboxStillThere},
	{"a push that waited finds what the push before it left", inboxWaited},
	{"rows are taken out and rejected with what the push writes", inboxFates},
	{"a new space gets its row with the first row of the inbox, also a rejected one", inboxNewSpace},
	{"a push that finds its rows gone writes nothing", inboxGone},
	{"a push that is not decided leaves its rows", inboxUndecided},
	{"rows of a space that is left out are left alone", inboxLeftOut},
	{"rows are rejected without a push, once", inboxRejected},
	{"rows that somebody has locked are not rejected, nor waited for", inboxRejectedLocked},
	{"numbers are not used again", inboxNumbers},
}

// insert is what a writer does; base nil is NULL.
const insert = `INSERT INTO inbox (space, collection, id, op, data, base_version) VALUES ($1, $2, $3, $4, $5, $6) RETURNING inbox_id`

// executor is a database or a transaction.
type executor interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// entry is what a writer wants.
type entry struct {
	op   models.Op
	at   string // collection/id
	data string // "": NULL
	base *int64
}

func (e entry) insert(ctx context.Context, db executor, space string) (id int64, err error) {
	var data *string
	if e.data != "" {
		data = &e.data
	}
	k := key(e.at)
	err = db.QueryRowContext(ctx, insert, space, k.Collection, k.ID, string(e.op), data, e.base).Scan(&id)
	return id, err
}

// put has a writer put rows into the inbox, in one transaction, and returns their
// numbers.
func (w *world) put(t testing.TB, space string, entries ...entry) (ids []int64) {
	t.Helper()
	tx, err := w.db.SQL.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }() // without effect after a commit
	for _, e := range entries {
		id, err := e.insert(t.Context(), tx, space)
		if err != nil {
			t.Fatalf("insert %+v: %v", e, err)
		}
		ids = append(ids, id)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	return ids
}

// puts are n documents' puts.
func puts(n int) (list []entry) {
	for i := range n {
		list = append(list, entry{op: models.OpPut, at: fmt.Sprintf("todos/t%d", i), data: `{}`})
	}
	return list
}

// waiting reads the inbox of a store.
func waiting(t testing.TB, store syncer.Store, want syncer.InboxRange) []models.Inbox {
	t.Helper()
	rows, err := store.Inbox(t.Context(), want)
	if err != nil {
		t.Fatalf("inbox: %v", err)
	}
	return rows
}

// left returns the numbers of the rows of w's space that wait.
func (w *world) left(t testing.TB) (ids []int64) {
	t.Helper()
	for _, r := range waiting(t, w.store, syncer.InboxRange{Spaces: 1}) {
		ids = append(ids, r.InboxID)
	}
	return ids
}

// rejected returns the rejected rows of a space, without times and sentences.
func (w *world) rejected(t testing.TB, space string) (list []models.InboxRejected) {
	t.Helper()
	rows, err := w.db.SQL.QueryContext(t.Context(), `
		SELECT inbox_id, space, collection, id, op, CAST(data AS text), base_version, created_at, code, detail, pointer, rejected_at
		FROM inbox_rejected WHERE space = $1 ORDER BY inbox_id`, space)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }() // rows.Err is asked
	for rows.Next() {
		var r models.InboxRejected
		err := rows.Scan(&r.InboxID, &r.Space, &r.Collection, &r.ID, &r.Op, &r.Data, &r.BaseVersion, &r.CreatedAt,
			&r.Code, &r.Detail, &r.Pointer, &r.RejectedAt)
		if err != nil {
			t.Fatal(err)
		}
		if r.CreatedAt <= 0 || r.RejectedAt <= 0 || r.Detail == "" {
			t.Errorf("a rejected row without its times or without a sentence: %+v", r)
		}
		r.CreatedAt, r.RejectedAt, r.Detail = 0, 0, ""
		list = append(list, r)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// rejection is a rejected row as w.rejected returns it.
func (w *world) rejection(id int64, e entry, code models.Code, pointer string) models.InboxRejected {
	k := key(e.at)
	r := models.InboxRejected{
		InboxID: id, Space: w.space, Collection: k.Collection, ID: k.ID, Op: string(e.op), BaseVersion: e.base,
		Code: string(code), Pointer: pointer,
	}
	if e.data != "" {
		r.Data = &e.data
	}
	return r
}

func inboxDefaults(t *testing.T, w *world) {
	w.exec(t, `INSERT INTO inbox (space, collection, id, op, data) VALUES ($1, 'todos', 't1', 'put', '{"a": 1}')`, w.space)
	w.exec(t, `INSERT INTO inbox (space, collection, id, op) VALUES ($1, 'todos', 't1', 'delete')`, w.space)
	rows := waiting(t, w.store, syncer.InboxRange{Spaces: 1})
	data := `{"a": 1}`
	for i := range rows {
		const year2020 = 1577836800_000
		if r := &rows[i]; r.InboxID <= 0 || r.CreatedAt < year2020 {
			t.Errorf("row %d was written at %d", r.InboxID, r.CreatedAt)
		} else {
			r.InboxID, r.CreatedAt = 0, 0
		}
	}
	same(t, "rows", rows, []models.Inbox{
		{Space: w.space, Collection: "todos", ID: "t1", Op: "put", Data: &data},
		{Space: w.space, Collection: "todos", ID: "t1", Op: "delete"},
	})
}

func inboxWriterFails(t *testing.T, w *world) {
	for _, tt := range []struct {
		space string
		entry entry
	}{
		{w.space, entry{op: "put", at: "todos/t1", data: `{"a":`}},
		{w.space, entry{op: "upsert", at: "todos/t1", data: `{}`}},
		{"", entry{op: "put", at: "todos/t1", data: `{}`}},
	} {
		if _, err := tt.entry.insert(t.Context(), w.db.SQL, tt.space); err == nil {
			t.Errorf("%+v was taken for space %q", tt.entry, tt.space)
		}
	}
	same(t, "rows", w.left(t), nil)
}

// nextTo returns three spaces beside w's, in order and with nothing between them.
func (w *world) nextTo() [3]string {
	return [3]string{w.space + "-a", w.space + "-b", w.space + "-c"}
}

func inboxOrder(t *testing.T, w *world) {
	raw, n := w.nodes[0], w.nextTo()
	var want []int64
	b1 := w.put(t, n[1], puts(2)...)
	a1 := w.put(t, n[0], puts(2)...)
	b2 := w.put(t, n[1], puts(1)...)
	want = slices.Concat(a1, b1, b2)
	var got []int64
	for _, r := range waiting(t, raw, syncer.InboxRange{After: w.space, Spaces: 2}) {
		got = append(got, r.InboxID)
	}
	same(t, "rows", got, want)
}

func inboxRange(t *testing.T, w *world) {
	raw, n := w.nodes[0], w.nextTo()
	for _, space := range n {
		w.put(t, space, puts(2)...)
	}
	for _, tt := range []struct {
		name string
		want syncer.InboxRange
		show []string
	}{
		{"all", syncer.InboxRange{After: w.space, Spaces: 3}, n[:]},
		{"the first", syncer.InboxRange{After: w.space, Spaces: 1}, n[:1]},
		{"after the first", syncer.InboxRange{After: n[0], Spaces: 2}, n[1:]},
		{"without the second", syncer.InboxRange{After: w.space, Spaces: 2, Skip: n[1:2]}, []string{n[0], n[2]}},
		{"after the first, without the second", syncer.InboxRange{After: n[0], Spaces: 1, Skip: []string{n[1], "other"}}, n[2:]},
	} {
		var got []string
		for _, r := range waiting(t, raw, tt.want) {
			got = append(got, r.Space)
		}
		same(t, tt.name, slices.Compact(got), tt.show)
		if len(got) != 2*len(tt.show) {
			t.Errorf("%s: %d rows, want two of each space", tt.name, len(got))
		}
	}
}

func inboxCut(t *testing.T, w *world) {
	w.put(t, w.space, puts(models.MaxEdits+3)...)
	if got := len(w.left(t)); got != models.MaxEdits {
		t.Errorf("%d rows, want %d", got, models.MaxEdits)
	}
	w.exec(t, `DELETE FROM inbox WHERE space = $1`, w.space)

	// Five times 300 KiB are more than 1 MiB; and no row is read to its end.
	text := `{"a":"` + strings.Repeat("ä", 150<<10) + `"}`
	var large []entry
	for i := range 5 {
		large = append(large, entry{op: models.OpPut, at: fmt.Sprintf("todos/t%d", i), data: text})
	}
	large[0].data = `{"a":"` + strings.Repeat("x", 3<<20) + `"}`
	w.put(t, w.space, large...)
	bytes := 0
	rows := waiting(t, w.store, syncer.InboxRange{Spaces: 1})
	for _, r := range rows {
		if n := len(*r.Data); n <= models.MaxDocumentBytes || n > 2*models.MaxDocumentBytes {
			t.Errorf("%d bytes were read of a row of %d", n, len(text))
		}
		bytes += len(*r.Data)
	}
	if len(rows) == 0 || len(rows) == len(large) || bytes > 2*models.MaxBodyBytes {
		t.Errorf("%d rows of %d bytes", len(rows), bytes)
	}
}

func inboxUncommitted(t *testing.T, w *world) {
	tx, err := w.db.SQL.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }() // without effect after a commit
	if _, err := puts(1)[0].insert(t.Context(), tx, w.space); err != nil {
		t.Fatal(err)
	}
	same(t, "rows before the commit", w.left(t), nil)
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	same(t, "rows after a rollback", w.left(t), nil)
}

// touchInbox names rows of the inbox.
func (w *world) touchInbox(ids ...int64) syncer.Touch {
	touch := w.touch()
	touch.Inbox = ids
	return touch
}

// still returns the rows that a push has found.
func still(locked syncer.Locked) (ids []int64) {
	for id := range locked.Inbox {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// take takes rows out of the inbox as carried out.
func take(w syncer.Writes, ids ...int64) syncer.Writes {
	for _, id := range ids {
		w.Inbox = append(w.Inbox, syncer.InboxFate{ID: id})
	}
	return w
}

func inboxStillThere(t *testing.T, w *world) {
	ids := w.put(t, w.space, puts(4)...)
	w.exec(t, `DELETE FROM inbox WHERE inbox_id = $1`, ids[1])
	got := w.locked(t, w.touchInbox(ids[3], ids[0], ids[1]))
	same(t, "found", still(got), []int64{ids[0], ids[3]})
	same(t, "left", w.left(t), []int64{ids[0], ids[2], ids[3]})
}

// Two nodes have read the same rows. The second waits for the space.
func inboxWaited(t *testing.T, w *world) {
	ids := w.put(t, w.space, puts(3)...)
	first, locked := hold(t, w.store, w.touchInbox(ids[:2]...))
	found, done := start(t.Context(), w.other, w.touchInbox(ids...), func(locked syncer.Locked) syncer.Writes {
		return take(writes(locked, row(locked.Space.Head+1, "todos/t2", `{}`)), still(locked)...)
	})
	same(t, "found by the first", still(locked), ids[:2])
	first.commit(t, take(writes(locked, row(1, "todos/t1", `{}`)), ids[:2]...))
	same(t, "found by the second", still(await(t, "the second push", found)), ids[2:])
	if err := await(t, "its end", done); err != nil {
		t.Fatal(err)
	}
	same(t, "left", w.left(t), nil)
	same(t, "head", w.read(t, syncer.Range{Limit: 1}).Space.Head, 2)
}

func inboxFates(t *testing.T, w *world) {
	list := append(puts(3), entry{op: models.OpDelete, at: "todos/t9", base: new(int64)})
	ids := w.put(t, w.space, list...)
	err := commit(t.Context(), w.store, w.touchInbox(ids...), func(locked syncer.Locked) (syncer.Writes, error) {
		wr := take(writes(locked, row(1, "todos/t0", `{}`)), ids[0])
		for i, code := range []models.Code{models.CodeInvalidDocument, models.CodeVersionConflict} {
			wr.Inbox = append(wr.Inbox, syncer.InboxFate{
				ID: ids[2+i], Problem: &models.EditError{Code: code, Detail: "a sentence", Pointer: "/data"},
			})
		}
		return wr, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "left", w.left(t), ids[1:2])
	same(t, "rejected", w.rejected(t, w.space), []models.InboxRejected{
		w.rejection(ids[2], list[2], models.CodeInvalidDocument, "/data"),
		w.rejection(ids[3], list[3], models.CodeVersionConflict, "/data"),
	})
	same(t, "changes", ordered(w.read(t, syncer.Range{Limit: 9}).Changes), changes([]models.Document{row(1, "todos/t0", `{}`)}))

	// Without any change of a document.
	err = commit(t.Context(), w.store, w.touchInbox(ids[1]), func(syncer.Locked) (syncer.Writes, error) {
		return take(syncer.Writes{}, ids[1]), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "left", w.left(t), nil)
}

func inboxNewSpace(t *testing.T, w *world) {
	ids := w.put(t, w.space, puts(1)...)
	err := commit(t.Context(), w.store, w.touchInbox(ids...), func(syncer.Locked) (syncer.Writes, error) {
		problem := models.EditError{Code: models.CodeInvalidDocument, Detail: "a sentence"}
		return syncer.Writes{Inbox: []syncer.InboxFate{{ID: ids[0], Problem: &problem}}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "space", w.read(t, syncer.Range{Limit: 1}).Space, models.Space{PastEpochs: "[]"})
}

// Somebody has taken a row away by hand although it had been found.
func inboxGone(t *testing.T, w *world) {
	w.write(t, row(1, "todos/t1", `{"a":1}`))
	ids := w.put(t, w.space, puts(2)...)
	w.exec(t, `DELETE FROM inbox WHERE inbox_id = $1`, ids[1])
	err := commit(t.Context(), w.store, w.touchInbox(ids...), func(locked syncer.Locked) (syncer.Writes, error) {
		wr := take(writes(locked, row(2, "todos/t1", `{"a":2}`)), ids...)
		wr.Receipts = ring("receipts")
		return wr, nil
	})
	if err == nil {
		t.Error("it was committed")
	}
	w.unchanged(t)
	same(t, "left", w.left(t), ids[:1])
}

func inboxUndecided(t *testing.T, w *world) {
	ids := w.put(t, w.space, puts(2)...)
	err := commit(t.Context(), w.store, w.touchInbox(ids...), func(locked syncer.Locked) (syncer.Writes, error) {
		return take(writes(locked, row(1, "todos/t0", `{}`)), ids...), errChanged
	})
	if err == nil {
		t.Error("no error")
	}
	same(t, "left", w.left(t), ids)
	w.untouched(t)
}

func inboxLeftOut(t *testing.T, w *world) {
	if !w.db.LocksSpaces {
		return // where a push locks everything, nothing is ever left out
	}
	neighbor := *w
	neighbor.space = newSpace()
	w.write(t, row(1, "todos/t1", `{"a":1}`))
	neighbor.write(t, row(1, "todos/t1", `{"a":1}`))
	ids, others := w.put(t, w.space, puts(2)...), w.put(t, neighbor.space, puts(1)...)

	first, _ := hold(t, w.other, w.touch())
	touches := []syncer.Touch{w.touchInbox(ids...), neighbor.touchInbox(others...)}
	slices.SortFunc(touches, func(a, b syncer.Touch) int { return cmp.Compare(a.Space, b.Space) })
	err := w.store.Commit(t.Context(), syncer.Group{Touches: touches, Decide: func(found []*syncer.Locked) []syncer.Writes {
		list := make([]syncer.Writes, len(found))
		for i, locked := range found {
			if left := touches[i].Space == w.space; left != (locked == nil) {
				t.Errorf("space %s was left out: %t", touches[i].Space, locked == nil)
			}
			if locked != nil {
				list[i] = take(syncer.Writes{}, still(*locked)...)
			}
		}
		return list
	}})
	if err != nil {
		t.Fatal(err)
	}
	first.commit(t, syncer.Writes{})
	same(t, "left", w.left(t), ids)
	same(t, "left to the other", waiting(t, own{w.nodes[0], neighbor.space}, syncer.InboxRange{Spaces: 1}), nil)
}

func inboxRejected(t *testing.T, w *world) {
	list := puts(3)
	ids := w.put(t, w.space, list...)
	problem := models.EditError{Code: models.CodeInvalidSpace, Detail: "a sentence", Pointer: "/space"}
	for _, tt := range []struct {
		ids  []int64
		want int
	}{{ids[:1], 1}, {ids[:2], 1}, {ids[:2], 0}} {
		moved, err := w.store.RejectInbox(t.Context(), tt.ids, problem)
		if err != nil || moved != tt.want {
			t.Fatalf("%d rows are rejected, %v; want %d", moved, err, tt.want)
		}
	}
	same(t, "left", w.left(t), ids[2:])
	same(t, "rejected", w.rejected(t, w.space), []models.InboxRejected{
		w.rejection(ids[0], list[0], models.CodeInvalidSpace, "/space"),
		w.rejection(ids[1], list[1], models.CodeInvalidSpace, "/space"),
	})
}

// Somebody holds a row's lock, for as long as he likes.
func inboxRejectedLocked(t *testing.T, w *world) {
	if !w.db.LocksSpaces {
		return // where a transaction locks everything, rows have no locks
	}
	list := puts(2)
	ids := w.put(t, w.space, list...)
	holder, err := w.db.SQL.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Rollback() }() // it has written nothing
	if _, err := holder.ExecContext(t.Context(), `SELECT FROM inbox WHERE inbox_id = $1 FOR UPDATE`, ids[0]); err != nil {
		t.Fatal(err)
	}
	moved, err := w.store.RejectInbox(t.Context(), ids, models.EditError{Code: models.CodeInternal, Detail: "a sentence"})
	if err != nil || moved != 1 {
		t.Errorf("%d rows are rejected, %v; want the one that is free", moved, err)
	}
	same(t, "left", w.left(t), ids[:1])
	same(t, "rejected", w.rejected(t, w.space), []models.InboxRejected{w.rejection(ids[1], list[1], models.CodeInternal, "")})
}

func inboxNumbers(t *testing.T, w *world) {
	var last int64
	for range 3 {
		ids := w.put(t, w.space, puts(1)...)
		if ids[0] <= last {
			t.Errorf("number %d after %d", ids[0], last)
		}
		last = ids[0]
		w.exec(t, `DELETE FROM inbox WHERE inbox_id = $1`, last)
	}
}
