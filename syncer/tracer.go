package syncer

import "context"

// A Tracer is told what an engine does for a request, to show it as spans. Its methods
// may be called by any goroutine.
type Tracer interface {
	// Queue is called when a push begins to wait for its turn. It returns nil if nobody
	// wants to know of this one.
	Queue(ctx context.Context) Queued
	// Commit is called when the turn of a group has come, with what Queue returned for
	// its pushes, nil for some. The store works under the context that it returns, and
	// end is called with what came of it.
	Commit(ctx context.Context, pushes []Queued) (under context.Context, end func(error))
	// Read is called when a pull asks the database, as Commit is.
	Read(ctx context.Context) (under context.Context, end func(error))
}

// Queued is a push that a Tracer knows of.
type Queued interface {
	// Leave is called when the push does not wait any longer, whether its turn has come
	// or not. Twice is fine.
	Leave()
}

// queue tells the tracer of j, if there is one.
func (e *Engine) queue(ctx context.Context, j *job) (leave func()) {
	if e.opts.Tracer == nil {
		return func() {}
	}
	j.traced = e.opts.Tracer.Queue(ctx)
	if j.traced == nil {
		return func() {}
	}
	return j.traced.Leave
}

// traceCommit tells it of a group.
func (e *Engine) traceCommit(ctx context.Context, jobs []*job) (under context.Context, end func(error)) {
	if e.opts.Tracer == nil {
		return ctx, func(error) {}
	}
	pushes := make([]Queued, len(jobs))
	for i, j := range jobs {
		pushes[i] = j.traced
	}
	return e.opts.Tracer.Commit(ctx, pushes)
}
