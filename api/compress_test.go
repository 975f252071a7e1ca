package api

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

// fetch asks without the transport's own decompression.
func (l *listening) fetch(target, accept string) (header http.Header, body []byte) {
	t := l.t
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.url+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+l.token)
	if accept != "" {
		req.Header.Set("Accept-Encoding", accept)
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	return res.Header, body
}

func TestCompression(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	_, plain := w.fetch(feed, "")
	if header, body := w.fetch(feed, "gzip, zstd"); header.Get("Content-Encoding") != "" || !cmp.Equal(plain, body) {
		t.Errorf("a small page comes as %q: %s", header.Get("Content-Encoding"), body)
	}
	for i := range 9 {
		w.ask(http.MethodPut, fmt.Sprintf("/v1/spaces/s1/documents/c/d%d", i), `{"a":"`+strings.Repeat("x", 1000)+`"}`,
			"If-None-Match", "*").want(http.StatusCreated, "")
	}
	header, plain := w.fetch(feed, "")
	if header.Get("Content-Encoding") != "" || len(plain) < 9000 {
		t.Fatalf("%d bytes come as %q", len(plain), header.Get("Content-Encoding"))
	}
	for encoding, open := range map[string]func(io.Reader) (io.Reader, error){
		"gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"zstd": func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
	} {
		header, body := w.fetch(feed, encoding)
		if header.Get("Content-Encoding") != encoding || len(body) > len(plain)/4 {
			t.Errorf("%s: %d of %d bytes come as %q", encoding, len(body), len(plain), header.Get("Content-Encoding"))
		}
		if !strings.Contains(strings.Join(header.Values("Vary"), ","), "Accept-Encoding") {
			t.Errorf("%s: Vary is %q", encoding, header.Values("Vary"))
		}
		r, err := open(strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		unpacked, err := io.ReadAll(r)
		if err != nil || !cmp.Equal(string(plain), string(unpacked)) {
			t.Errorf("%s: another page: %v", encoding, err)
		}
	}
}

func TestCompression_documentCalledStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	const path = "/v1/spaces/s1/documents/c/stream"
	w.ask(http.MethodPut, path, `{"a":"`+strings.Repeat("x", 9000)+`"}`, "If-None-Match", "*").want(http.StatusCreated, "")
	if header, body := w.fetch(path, "gzip"); header.Get("Content-Encoding") != "gzip" || len(body) > 1000 {
		t.Errorf("it comes as %q in %d bytes", header.Get("Content-Encoding"), len(body))
	}
}

// The bytes of a strong tag would be the same whatever the encoding.
func TestCompression_tagsOfFilesAreWeak(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	for _, path := range []string{"/tidemark.js", "/openapi.yaml", "/assets/scalar.js"} {
		packed, _ := w.fetch(path, "gzip")
		plain, _ := w.fetch(path, "")
		if packed.Get("Content-Encoding") != "gzip" || plain.Get("Content-Encoding") != "" {
			t.Errorf("%s comes as %q and %q", path, packed.Get("Content-Encoding"), plain.Get("Content-Encoding"))
		}
		if tag := packed.Get("ETag"); !strings.HasPrefix(tag, "W/") || tag != plain.Get("ETag") {
			t.Errorf("%s: the tag is %s, and %s without compression", path, tag, plain.Get("ETag"))
		}
	}
}

func TestCompression_browserClientUnder12kB(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	if _, body := w.fetch("/tidemark.js", "gzip, deflate, br, zstd"); len(body) >= 12_000 {
		t.Errorf("it comes in %d bytes", len(body))
	}
}

func TestCompression_gzipOfFilesAsAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	for accept, want := range map[string]string{
		"":                  "",
		"gzip":              "gzip",
		"br, GZIP":          "gzip",
		"gzip;q=0.5, br":    "gzip",
		"gzip;q=0":          "",
		"gzip; q=0.000, br": "",
		"identity":          "",
	} {
		if header, _ := w.fetch("/assets/scalar.js", accept); header.Get("Content-Encoding") != want {
			t.Errorf("%q: it comes as %q, want %q", accept, header.Get("Content-Encoding"), want)
		}
	}
}
