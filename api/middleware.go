package api

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/guard"
)

// middleware is what every request goes through, from the outside in. It runs
// after the route was found and before its handler, also for paths that are no
// route: so who has no token does not learn which paths there are. Each element
// costs an allocation per request, because echo puts them around the handler
// then; so what needs no handler is a step.
func (s *Server) middleware() []echo.MiddlewareFunc {
	list := []echo.MiddlewareFunc{s.enclose}
	if s.development() || len(s.opts.CORSOrigins) > 0 {
		list = append(list, s.cors())
	}
	if s.development() {
		return append(list, before(loopbackOnly, s.knownPagesOnly, s.acceptTickets))
	}
	return append(list, before(s.rated(s.acceptTickets, s.authenticate)))
}

// A step is done before the handler; its error ends the request.
type step func(echo.Context) error

func before(steps ...step) echo.MiddlewareFunc {
	do := sequence(steps)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if err := do(c); err != nil {
				return err
			}
			return next(c)
		}
	}
}

func sequence(steps []step) step {
	return func(c echo.Context) error {
		for _, do := range steps {
			if err := do(c); err != nil {
				return err
			}
		}
		return nil
	}
}

// request is echo's context with what the server itself knows of a request. It is
// what handlers get.
type request struct {
	echo.Context
	id        [1]string // as the header that has it
	began     time.Time
	principal *auth.Principal // nil: not found out
	space     string          // the last one that the sender's rights were asked for
	code      models.Code     // of the problem that it was answered with
	working   syncer.Working  // what the engine did for it
	server    *Server
	// detached: a stream has taken the connection, and logs its own end.
	detached bool
}

// enclose is around everything else: it names the request, answers with what went
// wrong, and logs.
func (s *Server) enclose(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := &request{Context: c, server: s, id: [1]string{s.requestIDOf(c.Request())}, began: time.Now()}
		r.working.Context = c.Request().Context() //nolint:fatcontext // of this request, and goes with it
		c.Request().Pattern = c.Path()            // as net/http's router would; it names spans
		setHeaders(r)
		if err := run(next, r); err != nil {
			s.writeError(err, r) // now, so that the line has the status
		}
		s.metrics.answered(r)
		if !r.detached {
			s.logRequest(r)
		}
		return nil
	}
}

var saneRequestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// requestIDOf returns the id that a trusted proxy has chosen, if it is fit for a log
// line, or a new one. Clients choose none: one that is used twice would hide what it
// was used for in somebody else's lines.
func (s *Server) requestIDOf(r *http.Request) string {
	if id := r.Header.Get(echo.HeaderXRequestID); id != "" && saneRequestID.MatchString(id) &&
		trusts(s.opts.TrustedProxies, parseAddress(r.RemoteAddr)) {
		return id
	}
	return strconv.FormatUint(rand.Uint64(), 36) // to be told apart, not to be secret
}

func requestID(c echo.Context) string {
	if r, ok := c.(*request); ok {
		return r.id[0]
	}
	return ""
}

// working returns the context of a request for what the engine does for it: the engine
// notes there what the log is to tell.
func working(c echo.Context) context.Context {
	if r, ok := c.(*request); ok {
		return &r.working
	}
	return c.Request().Context()
}

// run runs the rest of the middleware and the handler. It answers a bug with a
// 500 instead of a cut connection.
func run(next echo.HandlerFunc, r *request) (err error) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		if cause, ok := r.(error); ok && errors.Is(cause, http.ErrAbortHandler) {
			panic(r) // the answer can't be finished; net/http cuts the connection
		}
		err = guard.Caught(r)
	}()
	if err := boundURL(r); err != nil {
		return err
	}
	if err := boundBody(r); err != nil {
		return err
	}
	return next(r)
}

// Values of headers that all answers share: one slice each, not one per answer.
// Nobody changes them; who adds to one gets a copy, because they have no room.
var (
	noSniff    = []string{"nosniff"}
	noReferrer = []string{"no-referrer"}
	noStore    = []string{"private, no-store"}
	varyByAuth = []string{echo.HeaderAuthorization}
)

// setHeaders sets what every answer has. Answers under /v1 are JSON that needs a token
// in a header, so what protects pages says nothing about them; they are not to be
// taken for a script or a page, nor kept by a cache, and that is all, because each
// header costs every idle poll. Pages get more (serveFile). Strict-Transport-Security
// is for the proxy that has the certificate: this server speaks no TLS.
func setHeaders(r *request) {
	h := r.Response().Header()
	h[echo.HeaderXRequestID] = r.id[:]
	h[echo.HeaderXContentTypeOptions] = noSniff
	if strings.HasPrefix(r.Request().URL.Path, "/v1/") {
		h[echo.HeaderCacheControl] = noStore
		h[echo.HeaderVary] = varyByAuth
	} else {
		h[echo.HeaderReferrerPolicy] = noReferrer // for what links to other places
	}
}

func boundURL(c echo.Context) error {
	if len(c.Request().RequestURI) > models.MaxURLBytes {
		return models.Errorf(models.CodeURITooLong, "A URL has at most %d bytes.", models.MaxURLBytes)
	}
	return nil
}

// boundBody gives a body its time, whether the handler reads it or net/http
// drains it after an answer that did not want it. readBody takes the deadline
// away again once it has the whole body.
func boundBody(c echo.Context) error {
	if body := c.Request().Body; body != nil && body != http.NoBody {
		err := http.NewResponseController(c.Response()).SetReadDeadline(time.Now().Add(bodyTimeout))
		if err != nil && !errors.Is(err, http.ErrNotSupported) {
			return fmt.Errorf("set the body's deadline: %w", err)
		}
	}
	return nil
}

// cors lets pages of known origins call. Tokens travel in a header, not in cookies,
// so no credentials are allowed. Of other origins requests are answered too, but
// browsers keep the answers from the page.
func (s *Server) cors() echo.MiddlewareFunc {
	return middleware.CORSWithConfig(middleware.CORSConfig{
		// A function, because echo takes * and ? in its list for patterns.
		AllowOriginFunc: func(origin string) (bool, error) {
			return s.knows(origin), nil
		},
		AllowMethods: []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
		AllowHeaders: []string{
			echo.HeaderAuthorization, echo.HeaderContentType, echo.HeaderContentEncoding,
			"If-Match", "If-None-Match", "Last-Event-ID", "Idempotency-Key", "Tidemark-Client", echo.HeaderXRequestID,
		},
		ExposeHeaders: []string{"ETag", echo.HeaderLocation, "RateLimit", "RateLimit-Policy", echo.HeaderRetryAfter, echo.HeaderXRequestID},
		MaxAge:        600, // seconds
	})
}

// loopbackOnly refuses requests for another host's name in development, where
// nothing else protects the data: a web page can point its own name at
// 127.0.0.1 (DNS rebinding), but it can't send another name.
func loopbackOnly(c echo.Context) error {
	if !Loopback(c.Request().Host) {
		return models.Errorf(models.CodeForbidden, "Without auth the server answers only requests for localhost.")
	}
	setPrincipal(c, auth.Anonymous)
	return nil
}

// knownPagesOnly refuses what pages of other sites have a browser send in
// development, where there is no token that they lack. They could not read the
// answers, but a form, or a POST of text/plain, needs nobody's leave to be sent. Who
// sends neither header is no page; browsers do since 2020, and 2023 (Safari).
func (s *Server) knownPagesOnly(c echo.Context) error {
	h := c.Request().Header
	origins := h.Values(echo.HeaderOrigin)
	for _, origin := range origins {
		if !s.knows(origin) {
			return models.Errorf(models.CodeForbidden, "Without auth the server answers only pages of localhost and of --cors-origins, not of %s.", models.Cut(origin, 128))
		}
	}
	// A GET without CORS has no Origin: an image, a script. A link may be followed.
	if len(origins) == 0 && h.Get("Sec-Fetch-Site") == "cross-site" && h.Get("Sec-Fetch-Dest") != "document" {
		return models.Errorf(models.CodeForbidden, "Without auth the server answers only pages of localhost and of --cors-origins.")
	}
	return nil
}

// knows reports whether pages of an origin may call. In development all of this
// machine may, whatever their port: a front-end has a server of its own there, and
// whatever else can listen there can call without a browser. "null", of a sandboxed
// frame or a file, is an origin that anybody can have.
func (s *Server) knows(origin string) bool {
	if slices.Contains(s.opts.CORSOrigins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return s.development() && err == nil && (u.Scheme == "http" || u.Scheme == "https") &&
		Loopback(u.Host) && u.Scheme+"://"+u.Host == origin
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

// authenticate demands a token for everything that is not public.
func (s *Server) authenticate(c echo.Context) error {
	// The route, not the path: what is going to run is what is judged.
	if a := s.access[c.Path()]; a == public || a == page || a == byTicket && principal(c) != nobody {
		return nil
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
	setPrincipal(c, p)
	return nil
}

// bearer returns the token of a request (RFC 6750, section 2.1). Tokens in the
// query or in a body are not looked at: URLs end up in logs.
func bearer(c echo.Context) (string, error) {
	headers := c.Request().Header.Values(echo.HeaderAuthorization)
	if len(headers) == 0 {
		return "", models.Errorf(models.CodeUnauthenticated, "Send a token or an API key: Authorization: Bearer <token>.")
	}
	if len(headers) > 1 || strings.Contains(headers[0], ",") {
		c.Response().Header().Set(echo.HeaderWWWAuthenticate, challenge("invalid_request"))
		return "", invalid("Authorization", "must be there once, with one token")
	}
	scheme, token, ok := strings.Cut(headers[0], " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return "", models.Errorf(models.CodeUnauthenticated, "Send a token or an API key: Authorization: Bearer <token>.")
	}
	return token, nil
}

// nobody may do nothing.
var nobody = &auth.Principal{}

// principal returns who sent the request, nobody if that has not been found out.
func principal(c echo.Context) *auth.Principal {
	if r, ok := c.(*request); ok && r.principal != nil {
		return r.principal
	}
	return nobody
}

func setPrincipal(c echo.Context, p *auth.Principal) {
	if r, ok := c.(*request); ok {
		r.principal = p
	}
}
