package goclient

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/tests/contract"
	"github.com/tidemark/tidemark/tests/harness"
)

// TestClient does with the generated client what an app does with a server.
func TestClient(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, harness.Options{Store: store, Secret: harness.Secret})
		client := newClient(t, server)
		// By these names tests/e2e/clients puts them into the table of clients.
		for _, scenario := range []struct {
			name string
			run  func(*testing.T, *ClientWithResponses)
		}{
			{"push and conflict", pushAndConflict},
			{"pull pages and 304", pullPages},
			{"410", expiredCursor},
			{"presence", heartbeat},
			{"single document", singleDocument},
		} {
			t.Run(scenario.name, func(t *testing.T) { scenario.run(t, client) })
		}
	})
}

const space = "team-42"

func newClient(t *testing.T, server *harness.Server) *ClientWithResponses {
	t.Helper()
	spec, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	connection := server.Client("").HTTP
	connection.Transport = contract.NewRecorder(spec).Transport(connection.Transport)
	token := harness.Token(harness.Claims{"spaces": harness.Claims{space: "rw"}})
	client, err := NewClientWithResponses(server.URL(), WithHTTPClient(connection),
		WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header.Set("Authorization", "Bearer "+token)
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// push pushes edits and returns their results.
func push(t *testing.T, client *ClientWithResponses, edits ...Edit) []EditResult {
	t.Helper()
	answer, err := client.PushEditsWithResponse(t.Context(), space, PushRequest{ClientId: "go", Edits: edits})
	if err != nil {
		t.Fatal(err)
	}
	if answer.JSON200 == nil {
		t.Fatalf("push answered %s: %s", answer.Status(), answer.Body)
	}
	return answer.JSON200.Results
}

// create puts a document that is not there yet.
func create(editID, id string, data ItemData) Edit {
	return Edit{EditId: editID, Op: Put, Collection: "todos", Id: id, BaseVersion: new(int64), Data: &data}
}

func pushAndConflict(t *testing.T, client *ClientWithResponses) {
	first := push(t, client, create("e1", "t1", ItemData{"title": "Milk"}))[0]
	if first.Status != Applied || first.Version == nil {
		t.Fatalf("the first put is %+v, want applied with its version", first)
	}
	again := push(t, client, create("e1", "t1", ItemData{"title": "Milk"}))[0]
	if again.Status != Applied || *again.Version != *first.Version || again.Replayed == nil || !*again.Replayed {
		t.Errorf("the retry is %+v, want the first answer replayed", again)
	}
	late := push(t, client, create("e2", "t1", ItemData{"title": "Bread"}))[0]
	if late.Status != Conflict || late.Current == nil {
		t.Fatalf("the second put is %+v, want a conflict with the current document", late)
	}
	if diff := cmp.Diff(&ItemData{"title": "Milk"}, late.Current.Data); diff != "" {
		t.Errorf("current (-want +got):\n%s", diff)
	}
}

func pullPages(t *testing.T, client *ClientWithResponses) {
	for i := range 3 {
		push(t, client, create(fmt.Sprintf("p%d", i), fmt.Sprintf("p%d", i), ItemData{"i": i}))
	}
	var ids []string
	query := PullChangesParams{Limit: new(int32(1)), Collections: &[]string{"todos", "more"}}
	var page *PullChangesResponse
	for more := true; more; more = page.JSON200.HasMore {
		page = pull(t, client, query)
		if page.JSON200 == nil {
			t.Fatalf("pull answered %s: %s", page.Status(), page.Body)
		}
		for _, change := range page.JSON200.Changes {
			ids = append(ids, change.Id)
		}
		query.Cursor = &page.JSON200.Cursor
	}
	if diff := cmp.Diff([]string{"t1", "p0", "p1", "p2"}, ids); diff != "" {
		t.Errorf("ids, page by page (-want +got):\n%s", diff)
	}

	quiet := pull(t, client, query)
	if quiet.JSON200 == nil || len(quiet.JSON200.Changes) != 0 {
		t.Errorf("a pull with nothing new answered %s %s, want 200 and no changes", quiet.Status(), quiet.Body)
	}
	query.IfNoneMatch = new(page.HTTPResponse.Header.Get("ETag"))
	if same := pull(t, client, query); same.StatusCode() != http.StatusNotModified {
		t.Errorf("with If-None-Match it answered %s, want 304", same.Status())
	}
}

func pull(t *testing.T, client *ClientWithResponses, query PullChangesParams) *PullChangesResponse {
	t.Helper()
	answer, err := client.PullChangesWithResponse(t.Context(), space, &query)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func expiredCursor(t *testing.T, client *ClientWithResponses) {
	all := pull(t, client, PullChangesParams{})
	answer := pull(t, client, PullChangesParams{Cursor: &all.JSON200.Cursor, Collections: &[]string{"todos"}})
	gone := answer.ApplicationproblemJSON410
	if gone == nil || gone.Code != "cursor_expired" || gone.Cause == nil || *gone.Cause != "filter" {
		t.Errorf("a cursor of another filter answered %s %s, want 410 cursor_expired, filter", answer.Status(), answer.Body)
	}
}

func heartbeat(t *testing.T, client *ClientWithResponses) {
	state := PresenceState{"looks_at": "todos/t1"}
	answer, err := client.PutPresenceWithResponse(t.Context(), space, "go", PresenceRequest{State: &state, TtlS: new(int32(30))})
	if err != nil {
		t.Fatal(err)
	}
	if answer.JSON200 == nil || len(answer.JSON200.Present) != 1 {
		t.Fatalf("a heartbeat answered %s %s, want one who is present", answer.Status(), answer.Body)
	}
	me := answer.JSON200.Present[0]
	want := Presence{ClientId: "go", Subject: me.Subject, State: state, Since: me.Since, ExpiresInMs: me.ExpiresInMs}
	if diff := cmp.Diff(want, me); diff != "" {
		t.Errorf("who is present (-want +got):\n%s", diff)
	}
}

func singleDocument(t *testing.T, client *ClientWithResponses) {
	write := func(match PutItemParams, data ItemData) *PutItemResponse {
		t.Helper()
		answer, err := client.PutItemWithResponse(t.Context(), space, "todos", "single", &match, data)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	created := write(PutItemParams{IfNoneMatch: new("*")}, ItemData{"n": 1})
	if created.JSON201 == nil {
		t.Fatalf("the first put answered %s %s, want 201", created.Status(), created.Body)
	}
	tag := created.HTTPResponse.Header.Get("ETag")
	if replaced := write(PutItemParams{IfMatch: &tag}, ItemData{"n": 2}); replaced.JSON200 == nil {
		t.Fatalf("the second put answered %s %s, want 200", replaced.Status(), replaced.Body)
	}
	late := write(PutItemParams{IfMatch: &tag}, ItemData{"n": 3}).ApplicationproblemJSON412
	if late == nil || late.Code != "version_conflict" || late.Current == nil {
		t.Fatalf("a put with an old ETag is %+v, want 412 version_conflict with current", late)
	}
	if diff := cmp.Diff(&ItemData{"n": 2.0}, late.Current.Data); diff != "" {
		t.Errorf("current (-want +got):\n%s", diff)
	}
	if blind := write(PutItemParams{}, ItemData{}); blind.ApplicationproblemJSON428 == nil {
		t.Errorf("a put without precondition answered %s, want 428", blind.Status())
	}
}
