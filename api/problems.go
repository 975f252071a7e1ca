package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/models"
)

// problemBody is problem+json (RFC 9457), apart from `current`.
type problemBody struct {
	Type      string              `json:"type"`
	Title     string              `json:"title"`
	Status    int                 `json:"status"`
	Detail    string              `json:"detail"`
	Code      models.Code         `json:"code"`
	Errors    []models.FieldError `json:"errors,omitempty"`
	Cause     models.Cause        `json:"cause,omitempty"`
	Space     string              `json:"space,omitempty"` // in an event of a stream of several
	RequestID string              `json:"request_id,omitempty"`
}

// writeError answers with what a handler returned. It is echo's error handler.
func (s *Server) writeError(err error, c echo.Context) {
	if c.Response().Committed {
		return // the answer has begun; there is nothing left to say
	}
	e := s.asError(err, c)
	if r, ok := c.(*request); ok {
		r.code = e.Code
	}
	body := problemOf(e, requestID(c))
	s.logCause(c.Request().Context(), e, requestID(c), c.Request().Method, c.Path())
	s.auditDenied(c, e)
	setErrorHeaders(c.Response().Header(), e)
	writeErr := c.Blob(body.Status, "application/problem+json", body.encode(e.Current))
	if writeErr != nil {
		s.log.Debug("answer not written", "request_id", requestID(c), "error", writeErr)
	}
}

func problemOf(e *models.Error, requestID string) problemBody {
	k := kinds[e.Code]
	return problemBody{
		Type:      "/problems/" + string(e.Code),
		Title:     k.title,
		Status:    k.status,
		Detail:    e.Detail,
		Code:      e.Code,
		Errors:    e.Fields,
		Cause:     e.Cause,
		RequestID: requestID,
	}
}

// asError finds what err has to say. What says nothing to a client is answered
// as CodeInternal.
func (s *Server) asError(err error, c echo.Context) *models.Error {
	var routing *echo.HTTPError
	e := told(err)
	switch {
	case e != nil:
		return e
	case errors.As(err, &routing) && routing.Code == http.StatusNotFound:
		return nothingHere(c)
	case errors.As(err, &routing) && routing.Code == http.StatusMethodNotAllowed:
		allow := c.Response().Header().Get(echo.HeaderAllow)
		return models.Errorf(models.CodeMethodNotAllowed, "This path has only: %s.", allow)
	case c.Request().Context().Err() != nil:
		return models.Errorf(models.CodeUnavailable, "The client is gone.")
	}
	return internal(err)
}

// told returns what err has to say to a client, nil if that is nothing.
func told(err error) *models.Error {
	if e, ok := errors.AsType[*models.Error](err); ok && kinds[e.Code].status != 0 && e.Code != models.CodeInternal {
		return e
	}
	return nil
}

func internal(err error) *models.Error {
	return &models.Error{
		Code:   models.CodeInternal,
		Detail: "Something went wrong here. Try again; if it stays, report the request_id.",
		Err:    err,
	}
}

// logCause writes down, once, what went wrong underneath and is not told to the
// client: a bug as an error, the database's trouble as a warning, and for whoever
// looks for it why a token or a body was refused.
func (s *Server) logCause(ctx context.Context, e *models.Error, requestID, method, route string) {
	if e.Err == nil {
		return
	}
	level := slog.LevelDebug
	switch {
	case e.Code == models.CodeInternal:
		level = slog.LevelError
	case kinds[e.Code].status >= http.StatusInternalServerError:
		level = slog.LevelWarn
	}
	s.log.Log(ctx, level, "request failed",
		"request_id", requestID, "method", method, "route", route, "code", e.Code, "cause", e.Err)
}

// auditDenied writes down that somebody was refused for want of rights: one line of
// bounded length beside that of the request. What was sent as a token is not in it, nor
// what is no name of a space, for that might be one.
func (s *Server) auditDenied(c echo.Context, e *models.Error) {
	space := ""
	if r, ok := c.(*request); ok && models.ValidSpace(r.space) {
		space = r.space
	}
	s.audit(c.Request().Context(), e, denial{principal(c).Subject, space, requestID(c), clientAddress(c.Request(), s.opts.TrustedProxies)})
}

// denial is who was refused where.
type denial struct {
	subject, space, requestID string
	address                   netip.Addr
}

// audit is auditDenied for what need not be a request.
func (s *Server) audit(ctx context.Context, e *models.Error, d denial) {
	if e.Code != models.CodeUnauthenticated && e.Code != models.CodeForbidden && e.Code != models.CodeSpaceNotFound {
		return
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "audit",
		slog.String("action", "request_denied"),
		slog.String("code", string(e.Code)),
		slog.String("subject", d.subject),
		slog.String("space", d.space),
		slog.String("request_id", d.requestID),
		slog.String("address", d.address.String()),
	)
}

func nothingHere(c echo.Context) *models.Error {
	return models.Errorf(models.CodeNotFound, "There is nothing at %s.", models.Cut(c.Request().URL.Path, 128))
}

// encode returns b with current as a further member. It is put together by
// hand because encoding/json would rewrite the document.
func (b *problemBody) encode(current *models.Change) []byte {
	text, err := json.Marshal(b)
	if err != nil {
		panic(err) // unreachable: strings and integers
	}
	if current == nil {
		return text
	}
	text = append(text[:len(text)-1], `,"current":`...)
	return append(current.AppendJSON(text), '}')
}

func setErrorHeaders(h http.Header, e *models.Error) {
	switch e.Code {
	case models.CodeUnauthenticated:
		if h.Get(echo.HeaderWWWAuthenticate) == "" {
			h.Set(echo.HeaderWWWAuthenticate, challenge(""))
		}
	case models.CodeForbidden:
		h.Set(echo.HeaderWWWAuthenticate, challenge("insufficient_scope"))
	case models.CodeSpaceBusy, models.CodePresenceFull, models.CodeTooManyStreams, models.CodeRateLimited, models.CodeUnavailable, models.CodeOutcomeUnknown:
		h.Set(echo.HeaderRetryAfter, strconv.Itoa(wholeSeconds(e.RetryAfter)))
	case models.CodeUpgradeRequired:
		h.Set(echo.HeaderUpgrade, "websocket")
		h.Add(echo.HeaderConnection, "Upgrade")
	case models.CodeVersionConflict:
		if e.Current != nil {
			h.Set("ETag", versionTag(e.Current.Version))
		}
	}
}

// challenge is the value of WWW-Authenticate (RFC 6750, section 3).
func challenge(reason string) string {
	if reason == "" {
		return `Bearer realm="tidemark"`
	}
	return fmt.Sprintf(`Bearer realm="tidemark", error=%q`, reason)
}

// problem explains a code to people.
func (s *Server) problem(c echo.Context) error {
	code := models.Code(param(c, "code"))
	k, ok := kinds[code]
	if !ok {
		return models.Errorf(models.CodeNotFound, "There is no error code %q.", models.Cut(string(code), 64))
	}
	where := "of one edit, in a push's result"
	if k.status != 0 {
		where = strconv.Itoa(k.status)
	}
	text := fmt.Sprintf("%s (%s)\n\n%s\n\n%s\n", code, where, k.meaning, k.remedy)
	return c.Blob(http.StatusOK, echo.MIMETextPlainCharsetUTF8, []byte(text))
}
