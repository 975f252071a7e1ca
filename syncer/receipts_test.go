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

func TestRing_roundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var want ring
		for range rapid.IntRange(1, models.MaxReceipts).Draw(t, "length") {
			want = append(want, drawReceipt(t))
		}
		got, err := parseRing(want.encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, compareReceipts); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func TestRing_keepsTheNewest(t *testing.T) {
	t.Parallel()
	var r ring
	for i := range uint64(models.MaxReceipts + 44) {
		r = append(r, receipt{edit: i, version: int64(i)})
	}
	got, err := parseRing(r.encode())
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != models.MaxReceipts {
		t.Fatalf("%d receipts are kept, want %d", len(got), models.MaxReceipts)
	}
	if _, ok := got.find(43); ok {
		t.Error("the newest receipt that had to go is there")
	}
	for _, edit := range []uint64{44, models.MaxReceipts + 43} {
		if _, ok := got.find(edit); !ok {
			t.Errorf("receipt %d is not there", edit)
		}
	}
	if models.MaxReceipts <= models.MaxEdits {
		t.Error("a push can have more edits than a client has receipts")
	}
}

// A row that is read and written by every push must stay small.
func TestRing_size(t *testing.T) {
	t.Parallel()
	plain, loose := make(ring, models.MaxReceipts), make(ring, models.MaxReceipts)
	for i := range loose {
		loose[i] = receipt{merged: true, base: 1}
	}
	if got, want := len(plain.encode()), 1+24*models.MaxReceipts; got != want {
		t.Errorf("plain receipts take %d bytes, want %d", got, want)
	}
	if got, want := len(loose.encode()), 1+32*models.MaxReceipts; got != want {
		t.Errorf("loose receipts take %d bytes, want %d", got, want)
	}
}

func TestRing_findsTheNewest(t *testing.T) {
	t.Parallel()
	r := ring{{edit: 1, version: 5}, {edit: 2, version: 6}, {edit: 1, version: 7}}
	got, ok := r.find(1)
	if !ok || got.version != 7 {
		t.Errorf("found %+v, %t, want the one of version 7", got, ok)
	}
	if got, ok := r.find(3); ok {
		t.Errorf("found %+v for an edit that is not there", got)
	}
	if got, ok := ring(nil).find(0); ok {
		t.Errorf("found %+v in nothing", got)
	}
}

func TestParseRing_damaged(t *testing.T) {
	t.Parallel()
	sound := ring{{edit: 1, version: 5, merged: true, base: 4}}.encode()
	for n := 2; n < len(sound); n++ {
		if got, err := parseRing(sound[:n]); err == nil {
			t.Errorf("the first %d bytes are read as %+v", n, got)
		}
	}
	if got, err := parseRing(append([]byte{2}, sound[1:]...)); err == nil {
		t.Errorf("an unknown format is read as %+v", got)
	}
	for name, none := range map[string][]byte{"nil": nil, "empty": {}, "only the format": {ringFormat}} {
		if got, err := parseRing(none); err != nil || len(got) != 0 {
			t.Errorf("%s: %+v, %v, want no receipts", name, got, err)
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
