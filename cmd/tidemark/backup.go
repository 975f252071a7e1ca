package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/store"
)

// backupCommand may run beside the server.
type backupCommand struct {
	File string `arg:"" help:"Where to. It is replaced once the backup is complete, and never half written."`
}

// Run copies a SQLite database.
func (c backupCommand) Run(s *Settings, known variables, out output) error {
	return withStore(s, known, func(ctx context.Context, _ *store.Store) error {
		err := store.BackUp(ctx, s.DatabaseURL, c.File)
		if errors.Is(err, store.ErrNotSQLite) {
			return usagef("a PostgreSQL is backed up with its own tools: pg_dump --format=custom --file=%s URL; deploy/README.md says how", c.File)
		}
		if err == nil {
			fmt.Fprintf(out.stdout, "backed up to %s\n", c.File)
		}
		return err
	})
}

// restoreCommand works while no server does.
type restoreCommand struct {
	File string `arg:"" help:"A backup that tidemark backup has made."`
}

// Run puts a backup in the place of a SQLite database.
func (c restoreCommand) Run(s *Settings, known variables, out output) error {
	if err := errors.Join(known.check(), s.checkDatabase()); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	spaces := 0
	kept, err := store.Restore(ctx, s.DatabaseURL, c.File, func(_ context.Context, copied string) error {
		at := *s
		at.DatabaseURL = copied
		return withStore(&at, known, func(ctx context.Context, db *store.Store) error { //nolint:contextcheck // it hears the same signals
			engine := offline(s, db)
			return each(ctx, db, engine, nil, func(space *models.Space) error {
				spaces++
				faults, err := engine.Verify(ctx, space.ID)
				if err == nil && len(faults) > 0 {
					err = fmt.Errorf("space %s of the backup is not as it should be: %s", space.ID, faults[0])
				}
				return err
			})
		})
	})
	if errors.Is(err, store.ErrNotSQLite) {
		return usagef("a PostgreSQL is restored with its own tools: pg_restore, then tidemark epoch rotate; deploy/README.md says how")
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out.stdout, "restored, %d spaces verified; clients that have seen what is lost will start again\n", spaces)
	if kept != "" {
		fmt.Fprintf(out.stdout, "the database that was there is %s\n", kept)
	}
	return nil
}
