package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	"github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/database/sqlite"
	"github.com/golang-migrate/migrate/v4/source/iofs"

	"github.com/tidemark/tidemark/migrations"
)

// Migrator brings one database to a version of the schema.
type Migrator struct {
	db       *sql.DB
	postgres bool
	migrate  *migrate.Migrate
}

// OpenMigrator connects to the database that databaseURL names, in the form that
// Open takes. On SQLite the caller holds Lock.
func OpenMigrator(databaseURL string) (*Migrator, error) {
	// golang-migrate closes the pool it is given, so it gets its own.
	db, err := openSQL(databaseURL, migrationSettings)
	if err != nil {
		return nil, err
	}
	m := &Migrator{db: db, postgres: IsPostgres(databaseURL)}
	if err := m.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the database for migrations: %w", err), db.Close())
	}
	if path, ok := SQLitePath(databaseURL); ok {
		if err := ownAsFolder(path); err != nil {
			return nil, errors.Join(err, m.Close())
		}
	}
	return m, nil
}

// migrationSettings are set on the connections that migrate. A statement may take as
// long as it needs; a node that is gone or frozen must not hold the locks of tables.
var migrationSettings = map[string]string{
	"application_name":                    "tidemark-migrate",
	"idle_in_transaction_session_timeout": "30s",
	"tcp_user_timeout":                    "30s",
}

func (m *Migrator) open() error {
	var target database.Driver
	var err error
	folder := "sqlite"
	if m.postgres {
		folder = "postgres"
		target, err = pgx.WithInstance(m.db, &pgx.Config{})
	} else {
		target, err = sqlite.WithInstance(m.db, &sqlite.Config{})
	}
	if err != nil {
		return err
	}
	source, err := iofs.New(migrations.Files, folder)
	if err != nil {
		return err
	}
	m.migrate, err = migrate.NewWithInstance("embedded", source, folder, &whole{Driver: target, db: m.db})
	return err
}

// Up applies all migrations that are missing. Nodes that start together wait for
// the one that does it. A schema that is newer than this program is left as it is:
// the program of before must run on it, while nodes are replaced and when the new one
// is taken back.
func (m *Migrator) Up(ctx context.Context) error {
	return m.locked(ctx, func() error {
		is, dirty, err := m.Version()
		if err != nil {
			return err
		}
		newest, err := newestMigration()
		if err == nil && (dirty || is <= newest) {
			err = m.migrate.Up()
		}
		return err
	})
}

// Down takes back the newest n migrations. It deletes what they added.
func (m *Migrator) Down(ctx context.Context, n int) error {
	return m.locked(ctx, func() error { return m.migrate.Steps(-n) })
}

// Version returns the number of the newest migration applied, 0 for none. dirty: it
// failed half-way, which only one can that has no transaction (see whole).
func (m *Migrator) Version() (version uint, dirty bool, err error) {
	version, dirty, err = m.migrate.Version()
	if errors.Is(err, migrate.ErrNilVersion) {
		return 0, false, nil
	}
	return version, dirty, err
}

// Force says that the schema is at version, after it was mended by hand. 0: at none.
func (m *Migrator) Force(version int) error {
	if version == 0 {
		version = database.NilVersion // to golang-migrate 0 is a version like any other
	}
	return m.migrate.Force(version)
}

// Close ends the connection.
func (m *Migrator) Close() error {
	source, target := m.migrate.Close()
	return errors.Join(source, target)
}

// advisoryLock names the lock that keeps nodes from migrating at the same time.
const advisoryLock = 7218905430188741

// locked runs step while no other node migrates. golang-migrate has a lock of
// its own, but it waits inside a statement, which a statement timeout ends, and which
// holds up a vacuum. This one asks again and again, outside of any statement.
func (m *Migrator) locked(ctx context.Context, step func() error) error {
	if m.postgres {
		conn, err := m.db.Conn(ctx)
		if err != nil {
			return fmt.Errorf("lock migrations: %w", err)
		}
		defer func() { _ = conn.Close() }() // back to the pool
		if err := tryLock(ctx, conn); err != nil {
			return fmt.Errorf("lock migrations: %w", err)
		}
		defer func() {
			// If this fails the session is gone, and the lock with it.
			_, _ = conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", advisoryLock)
		}()
	}
	return explain(step())
}

func tryLock(ctx context.Context, conn *sql.Conn) error {
	retry := time.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	for {
		var locked bool
		err := conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", advisoryLock).Scan(&locked)
		if err != nil || locked {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-retry.C:
		}
	}
}

// explain says what to do about a migration that failed half-way.
func explain(err error) error {
	var dirty migrate.ErrDirty
	switch {
	case err == nil, errors.Is(err, migrate.ErrNoChange):
		return nil
	case errors.As(err, &dirty):
		return fmt.Errorf("migration %d failed half-way: undo by hand what it did, then run "+
			"`tidemark migrate force %d` and `tidemark migrate up`", dirty.Version, dirty.Version-1)
	}
	return fmt.Errorf("migrate: %w", err)
}
