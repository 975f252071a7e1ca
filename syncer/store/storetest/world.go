package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// patience bounds the wait for something that must happen.
const patience = 30 * time.Second

// epoch is what spaces are made with.
const epoch = 7

// world is what one test works in.
type world struct {
	db Database
	// store and other are two nodes on one database.
	store, other syncer.Store
	nodes        [2]syncer.Store // the same, with the inboxes of all spaces
	space        string          // nobody else's
	engine       *syncer.Engine
	// alice and bob work through engine in space.
	alice, bob client
}

func newWorld(db Database, nodes [2]syncer.Store) *world {
	w := &world{db: db, nodes: nodes, space: newSpace()}
	w.store, w.other = own{nodes[0], w.space}, own{nodes[1], w.space}
	w.engine = newEngine(counting(w.store), nil)
	w.alice = client{w.engine, w.space, "alice", "c1"}
	w.bob = client{w.engine, w.space, "bob", "c2"}
	return w
}

var spaces atomic.Int64

// newSpace returns the name of a space that no test has used.
func newSpace() string { return fmt.Sprintf("space-%d", spaces.Add(1)) }

// newEngine returns an engine that tests use.
func newEngine(store syncer.Store, broker syncer.Broker) *syncer.Engine {
	if broker == nil {
		broker = deaf{}
	}
	return syncer.New(store, broker, syncer.Options{
		Logger: slog.New(slog.DiscardHandler), // refusals are what many a test is about
	})
}

// own is a store in whose inbox there are only the rows of one space: the engine of
// one test must not carry out what another test has put there. All of them take
// their database for the same one.
type own struct {
	syncer.Store
	space string
}

func (s own) Commit(ctx context.Context, group syncer.Group) error {
	decide := group.Decide
	group.Decide = func(found []*syncer.Locked) []syncer.Writes {
		for _, locked := range found {
			if locked != nil {
				locked.Identity = epoch
			}
		}
		return decide(found)
	}
	return s.Store.Commit(ctx, group)
}

func (s own) Inbox(ctx context.Context, want syncer.InboxRange) ([]models.Inbox, error) {
	if want.After >= s.space {
		return nil, nil
	}
	want.After, want.Spaces = before(s.space), 1
	rows, err := s.Store.Inbox(ctx, want)
	if err != nil || len(rows) == 0 || rows[0].Space != s.space {
		return nil, err
	}
	return rows, nil
}

// before returns a name that no other space comes after and before space: those that
// end in one character less, however long they are, come before it.
func before(space string) string {
	last := len(space) - 1
	return space[:last] + string(space[last]-1) + "~"
}

// deaf is a broker that loses every poke, which is allowed.
type deaf struct{}

func (deaf) Publish(context.Context, syncer.Message) error { return nil }

func (deaf) Run(ctx context.Context, _ func(syncer.Message)) error {
	<-ctx.Done()
	return nil
}

// timed is a store with another clock.
type timed struct {
	syncer.Store
	micros func() int64
}

func (s timed) Commit(ctx context.Context, group syncer.Group) error {
	decide := group.Decide
	group.Decide = func(found []*syncer.Locked) []syncer.Writes {
		for _, locked := range found {
			if locked != nil {
				locked.Now = s.micros()
			}
		}
		return decide(found)
	}
	return s.Store.Commit(ctx, group)
}

// counting returns the store with a clock that stands at zero. The clock orders
// nothing, so all that changes is that versions count 1, 2, 3 and a test can
// write down what it expects.
func counting(store syncer.Store) syncer.Store {
	return timed{store, func() int64 { return 0 }}
}

// client is a replica.
type client struct {
	engine             *syncer.Engine
	space, subject, id string
}

// try pushes.
func (c client) try(t testing.TB, req models.PushRequest) (*models.PushResponse, error) {
	t.Helper()
	req.ClientID = c.id
	return c.engine.Push(t.Context(), c.space, c.subject, &req)
}

// send pushes what must not fail as a whole.
func (c client) send(t testing.TB, req models.PushRequest) *models.PushResponse {
	t.Helper()
	res, err := c.try(t, req)
	if err != nil {
		t.Fatalf("push: %v", err)
	}
	return res
}

// push pushes edits and returns their results.
func (c client) push(t testing.TB, edits ...models.Edit) []models.EditResult {
	t.Helper()
	return c.send(t, models.PushRequest{Edits: edits}).Results
}

// atomic is push, all or nothing.
func (c client) atomic(t testing.TB, edits ...models.Edit) []models.EditResult {
	t.Helper()
	return c.send(t, models.PushRequest{Edits: edits, Atomic: true}).Results
}

// must pushes edits that must all be applied and returns the version of the last.
func (c client) must(t testing.TB, edits ...models.Edit) int64 {
	t.Helper()
	results := c.push(t, edits...)
	for _, r := range results {
		if r.Status != models.StatusApplied {
			t.Fatalf("edit %s: %s %+v, want it applied", r.EditID, r.Status, r.Error)
		}
	}
	return results[len(results)-1].Version
}

// pull pulls what must not fail.
func (c client) pull(t testing.TB, req syncer.PullRequest) *models.Page {
	t.Helper()
	page, err := c.engine.Pull(t.Context(), c.space, req)
	if err != nil {
		t.Fatalf("pull: %v", err)
	}
	return page
}

// cursor returns a cursor at the head of the space.
func (c client) cursor(t testing.TB) string {
	t.Helper()
	return c.pull(t, syncer.PullRequest{Limit: models.MaxPageChanges}).Cursor
}

// all returns every document and tombstone of the space.
func (c client) all(t testing.TB, store syncer.Store) []models.Change {
	t.Helper()
	return ordered(read(t, store, c.space, syncer.Range{Limit: models.MaxPageChanges}).Changes)
}

// live is a document as c's edit left it. at is collection/id.
func (c client) live(version int64, at, data, editID string) *models.Change {
	collection, id, _ := strings.Cut(at, "/")
	return &models.Change{
		Collection: collection, ID: id, Version: version, Data: []byte(data),
		UpdatedAt: version / 1000, UpdatedBy: c.subject, ClientID: c.id, EditID: editID,
	}
}

// gone is the tombstone that c's edit left.
func (c client) gone(version int64, at, editID string) *models.Change {
	tombstone := c.live(version, at, "", editID)
	tombstone.Deleted, tombstone.Data = true, nil
	return tombstone
}

// basis is what an edit was made on.
type basis func(*models.Edit)

func on(version int64) basis { return func(e *models.Edit) { e.BaseVersion = &version } }

func after(editID string) basis { return func(e *models.Edit) { e.BaseEditID = editID } }

func force(e *models.Edit) { e.Force = true }

func put(editID, at string, on basis, data string) models.Edit {
	return edit(editID, models.OpPut, at, on, []byte(data))
}

func patch(editID, at string, on basis, data string) models.Edit {
	return edit(editID, models.OpPatch, at, on, []byte(data))
}

func remove(editID, at string, on basis) models.Edit {
	return edit(editID, models.OpDelete, at, on, nil)
}

// edit makes an edit of the document at collection/id.
func edit(editID string, op models.Op, at string, on basis, data []byte) models.Edit {
	collection, id, _ := strings.Cut(at, "/")
	e := models.Edit{EditID: editID, Op: op, Collection: collection, ID: id, Data: data}
	if on != nil {
		on(&e)
	}
	return e
}

func applied(editID string, version int64) models.EditResult {
	return models.EditResult{EditID: editID, Status: models.StatusApplied, Version: version}
}

func merged(editID string, current *models.Change) models.EditResult {
	return models.EditResult{
		EditID: editID, Status: models.StatusApplied, Version: current.Version, Merged: true, Current: current,
	}
}

func replayed(r models.EditResult) models.EditResult {
	r.Replayed = true
	return r
}

func conflict(editID string, current *models.Change, fields ...string) models.EditResult {
	return models.EditResult{EditID: editID, Status: models.StatusConflict, Current: current, ConflictingFields: fields}
}

func rejected(editID string, code models.Code, pointer string) models.EditResult {
	return models.EditResult{
		EditID: editID, Status: models.StatusRejected, Error: &models.EditError{Code: code, Pointer: pointer},
	}
}

func blocked(editID, by string) models.EditResult {
	return models.EditResult{EditID: editID, Status: models.StatusSkipped, BlockedBy: by}
}

func unknownBase(editID string) models.EditResult {
	return models.EditResult{
		EditID: editID, Status: models.StatusSkipped,
		Error: &models.EditError{Code: models.CodeBaseUnknown, Pointer: "/base_edit_id"},
	}
}

// same compares whole values. Sentences for people are not compared.
func same[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	options := cmp.Options{
		// Byte by byte, cmp needs a minute for a page of large documents.
		cmp.FilterValues(func(a, b json.RawMessage) bool { return len(a)+len(b) > 0 },
			cmp.Comparer(func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })),
		cmpopts.EquateEmpty(),
		cmpopts.IgnoreUnexported(models.Change{}),
		cmpopts.IgnoreFields(models.EditError{}, "Detail"),
		cmpopts.IgnoreFields(models.Error{}, "Detail", "Err"),
		cmpopts.IgnoreFields(models.FieldError{}, "Detail"),
	}
	if diff := cmp.Diff(want, got, options); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// fails holds an error to its code.
func fails(t testing.TB, what string, err error, code models.Code) {
	t.Helper()
	if err == nil || models.CodeOf(err) != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

// expires holds an error to CodeCursorExpired and its cause.
func expires(t testing.TB, what string, err error, cause models.Cause) {
	t.Helper()
	var got *models.Error
	if !asError(err, &got) || got.Code != models.CodeCursorExpired || got.Cause != cause {
		t.Errorf("%s: %v, want the cursor expired because of %s", what, err, cause)
	}
}

// await receives what must come.
func await[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing within %v", what, patience)
		panic("unreachable")
	}
}

// exec changes the database past all stores.
func (w *world) exec(t testing.TB, statement string, args ...any) {
	t.Helper()
	if _, err := w.db.SQL.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
