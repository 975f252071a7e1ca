package blackbox_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/tests/harness"
)

// purged runs `gc` as if everything were past its retention, and returns what it said.
func purged(t *testing.T, server *harness.Server, retention string) string {
	t.Helper()
	var stdout string
	harness.Until(t, raceTimeout, "gc runs while no server is at it", func() bool {
		var stderr string
		var err error
		stdout, stderr, err = server.Run(t.Context(), "gc", "--retention", retention)
		if err != nil && !strings.Contains(stderr, "at it already") {
			t.Fatalf("gc: %v\n%s", err, stderr)
		}
		return err == nil
	})
	return stdout
}

// verified has a space proven by the command.
func verified(t *testing.T, server *harness.Server) {
	t.Helper()
	if stdout, stderr, err := server.Run(context.WithoutCancel(t.Context()), "verify"); err != nil {
		t.Errorf("verify: %v\n%s%s", err, stdout, stderr)
	}
}

// causeOf returns the cause of an error that says to start again.
func causeOf(err error) string {
	var problem *harness.Problem
	if !errors.As(err, &problem) || problem.Code != "cursor_expired" {
		return ""
	}
	return problem.Cause
}

// TestPurge: a client was away for longer than the retention, with an edit of a document
// that was deleted meanwhile and forgotten, and a document of its own that it sent without
// hearing the answer and that was deleted and forgotten too. Neither comes back, and
// whoever was there goes on.
func TestPurge(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, harness.Options{Store: store})
		there, away := server.Client(""), server.LooseClient("")
		created := mustPush(t, there, "room", put("e1", "doomed", 0, `{"a":1}`), put("e2", "kept", 0, `{}`))
		_, cursor, err := away.PullAll(t.Context(), "room", harness.Pull{})
		if err != nil {
			t.Fatal(err)
		}
		unheard := harness.Push{ClientID: "away", Edits: []harness.Edit{put("own", "own", 0, `{"mine":true}`)}}
		if _, err := away.Push(t.Context(), "room", unheard); err != nil {
			t.Fatal(err)
		}
		deleted := mustPush(t, there, "room",
			harness.Edit{EditID: "e3", Op: "delete", Collection: "c", ID: "doomed", Force: true},
			harness.Edit{EditID: "e4", Op: "delete", Collection: "c", ID: "own", Force: true})
		_, current, err := there.PullAll(t.Context(), "room", harness.Pull{MinVersion: deleted.Version})
		if err != nil {
			t.Fatal(err)
		}

		if out := purged(t, server, "1ms"); !strings.Contains(out, "room: 2 tombstones, 2 clients\n") {
			t.Errorf("gc said %q", out)
		}
		verified(t, server)

		// It pushes first, as clients do that were offline.
		for name, push := range map[string]harness.Push{
			"a pending edit":          {ClientID: "away", Edits: []harness.Edit{put("p1", "doomed", created.Version, `{"a":2}`)}},
			"a push without answer":   unheard,
			"an edit of what is kept": {ClientID: "away", Edits: []harness.Edit{put("p2", "kept", created.Version, `{"b":1}`)}},
		} {
			push.Cursor = &cursor
			harness.Until(t, raceTimeout, name+" is told to start again", func() bool {
				_, err := away.Push(t.Context(), "room", push)
				return causeOf(err) == "retention"
			})
		}
		harness.Until(t, raceTimeout, "a pull is told to start again", func() bool {
			_, err := away.Pull(t.Context(), "room", harness.Pull{Cursor: cursor})
			return causeOf(err) == "retention"
		})
		// What it has not sent it pushes again after the snapshot, on what it knew.
		found := pullAll(t, away, "room", deleted.Version)
		if len(found) != 1 || found["kept"].Version != created.Version {
			t.Fatalf("the snapshot has %v", found)
		}
		answer, err := away.Push(t.Context(), "room", harness.Push{ClientID: "away", Edits: []harness.Edit{
			put("p1", "doomed", created.Version, `{"a":2}`), put("p2", "kept", created.Version, `{"b":1}`),
		}})
		if err != nil {
			t.Fatal(err)
		}
		if got := answer.Results[0].Status + " " + answer.Results[1].Status; got != "conflict applied" {
			t.Errorf("its edits are %s", got)
		}
		page, err := there.Pull(t.Context(), "room", harness.Pull{Cursor: current, MinVersion: answer.Version})
		if err != nil || len(page.Changes) != 1 || page.Changes[0].ID != "kept" {
			t.Errorf("who was there gets %+v, %v", page.Changes, err)
		}
	})
}

// A space can be told to remember for longer than the others.
func TestPurge_retentionOfASpace(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, harness.Options{Store: store})
		if _, stderr, err := server.Run(t.Context(), "space", "retention", "careful", "48h"); err != nil {
			t.Fatalf("space retention: %v\n%s", err, stderr)
		}
		for _, space := range []string{"careful", "other"} {
			mustPush(t, server.Client(""), space, put("e1", "d1", 0, `{}`))
			mustPush(t, server.Client(""), space, harness.Edit{EditID: "e2", Op: "delete", Collection: "c", ID: "d1", Force: true})
		}
		if out := purged(t, server, "1ms"); strings.Contains(out, "careful") || !strings.Contains(out, "other: 1 tombstones, 1 clients\n") {
			t.Errorf("gc said %q", out)
		}
		if _, stderr, err := server.Run(t.Context(), "space", "retention", "careful", "default"); err != nil {
			t.Fatalf("space retention: %v\n%s", err, stderr)
		}
		if out := purged(t, server, "1ms"); !strings.Contains(out, "careful: 1 tombstones, 1 clients\n") {
			t.Errorf("gc said %q", out)
		}
	})
}
