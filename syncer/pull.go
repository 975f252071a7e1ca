package syncer

import (
	"context"
	"time"

	"github.com/tidemark/tidemark/models"
)

// PullRequest asks for what changed since a cursor.
type PullRequest struct {
	Cursor      string        // "": a snapshot
	Limit       int           // documents; 0: models.DefaultPageChanges
	Wait        time.Duration // how long to wait for news if there are none
	Collections []string      // empty: all
	// MinVersion is the newest version a push answered to this client.
	MinVersion int64
}

// Pull returns the next page of a space's feed. Errors: CodeInvalidCursor for a
// damaged cursor or one of another space, CodeCursorExpired, those of Store.
func (e *Engine) Pull(ctx context.Context, space string, req PullRequest) (*models.Page, error) {
	panic("in work")
}
