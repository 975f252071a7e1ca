package api

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// streamSpace is the stream of one space.
func (s *Server) streamSpace(c echo.Context) error {
	space, err := readable(c)
	if err != nil {
		return err
	}
	q, err := query(c, "cursor", "limit", "collections", "min_version", ticketParameter)
	if err != nil {
		return err
	}
	req, err := bindPage(q)
	if err != nil {
		return err
	}
	cursor, err := resumeAt(c, q)
	if err != nil {
		return err
	}
	return s.stream(c, &stream{follows: []follow{{space: space, cursor: cursor}}, req: req})
}

// streamSpaces is the stream of several spaces. It knows no min_version: the
// versions of two spaces have nothing to do with each other.
func (s *Server) streamSpaces(c echo.Context) error {
	q, err := query(c, "space", "cursor", "limit", "collections", ticketParameter)
	if err != nil {
		return err
	}
	spaces, err := s.bindStreamSpaces(c, q)
	if err != nil {
		return err
	}
	req, err := bindPage(q)
	if err != nil {
		return err
	}
	id, err := resumeAt(c, q)
	if err != nil {
		return err
	}
	follows, err := openStreamID(id, spaces)
	if err != nil {
		return err
	}
	return s.stream(c, &stream{several: true, follows: follows, req: req})
}

func (s *Server) bindStreamSpaces(c echo.Context, q url.Values) ([]string, error) {
	spaces, err := s.bindSpaces(c, q, models.MaxStreamSpaces)
	if err == nil && len(spaces) == 0 {
		return nil, invalid("space", "must be there: the token names no space exactly")
	}
	return spaces, err
}

// stream answers with st until it ends.
func (s *Server) stream(c echo.Context, st *stream) error {
	for i := range st.follows {
		f := &st.follows[i]
		var err error
		if f.collections, err = visible(c, f.space, st.req.Collections); err != nil {
			return err
		}
	}
	if err := st.check(s.engine); err != nil {
		return err
	}
	st.server, st.who = s, principal(c)
	if st.who.Expired(time.Now()) {
		return models.Errorf(models.CodeUnauthenticated, "The token is expired; a stream would end at once.")
	}
	if c.Request().Method == http.MethodHead {
		setStreamHeaders(c.Response().Header())
		return c.NoContent(http.StatusOK)
	}
	if err := s.streams.enter(st); err != nil {
		if refused := s.metrics.refused[models.CodeOf(err)]; refused != nil {
			refused.Inc()
		}
		return err
	}
	r, ok := c.(*request)
	if !ok {
		return errors.New("a request that did not come through enclose") // unreachable
	}
	return st.start(r)
}

// check finds cursors that are none: they are the client's mistake, which a
// status says best. Cursors that are no longer good are told of by an event,
// because EventSource shows its page nothing of an answer that is no stream.
func (st *stream) check(engine *syncer.Engine) error {
	for _, f := range st.follows {
		err := engine.CheckCursor(f.cursor, f.space, f.collections)
		if models.CodeOf(err) == models.CodeInvalidCursor {
			return err
		}
	}
	return nil
}

// resumeAt returns the id of the last event that the client has seen. The header
// is newer than the URL: a browser that connects again keeps the URL and sends
// the header.
func resumeAt(c echo.Context, q url.Values) (string, error) {
	headers := c.Request().Header.Values("Last-Event-ID")
	switch len(headers) {
	case 0:
		return single(q, "cursor")
	case 1:
		return headers[0], nil
	}
	return "", invalid("Last-Event-ID", "must be there once")
}

// The id of an event of several spaces is a list of space=cursor. It needs no
// checksum, because each cursor has one that covers its space.

// appendStreamID appends the id that stands for all cursors. A space without one
// is left out: it begins with a snapshot.
func appendStreamID(b []byte, follows []follow) []byte {
	first := true
	for _, f := range follows {
		if f.cursor == "" {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, f.space...)
		b = append(b, '=')
		b = append(b, f.cursor...)
	}
	return b
}

// openStreamID reads such an id for a stream of spaces. Error: CodeInvalidCursor.
func openStreamID(id string, spaces []string) ([]follow, error) {
	follows := make([]follow, len(spaces))
	for i, space := range spaces {
		follows[i].space = space
	}
	if id == "" {
		return follows, nil
	}
	for part := range strings.SplitSeq(id, ",") {
		space, cursor, _ := strings.Cut(part, "=")
		i := slices.Index(spaces, space)
		if i < 0 || cursor == "" || follows[i].cursor != "" {
			return nil, models.Errorf(models.CodeInvalidCursor, "This is not the id of an event of these spaces.")
		}
		follows[i].cursor = cursor
	}
	return follows, nil
}
