package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/golang-migrate/migrate/v4/source/iofs"

	"github.com/tidemark/tidemark/migrations"
	"github.com/tidemark/tidemark/models"
)

// CheckSchema returns an error unless the database that url names has the schema that
// this program needs, or a newer one.
func CheckSchema(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	db, err := OpenSQL(url)
	if err != nil {
		return err
	}
	var is schema
	err = db.QueryRowContext(ctx, schemaVersion).Scan(&is.version, &is.dirty)
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	return is.check()
}

// schema is what golang-migrate notes of a database.
type schema struct {
	version uint
	dirty   bool
}

const schemaVersion = "SELECT version, dirty FROM schema_migrations" // one row

// check returns an error if the schema is behind. One that is newer is of a release
// that this one can still work beside: each only adds what the one before can do
// without.
func (s schema) check() error {
	want, err := newestMigration()
	if err == nil && (s.version < want || s.dirty) {
		err = fmt.Errorf("the schema has version %d, this program needs %d: run tidemark migrate up, or start the server", s.version, want)
	}
	return err
}

// checkSchema returns CodeUnavailable while the schema is behind: also who has found it
// right at the start may see it taken back.
func (s *Store) checkSchema(ctx context.Context) error {
	var is schema
	err := s.reader.WithContext(ctx).Raw(schemaVersion).Row().Scan(&is.version, &is.dirty)
	switch {
	case err != nil && s.dialect.temporary(err):
		return err
	case err == nil:
		err = is.check()
	}
	if err != nil {
		return &models.Error{
			Code: models.CodeUnavailable, RetryAfter: time.Second,
			Detail: "The database's schema is behind this program.", Err: err,
		}
	}
	return nil
}

// newestMigration returns the number of the newest migration there is.
var newestMigration = sync.OnceValues(func() (newest uint, err error) {
	source, err := iofs.New(migrations.Files, "postgres") // each is there for both
	if err != nil {
		return 0, err
	}
	newest, err = source.First()
	for next := newest; err == nil; next, err = source.Next(next) {
		newest = next
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	return newest, source.Close()
})
