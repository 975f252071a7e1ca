package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/tidemark/tidemark/syncer/store"
)

// openDatabase takes the lock, sees to the schema and opens the store. What it returns
// undoes that in the other order.
func openDatabase(ctx context.Context, s *Settings, traces *tracing, log *slog.Logger) (db *store.Store, closeAll func(), err error) {
	unlock, err := store.Lock(s.DatabaseURL)
	if err != nil {
		return nil, nil, err
	}
	if err = s.seeToSchema(ctx); err == nil {
		db, err = store.Open(ctx, s.DatabaseURL, store.Options{UnsafeDurability: s.UnsafeDurability, Tracer: traces.statements(), Logger: log})
	}
	if err == nil {
		if err = wholeDatabase(ctx, db); err != nil {
			err = errors.Join(err, db.Close())
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, unlock())
	}
	return db, func() {
		if err := errors.Join(db.Close(), unlock()); err != nil {
			log.ErrorContext(ctx, "database not closed", "error", err)
		}
	}, nil
}

// wholeDatabase refuses a database with a space that was imported in part.
func wholeDatabase(ctx context.Context, db *store.Store) error {
	spaces, err := db.Unfinished(ctx)
	if err == nil && len(spaces) > 0 {
		err = fmt.Errorf("the import of %s was not finished: run tidemark import again with the same file, or tidemark space delete", strings.Join(spaces, ", "))
	}
	return err
}

// The values of --migrate.
const (
	migrateAuto  = "auto"
	migrateCheck = "check"
	migrateOff   = "off"
)

// seeToSchema does what --migrate says. In mode off /readyz tells.
func (s *Settings) seeToSchema(ctx context.Context) error {
	switch s.MigrateMode {
	case migrateAuto:
		return migrate(ctx, s.migrateURL())
	case migrateCheck:
		if err := store.CheckSchema(ctx, s.DatabaseURL); err != nil {
			return fmt.Errorf("--migrate=check: %w", err)
		}
	}
	return nil
}

func migrate(ctx context.Context, databaseURL string) error {
	m, err := store.OpenMigrator(databaseURL)
	if err != nil {
		return err
	}
	return errors.Join(m.Up(ctx), m.Close())
}
