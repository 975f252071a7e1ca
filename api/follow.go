package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/guard"
	"github.com/tidemark/tidemark/syncer/presence"
)

const heartbeatEvery = 15 * time.Second // of silence; nginx cuts after 60 s

// stream is an answer that goes on: pages of some spaces, each sent when there
// is news. Its only state is how far it has come. Nothing is queued for it: a
// client that reads slowly gets fewer and larger pages.
type stream struct {
	server *Server
	who    *auth.Principal
	line   logLine

	several bool               // more than one space: each page tells its own
	req     syncer.PullRequest // without what each follow has
	follows []follow
	watch   *syncer.Watch
	present *presence.Watch
	rights  <-chan struct{} // closed when the client's rights may be others than at the last check
	upgrade bool            // to a socket
	out     outlet          // since detach
	// first is the page that start has read. It is held until the first look asks
	// for it again (by then there may be a newer one), so that it is read once.
	first *syncer.SharedPage

	// What the log tells at the end.
	events int
	ended  string // why: the reason of the bye, or one of those without
}

// outlet carries what a stream has to say to its client: a connection as server-sent
// events, a socket as frames. Errors are errCut: nothing more can be said.
type outlet interface {
	// begin tells that the stream has begun.
	begin() error
	// page sends a page; space is its first member if it is not empty, id what the
	// client may resume from.
	page(space string, p *syncer.SharedPage, id string) error
	presence(e *presence.Event) error
	tell(e event) error
	// beat breaks the silence.
	beat() error
	// end ends the answer and closes the connection; ended is why, if that was
	// told. cut: nothing more can be written.
	end(cut bool, ended string)

	// awaitEnd takes in what the client sends, and calls gone when it closes.
	awaitEnd(gone context.CancelFunc)
	// network is what carries it.
	network() net.Conn
	// written is how many bytes were said.
	written() int64
}

// follow is one space of a stream.
type follow struct {
	space       string
	collections []string // that are shown; empty: all
	cursor      string   // up to here the client has seen it; "": nothing yet
	from        int64    // the version up to which it had at the beginning
	// held is a page that moves the cursor and has nothing to show, as when all
	// that changed is outside of the filter. It goes with the next heartbeat.
	held *syncer.SharedPage

	// live: it has come to the end once, and what comes now has just happened.
	live bool
}

// start looks for the first time, while errors can still be answered with a status:
// a database that is away is a 503 and no stream. Then the stream leaves the
// request behind and goes on by itself.
func (st *stream) start(r *request) error {
	spaces := make([]string, len(st.follows))
	for i, f := range st.follows {
		spaces[i] = f.space
	}
	st.watch = st.server.engine.Watch(spaces...) // before the first pull; see syncer.Watch
	st.present = st.server.presence.Watch(spaces...)
	detached := false
	defer func() {
		if !detached { // also when something panics
			st.stop()
		}
	}()
	st.watch.Look()
	first, err := st.pull(r.Request().Context(), 0)
	if err != nil && models.CodeOf(err) != models.CodeCursorExpired { // which look will find again
		return err
	}
	st.first = first
	if err := st.detach(r); err != nil {
		return err
	}
	detached = true
	go guard.Do(context.Background(), st.server.log, "a stream", st.run)
	return nil
}

// detach takes the connection.
func (st *stream) detach(r *request) (err error) {
	st.line = st.server.lineOf(r)
	if st.upgrade {
		st.out, err = st.accept(r)
	} else {
		setStreamHeaders(r.Response().Header())
		st.out, err = st.server.streams.take(r.Response(), r.Request())
	}
	if err != nil {
		return err
	}
	st.server.streams.attach(st, st.out.network())
	if st.several {
		st.line.space = "" // each is told of
	}
	for i := range st.follows {
		f := &st.follows[i]
		f.from = syncer.Position(f.cursor, f.space)
	}
	r.detached = true
	return nil
}

// stop takes back what start has set up.
func (st *stream) stop() {
	st.watch.Stop()
	st.present.Stop()
	st.server.streams.leave(st)
}

// run is the rest of the stream's life.
func (st *stream) run() {
	defer st.stop()
	ctx, gone := context.WithCancel(context.Background())
	defer func() { _ = st.out.network().Close() }() // ends awaitEnd, also after a panic
	go guard.Do(ctx, st.server.log, "the end of a stream", func() { st.out.awaitEnd(gone) })
	err := st.live(ctx)
	st.out.end(errors.Is(err, errCut), st.ended)
	<-ctx.Done() // awaitEnd has seen the connection close
	st.ended = endOf(st.ended, err)
	st.server.metrics.streamEnded(st.ended)
	status := http.StatusOK
	if st.upgrade {
		status = http.StatusSwitchingProtocols
	}
	st.line.write(ctx, st.server.log, status, st.out.written(), appendStream(nil, st)...)
}

// live is flow and part.
func (st *stream) live(ctx context.Context) error {
	err := guard.Call(func() error {
		err := st.flow(ctx)
		if ctx.Err() == nil {
			err = st.part(ctx, err)
		}
		return err
	})
	if guard.Is(err) {
		st.server.logCause(ctx, internal(err), st.line.id, st.line.method, st.line.route)
		st.ended = endBug
		return errCut // perhaps in the middle of an event
	}
	return err
}

// flow sends what there is, and then what comes, until the stream ends.
func (st *stream) flow(ctx context.Context) (err error) {
	silence := time.NewTimer(heartbeatEvery)
	defer silence.Stop()
	end := time.NewTimer(st.lifetime())
	defer end.Stop()
	if err := st.out.begin(); err != nil {
		return err
	}
	if err := st.look(ctx); err != nil {
		return err
	}
	for {
		select {
		case <-st.watch.C:
			err = st.look(ctx)
		case <-st.present.C:
			if err = st.showPresence(); err == nil {
				continue // this is no sign that pokes arrive, so the silence goes on
			}
		case <-st.rights:
			if err = st.checkRights(); err == nil {
				continue // neither is this
			}
		case <-silence.C:
			err = st.beat()
			st.watch.Look() // in case a poke was lost
		case <-end.C:
			if err = st.checkRights(); err == nil {
				err = st.bye(byeMaxAge, spread(0, time.Second))
			}
		case <-st.server.engine.Draining():
			err = st.drain()
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		silence.Reset(heartbeatEvery)
	}
}

// look sends one page of each space that has news. Where there is more it makes
// news of that, so that the spaces take turns and whatever ends the stream gets
// in between.
func (st *stream) look(ctx context.Context) error {
	var over error
	for i := range st.watch.News {
		select {
		case <-st.server.engine.Draining():
			return st.drain() // many spaces may have long pages
		default:
		}
		page, err := st.pull(ctx, i)
		if lost := st.checkRights(); lost != nil { // after the pull, which may take long
			return lost
		}
		switch {
		case models.CodeOf(err) == models.CodeCursorExpired:
			if err := st.reset(i, told(err)); err != nil {
				return err
			}
			over = errEnded // once the other spaces have had their turn
			continue
		case err != nil:
			return err
		}
		st.req.MinVersion = 0 // this node has come that far, and cursors only move forward
		if err := st.show(i, page); err != nil {
			return err
		}
		if page.HasMore {
			st.watch.Again(i)
		}
	}
	st.first = nil
	return over
}

// pull reads the next page of the i-th space.
func (st *stream) pull(ctx context.Context, i int) (*syncer.SharedPage, error) {
	req := st.req
	req.Cursor, req.Collections = st.follows[i].cursor, st.follows[i].collections
	return st.watch.Pull(ctx, i, req)
}

// show sends a page, unless it tells the client nothing. The first page without
// a cursor always tells something: that the snapshot is complete.
func (st *stream) show(i int, page *syncer.SharedPage) error {
	f := &st.follows[i]
	before, live := f.cursor, f.live
	f.cursor, f.held, f.live = page.Cursor, nil, live || !page.HasMore
	switch {
	case len(page.Changes) > 0 || page.HasMore || before == "":
		if err := st.send(f, page); err != nil {
			return err
		}
		if n := len(page.Changes); n > 0 && live {
			made := time.UnixMicro(page.Changes[n-1].Version)
			st.server.metrics.streamLag.Observe(max(time.Since(made), 0).Seconds())
		}
	case page.Cursor != before:
		f.held = page
	}
	return nil
}

// beat breaks the silence.
func (st *stream) beat() error {
	if err := st.checkRights(); err != nil {
		return err
	}
	sent := false
	for i := range st.follows {
		f := &st.follows[i]
		if f.held == nil {
			continue
		}
		if err := st.send(f, f.held); err != nil {
			return err
		}
		f.held, sent = nil, true
	}
	if sent {
		return nil
	}
	return st.out.beat()
}

// send sends a page of f, which f has been moved to.
func (st *stream) send(f *follow, page *syncer.SharedPage) error {
	name := ""
	if st.several {
		name = f.space
	}
	st.events++
	st.server.metrics.streamPages.Inc()
	return st.out.page(name, page, st.id())
}

// id is the id of an event that is sent now.
func (st *stream) id() string {
	if !st.several {
		return st.follows[0].cursor
	}
	return string(appendStreamID(nil, st.follows))
}

// reset tells that the cursor of the i-th space is no longer good.
// The id that goes with it has no such cursor any more.
func (st *stream) reset(i int, why *models.Error) error {
	f := &st.follows[i]
	f.cursor, f.held = "", nil
	problem := problemOf(why, st.line.id)
	if st.several {
		problem.Space = f.space
	}
	id := st.id()
	st.events++
	st.ended = endReset
	return st.out.tell(event{name: "reset", data: problem.encode(nil), id: &id})
}

func setStreamHeaders(h http.Header) {
	h.Set(echo.HeaderContentType, mediaEvents)
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
}
