package api

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// A route is one thing that the server answers.
type route struct {
	method  string
	path    string // in OpenAPI's form
	access  access
	handler func(*Server, echo.Context) error
}

// access says who may use a route. The zero value demands a token, so that
// forgetting it does no harm.
type access int

const (
	byToken  access = iota // needs a valid token where tokens are configured
	byTicket               // a stream or a socket: a ticket in the URL will do as well
	public                 // needs none
	page                   // needs none, and is a part of a page: openapi.yaml leaves it out
)

var routes = []route{
	{http.MethodPost, "/v1/spaces/{space}/push", byToken, (*Server).push},
	{http.MethodGet, "/v1/spaces/{space}/changes", byToken, (*Server).changes},
	{http.MethodGet, "/v1/spaces/{space}/stream", byTicket, (*Server).streamSpace},
	{http.MethodGet, "/v1/spaces/{space}/socket", byTicket, (*Server).socketSpace},
	{http.MethodPost, "/v1/spaces/{space}/stream-tickets", byToken, (*Server).spaceTicket},
	{http.MethodGet, "/v1/stream", byTicket, (*Server).streamSpaces},
	{http.MethodPost, "/v1/stream-tickets", byToken, (*Server).spacesTicket},
	{http.MethodGet, "/v1/heads", byToken, (*Server).heads},
	{http.MethodGet, "/v1/spaces/{space}/documents/{collection}/{id}", byToken, (*Server).getDocument},
	{http.MethodPut, "/v1/spaces/{space}/documents/{collection}/{id}", byToken, (*Server).putDocument},
	{http.MethodPatch, "/v1/spaces/{space}/documents/{collection}/{id}", byToken, (*Server).patchDocument},
	{http.MethodDelete, "/v1/spaces/{space}/documents/{collection}/{id}", byToken, (*Server).deleteDocument},
	{http.MethodGet, "/v1/spaces/{space}/presence", byToken, (*Server).listPresence},
	{http.MethodPut, "/v1/spaces/{space}/presence/{client_id}", byToken, (*Server).putPresence},
	{http.MethodDelete, "/v1/spaces/{space}/presence/{client_id}", byToken, (*Server).deletePresence},
	{http.MethodGet, "/v1/config", public, (*Server).config},

	{http.MethodGet, "/healthz", public, (*Server).health},
	{http.MethodGet, "/readyz", public, (*Server).ready},
	{http.MethodGet, "/metrics", byToken, (*Server).showMetrics},

	{http.MethodGet, "/openapi.yaml", public, file("openapi.yaml")},
	{http.MethodGet, "/problems/{code}", public, (*Server).problem},
	{http.MethodGet, "/tidemark.js", public, file("tidemark.js")},
	{http.MethodGet, "/tidemark.js.map", public, file("tidemark.js.map")},
	{http.MethodGet, "/tidemark.d.ts", public, file("tidemark.d.ts")},
	{http.MethodGet, "/docs", public, file("docs.html")},
	{http.MethodGet, "/assets/{file}", public, (*Server).asset},
	{http.MethodGet, "/favicon.svg", page, file("favicon.svg")},
	{http.MethodGet, "/favicon.ico", page, file("favicon.svg")}, // asked for by browsers of pages that name none

	// Only in development; otherwise they answer 404.
	{http.MethodGet, "/", public, demo("index.html")},
	{http.MethodGet, "/demo.js", page, demo("demo.js")},
	{http.MethodGet, "/demo.css", page, demo("demo.css")},
	{http.MethodGet, "/example", page, demo("example.html")},
	{http.MethodGet, "/gallery", page, (*Server).gallery},
	{http.MethodGet, "/gallery/", page, (*Server).gallery},
	{http.MethodGet, "/gallery/{file}", page, (*Server).gallery},
}

// A Route names something that the server answers, as openapi.yaml does.
type Route struct {
	Method string
	Path   string // with parameters in braces
	Public bool   // needs no token
}

// Routes returns everything the server answers, apart from the parts of its pages.
func Routes() []Route {
	var list []Route
	for _, r := range routes {
		if r.access != page {
			list = append(list, Route{Method: r.method, Path: r.path, Public: r.access == public})
		}
	}
	return list
}

// echoPath returns the path in echo's form: :name for {name}.
func (r route) echoPath() string {
	return strings.NewReplacer("{", ":", "}", "").Replace(r.path)
}
