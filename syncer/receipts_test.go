package syncer

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/models"
)

var compareReceipts = cmp.AllowUnexported(receipt{})

func drawReceipt(t *rapid.T) receipt {
	r := receipt{
		edit:      rapid.Uint64().Draw(t, "edit"),
		key:       rapid.Uint32().Draw(t, "key"),
		content:   rapid.Uint32().Draw(t, "content"),
		version:   rapid.Int64Range(0, models.MaxVersion).Draw(t, "version"),
		merged:    rapid.Bool().Draw(t, "merged"),
		unchanged: rapid.Bool().Draw(t, "unchanged"),
	}
	r.forced = !r.merged && rapid.Bool().Draw(t, "forced")
	if r.merged {
		r.base = rapid.Int64Range(0, models.MaxVersion).Draw(t, "base")
	}
	return r
}

// all returns the receipts of r, oldest first.
func (r *ring) all() (list []receipt) {
	for record := range r.records {
		list = append(list, readReceipt(record))
	}
	return list
}

// A client's receipts after any pushes are the newest of what was added.
func TestRing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var stored Receipts
		var want []receipt
		for range rapid.IntRange(1, 12).Draw(t, "pushes") {
			var added []receipt
			for range rapid.OneOf(rapid.IntRange(1, 3), rapid.IntRange(1, models.MaxEdits)).Draw(t, "edits") {
				added = append(added, drawReceipt(t))
			}
			r, err := openRing(stored)
			if err != nil {
				t.Fatal(err)
			}
			stored = r.add(added).onto(stored)
			want = append(want, added...)
			want = want[max(0, len(want)-models.MaxReceipts):]
			if r, err = openRing(stored); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, r.all(), compareReceipts); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
			if r.newest > maxNewest {
				t.Fatalf("the small part holds %d receipts", r.newest)
			}
		}
	})
}

func TestRing_keepsTheNewest(t *testing.T) {
	t.Parallel()
	var stored Receipts
	for i := range uint64(models.MaxReceipts + 44) {
		r, err := openRing(stored)
		if err != nil {
			t.Fatal(err)
		}
		stored = r.add([]receipt{{edit: i, version: int64(i)}}).onto(stored)
	}
	r, err := openRing(stored)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(r.all()); got != models.MaxReceipts {
		t.Fatalf("%d receipts are kept, want %d", got, models.MaxReceipts)
	}
	if _, ok := r.find(43); ok {
		t.Error("the newest receipt that had to go is there")
	}
	for _, edit := range []uint64{44, models.MaxReceipts + 43} {
		if _, ok := r.find(edit); !ok {
			t.Errorf("receipt %d is not there", edit)
		}
	}
	if models.MaxReceipts <= models.MaxEdits {
		t.Error("a push can have more edits than a client has receipts")
	}
}

// What every push writes must stay small.
func TestRing_size(t *testing.T) {
	t.Parallel()
	var stored Receipts
	largest, rewritten := 0, 0
	for i := range uint64(4 * models.MaxReceipts) {
		r, err := openRing(stored)
		if err != nil {
			t.Fatal(err)
		}
		written := r.add([]receipt{{edit: i}})
		largest = max(largest, len(written.Newest))
		if written.Older != nil {
			rewritten++
		}
		stored = written.onto(stored)
	}
	if want := 1 + receiptBytes*maxNewest; largest != want {
		t.Errorf("the small part takes up to %d bytes, want %d", largest, want)
	}
	if want := 4 * models.MaxReceipts / (maxNewest + 1); rewritten != want {
		t.Errorf("the large part was written %d times, want %d", rewritten, want)
	}
	if got, want := len(stored.Older), 1+receiptBytes*models.MaxReceipts; got != want {
		t.Errorf("the large part takes %d bytes, want %d", got, want)
	}
}

func TestRing_findsTheNewest(t *testing.T) {
	t.Parallel()
	r, err := openRing(Receipts{
		Older:  appendReceipts([]byte{partFormat}, []receipt{{edit: 1, version: 5}, {edit: 2, version: 6}}),
		Newest: appendReceipts([]byte{partFormat}, []receipt{{edit: 1, version: 7}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	got, ok := r.find(1)
	if !ok || got.version != 7 {
		t.Errorf("found %+v, %t, want the one of version 7", got, ok)
	}
	if got, ok := r.find(2); !ok || got.version != 6 {
		t.Errorf("found %+v, %t, want the one of version 6", got, ok)
	}
	if got, ok := r.find(3); ok {
		t.Errorf("found %+v for an edit that is not there", got)
	}
	if got, ok := (&ring{}).find(0); ok {
		t.Errorf("found %+v in nothing", got)
	}
}

func TestOpenRing_damaged(t *testing.T) {
	t.Parallel()
	sound := appendReceipts([]byte{partFormat}, []receipt{{edit: 1, version: 5, merged: true, base: 4}})
	for n := 2; n < len(sound); n++ {
		for _, stored := range []Receipts{{Newest: sound[:n]}, {Older: sound[:n]}} {
			if got, err := openRing(stored); err == nil {
				t.Errorf("the first %d bytes are read as %+v", n, got.all())
			}
		}
	}
	if got, err := openRing(Receipts{Newest: append([]byte{2}, sound[1:]...)}); err == nil {
		t.Errorf("an unknown format is read as %+v", got.all())
	}
	for name, none := range map[string][]byte{"nil": nil, "empty": {}, "only the format": {partFormat}} {
		if got, err := openRing(Receipts{Newest: none, Older: none}); err != nil || len(got.all()) != 0 {
			t.Errorf("%s: %+v, %v, want no receipts", name, got.all(), err)
		}
	}
}

// What makes an edit another one: op, collection, id and data, but not its base.
func TestNewReceipt(t *testing.T) {
	t.Parallel()
	base := int64(7)
	first := models.Edit{EditID: "e1", Op: models.OpPut, Collection: "c", ID: "d", Data: []byte(`{"a":1}`)}
	same := first
	same.BaseVersion = &base
	if newReceipt(&same) != newReceipt(&first) {
		t.Error("another base makes another receipt")
	}
	for name, change := range map[string]func(*models.Edit){
		"edit_id":    func(e *models.Edit) { e.EditID = "e2" },
		"op":         func(e *models.Edit) { e.Op = models.OpPatch },
		"collection": func(e *models.Edit) { e.Collection = "c2" },
		"id":         func(e *models.Edit) { e.ID = "d2" },
		"names":      func(e *models.Edit) { e.Collection, e.ID = "cd", "" },
		"data":       func(e *models.Edit) { e.Data = []byte(`{"a":2}`) },
		"no data":    func(e *models.Edit) { e.Data = nil },
	} {
		other := first
		change(&other)
		if newReceipt(&other) == newReceipt(&first) {
			t.Errorf("another %s makes the same receipt", name)
		}
	}
}
