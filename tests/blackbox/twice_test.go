package blackbox_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/tests/harness"
)

// TestPush_sentAtTheSameMoment sends one push on several connections at once,
// as a client does whose first try seemed lost but was only slow. One of them
// takes effect and the others get its answer, also where it is the space's first.
func TestPush_sentAtTheSameMoment(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, harness.Options{Store: store})
		for round := range harness.Size(40, 2000) {
			sendTogether(t, server.Client(""), fmt.Sprintf("round-%d", round))
		}
	})
}

func sendTogether(t *testing.T, client *harness.Client, space string) {
	t.Helper()
	push := harness.Push{ClientID: "c1", Edits: []harness.Edit{
		put("e1", "d1", 0, `{"a":1}`),
		forced("e2", "d2", `{"a":1}`),
		{EditID: "e3", Op: "patch", Collection: "c", ID: "d1", BaseEditID: "e1", Data: []byte(`{"a":2}`)},
	}}
	answers := make([]harness.PushAnswer, 4)
	errs := make([]error, len(answers))
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			<-start
			answers[i], errs[i] = client.Push(t.Context(), space, push)
		})
	}
	close(start)
	all.Wait()

	first := 0
	for i := range answers {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		wantApplied(t, answers[i])
		if !answers[i].Results[0].Replayed {
			first++
		}
		for j := range answers[i].Results {
			answers[i].Results[j].Replayed = true
		}
		answers[i].PollAfterMS = 0 // depends on the moment
		if diff := cmp.Diff(answers[0], answers[i]); diff != "" {
			t.Fatalf("answers to the same push differ (-one +other):\n%s", diff)
		}
	}
	if first != 1 {
		t.Fatalf("%d of %d equal pushes took effect, want 1", first, len(answers))
	}
	if changes := pullAll(t, client, space, answers[0].Version); len(changes) != 2 || string(changes["d1"].Data) != `{"a":2}` {
		t.Fatalf("the space holds %+v", changes)
	}
}
