package syncer

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
)

// A store that tells what it was asked to read.
func TestPush_olderReceiptsAreReadOnce(t *testing.T) {
	t.Parallel()
	store := newModelStore()
	var read int
	client := Client{"alice", "c1"}
	e := New(&sparing{store, client, &read}, &deaf{}, Options{})
	push := func(n int) models.EditResult {
		t.Helper()
		res, err := e.Push(t.Context(), "s", "alice", &models.PushRequest{ClientID: "c1", Edits: []models.Edit{
			put(fmt.Sprint("e", n), fmt.Sprint("d", n), version(0), `{}`),
		}})
		if err != nil {
			t.Fatal(err)
		}
		return res.Results[0]
	}
	const pushes = 3*maxNewest + 10
	for n := range pushes {
		push(n)
	}
	if most := pushes/maxNewest + 1; read == 0 || read > most {
		t.Errorf("older receipts were read %d times in %d pushes, want at most %d", read, pushes, most)
	}
	for n := range pushes { // all of them are still remembered
		if r := push(n); !r.Replayed {
			t.Fatalf("edit %d: %+v, want it replayed", n, r)
		}
	}
}

// sparing leaves out what is known, as a Store may, and counts what it reads.
type sparing struct {
	Store
	client Client
	read   *int
}

func (s *sparing) Commit(ctx context.Context, g Group) error {
	decide := g.Decide
	known := g.Touches[0].Known
	g.Decide = func(found []*Locked) []Writes {
		if r, ok := found[0].Receipts[s.client]; ok && r.OlderTag != 0 {
			if known[s.client] == r.OlderTag {
				r.Older = nil
				found[0].Receipts[s.client] = r
			} else {
				*s.read++
			}
		}
		return decide(found)
	}
	return s.Store.Commit(ctx, g)
}

func TestOlderReceipts(t *testing.T) {
	t.Parallel()
	var o olderReceipts
	c := Client{"alice", "c1"}
	for i := range int64(maxKnown + 10) {
		found := map[Client]Receipts{c: {Older: []byte("older"), OlderTag: i + 1}}
		o.complete(fmt.Sprint("s", i), found, nil)
	}
	if len(o.known) != maxKnown {
		t.Errorf("%d are remembered, want %d", len(o.known), maxKnown)
	}
	newest := fmt.Sprint("s", maxKnown+9)
	known, tags := o.of(newest, []Client{c, {"bob", "c1"}})
	if diff := cmp.Diff(map[Client]int64{c: maxKnown + 10}, tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	for name, test := range map[string]struct {
		found Receipts
		want  string
	}{
		"left out, as known":     {Receipts{OlderTag: maxKnown + 10}, "older"},
		"another one":            {Receipts{Older: []byte("new"), OlderTag: 7}, "new"},
		"none":                   {Receipts{}, ""},
		"left out and not known": {Receipts{OlderTag: 8}, ""},
	} {
		found := map[Client]Receipts{c: test.found}
		o.complete(newest, found, known)
		if got := string(found[c].Older); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
