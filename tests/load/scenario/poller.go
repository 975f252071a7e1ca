package scenario

import (
	"context"
	"fmt"

	"github.com/tidemark/tidemark/tests/load/wire"
)

// poller is a client that pulls one space.
type poller struct {
	target  wire.Target
	conn    *wire.Conn
	token   string
	space   string
	cursor  []byte
	request []byte
}

// newPoller connects client i of a deployment.
func (d *deployment) newPoller(ctx context.Context, i int, space string) (*poller, error) {
	token, err := d.token(i)
	if err != nil {
		return nil, err
	}
	conn, err := wire.Dial(ctx, d.target(i))
	if err != nil {
		return nil, err
	}
	return &poller{target: d.target(i), conn: conn, token: token, space: space}, nil
}

func closePollers(pollers []*poller) {
	for _, p := range pollers {
		if p != nil {
			p.conn.Close()
		}
	}
}

// follow makes the request of the next polls: what came after the cursor, and
// 304 if nothing did.
func (p *poller) follow(cursor []byte) {
	p.cursor = append(p.cursor[:0], cursor...)
	p.request = p.target.Get("/v1/spaces/"+p.space+"/changes?cursor="+string(p.cursor), p.token,
		`If-None-Match: "`+string(p.cursor)+`"`)
}

// catchUp pulls until there is no more, and returns how many changes came.
func (p *poller) catchUp(ctx context.Context) (changes int, err error) {
	path := "/v1/spaces/" + p.space + "/changes?limit=1000"
	cursor := ""
	for {
		request := path
		if cursor != "" {
			request += "&cursor=" + cursor
		}
		answer, err := p.conn.Do(ctx, p.target.Get(request, p.token))
		if err != nil {
			return changes, err
		}
		page, err := pageOf(answer)
		if err != nil {
			return changes, err
		}
		changes += page.Changes
		cursor = string(page.Cursor)
		if !page.More {
			p.follow(page.Cursor)
			return changes, nil
		}
	}
}

// fallBehind fills the space, catches up, and lets some more changes happen.
func (p *poller) fallBehind(ctx context.Context, d *deployment, i, behind int) error {
	w, err := d.newWriter(ctx, i, p.space)
	if err != nil {
		return err
	}
	defer w.conn.Close()
	if err := w.create(ctx, documentsBefore); err != nil {
		return err
	}
	if _, err := p.catchUp(ctx); err != nil {
		return err
	}
	for range behind {
		if err := w.create(ctx, 1); err != nil {
			return err
		}
	}
	return nil
}

// repeat polls from the same cursor over and over and expects as many changes
// each time: 0 is 304.
func (p *poller) repeat(changes int) step {
	return func(ctx context.Context) (int, error) {
		answer, err := p.conn.Do(ctx, p.request)
		if err != nil {
			return 0, err
		}
		if changes == 0 {
			if answer.Status != 304 {
				return 0, fmt.Errorf("an idle poll was answered with %d: %.300s", answer.Status, answer.Body)
			}
			return 1, nil
		}
		page, err := pageOf(answer)
		if err == nil && page.Changes != changes {
			err = fmt.Errorf("a poll brought %d changes, want %d", page.Changes, changes)
		}
		return 1, err
	}
}

// poll asks once and moves on. It returns how many changes came.
func (p *poller) poll(ctx context.Context) (int, error) {
	answer, err := p.conn.Do(ctx, p.request)
	if err != nil || answer.Status == 304 {
		return 0, err
	}
	page, err := pageOf(answer)
	if err != nil {
		return 0, err
	}
	p.follow(page.Cursor)
	return page.Changes, nil
}

func pageOf(answer wire.Answer) (wire.Page, error) {
	if answer.Status != 200 {
		return wire.Page{}, fmt.Errorf("a pull was answered with %d: %.300s", answer.Status, answer.Body)
	}
	return wire.ScanPage(answer.Body)
}
