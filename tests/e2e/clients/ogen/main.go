// The client that ogen makes of openapi.yaml, used against a running server. It
// is a module of its own so that the server does not depend on ogen.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/go-faster/jx"

	tidemark "github.com/tidemark/tidemark/tests/e2e/clients/ogen/generated"
)

const clientID = "ogen"

// neverReached is a version that no space has reached: as min_version it is of
// a history that the server does not have.
const neverReached = 1<<53 - 1

var (
	space       = os.Getenv("TIDEMARK_SPACE")
	collections = []string{"todos", "more"}
)

// bearer is alice. Tickets are for streams, which are opened without them here.
type bearer string

func (b bearer) BearerToken(context.Context, tidemark.OperationName) (tidemark.BearerToken, error) {
	return tidemark.BearerToken{Token: string(b)}, nil
}

func (bearer) TicketQuery(context.Context, tidemark.OperationName) (tidemark.TicketQuery, error) {
	return tidemark.TicketQuery{}, errors.New("no ticket")
}

type app struct {
	*tidemark.Client
	ctx    context.Context
	cursor string
	etag   string
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	client, err := tidemark.NewClient(os.Getenv("TIDEMARK_URL"), bearer(os.Getenv("TIDEMARK_TOKEN")))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	a := &app{Client: client, ctx: ctx}
	failed := false
	for _, scenario := range []struct {
		name string
		run  func() error
	}{
		{"push", a.pushAndRetry},
		{"conflict", a.conflict},
		{"pull pages", a.pullPages},
		{"304", a.notModified},
		{"410", a.expired},
		{"presence", a.heartbeat},
	} {
		if err := scenario.run(); err != nil {
			failed = true
			fmt.Printf("failed %s: %s\n", scenario.name, strings.ReplaceAll(err.Error(), "\n", " "))
			continue
		}
		fmt.Printf("ok %s\n", scenario.name)
	}
	if failed {
		os.Exit(1)
	}
}

func (a *app) push(edit tidemark.Edit) (tidemark.EditResult, error) {
	answer, err := a.PushEdits(a.ctx, &tidemark.PushRequest{ClientID: clientID, Edits: []tidemark.Edit{edit}},
		tidemark.PushEditsParams{Space: space})
	if err != nil {
		return tidemark.EditResult{}, err
	}
	pushed, ok := answer.(*tidemark.PushResponse)
	if !ok || len(pushed.Results) != 1 {
		return tidemark.EditResult{}, fmt.Errorf("push answered %T %+v", answer, answer)
	}
	return pushed.Results[0], nil
}

func create(editID, id, title string) tidemark.Edit {
	return tidemark.Edit{
		EditID: editID, Op: tidemark.EditOpPut, Collection: "todos", ID: id, BaseVersion: tidemark.NewOptInt64(0),
		Data: tidemark.NewOptItemData(tidemark.ItemData{"title": jx.Raw(fmt.Sprintf("%q", title))}),
	}
}

func (a *app) pushAndRetry() error {
	first, err := a.push(create("e1", "t1", "Milk"))
	if err != nil {
		return err
	}
	again, err := a.push(create("e1", "t1", "Milk"))
	if err != nil {
		return err
	}
	want := first
	want.Replayed = tidemark.NewOptBool(true)
	if first.Status != tidemark.EditResultStatusApplied || !reflect.DeepEqual(again, want) {
		return fmt.Errorf("pushed %+v, again %+v", first, again)
	}
	return nil
}

func (a *app) conflict() error {
	late, err := a.push(create("e2", "t1", "Bread"))
	if err != nil {
		return err
	}
	current := late.Current.Value
	if late.Status != tidemark.EditResultStatusConflict || current.EditID != "e1" || string(current.Data.Value["title"]) != `"Milk"` {
		return fmt.Errorf("the result is %+v", late)
	}
	return nil
}

func (a *app) pull(params tidemark.PullChangesParams) (tidemark.PullChangesRes, error) {
	params.Space, params.Cursor, params.Collections = space, tidemark.NewOptString(a.cursor), collections
	return a.PullChanges(a.ctx, params)
}

func (a *app) pullPages() error {
	for _, id := range []string{"t2", "t3"} {
		if _, err := a.push(create(id, id, id)); err != nil {
			return err
		}
	}
	var ids []string
	pages := 0
	for more := true; more; pages++ {
		answer, err := a.pull(tidemark.PullChangesParams{Limit: tidemark.NewOptInt32(1)})
		if err != nil {
			return err
		}
		page, ok := answer.(*tidemark.PageHeaders)
		if !ok {
			return fmt.Errorf("pull answered %T %+v", answer, answer)
		}
		for _, change := range page.Response.Changes {
			ids = append(ids, change.ID)
		}
		a.cursor, a.etag, more = page.Response.Cursor, page.ETag.Value, page.Response.HasMore
	}
	if !reflect.DeepEqual(ids, []string{"t1", "t2", "t3"}) || pages < 3 {
		return fmt.Errorf("%d pages brought %q", pages, ids)
	}
	return nil
}

func (a *app) notModified() error {
	quiet, err := a.pull(tidemark.PullChangesParams{})
	if err != nil {
		return err
	}
	if page, ok := quiet.(*tidemark.PageHeaders); !ok || len(page.Response.Changes) != 0 {
		return fmt.Errorf("with nothing new it answered %T %+v", quiet, quiet)
	}
	same, err := a.pull(tidemark.PullChangesParams{IfNoneMatch: tidemark.NewOptString(a.etag)})
	if err != nil {
		return err
	}
	if _, ok := same.(*tidemark.NotModified); !ok {
		return fmt.Errorf("with If-None-Match it answered %T %+v", same, same)
	}
	return nil
}

func (a *app) expired() error {
	answer, err := a.pull(tidemark.PullChangesParams{MinVersion: tidemark.NewOptInt64(neverReached)})
	if err != nil {
		return err
	}
	gone, ok := answer.(*tidemark.PullChangesGone)
	if !ok || gone.Code != "cursor_expired" || gone.Cause.Value != "epoch" {
		return fmt.Errorf("it answered %T %+v", answer, answer)
	}
	return nil
}

func (a *app) heartbeat() error {
	state := tidemark.PresenceState{"looks_at": jx.Raw(`"todos/t1"`)}
	answer, err := a.PutPresence(a.ctx, &tidemark.PresenceRequest{
		State: tidemark.NewOptPresenceState(state), TTLS: tidemark.NewOptInt32(30),
	}, tidemark.PutPresenceParams{Space: space, ClientID: clientID})
	if err != nil {
		return err
	}
	here, ok := answer.(*tidemark.PresentHeaders)
	if !ok || len(here.Response.Present) != 1 {
		return fmt.Errorf("it answered %T %+v", answer, answer)
	}
	if me := here.Response.Present[0]; me.ClientID != clientID || me.Subject != "alice" || !reflect.DeepEqual(me.State, state) {
		return fmt.Errorf("who is present is %+v", me)
	}
	return nil
}
