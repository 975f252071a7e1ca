package store

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/fault"
)

// Now implements syncer.Store.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	now, err := s.dialect.clock(ctx)
	return now, s.failure(ctx, "read the clock", err)
}

// errPurging says that another node is purging. It rolls back.
var errPurging = errors.New("another node is purging")

// Purge implements syncer.Store. It looks before it locks: most spaces have nothing
// to purge, and a lock is a write.
func (s *Store) Purge(ctx context.Context, space string, before time.Time, limit int) (done syncer.Purged, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if due, err := purgeable(s.reader.WithContext(ctx), space, before); err != nil || !due {
		return done, s.failure(ctx, "look for what to purge", err)
	}
	err = s.writer.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if alone, err := s.dialect.aloneInPurging(tx); err != nil || !alone {
			return errors.Join(err, errPurging)
		}
		var row models.Space
		lock := clause.Locking{Strength: "NO KEY UPDATE"} // SQLite has locked all with BEGIN
		if err := tx.Clauses(lock).Where("id = ?", space).Limit(1).Find(&row).Error; err != nil {
			return err
		}
		var err error
		if done.Tombstones, err = purgeTombstones(tx, space, before, limit); err != nil {
			return err
		}
		done.Clients, err = purgeClients(tx, space, before, limit)
		return err
	})
	if errors.Is(err, errPurging) {
		return syncer.Purged{Elsewhere: true}, nil
	}
	if err != nil {
		return syncer.Purged{}, s.failure(ctx, "purge", err)
	}
	done.More = done.Tombstones >= limit || done.Clients >= limit
	return done, nil
}

// purgeable: index documents_tombstones (space_id, version); the primary key of clients.
func purgeable(db *gorm.DB, space string, before time.Time) (due bool, err error) {
	err = db.Raw(`
SELECT EXISTS (
    SELECT 1
    FROM documents
    WHERE space_id = ? AND deleted AND version < ?
) OR EXISTS (
    SELECT 1
    FROM clients
    WHERE space_id = ? AND seen_at < ?
)`, space, before.UnixMicro(), space, before.UnixMilli()).Scan(&due).Error
	return due, err
}

// purgeTombstones takes the oldest tombstones, of whole versions, and raises the floor
// to the newest of them: whoever has come that far has seen them all. Index
// documents_tombstones (space_id, version), twice.
func purgeTombstones(tx *gorm.DB, space string, before time.Time, limit int) (int, error) {
	var floor int64
	err := tx.Raw(`
SELECT COALESCE(max(version), 0)
FROM (
    SELECT version
    FROM documents
    WHERE space_id = ? AND deleted AND version < ?
    ORDER BY version
    LIMIT ?
) AS oldest`, space, before.UnixMicro(), limit).Scan(&floor).Error
	if err != nil || floor == 0 {
		return 0, err
	}
	if err := tx.Exec(`UPDATE spaces SET floor = ? WHERE id = ? AND floor < ?`, floor, space, floor).Error; err != nil {
		return 0, err
	}
	fault.Point(fault.PurgeFloor)
	gone := tx.Exec(`DELETE FROM documents WHERE space_id = ? AND deleted AND version <= ?`, space, floor)
	fault.Point(fault.PurgeDeleted)
	return int(gone.RowsAffected), gone.Error
}

// purgeClients forgets clients that have not been seen since, with their receipts.
// Primary key.
func purgeClients(tx *gorm.DB, space string, before time.Time, limit int) (int, error) {
	gone := tx.Exec(`
DELETE FROM clients
WHERE space_id = ?
  AND (subject, client_id) IN (
      SELECT subject, client_id
      FROM clients
      WHERE space_id = ? AND seen_at < ?
      LIMIT ?
  )`, space, space, before.UnixMilli(), limit)
	return int(gone.RowsAffected), gone.Error
}

// SetRetention sets how long a space remembers what was deleted, 0 for as long as the
// server is set to. It makes the space if there is none.
func (s *Store) SetRetention(ctx context.Context, actor, space string, retention time.Duration) error {
	now, err := s.Now(ctx)
	if err != nil {
		return err
	}
	row := models.Space{ID: space, PastEpochs: "[]", CreatedAt: now.UnixMilli(), RetentionMS: retention.Milliseconds()}
	entry := models.AuditEntry{At: now.UnixMilli(), Actor: actor, Action: "space_retention", Target: space}
	return s.audited(ctx, entry, map[string]any{"retention_ms": row.RetentionMS}, func(tx *gorm.DB) (bool, error) {
		return true, tx.Clauses(clause.OnConflict{
			Columns:   []clause.Column{{Name: "id"}},
			DoUpdates: clause.AssignmentColumns([]string{"retention_ms"}),
		}).Create(&row).Error
	})
}
