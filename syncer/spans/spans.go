// Package spans shows what the engine does for a request as spans of OpenTelemetry:
// how long a push waits for its turn, the commit, and what a pull reads. The spans of
// the database lie under those.
package spans

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// The names of the spans.
const (
	Queue  = "push queue"
	Commit = "push commit"
	Read   = "pull read"
)

// Tracer implements syncer.Tracer. What belongs to no request that is traced, as the
// refresher's queries, makes no spans.
type Tracer struct{ tracer trace.Tracer }

var _ syncer.Tracer = (*Tracer)(nil)

// New returns a Tracer that makes its spans by provider.
func New(provider trace.TracerProvider) *Tracer {
	return &Tracer{provider.Tracer("github.com/tidemark/tidemark")}
}

// push is a push under way.
type push struct {
	request, queue trace.Span
}

// Leave implements syncer.Queued.
func (p *push) Leave() { p.queue.End() }

// Queue implements syncer.Tracer.
func (t *Tracer) Queue(ctx context.Context) syncer.Queued {
	request := trace.SpanFromContext(ctx)
	if !request.IsRecording() {
		return nil
	}
	_, queue := t.tracer.Start(ctx, Queue)
	return &push{request, queue}
}

// Commit implements syncer.Tracer. Each push has a span of the commit, under its own
// request. The database works once for all: its spans lie under the first, to which the
// others link.
func (t *Tracer) Commit(ctx context.Context, pushes []syncer.Queued) (under context.Context, end func(error)) {
	var all []trace.Span
	for _, queued := range pushes {
		p, ok := queued.(*push)
		if !ok {
			continue
		}
		p.Leave()
		options := []trace.SpanStartOption{trace.WithAttributes(attribute.Int("tidemark.pushes", len(pushes)))}
		if len(all) > 0 {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: all[0].SpanContext()}))
		}
		_, span := t.tracer.Start(trace.ContextWithSpan(ctx, p.request), Commit, options...)
		all = append(all, span)
	}
	if len(all) == 0 {
		return ctx, func(error) {}
	}
	return trace.ContextWithSpan(ctx, all[0]), func(err error) {
		for _, span := range all {
			finish(span, err)
		}
	}
}

// Read implements syncer.Tracer.
func (t *Tracer) Read(ctx context.Context) (under context.Context, end func(error)) {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, func(error) {}
	}
	under, span := t.tracer.Start(ctx, Read)
	return under, func(err error) { finish(span, err) }
}

// finish tells of an error by its code only: its text may hold what a document does.
func finish(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, string(models.CodeOf(err)))
	}
	span.End()
}
