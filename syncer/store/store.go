// Package store keeps spaces, documents and clients in PostgreSQL or SQLite.
//
// The statements on which pushes and pulls wait are written for each database, in
// files called postgres_… and sqlite_…, and go past gorm: to pgx, which sends
// several in one round trip, and to prepared statements. Everything else is gorm's,
// with one code for both.
package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/prometheus/client_golang/prometheus"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// Options set a Store. The zero value works.
type Options struct {
	// UnsafeDurability allows a PostgreSQL that acknowledges commits before they
	// are on disk (fsync=off, synchronous_commit=off). THIS LOSES ACKNOWLEDGED
	// EDITS when the machine or the database crashes.
	UnsafeDurability bool

	// ConnectionWait bounds how long a push or a pull waits for a connection to
	// PostgreSQL before it is told to try again. Default: 900 ms.
	ConnectionWait time.Duration

	// Now is the clock of SQLite, which has none of its own; PostgreSQL's is
	// asked. Default: time.Now.
	Now func() time.Time

	// Tracer is told of the statements that PostgreSQL is sent. Default: nobody is.
	Tracer Tracer

	// Logger hears at the start if UnsafeDurability is needed. Default: slog.Default().
	Logger *slog.Logger
}

// A Tracer is told of statements, as pgx does it.
type Tracer = pgx.QueryTracer

// Store implements syncer.Store.
type Store struct {
	dialect dialect
	writer  *gorm.DB
	reader  *gorm.DB // the same as writer on PostgreSQL
	closers []func() error
	pools   []watched
	terms   termsInForce
	rows    *prometheus.GaugeVec
	closed  atomic.Bool
}

var _ syncer.Store = (*Store)(nil)

// dialect is what the databases do differently: the statements on which pushes and
// pulls wait, and what their errors mean.
type dialect interface {
	// begin begins a write transaction.
	begin(ctx context.Context) (transaction, error)
	// changes reads a part of a feed and its space's row from one snapshot.
	changes(ctx context.Context, space string, r syncer.Range) (syncer.Run, error)
	// heads reads the rows of the spaces called names into a list of zero values.
	heads(ctx context.Context, names []string, into []models.Space) error
	// ping reports whether the database can answer, and take what is pushed as far as
	// that can be told without writing. A full disk can't: reads go on.
	ping(ctx context.Context) error
	// inbox reads rows of the inbox.
	inbox(ctx context.Context, want syncer.InboxRange) ([]models.Inbox, error)
	// rejectInbox moves rows of the inbox that are there to the rejected ones, and
	// returns how many.
	rejectInbox(ctx context.Context, ids []int64, problem *models.EditError) (moved int, err error)
	// snapshot returns what makes all statements of a transaction see the same.
	snapshot() *sql.TxOptions
	// unhurried lets the statements of a transaction, which may stand still between two
	// rows, take as long as they like.
	unhurried(tx *gorm.DB) error
	// byIndex keeps the statements of a transaction from reading tables whole.
	byIndex(tx *gorm.DB) error
	// sizeOnDisk is the statement that tells how many bytes the database takes.
	sizeOnDisk() string
	// clock returns the time by which versions are made.
	clock(ctx context.Context) (time.Time, error)
	// amounts returns about how many tombstones and clients there are.
	amounts(ctx context.Context) (tombstones, clients int64, err error)
	// terms returns what the database promises of commits now.
	terms(ctx context.Context) (terms, error)
	// feedOf returns the expression for a document's space that index documents_feed has.
	feedOf() string
	// aloneInPurging reports whether no other transaction that has asked this is under
	// way; none will be until tx ends.
	aloneInPurging(tx *gorm.DB) (bool, error)

	// temporary reports whether err says that the database can't answer now, as
	// opposed to a wrong statement.
	temporary(err error) bool
	// answered reports whether err is the database's answer to a statement, so that
	// another statement may do better.
	answered(err error) bool
	// outcomeUnknown reports whether err, of a transaction's writes, leaves open
	// whether they were committed.
	outcomeUnknown(err error) bool
}

const defaultConnectionWait = 900 * time.Millisecond

// Open opens the database that url names: "sqlite:" and a path, or a
// "postgres://" URL (libpq's form). It does not migrate.
func Open(ctx context.Context, url string, opts Options) (*Store, error) {
	if opts.ConnectionWait <= 0 {
		opts.ConnectionWait = defaultConnectionWait
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if path, ok := SQLitePath(url); ok {
		return openSQLite(ctx, path, opts)
	}
	if !IsPostgres(url) {
		return nil, errURL
	}
	return openPostgres(ctx, url, opts)
}

var errURL = errors.New(`the database URL must begin with "sqlite:" or "postgres://"`)

// SQLitePath returns the path that a "sqlite:" URL names.
func SQLitePath(url string) (path string, ok bool) {
	path, ok = strings.CutPrefix(url, "sqlite:")
	return path, ok && path != ""
}

// IsPostgres reports whether url names a PostgreSQL database.
func IsPostgres(url string) bool {
	return strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://")
}

// OpenSQL opens the database that url names as a plain connection pool, for
// migrations. The caller closes it.
func OpenSQL(url string) (*sql.DB, error) { return openSQL(url, nil) }

// openSQL is OpenSQL with settings of PostgreSQL that are in force unless the URL sets
// them itself.
func openSQL(url string, settings map[string]string) (*sql.DB, error) {
	if path, ok := SQLitePath(url); ok {
		if err := makeFolder(path); err != nil {
			return nil, err
		}
		return sql.Open("sqlite", sqliteDSN(path, "immediate"))
	}
	if !IsPostgres(url) {
		return nil, errURL
	}
	// pgxpool's own settings (pool_max_conns) are in the URL too, and only pgxpool
	// takes them out; PostgreSQL refuses what it does not know.
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err)
	}
	addSettings(config.ConnConfig, settings)
	boundConnect(config.ConnConfig)
	return stdlib.OpenDB(*config.ConnConfig), nil
}

// Close closes the connections. It waits for statements that run.
func (s *Store) Close() error {
	s.closed.Store(true)
	var errs []error
	for _, closer := range s.closers {
		errs = append(errs, closer())
	}
	return errors.Join(errs...)
}

// Ping implements syncer.Store.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err := s.dialect.ping(ctx)
	if err == nil {
		err = s.checkSchema(ctx)
	}
	return s.failure(ctx, "ping", err)
}

// failure gives err the code that callers act on. Whose context was canceled
// gets that error back: nobody is left to be told anything.
func (s *Store) failure(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	// database/sql ends a transaction whose time is up, and says that it is closed.
	err = cmp.Or(ctx.Err(), err)
	var known *models.Error
	switch {
	case errors.As(err, &known), errors.Is(err, context.Canceled):
		return err
	// Nothing else tells a closed pool from a bug: database/sql keeps that error to itself.
	case errors.Is(err, context.DeadlineExceeded), s.closed.Load(), s.dialect.temporary(err):
		return &models.Error{
			Code:       models.CodeUnavailable,
			Detail:     "The database can't answer at the moment. Nothing was changed; try again.",
			RetryAfter: time.Second,
			Err:        fmt.Errorf("%s: %w", doing, err),
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// outcomeUnknown is what a caller hears of a commit whose answer was lost.
func outcomeUnknown(err error) error {
	return &models.Error{
		Code:       models.CodeOutcomeUnknown,
		Detail:     "The database didn't say whether the edits were committed. Send the same request again to find out.",
		RetryAfter: time.Second,
		Err:        fmt.Errorf("commit: %w", err),
	}
}

// gormConfig returns gorm's settings: no transaction around single statements, errors
// returned as the driver gives them rather than logged twice.
func gormConfig() *gorm.Config {
	return &gorm.Config{
		SkipDefaultTransaction: true,
		Logger:                 logger.Discard,
	}
}
