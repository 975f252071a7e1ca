package api

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/models"
)

// middleware is what every request goes through, from the outside in. It runs
// after the route was found and before its handler, also for paths that are no
// route: so who has no token does not learn which paths there are.
func (s *Server) middleware() []echo.MiddlewareFunc {
	list := []echo.MiddlewareFunc{s.identify, s.logRequests, s.recoverPanics, setHeaders, boundURL, boundBody}
	if len(s.opts.CORSOrigins) > 0 {
		list = append(list, s.cors())
	}
	if s.development() {
		return append(list, loopbackOnly, s.acceptTickets)
	}
	return append(list, s.acceptTickets, s.authenticate)
}

// oneEscaping makes the router see the path as it was sent. net/http keeps the
// escaped form only where it is not what Go would have chosen, so that a
// parameter would come unescaped in one request and escaped in another; now it
// always comes escaped, and param undoes that once.
func oneEscaping(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		u := c.Request().URL
		u.RawPath = u.EscapedPath()
		return next(c)
	}
}

const requestIDKey = "request_id"

var saneRequestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// identify gives the request its id: the one a proxy in front has chosen, if it
// is fit for a log line, or a new one.
func (s *Server) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Request().Header.Get(echo.HeaderXRequestID)
		if !saneRequestID.MatchString(id) {
			id = rand.Text()
		}
		c.Set(requestIDKey, id)
		c.Response().Header().Set(echo.HeaderXRequestID, id)
		return next(c)
	}
}

func requestID(c echo.Context) string {
	id, _ := c.Get(requestIDKey).(string)
	return id
}

// logRequests writes one line per request: no token, no query (cursors), no body.
func (s *Server) logRequests(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		if err := next(c); err != nil {
			c.Error(err) // now, so that the line has the status
		}
		level := slog.LevelInfo
		if path := c.Path(); path == "/healthz" || path == "/readyz" {
			level = slog.LevelDebug
		}
		s.log.Log(c.Request().Context(), level, "request",
			"request_id", requestID(c),
			"method", c.Request().Method,
			"path", cut(c.Request().URL.Path, 256),
			"status", c.Response().Status,
			"bytes", c.Response().Size,
			"ms", time.Since(start).Milliseconds(),
			"subject", principal(c).Subject,
		)
		return nil
	}
}

// recoverPanics answers a bug with a 500 instead of a cut connection.
func (s *Server) recoverPanics(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			r := recover()
			if r == nil {
				return
			}
			if cause, ok := r.(error); ok && errors.Is(cause, http.ErrAbortHandler) {
				panic(r) // the answer can't be finished; net/http cuts the connection
			}
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}()
		return next(c)
	}
}

func setHeaders(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set(echo.HeaderXContentTypeOptions, "nosniff")
		h.Set(echo.HeaderReferrerPolicy, "no-referrer")
		if strings.HasPrefix(c.Request().URL.Path, "/v1/") {
			h.Set(echo.HeaderCacheControl, "private, no-store")
			h.Add(echo.HeaderVary, echo.HeaderAuthorization)
		}
		return next(c)
	}
}

func boundURL(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if len(c.Request().RequestURI) > models.MaxURLBytes {
			return models.Errorf(models.CodeURITooLong, "A URL has at most %d bytes.", models.MaxURLBytes)
		}
		return next(c)
	}
}

// boundBody gives a body its time, whether the handler reads it or net/http
// drains it after an answer that did not want it. readBody takes the deadline
// away again once it has the whole body.
func boundBody(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if body := c.Request().Body; body != nil && body != http.NoBody {
			err := http.NewResponseController(c.Response()).SetReadDeadline(time.Now().Add(bodyTimeout))
			if err != nil && !errors.Is(err, http.ErrNotSupported) {
				return fmt.Errorf("set the body's deadline: %w", err)
			}
		}
		return next(c)
	}
}

// cors lets pages of the configured origins call. Tokens travel in a header, not
// in cookies, so no credentials are allowed.
func (s *Server) cors() echo.MiddlewareFunc {
	return middleware.CORSWithConfig(middleware.CORSConfig{
		// A function, because echo takes * and ? in its list for patterns.
		AllowOriginFunc: func(origin string) (bool, error) {
			return slices.Contains(s.opts.CORSOrigins, origin), nil
		},
		AllowMethods: []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
		AllowHeaders: []string{
			echo.HeaderAuthorization, echo.HeaderContentType, echo.HeaderContentEncoding,
			"If-Match", "If-None-Match", "Last-Event-ID", "Idempotency-Key", "Tidemark-Client", echo.HeaderXRequestID,
		},
		ExposeHeaders: []string{"ETag", echo.HeaderLocation, echo.HeaderRetryAfter, echo.HeaderXRequestID},
		MaxAge:        600, // seconds
	})
}

// loopbackOnly refuses requests for another host's name in development, where
// nothing else protects the data: a web page can point its own name at
// 127.0.0.1 (DNS rebinding), but it can't send another name.
func loopbackOnly(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if !Loopback(c.Request().Host) {
			return models.Errorf(models.CodeForbidden, "Without auth the server answers only requests for localhost.")
		}
		c.Set(principalKey, auth.Anonymous)
		return next(c)
	}
}

// Loopback reports whether a host, with or without port, can only be reached
// from this machine: localhost, 127.0.0.0/8 or ::1.
func Loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

const principalKey = "principal"

// authenticate demands a token for everything that is not public.
func (s *Server) authenticate(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		// The route, not the path: what is going to run is what is judged.
		if a := s.access[c.Path()]; a == public || a == page || a == byTicket && c.Get(principalKey) != nil {
			return next(c)
		}
		token, err := bearer(c)
		if err != nil {
			return err
		}
		p, err := s.opts.Verifier.Verify(c.Request().Context(), token)
		if err != nil {
			if models.CodeOf(err) == models.CodeUnauthenticated {
				c.Response().Header().Set(echo.HeaderWWWAuthenticate, challenge("invalid_token"))
			}
			return err
		}
		c.Set(principalKey, p)
		return next(c)
	}
}

// bearer returns the token of a request (RFC 6750, section 2.1). Tokens in the
// query or in a body are not looked at: URLs end up in logs.
func bearer(c echo.Context) (string, error) {
	headers := c.Request().Header.Values(echo.HeaderAuthorization)
	if len(headers) == 0 {
		return "", models.Errorf(models.CodeUnauthenticated, "Send a token: Authorization: Bearer <JWT>.")
	}
	if len(headers) > 1 || strings.Contains(headers[0], ",") {
		c.Response().Header().Set(echo.HeaderWWWAuthenticate, challenge("invalid_request"))
		return "", invalid("Authorization", "must be there once, with one token")
	}
	scheme, token, ok := strings.Cut(headers[0], " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return "", models.Errorf(models.CodeUnauthenticated, "Send a token: Authorization: Bearer <JWT>.")
	}
	return token, nil
}

// principal returns who sent the request; somebody who may do nothing if that
// has not been found out.
func principal(c echo.Context) *auth.Principal {
	if p, ok := c.Get(principalKey).(*auth.Principal); ok {
		return p
	}
	return &auth.Principal{}
}
