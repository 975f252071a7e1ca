package store

import (
	"context"
	"fmt"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// Commit implements syncer.Store.
func (s *Store) Commit(ctx context.Context, touch syncer.Touch, decide func(syncer.Locked) (syncer.Writes, error)) error {
	tx := s.writer.WithContext(ctx).Begin() // SQLite: BEGIN IMMEDIATE, see sqliteDSN
	if tx.Error != nil {
		return s.failure("begin a push", tx.Error)
	}
	// Without effect after a commit. If it fails the connection is broken, and the
	// database rolls back by itself.
	defer tx.Rollback()

	locked, err := s.lock(tx, touch)
	if err != nil {
		return s.failure("lock space", err)
	}
	if err := s.read(tx, touch, &locked); err != nil {
		return s.failure("read what a push touches", err)
	}
	writes, err := decide(locked)
	if err != nil || writes.Empty() {
		return err
	}
	if err := s.write(tx, touch, locked, writes); err != nil {
		return s.failure("write a push", err)
	}
	return s.commitFailure(tx.Commit().Error)
}

// lock locks the space's row, which it makes if need be. It is a statement of
// its own, before any other read: a statement that locks and reads has taken its
// snapshot before it waits for the lock, and would read what is old by then.
func (s *Store) lock(tx *gorm.DB, touch syncer.Touch) (syncer.Locked, error) {
	var row struct {
		models.Space
		Now int64
	}
	now := s.now()
	args := map[string]any{
		"space": touch.Space, "epoch": touch.Epoch,
		"now": now.UnixMicro(),
	}
	found := tx.Raw(s.dialect.lockSpace(), args).Scan(&row)
	if found.Error == nil && found.RowsAffected == 0 {
		created := map[string]any{"space": touch.Space, "epoch": touch.Epoch, "now": now.UnixMilli()}
		if err := tx.Exec(createSpace, created).Error; err != nil {
			return syncer.Locked{}, err
		}
		found = tx.Raw(s.dialect.lockSpace(), args).Scan(&row)
	}
	if found.Error == nil && found.RowsAffected != 1 {
		return syncer.Locked{}, fmt.Errorf("space %s is not there after it was made", touch.Space)
	}
	return syncer.Locked{Space: row.Space, Now: row.Now}, found.Error
}

// read reads what the push names, under the lock.
func (s *Store) read(tx *gorm.DB, touch syncer.Touch, locked *syncer.Locked) error {
	var client models.Client
	err := tx.Select("receipts").Limit(1).Find(&client, &models.Client{
		SpaceID: touch.Space, Subject: touch.Subject, ClientID: touch.ClientID,
	}).Error
	if err != nil {
		return err
	}
	locked.Receipts = client.Receipts

	if len(touch.Documents) == 0 {
		return nil
	}
	rows := strings.Repeat(","+touchedDocumentsRow, len(touch.Documents))[1:]
	args := make([]any, 0, 4*len(touch.Documents)+1)
	for _, w := range touch.Documents {
		args = append(args, w.Collection, w.ID, w.Base, w.Data)
	}
	var documents []models.Document
	err = tx.Raw(touchedDocumentsHead+rows+touchedDocumentsTail, append(args, touch.Space)...).Scan(&documents).Error
	if err != nil {
		return err
	}
	locked.Documents = make(map[syncer.Key]*models.Document, len(documents))
	for i := range documents {
		d := &documents[i]
		locked.Documents[syncer.Key{Collection: d.Collection, ID: d.ID}] = d
	}
	return nil
}

// write writes what the push changes.
func (s *Store) write(tx *gorm.DB, touch syncer.Touch, locked syncer.Locked, writes syncer.Writes) error {
	if space := writes.Space; space != nil {
		updated := tx.Exec(updateSpace, map[string]any{
			"space": touch.Space, "head": space.Head, "digest": space.Digest, "live_count": space.LiveCount,
		})
		if updated.Error != nil {
			return updated.Error
		}
		if updated.RowsAffected != 1 {
			return fmt.Errorf("space %s: %d rows updated, want 1", touch.Space, updated.RowsAffected)
		}
	}
	if len(writes.Documents) > 0 {
		err := tx.Clauses(replace(
			[]string{"space_id", "collection", "id"},
			"version", "deleted", "data", "size", "field_versions", "client_id", "edit_id", "updated_by", "updated_at",
		)).Create(&writes.Documents).Error
		if err != nil {
			return err
		}
	}
	if writes.Receipts == nil {
		return nil
	}
	return tx.Clauses(replace(
		[]string{"space_id", "subject", "client_id"},
		"receipts", "seen_at",
	)).Create(&models.Client{
		SpaceID: touch.Space, Subject: touch.Subject, ClientID: touch.ClientID,
		Receipts: writes.Receipts, SeenAt: locked.Now / 1000,
	}).Error
}

// replace makes an INSERT replace columns of a row whose key is there.
func replace(key []string, columns ...string) clause.OnConflict {
	c := clause.OnConflict{DoUpdates: clause.AssignmentColumns(columns)}
	for _, name := range key {
		c.Columns = append(c.Columns, clause.Column{Name: name})
	}
	return c
}
