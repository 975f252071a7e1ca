package store

import (
	"context"
	"encoding/json"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// Erase implements syncer.Store.
func (s *Store) Erase(ctx context.Context, space string, e syncer.Erasure) (done syncer.Erased, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	now, err := s.dialect.clock(ctx)
	if err != nil {
		return done, s.failure(ctx, "read the clock", err)
	}
	err = s.writer.WithContext(ctx).Transaction(func(tx *gorm.DB) (err error) {
		done = syncer.Erased{} // it may run again
		var row models.Space
		lock := clause.Locking{Strength: "NO KEY UPDATE"} // SQLite has locked all with BEGIN
		if err := tx.Clauses(lock).Where("id = ?", space).Limit(1).Find(&row).Error; err != nil || row.ID == "" {
			return err
		}
		done.Found = true
		if err := s.dialect.byIndex(tx); err != nil {
			return err
		}
		if e.Actor != "" {
			detail, err := json.Marshal(map[string]int64{"documents": row.LiveCount, "head": row.Head})
			if err != nil {
				return err
			}
			entry := models.AuditEntry{At: now.UnixMilli(), Actor: e.Actor, Action: "space_delete", Target: space, Detail: string(detail)}
			if err := tx.Create(&entry).Error; err != nil {
				return err
			}
		}
		gone, more, err := eraseDocuments(tx, space, e)
		if err != nil {
			return err
		}
		if done.Clients, err = eraseClients(tx, space, e.Documents); err != nil {
			return err
		}
		done.Documents, done.More, done.Last = len(gone), more || done.Clients >= e.Documents, e.After
		if len(gone) > 0 {
			done.Last = syncer.Key{Collection: gone[len(gone)-1].Collection, ID: gone[len(gone)-1].ID}
		}
		if !done.More {
			if done.More, err = eraseInbox(tx, space, e.Documents); err != nil {
				return err
			}
		}
		if !done.More {
			if err := forgetImport(tx, space); err != nil {
				return err
			}
		}
		e.Account(&row, now.UnixMicro(), gone)
		return tx.Model(&models.Space{}).Where("id = ?", space).UpdateColumns(map[string]any{
			"head": row.Head, "floor": row.Floor, "deleted_through": row.DeletedThrough, "digest": row.Digest, "live_count": row.LiveCount,
		}).Error
	})
	if err != nil {
		return syncer.Erased{}, s.failure(ctx, "delete a space", err)
	}
	return done, nil
}

// eraseDocuments takes the next documents by name. Primary key, twice.
func eraseDocuments(tx *gorm.DB, space string, e syncer.Erasure) (gone []models.Document, more bool, err error) {
	err = tx.
		Select("collection, id, version, deleted, size").
		Where("space_id = ? AND (collection, id) > (?, ?)", space, e.After.Collection, e.After.ID).
		Order("collection, id").Limit(e.Documents).Find(&gone).Error
	if err != nil || len(gone) == 0 {
		return nil, false, err
	}
	more = len(gone) == e.Documents
	bytes := int64(0)
	for i := range gone {
		if bytes += gone[i].Size; bytes > e.Bytes && i > 0 {
			gone, more = gone[:i], true
			break
		}
	}
	last := gone[len(gone)-1]
	err = tx.Exec(`DELETE FROM documents WHERE space_id = ? AND (collection, id) > (?, ?) AND (collection, id) <= (?, ?)`,
		space, e.After.Collection, e.After.ID, last.Collection, last.ID).Error
	return gone, more, err
}

// eraseClients takes clients, with their receipts. Primary key.
func eraseClients(tx *gorm.DB, space string, limit int) (int, error) {
	gone := tx.Exec(`
DELETE FROM clients
WHERE space_id = ?
  AND (subject, client_id) IN (
      SELECT subject, client_id
      FROM clients
      WHERE space_id = ?
      LIMIT ?
  )`, space, space, limit)
	return int(gone.RowsAffected), gone.Error
}

// eraseInbox takes what waits for the space: carried out later it would come back. Index
// inbox_space (space, inbox_id); the rejected ones are few, and read whole.
func eraseInbox(tx *gorm.DB, space string, limit int) (more bool, err error) {
	for _, table := range []string{"inbox", "inbox_rejected"} {
		gone := tx.Exec(`
DELETE FROM `+table+`
WHERE inbox_id IN (
    SELECT inbox_id
    FROM `+table+`
    WHERE space = ?
    LIMIT ?
)`, space, limit)
		if gone.Error != nil {
			return false, gone.Error
		}
		more = more || gone.RowsAffected == int64(limit)
	}
	return more, nil
}
