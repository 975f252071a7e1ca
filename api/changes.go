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
	page, err := s.pull(c, space, req)
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

// pull asks the engine. While it waits the rights of whoever asked may change, and
// what comes then may not be theirs any more.
func (s *Server) pull(c echo.Context, space string, req syncer.PullRequest) (*models.Page, error) {
	ctx := working(c)
	if req.Wait <= 0 {
		return s.engine.Pull(ctx, space, req)
	}
	for end := time.Now().Add(req.Wait); ; req.Wait = time.Until(end) {
		rights := s.rightsChanged() // first, or a change before the check would go unseen
		if err := s.mayStillRead(c, space, req.Collections); err != nil {
			return nil, err
		}
		req.Interrupt = rights
		page, err := s.engine.Pull(ctx, space, req)
		if err != nil {
			return nil, err
		}
		if len(page.Changes) > 0 || page.HasMore || time.Until(end) <= 0 || !isClosed(rights) {
			return page, s.mayStillRead(c, space, req.Collections)
		}
		req.Cursor = page.Cursor // the head may have moved without anything to show
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
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
