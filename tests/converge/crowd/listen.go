package crowd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/tidemark/tidemark/tests/harness"
)

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
