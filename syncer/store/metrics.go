package store

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// watched is connections to the database.
type watched interface {
	name() string
	stats() poolStats
}

// poolStats are what there is to know of a pool, in the words of neither of the two
// libraries.
type poolStats struct {
	used, idle, limit int
	waits             int64 // for a connection, since the start
	waited            time.Duration
}

type postgresPool struct{ *pgxpool.Pool }

func (postgresPool) name() string { return "postgres" }

func (p postgresPool) stats() poolStats {
	s := p.Stat()
	return poolStats{
		used: int(s.AcquiredConns()), idle: int(s.IdleConns()), limit: int(s.MaxConns()),
		waits: s.EmptyAcquireCount() + s.CanceledAcquireCount(), waited: s.EmptyAcquireWaitTime(),
	}
}

type sqlPool struct {
	of string
	*sql.DB
}

func (p sqlPool) name() string { return p.of }

func (p sqlPool) stats() poolStats {
	s := p.Stats()
	return poolStats{used: s.InUse, idle: s.Idle, limit: s.MaxOpenConnections, waits: s.WaitCount, waited: s.WaitDuration}
}

// Metrics are what the store can tell when it is asked: to be registered once.
func (s *Store) Metrics() []prometheus.Collector {
	list := []prometheus.Collector{&s.terms, s.rows}
	for _, p := range s.pools {
		labels := prometheus.Labels{"pool": p.name()}
		gauge := func(name, help string, tell func(poolStats) int) {
			list = append(list, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels},
				func() float64 { return float64(tell(p.stats())) }))
		}
		counter := func(name, help string, tell func(poolStats) float64) {
			list = append(list, prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
				func() float64 { return tell(p.stats()) }))
		}
		gauge("tidemark_pool_used", "Connections to the database that are in use.", func(s poolStats) int { return s.used })
		gauge("tidemark_pool_idle", "Connections to the database that are not.", func(s poolStats) int { return s.idle })
		gauge("tidemark_pool_limit", "Connections to the database that there may be.", func(s poolStats) int { return s.limit })
		counter("tidemark_pool_waits_total", "Times that there was no connection free.", func(s poolStats) float64 { return float64(s.waits) })
		counter("tidemark_pool_wait_seconds_total", "Time spent waiting for one.", func(s poolStats) float64 { return s.waited.Seconds() })
	}
	return list
}

// newRows returns the gauge of what Count counts.
func newRows() *prometheus.GaugeVec {
	rows := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tidemark_rows",
		Help: "About how many rows there are, counted once an hour: tombstones, and clients, each with its receipts.",
	}, []string{"kind"})
	for _, kind := range []string{"tombstones", "clients"} {
		rows.WithLabelValues(kind)
	}
	return rows
}

const countEvery = time.Hour

// Count counts rows, at once and then once an hour, until ctx ends.
func (s *Store) Count(ctx context.Context, log *slog.Logger) error {
	return again(ctx, 0, countEvery, func() {
		if err := s.count(ctx); err != nil {
			log.DebugContext(ctx, "rows not counted", "error", err)
		}
	})
}

// again does something after a while and then every so often, until ctx ends.
func again(ctx context.Context, first, every time.Duration, do func()) error {
	next := time.NewTimer(first)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		do()
		next.Reset(every)
	}
}

func (s *Store) count(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	tombstones, clients, err := s.dialect.amounts(ctx)
	if err != nil {
		return s.failure(ctx, "count rows", err)
	}
	s.rows.WithLabelValues("tombstones").Set(float64(tombstones))
	s.rows.WithLabelValues("clients").Set(float64(clients))
	return nil
}

// amounts are PostgreSQL's own estimates, of its last ANALYZE, which counts nothing.
func (d *postgresDialect) amounts(ctx context.Context) (tombstones, clients int64, err error) {
	conn, err := d.acquire(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Release()
	err = conn.QueryRow(ctx, `
SELECT
    (SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'documents_tombstones'::regclass),
    (SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'clients'::regclass)`).Scan(&tombstones, &clients)
	return tombstones, clients, err
}

// amounts: index documents_tombstones, and the primary key of clients.
func (r *sqliteReader) amounts(ctx context.Context) (tombstones, clients int64, err error) {
	err = r.db.QueryRowContext(ctx, `
SELECT
    (SELECT count(*) FROM documents WHERE deleted),
    (SELECT count(*) FROM clients)`).Scan(&tombstones, &clients)
	return tombstones, clients, err
}
