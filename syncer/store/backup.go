package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// ErrNotSQLite is the error of BackUp and Restore for a PostgreSQL, which has its own.
var ErrNotSQLite = errors.New("only a SQLite database is one file")

// part is the ending of a file that is not complete.
const part = ".part"

// BackUp writes a copy of the SQLite database that databaseURL names, as it is at one
// moment, beside a server or without one. file has all of it or is as it was before.
func BackUp(ctx context.Context, databaseURL, file string) (err error) {
	if _, ok := SQLitePath(databaseURL); !ok {
		return ErrNotSQLite
	}
	db, err := OpenSQL(databaseURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	// A name of its own: another backup may be under way. For its owner only, from the start.
	empty, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*"+part)
	if err != nil {
		return err
	}
	unfinished := empty.Name()
	defer func() { _ = os.Remove(unfinished) }() // is gone unless something failed
	if err := empty.Close(); err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", unfinished); err != nil {
		return fmt.Errorf("copy the database: %w", err)
	}
	return put(unfinished, file)
}

// put gives a complete file its name, on disk when it returns.
func put(from, to string) error {
	if err := syncToDisk(from); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncToDisk(filepath.Dir(to))
}

func syncToDisk(path string) error {
	f, err := os.Open(path) //nolint:gosec // as the operator has named it
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Restore puts a file that BackUp wrote in the place of the SQLite database that
// databaseURL names, while nobody works on that. It is copied, brought to the schema of
// this program and proven first: by SQLite, then by verify, which gets the copy's URL.
// The database that was there is kept beside it, under the name that comes back; "" if
// there was none. The first server that starts on it begins a new epoch, as each does.
func Restore(ctx context.Context, databaseURL, file string, verify func(ctx context.Context, databaseURL string) error) (kept string, err error) {
	path, ok := SQLitePath(databaseURL)
	if !ok {
		return "", ErrNotSQLite
	}
	unlock, err := Lock(databaseURL)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	unfinished := path + part
	defer func() {
		for _, ending := range []string{"", "-wal", "-shm"} {
			_ = os.Remove(unfinished + ending) // is gone unless something failed
		}
	}()
	if err := copyBackup(unfinished, file); err != nil {
		return "", err
	}
	if err := prove(ctx, "sqlite:"+unfinished, file, verify); err != nil {
		return "", err
	}
	if kept, err = keep(ctx, path); err != nil {
		return "", err
	}
	if err := ownAsFolder(unfinished); err != nil {
		return "", err
	}
	return kept, put(unfinished, path)
}

func copyBackup(to, file string) (err error) {
	if info, err := os.Stat(file + "-wal"); err == nil && info.Size() > 0 {
		return fmt.Errorf("%s is half of a database: the other half is in %s-wal. Take backups with tidemark backup", file, file)
	}
	from, err := os.Open(file) //nolint:gosec // as the operator has named it
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()                                     // it was only read
	into, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // beside the database
	if err != nil {
		return err
	}
	_, err = io.Copy(into, from)
	return errors.Join(err, into.Close())
}

// prove holds a copy of a backup against what a database must be, and leaves it without
// a log beside it.
func prove(ctx context.Context, databaseURL, file string, verify func(context.Context, string) error) error {
	db, err := OpenSQL(databaseURL)
	if err != nil {
		return err
	}
	var verdict string
	err = db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict)
	if err == nil && verdict != "ok" {
		err = errors.New(verdict)
	}
	var version uint
	if err == nil {
		err = db.QueryRowContext(ctx, "SELECT version FROM schema_migrations WHERE NOT dirty").Scan(&version)
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("%s is no sound database of Tidemark: %w", file, err)
	}
	if newest, err := newestMigration(); err != nil || version > newest {
		return errors.Join(err, fmt.Errorf("%s is of a newer Tidemark: its schema has version %d, this program knows %d", file, version, newest))
	}
	m, err := OpenMigrator(databaseURL)
	if err != nil {
		return err
	}
	if err := errors.Join(m.Up(ctx), m.Close()); err != nil {
		return err
	}
	return verify(ctx, databaseURL)
}

// keep gives the database at path a second name, whole and in one file. What can't be
// opened any more keeps its log under that name, too: left where it is, the log would be
// taken for one of what comes into its place.
func keep(ctx context.Context, path string) (kept string, err error) {
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return "", nil
		}
		return "", err
	}
	kept = path + ".before-restore-" + time.Now().UTC().Format("20060102T150405.000")
	if db, err := OpenSQL("sqlite:" + path); err == nil {
		_, _ = db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)") // what it leaves is seen below
		_ = db.Close()
	}
	if err := os.Link(path, kept); err != nil {
		return "", fmt.Errorf("keep the database that is there: %w", err)
	}
	for _, ending := range []string{"-wal", "-shm"} {
		if err := os.Rename(path+ending, kept+ending); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	return kept, nil
}
