package syncer

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/models"
)

// history is a space in a modelStore, and the states that it ever had: what a tail
// shows must be one of them.
type history struct {
	*modelStore
	states map[state]*modelSpace
	last   int64 // the newest version ever given out, of whatever history
	edits  int
}

// state names a state of a space: versions are never given out twice.
type state struct{ epoch, head int64 }

func newHistory() *history {
	return &history{modelStore: newModelStore(), states: map[state]*modelSpace{{}: {}}}
}

// keep remembers the state as it is.
func (h *history) keep() {
	space := h.spaces["s"]
	h.last = max(h.last, space.row.Head)
	at := state{space.row.Epoch, space.row.Head}
	if h.states[at] == nil { // a purge changes no state that a reader may ask for
		h.states[at] = &modelSpace{row: space.row, documents: maps.Clone(space.documents)}
	}
}

// commit writes documents, by key; an empty text is a deletion. It returns what an
// engine would hear of it.
func (h *history) commit(epoch, step int64, texts map[string]string) *spaceCommit {
	space := h.space("s", epoch)
	h.spaces["s"] = space
	c := &spaceCommit{before: space.row.Head}
	space.row.Head = max(space.row.Head, h.last) + step
	for _, id := range slices.Sorted(maps.Keys(texts)) {
		h.edits++
		collection, name, _ := strings.Cut(id, "/")
		text := texts[id]
		d := models.Document{
			SpaceID: "s", Collection: collection, ID: name, Version: space.row.Head, Deleted: text == "",
			EditID: fmt.Sprint("e", h.edits),
		}
		if !d.Deleted {
			d.Data, d.Size = &text, int64(len(text))
		}
		space.documents[Key{collection, name}] = d
		c.documents = append(c.documents, d)
	}
	c.space = space.row
	h.keep()
	return c
}

// purge takes away tombstones up to floor.
func (h *history) purge(floor int64) {
	space := h.spaces["s"]
	space.row.Floor = max(space.row.Floor, floor)
	maps.DeleteFunc(space.documents, func(_ Key, d models.Document) bool { return d.Deleted && d.Version <= space.row.Floor })
}

// restore puts an earlier state in place of the present one.
func (h *history) restore(at state) {
	old := h.states[at]
	h.spaces["s"] = &modelSpace{row: old.row, documents: maps.Clone(old.documents)}
	if at == (state{}) {
		delete(h.spaces, "s")
	}
}

// holds fails if a tail answers with anything but what a Store would have answered
// at the tail's head.
func (h *history) holds(t rapid.TB, tail *tail, r Range) (answered bool) {
	t.Helper()
	run, ok := tail.read(r)
	if !ok {
		return false
	}
	at := state{run.Space.Epoch, run.Space.Head}
	then := h.states[at]
	if then == nil {
		t.Fatalf("the tail is at %+v, where the space never was", at)
	}
	// Who comes from below the floor is answered 410, whatever the page holds.
	if from := max(r.After, r.HideUpTo); !r.Snapshot && from < run.Space.Floor {
		return false
	}
	old := newModelStore()
	old.spaces["s"] = then
	want := old.changes("s", r)
	if len(want.Changes) > 0 || want.Through != run.Through {
		if want.Through != run.Through {
			t.Errorf("%+v at %+v: through %d, want %d", r, at, run.Through, want.Through)
		}
	}
	ascends(t, "a page", run.Changes)
	if diff := gocmp.Diff(want.Changes, run.Changes, texts); diff != "" {
		t.Errorf("%+v at %+v (-want +got):\n%s", r, at, diff)
	}
	return true
}

// sound fails if a tail's accounts are wrong.
func sound(t rapid.TB, tail *tail) {
	t.Helper()
	live, size, version := 0, 0, tail.from
	for i, e := range tail.entries {
		if e.version <= tail.from || e.version < version || e.version > tail.space.Head {
			t.Errorf("version %d stands after %d, in a tail from %d to %d", e.version, version, tail.from, tail.space.Head)
		}
		version = e.version
		if e.change == nil {
			continue
		}
		live, size = live+1, size+len(e.change.Data)+changeOverhead
		if at, ok := tail.at[Key{e.change.Collection, e.change.ID}]; !ok || at-tail.gone != i {
			t.Errorf("the document of entry %d is looked for at %d", i, at-tail.gone)
		}
	}
	if live != tail.live || size != tail.bytes || live != len(tail.at) {
		t.Errorf("%d live changes of %d bytes, counted %d of %d, %d names", live, size, tail.live, tail.bytes, len(tail.at))
	}
	if live > maxTailChanges || size > maxTailBytes {
		t.Errorf("%d changes of %d bytes are over the limits", live, size)
	}
	if len(tail.entries) > 2*live+16 {
		t.Errorf("%d entries for %d changes", len(tail.entries), live)
	}
	if tail.from > tail.space.Head {
		t.Errorf("from %d is above the head %d", tail.from, tail.space.Head)
	}
}

// Whatever a tail goes through, what it answers is what a Store would have answered
// at its head. Its sources come late and in any order: what was read from the
// database lies around until it is taken in.
func TestTail_isTheFeed(t *testing.T) {
	t.Parallel()
	answered := 0
	rapid.Check(t, func(r *rapid.T) {
		m := &tailMachine{history: newHistory(), epoch: 1}
		m.tail = newTail("s", models.Space{}, time.Time{})
		r.Repeat(map[string]func(*rapid.T){
			"":          func(r *rapid.T) { sound(r, m.tail) },
			"own":       func(r *rapid.T) { m.own = append(m.own, m.commit(m.epoch, 1, m.texts(r))) },
			"announce":  m.announce,
			"other":     func(r *rapid.T) { m.commit(m.epoch, rapid.Int64Range(1, 3).Draw(r, "step"), m.texts(r)) },
			"fetch":     m.fetch,
			"take in":   m.takeIn,
			"refresh":   func(r *rapid.T) { m.fetch(r); m.takeIn(r) },
			"purge":     m.purgeSome,
			"backup":    m.putBack,
			"read":      func(r *rapid.T) { answered += m.read(r) },
			"read more": func(r *rapid.T) { answered += m.read(r) },
		})
	})
	if answered < 100 {
		t.Errorf("only %d reads were answered: the test says little", answered)
	}
}

// tailMachine is a tail and what goes on around it.
type tailMachine struct {
	*history
	tail    *tail
	epoch   int64
	own     []*spaceCommit // committed and not yet announced
	fetched []func()       // read and not yet taken in
}

// texts draws what a commit writes. Some are so large that a few of them fill a tail.
func (m *tailMachine) texts(r *rapid.T) map[string]string {
	small, large := `{"a":1}`, `{"a":"`+strings.Repeat("x", maxTailBytes/3)+`"}`
	return rapid.MapOfN(
		rapid.Map(rapid.IntRange(0, 9), func(i int) string { return fmt.Sprintf("c%d/d%d", i%2, i) }),
		rapid.SampledFrom([]string{small, small, small, "", "", large}), 1, 4).Draw(r, "documents")
}

// announce tells the tail of the oldest commit of its own node.
func (m *tailMachine) announce(r *rapid.T) {
	if len(m.own) == 0 {
		r.Skip("nothing to announce")
	}
	c := m.own[0]
	m.own = m.own[1:]
	before := m.tail.space
	if !m.tail.commit(c) && before.Head == c.before && before.Epoch == c.space.Epoch {
		r.Errorf("a commit is refused that follows the head")
	}
}

// fetch reads as the refresher or a pull does. It is taken in later.
func (m *tailMachine) fetch(r *rapid.T) {
	t := m.tail
	switch rapid.SampledFrom([]string{"advance", "advance", "learn", "learn", "confirm"}).Draw(r, "who") {
	case "advance":
		asked := t.head()
		run := m.changes("s", Range{After: asked, Limit: rapid.SampledFrom([]int{1, 3, 100}).Draw(r, "limit")})
		m.fetched = append(m.fetched, func() {
			if t == m.tail && !t.advance(run, asked, time.Time{}) {
				m.tail = newTail("s", m.changes("s", Range{}).Space, time.Time{})
			}
		})
	case "learn":
		after := rapid.Int64Range(0, m.last+1).Draw(r, "after")
		run := m.changes("s", Range{After: after, Limit: rapid.SampledFrom([]int{1, 3, 100}).Draw(r, "limit")})
		m.fetched = append(m.fetched, func() { m.tail.learn(run, after, time.Time{}) })
	case "confirm":
		asked := t.head()
		row := m.changes("s", Range{}).Space
		m.fetched = append(m.fetched, func() {
			if t == m.tail && row.Head == asked {
				t.confirm(row, time.Time{})
			}
		})
	}
}

// takeIn takes in any of what was fetched, perhaps long ago.
func (m *tailMachine) takeIn(r *rapid.T) {
	if len(m.fetched) == 0 {
		r.Skip("nothing was fetched")
	}
	i := rapid.IntRange(0, len(m.fetched)-1).Draw(r, "which")
	m.fetched[i]()
	m.fetched = slices.Delete(m.fetched, i, i+1)
}

func (m *tailMachine) purgeSome(r *rapid.T) {
	if m.spaces["s"] == nil {
		r.Skip("nothing to purge")
	}
	m.purge(rapid.Int64Range(0, m.spaces["s"].row.Head).Draw(r, "floor"))
}

// putBack puts a backup in place. The node is started again, and the database has
// another epoch from then on.
func (m *tailMachine) putBack(r *rapid.T) {
	if rapid.IntRange(0, 3).Draw(r, "luck") > 0 {
		r.Skip("not now")
	}
	old := slices.SortedFunc(maps.Keys(m.states), func(a, b state) int { return int(a.epoch-b.epoch)<<20 + int(a.head-b.head) })
	at := rapid.SampledFrom(old).Draw(r, "state")
	m.restore(at)
	m.epoch++
	if space := m.spaces["s"]; space != nil {
		space.row.Epoch = m.epoch
		m.keep()
	}
	m.own = nil
}

// read reads at random and returns how often it was answered.
func (m *tailMachine) read(r *rapid.T) (answered int) {
	after := rapid.Int64Range(max(0, m.tail.from-1), m.tail.space.Head+1).Draw(r, "after")
	for _, limit := range []int{1, 2, 100} {
		for _, collections := range [][]string{nil, {"c1"}} {
			hide := rapid.Int64Range(0, m.last+1).Draw(r, "hide")
			for _, one := range []Range{
				{After: after, Limit: limit, Collections: collections},
				{After: after, Limit: limit, Collections: collections, HideUpTo: hide},
				{After: after, Limit: limit, Collections: collections, Snapshot: true},
			} {
				if m.holds(r, m.tail, one) {
					answered++
				}
			}
		}
	}
	return answered
}
