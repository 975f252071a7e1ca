package syncer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/guard"
)

const (
	// inboxName is the subject and the client of what comes out of the inbox.
	inboxName = "inbox"

	// maxCollected is how many spaces' rows are on their way at a time. More would
	// only stand in the queue before the pushes of clients.
	maxCollected = 64

	// inboxSpaces is how many spaces one statement reads rows of.
	inboxSpaces = 16

	// A row that can't be carried out is tried so often, alone, with pauses from one
	// second that double up to this one. That is about two minutes.
	inboxTries    = 8
	maxInboxPause = time.Minute
)

// collector has the rows of the inbox carried out: it looks for them at each tick
// and when it is poked, and hands them, space by space, to the committers, as
// pushes like any other.
//
// Any number of nodes may do so at the same time. What a collector has read is only
// a guess: which of the rows are still there is found out under the lock of their
// space, and the transaction that carries them out deletes them. So each is carried
// out once, and since every node takes the first rows of a space, none overtakes one
// that was visible before it.
type collector struct {
	engine *Engine
	wake   chan struct{} // of one: there may be rows

	// quiet: another node was faster, and it hears the same pokes. One that does all
	// the work is enough, so until the next tick pokes are not for this node.
	quiet atomic.Bool

	carrying sync.WaitGroup // one goroutine for each busy space
	after    string         // where the next look begins; run's alone
	blind    bool           // the last look has failed; run's alone

	mu     sync.Mutex
	spaces map[string]*inboxSpace
}

// inboxSpace is a space whose rows are on their way, or have failed not long ago.
type inboxSpace struct {
	busy  bool
	limit int       // of rows at a time
	row   int64     // the first one when it failed alone
	tries int       // how often it has
	until time.Time // not before then
	waits bool      // for something that passes by itself, and the log says so
}

func newCollector(e *Engine) *collector {
	return &collector{engine: e, wake: make(chan struct{}, 1), spaces: make(map[string]*inboxSpace)}
}

// look has the inbox looked at without delay.
func (c *collector) look() {
	select {
	case c.wake <- struct{}{}:
	default: // it has not been looked at since the last one
	}
}

// run collects until ctx ends, and returns when nothing is on its way any more.
func (c *collector) run(ctx context.Context) {
	defer c.carrying.Wait()
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-c.wake:
			if !c.quiet.Load() {
				c.collect(ctx)
			}
		case <-tick.C:
			c.quiet.Store(false)
			c.collect(ctx)
		}
	}
}

// collect starts on the rows of all spaces that have any, as far as there is room.
// The next look goes on from there, so that no space has to wait for all rows of
// others.
func (c *collector) collect(ctx context.Context) {
	began, found := c.after, 0
	for {
		skip, room := c.occupied()
		if room <= 0 {
			return
		}
		want := InboxRange{After: c.after, Skip: skip, Spaces: min(room, inboxSpaces)}
		rows, err := c.engine.store.Inbox(ctx, want)
		if err != nil {
			// The next tick tries again.
			c.engine.opts.Logger.Log(ctx, levelOfWaiting(ctx, c.blind), "inbox not read", "error", err)
			c.blind = true
			return
		}
		c.blind = false
		found += len(rows)
		c.engine.metrics.inboxRows.Set(float64(found))
		if c.startEach(ctx, rows) < want.Spaces {
			if c.after = ""; began != "" {
				c.look() // the spaces before it
			}
			return
		}
	}
}

// startEach starts on rows, space by space, and returns of how many spaces they are.
func (c *collector) startEach(ctx context.Context, rows []models.Inbox) (spaces int) {
	for ; len(rows) > 0; spaces++ {
		c.after = rows[0].Space
		end := slices.IndexFunc(rows, func(r models.Inbox) bool { return r.Space != c.after })
		if end < 0 {
			end = len(rows)
		}
		c.start(ctx, rows[:end:end])
		rows = rows[end:]
	}
	return spaces
}

// occupied lists the spaces to leave alone, and says how many others there is room for.
func (c *collector) occupied() (names []string, room int) {
	now := c.engine.opts.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	room = maxCollected
	for name, s := range c.spaces {
		switch {
		case s.busy:
			room--
			names = append(names, name)
		case now.Before(s.until):
			names = append(names, name)
		case now.Sub(s.until) > maxInboxPause:
			delete(c.spaces, name) // its rows have gone another way
		}
	}
	return names, room
}

// start has rows, which are of one space, carried out.
func (c *collector) start(ctx context.Context, rows []models.Inbox) {
	rows, hopeless := c.occupy(rows)
	c.carrying.Go(func() {
		ended := guard.Do(ctx, c.engine.opts.Logger, "the inbox", func() {
			done, err := c.carry(ctx, rows, hopeless)
			c.end(ctx, rows, done, err)
		})
		if !ended {
			c.forget(rows[0].Space)
		}
	})
}

// occupy makes the space of rows busy with those that it returns. hopeless: with the
// first of them the server has failed too often.
func (c *collector) occupy(rows []models.Inbox) (some []models.Inbox, hopeless bool) {
	space := rows[0].Space
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.spaces[space]
	if s == nil {
		s = &inboxSpace{limit: models.MaxEdits}
		c.spaces[space] = s
	}
	s.busy = true
	rows = rows[:min(len(rows), s.limit)]
	if s.row != rows[0].InboxID {
		s.tries = 0
	}
	return rows, s.tries >= inboxTries
}

// forget lets go of what is known of a space, so that its rows are taken up anew.
func (c *collector) forget(space string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.spaces, space)
}

// carry carries rows out, and returns how many it has taken out of the inbox. A
// panic over a row is an error like any other.
func (c *collector) carry(ctx context.Context, rows []models.Inbox, hopeless bool) (done int, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = guard.Caught(r)
		}
	}()
	switch {
	case !models.ValidSpace(rows[0].Space):
		// There is no space whose lock could be taken. Nobody else needs it either.
		return c.reject(ctx, rows, models.EditError{
			Code: models.CodeInvalidSpace, Pointer: "/space", Detail: "a space is named by " + models.SpacePattern,
		})
	case hopeless:
		return c.reject(ctx, rows, models.EditError{
			Code: models.CodeInternal, Detail: "the server failed over this row again and again; its log says how",
		})
	}
	answer, err := c.engine.commit(ctx, newInboxPush(rows))
	if err != nil {
		return 0, err
	}
	failed := func(r models.EditResult) bool { return r.Status != models.StatusApplied }
	if i := slices.IndexFunc(answer.results, failed); i >= 0 {
		r := &answer.results[i]
		c.engine.opts.Logger.WarnContext(ctx, "inbox rows rejected", "space", rows[0].Space,
			"first_edit_id", r.EditID, "code", inboxProblem(r).Code)
	}
	return len(answer.results), nil
}

// reject moves rows to the rejected ones without a look at any document, and returns
// how many: none where somebody holds their locks, or another node was faster.
func (c *collector) reject(ctx context.Context, rows []models.Inbox, problem models.EditError) (done int, err error) {
	ids := make([]int64, len(rows))
	for i := range rows {
		ids[i] = rows[i].InboxID
	}
	done, err = c.engine.store.RejectInbox(ctx, ids, problem)
	if done > 0 && err == nil {
		c.engine.opts.Logger.WarnContext(ctx, "inbox rows rejected", "space", rows[0].Space,
			"first_edit_id", inboxEditID(ids[0]), "code", problem.Code)
	}
	return done, err
}

// end decides how to go on with a space.
//
// A database that is away, a lock that is held, a full queue pass by themselves: the
// next tick tries again. Anything else is a fault of the server over some row, and
// order forbids to simply go on with the rows after it. So fewer are taken each
// time until the first one fails alone. It is tried again for a while, in case that
// the fault is mended or was of another kind; then it is moved to the rejected ones,
// where it is not lost, because a space must not stand still for ever. Other spaces
// don't notice.
func (c *collector) end(ctx context.Context, rows []models.Inbox, done int, err error) {
	space, log := rows[0].Space, c.engine.opts.Logger
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.spaces[space]
	s.busy, s.until = false, c.engine.opts.Now()
	switch {
	case err == nil:
		if s.limit, s.tries, s.waits = 2*s.limit, 0, false; s.limit >= models.MaxEdits {
			delete(c.spaces, space)
		}
		if done == 0 {
			c.quiet.Store(true)
		} else {
			c.look() // for what has come meanwhile
		}
	case temporary(err):
		s.until = s.until.Add(refreshEvery / 2) // not at the look that other spaces call for
		log.Log(ctx, levelOfWaiting(ctx, s.waits), "inbox rows not carried out", "space", space, "error", err)
		s.waits = true
	case len(rows) > 1:
		s.limit = len(rows) / 2
		log.WarnContext(ctx, "inbox rows failed", "space", space, "rows", len(rows), "error", err)
	default:
		pause := min(time.Second<<s.tries, maxInboxPause)
		s.row, s.tries = rows[0].InboxID, s.tries+1
		s.until = s.until.Add(pause)
		log.ErrorContext(ctx, "inbox row failed", "space", space, "inbox_id", rows[0].InboxID, "tries", s.tries, "error", err)
	}
}

// levelOfWaiting is how the log hears of something that should pass by itself: once,
// when it begins, for it may not pass.
func levelOfWaiting(ctx context.Context, already bool) slog.Level {
	if already || ctx.Err() != nil {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// temporary reports whether an error says nothing about the rows.
func temporary(err error) bool {
	if guard.Is(err) {
		return false // the same rows would meet the same bug
	}
	switch models.CodeOf(err) {
	case models.CodeUnavailable, models.CodeOutcomeUnknown, models.CodeSpaceBusy:
		return true
	}
	return errors.Is(err, context.Canceled)
}

// newInboxPush makes a push of rows of one space. Nobody will ever retry it: what it
// has done is gone from the inbox. So it needs no receipts.
func newInboxPush(rows []models.Inbox) *push {
	p := &push{space: rows[0].Space, subject: inboxName, clientID: inboxName}
	for i := range rows {
		r := &rows[i]
		one := models.Edit{
			EditID: inboxEditID(r.InboxID), Op: models.Op(r.Op), Collection: r.Collection, ID: r.ID,
			BaseVersion: r.BaseVersion, Force: r.BaseVersion == nil,
		}
		if r.Data != nil {
			one.Data = []byte(strings.Trim(*r.Data, " \t\r\n")) // what a client sends begins and ends with its braces
		}
		n := newEdit(one)
		n.unnamed = true
		p.inbox, p.edits = append(p.inbox, r.InboxID), append(p.edits, n)
	}
	return p
}

// inboxEditID lets a change be traced back to its row.
func inboxEditID(id int64) string { return inboxName + "-" + strconv.FormatInt(id, 10) }

// decideInbox decides those rows that are still there. It returns the results of
// those that leave the inbox, and takes them out.
func (p *push) decideInbox(locked Locked) ([]models.EditResult, Writes, error) {
	here := *p
	here.edits, here.inbox = nil, nil
	for i, id := range p.inbox {
		if locked.Inbox[id] {
			here.edits, here.inbox = append(here.edits, p.edits[i]), append(here.inbox, id)
		}
	}
	for len(here.edits) > 0 {
		results, w, err := here.decide(locked)
		if err != nil {
			return nil, Writes{}, err
		}
		// Together they write too much. Their writer couldn't know with which others
		// a row would be taken, so this one and all after it wait for the next time.
		// It is never the first, for one document always fits.
		if n := slices.IndexFunc(results, tooMuch); n > 0 {
			here.edits, here.inbox = here.edits[:n], here.inbox[:n]
			continue
		}
		for i := range results {
			w.Inbox = append(w.Inbox, InboxFate{ID: here.inbox[i], Problem: inboxProblem(&results[i])})
		}
		return results, w, nil
	}
	return nil, Writes{}, nil
}

func tooMuch(r models.EditResult) bool {
	return r.Error != nil && r.Error.Code == models.CodePushTooLarge
}

// inboxProblem is why a row was rejected, nil if it was carried out.
func inboxProblem(r *models.EditResult) *models.EditError {
	switch {
	case r.Status == models.StatusApplied:
		return nil
	case r.Error != nil:
		return r.Error
	case r.Current == nil:
		return &models.EditError{Code: models.CodeVersionConflict, Detail: "there is no such document"}
	}
	detail := fmt.Sprintf("the document is at version %d", r.Current.Version)
	if r.Current.Deleted {
		detail = fmt.Sprintf("the document was deleted at version %d", r.Current.Version)
	}
	return &models.EditError{Code: models.CodeVersionConflict, Detail: detail}
}
