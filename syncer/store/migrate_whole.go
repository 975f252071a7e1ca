package store

import (
	"context"
	"database/sql"
	"fmt"
	"io"

	"github.com/golang-migrate/migrate/v4/database"

	"github.com/tidemark/tidemark/syncer/fault"
)

// whole carries out each migration in one transaction with the version that it leads
// to: a process that ends within one leaves nothing of it, and the next start goes on.
// golang-migrate would mark the version as dirty, run the file and take the mark away,
// in three transactions, and who is killed between them has to be helped by hand.
type whole struct {
	database.Driver
	db *sql.DB

	next     int  // the version that the migration under way leads to
	recorded bool // its transaction has done that
}

// SetVersion implements database.Driver. It is called before and after Run.
func (w *whole) SetVersion(version int, dirty bool) error {
	if dirty {
		fault.Point(fault.MigrationBegun)
		w.next, w.recorded = version, false
		return nil
	}
	if w.recorded {
		w.recorded = false
		return nil
	}
	return w.Driver.SetVersion(version, false)
}

// Run implements database.Driver.
func (w *whole) Run(file io.Reader) error {
	text, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	if err := w.run(context.Background(), string(text)); err != nil {
		return fmt.Errorf("to version %d, nothing of which was done: %w", max(w.next, 0), err)
	}
	w.recorded = true
	fault.Point(fault.MigrationCommitted)
	return nil
}

func (w *whole) run(ctx context.Context, text string) error {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // without effect after the commit
	_, err = tx.ExecContext(ctx, text)
	fault.Point(fault.MigrationApplied)
	if err == nil {
		_, err = tx.ExecContext(ctx, "DELETE FROM schema_migrations")
	}
	if err == nil && w.next != database.NilVersion {
		_, err = tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO schema_migrations (version, dirty) VALUES (%d, false)", w.next))
	}
	if err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
