package store

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
)

// terms are what the database promises of commits, and what tells its lifetimes apart.
type terms struct {
	database, identity       string
	fsync, synchronousCommit string // of PostgreSQL
	synchronous              string // of SQLite
}

// unsafe names the settings by which acknowledged edits can be lost.
func (in terms) unsafe() (settings []string) {
	if in.fsync == "off" {
		settings = append(settings, "fsync")
	}
	if in.synchronousCommit == "off" {
		settings = append(settings, "synchronous_commit")
	}
	return settings
}

// sqliteTerms are what checkSQLite reads back from each pool.
var sqliteTerms = terms{database: "sqlite", identity: "process", synchronous: "full"}

func (sqliteDialect) terms(context.Context) (terms, error) { return sqliteTerms, nil }

// terms are those of the server behind the URL now, which may be another one since a
// failover.
func (d *postgresDialect) terms(ctx context.Context) (terms, error) {
	conn, err := d.acquire(ctx)
	if err != nil {
		return terms{}, err
	}
	defer conn.Release()
	return postgresTerms(ctx, conn)
}

// asked is a pool or a connection.
type asked interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func postgresTerms(ctx context.Context, conn asked) (terms, error) {
	in := terms{database: "postgres", identity: "postmaster"}
	err := conn.QueryRow(ctx, "SELECT current_setting('fsync'), current_setting('synchronous_commit')").Scan(&in.fsync, &in.synchronousCommit)
	return in, err
}

// checkDurability refuses a database that acknowledges a commit before it is on
// disk: a crash then loses edits that clients were told are safe.
func checkDurability(ctx context.Context, in terms, opts Options) error {
	for _, setting := range in.unsafe() {
		if !opts.UnsafeDurability {
			return fmt.Errorf("PostgreSQL runs with %s=off and would lose acknowledged edits in a crash: "+
				"turn it on, or start with --unsafe-durability if losing edits is fine", setting)
		}
		warnUnsafe(ctx, opts.Logger, setting)
	}
	return nil
}

func warnUnsafe(ctx context.Context, log *slog.Logger, setting string) {
	log.WarnContext(ctx, "acknowledged edits can be lost in a crash", "setting", setting, "value", "off")
}

// WatchTerms reads every so often what the database promises now, until ctx ends: after
// a failover it is another server, with settings of its own. One that has become unsafe
// is not refused, which would end all nodes at once, but warned of and shown to alerts.
func (s *Store) WatchTerms(ctx context.Context, every time.Duration, log *slog.Logger) error {
	return again(ctx, every, every, func() {
		if err := s.readTerms(ctx, log); err != nil {
			log.DebugContext(ctx, "settings of the database not read", "error", err)
		}
	})
}

// readTerms keeps those of before if the database does not answer.
func (s *Store) readTerms(ctx context.Context, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	now, err := s.dialect.terms(ctx)
	if err != nil {
		return s.failure(ctx, "read settings of the database", err)
	}
	if before := s.terms.now.Swap(&now); *before != now {
		log.InfoContext(ctx, "the database has other settings", "fsync", now.fsync, "synchronous_commit", now.synchronousCommit)
		for _, setting := range now.unsafe() {
			warnUnsafe(ctx, log, setting)
		}
	}
	return nil
}

// termsInForce tells the terms that were read last as metrics.
type termsInForce struct{ now atomic.Pointer[terms] }

var (
	databaseInfo = prometheus.NewDesc("tidemark_database_info",
		"What the database promises, looked at once a minute, and what tells its lifetimes (epochs) apart; always 1.",
		[]string{"database", "identity", "fsync", "synchronous_commit", "synchronous"}, nil)
	databaseDurable = prometheus.NewDesc("tidemark_database_durable",
		"1 if what is acknowledged is on disk, 0 on a database that acknowledges before; looked at once a minute.", nil, nil)
)

// Describe implements prometheus.Collector.
func (t *termsInForce) Describe(to chan<- *prometheus.Desc) {
	to <- databaseInfo
	to <- databaseDurable
}

// Collect implements prometheus.Collector.
func (t *termsInForce) Collect(to chan<- prometheus.Metric) {
	in := t.now.Load()
	durable := 1.0
	if len(in.unsafe()) > 0 {
		durable = 0
	}
	to <- prometheus.MustNewConstMetric(databaseInfo, prometheus.GaugeValue, 1,
		in.database, in.identity, in.fsync, in.synchronousCommit, in.synchronous)
	to <- prometheus.MustNewConstMetric(databaseDurable, prometheus.GaugeValue, durable)
}
