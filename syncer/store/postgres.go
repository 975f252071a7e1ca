package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/tidemark/tidemark/syncer/guard"
)

type postgresDialect struct {
	pool *pgxpool.Pool
	wait time.Duration // for a connection
}

// acquire takes a connection out of the pool. Who would wait long for one is better
// told so at once.
func (d *postgresDialect) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.wait)
	defer cancel()
	return d.pool.Acquire(ctx)
}

// sessionSettings are set on every connection unless the URL sets them itself.
// A connection that dies with a space's lock must not hold it for long.
var sessionSettings = map[string]string{
	"application_name":                    "tidemark",
	"statement_timeout":                   "5s",
	"lock_timeout":                        "2s",
	"idle_in_transaction_session_timeout": "3s",
	// So does one on which an answer can't be delivered: nothing else ends a send.
	"tcp_user_timeout":        "5s",
	"tcp_keepalives_idle":     "15",
	"tcp_keepalives_interval": "5",
	"tcp_keepalives_count":    "3",
	// Plans made for one set of parameters are bad ones on tables that grow.
	"plan_cache_mode": "force_generic_plan",
}

// connections is the size of the pool unless the URL says pool_max_conns. More
// than there are cores, because a push that waits for a busy space's lock holds
// one; few, because the database has to serve several nodes.
const connections = 16

// connectTimeout bounds an attempt to connect; a shorter one in the URL counts. The
// pool goes on with one that nobody waits for any more, by itself for two minutes: so
// long would a node be without a database that is back.
const connectTimeout = 3 * time.Second

func openPostgres(ctx context.Context, url string, opts Options) (*Store, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err)
	}
	tune(config, url)
	config.ConnConfig.Tracer = opts.Tracer
	if config.ConnConfig.ValidateConnect == nil {
		// A push must never meet a standby that was promoted without us knowing.
		config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	config.ConnConfig.OnNotice = notice
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	db := stdlib.OpenDBFromPool(pool)
	closeAll := func() error {
		err := db.Close()
		pool.Close()
		return err
	}
	in, err := postgresTerms(ctx, pool)
	if err != nil {
		err = fmt.Errorf("connect to PostgreSQL: %w", err)
	} else {
		err = checkDurability(ctx, in, opts)
	}
	if err != nil {
		return nil, errors.Join(err, closeAll())
	}
	g, err := gorm.Open(postgres.New(postgres.Config{Conn: db}), gormConfig())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to PostgreSQL: %w", err), closeAll())
	}
	s := &Store{
		dialect: &postgresDialect{pool, opts.ConnectionWait},
		writer:  g,
		reader:  g,
		closers: []func() error{closeAll},
		pools:   []watched{postgresPool{pool}},
		rows:    newRows(),
	}
	s.terms.now.Store(&in)
	return s, nil
}

// tune sets what the URL doesn't.
func tune(config *pgxpool.Config, url string) {
	addSettings(config.ConnConfig, sessionSettings)
	if !strings.Contains(url, "pool_max_conns=") {
		config.MaxConns = connections
	}
	boundConnect(config.ConnConfig)
	// The pool connects in goroutines of its own.
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		return guard.Call(func() error { return useLists(ctx, conn) })
	}
}

// boundConnect bounds an attempt to connect, unless the URL does so more tightly.
func boundConnect(config *pgx.ConnConfig) {
	if t := config.ConnectTimeout; t <= 0 || t > connectTimeout {
		config.ConnectTimeout = connectTimeout
	}
}

// addSettings sets what the URL doesn't.
func addSettings(config *pgx.ConnConfig, settings map[string]string) {
	for name, value := range settings {
		if _, set := config.RuntimeParams[name]; !set {
			config.RuntimeParams[name] = value
		}
	}
}

func (*postgresDialect) snapshot() *sql.TxOptions {
	return &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
}

// unhurriedly also keeps large tables from being sorted: that would take their size on
// the database's disk before the first row, where an index has them in order.
const unhurriedly = `
SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL tcp_user_timeout = 0;
SET LOCAL enable_sort = off`

func (*postgresDialect) unhurried(tx *gorm.DB) error {
	for _, setting := range strings.Split(unhurriedly, ";") {
		if err := tx.Exec(setting).Error; err != nil {
			return err
		}
	}
	return nil
}

func (*postgresDialect) byIndex(tx *gorm.DB) error { return tx.Exec(planByIndex).Error }

func (*postgresDialect) sizeOnDisk() string { return `SELECT pg_database_size(current_database())` }

func (d *postgresDialect) clock(ctx context.Context) (now time.Time, err error) {
	conn, err := d.acquire(ctx)
	if err != nil {
		return now, err
	}
	defer conn.Release()
	err = conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now)
	return now, err
}

func (*postgresDialect) feedOf() string { return `space_id COLLATE "POSIX"` }

// purgeLock is the number of the advisory lock by which one node at a time purges.
const purgeLock = 0x7469646d // "tidm"

func (*postgresDialect) aloneInPurging(tx *gorm.DB) (alone bool, err error) {
	err = tx.Raw("SELECT pg_try_advisory_xact_lock(?)", purgeLock).Scan(&alone).Error
	return alone, err
}

// Classes of SQLSTATE that pass and say nothing about what was asked for, so that the
// next statement would meet the same: connection exceptions, insufficient resources,
// operator intervention (shutdown), lock timeout, a standby that takes no writes, a
// transaction that stood idle for too long.
var generalStates = []string{"08", "53", "57P", "55P03", "25006", "25P03"}

// ownStates pass too, but another statement may fare better: serialization and
// deadlock, by which one makes way for another, and the statement timeout, which one
// push that takes long brings over its whole group.
var ownStates = []string{"40", "57014"}

func (*postgresDialect) temporary(err error) bool {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		return noAnswer(err)
	}
	return hasState(answer, generalStates) || hasState(answer, ownStates)
}

// noAnswer reports whether there was no connection to ask on, or it has ended before
// the answer. What is neither that nor an answer is a fault of this program, which
// trying again doesn't mend.
func noAnswer(err error) bool {
	if errors.As(err, new(net.Error)) || errors.As(err, new(*pgconn.ConnectError)) {
		return true
	}
	for _, lost := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, pgconn.ErrConnClosed, driver.ErrBadConn, errStandby} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return false
}

func (*postgresDialect) answered(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && !hasState(answer, generalStates)
}

func hasState(answer *pgconn.PgError, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(answer.Code, p) })
}

// outcomeUnknown: only an answer of the database says that nothing was committed.
// After anything else the commit, which is sent along with the writes, may have
// been carried out, unless nothing was sent: the statements are prepared, and their
// parameters encoded, before that.
func (*postgresDialect) outcomeUnknown(err error) bool {
	return !errors.As(err, new(*pgconn.PgError)) && !errors.As(err, new(pgx.ErrPreprocessingBatch)) &&
		!errors.Is(err, pgx.ErrTxCommitRollback) && !pgconn.SafeToRetry(err)
}
