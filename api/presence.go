package api

import (
	"cmp"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/models"
)

// listPresence tells who is present.
func (s *Server) listPresence(c echo.Context) error {
	space, err := readable(c)
	if err != nil {
		return err
	}
	if _, err := query(c); err != nil {
		return err
	}
	return s.writePresent(c, space, models.DefaultPresenceTTL)
}

// putPresence is a heartbeat. Whoever may read a space may be seen in it.
func (s *Server) putPresence(c echo.Context) error {
	space, clientID, err := bindPresence(c)
	if err != nil {
		return err
	}
	allowed := func() error { _, err := readable(c); return err }
	body, err := readBody(c, allowed, mediaJSON)
	if err != nil {
		return err
	}
	req, err := decodePresence(body)
	if err != nil {
		return err
	}
	if err := s.presence.Enter(c.Request().Context(), space, clientID, principal(c).Subject, req); err != nil {
		return err
	}
	return s.writePresent(c, space, cmp.Or(req.TTL, models.DefaultPresenceTTL))
}

// deletePresence is a farewell.
func (s *Server) deletePresence(c echo.Context) error {
	space, clientID, err := bindPresence(c)
	if err != nil {
		return err
	}
	if err := s.presence.Leave(c.Request().Context(), space, clientID, principal(c).Subject); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// bindPresence reads whose presence is meant.
func bindPresence(c echo.Context) (space, clientID string, err error) {
	if strings.Contains(c.Param("client_id"), "/") {
		return "", "", nothingHere(c) // echo's last parameter takes the rest of the path
	}
	if space, err = readable(c); err != nil {
		return "", "", err
	}
	if _, err = query(c); err != nil {
		return "", "", err
	}
	clientID = param(c, "client_id")
	if !models.ValidName(clientID) {
		return "", "", models.Errorf(models.CodeInvalidID, "A client_id %s.", nameForm)
	}
	return space, clientID, nil
}

// writePresent answers with everybody who is present in a space. With a third of
// the ttl between heartbeats, two in a row may be lost.
func (s *Server) writePresent(c echo.Context, space string, ttl time.Duration) error {
	return write(c, http.StatusOK, &models.PresenceList{Present: s.presence.List(space), PollAfter: ttl / 3})
}

// showPresence sends who is present where that has changed. The events have no id:
// a client that comes back is shown all of it anyway.
func (st *stream) showPresence() error {
	if err := st.checkRights(); err != nil {
		return err
	}
	for _, e := range st.present.Events() {
		if err := st.out.presence(e); err != nil {
			return err
		}
		st.events++
	}
	return nil
}
