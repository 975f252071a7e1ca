package harness

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tidemark/tidemark/syncer/store"
)

// executeTimeout bounds one Execute.
const executeTimeout = 30 * time.Second

// Execute runs statements on a database beside its servers, as somebody else's program
// does.
func Execute(ctx context.Context, databaseURL, statements string) error {
	ctx, cancel := context.WithTimeout(ctx, executeTimeout)
	defer cancel()
	db, err := store.OpenSQL(databaseURL)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, statements)
	return errors.Join(err, db.Close())
}

// askEvery is how often Until looks.
const askEvery = 20 * time.Millisecond

// Until waits until something holds, and fails t if it doesn't in time.
func Until(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for deadline := time.After(within); !holds(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, within)
		}
	}
}
