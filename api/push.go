package api

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/models"
	crash "github.com/tidemark/tidemark/syncer/fault" // fault is a word of validate.go
)

func (s *Server) push(c echo.Context) error {
	space, body, err := bindPush(c)
	if err != nil {
		return err
	}
	res, err := s.carryOut(working(c), principal(c), space, body)
	if err != nil {
		return err
	}
	if err := write(c, http.StatusOK, res); err != nil || !crash.Enabled {
		return err
	}
	err = http.NewResponseController(c.Response()).Flush()
	crash.Point(crash.PushAnswered)
	return err
}

func bindPush(c echo.Context) (space string, body []byte, err error) {
	if space, err = writable(c); err != nil {
		return "", nil, err
	}
	if _, err = query(c); err != nil {
		return "", nil, err
	}
	allowed := func() error { _, err := writable(c); return err }
	body, err = readBody(c, allowed, mediaJSON)
	return space, body, err
}

// carryOut carries out the push that body holds, of who may write to the space. It is
// how requests push, and frames of a socket.
func (s *Server) carryOut(ctx context.Context, who *auth.Principal, space string, body []byte) (*models.PushResponse, error) {
	req, err := decodePush(body)
	if err != nil {
		return nil, err
	}
	req.Granted = who.Collections(space)
	if req.Cursor != nil {
		if req.Collections, err = visibleTo(who, space, req.Collections); err != nil {
			return nil, err
		}
	}
	return s.engine.Push(ctx, space, who.Subject, req)
}
