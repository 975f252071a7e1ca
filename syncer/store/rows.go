package store

import (
	"context"

	"gorm.io/gorm"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// rowsAtOnce is how many rows one statement reads: a transaction of many short
// statements meets no timeout, however large the space is.
const rowsAtOnce = 5000

// Spaces implements syncer.Store. Primary key.
func (s *Store) Spaces(ctx context.Context, after string, n int) ([]models.Space, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var spaces []models.Space
	err := s.reader.WithContext(ctx).Where("id > ?", after).Order("id").Limit(n).Find(&spaces).Error
	return spaces, s.failure(ctx, "list spaces", err)
}

// AnySpace implements syncer.Store. It counts along the primary key, which is for once
// in a while, and chooses among those that it counted.
func (s *Store) AnySpace(ctx context.Context, way float64) (models.Space, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var spaces []models.Space
	err := s.reader.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		var n int64
		if err := tx.Model(&models.Space{}).Count(&n).Error; err != nil || n == 0 {
			return err
		}
		return tx.Order("id").Offset(int(way * float64(n))).Limit(1).Find(&spaces).Error
	}, s.dialect.snapshot())
	if err != nil || len(spaces) == 0 {
		return models.Space{}, s.failure(ctx, "choose a space", err)
	}
	return spaces[0], nil
}

// Rows implements syncer.Store.
func (s *Store) Rows(ctx context.Context, space string, to syncer.RowReader) error {
	err := s.reader.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		var row models.Space
		if err := tx.Where("id = ?", space).Limit(1).Find(&row).Error; err != nil {
			return err
		}
		row.ID = space // also if it was never written
		to.Space(&row)
		if err := documentRows(tx, space, to.Document); err != nil {
			return err
		}
		return clientRows(tx, space, to.Client)
	}, s.dialect.snapshot())
	return s.failure(ctx, "read all rows of a space", err)
}

// documentRows goes along the primary key.
func documentRows(tx *gorm.DB, space string, read func(*models.Document)) error {
	for last := (models.Document{}); ; {
		var rows []models.Document
		err := tx.
			Select("space_id, collection, id, version, deleted, size, field_versions, client_id, edit_id, updated_by, updated_at").
			Where("space_id = ? AND (collection, id) > (?, ?)", space, last.Collection, last.ID).
			Order("collection, id").Limit(rowsAtOnce).Find(&rows).Error
		if err != nil || len(rows) == 0 {
			return err
		}
		for i := range rows {
			read(&rows[i])
		}
		last = rows[len(rows)-1]
	}
}

// clientRows goes along the primary key.
func clientRows(tx *gorm.DB, space string, read func(*models.Client)) error {
	for last := (models.Client{}); ; {
		var rows []models.Client
		err := tx.
			Where("space_id = ? AND (subject, client_id) > (?, ?)", space, last.Subject, last.ClientID).
			Order("subject, client_id").Limit(rowsAtOnce / 10).Find(&rows).Error
		if err != nil || len(rows) == 0 {
			return err
		}
		for i := range rows {
			read(&rows[i])
		}
		last = rows[len(rows)-1]
	}
}
