package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"gorm.io/gorm"

	"github.com/tidemark/tidemark/models"
)

// adminTimeout bounds what somebody at a terminal waits for.
const adminTimeout = 10 * time.Second

// ErrNoKey is the error of RevokeKey.
var ErrNoKey = errors.New("there is no such key")

// Access returns the API keys that are not revoked, and all revocations, in the
// order of their names. What was committed before the call is in it.
func (s *Store) Access(ctx context.Context) (keys []models.APIKey, revocations []models.Revocation, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	db := s.reader.WithContext(ctx)
	if err = db.Where("revoked_at IS NULL").Order("id").Find(&keys).Error; err == nil {
		err = db.Order("kind, name").Find(&revocations).Error
	}
	return keys, revocations, s.failure(ctx, "read keys and revocations", err)
}

// ForgetRevocations deletes the revocations that expired before now, and were made
// before the other time: who makes one and who deletes it may not agree on how long
// tokens live.
func (s *Store) ForgetRevocations(ctx context.Context, now, madeBefore time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err := s.writer.WithContext(ctx).
		Where("expires_at < ? AND not_before < ?", now.UnixMilli(), madeBefore.UnixMilli()).
		Delete(&models.Revocation{}).Error
	return s.failure(ctx, "forget revocations", err)
}

// Keys returns all API keys, the newest first.
func (s *Store) Keys(ctx context.Context) ([]models.APIKey, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var keys []models.APIKey
	err := s.reader.WithContext(ctx).Order("created_at DESC, id").Find(&keys).Error
	return keys, s.failure(ctx, "read keys", err)
}

// AddKey adds an API key.
func (s *Store) AddKey(ctx context.Context, actor string, key models.APIKey) error {
	detail := map[string]any{"name": key.Name, "subject": key.Subject, "spaces": json.RawMessage(key.Spaces)}
	if key.ExpiresAt != nil {
		detail["expires_at"] = time.UnixMilli(*key.ExpiresAt).UTC()
	}
	entry := models.AuditEntry{At: key.CreatedAt, Actor: actor, Action: "key_create", Target: key.ID}
	return s.audited(ctx, entry, detail, func(tx *gorm.DB) (bool, error) {
		return true, tx.Create(&key).Error
	})
}

// RevokeKey revokes an API key. One that is revoked already stays as it is. Error: ErrNoKey.
func (s *Store) RevokeKey(ctx context.Context, actor, id string, at time.Time) error {
	entry := models.AuditEntry{At: at.UnixMilli(), Actor: actor, Action: "key_revoke", Target: id}
	return s.audited(ctx, entry, nil, func(tx *gorm.DB) (bool, error) {
		revoked := tx.Model(&models.APIKey{}).
			Where("id = ? AND revoked_at IS NULL", id).
			UpdateColumn("revoked_at", at.UnixMilli())
		if revoked.Error != nil || revoked.RowsAffected > 0 {
			return true, revoked.Error
		}
		var known int64
		err := tx.Model(&models.APIKey{}).Where("id = ?", id).Count(&known).Error
		if err == nil && known == 0 {
			err = ErrNoKey
		}
		return false, err
	})
}

// revoke keeps the later times of two revocations of the same name.
const revoke = `
INSERT INTO revocations (kind, name, not_before, expires_at)
VALUES (?, ?, ?, ?)
ON CONFLICT (kind, name) DO UPDATE
SET not_before = CASE WHEN excluded.not_before > revocations.not_before THEN excluded.not_before ELSE revocations.not_before END,
    expires_at = CASE WHEN excluded.expires_at > revocations.expires_at THEN excluded.expires_at ELSE revocations.expires_at END`

// Revoke adds a revocation. That of a subject revokes the subject's API keys too,
// because it will be forgotten one day and they would be good again; keys tells how
// many.
func (s *Store) Revoke(ctx context.Context, actor string, r models.Revocation) (keys int64, err error) {
	entry := models.AuditEntry{At: r.NotBefore, Actor: actor, Action: r.Kind + "_revoke", Target: r.Name}
	detail := make(map[string]any)
	err = s.audited(ctx, entry, detail, func(tx *gorm.DB) (bool, error) {
		if err := tx.Exec(revoke, r.Kind, r.Name, r.NotBefore, r.ExpiresAt).Error; err != nil || r.Kind != models.RevokedSubject {
			return true, err
		}
		revoked := tx.Model(&models.APIKey{}).
			Where("subject = ? AND revoked_at IS NULL", r.Name).
			UpdateColumn("revoked_at", r.NotBefore)
		keys = revoked.RowsAffected
		detail["keys"] = keys
		return true, revoked.Error
	})
	return keys, err
}

// audited does something and writes down who did, in one transaction, unless
// nothing was done.
func (s *Store) audited(ctx context.Context, entry models.AuditEntry, detail map[string]any, do func(*gorm.DB) (done bool, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	err := s.writer.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		done, err := do(tx)
		if err != nil || !done {
			return err
		}
		if len(detail) > 0 {
			text, err := json.Marshal(detail)
			if err != nil {
				return err
			}
			entry.Detail = string(text)
		}
		return tx.Create(&entry).Error
	})
	if errors.Is(err, ErrNoKey) {
		return err
	}
	return s.failure(ctx, entry.Action, err)
}

// AuditLog returns what was done, the newest first.
func (s *Store) AuditLog(ctx context.Context, limit int) ([]models.AuditEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var entries []models.AuditEntry
	err := s.reader.WithContext(ctx).Order("id DESC").Limit(limit).Find(&entries).Error
	return entries, s.failure(ctx, "read the audit log", err)
}
