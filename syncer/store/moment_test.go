package store_test

import (
	"database/sql"
	"fmt"
	"testing"

	driver "modernc.org/sqlite"

	sqldriver "database/sql/driver"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/memory"
	"github.com/tidemark/tidemark/syncer/store"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// Somebody commits just while a page reads its head, or just while it reads its
// documents: it must not hold one of before and the other of after. storetest looks for
// such pages among many that race; here there is no luck in it.
func TestChanges_commitBetweenHeadAndDocuments(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"spaces", "documents"} {
		for name, r := range map[string]syncer.Range{
			"plain": {Limit: 9}, "filtered": {Limit: 9, Collections: []string{"todos"}},
		} {
			t.Run("sqlite/"+table+"/"+name, func(t *testing.T) {
				s, db := pushedOnce(t, sqliteURL(t))
				first := headOfOneMoment(t, "the first page", changes(t, s, r))
				during := headOfOneMoment(t, "the page during the commit", readWhileCommittingSQLite(t, s, db, table, r))
				if next := headOfOneMoment(t, "the next page", changes(t, s, r)); during != first || next != first+1 {
					t.Errorf("heads %d, %d during the commit, and %d", first, during, next)
				}
			})
			t.Run("postgres/"+table+"/"+name, func(t *testing.T) {
				s, db := pushedOnce(t, patient(t, pgtest.URL(t)))
				first := headOfOneMoment(t, "the first page", changes(t, s, r))
				headOfOneMoment(t, "the page during the commit", readWhileCommittingPostgres(t, s, db, table, r))
				if next := headOfOneMoment(t, "the next page", changes(t, s, r)); next != first+1 {
					t.Errorf("heads %d and then %d", first, next)
				}
			})
		}
	}
}

// changes reads a page.
func changes(t *testing.T, s *store.Store, r syncer.Range) syncer.Run {
	t.Helper()
	run, err := s.Changes(t.Context(), "s1", r)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// headOfOneMoment wants the page's one document at the version of its head.
func headOfOneMoment(t *testing.T, name string, run syncer.Run) int64 {
	t.Helper()
	if len(run.Changes) != 1 || run.Changes[0].Version != run.Space.Head {
		t.Errorf("%s has head %d and documents %+v", name, run.Space.Head, run.Changes)
	}
	return run.Space.Head
}

// pushedOnce is a store with one document, at the head of its space.
func pushedOnce(t *testing.T, database string) (*store.Store, *sql.DB) {
	t.Helper()
	migrate(t, database)
	s := open(t, database, store.Options{})
	engine := syncer.New(s, memory.New(), syncer.Options{})
	defer engine.Close()
	if _, err := engine.Push(t.Context(), "s1", "alice", &models.PushRequest{ClientID: "c1", Edits: edits("t1")}); err != nil {
		t.Fatal(err)
	}
	return s, openSQL(t, database)
}

// nextVersion is the commit: it gives the document another version, and the head too.
func nextVersion(tx *sql.Tx, spaces, documents string) error {
	for _, statement := range []string{"UPDATE " + spaces + " SET head = head + 1", "UPDATE " + documents + " SET version = version + 1"} {
		if _, err := tx.Exec(statement); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// meanwhile is called by SQLite, in whose statements it is a function. There is a test
// at a time that sets it, and it reads on its own goroutine.
var meanwhile func() error

// Functions are for the connections opened after them, of any test: before all tests.
var _ = func() bool {
	driver.MustRegisterScalarFunction("meanwhile", 0, func(*driver.FunctionContext, []sqldriver.Value) (sqldriver.Value, error) {
		return int64(1), meanwhile()
	})
	return true
}()

// readWhileCommittingSQLite puts a view in the place of the table, which calls meanwhile
// for each row: within the statement that reads it, another connection commits.
func readWhileCommittingSQLite(t *testing.T, s *store.Store, db *sql.DB, table string, r syncer.Range) syncer.Run {
	t.Helper()
	tables := map[string]string{"spaces": "spaces", "documents": "documents"}
	tables[table] = "kept"
	for _, statement := range []string{
		fmt.Sprintf("ALTER TABLE %s RENAME TO kept", table),
		fmt.Sprintf("CREATE VIEW %s AS SELECT * FROM kept WHERE meanwhile()", table),
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	committed := false
	meanwhile = func() error {
		if committed {
			return nil
		}
		committed = true
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			return err
		}
		err = nextVersion(tx, tables["spaces"], tables["documents"])
		_ = tx.Rollback() // without effect after its commit
		return err
	}
	run := changes(t, s, r)
	if !committed {
		t.Fatalf("%s was not read", table)
	}
	return run
}

// readWhileCommittingPostgres locks the table before the page is read, and commits when
// the reader has come to it.
func readWhileCommittingPostgres(t *testing.T, s *store.Store, db *sql.DB, table string, r syncer.Range) syncer.Run {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }() // without effect after its commit
	if _, err := tx.ExecContext(t.Context(), "LOCK TABLE "+table+" IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	var run syncer.Run
	read := make(chan error, 1)
	go func() {
		var err error
		run, err = s.Changes(t.Context(), "s1", r)
		read <- err
	}()
	for waits := false; !waits; {
		select {
		case err := <-read:
			t.Fatalf("the page was read past the lock: %v", err)
		default:
		}
		err := db.QueryRowContext(t.Context(),
			"SELECT EXISTS (SELECT FROM pg_locks WHERE relation = $1::regclass AND NOT granted)", table).Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := nextVersion(tx, "spaces", "documents"); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	return run
}
