package store_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/memory"
	"github.com/tidemark/tidemark/syncer/store"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// A push whose commit no standby has confirmed can be seen on the primary, receipt and
// all, once what waited for the standby is gone. Neither it nor its retry may be
// answered "applied" before a standby has it: the primary may be lost at any moment.
func TestPostgres_unconfirmed(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]string{
		"the wait is canceled":    "pg_cancel_backend",
		"the connection is ended": "pg_terminate_backend",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := pgtest.Start(t)
			database := server.URL(t)
			migrate(t, database)
			admin := openSQL(t, server.AdminURL())
			waitFor(t, admin, "nobody")
			// A reload comes to all processes in its own time; a restart has an end.
			if err := errors.Join(server.Stop(), server.Start()); err != nil {
				t.Fatal(err)
			}
			s := open(t, database, store.Options{})
			engine := syncer.New(s, memory.New(), syncer.Options{})
			t.Cleanup(engine.Close)
			push := func() (*models.PushResponse, error) {
				return engine.Push(t.Context(), "s1", "alice", &models.PushRequest{ClientID: "c1", Edits: edits("t1")})
			}
			for _, try := range []string{"the push", "its retry", "the next retry"} {
				answered := make(chan error, 1)
				go func() {
					_, err := push()
					answered <- err
				}()
				endWait(t, admin, end, answered)
				var unknown *models.Error
				if err := <-answered; !errors.As(err, &unknown) || unknown.Code != models.CodeOutcomeUnknown {
					t.Errorf("%s: %v, want %s", try, err, models.CodeOutcomeUnknown)
				}
			}
			waitFor(t, admin, "") // a push that waits is let go
			res, err := push()
			if err != nil || !res.Results[0].Replayed || res.Results[0].Status != models.StatusApplied {
				t.Errorf("with nothing to wait for: %+v, %v, want the first answer again", res, err)
			}
		})
	}
}

// A warning of a commit that was not the push's says nothing of the push.
func TestPostgres_unconfirmedByOthers(t *testing.T) {
	t.Parallel()
	database := pgtest.URL(t)
	migrate(t, database)
	s := open(t, database, store.Options{})
	engine := syncer.New(s, memory.New(), syncer.Options{})
	t.Cleanup(engine.Close)
	for _, name := range []string{"t1", "t2"} {
		if s.Warn(t.Context()) == 0 && name == "t2" {
			t.Fatal("no connection was warned")
		}
		res, err := engine.Push(t.Context(), "s1", "alice", &models.PushRequest{ClientID: "c1", Edits: edits(name)})
		if err != nil || res.Results[0].Status != models.StatusApplied {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
	}
}

// waitFor has commits wait for a standby of that name.
func waitFor(t *testing.T, admin *sql.DB, standby string) {
	t.Helper()
	for _, statement := range []string{"ALTER SYSTEM SET synchronous_standby_names = '" + standby + "'", "SELECT pg_reload_conf()"} {
		if _, err := admin.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

// endWait ends who waits for a standby, unless the push is answered before that.
func endWait(t *testing.T, admin *sql.DB, how string, answered chan error) {
	t.Helper()
	until(t, func(ctx context.Context) bool {
		var n int
		err := admin.QueryRowContext(ctx, "SELECT count("+how+"(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").Scan(&n)
		return len(answered) > 0 || err == nil && n > 0
	})
}

func until(t *testing.T, holds func(ctx context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for tick := time.NewTicker(10 * time.Millisecond); !holds(ctx); <-tick.C {
		if ctx.Err() != nil {
			t.Fatal("it did not come to that in 30 s")
		}
	}
}
