package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidemark/tidemark/syncer"
)

const (
	// replicaTimeout bounds a read of a replica: the database is asked after it.
	replicaTimeout = 2 * time.Second
	// replicaRest is how long a replica that has failed is left alone.
	replicaRest = 5 * time.Second
)

// Replica reads in a standby. It implements syncer.Replica.
type Replica struct {
	dialect *postgresDialect
	log     *slog.Logger
	rests   atomic.Int64 // until when, in nanoseconds of Unix time
}

var _ syncer.Replica = (*Replica)(nil)

// errRests: the replica has failed just now.
var errRests = errors.New("the replica has failed and is left alone for a while")

// OpenReplica takes the URL of a PostgreSQL that may be a standby. It doesn't connect:
// nothing waits for a replica.
func OpenReplica(ctx context.Context, url string, opts Options) (*Replica, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("replica URL: %w", err)
	}
	tune(config, url)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open the replica: %w", err)
	}
	wait := opts.ConnectionWait
	if wait <= 0 {
		wait = defaultConnectionWait
	}
	log := opts.Logger
	if log == nil {
		log = slog.Default()
	}
	return &Replica{dialect: &postgresDialect{pool, wait}, log: log}, nil
}

// Changes implements syncer.Replica.
func (r *Replica) Changes(ctx context.Context, space string, within syncer.Range) (syncer.Run, error) {
	now := time.Now()
	if now.UnixNano() < r.rests.Load() {
		return syncer.Run{}, errRests
	}
	limited, cancel := context.WithTimeout(ctx, replicaTimeout)
	defer cancel()
	run, err := r.dialect.changes(limited, space, within)
	if err != nil && ctx.Err() == nil {
		r.rests.Store(time.Now().Add(replicaRest).UnixNano())
		r.log.WarnContext(ctx, "replica not read; the database is", "error", err)
	}
	return run, err
}

// Close closes the connections.
func (r *Replica) Close() { r.dialect.pool.Close() }
