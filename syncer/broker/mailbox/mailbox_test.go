package mailbox_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/mailbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func poke(space string, version int64) syncer.Message {
	return syncer.Message{Space: space, Version: version}
}

func news(text string) syncer.Message {
	return syncer.Message{Space: "s1", Presence: json.RawMessage(`"` + text + `"`)}
}

func TestBox_merges(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ put, want []syncer.Message }{
		"the newest version stands for all": {[]syncer.Message{poke("a", 3), poke("b", 1), poke("a", 5), poke("a", 4)}, []syncer.Message{poke("a", 5), poke("b", 1)}},
		"look, after a version":             {[]syncer.Message{poke("a", 3), poke("a", 0)}, []syncer.Message{poke("a", 0)}},
		"look, before a version":            {[]syncer.Message{poke("a", 0), poke("a", 3)}, []syncer.Message{poke("a", 0)}},
		"anything":                          {[]syncer.Message{poke("", 0), poke("a", 3)}, []syncer.Message{poke("", 0), poke("a", 3)}},
		"presence in order, after pokes":    {[]syncer.Message{news("x"), poke("a", 1), news("y"), news("x")}, []syncer.Message{poke("a", 1), news("x"), news("y"), news("x")}},
		"nothing":                           {nil, []syncer.Message{}},
	} {
		box := mailbox.New()
		for _, m := range test.put {
			box.Put(m)
		}
		got := box.Take()
		slices.SortStableFunc(got, func(a, b syncer.Message) int {
			if !a.IsPoke() || !b.IsPoke() {
				return 0
			}
			return strings.Compare(a.Space, b.Space)
		})
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if left := box.Take(); len(left) > 0 {
			t.Errorf("%s: taken twice: %v", name, left)
		}
	}
}

func TestBox_keepsTheNewestPresence(t *testing.T) {
	t.Parallel()
	const count = 3000
	box := mailbox.New()
	for i := range count {
		box.Put(news(fmt.Sprint(i)))
	}
	got := box.Take()
	if len(got) != 1024 {
		t.Fatalf("%d are kept, want 1024", len(got))
	}
	for i, m := range got {
		if diff := cmp.Diff(news(fmt.Sprint(count-1024+i)), m); diff != "" {
			t.Fatalf("number %d (-want +got):\n%s", i, diff)
		}
	}
}

// However many spaces change while nobody takes, memory is bounded and none is
// forgotten.
func TestBox_tooManySpaces(t *testing.T) {
	t.Parallel()
	const count = 40_000
	box := mailbox.New()
	for i := range int64(count) {
		box.Put(poke(fmt.Sprint("s", i), i+1))
	}
	got := box.Take()
	if len(got) > 16_384 {
		t.Errorf("%d pokes are kept", len(got))
	}
	if !slices.ContainsFunc(got, func(m syncer.Message) bool { return cmp.Equal(m, poke("", 0)) }) {
		t.Error("nothing stands for the spaces that were dropped")
	}
}
