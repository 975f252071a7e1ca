package api

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/models"
)

// headList is the answer of heads.
type headList struct {
	Heads       []models.Head `json:"heads"`
	PollAfterMS int64         `json:"poll_after_ms"`
}

// AppendJSON appends the wire form of l to b.
func (l *headList) AppendJSON(b []byte) []byte {
	text, err := json.Marshal(l)
	if err != nil {
		panic(err) // unreachable: strings and integers
	}
	return append(b, text...)
}

func (s *Server) heads(c echo.Context) error {
	spaces, minVersion, err := s.bindHeads(c)
	if err != nil {
		return err
	}
	heads, pollAfter, err := s.engine.Heads(working(c), spaces, minVersion)
	if err != nil {
		return err
	}
	tag := headsTag(heads)
	c.Response().Header().Set("ETag", tag)
	same, err := unchanged(c, tag)
	if err != nil {
		return err
	}
	if same {
		return notModified(c)
	}
	return write(c, http.StatusOK, &headList{Heads: heads, PollAfterMS: pollAfter.Milliseconds()})
}

// bindHeads returns the spaces asked for, and the newest version that a push
// answered to the client.
func (s *Server) bindHeads(c echo.Context) (spaces []string, minVersion int64, err error) {
	q, err := query(c, "space", "min_version")
	if err != nil {
		return nil, 0, err
	}
	if minVersion, err = integer(q, "min_version", 0, models.MaxVersion); err != nil {
		return nil, 0, err
	}
	spaces, err = s.bindSpaces(c, q, models.MaxHeads)
	return spaces, minVersion, err
}

// bindSpaces returns the spaces that the parameter names, or those that the token
// names exactly, if the sender may see all of them.
func (s *Server) bindSpaces(c echo.Context, q url.Values, most int) ([]string, error) {
	spaces := list(q, "space")
	switch {
	case q.Has("space"):
	case s.development():
		return nil, invalid("space", "must be there: without tokens nothing else says which spaces are meant")
	default:
		spaces = principal(c).Spaces()
	}
	if len(spaces) > most {
		return nil, invalid("space", fmt.Sprintf("at most %d at once", most))
	}
	for _, space := range spaces {
		if err := mayRead(c, space); err != nil {
			return nil, err
		}
	}
	return spaces, nil
}

// headsTag is the same as long as no head moves. It says nothing about pace.
func headsTag(heads []models.Head) string {
	sum := fnv.New64a()
	for _, h := range heads {
		fmt.Fprintf(sum, "%s %d\n", h.Space, h.Version)
	}
	return fmt.Sprintf(`"%016x"`, sum.Sum64())
}
