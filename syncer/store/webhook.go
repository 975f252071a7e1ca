package store

import (
	"context"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tidemark/tidemark/models"
)

// undeliveredAtATime is how many rows one statement writes: well below what SQLite and
// PostgreSQL take of parameters.
const undeliveredAtATime = 500

// KeepUndelivered writes wake-ups, none of one space twice. What is there already of a
// space is replaced, but the newer version of both stays.
func (s *Store) KeepUndelivered(ctx context.Context, list []models.Undelivered) error {
	for chunk := range slices.Chunk(list, undeliveredAtATime) {
		err := s.withinWrite(ctx, func(db *gorm.DB) error {
			return db.Clauses(clause.OnConflict{
				Columns: []clause.Column{{Name: "space"}},
				DoUpdates: append(clause.AssignmentColumns([]string{"attempts", "last_error", "since", "due_at"}), clause.Assignment{
					Column: clause.Column{Name: "version"},
					Value:  gorm.Expr("CASE WHEN excluded.version > webhook_undelivered.version THEN excluded.version ELSE webhook_undelivered.version END"),
				}),
			}).Create(&chunk).Error
		})
		if err != nil {
			return s.failure(ctx, "keep wake-ups", err)
		}
	}
	return nil
}

// claimUndelivered: of two nodes that claim at the same time the second waits for the
// first, and then finds the row no longer due. The table is small, so it has no index
// but that of its primary key.
const claimUndelivered = `
UPDATE webhook_undelivered
SET due_at = ?
WHERE due_at <= ?
  AND space IN (SELECT space FROM webhook_undelivered WHERE due_at <= ? ORDER BY space LIMIT ?)
RETURNING space, version, attempts, last_error, since, due_at`

// ClaimUndelivered returns wake-ups that are due, at most limit of them, and makes them
// due again at a later time, so that nobody else gets them before that.
func (s *Store) ClaimUndelivered(ctx context.Context, now, until time.Time, limit int) (list []models.Undelivered, err error) {
	err = s.withinWrite(ctx, func(db *gorm.DB) error {
		return db.Raw(claimUndelivered, until.UnixMilli(), now.UnixMilli(), now.UnixMilli(), limit).Scan(&list).Error
	})
	return list, s.failure(ctx, "claim wake-ups", err)
}

// ForgetUndelivered deletes what the receiver has been told of: each space's row, unless
// it is of a newer version.
func (s *Store) ForgetUndelivered(ctx context.Context, told []models.Head) error {
	spaces := make([]string, len(told))
	for i, t := range told {
		spaces[i] = t.Space
	}
	err := s.withinWrite(ctx, func(db *gorm.DB) error {
		var there []models.Undelivered // mostly none, and then nothing is written
		if err := db.Where("space IN ?", spaces).Find(&there).Error; err != nil || len(there) == 0 {
			return err
		}
		for _, t := range told {
			if err := db.Where("space = ? AND version <= ?", t.Space, t.Version).Delete(&models.Undelivered{}).Error; err != nil {
				return err
			}
		}
		return nil
	})
	return s.failure(ctx, "forget wake-ups", err)
}

// DeadUndelivered returns the wake-ups that were given up, in the order of their spaces.
func (s *Store) DeadUndelivered(ctx context.Context, limit int) (list []models.Undelivered, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err = s.reader.WithContext(ctx).Where("due_at IS NULL").Order("space").Limit(limit).Find(&list).Error
	return list, s.failure(ctx, "read dead wake-ups", err)
}

// RetryUndelivered makes wake-ups that were given up due at once, as if they were new:
// of these spaces, of all if none is named. It returns how many.
func (s *Store) RetryUndelivered(ctx context.Context, now time.Time, spaces []string) (n int64, err error) {
	err = s.withinWrite(ctx, func(db *gorm.DB) error {
		dead := db.Model(&models.Undelivered{}).Where("due_at IS NULL")
		if len(spaces) > 0 {
			dead = dead.Where("space IN ?", spaces)
		}
		done := dead.UpdateColumns(map[string]any{"due_at": now.UnixMilli(), "since": now.UnixMilli(), "attempts": 0})
		n = done.RowsAffected
		return done.Error
	})
	return n, s.failure(ctx, "retry wake-ups", err)
}

// withinWrite does something with the writer, within the time that somebody at a
// terminal waits.
func (s *Store) withinWrite(ctx context.Context, do func(*gorm.DB) error) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	return do(s.writer.WithContext(ctx))
}
