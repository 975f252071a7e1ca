package blackbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/syncer/store"
	"github.com/tidemark/tidemark/tests/harness"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// openSQL opens the database beside the servers, as another program does.
func openSQL(t *testing.T, databaseURL string) *sql.DB {
	t.Helper()
	db, err := store.OpenSQL(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(4)
	t.Cleanup(func() { db.Close() })
	return db
}

// script runs SQL statements on the database of a server: with psql, or where that
// is not installed, and on SQLite, through a connection of this process.
func script(t *testing.T, databaseURL, statements string) {
	t.Helper()
	var err error
	if !strings.HasPrefix(databaseURL, "postgres") {
		_, err = openSQL(t, databaseURL).ExecContext(t.Context(), statements)
	} else if psql, missing := pgtest.Program("psql"); missing == nil {
		cmd := exec.CommandContext(t.Context(), psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", forPsql(t, databaseURL))
		cmd.Stdin = strings.NewReader(statements)
		var output []byte
		if output, err = cmd.CombinedOutput(); err != nil {
			err = fmt.Errorf("psql: %w\n%s", err, output)
		}
	} else {
		err = harness.Execute(t.Context(), databaseURL, statements)
	}
	if err != nil {
		t.Fatalf("%v in\n%s", err, statements)
	}
}

// forPsql takes out what is for a pool of connections.
func forPsql(t *testing.T, databaseURL string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Del("pool_max_conns")
	u.RawQuery = query.Encode()
	return u.String()
}

// TestInbox_writerInSQL is what README promises to a writer that is no client.
func TestInbox_writerInSQL(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, kind harness.Store) {
		server := harness.Start(t, harness.Options{Store: kind})
		client, database := server.Client(""), server.DatabaseURL()
		base := mustPush(t, client, "home", put("e1", "t1", 0, `{"title":"Milk"}`), put("e2", "t2", 0, `{}`)).Version
		_, cursor, err := client.PullAll(t.Context(), "home", harness.Pull{MinVersion: base})
		if err != nil {
			t.Fatal(err)
		}
		script(t, database, `
			BEGIN;
			INSERT INTO inbox (space, collection, id, op, data) VALUES ('home', 'c', 'undone', 'put', '{}');
			ROLLBACK;
			BEGIN;
			INSERT INTO inbox (space, collection, id, op, data) VALUES ('home', 'c', 't1', 'patch', '{"done": true}');
			INSERT INTO inbox (space, collection, id, op) VALUES ('home', 'c', 't2', 'delete');
			INSERT INTO inbox (space, collection, id, op, data) VALUES ('home', 'c', 't3', 'put', '{ "title": "Bread" }');
			COMMIT;`)
		found := pullUntil(t, client, "home", cursor, func(found map[string]harness.Change) bool { return found["t3"].Version > 0 })
		got := map[string]string{}
		for id, change := range found {
			if change.ClientID != "inbox" || change.UpdatedBy != "inbox" || !strings.HasPrefix(change.EditID, "inbox-") ||
				change.Version != found["t3"].Version {
				t.Errorf("%s is %+v, want it from the inbox at the version of the others", id, change)
			}
			got[id] = string(change.Data)
		}
		if diff := cmp.Diff(map[string]string{"t1": `{"title":"Milk","done":true}`, "t2": "", "t3": `{ "title": "Bread" }`}, got); diff != "" {
			t.Errorf("documents (-want +got):\n%s", diff)
		}

		// What is rejected is found beside the inbox; what comes after it is carried out.
		script(t, database, fmt.Sprintf(`
			INSERT INTO inbox (space, collection, id, op, data, base_version) VALUES ('home', 'c', 't1', 'put', '{}', %d);
			INSERT INTO inbox (space, collection, id, op, data) VALUES ('home', 'c', 't4', 'put', '[]');
			INSERT INTO inbox (space, collection, id, op, data) VALUES ('no such space', 'c', 't4', 'put', '{}');
			INSERT INTO inbox (space, collection, id, op, data) VALUES ('home', 'c', 't5', 'put', '{}');`, base))
		pullUntil(t, client, "home", cursor, func(found map[string]harness.Change) bool { return found["t5"].Version > 0 })
		db := openSQL(t, database)
		harness.Until(t, raceTimeout, "the inbox is empty", func() bool { return count(t, db, "inbox") == 0 })
		want := []string{"home/t1: version_conflict", "home/t4: invalid_document", "no such space/t4: invalid_space"}
		if diff := cmp.Diff(want, rejectedRows(t, db)); diff != "" {
			t.Errorf("rejected (-want +got):\n%s", diff)
		}
	})
}

// TestInbox_restarts ends the server over and over while there are rows. Each makes
// a document that must not be there yet, so one that is carried out twice is rejected.
func TestInbox_restarts(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, kind harness.Store) {
		server := harness.Start(t, harness.Options{Store: kind})
		client := server.Client("")
		mustPush(t, client, "home", put("e1", "t1", 0, `{}`))
		insert := func(from, to int) {
			var statements strings.Builder
			statements.WriteString("BEGIN;\n")
			for i := from; i < to; i++ {
				fmt.Fprintf(&statements, "INSERT INTO inbox (space, collection, id, op, data, base_version) VALUES ('home', 'c', 'd%d', 'put', '{}', 0);\n", i)
			}
			statements.WriteString("COMMIT;")
			script(t, server.DatabaseURL(), statements.String())
		}
		insert(0, 500)
		server.Kill() // wherever it is
		insert(500, 1000)
		server.Restart()
		insert(1000, 1500)
		server.Stop()
		server.Restart()
		db := openSQL(t, server.DatabaseURL())
		harness.Until(t, raceTimeout, "the inbox is empty", func() bool { return count(t, db, "inbox") == 0 })
		if found := pullAll(t, client, "home", headOf(t, db, "home")); len(found) != 1501 {
			t.Errorf("%d documents, want 1501", len(found))
		}
		if rejected := rejectedRows(t, db); len(rejected) > 0 {
			t.Errorf("carried out twice: %v", rejected)
		}
	})
}

// pullUntil pulls what came after cursor until it is enough.
func pullUntil(t *testing.T, client *harness.Client, space, cursor string, enough func(map[string]harness.Change) bool) (found map[string]harness.Change) {
	t.Helper()
	harness.Until(t, raceTimeout, "the rows of the inbox are seen", func() bool {
		changes, _, err := client.PullAll(t.Context(), space, harness.Pull{Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		found = map[string]harness.Change{}
		for _, change := range changes {
			found[change.ID] = change
		}
		return enough(found)
	})
	return found
}

func count(t *testing.T, db *sql.DB, table string) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// headOf is the newest version of a space, for a pull that must see all of it; 0 if the
// space is not there.
func headOf(t *testing.T, db *sql.DB, space string) (head int64) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), `SELECT COALESCE(max(head), 0) FROM spaces WHERE id = $1`, space).Scan(&head); err != nil {
		t.Fatal(err)
	}
	return head
}

// rejectedRows lists the rows that were rejected, and why.
func rejectedRows(t *testing.T, db *sql.DB) (list []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT space || '/' || id || ': ' || code FROM inbox_rejected`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		list = append(list, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// TestInbox_severalNodes lets writers loose on the inbox of several nodes, which
// all see all rows.
func TestInbox_severalNodes(t *testing.T) {
	t.Parallel()
	seed := harness.Seed(t)
	eachLink(t, func(t *testing.T, cluster *harness.Cluster) {
		const writers, spaces = 6, 3
		rounds := harness.Size(15, 300)
		db := openSQL(t, cluster.DatabaseURL())
		writing, ctx := errgroup.WithContext(t.Context())
		for n := range writers {
			random := harness.Random(seed, fmt.Sprint("writer ", n))
			own := fmt.Sprintf("s%d", n%spaces)
			writing.Go(func() error {
				for i := range rounds {
					rows := []inboxRow{
						{space: own, op: "put", id: fmt.Sprintf("d-%d-%d", n, i), data: `{}`, create: true},
						{space: fmt.Sprintf("s%d", random.IntN(spaces)), op: "put", id: fmt.Sprint("shared-", random.IntN(4)), data: `{}`},
						{space: own, op: "put", id: fmt.Sprint("last-", n), data: fmt.Sprintf(`{"n":%d}`, i)},
					}
					if random.IntN(4) == 0 {
						if err := transact(ctx, db, true, rows); !errors.Is(err, errUndone) {
							return err
						}
					}
					if err := transact(ctx, db, false, rows); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := writing.Wait(); err != nil {
			t.Fatal(err)
		}
		harness.Until(t, raceTimeout, "the inbox is empty", func() bool { return count(t, db, "inbox") == 0 })
		if rejected := rejectedRows(t, db); len(rejected) > 0 {
			t.Errorf("carried out twice, or out of order: %v", rejected)
		}
		made := 0
		for i := range spaces {
			space := fmt.Sprintf("s%d", i)
			for id, change := range pullAll(t, cluster.Client(""), space, headOf(t, db, space)) {
				var n int
				if strings.HasPrefix(id, "d-") {
					made++
				} else if _, err := fmt.Sscanf(id, "last-%d", &n); err == nil && string(change.Data) != fmt.Sprintf(`{"n":%d}`, rounds-1) {
					t.Errorf("%s of %s is %s, want the last round's", id, space, change.Data)
				}
			}
		}
		if made != writers*rounds {
			t.Errorf("%d documents were made, want %d", made, writers*rounds)
		}
	})
}

// inboxRow is a row that a writer inserts; create wants the document not to be there.
type inboxRow struct {
	space, op, id, data string
	create              bool
}

var errUndone = errors.New("rolled back")

// transact inserts rows in one transaction, and takes them back if undo is set.
func transact(ctx context.Context, db *sql.DB, undo bool, rows []inboxRow) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, r := range rows {
		var base *int64
		if r.create {
			base = harness.At(0)
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO inbox (space, collection, id, op, data, base_version) VALUES ($1, 'c', $2, $3, $4, $5)`,
			r.space, r.id, r.op, r.data, base)
		if err != nil {
			return err
		}
	}
	if undo {
		return errors.Join(errUndone, tx.Rollback())
	}
	return tx.Commit()
}

// inboxWriter takes part in the feed race through the inbox.
type inboxWriter struct {
	name, space string
	db          *sql.DB
	client      *harness.Client // to see what became of the rows
}

// run writes what clients push, both halves of a pair and a document of its own,
// and waits for each to be carried out. Every third one is rolled back first.
func (w *inboxWriter) run(ctx context.Context, pushes int, pair func() int, seen *acknowledged) error {
	for n := range pushes {
		push := pairPush(w.name, n, pair())
		var rows, undone []inboxRow
		for _, edit := range push.Edits {
			row := inboxRow{space: w.space, op: edit.Op, id: edit.ID, data: string(edit.Data)}
			rows = append(rows, row)
			row.data = `{"token":"undone"}`
			undone = append(undone, row)
		}
		if n%3 == 0 {
			if err := transact(ctx, w.db, true, undone); !errors.Is(err, errUndone) {
				return fmt.Errorf("inbox writer %s: %w", w.name, err)
			}
		}
		if err := transact(ctx, w.db, false, rows); err != nil {
			return fmt.Errorf("inbox writer %s: %w", w.name, err)
		}
		change, err := w.await(ctx, push.Edits[1])
		if err != nil {
			return fmt.Errorf("inbox writer %s: %w", w.name, err)
		}
		seen.add([]harness.Result{{Version: change.Version}})
	}
	return nil
}

// await waits until a document is there.
func (w *inboxWriter) await(ctx context.Context, edit harness.Edit) (change harness.Change, err error) {
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		answer, err := w.client.Do(ctx, http.MethodGet, "/v1/spaces/"+w.space+"/documents/"+edit.Collection+"/"+edit.ID, nil, nil)
		if err == nil {
			err = answer.Decode(&change)
		}
		if err == nil && string(change.Data) != string(edit.Data) {
			err = fmt.Errorf("%s is %s, want %s", edit.ID, change.Data, edit.Data)
		}
		if err == nil || answer.Status != http.StatusNotFound && !mayRetry(err) {
			return change, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return change, ctx.Err()
		}
	}
}
