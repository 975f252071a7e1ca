package crowd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/tidemark/tidemark/tests/converge"
	"github.com/tidemark/tidemark/tests/harness"
)

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
