package syncer

import (
	"context"
	"time"

	"github.com/tidemark/tidemark/models"
)

// Work is what a request came to, for whoever logs it. The engine fills it in where
// the context of a call brings one: see Working. It is whole when the call has
// returned, also with an error.
type Work struct {
	// Queued is how long pushes waited for their turn.
	Queued time.Duration
	// Stored is how long the store was waited for. What a group of pushes waits, each
	// of them waits: a push's share is the whole commit of its group. Waiting for the
	// group is not in it, nor is the time in which a long poll waits for news.
	Stored time.Duration

	// Pushed is nil where nothing was pushed.
	Pushed *Pushed

	// Of a pull, and of the pull within a push:
	Pulled   bool
	From, To int64  // the versions up to which the feed was seen, before and after
	Changes  int    // in the page
	Source   string // what answered: SourceTail, SourceDatabase or SourceReplica; also of heads
}

// What answers a pull.
const (
	SourceTail     = "tail"
	SourceDatabase = "database"
	SourceReplica  = "replica"
)

// Pushed is what became of a push.
type Pushed struct {
	ClientID string
	Edits    int
	// From and To are the head of the space before and after the push; 0 as long as it
	// is not known that it was carried out.
	From, To int64
	// Results are the edits' fates. They are nil if the push failed as a whole: then
	// nothing was applied, or with CodeOutcomeUnknown nobody knows.
	Results []models.EditResult

	edits []edit
}

// EditIDs returns the ids of the edits in their order, with or without results.
func (p *Pushed) EditIDs() []string {
	ids := make([]string, len(p.edits))
	for i := range p.edits {
		ids[i] = p.edits[i].EditID
	}
	return ids
}

// Working is a context that brings a Work. It is a value, so that a request which has
// a place for it costs no further allocation.
type Working struct {
	context.Context //nolint:containedctx // it is one
	Work            Work
}

type workKey struct{}

// Value implements context.Context.
func (w *Working) Value(key any) any {
	if _, ok := key.(workKey); ok {
		return &w.Work
	}
	return w.Context.Value(key)
}

// workOf returns the work that ctx brings; nil, which takes notes of nothing, without.
func workOf(ctx context.Context) *Work {
	w, _ := ctx.Value(workKey{}).(*Work)
	return w
}

// pulled notes a page that was read from one cursor to the next. Of several, as in a
// long poll, the first has where the client was.
func (w *Work) pulled(from, to cursor, page *models.Page) {
	if w == nil {
		return
	}
	if !w.Pulled {
		w.Pulled, w.From = true, from.position
	}
	w.To, w.Changes = to.position, len(page.Changes)
}

func (w *Work) source(source string) {
	if w != nil {
		w.Source = source
	}
}

// pushing notes a push before it is carried out.
func (w *Work) pushing(p *push) {
	if w != nil {
		w.Pushed = &Pushed{ClientID: p.clientID, Edits: len(p.edits), edits: p.edits}
	}
}

// pushed notes what has become of it.
func (w *Work) pushed(j *job) {
	if w == nil {
		return
	}
	w.Queued += j.waited
	w.Stored += j.stored
	if j.err == nil {
		w.Pushed.From, w.Pushed.To, w.Pushed.Results = j.before, j.head, j.results
	}
}

// timed is a Store that notes in the work of a call how long it took. Commit is not
// of a call but of a group, which notes that itself.
type timed struct {
	Store
	tracer Tracer // may be nil
}

func (t timed) Changes(ctx context.Context, space string, r Range) (run Run, err error) {
	defer workOf(ctx).storing(time.Now())
	if t.tracer != nil {
		under, end := t.tracer.Read(ctx)
		defer func() { end(err) }()
		ctx = under
	}
	return t.Store.Changes(ctx, space, r)
}

func (t timed) Heads(ctx context.Context, names []string) ([]models.Space, error) {
	defer workOf(ctx).storing(time.Now())
	return t.Store.Heads(ctx, names)
}

func (t timed) Document(ctx context.Context, space string, key Key) (*models.Document, error) {
	defer workOf(ctx).storing(time.Now())
	return t.Store.Document(ctx, space, key)
}

func (t timed) Ping(ctx context.Context) error {
	defer workOf(ctx).storing(time.Now())
	return t.Store.Ping(ctx)
}

func (w *Work) storing(began time.Time) {
	if w != nil {
		w.Stored += time.Since(began)
	}
}
