package syncer_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/memory"
	"github.com/tidemark/tidemark/syncer/store"
)

// newEngine returns an engine on a new SQLite database, at ten o'clock.
func newEngine() (engine *syncer.Engine, cleanup func()) {
	folder, err := os.MkdirTemp("", "tidemark")
	must(err)
	url := "sqlite:" + filepath.Join(folder, "tidemark.db")
	migrator, err := store.OpenMigrator(url)
	must(err)
	must(migrator.Up(context.Background()))
	must(migrator.Close())

	clock := func() time.Time { return time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC) }
	database, err := store.Open(context.Background(), url, store.Options{Now: clock})
	must(err)
	return syncer.New(database, memory.New(), syncer.Options{Now: clock}), func() {
		must(database.Close())
		must(os.RemoveAll(folder))
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Two people change the same list. Their versions decide, edit by edit.
func ExampleEngine_Push() {
	engine, cleanup := newEngine()
	defer cleanup()
	ctx := context.Background()

	nothing := int64(0)
	milk := models.Edit{
		EditID: "a1", Op: models.OpPut, Collection: "todos", ID: "milk",
		BaseVersion: &nothing, Data: []byte(`{"title":"Milk","done":false}`),
	}
	first, err := engine.Push(ctx, "home", "alice", &models.PushRequest{ClientID: "alices-phone", Edits: []models.Edit{milk}})
	must(err)
	fmt.Println("Alice:", string(first.Results[0].AppendJSON(nil)))

	// Sent again because the answer was lost: no second effect, the same answer.
	again, err := engine.Push(ctx, "home", "alice", &models.PushRequest{ClientID: "alices-phone", Edits: []models.Edit{milk}})
	must(err)
	fmt.Println("Alice:", string(again.Results[0].AppendJSON(nil)))

	// Bob doesn't know of Alice's milk. One of his edits fails, the other doesn't.
	bob, err := engine.Push(ctx, "home", "bob", &models.PushRequest{ClientID: "bobs-laptop", Edits: []models.Edit{
		{EditID: "b1", Op: models.OpPut, Collection: "todos", ID: "milk", BaseVersion: &nothing, Data: []byte(`{"title":"Oat milk"}`)},
		{EditID: "b2", Op: models.OpPut, Collection: "todos", ID: "bread", BaseVersion: &nothing, Data: []byte(`{"title":"Bread"}`)},
	}})
	must(err)
	for _, r := range bob.Results {
		fmt.Println("Bob:", r.EditID, r.Status)
	}
	fmt.Println("There is:", string(bob.Results[0].Current.Data))

	// Output:
	// Alice: {"edit_id":"a1","status":"applied","version":1795428000000000}
	// Alice: {"edit_id":"a1","status":"applied","version":1795428000000000,"replayed":true}
	// Bob: b1 conflict
	// Bob: b2 applied
	// There is: {"title":"Milk","done":false}
}

// A client starts without a cursor, and from then on asks for what is new.
func ExampleEngine_Pull() {
	engine, cleanup := newEngine()
	defer cleanup()
	ctx := context.Background()

	push := func(editID string, op models.Op, id, text string) {
		edit := models.Edit{EditID: editID, Op: op, Collection: "todos", ID: id, Force: true}
		if text != "" {
			edit.Data = []byte(text)
		}
		_, err := engine.Push(ctx, "home", "alice", &models.PushRequest{ClientID: "alices-phone", Edits: []models.Edit{edit}})
		must(err)
	}
	push("a1", models.OpPut, "milk", `{"done":false}`)
	push("a2", models.OpPut, "bread", `{"done":false}`)

	cursor := ""
	pull := func() {
		page, err := engine.Pull(ctx, "home", syncer.PullRequest{Cursor: cursor})
		must(err)
		for _, c := range page.Changes {
			fmt.Printf("  %d %s deleted=%t data=%s\n", c.Version, c.ID, c.Deleted, cmp.Or(string(c.Data), "-"))
		}
		fmt.Printf("  has_more=%t poll_after=%v\n", page.HasMore, page.PollAfter)
		cursor = page.Cursor
	}
	fmt.Println("snapshot:")
	pull()

	// However often a document changed, it comes once, as it is now.
	push("a3", models.OpPatch, "milk", `{"done":true}`)
	push("a4", models.OpDelete, "bread", "")
	push("a5", models.OpPatch, "milk", `{"by":"Alice"}`)
	fmt.Println("changes:")
	pull()

	// Output:
	// snapshot:
	//   1795428000000000 milk deleted=false data={"done":false}
	//   1795428000000001 bread deleted=false data={"done":false}
	//   has_more=false poll_after=1s
	// changes:
	//   1795428000000003 bread deleted=true data=-
	//   1795428000000004 milk deleted=false data={"done":true,"by":"Alice"}
	//   has_more=false poll_after=1s
}
