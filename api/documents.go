package api

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// restClient is the client_id of single writes that name none.
const restClient = "rest"

func (s *Server) getDocument(c echo.Context) error {
	space, key, err := bindDocument(c)
	if err != nil {
		return err
	}
	doc, err := s.engine.Document(working(c), space, key.Collection, key.ID)
	if err != nil {
		return err
	}
	tag := versionTag(doc.Version)
	c.Response().Header().Set("ETag", tag)
	same, err := unchanged(c, tag)
	if err != nil {
		return err
	}
	if same {
		return notModified(c)
	}
	return write(c, http.StatusOK, doc)
}

func (s *Server) putDocument(c echo.Context) error {
	return s.writeDocument(c, models.OpPut, mediaJSON)
}

func (s *Server) patchDocument(c echo.Context) error {
	return s.writeDocument(c, models.OpPatch, mediaMergePatch, mediaJSON)
}

func (s *Server) writeDocument(c echo.Context, op models.Op, media ...string) error {
	space, w, err := bindWrite(c, op, media...)
	if err != nil {
		return err
	}
	doc, created, err := s.engine.Write(working(c), space, principal(c).Subject, w)
	if err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("ETag", versionTag(doc.Version))
	if created {
		h.Set(echo.HeaderLocation, c.Request().URL.EscapedPath())
		return write(c, http.StatusCreated, doc)
	}
	return write(c, http.StatusOK, doc)
}

func (s *Server) deleteDocument(c echo.Context) error {
	space, w, err := bindWrite(c, models.OpDelete)
	if err != nil {
		return err
	}
	if _, _, err = s.engine.Write(working(c), space, principal(c).Subject, w); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// bindWrite reads a write of a single document; without media it has no body.
func bindWrite(c echo.Context, op models.Op, media ...string) (space string, w syncer.DocumentWrite, err error) {
	if space, err = writable(c); err != nil {
		return "", w, err
	}
	_, key, err := bindDocument(c)
	if err != nil {
		return "", w, err
	}
	w = syncer.DocumentWrite{Op: op, Collection: key.Collection, ID: key.ID}
	if w.ClientID, err = nameHeader(c, "Tidemark-Client", restClient); err != nil {
		return "", w, err
	}
	if w.EditID, err = nameHeader(c, "Idempotency-Key", ""); err != nil {
		return "", w, err
	}
	if err = bindPrecondition(c.Request(), &w); err != nil {
		return "", w, err
	}
	if len(media) == 0 {
		return space, w, nil
	}
	body, err := readBody(c, func() error {
		if _, err := writable(c); err != nil {
			return err
		}
		_, _, err := bindDocument(c) // the token may reach this collection no more
		return err
	}, media...)
	if err != nil {
		return "", w, err
	}
	w.Data, err = decodeDocument(body)
	return space, w, err
}

// bindDocument reads which document is meant.
func bindDocument(c echo.Context) (space string, key syncer.Key, err error) {
	if strings.Contains(c.Param("id"), "/") {
		return "", key, nothingHere(c) // echo's last parameter takes the rest of the path
	}
	if space, err = readable(c); err != nil {
		return "", key, err
	}
	if _, err = query(c); err != nil {
		return "", key, err
	}
	key = syncer.Key{Collection: param(c, "collection"), ID: param(c, "id")}
	switch {
	case !models.ValidName(key.Collection):
		return "", key, models.Errorf(models.CodeInvalidCollection, "A collection %s.", nameForm)
	case !models.ValidName(key.ID):
		return "", key, models.Errorf(models.CodeInvalidID, "An id %s.", nameForm)
	}
	if _, err := visible(c, space, []string{key.Collection}); err != nil {
		return "", key, models.Errorf(models.CodeDocumentNotFound, "There is no such document, or the token does not reach its collection.")
	}
	return space, key, nil
}

// nameHeader returns a header that holds a name, or what stands for none.
func nameHeader(c echo.Context, header, none string) (string, error) {
	values := c.Request().Header.Values(header)
	switch {
	case len(values) == 0:
		return none, nil
	case len(values) > 1:
		return "", invalid(header, "must be there once")
	case !models.ValidName(values[0]):
		return "", invalid(header, nameForm)
	}
	return values[0], nil
}
