package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/models"
	crash "github.com/tidemark/tidemark/syncer/fault" // fault is a word of validate.go
)

func (s *Server) push(c echo.Context) error {
	space, req, err := bindPush(c)
	if err != nil {
		return err
	}
	res, err := s.engine.Push(working(c), space, principal(c).Subject, req)
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

func bindPush(c echo.Context) (space string, req *models.PushRequest, err error) {
	if space, err = writable(c); err != nil {
		return "", nil, err
	}
	if _, err = query(c); err != nil {
		return "", nil, err
	}
	allowed := func() error { _, err := writable(c); return err }
	body, err := readBody(c, allowed, mediaJSON)
	if err != nil {
		return "", nil, err
	}
	if req, err = decodePush(body); err != nil {
		return "", nil, err
	}
	req.Granted = principal(c).Collections(space)
	if req.Cursor != nil {
		req.Collections, err = visible(c, space, req.Collections)
	}
	return space, req, err
}
