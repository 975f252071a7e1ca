package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/models"
)

func (s *Server) push(c echo.Context) error {
	space, req, err := bindPush(c)
	if err != nil {
		return err
	}
	res, err := s.engine.Push(c.Request().Context(), space, principal(c).Subject, req)
	if err != nil {
		return err
	}
	return write(c, http.StatusOK, res)
}

func bindPush(c echo.Context) (space string, req *models.PushRequest, err error) {
	if space, err = writable(c); err != nil {
		return "", nil, err
	}
	if _, err = query(c); err != nil {
		return "", nil, err
	}
	body, err := readBody(c, mediaJSON)
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
