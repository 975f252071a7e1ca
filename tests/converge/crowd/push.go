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
