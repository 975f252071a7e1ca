package storetest

import (
	"testing"

	"golang.org/x/sync/errgroup"
)

var settingRequirements = []requirement{
	{"a setting is made once and stays", settingStays},
	{"of many who make a setting all get the same", settingRace},
}

func settingStays(t *testing.T, w *world) {
	name, other := newSpace(), newSpace()
	for i, ask := range []struct {
		name  string
		fresh []byte
		want  []byte
	}{
		{name, []byte{0, 1, 0xff}, []byte{0, 1, 0xff}},
		{name, []byte("second"), []byte{0, 1, 0xff}},
		{other, []byte("other"), []byte("other")},
		{name, []byte("third"), []byte{0, 1, 0xff}},
	} {
		store := w.store
		if i%2 == 1 {
			store = w.other
		}
		got, err := store.Setting(t.Context(), ask.name, ask.fresh)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "setting", got, ask.want)
	}
}

func settingRace(t *testing.T, w *world) {
	name := newSpace()
	var got [16][]byte
	var nodes errgroup.Group
	for i := range got {
		store := w.store
		if i%2 == 1 {
			store = w.other
		}
		nodes.Go(func() (err error) {
			got[i], err = store.Setting(t.Context(), name, []byte{byte(i)})
			return err
		})
	}
	if err := nodes.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, value := range got {
		same(t, "setting", value, got[0])
	}
}
