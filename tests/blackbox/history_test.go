package blackbox_test

import (
	"errors"
	"net/http"
	"os"
	"testing"

	"github.com/tidemark/tidemark/tests/harness"
)

// TestServe_databasePutBack puts an older copy of the database in place of the
// newer one. A cursor from what was lost is ahead of the space: to go on from it
// would skip whatever takes those versions' place, so it gets 410, and a push
// that brings it applies nothing. A cursor from before is still good.
func TestServe_databasePutBack(t *testing.T) {
	t.Parallel()
	server := harness.Start(t, harness.Options{Store: harness.SQLite})
	client := server.Client("")
	mustPush(t, client, "room", put("e1", "d1", 0, `{}`))
	before, err := client.Pull(t.Context(), "room", harness.Pull{})
	if err != nil {
		t.Fatal(err)
	}
	server.Stop()
	backup, err := os.ReadFile(server.SQLiteFile())
	if err != nil {
		t.Fatal(err)
	}
	server.Restart()
	mustPush(t, client, "room", put("e2", "d2", 0, `{}`))
	lost, err := client.Pull(t.Context(), "room", harness.Pull{Cursor: before.Cursor})
	if err != nil || len(lost.Changes) != 1 {
		t.Fatalf("pull after a restart: %+v, %v", lost, err)
	}
	server.Stop()
	if err := os.WriteFile(server.SQLiteFile(), backup, 0o600); err != nil {
		t.Fatal(err)
	}
	server.Restart()

	_, err = client.Pull(t.Context(), "room", harness.Pull{Cursor: lost.Cursor})
	wantExpired(t, err)
	_, err = client.Push(t.Context(), "room", harness.Push{
		ClientID: "c1", Edits: []harness.Edit{put("e3", "d3", 0, `{}`)}, Cursor: &lost.Cursor,
	})
	wantExpired(t, err)
	page, err := client.Pull(t.Context(), "room", harness.Pull{Cursor: before.Cursor})
	if err != nil || len(page.Changes) != 0 || page.Version != before.Version {
		t.Errorf("a cursor of what was kept brings %+v, %v", page, err)
	}
}

func wantExpired(t *testing.T, err error) {
	t.Helper()
	var problem *harness.Problem
	if !errors.As(err, &problem) || problem.HTTPStatus != http.StatusGone || problem.Code != "cursor_expired" || problem.Cause != "epoch" {
		t.Errorf("a cursor of a lost history is answered with %v", err)
	}
}
