package syncer

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/models"
)

func TestPastEpochs_text(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "[]"} {
		if past, err := parseEpochs(text); err != nil || past != nil {
			t.Errorf("%q is read as %v, %v", text, past, err)
		}
	}
	for _, text := range []string{"x", "{}", "[1]", `[["a",1,2]]`, "[[1.5,1,2]]", "[[9223372036854775808,1,2]]"} {
		if past, err := parseEpochs(text); err == nil {
			t.Errorf("%q is read as %v", text, past)
		}
	}
	want := pastEpochs{{-1 << 63, 5, 9}, {1<<63 - 1, 9, 1 << 52}}
	text, err := want.text()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parseEpochs(text); err != nil || !cmp.Equal(got, want, cmp.AllowUnexported(pastEpoch{})) {
		t.Errorf("%s is read as %v, %v", text, got, err)
	}
}

func TestPastEpochs_with(t *testing.T) {
	t.Parallel()
	past := pastEpochs{{1, 10, 20}, {2, 30, 40}}
	for name, test := range map[string]struct {
		endedBefore int64
		want        int // how many are kept
	}{
		"all are of the retention":         {20, 3},
		"the first is older":               {21, 2},
		"all but the new one are older":    {41, 1},
		"a clock that has gone far astray": {1 << 52, 0},
	} {
		if got := past.with(pastEpoch{3, 50, 60}, test.endedBefore); len(got) != test.want {
			t.Errorf("%s: %d are kept, want %d", name, len(got), test.want)
		}
	}
	for i := range int64(3000) {
		past = past.with(pastEpoch{i, i, i + 1}, 0)
	}
	if len(past) != maxPastEpochs || past[len(past)-1].epoch != 2999 {
		t.Errorf("%d are kept, the last is %v", len(past), past[len(past)-1])
	}
}

// A cursor of a past epoch is good up to where that ended.
func TestCursorCheck_pastEpochs(t *testing.T) {
	t.Parallel()
	const good = models.Cause("")
	space := models.Space{Head: 100, Floor: 5, Epoch: 3, PastEpochs: "[[1,20,30],[2,60,70]]"}
	for name, test := range map[string]struct {
		c            cursor
		acknowledged int64
		want         models.Cause
	}{
		"at the end of the first":                {cursor{position: 20, epoch: 1}, 0, good},
		"within the first":                       {cursor{position: 12, epoch: 1}, 20, good},
		"above the end of the first":             {cursor{position: 21, epoch: 1}, 0, models.CauseEpoch},
		"of the first, where the second goes on": {cursor{position: 40, epoch: 1}, 0, models.CauseEpoch},
		"at the end of the second":               {cursor{position: 60, epoch: 2}, 60, good},
		"above the end of the second":            {cursor{position: 61, epoch: 2}, 0, models.CauseEpoch},
		"of an epoch that has never been":        {cursor{position: 12, epoch: 9}, 0, models.CauseEpoch},
		"below the floor":                        {cursor{position: 4, epoch: 1}, 0, models.CauseRetention},
		"between pages, seen to the end":         {cursor{position: 12, seen: 20, epoch: 1}, 0, good},
		"between pages, seen what is lost":       {cursor{position: 12, seen: 21, epoch: 1}, 0, models.CauseEpoch},
		"a snapshot that began at the end":       {cursor{position: 1, began: 20, seen: 20, epoch: 1}, 0, good},
		"a snapshot that saw what is lost":       {cursor{position: 1, began: 20, seen: 25, epoch: 1}, 0, models.CauseEpoch},
		"a push acknowledged and lost":           {cursor{position: 20, epoch: 1}, 25, models.CauseEpoch},
		"a push lost at the end of the second":   {cursor{position: 20, epoch: 1}, 65, models.CauseEpoch},
		"a push acknowledged in the second":      {cursor{position: 20, epoch: 1}, 30, good},
		"of today, though it knows of a push":    {cursor{position: 80, epoch: 3}, 80, good},
		"of today, and a push is lost":           {cursor{position: 80, epoch: 3}, 65, models.CauseEpoch},
	} {
		err := test.c.check(space, test.acknowledged)
		if got := causeOf(err); got != test.want || (err == nil) != (test.want == good) {
			t.Errorf("%s: %v, want cause %q", name, err, test.want)
		}
	}
	space.Floor = 0
	for acknowledged, want := range map[int64]models.Cause{0: good, 20: good, 25: models.CauseEpoch, 70: good} {
		if err := (cursor{}).check(space, acknowledged); causeOf(err) != want {
			t.Errorf("a cursor of an empty space, after a push at %d: %v, want cause %q", acknowledged, err, want)
		}
	}
	space.PastEpochs = "nonsense"
	if err := (cursor{position: 6, epoch: 1}).check(space, 0); err == nil || causeOf(err) != "" {
		t.Errorf("past epochs that can't be read: %v", err)
	}
}

// lives is a space of a database that is backed up and restored over and over. seen is
// what clients have been shown: in which epoch, at which version, which history.
type lives struct {
	store   *modelStore
	engine  *Engine
	backups []models.Space
	history map[int64]string // of the version that is the head: what led to it
	seen    []sighting
	pushes  int
	begun   uint64 // lifetimes
	stands  bool   // the clock does, far behind the head
}

type sighting struct {
	c       cursor
	history string
}

// begin begins another lifetime of the database.
func (l *lives) begin() {
	l.begun++
	l.store.identity = int64(mix(l.begun))
}

func (l *lives) space() models.Space { return l.store.space("s", 0).row }

func (l *lives) push(r *rapid.T) {
	l.pushes++
	if !l.stands {
		l.store.now += rapid.Int64Range(1, 5).Draw(r, "microseconds")
	}
	before := l.history[l.space().Head]
	data := []byte(`{}`)
	p := &push{space: "s", subject: "alice", clientID: "c", retention: time.Hour, edits: []edit{newEdit(models.Edit{
		EditID: fmt.Sprint("e", l.pushes), Op: models.OpPut, Collection: "todos", ID: "t", Force: true, Data: data,
	})}}
	if _, err := l.engine.commit(r.Context(), p); err != nil {
		r.Fatal(err)
	}
	head := l.space().Head
	l.history[head] = fmt.Sprintf("%s %d", before, l.pushes)
}

// What a cursor has seen is a beginning of the history of today, or the cursor is
// refused; and one that stands in the history of today is not.
func TestCursor_restores(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		l := &lives{store: newModelStore(), history: map[int64]string{}}
		l.begin()
		l.engine = New(l.store, &deaf{}, Options{})
		defer l.engine.Close()
		if l.stands = rapid.Bool().Draw(r, "the clock stands"); l.stands {
			l.push(r)
		}
		r.Repeat(map[string]func(*rapid.T){
			"push": l.push,
			"see": func(*rapid.T) {
				s := l.space()
				c := cursor{start: true}.next(Run{Space: s, Through: s.Head})
				l.seen = append(l.seen, sighting{c, l.history[s.Head]})
			},
			"back up": func(*rapid.T) { l.backups = append(l.backups, l.space()) },
			"restart": func(*rapid.T) { l.begin() },
			"restore": func(r *rapid.T) {
				if len(l.backups) > 0 {
					space := l.store.space("s", 0)
					space.row = rapid.SampledFrom(l.backups).Draw(r, "backup")
					l.store.spaces["s"] = space
					l.begin()
				}
			},
			"": func(r *rapid.T) {
				today := l.space()
				now := l.history[today.Head]
				for _, s := range l.seen {
					err := s.c.check(today, 0)
					begins := len(s.history) <= len(now) && now[:len(s.history)] == s.history &&
						(len(now) == len(s.history) || now[len(s.history)] == ' ')
					if begins != (err == nil) {
						r.Fatalf("cursor %+v of history %q, today %q %+v: %v", s.c, s.history, now, today, err)
					}
				}
			},
		})
	})
}

// A base of a history that was lost is in conflict, whichever field the patch names;
// one that is still history is judged by its fields.
func TestDecide_lostBase(t *testing.T) {
	t.Parallel()
	data := `{"a":1,"b":2}`
	doc := &models.Document{SpaceID: "s", Collection: "todos", ID: "t", Version: 70, Data: &data, FieldVersions: `{"all":10,"fields":{"a":70}}`}
	space := models.Space{ID: "s", Head: 70, Epoch: 2, PastEpochs: "[[0,0,12],[1,20,60]]"}
	for name, test := range map[string]struct {
		base     int64
		identity int64
		want     models.Status
	}{
		"from before the space was written":       {11, 2, models.StatusApplied},
		"from before the end of the epoch":        {20, 2, models.StatusApplied},
		"in the gap":                              {21, 2, models.StatusConflict},
		"at the end of the gap":                   {59, 2, models.StatusConflict},
		"the first version of today's epoch":      {60, 2, models.StatusApplied},
		"the newest version":                      {70, 2, models.StatusApplied},
		"above the head":                          {71, 2, models.StatusConflict},
		"in the gap, as another epoch begins":     {21, 3, models.StatusConflict},
		"above the head, as another epoch begins": {75, 3, models.StatusConflict},
	} {
		copied := *doc
		locked := Locked{Space: space, Now: 80, Identity: test.identity, Documents: map[Key]*models.Document{{"todos", "t"}: &copied}}
		p := &push{space: "s", subject: "alice", clientID: "c", retention: time.Hour, edits: []edit{
			newEdit(models.Edit{EditID: "e1", Op: models.OpPatch, Collection: "todos", ID: "t", BaseVersion: &test.base, Data: []byte(`{"b":3}`)}),
		}}
		results, w, err := p.decide(locked)
		if err != nil || results[0].Status != test.want {
			t.Errorf("%s: %v, %v, want %s", name, results, err, test.want)
			continue
		}
		switch entered := test.identity != space.Epoch && test.want == models.StatusApplied; {
		case w.NewEpoch != entered:
			t.Errorf("%s: a new epoch is entered: %t", name, w.NewEpoch)
		case entered && (w.Space.Epoch != 3 || w.Space.PastEpochs != "[[0,0,12],[1,20,60],[2,70,80]]"):
			t.Errorf("%s: the space is %+v", name, w.Space)
		}
	}
}

// A space keeps its past epochs for as long as its cursors are good: for its own
// retention if it has one, otherwise for the server's.
func TestDecide_pastEpochsAreKept(t *testing.T) {
	t.Parallel()
	hour := time.Hour.Microseconds()
	now, head := 10*hour, 9*hour
	old, older := fmt.Sprintf("[1,%d,%d]", 5*hour, 8*hour), "[0,10,20]"
	ended := fmt.Sprintf("[2,%d,%d]", head, now)
	for name, test := range map[string]struct {
		own  int64 // milliseconds
		want string
	}{
		"as long as the server says": {0, "[" + old + "," + ended + "]"},
		"longer":                     {11 * 3_600_000, "[" + older + "," + old + "," + ended + "]"},
		"shorter":                    {3_600_000, "[" + ended + "]"},
	} {
		p := &push{space: "s", subject: "alice", clientID: "c", retention: 3 * time.Hour, edits: []edit{
			newEdit(models.Edit{EditID: "e1", Op: models.OpPut, Collection: "todos", ID: "t", Force: true, Data: []byte(`{}`)}),
		}}
		_, w, err := p.decide(Locked{
			Space: models.Space{ID: "s", Head: head, Epoch: 2, PastEpochs: "[" + older + "," + old + "]", RetentionMS: test.own},
			Now:   now, Identity: 3, Documents: map[Key]*models.Document{},
		})
		if err != nil || !w.NewEpoch || w.Space.PastEpochs != test.want {
			t.Errorf("%s: past epochs are %s, %v; want %s", name, w.Space.PastEpochs, err, test.want)
		}
	}
}

// Of two edits of one document in one push the second meets a version that is above
// all lost ones; its base is lost all the same.
func TestDecide_lostBaseBehindOwnEdit(t *testing.T) {
	t.Parallel()
	data, newest, lost := `{"a":1}`, int64(70), int64(75)
	doc := &models.Document{SpaceID: "s", Collection: "todos", ID: "t", Version: 70, Data: &data}
	p := &push{space: "s", subject: "alice", clientID: "c", retention: time.Hour, edits: []edit{
		newEdit(models.Edit{EditID: "e1", Op: models.OpPatch, Collection: "todos", ID: "t", BaseVersion: &newest, Data: []byte(`{"a":2}`)}),
		newEdit(models.Edit{EditID: "e2", Op: models.OpPatch, Collection: "todos", ID: "t", BaseVersion: &lost, Data: []byte(`{"b":2}`)}),
		newEdit(models.Edit{EditID: "e3", Op: models.OpPatch, Collection: "todos", ID: "t", BaseEditID: "e1", Data: []byte(`{"b":3}`)}),
	}}
	results, _, err := p.decide(Locked{
		Space: models.Space{ID: "s", Head: 70, Epoch: 2, PastEpochs: "[]"}, Now: 80, Identity: 3,
		Documents: map[Key]*models.Document{{"todos", "t"}: doc},
	})
	var got []models.Status
	for _, r := range results {
		got = append(got, r.Status)
	}
	if want := []models.Status{models.StatusApplied, models.StatusConflict, models.StatusApplied}; err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

// What a push says of a base that nobody was ever given doesn't depend on whether the
// document was written by an edit before it or by the push before it.
func TestDecide_baseThatNeverWas(t *testing.T) {
	t.Parallel()
	none, between := int64(0), int64(75)
	data := `{"a":1,"b":1}`
	create := newEdit(models.Edit{EditID: "e1", Op: models.OpPut, Collection: "todos", ID: "t", BaseVersion: &none, Data: []byte(data)})
	patch := newEdit(models.Edit{EditID: "e2", Op: models.OpPatch, Collection: "todos", ID: "t", BaseVersion: &between, Data: []byte(`{"a":2}`)})
	written := &models.Document{SpaceID: "s", Collection: "todos", ID: "t", Version: 80, Data: &data}
	for name, test := range map[string]struct {
		space  models.Space
		stored *models.Document
		edits  []edit
	}{
		"never written, in one push": {models.Space{PastEpochs: "[]"}, nil, []edit{create, patch}},
		"never written, in two":      {models.Space{Head: 80, Epoch: 3, PastEpochs: "[[0,0,80]]"}, written, []edit{patch}},
		"written, in one push":       {models.Space{Head: 70, Epoch: 3, PastEpochs: "[]"}, nil, []edit{create, patch}},
		"written, in two":            {models.Space{Head: 80, Epoch: 3, PastEpochs: "[]"}, written, []edit{patch}},
	} {
		locked := Locked{Space: test.space, Now: 80, Identity: 3, Documents: map[Key]*models.Document{}}
		if test.stored != nil {
			copied := *test.stored
			locked.Documents[Key{"todos", "t"}] = &copied
		}
		results, _, err := (&push{space: "s", subject: "alice", clientID: "c", retention: time.Hour, edits: test.edits}).decide(locked)
		if err != nil {
			t.Fatal(err)
		}
		last := results[len(results)-1]
		if last.Status != models.StatusConflict || !cmp.Equal(last.ConflictingFields, []string{"a"}) {
			t.Errorf("%s: %s, fields %v", name, last.Status, last.ConflictingFields)
		}
	}
}

// Pushes that one transaction carries out enter the epoch once.
func TestGroup_entersEpochOnce(t *testing.T) {
	t.Parallel()
	s := spaceGroup{touch: Touch{Space: "s"}, wanted: make(map[Key]wanted)}
	for i := range 3 {
		s.add(newJob(&push{space: "s", subject: "alice", clientID: "c", retention: time.Hour, edits: []edit{newEdit(models.Edit{
			EditID: fmt.Sprint("e", i), Op: models.OpPut, Collection: "todos", ID: fmt.Sprint("t", i), Force: true, Data: []byte(`{}`),
		})}}, time.Time{}))
	}
	w := s.decide(&Locked{
		Space: models.Space{ID: "s", Head: 70, Epoch: 2, PastEpochs: "[]"}, Now: 80, Identity: 3,
		Documents: make(map[Key]*models.Document), Receipts: make(map[Client]Receipts),
	})
	if w.Space == nil || !w.NewEpoch || w.Space.Epoch != 3 || w.Space.PastEpochs != "[[2,70,80]]" || w.Space.Head != 82 {
		t.Errorf("they write %+v, new epoch: %t", w.Space, w.NewEpoch)
	}
}

// The clock of the database may have been ahead before a backup was put back, and be
// right since. The first version after it is above all that were lost.
func TestDecide_clockBehindTheHead(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		space models.Space
		want  int64
	}{
		"another epoch begins": {models.Space{Head: 1_000_000, Epoch: 2, PastEpochs: "[]"}, 1_000_000 + epochLeap + 3},
		"the epoch goes on":    {models.Space{Head: 1_000_000, Epoch: 3, PastEpochs: "[]"}, 1_000_001},
		"a new space":          {models.Space{PastEpochs: "[]"}, 80},
	} {
		p := &push{space: "s", subject: "alice", clientID: "c", retention: time.Hour, edits: []edit{
			newEdit(models.Edit{EditID: "e1", Op: models.OpPut, Collection: "todos", ID: "t", Force: true, Data: []byte(`{}`)}),
		}}
		_, w, err := p.decide(Locked{Space: test.space, Now: 80, Identity: 3})
		if err != nil || w.Space == nil || w.Space.Head != test.want {
			t.Errorf("%s: %+v, %v, want head %d", name, w.Space, err, test.want)
		}
	}
}

// A space that was never written may have been, and be lost as a whole.
func TestDecide_firstEpoch(t *testing.T) {
	t.Parallel()
	p := &push{space: "s", subject: "alice", clientID: "c", retention: time.Hour, edits: []edit{
		newEdit(models.Edit{EditID: "e1", Op: models.OpPut, Collection: "todos", ID: "t", Force: true, Data: []byte(`{}`)}),
	}}
	_, w, err := p.decide(Locked{Space: models.Space{PastEpochs: "[]"}, Now: 80, Identity: 3})
	if err != nil || w.Space.PastEpochs != "[[0,0,80]]" {
		t.Fatalf("%+v, %v", w.Space, err)
	}
	for acknowledged, lost := range map[int64]bool{0: false, 1: true, 79: true, 80: false} {
		if err := (cursor{}).check(*w.Space, acknowledged); (causeOf(err) == models.CauseEpoch) != lost {
			t.Errorf("a push was answered %d: %v", acknowledged, err)
		}
	}
}
