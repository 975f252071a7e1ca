package store

import (
	"context"
	"database/sql"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// Changes implements syncer.Store.
func (s *Store) Changes(ctx context.Context, space string, r syncer.Range) (syncer.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.reader.WithContext(ctx).Raw(changes, map[string]any{
		"space":       space,
		"after":       r.After,
		"end":         models.MaxVersion + 1,
		"sparse":      r.Snapshot || r.HideUpTo > 0 || len(r.Collections) > 0,
		"rows":        models.MaxPageRows,
		"snapshot":    r.Snapshot,
		"hide":        r.HideUpTo,
		"everything":  len(r.Collections) == 0,
		"collections": r.Collections,
		// One more than fits, and more than the largest version: a version that
		// LIMIT cuts in two is then never the first, and always over the limit.
		"enough": max(r.Limit, models.MaxEdits) + 1,
		"limit":  r.Limit,
		"bytes":  models.MaxPageBytes,
	}).Rows()
	if err != nil {
		return syncer.Run{}, s.failure("read changes", err)
	}
	run, err := scanRun(rows)
	if closeErr := rows.Close(); err == nil {
		err = closeErr
	}
	return run, s.failure("read changes", err)
}

// scanRun reads what the statement changes returns: one row per document, or one
// row without a document, or none if the space was never written.
func scanRun(rows *sql.Rows) (run syncer.Run, err error) {
	var edge sql.NullInt64
	var found int
	for rows.Next() {
		var d struct {
			collection, id, data, clientID, editID, updatedBy sql.NullString
			version, updatedAt                                sql.NullInt64
			deleted                                           sql.NullBool
		}
		err := rows.Scan(&run.Space.Head, &run.Space.Floor, &run.Space.Epoch, &edge, &found,
			&d.collection, &d.id, &d.version, &d.deleted, &d.data,
			&d.clientID, &d.editID, &d.updatedBy, &d.updatedAt)
		if err != nil {
			return run, err
		}
		if !d.version.Valid {
			continue
		}
		document := models.Document{
			Collection: d.collection.String, ID: d.id.String,
			Version: d.version.Int64, Deleted: d.deleted.Bool,
			ClientID: d.clientID.String, EditID: d.editID.String,
			UpdatedBy: d.updatedBy.String, UpdatedAt: d.updatedAt.Int64,
		}
		if d.data.Valid {
			document.Data = &d.data.String
		}
		run.Documents = append(run.Documents, document)
	}
	switch n := len(run.Documents); {
	case n < found:
		run.Through = run.Documents[n-1].Version
	case edge.Valid:
		run.Through = edge.Int64 - 1
	default:
		run.Through = run.Space.Head
	}
	return run, rows.Err()
}

// Heads implements syncer.Store.
func (s *Store) Heads(ctx context.Context, names []string) ([]models.Head, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var spaces []models.Space
	err := s.reader.WithContext(ctx).Select("id", "head").Where("id IN ?", names).Find(&spaces).Error
	if err != nil {
		return nil, s.failure("read heads", err)
	}
	byName := make(map[string]int64, len(spaces))
	for _, space := range spaces {
		byName[space.ID] = space.Head
	}
	heads := make([]models.Head, len(names))
	for i, name := range names {
		heads[i] = models.Head{Space: name, Version: byName[name]}
	}
	return heads, nil
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
		return nil, s.failure("read a document", err)
	}
	return &documents[0], nil
}
