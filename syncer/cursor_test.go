package syncer

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/models"
)

var compareCursors = cmp.AllowUnexported(cursor{})

func drawCursor(t *rapid.T) cursor {
	version := rapid.Int64Range(0, models.MaxVersion)
	return cursor{
		position: version.Draw(t, "position"),
		began:    version.Draw(t, "began"),
		seen:     version.Draw(t, "seen"),
		epoch:    rapid.Int64Range(0, 1<<62).Draw(t, "epoch"),
		filter:   rapid.Uint64().Draw(t, "filter"),
	}
}

func TestCursor_roundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := drawCursor(t)
		space := rapid.StringMatching(models.SpacePattern).Draw(t, "space")
		text := want.encode(space)
		if len(text) > models.MaxCursorBytes {
			t.Fatalf("a cursor of %d bytes", len(text))
		}
		got, err := openCursor(text, space, want.filter)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, compareCursors); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func TestOpenCursor_damaged(t *testing.T) {
	t.Parallel()
	sound := cursor{position: 5, began: 9, seen: 7, epoch: 3}.encode("s1")
	refuse := func(what, text string) {
		t.Helper()
		c, err := openCursor(text, "s1", 0)
		if models.CodeOf(err) != models.CodeInvalidCursor || err == nil {
			t.Errorf("%s: %q is read as %+v, %v", what, text, c, err)
		}
	}
	for i := range len(sound) + 1 {
		for b := range 256 {
			one := string([]byte{byte(b)})
			refuse("a character more", sound[:i]+one+sound[i:])
			if i < len(sound) && sound[i] != byte(b) {
				refuse("a character changed", sound[:i]+one+sound[i+1:])
			}
		}
		if i < len(sound) {
			refuse("a character less", sound[:i]+sound[i+1:])
			refuse("cut off", sound[:max(i, 1)])
		}
	}
	refuse("line end", sound+"\n")
	refuse("padding", sound+"==")
	refuse("space", " "+sound)
	refuse("twice", sound+sound)
	refuse("another alphabet", "+/+/")
	refuse("a number", "21")
}

func TestOpenCursor_otherSpace(t *testing.T) {
	t.Parallel()
	text := cursor{position: 5, epoch: 3}.encode("s1")
	for _, space := range []string{"s2", "S1", "s", "s11", ""} {
		if _, err := openCursor(text, space, 0); models.CodeOf(err) != models.CodeInvalidCursor {
			t.Errorf("space %q: %v, want %s", space, err, models.CodeInvalidCursor)
		}
	}
}

func TestOpenCursor_otherFilter(t *testing.T) {
	t.Parallel()
	all, one, two := filterOf(nil), filterOf([]string{"a"}), filterOf([]string{"a", "b"})
	for _, made := range []uint64{all, one, two} {
		text := cursor{position: 5, filter: made}.encode("s1")
		for _, used := range []uint64{all, one, two} {
			_, err := openCursor(text, "s1", used)
			if got, want := causeOf(err), models.CauseFilter; made != used && got != want {
				t.Errorf("filter %x, used with %x: cause %q, want %q", made, used, got, want)
			}
			if made == used && err != nil {
				t.Errorf("filter %x: %v", made, err)
			}
		}
	}
}

func TestFilterOf(t *testing.T) {
	t.Parallel()
	want := filterOf([]string{"a", "b"})
	for _, same := range [][]string{{"b", "a"}, {"a", "b", "a"}} {
		if filterOf(same) != want {
			t.Errorf("%q is another filter than a, b", same)
		}
	}
	for _, other := range [][]string{nil, {}, {"a"}, {"ab"}, {"a", "b", "c"}} {
		if filterOf(other) == want {
			t.Errorf("%q is the same filter as a, b", other)
		}
	}
	given := []string{"b", "a"}
	filterOf(given)
	if diff := cmp.Diff([]string{"b", "a"}, given); diff != "" {
		t.Errorf("the caller's list was changed (-want +got):\n%s", diff)
	}
}

func causeOf(err error) models.Cause {
	var e *models.Error
	if errors.As(err, &e) && e.Code == models.CodeCursorExpired {
		return e.Cause
	}
	return ""
}

func TestCursorCheck(t *testing.T) {
	t.Parallel()
	const (
		good      = models.Cause("")
		epoch     = models.CauseEpoch
		retention = models.CauseRetention
	)
	space := models.Space{Head: 100, Floor: 40, Epoch: 3}
	for name, test := range map[string]struct {
		c     cursor
		space models.Space
		want  models.Cause
	}{
		"at the head":                            {cursor{position: 100, epoch: 3}, space, good},
		"behind":                                 {cursor{position: 41, epoch: 3}, space, good},
		"at the floor":                           {cursor{position: 40, epoch: 3}, space, good},
		"below the floor":                        {cursor{position: 39, epoch: 3}, space, retention},
		"ahead of the head":                      {cursor{position: 101, epoch: 3}, space, epoch},
		"another epoch":                          {cursor{position: 50, epoch: 2}, space, epoch},
		"another epoch, below the floor":         {cursor{position: 10, epoch: 2}, space, epoch},
		"between pages, seen ahead of the head":  {cursor{position: 50, seen: 101, epoch: 3}, space, epoch},
		"between pages":                          {cursor{position: 50, seen: 60, epoch: 3}, space, good},
		"between pages, position below floor":    {cursor{position: 39, seen: 60, epoch: 3}, space, retention},
		"snapshot begins":                        {cursor{start: true}, space, good},
		"snapshot that began at the floor":       {cursor{position: 5, began: 40, seen: 60, epoch: 3}, space, good},
		"snapshot that began below the floor":    {cursor{position: 5, began: 39, seen: 60, epoch: 3}, space, retention},
		"snapshot whose head was lost":           {cursor{position: 5, began: 90, seen: 101, epoch: 3}, space, epoch},
		"snapshot of another epoch":              {cursor{position: 5, began: 90, seen: 90, epoch: 2}, space, epoch},
		"of an empty space":                      {cursor{}, models.Space{}, good},
		"of an empty space, written since":       {cursor{}, models.Space{Head: 7, Epoch: 3}, good},
		"of an empty space, tombstones are gone": {cursor{}, space, retention},
		"of a space that is not there any more":  {cursor{position: 5, epoch: 3}, models.Space{}, epoch},
		"snapshot of an empty space":             {cursor{start: true}, models.Space{}, good},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := test.c.check(test.space, 0)
			if got := causeOf(err); got != test.want || (err == nil) != (test.want == good) {
				t.Errorf("got %v, want cause %q", err, test.want)
			}
		})
	}
}

func TestCursorNext(t *testing.T) {
	t.Parallel()
	run := func(through, head int64) Run {
		return Run{Through: through, Space: models.Space{Head: head, Epoch: 3}}
	}
	for name, test := range map[string]struct {
		from cursor
		run  Run
		want cursor
	}{
		"to the head":                       {cursor{position: 5, epoch: 3, filter: 9}, run(20, 20), cursor{position: 20, epoch: 3, filter: 9}},
		"nothing new":                       {cursor{position: 20, epoch: 3}, run(20, 20), cursor{position: 20, epoch: 3}},
		"a part":                            {cursor{position: 5, epoch: 3}, run(10, 20), cursor{position: 10, seen: 20, epoch: 3}},
		"the next part, the head moved":     {cursor{position: 10, seen: 20, epoch: 3}, run(15, 30), cursor{position: 15, seen: 30, epoch: 3}},
		"the last part":                     {cursor{position: 15, seen: 30, epoch: 3}, run(30, 30), cursor{position: 30, epoch: 3}},
		"snapshot in one page":              {cursor{start: true, filter: 9}, run(20, 20), cursor{position: 20, epoch: 3, filter: 9}},
		"snapshot's first page":             {cursor{start: true}, run(10, 20), cursor{position: 10, began: 20, seen: 20, epoch: 3}},
		"snapshot goes on, the head moved":  {cursor{position: 10, began: 20, seen: 20, epoch: 3}, run(15, 30), cursor{position: 15, began: 20, seen: 30, epoch: 3}},
		"snapshot passes where it began":    {cursor{position: 15, began: 20, seen: 30, epoch: 3}, run(25, 30), cursor{position: 25, seen: 30, epoch: 3}},
		"snapshot comes to where it began":  {cursor{position: 15, began: 20, seen: 30, epoch: 3}, run(20, 30), cursor{position: 20, seen: 30, epoch: 3}},
		"snapshot of an empty space":        {cursor{start: true, filter: 9}, Run{}, cursor{filter: 9}},
		"an empty space that stays empty":   {cursor{}, Run{}, cursor{}},
		"an empty space, created by nobody": {cursor{start: true}, run(0, 0), cursor{}},
		"an empty space that was written":   {cursor{}, run(7, 7), cursor{position: 7, epoch: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := test.from.next(test.run)
			if diff := cmp.Diff(test.want, got, compareCursors); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A client that pushes again before it pulls has no cursor that could tell it that what
// it was answered before is lost.
func TestPush_acknowledgedAndLost(t *testing.T) {
	t.Parallel()
	row := models.Space{ID: "s", Head: 40, Epoch: 7, PastEpochs: "[[1,10,30]]"}
	for acknowledged, want := range map[int64]models.Cause{
		0: "", 10: "", 11: models.CauseEpoch, 29: models.CauseEpoch, 30: "", 40: "", 41: models.CauseEpoch,
	} {
		p := &push{space: "s", clientID: "c1", acknowledged: acknowledged, edits: []edit{newEdit(put("e1", "d", version(0), `{}`))}}
		results, writes, err := p.decide(Locked{Now: 50, Identity: 7, Space: row})
		if got := causeOf(err); got != want {
			t.Errorf("min_version %d: %v, want cause %q", acknowledged, err, want)
		}
		if applied := len(results) == 1 && !writes.Empty(); applied != (want == "") {
			t.Errorf("min_version %d: results %+v", acknowledged, results)
		}
	}
}
