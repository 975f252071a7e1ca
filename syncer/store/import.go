package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// A space that is being imported has a row at head 0, which shows nothing, and a mark
// among the settings: its name, with what tells the export from any other. A server does
// not start on a database with a mark: what was pushed to such a space would meet rows
// that are not its own.
const importMark = "import "

// rowsPerInsert is how many rows one statement inserts: SQLite takes 32,766 parameters.
const rowsPerInsert = 500

// ErrOtherImport is the error of StartImport for a space of which a part of another
// export is there.
var ErrOtherImport = errors.New("a part of another export is there")

// Imported is how far the import of a space has come: the names of the last rows.
type Imported struct {
	Document syncer.Key
	Client   syncer.Client
}

// StartImport makes a space ready for rows, and tells how far an earlier import of the
// same export has come; sum tells exports apart. If the space is there already and no
// import of it is under way, it is returned and nothing is done. Error: ErrOtherImport.
func (s *Store) StartImport(ctx context.Context, space *models.Space, sum []byte) (there *models.Space, at Imported, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	err = s.writer.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		var row models.Space
		if err := tx.Where("id = ?", space.ID).Limit(1).Find(&row).Error; err != nil {
			return err
		}
		mark, err := setting(tx, importMark+space.ID)
		switch {
		case err != nil:
			return err
		case mark == nil && (row.ID != "" && (row.Head > 0 || space.Head == 0)):
			there = &row
			return nil
		case mark == nil:
			return beginImport(tx, space, sum)
		case row.Head > 0:
			return fmt.Errorf("space %s was written to while it was imported: export what is wanted of it, then tidemark space delete", space.ID)
		case !bytes.Equal(mark, sum):
			return ErrOtherImport
		}
		at, err = lastImported(tx, space.ID)
		return err
	})
	if errors.Is(err, ErrOtherImport) {
		return nil, at, err
	}
	return there, at, s.failure(ctx, "begin to import a space", err)
}

// beginImport makes the row and the mark. It also makes the database another one, as far
// as epochs go: rows are put into it that it did not write, over what may have been there.
func beginImport(tx *gorm.DB, space *models.Space, sum []byte) error {
	row := models.Space{ID: space.ID, PastEpochs: "[]", CreatedAt: space.CreatedAt}
	if err := tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&row).Error; err != nil {
		return err
	}
	// Edits that changed nothing leave receipts in a space that was never written.
	if err := tx.Exec(`DELETE FROM clients WHERE space_id = ?`, space.ID).Error; err != nil {
		return err
	}
	if err := tx.Create(&models.Setting{Name: importMark + space.ID, Value: sum}).Error; err != nil {
		return err
	}
	return tx.Clauses(clause.OnConflict{
		Columns:   []clause.Column{{Name: "name"}},
		DoUpdates: clause.AssignmentColumns([]string{"value"}),
	}).Create(&models.Setting{Name: "epoch", Value: []byte(rand.Text())}).Error
}

// lastImported: rows come in the order of their names. Primary keys, backwards.
func lastImported(tx *gorm.DB, space string) (at Imported, err error) {
	var documents []models.Document
	var clients []models.Client
	err = tx.Select("collection, id").Where("space_id = ?", space).Order("collection DESC, id DESC").Limit(1).Find(&documents).Error
	if err == nil {
		err = tx.Select("subject, client_id").Where("space_id = ?", space).Order("subject DESC, client_id DESC").Limit(1).Find(&clients).Error
	}
	if len(documents) > 0 {
		at.Document = syncer.Key{Collection: documents[0].Collection, ID: documents[0].ID}
	}
	if len(clients) > 0 {
		at.Client = syncer.Client{Subject: clients[0].Subject, ID: clients[0].ClientID}
	}
	return at, err
}

// ImportRows writes rows of a space that StartImport has made ready, in one transaction.
func (s *Store) ImportRows(ctx context.Context, documents []models.Document, clients []models.Client) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	err := s.writer.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if len(documents) > 0 {
			if err := tx.CreateInBatches(documents, rowsPerInsert).Error; err != nil {
				return err
			}
		}
		if len(clients) > 0 {
			return tx.CreateInBatches(clients, rowsPerInsert).Error
		}
		return nil
	})
	return s.failure(ctx, "import rows", err)
}

// FinishImport gives a space its row, once all its documents are there: from then on
// there is such a space.
func (s *Store) FinishImport(ctx context.Context, space *models.Space, documents int64) error {
	err := s.writer.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := s.dialect.unhurried(tx); err != nil {
			return err
		}
		var have int64
		if err := tx.Model(&models.Document{}).Where("space_id = ?", space.ID).Count(&have).Error; err != nil {
			return err
		}
		if have != documents {
			return fmt.Errorf("space %s has %d documents, its export %d", space.ID, have, documents)
		}
		done := tx.Model(&models.Space{}).Where("id = ? AND head = 0", space.ID).UpdateColumns(map[string]any{
			"head": space.Head, "floor": space.Floor, "epoch": space.Epoch, "past_epochs": space.PastEpochs,
			"digest": space.Digest, "live_count": space.LiveCount, "created_at": space.CreatedAt,
			"retention_ms": space.RetentionMS, "deleted_through": space.DeletedThrough,
		})
		if done.Error == nil && done.RowsAffected != 1 {
			return fmt.Errorf("space %s was written to while it was imported", space.ID)
		}
		return errors.Join(done.Error, forgetImport(tx, space.ID))
	})
	return s.failure(ctx, "finish the import of a space", err)
}

func forgetImport(tx *gorm.DB, space string) error {
	return tx.Where("name = ?", importMark+space).Delete(&models.Setting{}).Error
}

// Unfinished returns the spaces of which only a part was imported; none where there is
// no schema yet.
func (s *Store) Unfinished(ctx context.Context) (spaces []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	db := s.reader.WithContext(ctx)
	var rows []models.Setting
	err = db.Select("name").Where("name LIKE ?", importMark+"%").Order("name").Find(&rows).Error
	if noTable(err) {
		return nil, nil
	}
	for _, row := range rows {
		spaces = append(spaces, strings.TrimPrefix(row.Name, importMark))
	}
	return spaces, s.failure(ctx, "look for unfinished imports", err)
}

// noTable reports whether a statement failed because the schema is not there.
func noTable(err error) bool {
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok {
		return answer.Code == undefinedTable
	}
	return err != nil && strings.Contains(err.Error(), "no such table") // SQLite has no code of its own for it
}
