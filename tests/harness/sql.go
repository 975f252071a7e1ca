package harness

import (
	"context"
	"errors"
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
