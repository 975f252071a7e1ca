package syncer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/guard"
)

const (
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

	// What waits on a node is bounded, also in bytes of documents. Beyond it a push is
	// refused at once, which is better than an answer that comes too late.
	maxQueuedPushes = 4096
	maxQueuedBytes  = 64 << 20

	// maxSlowSpaces is how many spaces a node waits for at a time, each on a
	// connection of its own.
	maxSlowSpaces = 8
)

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

// unlock, deferred, ends what holds mu. What has panicked meanwhile may have left the
// books half written, and pushes in no list that anybody looks at. So all that has not
// begun is sent away, and the books begin anew. Groups that are under way go on, and
// meet what comes now as they meet the groups of another node: in the database.
func (c *committer) unlock() {
	if r := recover(); r != nil {
		c.sendAway()
		c.mu.Unlock()
		panic(r)
	}
	c.mu.Unlock()
}

func (c *committer) sendAway() {
	waiting := c.waiting
	for _, jobs := range c.slow {
		waiting = append(waiting, jobs...)
	}
	for _, j := range waiting {
		// One that has been taken and is still in a list was on its way into a group.
		if j.state.Swap(dropped) != dropped && !j.answered {
			j.finish(answer{err: &models.Error{
				Code: models.CodeUnavailable, RetryAfter: time.Second,
				Detail: "Something went wrong here before the push began. Nothing was changed; try again.",
			}})
		}
	}
	if c.alarm != nil {
		c.alarm.Stop()
	}
	c.waiting, c.ready, c.groups, c.alarm, c.queued, c.bytes = nil, 0, 0, nil, 0, 0
	clear(c.taken)
	clear(c.queue)
	clear(c.slow)
}

// add queues j. Errors: CodeSpaceBusy, CodeUnavailable.
func (c *committer) add(j *job) error {
	c.mu.Lock()
	defer c.unlock()
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
	for c.ready > 0 && c.groups < c.engine.opts.Committers {
		if c.groups > 0 && c.ready < enough {
			if c.alarm == nil {
				c.alarm = time.AfterFunc(patience, func() { c.do("the end of patience", c.endPatience) })
			}
			return
		}
		c.begin()
	}
}

// endPatience begins a group without company.
func (c *committer) endPatience() {
	c.mu.Lock()
	defer c.unlock()
	c.alarm = nil
	if c.ready > 0 && c.groups < c.engine.opts.Committers {
		c.begin()
	}
}

// begin begins a group with what is ready.
func (c *committer) begin() {
	if c.alarm != nil {
		c.alarm.Stop()
		c.alarm = nil
	}
	jobs, rest := c.cut(c.waiting, c.taken)
	c.waiting = rest
	for _, j := range jobs {
		c.taken[j.push.space] = true
	}
	c.countReady()
	if len(jobs) > 0 { // else nobody waits for them any more
		c.groups++
		c.engine.committing.Go(func() { c.do("a group", func() { c.run(jobs) }) })
	}
}

// do is how goroutines of the committer begin.
func (c *committer) do(name string, do func()) {
	guard.Do(context.Background(), c.engine.opts.Logger, name, do)
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
	defer c.giveBack(spaces)
	c.engine.commitGroup(jobs, false, c.follow)
}

// giveBack ends a group.
func (c *committer) giveBack(spaces []string) {
	c.mu.Lock()
	defer c.unlock()
	c.groups = max(c.groups-1, 0) // the books may have begun anew meanwhile
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
	for i, j := range list {
		switch {
		case taken[j.push.space]:
			rest = append(rest, j) // not within list, see sendAway
			continue
		case len(jobs) > 0 && (edits+j.edits > maxGroupEdits || size+j.bytes > maxGroupBytes):
			return jobs, append(rest, list[i:]...)
		}
		if c.runs(j) {
			jobs = append(jobs, j)
			edits, size = edits+j.edits, size+j.bytes
		}
	}
	return jobs, rest
}

// runs reports whether j is to be run, and takes it.
func (c *committer) runs(j *job) bool {
	c.dequeue(j)
	if !j.state.CompareAndSwap(queued, taken) {
		return false
	}
	return !c.engine.tooOld(j)
}

// follow has the pushes to a space that was left out of its group committed by a
// goroutine that may wait for the space. They have not begun after all, so they wait
// once more, in front of what came meanwhile.
func (c *committer) follow(space string, jobs []*job) {
	c.mu.Lock()
	defer c.unlock()
	c.slow[space] = jobs // first of all, where sendAway finds them
	for _, j := range jobs {
		j.state.Store(queued)
		c.enqueue(j)
	}
	c.waiting = slices.DeleteFunc(c.waiting, func(j *job) bool {
		if j.push.space != space {
			return false
		}
		c.slow[space] = append(c.slow[space], j)
		return true
	})
	c.countReady()
	c.engine.committing.Go(func() {
		for more := true; more; {
			c.do("a slow space", func() { more = c.commitSlow(space) })
		}
	})
}

// commitSlow commits the next group of a slow space, and reports whether there was one.
func (c *committer) commitSlow(space string) bool {
	c.engine.slowly <- struct{}{}
	defer func() { <-c.engine.slowly }()
	jobs := c.takeSlow(space)
	if len(jobs) == 0 {
		return false
	}
	c.engine.commitGroup(jobs, true, nil)
	return true
}

// takeSlow returns the next group of a slow space. Where none is, the space is an
// ordinary one again.
func (c *committer) takeSlow(space string) []*job {
	c.mu.Lock()
	defer c.unlock()
	jobs, rest := c.cut(c.slow[space], nil)
	if c.slow[space] = rest; len(jobs) == 0 {
		delete(c.slow, space)
	}
	return jobs
}
