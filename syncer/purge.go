package syncer

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/tidemark/tidemark/models"
)

const (
	// purgeEvery is how often a node looks for what is past its retention.
	purgeEvery = time.Hour

	// purgeAtOnce bounds one transaction, and so how long a push may have to wait for it.
	purgeAtOnce = 5000

	// maxPurgeFailures is how many spaces one after another can't be purged before the
	// database is taken for what is to blame.
	maxPurgeFailures = 3

	// spacesAtOnce is how many spaces are listed by one statement.
	spacesAtOnce = 500
)

// purgeNowAndThen forgets what is past its retention until ctx ends. Nodes that were
// started together begin at different times.
func (e *Engine) purgeNowAndThen(ctx context.Context) {
	next := time.NewTimer(rand.N(purgeEvery))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		_, err := e.Purge(ctx, func(space string, done Purged) {
			e.opts.Logger.InfoContext(ctx, "purged", "space", space, "tombstones", done.Tombstones, "clients", done.Clients)
		})
		if err != nil && ctx.Err() == nil {
			e.opts.Logger.WarnContext(ctx, "not purged", "error", err)
		}
		next.Reset(purgeEvery + rand.N(purgeEvery/10))
	}
}

// Purge forgets tombstones that are older than the retention, and the clients that were
// not seen for so long, of all spaces, and tells of each that had any. It stops, with
// elsewhere set, where another node is doing the same. A space that somebody has
// locked for long is left for the next time. Errors: those of Store.
func (e *Engine) Purge(ctx context.Context, tell func(space string, done Purged)) (elsewhere bool, err error) {
	now, err := e.store.Now(ctx)
	if err != nil {
		return false, err
	}
	failures := 0
	err = e.EachSpace(ctx, func(s *models.Space) error {
		done, err := e.purgeSpace(ctx, s, now)
		if err == nil {
			failures = 0
		} else if failures++; failures >= maxPurgeFailures || models.CodeOf(err) != models.CodeUnavailable {
			return err
		}
		if done.Tombstones > 0 || done.Clients > 0 {
			tell(s.ID, done)
		}
		if done.Elsewhere {
			return errElsewhere
		}
		return nil
	})
	if errors.Is(err, errElsewhere) {
		return true, nil
	}
	return false, err
}

// errElsewhere ends a pass.
var errElsewhere = errors.New("another node is purging")

// EachSpace calls do with each space, by name, until it returns an error. Errors: that
// one, and those of Store.
func (e *Engine) EachSpace(ctx context.Context, do func(*models.Space) error) error {
	for after := ""; ; {
		spaces, err := e.store.Spaces(ctx, after, spacesAtOnce)
		if err != nil || len(spaces) == 0 {
			return err
		}
		for i := range spaces {
			if err := do(&spaces[i]); err != nil {
				return err
			}
		}
		after = spaces[len(spaces)-1].ID
	}
}

// purgeSpace purges in small transactions, so that pushes get in between.
func (e *Engine) purgeSpace(ctx context.Context, s *models.Space, now time.Time) (all Purged, err error) {
	before := now.Add(-s.Retention(e.opts.Retention))
	for more := true; more && err == nil; {
		var done Purged
		done, err = e.store.Purge(ctx, s.ID, before, purgeAtOnce)
		all.Tombstones += done.Tombstones
		all.Clients += done.Clients
		all.Elsewhere, more = done.Elsewhere, done.More
	}
	return all, err
}
