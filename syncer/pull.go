package syncer

import (
	"context"
	"time"

	"github.com/tidemark/tidemark/models"
)

// PullRequest asks for what changed since a cursor.
type PullRequest struct {
	Cursor      string        // "": a snapshot
	Limit       int           // documents; 0: models.DefaultPageChanges
	Wait        time.Duration // how long to wait for news if there are none; a snapshot never waits
	Collections []string      // empty: all
	// Interrupt, when it is closed, ends the wait with what there is to show. It may be nil.
	Interrupt <-chan struct{}
	// MinVersion is the newest version a push answered to this client. A head
	// below it, with a cursor, means that the acknowledged push is lost.
	MinVersion int64
}

// Pull returns the next page of a space's feed. Errors: CodeInvalidCursor for a
// damaged cursor or one of another space, CodeCursorExpired, those of Store.
func (e *Engine) Pull(ctx context.Context, space string, req PullRequest) (*models.Page, error) {
	c, err := openCursor(req.Cursor, space, filterOf(req.Collections))
	if err != nil {
		return nil, e.metrics.refused(err)
	}
	if req.Wait <= 0 || c.start {
		page, _, err := e.page(ctx, space, c, req)
		return page, err
	}
	return e.pullWaiting(ctx, space, c, req)
}

// pullWaiting is a long poll: it reads until there is something to show or the
// wait is over. The last read comes after the wait, so it finds what other nodes
// committed meanwhile.
func (e *Engine) pullWaiting(ctx context.Context, space string, c cursor, req PullRequest) (*models.Page, error) {
	watch := e.Watch(space) // before the first read; see Watch
	defer watch.Stop()
	wait := time.NewTimer(req.Wait)
	defer wait.Stop()

	for over := false; ; {
		page, next, err := e.page(ctx, space, c, req)
		if err != nil || over || len(page.Changes) > 0 || page.HasMore {
			return page, err
		}
		c, req.Cursor = next, page.Cursor // the head may have moved without anything to show
		select {
		case <-watch.C:
		case <-wait.C:
			over = true
		case <-e.draining:
			return page, nil
		case <-req.Interrupt:
			return page, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// page reads the page after c, which is req.Cursor read, and returns it with the
// cursor that follows.
func (e *Engine) page(ctx context.Context, space string, c cursor, req PullRequest) (*models.Page, cursor, error) {
	limit := req.Limit
	if limit == 0 {
		limit = models.DefaultPageChanges
	}
	run, err := e.read(ctx, space, Range{
		After:       c.position,
		Snapshot:    c.start,
		HideUpTo:    c.began,
		Collections: req.Collections,
		Limit:       limit,
	}, max(c.newest(), req.MinVersion))
	if err != nil {
		return nil, c, err
	}
	if err := c.check(run.Space, req.MinVersion); err != nil {
		return nil, c, e.metrics.refused(err)
	}
	e.inspect(ctx, space, c, &run)
	next, text := c.next(run), req.Cursor
	if next != c {
		text = next.encode(space)
	}
	page := &models.Page{
		Changes: run.Changes,
		Cursor:  text,
		Version: run.Space.Head,
		HasMore: run.Through < run.Space.Head,
	}
	if !page.HasMore {
		page.PollAfter = e.pollAfter(run.Space.Head)
		page.Digest = c.digest(&run.Space)
	}
	workOf(ctx).pulled(c, next, page)
	return page, next, nil
}

// read reads a part of the feed: from the tail, or from the database where the
// tail doesn't reach, isn't fresh, or is behind needed, a version that the client
// knows of.
func (e *Engine) read(ctx context.Context, space string, r Range, needed int64) (Run, error) {
	if run, ok := e.tails.read(space, r, needed); ok {
		workOf(ctx).source(SourceTail)
		e.metrics.fromTail.Inc()
		return run, nil
	}
	return e.database(ctx, space, r, needed)
}
