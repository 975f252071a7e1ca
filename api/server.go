package api

import (
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/guard"
	"github.com/tidemark/tidemark/syncer/presence"
)

// Times that bound a connection. There is no http.Server.ReadTimeout: its
// deadline would stand while a long poll waits, and net/http takes a read that
// fails in the background for a client that is gone. The body's deadline is set
// around the body only (boundBody).
const (
	headerTimeout = 5 * time.Second
	bodyTimeout   = 15 * time.Second
	writeTimeout  = 60 * time.Second // from the end of the headers; longer than the longest poll, not for streams
	idleTimeout   = 75 * time.Second
)

// headerSlop is how much more net/http reads of a request's head than it is told.
const headerSlop = 4096

// Options set a Server.
type Options struct {
	Engine *syncer.Engine

	// Presence knows who is present; its owner runs it. Default: one that hears of
	// no other node and tells streams nothing.
	Presence *presence.Registry

	// Verifier checks tokens. Nil means development: no tokens, every space
	// open to everybody who can connect, the demo page at /. THIS IS UNSAFE on
	// any address but loopback.
	Verifier *auth.Verifier

	Logger *slog.Logger // default: slog.Default()

	// CORSOrigins are the origins, exactly as browsers send them, whose pages
	// may call. Empty: none but the server's own. In development all loopback
	// origins may.
	CORSOrigins []string

	// TrustedProxies are the addresses whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix

	// RateLimit is how many requests a second each subject may send, and each
	// address without a good token. 0: any number. It is for servers with tokens;
	// in development everybody is the same subject.
	RateLimit int

	// What GET /v1/config tells.
	Version          string
	Retention        time.Duration
	PollMin, PollMax time.Duration
}

// Server answers Tidemark's requests.
type Server struct {
	opts     Options
	engine   *syncer.Engine
	presence *presence.Registry
	log      *slog.Logger
	files    map[string]webFile
	echo     *echo.Echo
	access   map[string]access // by the route in echo's form; byToken for what is no route
	gauges   http.Handler
	packed   http.Handler // echo, behind compression

	rates     *rates
	streams   *streams
	ticketKey ticketKey

	leaving chan struct{} // closed by leave
	leave   func()
}

// New returns a Server.
func New(opts Options) (*Server, error) {
	files, err := loadFiles()
	if err != nil {
		return nil, err
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Presence == nil {
		opts.Presence = presence.New(nil, presence.Options{})
	}
	if opts.Verifier == nil {
		opts.RateLimit = 0
	}
	rates := newRates(opts.RateLimit)
	s := &Server{
		opts:     opts,
		engine:   opts.Engine,
		presence: opts.Presence,
		log:      opts.Logger,
		files:    files,
		echo:     echo.New(),
		access:   make(map[string]access),
		gauges:   newMetrics(append(verified(opts.Engine), rates.refused)...),
		rates:    rates,
		streams:  newStreams(opts.Engine.Draining()),
		leaving:  make(chan struct{}),
	}
	s.leave = sync.OnceFunc(func() { close(s.leaving) })
	s.echo.HTTPErrorHandler = s.writeError
	s.echo.Use(s.middleware()...)
	for _, r := range routes {
		handler := func(c echo.Context) error { return r.handler(s, c) }
		s.echo.Add(r.method, r.echoPath(), handler)
		if r.method == http.MethodGet {
			// RFC 9110 (9.3.2) wants HEAD wherever GET is; net/http leaves out the body.
			s.echo.Add(http.MethodHead, r.echoPath(), handler)
		}
		s.access[r.echoPath()] = r.access
	}
	s.packed, err = compressed(s.echo)
	return s, err
}

// ServeHTTP answers one request. It makes the router see the path as it was sent:
// net/http keeps the escaped form only where it is not what Go would have chosen,
// so that a parameter would come unescaped in one request and escaped in another;
// now it always comes escaped, and param undoes that once.
//
// A panic that comes as far as this was around the handler, or its answer had begun:
// it is counted, and net/http tells of it and cuts the connection.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if r := recover(); r != nil {
			if r != http.ErrAbortHandler { //nolint:errorlint // it is thrown as it is
				_ = guard.Caught(r)
			}
			panic(r)
		}
	}()
	r.URL.RawPath = r.URL.EscapedPath()
	s.packed.ServeHTTP(w, r)
}

// Wait waits until the last stream has ended, which is soon after the engine
// began to drain. http.Server.Shutdown does not know of streams.
func (s *Server) Wait() {
	s.streams.hurry()
	s.streams.wait()
}

// HTTPServer returns an http.Server for s with all its limits set.
func (s *Server) HTTPServer() *http.Server {
	return &http.Server{
		Handler:           s,
		ConnContext:       withCork,
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    models.MaxHeaderBytes - headerSlop,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
}

// development reports whether there are no tokens.
func (s *Server) development() bool { return s.opts.Verifier == nil }

// renew returns who with the rights that its token or key gives now. Errors:
// CodeUnauthenticated, CodeUnavailable.
func (s *Server) renew(who *auth.Principal) (*auth.Principal, error) {
	if s.development() {
		return who, nil
	}
	return s.opts.Verifier.Renew(who)
}

// rightsChanged returns a channel that is closed when renew may say something else.
// Take it before renew is asked.
func (s *Server) rightsChanged() <-chan struct{} {
	if s.development() {
		return nil
	}
	return s.opts.Verifier.Changed()
}
