package syncer

import (
	"context"
	"errors"
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
	done chan struct{} // closed when answer is there
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
	j.answer = a
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
	// slow holds the pushes to spaces that somebody else had locked, or that are
	// not there yet, when their group came. Each is followed by a goroutine of its
	// own that may wait, and gets what comes meanwhile, in order.
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
	case len(c.waiting) >= maxQueuedPushes:
		return &models.Error{
			Code: models.CodeUnavailable, RetryAfter: time.Second,
			Detail: "Too many pushes are waiting. Nothing was changed; try again.",
		}
	}
	c.queue[space]++
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

// cut takes the jobs of one group off list. Those that nobody waits for any more
// are left out; those of slow spaces go behind what is there.
func (c *committer) cut(list []*job) (jobs, rest []*job) {
	edits, size := 0, 0
	for i, j := range list {
		if len(jobs) > 0 && (edits+j.edits > maxGroupEdits || size+j.bytes > maxGroupBytes) {
			return jobs, list[i:]
		}
		if slow, ok := c.slow[j.push.space]; ok && j.state.Load() == queued {
			c.slow[j.push.space] = append(slow, j)
			continue
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
	space := j.push.space
	if c.queue[space]--; c.queue[space] == 0 {
		delete(c.queue, space)
	}
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
// goroutine that may wait for the space.
func (c *committer) follow(space string, jobs []*job) {
	c.mu.Lock()
	c.slow[space] = nil
	c.mu.Unlock()
	c.engine.committing.Go(func() {
		for jobs != nil {
			c.engine.slowly <- struct{}{}
			c.engine.commitGroup(jobs, true, nil)
			<-c.engine.slowly
			jobs = c.takeSlow(space)
		}
	})
}

// takeSlow returns the next group of a slow space. Where none is, the space is an
// ordinary one again.
func (c *committer) takeSlow(space string) []*job {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		list := c.slow[space]
		if len(list) == 0 {
			delete(c.slow, space)
			return nil
		}
		delete(c.slow, space) // so that cut doesn't put them back
		jobs, rest := c.cut(list)
		c.slow[space] = rest
		if len(jobs) > 0 {
			return jobs
		}
	}
}

// commitGroup commits jobs, all of which have been taken, and answers them.
// leftOut gets those whose space the store left out.
func (e *Engine) commitGroup(jobs []*job, wait bool, leftOut func(space string, jobs []*job)) {
	g := newGroup(jobs, e.opts.NewEpoch)
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	err := e.store.Commit(ctx, Group{Touches: g.touches(), Wait: wait, Decide: g.decide})
	var refused *GroupError
	if errors.As(err, &refused) && len(jobs) > 1 {
		// One of them is to blame. Alone, it can't hurt the others. Each waits for
		// its space, or the next push to the same space would overtake it.
		for _, j := range jobs {
			e.commitGroup([]*job{j}, true, nil)
		}
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
			leftOut(s.touch.Space, s.jobs)
		default:
			e.announce(ctx, &s.commit)
			for _, j := range s.jobs {
				j.finish(j.answer)
			}
		}
	}
}
