package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/memory"
	"github.com/tidemark/tidemark/syncer/store"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// behindProxy opens a store with one connection, through a proxy.
func behindProxy(t *testing.T) (*store.Store, *proxy) {
	t.Helper()
	database := pgtest.URL(t)
	migrate(t, database)
	address, p := through(t, database)
	return open(t, with(t, patient(t, address), "pool_max_conns", "1"), store.Options{}), p
}

// decided is a store that calls a function when a push has been decided, and so
// before anything is written.
type decided struct {
	syncer.Store
	then func()
}

func (d *decided) Commit(ctx context.Context, group syncer.Group) error {
	decide := group.Decide
	group.Decide = func(found []*syncer.Locked) []syncer.Writes {
		defer d.then()
		return decide(found)
	}
	return d.Store.Commit(ctx, group)
}

func edits(names ...string) []models.Edit {
	base := int64(0)
	var list []models.Edit
	for _, name := range names {
		list = append(list, models.Edit{
			EditID: "e" + name, Op: models.OpPut, Collection: "todos", ID: name, BaseVersion: &base, Data: []byte(`{}`),
		})
	}
	return list
}

// The connection ends within COMMIT. The client is told that nobody knows; its retry
// finds out, and the edits take effect once, whether the commit had arrived or not.
func TestPostgres_outcomeUnknown(t *testing.T) {
	t.Parallel()
	for name, where := range map[string]cut{"the commit is lost": request, "its answer is lost": answers} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := behindProxy(t)
			node := &decided{Store: s, then: func() {}}
			engine := syncer.New(node, memory.New(), syncer.Options{})
			defer engine.Close()
			push := func(req *models.PushRequest) (*models.PushResponse, error) {
				req.ClientID = "c1"
				return engine.Push(t.Context(), "s1", "alice", req)
			}
			if _, err := push(&models.PushRequest{Edits: edits("before")}); err != nil {
				t.Fatal(err)
			}
			req := &models.PushRequest{Edits: edits("t1", "t2")}
			node.then = func() { p.set(where) }
			var unknown *models.Error
			if _, err := push(req); !errors.As(err, &unknown) || unknown.Code != models.CodeOutcomeUnknown || unknown.RetryAfter <= 0 {
				t.Errorf("cut within COMMIT: %v, want %s and when to come back", err, models.CodeOutcomeUnknown)
			}
			node.then = func() {}
			p.set(nowhere)
			res, err := push(req)
			if err != nil {
				t.Fatalf("the retry: %v", err)
			}
			for _, r := range res.Results {
				if r.Status != models.StatusApplied || r.Replayed != (where == answers) || r.Version != res.Version {
					t.Errorf("the retry of %s: %+v", r.EditID, r)
				}
			}
			run, err := s.Changes(t.Context(), "s1", syncer.Range{Limit: 9})
			if err != nil || len(run.Changes) != 3 || run.Space.Head != res.Version {
				t.Errorf("changes %+v, error %v; want three documents", run, err)
			}
		})
	}
}

// The connection ends before the writes are sent: nothing was committed, and the
// store knows it.
func TestPostgres_cutBeforeTheWrites(t *testing.T) {
	t.Parallel()
	s, p := behindProxy(t)
	if err := write(t.Context(), s, "s1"); err != nil {
		t.Fatal(err)
	}
	p.set(answers)
	err := s.Commit(t.Context(), syncer.Group{
		Touches: []syncer.Touch{{Space: "s1"}},
		Decide: func([]*syncer.Locked) []syncer.Writes {
			t.Error("decide is called though nothing was read")
			return make([]syncer.Writes, 1)
		},
	})
	if models.CodeOf(err) != models.CodeUnavailable || errors.As(err, new(*syncer.GroupError)) {
		t.Errorf("cut while it reads: %v, want %s of the whole group", err, models.CodeUnavailable)
	}
	p.set(nowhere)
	if err := write(t.Context(), s, "s1"); err != nil {
		t.Errorf("the next commit: %v", err)
	}
	if heads, err := s.Heads(t.Context(), []string{"s1"}); err != nil || heads[0].Head != 2 {
		t.Errorf("heads %v, error %v; want 2", heads, err)
	}
}

// One round trip locks and reads, one writes and commits, whatever the group holds.
func TestPostgres_roundTrips(t *testing.T) {
	t.Parallel()
	s, p := behindProxy(t)
	names := []string{"s1", "s2", "s3"}
	for _, space := range names {
		if err := write(t.Context(), s, space); err != nil {
			t.Fatal(err)
		}
	}
	least := func(what string, want int, do func(i int) error) {
		t.Helper()
		got := 1 << 20 // statements are prepared once, and idle connections looked at
		for i := range 8 {
			p.count()
			if err := do(i); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			got = min(got, p.count())
		}
		if got != want {
			t.Errorf("%s takes %d round trips, want %d", what, got, want)
		}
	}
	text := `{}`
	least("a group", 2, func(i int) error {
		var touches []syncer.Touch
		client := syncer.Client{Subject: "alice", ID: "c1"}
		for _, space := range names {
			touches = append(touches, syncer.Touch{
				Space: space, Clients: []syncer.Client{client},
				Documents: []syncer.Want{{Key: syncer.Key{Collection: "todos", ID: "t1"}}},
			})
		}
		return s.Commit(t.Context(), syncer.Group{Touches: touches, Decide: func(found []*syncer.Locked) []syncer.Writes {
			writes := make([]syncer.Writes, len(found))
			for j, l := range found {
				l.Space.Head++
				writes[j] = syncer.Writes{
					Space: &l.Space, Receipts: map[syncer.Client]syncer.Receipts{client: {Newest: []byte("receipts")}},
					Documents: []*models.Document{{
						Collection: "todos", ID: fmt.Sprint("t", i), Version: l.Space.Head, Data: &text, Size: 2,
					}},
				}
			}
			return writes
		}})
	})
	least("a page", 1, func(int) error {
		_, err := s.Changes(t.Context(), "s1", syncer.Range{Limit: 9})
		return err
	})
	least("heads", 1, func(int) error {
		_, err := s.Heads(t.Context(), names)
		return err
	})
}

// The database refuses with the COMMIT itself: nothing was written, and it is known.
func TestPostgres_refusedByCommit(t *testing.T) {
	t.Parallel()
	database := pgtest.URL(t)
	migrate(t, database)
	s := open(t, database, store.Options{})
	db := openSQL(t, database)
	for _, statement := range []string{
		`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$`,
		`CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON spaces DEFERRABLE INITIALLY DEFERRED
		 FOR EACH ROW WHEN (NEW.id = 'bad') EXECUTE FUNCTION refuse()`,
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := write(t.Context(), s, "bad"); !errors.As(err, new(*syncer.GroupError)) {
		t.Errorf("refused by COMMIT: %v, want a GroupError", err)
	}
	if err := write(t.Context(), s, "good"); err != nil {
		t.Errorf("the next commit: %v", err)
	}
	heads, err := s.Heads(t.Context(), []string{"bad", "good"})
	if err != nil || heads[0].Head != 0 || heads[1].Head != 1 {
		t.Errorf("heads %v, error %v", heads, err)
	}
}

// The connection ends while the writes are prepared: the commit was not sent yet.
func TestPostgres_cutWhilePreparing(t *testing.T) {
	t.Parallel()
	s, p := behindProxy(t)
	node := &decided{Store: s, then: func() { p.set(request) }}
	if err := write(t.Context(), node, "s1"); models.CodeOf(err) != models.CodeUnavailable {
		t.Errorf("cut while the writes are prepared: %v, want %s", err, models.CodeUnavailable)
	}
	p.set(nowhere)
	if heads, err := s.Heads(t.Context(), []string{"s1"}); err != nil || heads[0].Head != 0 {
		t.Errorf("heads %v, error %v; want nothing written", heads, err)
	}
}

// A database that needs too long says nothing about what was pushed: to carry out the
// group once more, in parts, would only give it more to do.
func TestPostgres_statementTimeout(t *testing.T) {
	t.Parallel()
	database := pgtest.URL(t)
	migrate(t, database)
	for _, statement := range []string{
		`CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$`,
		`CREATE TRIGGER sleep BEFORE UPDATE ON spaces FOR EACH ROW EXECUTE FUNCTION sleep()`,
	} {
		if _, err := openSQL(t, database).ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, with(t, database, "statement_timeout", "100ms"), store.Options{})
	err := write(t.Context(), s, "s1")
	if models.CodeOf(err) != models.CodeUnavailable || !errors.As(err, new(*syncer.GroupError)) {
		t.Errorf("too slow: %v, want %s, and the group taken apart", err, models.CodeUnavailable)
	}
}

// A row that can't be read is no matter of time: who is told to try again would do so
// for ever.
func TestPostgres_unreadableRow(t *testing.T) {
	t.Parallel()
	database := pgtest.URL(t)
	migrate(t, database)
	s := open(t, database, store.Options{})
	if err := write(t.Context(), s, "s1"); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"ALTER TABLE spaces ALTER COLUMN epoch DROP NOT NULL", "UPDATE spaces SET epoch = NULL"} {
		if _, err := openSQL(t, database).ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	all := calls(s)
	for _, name := range []string{"Commit", "Changes"} {
		if err := all[name](t.Context()); err == nil || models.CodeOf(err) != models.CodeInternal {
			t.Errorf("%s: %v, want %s", name, err, models.CodeInternal)
		}
	}
}

// Where the database refuses a client's receipts there are no documents either: a retry
// would have a second effect.
func TestCommit_receiptsRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		url    func(testing.TB) string
		refuse []string
	}{
		"sqlite": {sqliteURL, []string{
			`CREATE TRIGGER refuse BEFORE INSERT ON clients BEGIN SELECT RAISE(ABORT, 'refused'); END`,
		}},
		"postgres": {pgtest.URL, []string{
			`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''refused''; END'`,
			`CREATE TRIGGER refuse BEFORE INSERT ON clients FOR EACH ROW EXECUTE FUNCTION refuse()`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := test.url(t)
			migrate(t, database)
			db := openSQL(t, database)
			for _, statement := range test.refuse {
				if _, err := db.ExecContext(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			engine := syncer.New(open(t, database, store.Options{}), memory.New(), syncer.Options{})
			defer engine.Close()
			if _, err := engine.Push(t.Context(), "s1", "alice", &models.PushRequest{ClientID: "c1", Edits: edits("t1")}); err == nil {
				t.Error("the push was acknowledged")
			}
			page, err := engine.Pull(t.Context(), "s1", syncer.PullRequest{})
			if err != nil || len(page.Changes) > 0 {
				t.Errorf("after it there are %d documents, %v", len(page.Changes), err)
			}
		})
	}
}
