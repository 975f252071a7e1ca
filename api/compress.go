package api

import (
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzhttp"
)

// compressFrom is the size from which a body is compressed. Below it, the work costs
// more than the bytes.
const compressFrom = 4 << 10

// compressed returns next behind a middleware that compresses large bodies with zstd
// or gzip, as the client accepts. Streams never come by here: a compressor holds
// back what it has not yet packed, and its memory for each is more than a stream has.
func compressed(next http.Handler) (http.Handler, error) {
	wrap, err := gzhttp.NewWrapper(gzhttp.MinSize(compressFrom))
	if err != nil {
		return nil, err
	}
	packed := wrap(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !compressible(r) || isStream(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		packed.ServeHTTP(w, r)
	}), nil
}

// compressible reports whether the client takes anything but bodies as they are.
func compressible(r *http.Request) bool { return r.Header.Get("Accept-Encoding") != "" }

// isStream reports whether a path is that of a stream or a socket; a document may be called
// stream too.
func isStream(path string) bool {
	in, ok := strings.CutPrefix(path, "/v1/spaces/")
	_, rest, _ := strings.Cut(in, "/")
	return ok && (rest == "stream" || rest == "socket") || path == "/v1/stream"
}
