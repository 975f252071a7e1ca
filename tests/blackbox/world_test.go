package blackbox_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/harness"
)

// retryEvery is how often a client tries again that was not answered.
const retryEvery = 20 * time.Millisecond

// pushUntilAnswered does what a client must do: it sends the push whole until
// there is an answer. tries counts the sendings.
func pushUntilAnswered(ctx context.Context, client *harness.Client, space string, push harness.Push) (answer harness.PushAnswer, tries int, err error) {
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		tries++
		answer, err = client.Push(ctx, space, push)
		if err == nil || !mayRetry(err) || ctx.Err() != nil {
			return answer, tries, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return answer, tries, ctx.Err()
		}
	}
}

// mayRetry reports whether an error leaves open what became of the request, or
// says to come back: no answer, 429, 503.
func mayRetry(err error) bool {
	var problem *harness.Problem
	if !errors.As(err, &problem) {
		return true
	}
	return problem.HTTPStatus == http.StatusServiceUnavailable || problem.HTTPStatus == http.StatusTooManyRequests
}

func put(editID, id string, base int64, data string) harness.Edit {
	return harness.Edit{EditID: editID, Op: "put", Collection: "c", ID: id, BaseVersion: harness.At(base), Data: []byte(data)}
}

func forced(editID, id, data string) harness.Edit {
	return harness.Edit{EditID: editID, Op: "put", Collection: "c", ID: id, Force: true, Data: []byte(data)}
}

// mustPush pushes and expects every edit applied.
func mustPush(t *testing.T, client *harness.Client, space string, edits ...harness.Edit) harness.PushAnswer {
	t.Helper()
	answer, err := client.Push(t.Context(), space, harness.Push{ClientID: "c1", Edits: edits})
	if err != nil {
		t.Fatal(err)
	}
	wantApplied(t, answer)
	return answer
}

func wantApplied(t *testing.T, answer harness.PushAnswer) {
	t.Helper()
	for _, result := range answer.Results {
		if result.Status != "applied" {
			t.Fatalf("edit %s is %s, want applied: %+v %+v", result.EditID, result.Status, result.Error, result.Current)
		}
	}
}

// pullAll returns all that is in a space, by id, at minVersion or later.
func pullAll(t *testing.T, client *harness.Client, space string, minVersion int64) map[string]harness.Change {
	t.Helper()
	changes, _, err := client.PullAll(t.Context(), space, harness.Pull{MinVersion: minVersion})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]harness.Change{}
	for _, change := range changes {
		found[change.ID] = change
	}
	return found
}
