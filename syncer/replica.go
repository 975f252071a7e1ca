package syncer

import (
	"context"

	"github.com/tidemark/tidemark/models"
)

// Replica reads feeds in a copy of the database that may be behind it, by any time, or be
// of a history that was lost.
type Replica interface {
	// Changes is that of Store.
	Changes(ctx context.Context, space string, r Range) (Run, error)
}

// database reads a part of the feed: in the replica, if there is one and its page can be
// vouched for, else in the store.
func (e *Engine) database(ctx context.Context, space string, r Range, needed int64) (Run, error) {
	if run, ok := e.replica(ctx, space, r, needed); ok {
		workOf(ctx).source(SourceReplica)
		e.metrics.fromReplica.Inc()
		return run, nil
	}
	workOf(ctx).source(SourceDatabase)
	started := e.tails.now()
	run, err := e.store.Changes(ctx, space, r)
	if err == nil {
		e.metrics.fromDatabase.Inc()
		e.tails.learn(space, r, run, started)
	}
	return run, err
}

// replica reads a page in the replica, and reports whether it may be shown. The row that
// vouches for it is the store's, from within the lease: the replica is asked after that.
func (e *Engine) replica(ctx context.Context, space string, r Range, needed int64) (Run, bool) {
	if e.opts.Replica == nil {
		return Run{}, false
	}
	rows, err := e.heads(ctx, []string{space}, needed)
	if err != nil {
		return Run{}, false
	}
	started := e.tails.now()
	run, err := e.opts.Replica.Changes(ctx, space, r)
	if err != nil || !vouchesFor(rows[0], run, needed) {
		return Run{}, false
	}
	if run.Space.Head == rows[0].Head { // else a tail that is made of it would be behind
		e.tails.learn(space, r, run, started)
	}
	return run, true
}

// vouchesFor reports whether a page of a replica may be shown beside known, the space's
// row in the database itself.
//
// It is of the same history if the epoch is the same and it has not come further: what
// the replica of a lost primary has beyond that, nobody else has. It is not older than
// what the client knows of. And if it says that this is all, then it is: a client that
// asks again and again of a replica that stands still would wait for ever.
func vouchesFor(known models.Space, run Run, needed int64) bool {
	row := run.Space
	return row.Epoch == known.Epoch && row.Floor == known.Floor &&
		needed <= row.Head && row.Head <= known.Head &&
		(run.Through < row.Head || row.Head == known.Head)
}
