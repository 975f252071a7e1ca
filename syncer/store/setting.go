package store

import (
	"context"
	"fmt"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tidemark/tidemark/models"
)

// Setting implements syncer.Store.
func (s *Store) Setting(ctx context.Context, name string, fresh []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	value, err := setting(s.reader.WithContext(ctx), name)
	if err != nil || value != nil {
		return value, s.failure(ctx, "read a setting", err)
	}
	writer := s.writer.WithContext(ctx)
	// The first to come wins. Who comes second waits until the first has
	// committed, so that the next statement finds the row.
	err = writer.Clauses(clause.OnConflict{DoNothing: true}).Create(&models.Setting{Name: name, Value: fresh}).Error
	if err == nil {
		value, err = setting(writer, name)
	}
	if err == nil && value == nil {
		err = fmt.Errorf("setting %s is not there after it was made", name)
	}
	return value, s.failure(ctx, "make a setting", err)
}

// setting returns the value of a setting, nil if there is none.
func setting(db *gorm.DB, name string) ([]byte, error) {
	var row models.Setting
	err := db.Where("name = ?", name).Limit(1).Find(&row).Error
	return row.Value, err
}
