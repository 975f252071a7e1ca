package store

import (
	"context"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

const (
	// inboxBytes is how much text the rows of one space may hold that are read at
	// once: what a push may carry.
	inboxBytes = models.MaxBodyBytes

	// inboxText is how much is read of a row's text: enough to see that it is too
	// large. Writers are trusted, not to be careful.
	inboxText = models.MaxDocumentBytes + 1
)

// Inbox implements syncer.Store.
func (s *Store) Inbox(ctx context.Context, want syncer.InboxRange) ([]models.Inbox, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.dialect.inbox(ctx, want)
	return rows, s.failure(ctx, "read the inbox", err)
}

// RejectInbox implements syncer.Store.
func (s *Store) RejectInbox(ctx context.Context, ids []int64, problem models.EditError) (moved int, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	moved, err = s.dialect.rejectInbox(ctx, ids, &problem)
	return moved, s.failure(ctx, "reject rows of the inbox", err)
}
