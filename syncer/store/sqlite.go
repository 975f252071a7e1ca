package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

type sqliteDialect struct {
	*sqliteWriter
	*sqliteReader
}

// minSQLite is the oldest SQLite that is safe here: before it a WAL database
// could be corrupted when a checkpoint and a commit met (the WAL-reset bug).
const minSQLite = "3.51.3"

// pragmas are what the guarantees rest on. The driver ignores what it doesn't
// know, so they are read back.
var pragmas = []struct{ name, set, want string }{
	{"journal_mode", "WAL", "wal"},
	{"synchronous", "FULL", "2"}, // a commit is on disk before it is acknowledged
	{"busy_timeout", "5000", "5000"},
	{"foreign_keys", "1", "1"},
}

// sqliteDSN returns the driver's name for a database file. txlock says what
// BEGIN means: immediate takes the write lock at once, so that a transaction
// that reads before it writes can't fail half-way.
func sqliteDSN(path, txlock string) string {
	query := url.Values{"_txlock": {txlock}}
	for _, p := range pragmas {
		query.Add("_pragma", p.name+"("+p.set+")")
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query.Encode()}).String()
}

func openSQLite(ctx context.Context, path string, opts Options) (*Store, error) {
	if err := makeFolder(path); err != nil {
		return nil, err
	}
	writer, reader := &sqliteWriter{now: opts.Now, identity: 1 + rand.Int64N(1<<62)}, &sqliteReader{}
	s := &Store{
		dialect: sqliteDialect{writer, reader},
		rows:    newRows(),
	}
	s.terms.now.Store(&sqliteTerms)
	var err error
	// SQLite has one writer at a time anyway: one connection queues pushes in
	// order instead of letting them spin on a busy lock.
	if writer.db, s.writer, err = s.openPool(ctx, sqliteDSN(path, "immediate"), 1); err == nil {
		err = writer.prepare(ctx)
	}
	if err == nil {
		reader.db, s.reader, err = s.openPool(ctx, sqliteDSN(path, "deferred")+"&_pragma=query_only(1)", readers)
	}
	if err == nil {
		err = reader.prepare(ctx)
	}
	if err == nil {
		err = ownAsFolder(path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open SQLite database %s: %w", path, err), s.Close())
	}
	s.pools = []watched{sqlPool{"writer", writer.db}, sqlPool{"reader", reader.db}}
	return s, nil
}

// readers is how many pages can be read at a time.
const readers = 8

func (s *Store) openPool(ctx context.Context, dsn string, size int) (*sql.DB, *gorm.DB, error) {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, nil, err
	}
	s.closers = append(s.closers, db.Close)
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	if err := checkSQLite(ctx, db); err != nil {
		return nil, nil, err
	}
	g, err := gorm.Open(sqlite.New(sqlite.Config{DriverName: "sqlite", Conn: db}), gormConfig())
	return db, g, err
}

// checkSQLite reads back what sqliteDSN asked for.
func checkSQLite(ctx context.Context, db *sql.DB) error {
	var version string
	if err := db.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
		return err
	}
	if olderVersion(version, minSQLite) {
		return fmt.Errorf("SQLite %s is too old, need %s", version, minSQLite)
	}
	for _, p := range pragmas {
		var got string
		if err := db.QueryRowContext(ctx, "PRAGMA "+p.name).Scan(&got); err != nil {
			return err
		}
		if got != p.want {
			return fmt.Errorf("PRAGMA %s is %s, want %s", p.name, got, p.want)
		}
	}
	return nil
}

// olderVersion compares dotted versions of three numbers.
func olderVersion(version, than string) bool {
	a, b := strings.Split(version, "."), strings.Split(than, ".")
	for i := range min(len(a), len(b)) {
		x, _ := strconv.Atoi(a[i])
		y, _ := strconv.Atoi(b[i])
		if x != y {
			return x < y
		}
	}
	return len(a) < len(b)
}

func makeFolder(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("folder of the SQLite database: %w", err)
	}
	return nil
}

// Lock keeps other processes from working on the SQLite database that url names,
// until release is called or the process ends. Two servers on one file would not
// hear each other's pokes. It does nothing for PostgreSQL.
func Lock(databaseURL string) (release func() error, err error) {
	path, ok := SQLitePath(databaseURL)
	if !ok {
		return func() error { return nil }, nil
	}
	if err := makeFolder(path); err != nil {
		return nil, err
	}
	lock := flock.New(path + ".lock")
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock the SQLite database %s: %w", path, err)
	case !ok:
		return nil, fmt.Errorf("another tidemark is working on %s", path)
	}
	if err := ownAsFolder(lock.Path()); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return lock.Unlock, nil
}

// snapshot: a transaction that reads does so anyhow.
func (sqliteDialect) snapshot() *sql.TxOptions { return nil }

// unhurried: SQLite has no timeouts but the caller's.
func (sqliteDialect) unhurried(*gorm.DB) error { return nil }

// byIndex: SQLite takes the index that fits.
func (sqliteDialect) byIndex(*gorm.DB) error { return nil }

func (sqliteDialect) sizeOnDisk() string {
	return `SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()`
}

func (d sqliteDialect) clock(context.Context) (time.Time, error) { return d.now(), nil }

func (sqliteDialect) feedOf() string { return "space_id" }

// aloneInPurging: BEGIN IMMEDIATE has made sure of it.
func (sqliteDialect) aloneInPurging(*gorm.DB) (bool, error) { return true, nil }

var temporaryCodes = map[int]bool{
	sqlite3.SQLITE_BUSY:      true,
	sqlite3.SQLITE_LOCKED:    true,
	sqlite3.SQLITE_FULL:      true, // disk full: heals when there is room
	sqlite3.SQLITE_IOERR:     true,
	sqlite3.SQLITE_CANTOPEN:  true,
	sqlite3.SQLITE_READONLY:  true,
	sqlite3.SQLITE_INTERRUPT: true,
	sqlite3.SQLITE_NOMEM:     true,
}

func (sqliteDialect) temporary(err error) bool {
	var e *driver.Error
	return errors.As(err, &e) && temporaryCodes[e.Code()&0xff]
}

func (d sqliteDialect) answered(err error) bool {
	return errors.As(err, new(*driver.Error)) && !d.temporary(err)
}

// outcomeUnknown: SQLite rolls back by itself when it can't write a commit, and says
// busy when it hasn't begun. After an I/O error in a commit it can't know.
func (sqliteDialect) outcomeUnknown(err error) bool {
	var e *driver.Error
	if !errors.As(err, new(*commitError)) {
		return false
	}
	if !errors.As(err, &e) {
		return true
	}
	code := e.Code() & 0xff
	return code != sqlite3.SQLITE_BUSY && code != sqlite3.SQLITE_FULL
}
