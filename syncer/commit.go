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
	// commitTimeout bounds how long a push waits: one that has not begun by then is
	// not run, for its client has given up. A transaction may take as long again.
	commitTimeout = 10 * time.Second

	// A group takes what is queued, up to here: enough to share a commit's cost,
	// little enough that nobody waits long for the transaction of others.
	maxGroupEdits = 1000
	maxGroupBytes = 4 << 20

	// Small groups cost the database much the same as larger ones. So beside another
	// one a group begins once there is enough for it, or when it has been patient for
	// long. What there is counts in edits, a push as ten at least, for much of its
	// cost is its own.
	enough    = 140
	pushCount = 10
	patience  = 20 * time.Millisecond

	// What waits on a node is bounded. Beyond it a push is refused at once, which is
	// better than an answer that comes too late.
	maxQueuedPushes = 4096
	maxQueuedBytes  = 64 << 20

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

func (j *job) count() int { return max(j.edits, pushCount) }

func (j *job) finish(a answer) {
	j.answer, j.answered = a, true
	close(j.done)
}

// committer carries out the queued pushes, as many as there are in one transaction.
// Several transactions may be under way, but no two of the same space: so its pushes
// are committed in the order they came, and the tail hears of them in that order.
//
// A lone push is committed at once, without a timer; under load the pushes that
// arrive during one commit share the next one.
type committer struct {
	engine *Engine

	mu      sync.Mutex
	waiting []*job          // in the order they came
	ready   int             // what waits for no group, as enough counts
	groups  int             // transactions under way
	alarm   *time.Timer     // ends the patience of what waits for company; nil: nothing does
	hurry   bool            // it has ended
	taken   map[string]bool // the spaces of groups
	queue   map[string]int  // pushes not yet begun, by space
	queued  int             // all of them
	bytes   int             // their documents
	// slow holds the pushes to spaces that somebody else had locked, or that were
	// not there yet, when their group came. Each space is followed by a goroutine of
	// its own that may wait, and gets what comes meanwhile: none of its pushes is in
	// waiting, or a later one could overtake an earlier one.
	slow map[string][]*job
}

func newCommitter(e *Engine) *committer {
	return &committer{engine: e, taken: make(map[string]bool), queue: make(map[string]int), slow: make(map[string][]*job)}
}

// commit has p decided and committed, and returns what became of it.
func (e *Engine) commit(ctx context.Context, p *push) (answer, error) {
	if err := ctx.Err(); err != nil {
		return answer{}, err // the client has gone; better not begun than not answered
	}
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
	case c.queued >= maxQueuedPushes || c.bytes >= maxQueuedBytes:
		return &models.Error{
			Code: models.CodeUnavailable, RetryAfter: time.Second,
			Detail: "Too many pushes are waiting. Nothing was changed; try again.",
		}
	}
	c.enqueue(j)
	if list, ok := c.slow[space]; ok {
		c.slow[space] = append(list, j)
		return nil
	}
	c.waiting = append(c.waiting, j)
	if !c.taken[space] {
		c.ready += j.count()
		c.start()
	}
	return nil
}

// enqueue counts a push that has not begun.
func (c *committer) enqueue(j *job) {
	c.queue[j.push.space]++
	c.queued++
	c.bytes += j.bytes
}

// dequeue counts a push that begins, or never will.
func (c *committer) dequeue(j *job) {
	if c.queue[j.push.space]--; c.queue[j.push.space] == 0 {
		delete(c.queue, j.push.space)
	}
	c.queued--
	c.bytes -= j.bytes
}

// start begins the groups that may begin.
func (c *committer) start() {
	for jobs := c.next(); jobs != nil; jobs = c.next() {
		c.groups++
		c.engine.committing.Go(func() { c.run(jobs) })
	}
}

// next takes the next group and its spaces, if one may begin.
func (c *committer) next() []*job {
	switch {
	case c.ready == 0 || c.groups == c.engine.opts.Committers:
		return nil
	case c.groups > 0 && c.ready < enough && !c.hurry:
		if c.alarm == nil {
			c.alarm = time.AfterFunc(patience, c.endPatience)
		}
		return nil
	}
	if c.alarm != nil {
		c.alarm.Stop()
	}
	c.alarm, c.hurry = nil, false
	jobs, rest := c.cut(c.waiting, c.taken)
	c.waiting = rest
	for _, j := range jobs {
		c.taken[j.push.space] = true
	}
	c.countReady()
	return jobs // none, if nobody waits for them any more
}

func (c *committer) endPatience() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alarm, c.hurry = nil, true
	c.start()
}

// countReady counts what may begin after spaces were taken or given back.
func (c *committer) countReady() {
	c.ready = 0
	for _, j := range c.waiting {
		if !c.taken[j.push.space] {
			c.ready += j.count()
		}
	}
}

// run commits a group and begins what waited for its end.
func (c *committer) run(jobs []*job) {
	spaces := make([]string, len(jobs)) // commitGroup hands jobs over
	for i, j := range jobs {
		spaces[i] = j.push.space
	}
	c.engine.commitGroup(jobs, false, c.follow)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.groups--
	for _, space := range spaces {
		delete(c.taken, space)
	}
	c.countReady()
	c.start()
}

// cut takes the jobs of one group off list, without those that nobody waits for any
// more and those of spaces that are taken.
func (c *committer) cut(list []*job, taken map[string]bool) (jobs, rest []*job) {
	edits, size := 0, 0
	rest = list[:0]
	for i, j := range list {
		switch {
		case taken[j.push.space]:
			rest = append(rest, j)
			continue
		case len(jobs) > 0 && (edits+j.edits > maxGroupEdits || size+j.bytes > maxGroupBytes):
			rest = append(rest, list[i:]...)
			clear(list[len(rest):])
			return jobs, rest
		}
		if c.begin(j) {
			jobs = append(jobs, j)
			edits, size = edits+j.edits, size+j.bytes
		}
	}
	clear(list[len(rest):])
	return jobs, rest
}

// begin reports whether j is to be run.
func (c *committer) begin(j *job) bool {
	c.dequeue(j)
	if !j.state.CompareAndSwap(queued, taken) {
		return false
	}
	return !c.engine.tooOld(j)
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

// follow has the pushes to a space that was left out of its group committed by a
// goroutine that may wait for the space. They have not begun after all, so they wait
// once more, in front of what came meanwhile.
func (c *committer) follow(space string, jobs []*job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, j := range jobs {
		j.state.Store(queued)
		c.enqueue(j)
	}
	c.waiting = slices.DeleteFunc(c.waiting, func(j *job) bool {
		if j.push.space != space {
			return false
		}
		jobs = append(jobs, j)
		return true
	})
	c.countReady()
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
	jobs, rest := c.cut(c.slow[space], nil)
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
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	defer e.answerAfterPanic(ctx, g)
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
func (e *Engine) answerAfterPanic(ctx context.Context, g *group) {
	r := recover()
	if r == nil {
		return
	}
	bug := &panicError{r, debug.Stack()}
	e.opts.Logger.ErrorContext(ctx, "commit panicked", "error", bug)
	failure := &models.Error{
		Code: models.CodeOutcomeUnknown, RetryAfter: time.Second,
		Detail: "Something went wrong here while the edits were committed. Send the same request again to find out.",
		Err:    bug,
	}
	for i := range g.spaces {
		for _, j := range g.spaces[i].jobs {
			if !j.answered {
				j.finish(answer{err: failure})
			}
		}
	}
}

// panicError is a bug that a commit ran into.
type panicError struct {
	value any
	stack []byte
}

// Error returns what the panic said and where.
func (e *panicError) Error() string {
	return fmt.Sprintf("panic in a commit: %v\n%s", e.value, e.stack)
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
