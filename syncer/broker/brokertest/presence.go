package brokertest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/syncer"
)

func presence(m syncer.Message) bool { return !m.IsPoke() }

func presenceArrives(t *testing.T, ends Ends) {
	own, other := listen(t, ends.A, nil), listen(t, ends.B, nil)
	for _, state := range []string{`{"who":"ann","at":[1,2.50,true]}`, `"<b>&é\u2028'; \\ \""`, `null`, `0`, `[]`} {
		want := syncer.Message{Space: "s1", Presence: json.RawMessage(state)}
		publish(t, ends.A, want)
		for _, l := range []*listener{own, other} {
			if diff := cmp.Diff(want, l.await(t, presence)); diff != "" {
				t.Errorf("presence is not as it was said (-want +got):\n%s", diff)
			}
		}
	}
}

// Presence that goes over a sound connection to somebody who listens is not lost
// either, as long as it is not more than a queue holds.
func presenceInOrder(t *testing.T, ends Ends) {
	const count = 300
	l := listen(t, ends.B, nil)
	for i := range count {
		publish(t, ends.A, syncer.Message{Space: "s1", Version: 1})
		publish(t, ends.A, syncer.Message{Space: "s1", Presence: json.RawMessage(fmt.Sprint(i))})
	}
	var got, want []string
	for i := range count {
		got = append(got, string(l.await(t, presence).Presence))
		want = append(want, fmt.Sprint(i))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("presence out of order (-want +got):\n%s", diff)
	}
}

// sized returns a message whose encoded form has this many bytes, made of letter.
func sized(bytes int, letter string) syncer.Message {
	const around = len(`{"space":"s1","presence":""}`)
	return syncer.Message{Space: "s1", Presence: json.RawMessage(`"` + strings.Repeat(letter, bytes-around) + `"`)}
}

func largestArrives(t *testing.T, ends Ends) {
	l := listen(t, ends.B, nil)
	const letters = "<&>abcdefghijklmnopqrstuvwxyz" // a batch, each another
	for _, letter := range letters {
		publish(t, ends.A, sized(syncer.MaxMessageBytes, string(letter)))
	}
	for _, letter := range letters {
		if got := l.await(t, presence); !cmp.Equal(sized(syncer.MaxMessageBytes, string(letter)), got) {
			t.Fatalf("the largest message, of %c, arrived as %.100v", letter, got)
		}
	}
}

func tooLargeIsRefused(t *testing.T, ends Ends) {
	l := listen(t, ends.B, nil)
	if err := ends.A.Publish(t.Context(), sized(syncer.MaxMessageBytes+1, "x")); err == nil {
		t.Error("a message over the limit was published")
	}
	publish(t, ends.A, sized(100, "x"))
	if got := l.await(t, presence); !cmp.Equal(sized(100, "x"), got) {
		t.Errorf("after a message over the limit the next one arrived as %.100v", got)
	}
}
