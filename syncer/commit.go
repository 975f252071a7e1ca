package syncer

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/guard"
)

// commitTimeout bounds how long a push waits: one that has not begun by then is not
// run, for its client has given up. A transaction may take as long again.
const commitTimeout = 10 * time.Second

// job is a push on its way through a committer.
type job struct {
	push    *push
	edits   int
	bytes   int
	arrived time.Time
	// state goes from queued to taken, by a committer, or to dropped, by a client
	// that left. So a push is dropped before it was taken or never.
	state atomic.Int32
	// waited and stored are what Work has as Queued and Stored.
	waited, stored time.Duration
	answer
	answered bool          // for who has taken it
	done     chan struct{} // closed when answer is there
}

const (
	queued int32 = iota
	taken
	dropped
)

// answer is the fate of a push as a whole.
type answer struct {
	results []models.EditResult
	before  int64 // the head of the space before the push
	head    int64 // and after it
	err     error
}

func newJob(p *push, now time.Time) *job {
	j := &job{push: p, edits: len(p.edits), arrived: now, done: make(chan struct{})}
	for i := range p.edits {
		j.bytes += len(p.edits[i].Data)
	}
	return j
}

func (j *job) count() int { return max(j.edits, pushCount) }

// begin notes that the turn of j has come, for the first time or once more after its
// group had to go on without it.
func (j *job) begin(now time.Time) { j.waited = now.Sub(j.arrived) - j.stored }

func (j *job) finish(a answer) {
	j.answer, j.answered = a, true
	close(j.done)
}

// commit has p decided and committed, and returns what became of it.
func (e *Engine) commit(ctx context.Context, p *push) (answer, error) {
	if err := ctx.Err(); err != nil {
		return answer{}, err // the client has gone; better not begun than not answered
	}
	work := workOf(ctx)
	work.pushing(p)
	if err := e.judge(ctx, p); err != nil {
		return answer{}, err
	}
	p.retention = e.opts.Retention
	j := newJob(p, e.opts.Now())
	if err := e.committer.add(j); err != nil { //nolint:contextcheck // a group outlives the request that begins it
		return answer{}, err
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.state.CompareAndSwap(queued, dropped) {
			return answer{}, ctx.Err()
		}
		// Once taken, the push is carried through: cutting it off in its commit
		// would only make one more outcome that somebody has to find out.
		<-j.done
	}
	work.pushed(j)
	return j.answer, j.err
}

// commitGroup commits jobs, all of which have been taken, and answers them. leftOut
// gets those that a group which doesn't wait can't answer: their space was left out,
// or the database refused the group.
func (e *Engine) commitGroup(jobs []*job, wait bool, leftOut func(space string, jobs []*job)) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	var g *group
	defer func() {
		if r := recover(); r != nil {
			e.answerAfterPanic(ctx, guard.Caught(r), g.left(jobs))
		}
	}()
	g = newGroup(jobs, &e.older)
	began := time.Now()
	for _, j := range jobs {
		j.begin(e.opts.Now())
	}
	err := e.store.Commit(ctx, Group{Touches: g.touches(), Wait: wait, Decide: g.decide})
	took := time.Since(began)
	for _, j := range jobs {
		j.stored += took
	}
	var refused *GroupError
	if errors.As(err, &refused) && len(jobs) > 1 {
		e.split(g, wait, leftOut)
		return
	}
	for i := range g.spaces {
		s := &g.spaces[i]
		switch {
		case err != nil:
			for _, j := range s.jobs {
				j.finish(answer{err: err})
			}
		case s.left:
			s.handOver(leftOut)
		default:
			e.announce(ctx, &s.commit)
			for _, j := range s.jobs {
				j.finish(j.answer)
			}
		}
	}
}

// handOver gives the pushes of a space to somebody else.
func (s *spaceGroup) handOver(to func(space string, jobs []*job)) {
	jobs := s.jobs
	s.jobs = nil
	to(s.touch.Space, jobs)
}

// answerAfterPanic answers what a bug has left without an answer. It may have struck
// after the commit.
func (e *Engine) answerAfterPanic(ctx context.Context, bug *guard.Panic, left []*job) {
	e.opts.Logger.ErrorContext(ctx, "commit panicked", "error", bug)
	failure := &models.Error{
		Code: models.CodeOutcomeUnknown, RetryAfter: time.Second,
		Detail: "Something went wrong here while the edits were committed. Send the same request again to find out.",
		Err:    bug.Told(),
	}
	for _, j := range left {
		if !j.answered {
			j.finish(answer{err: failure})
		}
	}
}

// split carries out a group that the database refused. One push is to blame, and it
// must not hurt the others: first each space is for itself, then each push.
func (e *Engine) split(g *group, wait bool, leftOut func(space string, jobs []*job)) {
	for i := range g.spaces {
		s := &g.spaces[i]
		if !wait {
			s.handOver(leftOut)
			continue
		}
		for _, j := range s.jobs {
			if !e.tooOld(j) {
				e.commitGroup([]*job{j}, true, nil)
			}
		}
	}
}

// tooOld answers j if it has waited too long to be run.
func (e *Engine) tooOld(j *job) bool {
	if e.opts.Now().Sub(j.arrived) <= commitTimeout {
		return false
	}
	j.finish(answer{err: &models.Error{
		Code: models.CodeUnavailable, RetryAfter: time.Second,
		Detail: "The push waited too long. Nothing was changed; try again.",
	}})
	return true
}
