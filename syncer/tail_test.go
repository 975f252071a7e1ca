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
	space.row.Epoch = epoch
	h.spaces["s"] = space
	c := &spaceCommit{before: space.row.Head}
	space.row.Head = max(space.row.Head, h.last) + step
	for _, id := range slices.Sorted(maps.Keys(texts)) {
		h.edits++
		collection, name, _ := strings.Cut(id, "/")
		text := texts[id]
		d := &models.Document{
			SpaceID: "s", Collection: collection, ID: name, Version: space.row.Head, Deleted: text == "",
			EditID: fmt.Sprint("e", h.edits),
		}
		if !d.Deleted {
			d.Data, d.Size = &text, int64(len(text))
		}
		space.documents[Key{collection, name}] = *d
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
	if want.Through != run.Through {
		t.Errorf("%+v at %+v: through %d, want %d", r, at, run.Through, want.Through)
	}
	ascends(t, "a page", run.Changes)
	if !sameChanges(want.Changes, run.Changes) {
		t.Errorf("%+v at %+v (-want +got):\n%s", r, at, gocmp.Diff(want.Changes, run.Changes, texts))
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
		live, size = live+1, size+weight(e.change)
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
	small, large := `{"a":1}`, `{"a":"`+strings.Repeat("x", maxTailBytes/2)+`"}`
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
		m.fetched = append(m.fetched, func() { m.tail.learn(run, after) })
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

// putBack puts a backup in place. What is written from then on has another epoch.
func (m *tailMachine) putBack(r *rapid.T) {
	if rapid.IntRange(0, 3).Draw(r, "luck") > 0 {
		r.Skip("not now")
	}
	old := slices.SortedFunc(maps.Keys(m.states), func(a, b state) int { return int(a.epoch-b.epoch)<<20 + int(a.head-b.head) })
	at := rapid.SampledFrom(old).Draw(r, "state")
	m.restore(at)
	m.epoch++
}

// read reads at random and returns how often it was answered.
func (m *tailMachine) read(r *rapid.T) (answered int) {
	one := Range{
		After: rapid.Int64Range(max(0, m.tail.from-1), m.tail.space.Head+1).Draw(r, "after"),
		Limit: rapid.SampledFrom([]int{1, 2, 100}).Draw(r, "limit"),
	}
	if rapid.Bool().Draw(r, "filtered") {
		one.Collections = []string{"c1"}
	}
	for _, one.Snapshot = range []bool{false, true} {
		for _, one.HideUpTo = range []int64{0, rapid.Int64Range(0, m.last+1).Draw(r, "hide")} {
			if m.holds(r, m.tail, one) {
				answered++
			}
		}
	}
	return answered
}

// runOf is what is read of a space of epoch 1: a change at each of versions.
func runOf(head, through int64, versions ...int64) Run {
	run := Run{Space: models.Space{Head: head, Epoch: 1}, Through: through}
	for _, v := range versions {
		run.Changes = append(run.Changes, models.Change{Collection: "c", ID: fmt.Sprint("d", v), Version: v, Data: []byte("{}")})
	}
	return run
}

// tailAt is a tail that holds versions 6 to 9, at head 9.
func tailAt(t *testing.T) *tail {
	t.Helper()
	tail := newTail("s", runOf(9, 9).Space, time.Time{})
	tail.learn(runOf(9, 9, 6, 7, 8, 9), 5)
	wantTail(t, "at first", tail, 5, 9, 6, 7, 8, 9)
	return tail
}

// wantTail compares a tail's reach, and the versions that it holds.
func wantTail(t *testing.T, what string, tail *tail, from, head int64, versions ...int64) {
	t.Helper()
	sound(t, tail)
	if tail.from != from || tail.space.Head != head {
		t.Errorf("%s: the tail reaches from %d to %d, want from %d to %d", what, tail.from, tail.space.Head, from, head)
	}
	var got []int64
	for _, e := range tail.entries {
		if e.change != nil {
			got = append(got, e.version)
		}
	}
	if diff := gocmp.Diff(versions, got); diff != "" {
		t.Errorf("%s: versions (-want +got):\n%s", what, diff)
	}
}

// commitOf is a commit of one document at head.
func commitOf(epoch, before, head int64) *spaceCommit {
	text := "{}"
	return &spaceCommit{
		space: models.Space{ID: "s", Epoch: epoch, Head: head}, before: before,
		documents: []*models.Document{{Collection: "c", ID: fmt.Sprint("d", head), Version: head, Data: &text}},
	}
}

func TestTail_commit(t *testing.T) {
	t.Parallel()
	tail := tailAt(t)
	for what, c := range map[string]*spaceCommit{
		"after a commit of somebody else": commitOf(1, 10, 11),
		"that was announced already":      commitOf(1, 8, 9),
		"of another epoch":                commitOf(2, 9, 10),
	} {
		if tail.commit(c) {
			t.Errorf("a commit %s is taken", what)
		}
		wantTail(t, what, tail, 5, 9, 6, 7, 8, 9)
	}
	if !tail.commit(commitOf(1, 9, 12)) {
		t.Error("a commit that follows is refused")
	}
	wantTail(t, "after the next commit", tail, 5, 12, 6, 7, 8, 9, 12)

	tail = newTail("s", models.Space{}, time.Time{})
	if !tail.commit(commitOf(3, 0, 7)) {
		t.Error("the first commit of a space is refused")
	}
	wantTail(t, "after the first commit", tail, 0, 7, 7)
}

func TestTail_advance(t *testing.T) {
	t.Parallel()
	reborn, purged := runOf(12, 12, 10, 12), runOf(12, 12, 12)
	reborn.Space.Epoch = 2
	purged.Space.Floor = 10
	for what, test := range map[string]struct {
		asked    int64
		run      Run
		lost     bool
		from     int64
		head     int64
		versions []int64
	}{
		"nothing new":                          {9, runOf(9, 9), false, 5, 9, []int64{6, 7, 8, 9}},
		"two commits":                          {9, runOf(12, 12, 10, 12), false, 5, 12, []int64{6, 7, 8, 9, 10, 12}},
		"a page that was cut":                  {9, runOf(12, 10, 10), false, 12, 12, nil},
		"read before an own commit":            {7, runOf(8, 8, 8), false, 5, 9, []int64{6, 7, 8, 9}},
		"read after an own commit":             {7, runOf(10, 10, 8, 9, 10), false, 5, 10, []int64{6, 7, 8, 9, 10}},
		"cut, and read before an own commit":   {6, runOf(8, 7, 7), false, 5, 9, []int64{6, 7, 8, 9}},
		"tombstones purged that were not seen": {9, purged, false, 12, 12, nil},
		"tombstones purged, and all seen":      {10, purged, false, 5, 12, []int64{6, 7, 8, 9, 12}},
		"a lower head":                         {9, runOf(8, 8), true, 5, 9, []int64{6, 7, 8, 9}},
		"a lower head than now, but not lower": {8, runOf(8, 8), false, 5, 9, []int64{6, 7, 8, 9}},
		"a space that is gone":                 {9, Run{}, true, 5, 9, []int64{6, 7, 8, 9}},
		"another epoch":                        {9, reborn, true, 5, 9, []int64{6, 7, 8, 9}},
		"another epoch, asked before any":      {0, reborn, true, 5, 9, []int64{6, 7, 8, 9}},
		"no space yet, asked before any":       {0, Run{}, false, 5, 9, []int64{6, 7, 8, 9}},
	} {
		tail := tailAt(t)
		if same := tail.advance(test.run, test.asked, time.Time{}); same == test.lost {
			t.Errorf("%s: the history goes on: %t, want %t", what, same, !test.lost)
		}
		wantTail(t, what, tail, test.from, test.head, test.versions...)
	}
}

func TestTail_learn(t *testing.T) {
	t.Parallel()
	other := runOf(9, 9, 3, 6, 9)
	other.Space.Epoch = 2
	for what, test := range map[string]struct {
		position int64
		run      Run
		behind   bool
		from     int64
		versions []int64
	}{
		"reaches further back":      {2, runOf(9, 9, 3, 6, 7, 8, 9), false, 2, []int64{3, 6, 7, 8, 9}},
		"reaches less far":          {7, runOf(9, 9, 8, 9), false, 5, []int64{6, 7, 8, 9}},
		"a page that was cut":       {2, runOf(9, 6, 3, 6), false, 5, []int64{6, 7, 8, 9}},
		"read before an own commit": {2, runOf(8, 8, 3, 6, 7, 8), false, 5, []int64{6, 7, 8, 9}},
		"read after another commit": {2, runOf(10, 10, 3, 6, 10), true, 5, []int64{6, 7, 8, 9}},
		"another epoch":             {2, other, true, 5, []int64{6, 7, 8, 9}},
		"a space that is gone":      {2, Run{}, false, 5, []int64{6, 7, 8, 9}},
	} {
		tail := tailAt(t)
		if behind := tail.learn(test.run, test.position); behind != test.behind {
			t.Errorf("%s: behind %t, want %t", what, behind, test.behind)
		}
		wantTail(t, what, tail, test.from, 9, test.versions...)
	}
}

// A floor never sinks, whatever is taken in late: a reader from below it would be
// shown a feed without the tombstones that were purged.
func TestTail_floor(t *testing.T) {
	t.Parallel()
	before, after := runOf(9, 9), runOf(9, 9, 9)
	after.Space.Floor = 7
	tail := tailAt(t)
	tail.learn(after, 3)
	if !tail.confirm(before.Space, time.Time{}) || tail.space.Floor != 7 {
		t.Errorf("heads that were read before the purge: floor %d, want 7", tail.space.Floor)
	}
	if !tail.advance(before, 9, time.Time{}) || tail.space.Floor != 7 {
		t.Errorf("changes that were read before the purge: floor %d, want 7", tail.space.Floor)
	}
	after.Space.Floor = 8
	if !tail.confirm(after.Space, time.Time{}) || tail.space.Floor != 8 {
		t.Errorf("heads that were read after the next purge: floor %d, want 8", tail.space.Floor)
	}
	other := before.Space
	other.Epoch = 2
	if tail.confirm(other, time.Time{}) {
		t.Error("heads of another epoch confirm the tail")
	}
}

// An old document stays in front, and another one changes without end.
func TestTail_compacts(t *testing.T) {
	t.Parallel()
	h := newHistory()
	tail := newTail("s", models.Space{}, time.Time{})
	tail.commit(h.commit(1, 1, map[string]string{"c/old": `{}`, "c/hot": `{}`, "c/warm": `{}`}))
	for i := range 100 {
		texts := map[string]string{"c/hot": fmt.Sprintf(`{"n":%d}`, i)}
		if i%7 == 0 {
			texts["c/warm"] = `{"n":1}`
		}
		if i == 60 {
			texts["c/old"] = ""
		}
		if !tail.commit(h.commit(1, 1, texts)) {
			t.Fatalf("commit %d is refused", i)
		}
		sound(t, tail)
		for _, after := range []int64{0, 1, h.last / 2, h.last - 1, h.last} {
			if !h.holds(t, tail, Range{After: after, Limit: 2}) {
				t.Fatalf("the tail does not answer from %d", after)
			}
		}
	}
}

func TestTail_limits(t *testing.T) {
	t.Parallel()
	h := newHistory()
	tail := newTail("s", models.Space{}, time.Time{})
	const each = 150
	var weights []int // of versions
	for i := range maxTailChanges/each + 3 {
		texts := make(map[string]string)
		for j := range each {
			texts[fmt.Sprintf("c/d%d-%d", i, j)] = `{}`
		}
		if !tail.commit(h.commit(1, 2, texts)) {
			t.Fatalf("commit %d is refused", i)
		}
		sound(t, tail)
		weights = append(weights, 0)
		for _, d := range h.spaces["s"].documents {
			if d.Version == h.last {
				weights[i] += weight(d.Change())
			}
		}
		want := 0
		for bytes, j := 0, i; j >= 0 && want+each <= maxTailChanges && bytes+weights[j] <= maxTailBytes; j-- {
			bytes, want = bytes+weights[j], want+each
		}
		if tail.live != want {
			t.Errorf("after %d versions of %d documents the tail holds %d, want whole versions: %d", i+1, each, tail.live, want)
		}
		h.holds(t, tail, Range{After: tail.from, Limit: models.MaxPageChanges})
	}
	// A version that is larger than all, behind one that would fit.
	large := `{"a":"` + strings.Repeat("x", maxTailBytes/4) + `"}`
	tail.commit(h.commit(1, 1, map[string]string{"c/a": large, "c/b": large, "c/c": large, "c/d": large, "c/e": `{}`}))
	wantTail(t, "after a version that is too large", tail, h.last, h.last)
	tail.commit(h.commit(1, 1, map[string]string{"c/e": `{}`}))
	wantTail(t, "after a small one", tail, h.last-1, h.last, h.last)
	// One large document of a version goes, so its small neighbor goes too.
	tail.commit(h.commit(1, 1, map[string]string{"c/a": large, "c/b": large, "c/z": `{}`}))
	tail.commit(h.commit(1, 1, map[string]string{"c/c": large, "c/d": large}))
	wantTail(t, "after versions that don't fit together", tail, h.last-1, h.last, h.last, h.last)
}

// Names may be longer than any text, and are kept twice.
func TestTail_countsNames(t *testing.T) {
	t.Parallel()
	name := strings.Repeat("n", models.MaxNameBytes)
	c := models.Change{
		Collection: name, ID: name, Version: 1, Data: []byte(`{}`), ClientID: name, EditID: name,
		UpdatedBy: strings.Repeat("s", 256),
	}
	tail := newTail("s", models.Space{}, time.Time{})
	tail.append([]models.Change{c})
	if least := 4*len(name) + len(c.UpdatedBy) + len(c.AppendJSON(nil)); tail.bytes < least {
		t.Errorf("%d bytes are counted, want %d at least", tail.bytes, least)
	}
}

// What a tail holds is its own: a page that is being sent elsewhere is not changed,
// and one small change doesn't keep a large page in memory.
func TestTail_sharesNothing(t *testing.T) {
	t.Parallel()
	run := runOf(9, 9, 6, 7)
	tail := newTail("s", run.Space, time.Time{})
	tail.learn(run, 5)
	if tail.entries[0].change == &run.Changes[0] {
		t.Error("a tail holds a page's own change")
	}
	first, _ := tail.read(Range{After: 5, Limit: 9})
	second, _ := tail.read(Range{After: 5, Limit: 9})
	first.Changes[0].Version = 77
	if second.Changes[0].Version != 6 {
		t.Error("two pages share a change")
	}
}
