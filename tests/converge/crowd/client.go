package crowd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/tidemark/tidemark/tests/converge"
	"github.com/tidemark/tidemark/tests/harness"
)

// Space is the one that clients edit unless their stage names another.
const Space = "converge"

const (
	requestTimeout = 5 * time.Second // of anything but a stream
	mostWaiting    = 5               // groups in a queue: a user waits when nothing goes out
)

// Client is an optimistic client as DESIGN wants it: what the user does is seen at
// once and goes into a queue; one push is under way at a time, and one that was not
// answered is sent again, whole, before anything else; conflicts are rebased.
type Client struct {
	name   string
	http   *harness.Client
	random *rand.Rand
	record *converge.Recorder
	stage  *Stage

	base  map[string]converge.Doc // the server's state, as far as it is known
	queue []*group                // the user's edits on top of it

	cursor string
	fresh  map[string]converge.Doc // the snapshot that is being read; nil: none is
	begun  bool                    // a page of it was taken in
	head   int64                   // of the newest page without more
	pushed int64                   // the newest version that a push was answered

	flight []*group // the front of the queue that is under way
	sent   map[string]bool
	asked  bool // flight was sent and may have arrived
	doubt  []*group

	stream *follower
	poll   int // how it listens, for a while: pull, poll or stream

	suspect bool // the digest was wrong, and the snapshot that cures that is under way
	wishes  int
	edits   int
	misused bool // was told that its cursor is for another filter
	fails   int  // in a row
}

// New returns a client that begins with nothing; i chooses how it listens at first. Its
// edits are those of random, what it meets goes into the record.
func New(name string, i int, http *harness.Client, random *rand.Rand, record *converge.Recorder, stage *Stage) *Client {
	return &Client{
		name: name, http: http, random: random, record: record, stage: stage,
		poll: i % 3, base: map[string]converge.Doc{}, fresh: map[string]converge.Doc{}, sent: map[string]bool{},
	}
}

// Run lets the user edit while the stage says so, then sends what waits, and ends
// when the client has seen all there is.
func (c *Client) Run(ctx context.Context) error {
	defer c.hangUp()
	settled := false
	for {
		editing := c.stage.editing()
		if editing && len(c.queue) < mostWaiting && c.fresh == nil && c.random.IntN(2) == 0 {
			c.queue = append(c.queue, &group{intent: c.wish()})
			if !c.make(len(c.queue)-1, false) {
				c.queue = c.queue[:len(c.queue)-1]
			}
		}
		err := c.step(ctx)
		if ctx.Err() != nil {
			c.tell(converge.Event{Kind: converge.KindStuck, Why: fmt.Sprintf(
				"%d edits wait, seen to %d of %d, %d failures in a row, the last: %v", len(c.queue), c.head, c.stage.target.Load(), c.fails, err)})
			return nil
		}
		if err := c.excuse(err); err != nil {
			return err
		}
		if !editing && !settled && len(c.queue) == 0 && len(c.doubt) == 0 && c.fresh == nil {
			settled = true
			c.stage.settled.Add(1)
		}
		if target := c.stage.target.Load(); settled && target > 0 && c.head >= target && c.fresh == nil {
			c.tell(converge.Event{Kind: converge.KindEnd})
			return nil
		}
		if err := Wait(ctx, c.pause(editing)); err != nil {
			continue // told above
		}
	}
}

// pause is the time to the next step: of a user who thinks, and longer after failures.
func (c *Client) pause(editing bool) time.Duration {
	pause := time.Duration(0)
	if editing {
		pause = time.Duration(c.random.Int64N(int64(c.stage.Think)))
	}
	if c.fails > 0 {
		most := min(time.Second, 20*time.Millisecond<<min(c.fails, 10))
		pause += time.Duration(c.random.Int64N(int64(most)))
	} else if c.stage.target.Load() > 0 || len(c.queue) == 0 {
		pause += 10 * time.Millisecond
	}
	return pause
}

// excuse takes what goes wrong on a bad network and with servers that come and go.
func (c *Client) excuse(err error) error {
	var problem *harness.Problem
	switch {
	case err == nil:
		c.fails = 0
		return nil
	case !errors.As(err, &problem):
		c.fails++ // no answer
		return nil
	case problem.HTTPStatus == http.StatusServiceUnavailable, problem.HTTPStatus == http.StatusTooManyRequests:
		c.fails++
		return nil
	case problem.HTTPStatus == http.StatusGone && problem.Code == "cursor_expired":
		c.startAgain(problem.Cause)
		return nil
	}
	c.tell(converge.Event{Kind: converge.KindError, Why: problem.Error()})
	if problem.HTTPStatus >= http.StatusInternalServerError {
		c.fails++
		return nil
	}
	return fmt.Errorf("%s: %w", c.name, problem)
}

func (c *Client) tell(e converge.Event) {
	e.Client = c.name
	c.record.Add(e)
}

// step is one thing that a client does.
func (c *Client) step(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	switch {
	case c.fresh == nil && len(c.queue) > 0 && c.random.IntN(4) > 0:
		return c.push(ctx)
	case c.fresh == nil && c.stream == nil && c.stage.editing() && c.careless():
		return c.misuse(ctx)
	}
	if c.random.IntN(40) == 0 {
		c.hangUp()
		c.poll = c.random.IntN(3)
	}
	switch c.poll {
	case 0:
		return c.pull(ctx, "pull", 0)
	case 1:
		if len(c.queue) > 0 || c.fresh != nil {
			return c.pull(ctx, "pull", 0) // a long poll would keep the user's edits waiting
		}
		return c.pull(ctx, "poll", 1)
	default:
		return c.listen(ctx)
	}
}
