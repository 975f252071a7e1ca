package crash_test

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/migrations"
	"github.com/tidemark/tidemark/syncer/fault"
	"github.com/tidemark/tidemark/tests/harness"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// fate is what a push that crashes at a point has done.
type fate int

const (
	nothing   fate = iota // it is not committed
	committed             // it is
	either                // the database may have come to the COMMIT or not
)

// pushPoints are the points of a push on each database, with the push's fate.
var pushPoints = map[harness.Store]map[string]fate{
	harness.SQLite: {
		fault.PushParsed: nothing, fault.PushLocked: nothing,
		fault.PushDocumentsWritten: nothing, fault.PushClientsWritten: nothing, fault.PushBeforeCommit: nothing,
		fault.PushCommitted: committed, fault.PushBeforePoke: committed, fault.PushAnswered: committed,
	},
	harness.Postgres: {
		fault.PushParsed: nothing, fault.PushLocked: nothing, fault.PushBeforeCommit: nothing, fault.PushFlushed: either,
		fault.PushCommitted: committed, fault.PushBeforePoke: committed, fault.PushAnswered: committed,
	},
}

var migrationPoints = []string{fault.MigrationBegun, fault.MigrationApplied, fault.MigrationCommitted}

var purgePoints = []string{fault.PurgeFloor, fault.PurgeDeleted}

// TestPoints_all: no point is left out.
func TestPoints_all(t *testing.T) {
	t.Parallel()
	tested := slices.Concat(migrationPoints, purgePoints)
	for _, points := range pushPoints {
		for point := range points {
			tested = append(tested, point)
		}
	}
	for _, point := range fault.Points {
		if !slices.Contains(tested, point) {
			t.Errorf("nothing crashes at %s", point)
		}
	}
}

// TestPush_crashedAtAnyPoint is G1 and G5 for a process that ends.
func TestPush_crashedAtAnyPoint(t *testing.T) {
	t.Parallel()
	seed := harness.Seed(t)
	harness.Each(t, func(t *testing.T, store harness.Store) {
		tally := harness.Count(t, "T3", seed)
		server := harness.New(t, harness.Options{Store: store, Crashing: true})
		server.Restart()
		for round := range harness.Rounds(t, 1, 20) {
			for point, want := range pushPoints[store] {
				crashPush(t, server, fmt.Sprintf("%s-%d", point, round), point, want)
				tally.Add(harness.Figures{Operations: 4, Kills: 1})
			}
		}
		server.Kill()
	})
}

// crashPush crashes one push to a space of its own. The server runs before and after.
func crashPush(t *testing.T, server *harness.Server, space, point string, want fate) {
	t.Helper()
	client := server.Client("")
	before, err := client.Push(t.Context(), space, harness.Push{ClientID: "c1", Edits: []harness.Edit{
		put("before-1", "patched", `{"a":1,"b":1}`), put("before-2", "deleted", `{}`), put("before-3", "untouched", `{}`),
	}})
	if err != nil {
		t.Fatal(err)
	}
	start, err := client.Pull(t.Context(), space, harness.Pull{})
	if err != nil || len(start.Changes) != 3 {
		t.Fatalf("%s: at first %+v, %v", point, start, err)
	}
	server.Kill()
	server.Arm(point, 1)
	server.Restart()

	push := harness.Push{ClientID: "c1", Edits: []harness.Edit{
		put("e1", "created", `{"n":1}`),
		{EditID: "e2", Op: "patch", Collection: "c", ID: "patched", BaseVersion: &before.Version, Data: []byte(`{"a":2}`)},
		{EditID: "e3", Op: "patch", Collection: "c", ID: "patched", BaseEditID: "e2", Data: []byte(`{"b":2}`)},
		{EditID: "e4", Op: "delete", Collection: "c", ID: "deleted", BaseVersion: &before.Version},
		// Nothing but the receipt keeps a forced edit from taking effect twice.
		{EditID: "e5", Op: "put", Collection: "c", ID: "forced", Force: true, Data: []byte(`{"x":1}`)},
	}}
	lost, err := client.Push(t.Context(), space, push)
	if answered := point == fault.PushAnswered; answered != (err == nil) {
		t.Fatalf("crashed at %s: the push is answered with %+v, %v", point, lost, err)
	}
	server.AwaitCrash()
	server.Restart()

	first, err := client.Push(t.Context(), space, push)
	if err != nil {
		t.Fatalf("crashed at %s: the retry: %v", point, err)
	}
	replayed := first.Results[0].Replayed
	if want == nothing && replayed || want == committed && !replayed {
		t.Errorf("crashed at %s: the retry is replayed: %t", point, replayed)
	}
	if point == fault.PushAnswered {
		wantResults(t, point+", what was answered", replay(lost.Results), first.Results)
	}
	second, err := client.Push(t.Context(), space, push)
	if err != nil {
		t.Fatal(err)
	}
	wantResults(t, point+", the retry sent again", replay(first.Results), second.Results)
	wantEffect(t, client, space, point, start, first.Results[0].Version)
}

// replay returns results as they are when they come again. All of them must be applied.
func replay(results []harness.Result) []harness.Result {
	again := slices.Clone(results)
	for i := range again {
		again[i].Replayed = true
	}
	return again
}

func wantResults(t *testing.T, what string, want, got []harness.Result) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
	for _, result := range got {
		if result.Status != "applied" {
			t.Errorf("%s: %s is %s", what, result.EditID, result.Status)
		}
	}
}

// wantEffect holds the feed, from the start and from before the push, against what the
// push does once.
func wantEffect(t *testing.T, client *harness.Client, space, point string, start harness.Page, version int64) {
	t.Helper()
	at := func(what string) string { return fmt.Sprintf("%d %s", version, what) }
	want := map[string]string{
		"created": at(`{"n":1}`), "patched": at(`{"a":2,"b":2}`), "deleted": at("deleted"), "forced": at(`{"x":1}`),
	}
	wantFeed(t, point+", from before", client, space, start.Cursor, want)
	delete(want, "deleted")
	want["untouched"] = fmt.Sprintf("%d {}", start.Version)
	wantFeed(t, point+", from the start", client, space, "", want)
	if version <= start.Version {
		t.Errorf("%s: version %d is not above %d", point, version, start.Version)
	}
	next, err := client.Push(t.Context(), space, harness.Push{ClientID: "c2", Edits: []harness.Edit{put("e6", "later", `{}`)}})
	if err != nil || next.Version <= version {
		t.Errorf("%s: the next push: %+v, %v; want a version above %d", point, next, err, version)
	}
}

func wantFeed(t *testing.T, what string, client *harness.Client, space, cursor string, want map[string]string) {
	t.Helper()
	changes, _, err := client.PullAll(t.Context(), space, harness.Pull{Cursor: cursor, Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, change := range changes {
		text := string(change.Data)
		if change.Deleted {
			text = "deleted"
		}
		if _, twice := got[change.ID]; twice {
			t.Errorf("%s: %s is shown twice", what, change.ID)
		}
		got[change.ID] = fmt.Sprintf("%d %s", change.Version, text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func put(editID, id, data string) harness.Edit {
	return harness.Edit{EditID: editID, Op: "put", Collection: "c", ID: id, BaseVersion: harness.At(0), Data: []byte(data)}
}

// TestInbox_crashedAtAnyPoint: a row of the inbox, which has no receipt and nobody who
// sends it again, is carried out once.
func TestInbox_crashedAtAnyPoint(t *testing.T) {
	t.Parallel()
	seed := harness.Seed(t)
	harness.Each(t, func(t *testing.T, store harness.Store) {
		tally := harness.Count(t, "T3", seed)
		server := harness.New(t, harness.Options{Store: store, Crashing: true})
		server.Restart()
		client := server.Client("")
		for n, point := range []string{fault.PushLocked, fault.PushBeforeCommit, fault.PushCommitted, fault.PushBeforePoke} {
			server.Kill()
			server.Arm(point, 1)
			server.Restart()
			// The second time it would be a conflict, and stand among the rejected.
			row := fmt.Sprintf(`INSERT INTO inbox (space, collection, id, op, data, base_version) VALUES ('s', 'c', 'd%d', 'put', '{}', 0)`, n)
			if err := harness.Execute(t.Context(), server.DatabaseURL(), row); err != nil {
				t.Fatal(err)
			}
			server.AwaitCrash()
			server.Restart()
			awaitDocuments(t, client, n+1)
			tally.Add(harness.Figures{Operations: 1, Kills: 1})
		}
		if n := count(t, server, "SELECT count(*) FROM inbox_rejected"); n != 0 {
			t.Errorf("%d rows were carried out once more, and rejected", n)
		}
		if n := count(t, server, "SELECT count(*) FROM inbox"); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

// awaitDocuments waits until a space has so many documents.
func awaitDocuments(t *testing.T, client *harness.Client, want int) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); ; {
		changes, _, err := client.PullAll(t.Context(), "s", harness.Pull{})
		if err == nil && len(changes) == want {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d documents, %v; want %d", len(changes), err, want)
		}
	}
}

// TestMigration_crashedAtAnyPoint ends the first start of a server within each of its
// migrations, start after start. The last one comes up.
func TestMigration_crashedAtAnyPoint(t *testing.T) {
	t.Parallel()
	seed := harness.Seed(t)
	harness.Each(t, func(t *testing.T, store harness.Store) {
		tally := harness.Count(t, "T3", seed)
		files, err := fs.Glob(migrations.Files, string(store)+"/*.up.sql")
		if err != nil || len(files) == 0 {
			t.Fatalf("migrations: %v, %v", files, err)
		}
		for _, point := range migrationPoints {
			options := harness.Options{Store: store, Crashing: true}
			if store == harness.Postgres {
				options.DatabaseURL = pgtest.URL(t)
			}
			server := harness.New(t, options)
			for i := range files {
				// Each start goes on where the last one has ended.
				n := 1
				if i > 0 && point != fault.MigrationCommitted {
					n = 2
				}
				server.Arm(point, n)
				server.RestartToCrash()
				tally.Add(harness.Figures{Operations: 1, Kills: 1})
			}
			server.Restart()
			answer, err := server.Client("").Push(t.Context(), "s", harness.Push{ClientID: "c1", Edits: []harness.Edit{put("e1", "d1", `{}`)}})
			if err != nil || answer.Results[0].Status != "applied" {
				t.Errorf("crashed at %s: a push to what came of it: %+v, %v", point, answer, err)
			}
			server.Stop()
			stdout, stderr, err := server.Run(t.Context(), "migrate", "version")
			if want := fmt.Sprintf("schema version %d\n", len(files)); err != nil || !strings.HasSuffix(stdout, want) {
				t.Errorf("crashed at %s: %s%s%v, want %s", point, stdout, stderr, err, want)
			}
		}
	})
}

// TestPurge_crashedAtAnyPoint: what is purged by half is not purged. Beside it a server
// runs, whose clients go on.
func TestPurge_crashedAtAnyPoint(t *testing.T) {
	t.Parallel()
	seed := harness.Seed(t)
	harness.Each(t, func(t *testing.T, store harness.Store) {
		tally := harness.Count(t, "T3", seed)
		server := harness.New(t, harness.Options{Store: store, Crashing: true})
		server.Restart()
		client := server.Client("")
		for _, point := range purgePoints {
			space := strings.ReplaceAll(point, ".", "-")
			edits := []harness.Edit{put("e1", "kept", `{}`), put("e2", "doomed", `{}`)}
			if _, err := client.Push(t.Context(), space, harness.Push{ClientID: "c1", Edits: edits}); err != nil {
				t.Fatal(err)
			}
			_, cursor, err := client.PullAll(t.Context(), space, harness.Pull{})
			if err != nil {
				t.Fatal(err)
			}
			doomed := []harness.Edit{{EditID: "e3", Op: "delete", Collection: "c", ID: "doomed", Force: true}}
			if _, err := client.Push(t.Context(), space, harness.Push{ClientID: "c1", Edits: doomed}); err != nil {
				t.Fatal(err)
			}

			server.Arm(point, 1)
			if out, _, err := server.Run(t.Context(), "gc", "--retention", "1ms"); err == nil {
				t.Fatalf("gc outlived %s: %s", point, out)
			}
			server.Disarm()
			tally.Add(harness.Figures{Operations: 2, Kills: 1})
			if out, errs, err := server.Run(t.Context(), "verify"); err != nil {
				t.Errorf("crashed at %s: verify: %v\n%s%s", point, err, out, errs)
			}
			page, err := client.Pull(t.Context(), space, harness.Pull{Cursor: cursor})
			if err != nil || len(page.Changes) != 1 || !page.Changes[0].Deleted {
				t.Errorf("crashed at %s: who had not seen the deletion gets %+v, %v", point, page.Changes, err)
			}
			out, errs, err := server.Run(t.Context(), "gc", "--retention", "1ms")
			if want := space + ": 1 tombstones"; err != nil || !strings.Contains(out, want) {
				t.Errorf("crashed at %s: gc then: %v, %q, want %q\n%s", point, err, out, want, errs)
			}
		}
	})
}
