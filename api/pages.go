package api

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark"
	"github.com/tidemark/tidemark/api/web"
)

// A webFile is a file of the pages, in memory.
type webFile struct {
	media  string
	policy string // Content-Security-Policy of a page
	tag    string
	plain  func() ([]byte, error)
	packed func() ([]byte, error) // gzip; nil where it is not worth it
}

// mediaTypes are those of the files there are. mime.TypeByExtension would ask
// the operating system, and each says something else.
var mediaTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".map":  "application/json",
	".mjs":  "text/javascript; charset=utf-8",
	".sh":   "text/plain; charset=utf-8",
	".svg":  "image/svg+xml",
	".ts":   "text/plain; charset=utf-8",
	".yaml": "application/yaml",
}

// ownOnly is the content security policy of a page that has everything from here.
const ownOnly = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// policies are those of the pages; of one that is not named it is ownOnly.
var policies = map[string]string{
	// The bridge to Socket.IO is another server on this machine, on any port.
	"gallery/socketio.html": ownOnly + "; connect-src 'self' http://localhost:* ws://localhost:* http://127.0.0.1:* ws://127.0.0.1:*",
	// The example of README is one file, its script within.
	"example.html": "default-src 'self'; script-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
	// The API reference sets styles from its script, and shows icons as data: URLs.
	"docs.html": "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}

// loadFiles reads what is embedded. A vendored x.js.gz becomes x.js; what is in
// gallery/ keeps the folder in its name.
func loadFiles() (map[string]webFile, error) {
	files := map[string]webFile{"openapi.yaml": newWebFile("openapi.yaml", tidemark.OpenAPI, false)}
	err := fs.WalkDir(web.Files, ".", func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := web.Files.ReadFile(at)
		if err != nil {
			return err
		}
		name, compressed := strings.CutSuffix(at, ".gz")
		if path.Dir(at) != "gallery" {
			name = path.Base(name)
		}
		files[name] = newWebFile(name, text, compressed)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the embedded files: %w", err)
	}
	return files, nil
}

func newWebFile(name string, text []byte, compressed bool) webFile {
	f := webFile{
		media:  mediaTypes[path.Ext(name)],
		policy: policies[name],
		tag:    fmt.Sprintf(`W/"%.8x"`, sha256.Sum256(text)), // weak: one for all encodings
	}
	if f.policy == "" && path.Ext(name) == ".html" {
		f.policy = ownOnly
	}
	asItIs := func() ([]byte, error) { return text, nil }
	switch {
	case compressed:
		f.plain, f.packed = func() ([]byte, error) { return inflate(text) }, asItIs
	case len(text) < compressFrom:
		f.plain = asItIs
	default:
		f.plain, f.packed = asItIs, sync.OnceValues(func() ([]byte, error) { return deflate(text) })
	}
	return f
}

// deflate makes gzip of a file, once, and so smaller than compressed does for each request.
func deflate(text []byte) ([]byte, error) {
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(text)
	err = errors.Join(err, w.Close())
	return packed.Bytes(), err
}

// inflate is for the few clients that do not take gzip.
func inflate(text []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(r)
	return plain, errors.Join(err, r.Close())
}

// file returns the handler of one embedded file.
func file(name string) func(*Server, echo.Context) error {
	return func(s *Server, c echo.Context) error { return s.serveFile(c, name) }
}

// demo is file, in development only: the demo page needs no token and shows
// everything.
func demo(name string) func(*Server, echo.Context) error {
	return func(s *Server, c echo.Context) error {
		if !s.development() {
			return nothingHere(c)
		}
		return s.serveFile(c, name)
	}
}

// gallery serves the pages of examples and their parts, as demo does: /gallery/
// the index, /gallery/list the page list.html.
func (s *Server) gallery(c echo.Context) error {
	if !s.development() {
		return nothingHere(c)
	}
	name := param(c, "file")
	switch {
	case c.Path() == "/gallery":
		return c.Redirect(http.StatusFound, "/gallery/") // the pages name their parts relative to it
	case name == "":
		name = "index.html"
	case path.Ext(name) == "":
		name += ".html"
	}
	return s.serveFile(c, "gallery/"+name)
}

// asset serves scripts and styles of the pages, but for those in folders.
func (s *Server) asset(c echo.Context) error {
	name := param(c, "file")
	if ext := path.Ext(name); ext != ".js" && ext != ".css" || strings.Contains(name, "/") {
		return nothingHere(c)
	}
	return s.serveFile(c, name)
}

// serveFile answers with a file. Browsers keep it and ask each time whether it
// is still good, so a new server is seen at once.
func (s *Server) serveFile(c echo.Context, name string) error {
	f, ok := s.files[name]
	if !ok {
		return nothingHere(c)
	}
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, f.media)
	h.Set(echo.HeaderCacheControl, "no-cache")
	h.Set("ETag", f.tag)
	if f.policy != "" {
		h.Set(echo.HeaderContentSecurityPolicy, f.policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin") // who opens a page in a window may not look into it
	}
	body := f.plain
	if f.packed != nil {
		h.Add(echo.HeaderVary, echo.HeaderAcceptEncoding)
		if takesGzip(c.Request().Header.Values(echo.HeaderAcceptEncoding)) {
			h.Set(echo.HeaderContentEncoding, "gzip")
			body = f.packed
		}
	}
	text, err := body()
	if err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	http.ServeContent(c.Response(), c.Request(), "", time.Time{}, bytes.NewReader(text))
	return nil
}

// takesGzip reads Accept-Encoding (RFC 9110 section 12.5.3).
func takesGzip(accept []string) bool {
	for _, part := range strings.Split(strings.Join(accept, ","), ",") {
		coding, weight, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			q, found := strings.CutPrefix(strings.TrimSpace(weight), "q=")
			return !found || strings.Trim(q, "0.") != ""
		}
	}
	return false
}
