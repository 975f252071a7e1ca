package api

import (
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

func (s *Server) changes(c echo.Context) error {
	space, req, err := bindPull(c)
	if err != nil {
		return err
	}
	page, err := s.engine.Pull(c.Request().Context(), space, req)
	if err != nil {
		return err
	}
	tag := `"` + page.Cursor + `"`
	c.Response().Header()["Etag"] = []string{tag}
	// The cursor stays as it is only at the head. Without If-None-Match that is
	// an empty page: generated clients throw on a 304 they did not ask for.
	if page.Cursor == req.Cursor && !page.HasMore {
		same, err := unchanged(c, tag)
		if err != nil {
			return err
		}
		if same {
			return notModified(c)
		}
	}
	return write(c, http.StatusOK, page)
}

func bindPull(c echo.Context) (space string, req syncer.PullRequest, err error) {
	if space, err = readable(c); err != nil {
		return "", req, err
	}
	q, err := query(c, "cursor", "limit", "wait", "collections", "min_version")
	if err != nil {
		return "", req, err
	}
	if req, err = bindPage(q); err != nil {
		return "", req, err
	}
	if req.Cursor, err = single(q, "cursor"); err != nil {
		return "", req, err
	}
	wait, err := integer(q, "wait", 0, int64(models.MaxWait/time.Second))
	if err != nil {
		return "", req, err
	}
	req.Wait = time.Duration(wait) * time.Second
	req.Collections, err = visible(c, space, req.Collections)
	return space, req, err
}

// bindPage reads what pulls and streams have in common.
func bindPage(q url.Values) (req syncer.PullRequest, err error) {
	limit, err := integer(q, "limit", 1, models.MaxPageChanges)
	if err != nil {
		return req, err
	}
	if req.MinVersion, err = integer(q, "min_version", 0, models.MaxVersion); err != nil {
		return req, err
	}
	req.Limit = int(limit)
	req.Collections = list(q, "collections")
	return req, checkCollections(req.Collections)
}

func checkCollections(names []string) error {
	if len(names) > models.MaxCollections {
		return invalid("collections", tooManyCollections)
	}
	for _, name := range names {
		if !models.ValidName(name) {
			return invalid("collections", "each "+nameForm)
		}
	}
	return nil
}
