package store

import (
	"context"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/fault"
)

// transaction is one write transaction, as each database carries it out.
type transaction interface {
	// lock locks the rows of the spaces that group touches and then, by statements
	// that begin after that, reads what it names. A statement that locks and reads
	// has taken its snapshot before it waits, and would read what is old by then.
	lock(ctx context.Context, group *syncer.Group) ([]*syncer.Locked, error)
	// write writes what belongs to each touch and commits. Nothing was committed if
	// it returns an error, except one for which outcomeUnknown holds.
	write(ctx context.Context, touches []syncer.Touch, found []*syncer.Locked, writes []syncer.Writes) error
	// end rolls back what was not committed, and gives the connection back.
	end()
}

// Commit implements syncer.Store.
func (s *Store) Commit(ctx context.Context, group syncer.Group) error {
	tx, err := s.dialect.begin(ctx)
	if err != nil {
		return s.failure(ctx, "begin to commit", err)
	}
	defer tx.end()
	found, err := tx.lock(ctx, &group)
	if err != nil {
		return s.refusal(ctx, "lock and read", err)
	}
	fault.Point(fault.PushLocked)
	writes := group.Decide(found)
	if nothing(writes) {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return s.failure(ctx, "commit", err)
	}
	if err = tx.write(ctx, group.Touches, found, writes); err == nil {
		fault.Point(fault.PushCommitted)
		return nil
	}
	if s.dialect.outcomeUnknown(err) {
		return outcomeUnknown(err)
	}
	return s.refusal(ctx, "write", err)
}

func nothing(writes []syncer.Writes) bool {
	for i := range writes {
		if !writes[i].Empty() || writes[i].Confirm {
			return false
		}
	}
	return true
}

// refusal is failure for a statement of a group. Where the database has answered,
// a part of the group may do without the rest.
func (s *Store) refusal(ctx context.Context, doing string, err error) error {
	failed := s.failure(ctx, doing, err)
	if s.dialect.answered(err) {
		return &syncer.GroupError{Err: failed}
	}
	return failed
}
