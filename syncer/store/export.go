package store

import (
	"context"
	"database/sql"

	"gorm.io/gorm"

	"github.com/tidemark/tidemark/models"
)

// Export hands on all that a space holds, as it is in one snapshot of the database:
// its row, its documents by name with their texts, its clients by name. Rows are read as
// they are taken, however many there are and however long that lasts; what is handed on
// is good until the function returns. An error of a function ends it.
func (s *Store) Export(ctx context.Context, name string, space func(*models.Space) error, document func(*models.Document) error, client func(*models.Client) error) error {
	err := s.reader.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := s.dialect.unhurried(tx); err != nil {
			return err
		}
		row := models.Space{}
		if err := tx.Where("id = ?", name).Limit(1).Find(&row).Error; err != nil {
			return err
		}
		row.ID = name // also if it was never written
		if err := space(&row); err != nil {
			return err
		}
		if err := exportDocuments(tx, name, document); err != nil {
			return err
		}
		return exportClients(tx, name, client)
	}, s.dialect.snapshot())
	return s.failure(ctx, "export a space", err)
}

// exportDocuments goes along the primary key.
func exportDocuments(tx *gorm.DB, space string, take func(*models.Document) error) error {
	d := models.Document{SpaceID: space}
	return eachRow(tx, `
SELECT collection, id, version, deleted, data, size, field_versions, client_id, edit_id, updated_by, updated_at
FROM documents
WHERE space_id = ?
ORDER BY collection, id`, space, func(rows *sql.Rows) error {
		d.Data = nil
		err := rows.Scan(&d.Collection, &d.ID, &d.Version, &d.Deleted, &d.Data, &d.Size, &d.FieldVersions,
			&d.ClientID, &d.EditID, &d.UpdatedBy, &d.UpdatedAt)
		if err != nil {
			return err
		}
		return take(&d)
	})
}

// exportClients goes along the primary key.
func exportClients(tx *gorm.DB, space string, take func(*models.Client) error) error {
	c := models.Client{SpaceID: space}
	return eachRow(tx, `
SELECT subject, client_id, receipts, older_receipts, older_tag, seen_at
FROM clients
WHERE space_id = ?
ORDER BY subject, client_id`, space, func(rows *sql.Rows) error {
		if err := rows.Scan(&c.Subject, &c.ClientID, &c.Receipts, &c.OlderReceipts, &c.OlderTag, &c.SeenAt); err != nil {
			return err
		}
		return take(&c)
	})
}

func eachRow(tx *gorm.DB, query, space string, take func(*sql.Rows) error) error {
	rows, err := tx.Raw(query, space).Rows()
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err has been asked
	for rows.Next() {
		if err := take(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Waiting returns how many rows wait in the inbox, or lie there rejected: no space has them.
func (s *Store) Waiting(ctx context.Context) (rows int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err = s.reader.WithContext(ctx).Raw(`SELECT (SELECT count(*) FROM inbox) + (SELECT count(*) FROM inbox_rejected)`).Scan(&rows).Error
	return rows, s.failure(ctx, "count the inbox", err)
}
