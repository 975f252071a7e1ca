package syncer

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark/tidemark/models"
)

const (
	// commitTimeout bounds the time from a push's arrival to its commit. A push
	// that has not begun by then is not run: its client has given up.
	commitTimeout = 10 * time.Second

	// A group takes what is queued, up to here: enough to share a commit's cost,
	// little enough that nobody waits long for the transaction of others.
	maxGroupEdits = 1000
	maxGroupBytes = 4 << 20

	// maxQueuedPushes bounds what waits on a node. Beyond it a push is refused at
	// once, which is better than an answer that comes too late.
	maxQueuedPushes = 4096

	// maxSlowSpaces is how many spaces a node waits for at a time, each on a
	// connection of its own.
	maxSlowSpaces = 8
)

// job is a push on its way through a committer.
type job struct {
	push    *push
	edits   int
	bytes   int
	arrived time.Time
	// state goes from queued to taken, by a committer, or to dropped, by a client
	// that left. So a push is dropped before it was taken or never.
	state atomic.Int32
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
	head    int64 // of the space, after the push
	err     error
}

func newJob(p *push, now time.Time) *job {
	j := &job{push: p, edits: len(p.edits), arrived: now, done: make(chan struct{})}
	for i := range p.edits {
		j.bytes += len(p.edits[i].Data)
	}
	return j
}

func (j *job) finish(a answer) {
	j.answer, j.answered = a, true
	close(j.done)
}

// committer drains the queued pushes of its spaces and commits them together. A
// space always belongs to the same committer, so its pushes are committed in the
// order they came, and the tail hears of them in that order.
//
// There is no timer: it takes what is queued when it is free. A lone push is
// committed at once; under load the pushes that arrive during one commit share the
// next one.
type committer struct {
	engine *Engine

	mu      sync.Mutex
	waiting []*job
	busy    bool           // a goroutine is draining waiting
	queue   map[string]int // pushes not yet begun, by space
	// slow holds the pushes to spaces that somebody else had locked, or that were
	// not there yet, when their group came. Each space is followed by a goroutine of
	// its own that may wait, and gets what comes meanwhile: none of its pushes is in
	// waiting, or a later one could overtake an earlier one.
	slow map[string][]*job
}

func newCommitter(e *Engine) *committer {
	return &committer{engine: e, queue: make(map[string]int), slow: make(map[string][]*job)}
}

// committerOf returns the committer of a space.
func (e *Engine) committerOf(space string) *committer {
	return e.committers[hash32(space)%uint32(len(e.committers))]
}

// commit has p decided and committed, and returns what became of it.
func (e *Engine) commit(ctx context.Context, p *push) (answer, error) {
	if err := ctx.Err(); err != nil {
		return answer{}, err // the client has gone; better not begun than not answered
	}
	j := newJob(p, e.opts.Now())
	if err := e.committerOf(p.space).add(j); err != nil {
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
	return j.answer, j.err
}

// add queues j. Errors: CodeSpaceBusy, CodeUnavailable.
func (c *committer) add(j *job) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	space := j.push.space
	switch {
	case c.queue[space] >= models.MaxQueuedPushes:
		return &models.Error{
			Code: models.CodeSpaceBusy, RetryAfter: time.Second,
			Detail: "Too many pushes are waiting for this space. Nothing was changed; try again.",
		}
	case c.engine.queued.Load() >= maxQueuedPushes:
		return &models.Error{
			Code: models.CodeUnavailable, RetryAfter: time.Second,
			Detail: "Too many pushes are waiting. Nothing was changed; try again.",
		}
	}
	c.count(space, 1)
	if list, ok := c.slow[space]; ok {
		c.slow[space] = append(list, j)
		return nil
	}
	c.waiting = append(c.waiting, j)
	if !c.busy {
		c.busy = true
		c.engine.committing.Go(c.drain)
	}
	return nil
}

// count counts pushes that have not begun.
func (c *committer) count(space string, n int) {
	c.engine.queued.Add(int64(n))
	if c.queue[space] += n; c.queue[space] == 0 {
		delete(c.queue, space)
	}
}

// drain commits group after group until nothing is queued.
func (c *committer) drain() {
	for {
		jobs := c.take()
		if jobs == nil {
			return
		}
		c.engine.commitGroup(jobs, false, c.follow)
	}
}

// take returns the next group, nil if nothing is queued: then the committer is idle.
func (c *committer) take() []*job {
	c.mu.Lock()
	defer c.mu.Unlock()
	jobs, rest := c.cut(c.waiting)
	c.waiting = rest
	if len(jobs) == 0 {
		c.busy = false
	}
	return jobs
}

// cut takes the jobs of one group off list, without those that nobody waits for any
// more. There is a rest only if there are jobs.
func (c *committer) cut(list []*job) (jobs, rest []*job) {
	edits, size := 0, 0
	for i, j := range list {
		if len(jobs) > 0 && (edits+j.edits > maxGroupEdits || size+j.bytes > maxGroupBytes) {
			return jobs, list[i:]
		}
		if c.begin(j) {
			jobs = append(jobs, j)
			edits, size = edits+j.edits, size+j.bytes
		}
	}
	return jobs, nil
}

// begin reports whether j is to be run.
func (c *committer) begin(j *job) bool {
	c.count(j.push.space, -1)
	if !j.state.CompareAndSwap(queued, taken) {
		return false
	}
	if c.engine.opts.Now().Sub(j.arrived) > commitTimeout {
		j.finish(answer{err: &models.Error{
			Code: models.CodeUnavailable, RetryAfter: time.Second,
			Detail: "The push waited too long. Nothing was changed; try again.",
		}})
		return false
	}
	return true
}

// follow has the pushes to a space that was left out of its group committed by a
// goroutine that may wait for the space. They have not begun after all, so they wait
// once more, in front of what came meanwhile.
func (c *committer) follow(space string, jobs []*job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, j := range jobs {
		j.state.Store(queued)
	}
	c.count(space, len(jobs))
	c.waiting = slices.DeleteFunc(c.waiting, func(j *job) bool {
		if j.push.space != space {
			return false
		}
		jobs = append(jobs, j)
		return true
	})
	c.slow[space] = jobs
	c.engine.committing.Go(func() {
		for more := true; more; {
			c.engine.slowly <- struct{}{}
			jobs := c.takeSlow(space)
			if more = len(jobs) > 0; more {
				c.engine.commitGroup(jobs, true, nil)
			}
			<-c.engine.slowly
		}
	})
}

// takeSlow returns the next group of a slow space. Where none is, the space is an
// ordinary one again.
func (c *committer) takeSlow(space string) []*job {
	c.mu.Lock()
	defer c.mu.Unlock()
	jobs, rest := c.cut(c.slow[space])
	if c.slow[space] = rest; len(jobs) == 0 {
		delete(c.slow, space)
	}
	return jobs
}

// commitGroup commits jobs, all of which have been taken, and answers them. leftOut
// gets those that a group which doesn't wait can't answer: their space was left out,
// or the database refused the group.
func (e *Engine) commitGroup(jobs []*job, wait bool, leftOut func(space string, jobs []*job)) {
	g := newGroup(jobs, &e.older, e.opts.NewEpoch)
	defer g.answerAfterPanic()
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	err := e.store.Commit(ctx, Group{Touches: g.touches(), Wait: wait, Decide: g.decide})
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

// answerAfterPanic, deferred, answers what a bug has left without an answer. It may
// have struck after the commit.
func (g *group) answerAfterPanic() {
	r := recover()
	if r == nil {
		return
	}
	failure := &models.Error{
		Code: models.CodeOutcomeUnknown, RetryAfter: time.Second,
		Detail: "Something went wrong here while the edits were committed. Send the same request again to find out.",
		Err:    fmt.Errorf("panic in a commit: %v\n%s", r, debug.Stack()),
	}
	for i := range g.spaces {
		for _, j := range g.spaces[i].jobs {
			if !j.answered {
				j.finish(answer{err: failure})
			}
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
			e.commitGroup([]*job{j}, true, nil)
		}
	}
}
