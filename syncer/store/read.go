package store

import (
	"context"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// readTimeout bounds a read, from waiting for a connection to the last row.
const readTimeout = 5 * time.Second

// Changes implements syncer.Store.
func (s *Store) Changes(ctx context.Context, space string, r syncer.Range) (syncer.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	run, err := s.dialect.changes(ctx, space, r)
	if err != nil {
		return syncer.Run{}, s.failure(ctx, "read changes", err)
	}
	return run, nil
}

// Heads implements syncer.Store.
func (s *Store) Heads(ctx context.Context, names []string) ([]models.Space, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	spaces := make([]models.Space, len(names))
	if err := s.dialect.heads(ctx, names, spaces); err != nil {
		return nil, s.failure(ctx, "read heads", err)
	}
	return spaces, nil
}

// Document implements syncer.Store.
func (s *Store) Document(ctx context.Context, space string, key syncer.Key) (*models.Document, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var documents []models.Document
	err := s.reader.WithContext(ctx).
		Where("space_id = ? AND collection = ? AND id = ?", space, key.Collection, key.ID).
		Limit(1).
		Find(&documents).Error
	if err != nil || len(documents) == 0 {
		return nil, s.failure(ctx, "read a document", err)
	}
	return &documents[0], nil
}

// pageRows is how many rows make sure that a page can be cut: one more than fits,
// and more than the largest version, so that a version that the end of the rows
// splits is never the first one.
func pageRows(r syncer.Range) int { return max(r.Limit, models.MaxEdits) + 1 }
