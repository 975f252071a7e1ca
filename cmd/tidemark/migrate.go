package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/tidemark/tidemark/syncer/store"
)

// migrateCommand works on the database while no server of an SQLite file runs;
// serve itself brings the schema up at each start.
type migrateCommand struct {
	Up      migrateUp      `cmd:"" help:"Apply all migrations that are missing."`
	Down    migrateDown    `cmd:"" help:"Take back the newest N migrations. This deletes what they added."`
	Version migrateVersion `cmd:"" help:"Print the schema's version."`
	Force   migrateForce   `cmd:"" help:"Say that the schema is at a version, after mending it by hand."`
}

type (
	migrateUp   struct{}
	migrateDown struct {
		N int `arg:"" help:"How many."`
	}
	migrateVersion struct{}
	migrateForce   struct {
		Version int `arg:"" help:"The version; 0 for none."`
	}
)

// Run applies what is missing and prints the version.
func (migrateUp) Run(s *Settings, known variables, out output) error {
	return withMigrator(s, known, func(ctx context.Context, m *store.Migrator) error {
		if err := m.Up(ctx); err != nil {
			return err
		}
		return printVersion(m, out)
	})
}

// Run takes back N migrations and prints the version.
func (c migrateDown) Run(s *Settings, known variables, out output) error {
	if c.N < 1 {
		return usagef("migrate down: N must be at least 1")
	}
	return withMigrator(s, known, func(ctx context.Context, m *store.Migrator) error {
		if err := m.Down(ctx, c.N); err != nil {
			return err
		}
		return printVersion(m, out)
	})
}

// Run prints the version.
func (migrateVersion) Run(s *Settings, known variables, out output) error {
	return withMigrator(s, known, func(_ context.Context, m *store.Migrator) error {
		return printVersion(m, out)
	})
}

// Run sets the version and prints it.
func (c migrateForce) Run(s *Settings, known variables, out output) error {
	return withMigrator(s, known, func(_ context.Context, m *store.Migrator) error {
		if err := m.Force(c.Version); err != nil {
			return err
		}
		return printVersion(m, out)
	})
}

func printVersion(m *store.Migrator, out output) error {
	version, dirty, err := m.Version()
	if err != nil {
		return err
	}
	note := ""
	if dirty {
		note = fmt.Sprintf(" (failed half-way: undo by hand what it did, then: tidemark migrate force %d)", version-1)
	}
	fmt.Fprintf(out.stdout, "schema version %d%s\n", version, note)
	return nil
}

func withMigrator(s *Settings, known variables, do func(context.Context, *store.Migrator) error) error {
	if err := errors.Join(known.check(), s.checkDatabase()); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	unlock, err := store.Lock(s.DatabaseURL)
	if err != nil {
		return err
	}
	m, err := store.OpenMigrator(s.migrateURL())
	if err != nil {
		return errors.Join(err, unlock())
	}
	return errors.Join(do(ctx, m), m.Close(), unlock())
}
