package crowd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
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

// push sends the front of the queue, or again what was not answered.
func (c *Client) push(ctx context.Context) error {
	if c.flight == nil {
		most := 1 + c.random.IntN(mostWaiting)
		for i, g := range c.queue {
			if i == most || i > 0 && (g.atomic() || c.queue[0].atomic()) {
				break
			}
			c.flight = append(c.flight, g)
		}
		c.asked = false
	}
	push := harness.Push{ClientID: c.name, Atomic: c.flight[0].atomic(), MinVersion: c.pushed}
	for _, g := range c.flight {
		for _, e := range g.edits {
			push.Edits = append(push.Edits, e.Edit)
			if !c.sent[e.EditID] {
				c.sent[e.EditID] = true
				c.tell(converge.Event{Kind: converge.KindSend, Edit: &converge.Edit{
					ID: e.EditID, Op: e.Op, Key: e.key, Base: e.BaseVersion, On: e.BaseEditID, Force: e.Force, Data: string(e.Data), Token: e.token,
				}})
			}
		}
	}
	from := c.cursor
	if c.stream == nil && from != "" && c.random.IntN(2) == 0 {
		push.Cursor, push.Limit = &from, c.limit()
	}
	answer, err := c.http.Push(ctx, c.stage.space(), push)
	var problem *harness.Problem
	if err != nil {
		// A problem says that nothing was done, unless it says that it doesn't know.
		if !errors.As(err, &problem) || problem.Code == "outcome_unknown" || problem.HTTPStatus == http.StatusInternalServerError {
			c.asked = true
		}
		return err
	}
	c.pushed = max(c.pushed, answer.Version)
	if err := c.take(answer.Results); err != nil {
		return err
	}
	if push.Cursor != nil {
		return c.turn("push", from, answer.Page)
	}
	return nil
}

// take takes in the results of the push that was under way.
func (c *Client) take(results []harness.Result) error {
	var sent []*edit
	last := map[string]int{} // of each document
	for _, g := range c.flight {
		for _, e := range g.edits {
			last[e.key] = len(sent)
			sent = append(sent, e)
		}
	}
	if len(results) != len(sent) {
		return fmt.Errorf("%s: %d results for %d edits", c.name, len(results), len(sent))
	}
	failed := map[*edit]bool{}
	for i, e := range sent {
		r := results[i]
		told := &converge.Result{ID: e.EditID, Status: r.Status, Version: r.Version, Merged: r.Merged, Replayed: r.Replayed}
		before := c.base[e.key]
		if r.Current != nil {
			told.Shown = docOf(*r.Current)
			c.hold(*docOf(*r.Current))
		}
		switch r.Status {
		case "applied":
			c.applied(e, r)
		case "conflict":
			failed[e] = true
			if r.Current == nil {
				delete(c.base, e.key)
			}
		case "skipped":
			failed[e] = true
		default:
			return fmt.Errorf("%s: edit %+v is %s: %+v", c.name, e.Edit, r.Status, r.Error)
		}
		event := converge.Event{Kind: converge.KindAnswer, Result: told}
		if now := c.base[e.key]; i == last[e.key] && now.Version > 0 && now.Version >= before.Version {
			event.Took = &now
		}
		c.tell(event)
	}
	c.land(failed)
	return nil
}

// applied puts the edit into what the server is known to have.
func (c *Client) applied(e *edit, r harness.Result) {
	doc := converge.Doc{Key: e.key, Version: r.Version, By: c.name + "/" + e.EditID}
	switch {
	case r.Merged || r.Version < c.base[e.key].Version || r.Version == 0:
		return // current has said what is there; or others have been there since; or nothing is
	case e.Op == "delete":
		doc.Deleted, doc.By = true, "" // it may have found the tombstone of another
	case e.Op == "patch":
		doc.Data = merged(c.base[e.key].Data, string(e.Data))
	default:
		doc.Data = string(e.Data)
	}
	c.base[e.key] = doc
}

// land takes what was applied out of the queue. If anything was not, all that waits is
// made anew, on what is there now.
func (c *Client) land(failed map[*edit]bool) {
	var left []*group
	for _, g := range c.flight {
		if slices.ContainsFunc(g.edits, func(e *edit) bool { return failed[e] }) {
			left = append(left, g)
		}
	}
	rest := c.queue[len(c.flight):]
	c.flight = nil
	c.queue = append(left, rest...)
	if len(left) > 0 {
		c.rebase()
	}
}

func (c *Client) rebase() {
	all := c.queue
	c.queue = nil
	for _, g := range all {
		c.queue = append(c.queue, g)
		if !c.make(len(c.queue)-1, true) {
			c.queue = c.queue[:len(c.queue)-1]
		}
	}
}

// hold takes a document in, unless a newer one is held.
func (c *Client) hold(d converge.Doc) {
	into := c.base
	if c.fresh != nil {
		into = c.fresh
	}
	if d.Version > into[d.Key].Version {
		into[d.Key] = d
	}
}

func (c *Client) limit() int { return []int{0, 7, 50}[c.random.IntN(3)] }

// pull asks for a page.
func (c *Client) pull(ctx context.Context, how string, seconds int) error {
	from := c.cursor
	page, err := c.http.Pull(ctx, c.stage.space(), harness.Pull{Cursor: from, Limit: c.limit(), Wait: seconds, MinVersion: c.pushed})
	if err != nil {
		return err
	}
	return c.turn(how, from, page)
}

// careless says whether the client now makes the mistake of misuse: each one does once
// it has made some edits, so that no run is without it, and then now and then.
func (c *Client) careless() bool {
	return !c.misused && c.edits >= 10 || c.random.IntN(harness.Size(25, 250)) == 0
}

// misuse asks with a filter that the cursor was not made for. The client takes the
// answer as one that it did not ask for: it must start again.
func (c *Client) misuse(ctx context.Context) error {
	_, err := c.http.Pull(ctx, c.stage.space(), harness.Pull{Cursor: c.cursor, Collections: []string{converge.Registers}})
	if err == nil {
		return errors.New("a cursor was taken with a filter that it was not made for")
	}
	var problem *harness.Problem
	c.misused = c.misused || errors.As(err, &problem) && problem.HTTPStatus == http.StatusGone
	return err
}

// turn takes a page in that was asked for at a cursor.
func (c *Client) turn(how, from string, page harness.Page) error {
	if from != c.cursor {
		return nil // of a cursor that the client has left
	}
	if page.HasMore && page.Cursor == from {
		return fmt.Errorf("%s: has_more did not advance the cursor", c.name)
	}
	if n := len(page.Changes); n > 0 {
		// The version of a push's answer is the head after the push; the page in it may be newer.
		page.Version = max(page.Version, page.Changes[n-1].Version)
	}
	told := &converge.Page{Start: c.fresh != nil && !c.begun, Version: page.Version, More: page.HasMore, Digest: page.Digest, Count: page.Count, By: how}
	c.begun = true
	for _, change := range page.Changes {
		doc := docOf(change)
		c.hold(*doc)
		told.Docs = append(told.Docs, *doc)
	}
	c.tell(converge.Event{Kind: converge.KindPage, Page: told})
	c.cursor = page.Cursor
	if page.HasMore {
		return nil
	}
	c.head = page.Version
	if c.fresh != nil {
		c.base, c.fresh = c.fresh, nil
		c.resolve()
	}
	return c.compare(page)
}

// compare holds what the client has against the digest, if it has nothing that is
// newer than the page. A difference is cured by a new start, once.
func (c *Client) compare(page harness.Page) error {
	if page.Digest == "" {
		return fmt.Errorf("%s: a page without more has no digest", c.name)
	}
	for _, doc := range c.base {
		if doc.Version > page.Version {
			return nil
		}
	}
	sum, count := converge.Sum(c.base)
	if sum == page.Digest && count == page.Count {
		c.suspect = false
		return nil
	}
	c.tell(converge.Event{Kind: converge.KindMismatch, Why: fmt.Sprintf("%s of %d at %d, the page says %s of %d", sum, count, page.Version, page.Digest, page.Count)})
	if !c.suspect {
		c.suspect = true
		c.startAgain("")
	}
	return nil
}

// startAgain is what a 410 asks for: from the start, without what the cursor and the
// pushes have told. Edits that were not sent stay.
func (c *Client) startAgain(cause string) {
	if cause != "" {
		c.tell(converge.Event{Kind: converge.KindExpired, Why: cause})
	}
	c.hangUp()
	c.cursor, c.fresh, c.begun, c.pushed, c.fails = "", map[string]converge.Doc{}, false, 0, 0
	if c.flight != nil && c.asked {
		c.doubt = append(c.doubt, c.flight...)
		c.queue = c.queue[len(c.flight):]
	}
	c.flight = nil
}

// resolve says what became of edits that were sent and never answered: if the snapshot
// shows them they were applied, else the app is told that nobody knows.
func (c *Client) resolve() {
	for _, g := range c.doubt {
		shown := func(e *edit) bool { return c.base[e.key].By == c.name+"/"+e.EditID }
		for _, e := range g.edits {
			kind := converge.KindOpen
			if shown(e) || g.atomic() && slices.ContainsFunc(g.edits, shown) {
				kind = converge.KindFound
			}
			c.tell(converge.Event{Kind: kind, EditID: e.EditID})
		}
	}
	c.doubt = nil
}

func docOf(change harness.Change) *converge.Doc {
	d := &converge.Doc{
		Key: change.Collection + "/" + change.ID, Version: change.Version, Deleted: change.Deleted,
		Data: string(change.Data), By: change.ClientID + "/" + change.EditID,
	}
	if change.Collection == converge.Forms && !change.Deleted {
		d.Data = merged(d.Data, "{}") // the server may write it in another way
	}
	return d
}

// follower is an open stream, whose pages wait in a channel.
type follower struct {
	stop  context.CancelFunc
	pages chan event
}

type event struct {
	page  harness.Page
	reset string
	err   error
}

// listen takes what has come on the stream, and opens it if there is none.
func (c *Client) listen(ctx context.Context) error {
	if c.stream == nil {
		if err := c.dial(ctx); err != nil {
			return err
		}
	}
	select {
	case e := <-c.stream.pages:
		switch {
		case e.err != nil:
			c.hangUp()
			return e.err
		case e.reset != "":
			c.startAgain(e.reset)
			return nil
		}
		return c.turn("stream", c.cursor, e.page)
	case <-time.After(50 * time.Millisecond):
		return nil
	}
}

func (c *Client) dial(ctx context.Context) error {
	query := url.Values{}
	if c.cursor != "" {
		query.Set("cursor", c.cursor)
	}
	if c.pushed > 0 {
		query.Set("min_version", strconv.FormatInt(c.pushed, 10))
	}
	path := "/v1/spaces/" + c.stage.space() + "/stream?" + query.Encode()
	living, stop := context.WithCancel(context.WithoutCancel(ctx))
	// Only opening it is bounded; it lasts until the client hangs up.
	opening := context.AfterFunc(ctx, stop)
	stream, err := c.http.Stream(living, path, nil)
	if !opening() && err == nil {
		stream.Close()
		err = ctx.Err()
	}
	if err != nil {
		stop()
		return err
	}
	f := &follower{stop: stop, pages: make(chan event, 1000)}
	c.stream = f
	c.stage.streams.Go(func() {
		defer stream.Close()
		for {
			e := next(stream)
			select {
			case f.pages <- e:
			case <-living.Done():
				return
			}
			if e.err != nil || e.reset != "" {
				return
			}
		}
	})
	return nil
}

// next reads the next event that matters.
func next(stream *harness.Stream) event {
	for {
		got, err := stream.Next()
		if err != nil {
			return event{err: fmt.Errorf("the stream has ended: %w", err)}
		}
		switch got.Name {
		case "changes":
			var page harness.Page
			err := json.Unmarshal([]byte(got.Data), &page)
			return event{page: page, err: err}
		case "reset":
			var problem harness.Problem
			err := json.Unmarshal([]byte(got.Data), &problem)
			return event{reset: problem.Cause, err: err}
		case "bye":
			return event{err: errors.New("the server says bye")}
		}
	}
}

func (c *Client) hangUp() {
	if c.stream != nil {
		c.stream.stop()
		c.stream = nil
	}
}
