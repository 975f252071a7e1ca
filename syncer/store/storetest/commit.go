package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

var commitRequirements = []requirement{
	{"finds a space never written empty and of the touch's epoch", commitFindsNewSpace},
	{"finds what was committed", commitFindsCommitted},
	{"finds only the documents that the touch names", commitFindsOnlyNamed},
	{"reads a text only where it is wanted", commitReadsWantedText},
	{"writes past epochs only if there is a new one", commitPastEpochs},
	{"knows its database", commitIdentity},
	{"calls decide once", commitCallsDecideOnce},
	{"writes nothing when decide fails", commitDecideFails},
	{"writes nothing when there is nothing to write", commitNothingToWrite},
	{"writes receipts without documents", commitReceiptsAlone},
	{"leaves receipts alone that are not given", commitKeepsReceipts},
	{"returns receipts byte for byte", commitReceiptBytes},
	{"keeps receipts by subject and client", commitReceiptKeys},
	{"returns digests and counts to the last bit", commitSpaceNumbers},
	{"replaces the whole row of a document", commitReplacesRow},
	{"writes the largest push", commitLargestPush},
	{"is seen by every node when it returns", commitIsSeen},
	{"writes nothing for a context that has ended", commitEndedContext},
	{"writes nothing for a context that ends in decide", commitContextEndsInDecide},
}

func commitFindsNewSpace(t *testing.T, w *world) {
	got := w.locked(t, w.touch(syncer.Want{Key: key("todos/t1"), Data: true}))
	if got.Now <= 0 || got.Space.CreatedAt <= 0 {
		t.Errorf("now is %d, created at %d; want the clock", got.Now, got.Space.CreatedAt)
	}
	got.Now, got.Space.CreatedAt = 0, 0
	same(t, "state", got, syncer.Locked{Space: models.Space{ID: w.space, PastEpochs: "[]"}, Identity: epoch})
}

func commitFindsCommitted(t *testing.T, w *world) {
	one, two := row(3, "todos/t1", `{"a": 1}`), tombstone(4, "todos/t2")
	one.FieldVersions = `{"all":1,"absent":2,"fields":{"a":3}}`
	err := commit(t.Context(), w.store, w.touch(), func(locked syncer.Locked) (syncer.Writes, error) {
		wr := writes(locked, one, two)
		wr.Space.Digest, wr.Space.LiveCount = 17, 1
		wr.Receipts = ring("receipts")
		return wr, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	one.SpaceID, two.SpaceID = w.space, w.space
	got := w.locked(t, w.touch(
		syncer.Want{Key: key("todos/t1"), Data: true},
		syncer.Want{Key: key("todos/t2"), Data: true},
		syncer.Want{Key: key("todos/t3"), Data: true},
	))
	got.Now, got.Space.CreatedAt = 0, 0
	same(t, "state", got, syncer.Locked{
		Space:     models.Space{ID: w.space, Head: 4, Epoch: epoch, PastEpochs: "[]", Digest: 17, LiveCount: 1},
		Identity:  epoch,
		Documents: map[syncer.Key]*models.Document{key("todos/t1"): &one, key("todos/t2"): &two},
		Receipts:  ring("receipts"),
	})
}

func commitFindsOnlyNamed(t *testing.T, w *world) {
	w.write(t, row(1, "todos/t1", `{}`), row(1, "todos/t2", `{}`), row(1, "notes/t1", `{}`))
	neighbor := *w
	neighbor.space = newSpace()
	neighbor.write(t, row(2, "todos/t1", `{}`), row(2, "todos/t3", `{}`))

	got := w.locked(t, w.touch(syncer.Want{Key: key("todos/t1")}, syncer.Want{Key: key("todos/t3")}))
	if len(got.Documents) != 1 || got.Documents[key("todos/t1")] == nil || got.Documents[key("todos/t1")].Version != 1 {
		t.Errorf("found %v, want todos/t1 of this space alone", got.Documents)
	}
}

func commitReadsWantedText(t *testing.T, w *world) {
	w.write(t, row(5, "todos/live", `{"a":1}`), tombstone(5, "todos/gone"))
	for _, tt := range []struct {
		name, at string
		base     int64
		data     bool
		want     bool
	}{
		{"base is its version", "todos/live", 5, false, false},
		{"base is its version, but the text is wanted", "todos/live", 5, true, true},
		{"base is older", "todos/live", 4, false, true},
		{"base is newer", "todos/live", 6, false, true},
		{"no base", "todos/live", 0, false, true},
		{"any version is as good as the base", "todos/live", syncer.AnyVersion, false, false},
		{"tombstone", "todos/gone", 0, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := w.locked(t, w.touch(syncer.Want{Key: key(tt.at), Base: tt.base, Data: tt.data}))
			document := got.Documents[key(tt.at)]
			if document == nil {
				t.Fatal("the document was not found")
			}
			if (document.Data != nil) != tt.want {
				t.Errorf("text read: %t, want %t", document.Data != nil, tt.want)
			}
		})
	}
}

func commitPastEpochs(t *testing.T, w *world) {
	const past = `[[7,1,2]]`
	for i, step := range []struct {
		given string
		entry bool
		want  string
	}{
		{"of no use", false, "[]"},
		{past, true, past},
		{"of no use", false, past},
		{"[]", true, "[]"},
	} {
		version := int64(i + 1)
		err := commit(t.Context(), w.store, w.touch(), func(locked syncer.Locked) (syncer.Writes, error) {
			wr := writes(locked, row(version, "todos/t1", `{}`))
			wr.Space.Epoch, wr.Space.PastEpochs, wr.NewEpoch = 100+version, step.given, step.entry
			return wr, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := models.Space{Head: version, Epoch: 100 + version, PastEpochs: step.want}
		same(t, "what a pull finds", w.read(t, syncer.Range{Limit: 1}).Space, want)
		same(t, "what a pull of a collection finds", w.read(t, syncer.Range{Limit: 1, Collections: []string{"todos"}}).Space, want)
		if got := w.locked(t, w.touch()).Space; got.Epoch != want.Epoch || got.PastEpochs != want.PastEpochs {
			t.Errorf("step %d: a push finds %+v, want %+v", i, got, want)
		}
	}
}

func commitIdentity(t *testing.T, w *world) {
	identity := func() (id int64) {
		err := commit(t.Context(), w.nodes[0], w.touch(), func(locked syncer.Locked) (syncer.Writes, error) {
			id = locked.Identity
			return syncer.Writes{}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	if first, second := identity(), identity(); first == 0 || first != second {
		t.Errorf("the database is %d and then %d", first, second)
	}
}

func commitCallsDecideOnce(t *testing.T, w *world) {
	calls := 0
	err := commit(t.Context(), w.store, w.touch(), func(locked syncer.Locked) (syncer.Writes, error) {
		calls++
		return writes(locked, row(1, "todos/t1", `{}`)), nil
	})
	if err != nil || calls != 1 {
		t.Errorf("%d calls, error %v", calls, err)
	}
}

// untouched fails if w's space has a row.
func (w *world) untouched(t testing.TB) {
	t.Helper()
	var rows int
	if err := w.db.SQL.QueryRowContext(t.Context(), `SELECT count(*) FROM spaces WHERE id = $1`, w.space).Scan(&rows); err != nil || rows != 0 {
		t.Errorf("the space has %d rows, error %v", rows, err)
	}
	same(t, "changes", w.read(t, syncer.Range{Limit: 10}), syncer.Run{})
}

func commitDecideFails(t *testing.T, w *world) {
	fail := func(locked syncer.Locked) (syncer.Writes, error) {
		wr := writes(locked, row(9, "todos/t1", `{"a":2}`), row(9, "todos/t2", `{}`))
		wr.Receipts = ring("receipts")
		return wr, fmt.Errorf("decide: %w", errChanged)
	}
	if err := commit(t.Context(), w.store, w.touch(), fail); !errors.Is(err, errChanged) {
		t.Errorf("error %v, want decide's", err)
	}
	w.untouched(t)

	w.write(t, row(1, "todos/t1", `{"a":1}`))
	if err := commit(t.Context(), w.store, w.touch(), fail); !errors.Is(err, errChanged) {
		t.Errorf("error %v, want decide's", err)
	}
	w.unchanged(t)
}

// unchanged fails unless w's space is as one document at version 1 left it.
func (w *world) unchanged(t testing.TB) {
	t.Helper()
	run := w.read(t, syncer.Range{Limit: 10})
	same(t, "changes", ordered(run.Changes), changes([]models.Document{row(1, "todos/t1", `{"a":1}`)}))
	if run.Space.Head != 1 {
		t.Errorf("head %d, want 1", run.Space.Head)
	}
	if got := w.locked(t, w.touch()).Receipts; len(got) > 0 {
		t.Errorf("receipts %v, want none", got)
	}
}

func commitNothingToWrite(t *testing.T, w *world) {
	w.locked(t, w.touch(syncer.Want{Key: key("todos/t1"), Data: true}))
	w.untouched(t)
}

func commitReceiptsAlone(t *testing.T, w *world) {
	w.remember(t, c1, syncer.Receipts{Newest: []byte("receipts")})
	got := w.locked(t, w.touch())
	if string(got.Receipts[c1].Newest) != "receipts" || got.Space.Head != 0 || got.Space.Epoch != 0 {
		t.Errorf("found %+v", got)
	}
	run := w.read(t, syncer.Range{Limit: 10})
	if run.Space.Head != 0 || run.Through != 0 || len(run.Changes) != 0 {
		t.Errorf("changes: %+v, want none at head 0", run)
	}
}

// remember commits receipts and nothing else.
func (w *world) remember(t testing.TB, client syncer.Client, receipts syncer.Receipts) {
	t.Helper()
	touch := w.touch()
	touch.Clients = []syncer.Client{client}
	err := commit(t.Context(), w.store, touch, func(syncer.Locked) (syncer.Writes, error) {
		return syncer.Writes{Receipts: map[syncer.Client]syncer.Receipts{client: receipts}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func commitKeepsReceipts(t *testing.T, w *world) {
	w.remember(t, c1, syncer.Receipts{Newest: []byte("receipts")})
	w.write(t, row(1, "todos/t1", `{}`))
	if got := w.locked(t, w.touch()).Receipts[c1]; string(got.Newest) != "receipts" {
		t.Errorf("receipts %v", got)
	}
}

func commitReceiptBytes(t *testing.T, w *world) {
	ring := make([]byte, 1+32*models.MaxReceipts)
	for i := range ring {
		ring[i] = byte(i * 7)
	}
	for _, receipts := range [][]byte{{0}, {0xff, 0, '\'', '\\'}, ring, []byte("shorter again")} {
		want := syncer.Receipts{Newest: receipts, Older: receipts, OlderTag: int64(len(receipts))}
		w.remember(t, c1, want)
		same(t, "receipts", w.locked(t, w.touch()).Receipts[c1], want)
		w.remember(t, c1, syncer.Receipts{Newest: []byte("other")})
		want.Newest = []byte("other")
		same(t, "receipts of which one part was written", w.locked(t, w.touch()).Receipts[c1], want)
		touch := w.touch()
		touch.Known = map[syncer.Client]int64{c1: want.OlderTag}
		want.Older = nil
		same(t, "receipts of which one part is known", w.locked(t, touch).Receipts[c1], want)
	}
}

func commitReceiptKeys(t *testing.T, w *world) {
	keys := []syncer.Client{
		{Subject: "alice", ID: "c1"},
		{Subject: "alice", ID: "C1"},
		{Subject: "alice", ID: "c2"},
		{Subject: "Alice", ID: "c1"},
		{Subject: "alice ", ID: "c1"},
		{Subject: "ali", ID: "cec1"},
		{Subject: "zo\u00eb", ID: "c1"},
		{Subject: "zoe\u0308", ID: "c1"}, // the same to the eye
		{Subject: "https://login.example/x?y=1&z='", ID: "c1"},
	}
	for _, k := range keys {
		w.remember(t, k, syncer.Receipts{Newest: []byte(k.Subject + "\n" + k.ID)})
	}
	for _, k := range keys {
		touch := w.touch()
		touch.Clients = []syncer.Client{k}
		same(t, "receipts of "+k.Subject, string(w.locked(t, touch).Receipts[k].Newest), k.Subject+"\n"+k.ID)
	}
	touch := w.touch()
	touch.Clients = keys
	if got := w.locked(t, touch).Receipts; len(got) != len(keys) {
		t.Errorf("found the receipts of %d clients, want %d", len(got), len(keys))
	}
}

func commitSpaceNumbers(t *testing.T, w *world) {
	for _, want := range []models.Space{
		{Head: 1, Digest: math.MaxInt64, LiveCount: 1},
		{Head: 2, Digest: math.MinInt64, LiveCount: math.MaxInt32 + 1},
		{Head: models.MaxVersion, Digest: -1, LiveCount: 0},
	} {
		err := commit(t.Context(), w.store, w.touch(), func(locked syncer.Locked) (syncer.Writes, error) {
			wr := writes(locked, row(want.Head, "todos/t1", `{}`))
			wr.Space.Digest, wr.Space.LiveCount = want.Digest, want.LiveCount
			return wr, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		got := w.locked(t, w.touch()).Space
		want.ID, want.Epoch, want.PastEpochs, want.CreatedAt = w.space, epoch, "[]", got.CreatedAt
		same(t, "space", got, want)
	}
}

func commitReplacesRow(t *testing.T, w *world) {
	second := row(2, "todos/t1", `{"b": 2}`)
	second.FieldVersions, second.ClientID, second.EditID = `{"all":2}`, "c9", "e9"
	second.UpdatedBy, second.UpdatedAt = "bob", 99
	for _, want := range []models.Document{
		row(1, "todos/t1", `{"a":1}`), second, tombstone(3, "todos/t1"), row(4, "todos/t1", `{}`),
	} {
		w.write(t, want)
		want.SpaceID = w.space
		got, err := w.store.Document(t.Context(), w.space, key("todos/t1"))
		if err != nil {
			t.Fatal(err)
		}
		same(t, "row", got, &want)
	}
}

func commitLargestPush(t *testing.T, w *world) {
	var list []models.Document
	var wants []syncer.Want
	for i := range models.MaxEdits {
		list = append(list, row(1, fmt.Sprintf("todos/t%03d", i), `{"a":1}`))
		wants = append(wants, syncer.Want{Key: key(fmt.Sprintf("todos/t%03d", i)), Base: 1})
	}
	w.write(t, list...)
	if got := w.locked(t, w.touch(wants...)); len(got.Documents) != models.MaxEdits {
		t.Errorf("found %d documents, want %d", len(got.Documents), models.MaxEdits)
	}
	run := w.read(t, syncer.Range{Limit: 1})
	same(t, "changes", ordered(run.Changes), changes(list))
}

func commitIsSeen(t *testing.T, w *world) {
	for version := int64(1); version <= 20; version++ {
		w.write(t, row(version, "todos/t1", `{}`))
		run := read(t, w.other, w.space, syncer.Range{After: version - 1, Limit: 1})
		if run.Space.Head != version || len(run.Changes) != 1 || run.Changes[0].Version != version {
			t.Fatalf("the other node reads %+v after the commit of version %d", run, version)
		}
	}
}

func commitEndedContext(t *testing.T, w *world) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := commit(ctx, w.store, w.touch(), func(locked syncer.Locked) (syncer.Writes, error) {
		return writes(locked, row(1, "todos/t1", `{}`)), nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	w.untouched(t)
}

func commitContextEndsInDecide(t *testing.T, w *world) {
	w.write(t, row(1, "todos/t1", `{"a":1}`))
	ctx, cancel := context.WithCancel(t.Context())
	err := commit(ctx, w.store, w.touch(), func(locked syncer.Locked) (syncer.Writes, error) {
		cancel()
		wr := writes(locked, row(2, "todos/t1", `{"a":2}`))
		wr.Receipts = ring("receipts")
		return wr, nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	w.unchanged(t)
}
