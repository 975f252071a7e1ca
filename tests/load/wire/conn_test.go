package wire

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func serve(t *testing.T, handler http.HandlerFunc) Target {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	target, err := ParseTarget(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func TestParseTarget(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]Target{
		"http://127.0.0.1:8080":           {Address: "127.0.0.1:8080", Host: "127.0.0.1:8080"},
		"https://sync.example.com/a%20b/": {Address: "sync.example.com:443", Host: "sync.example.com", Path: "/a%20b", TLS: true},
		"http://[::1]":                    {Address: "[::1]:80", Host: "[::1]"},
	} {
		got, err := ParseTarget(base)
		if err != nil {
			t.Errorf("%s: %v", base, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", base, diff)
		}
	}
	for _, base := range []string{"", "example.com", "ftp://example.com", "http://"} {
		if _, err := ParseTarget(base); err == nil {
			t.Errorf("%q was taken for a URL", base)
		}
	}
}

// Every way in which an answer says where it ends, one after the other on one
// client: what is left over of an answer would begin the next one.
func TestConn_Do(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("0123456789", 10_000)
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"`+r.URL.Path+`"`)
		switch r.URL.Path {
		case "/idle":
			w.WriteHeader(http.StatusNotModified)
		case "/length":
			io.WriteString(w, "ok")
		case "/chunks":
			for _, part := range []string{large, "middle", "end"} {
				io.WriteString(w, part)
				http.NewResponseController(w).Flush()
			}
		case "/close":
			w.Header().Set("Connection", "close")
			io.WriteString(w, "bye")
		case "/echo":
			fmt.Fprint(w, r.Header.Get("Authorization"), " ")
			io.Copy(w, r.Body)
		}
	})
	conn, err := Dial(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { conn.Close() }()
	type answer struct {
		Status     int
		ETag, Body string
	}
	for _, test := range []struct {
		request []byte
		want    answer
	}{
		{target.Get("/idle", "", `If-None-Match: "x"`), answer{304, `"/idle"`, ""}},
		{target.Get("/length", ""), answer{200, `"/length"`, "ok"}},
		{target.Get("/chunks", ""), answer{200, `"/chunks"`, large + "middleend"}},
		{target.Get("/idle", ""), answer{304, `"/idle"`, ""}},
		{target.Get("/close", ""), answer{200, `"/close"`, "bye"}},
		{target.Post("/echo", "a token", []byte("a body")), answer{200, `"/echo"`, "Bearer a token a body"}},
		{target.Get("/length", ""), answer{200, `"/length"`, "ok"}},
	} {
		got, err := conn.Do(t.Context(), test.request)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, answer{got.Status, string(got.ETag), string(got.Body)}); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestConn_Do_refusesWhatIsNoAnswer(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "hello\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		target := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			raw, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(raw, text)
			raw.Close()
		})
		conn, err := Dial(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := conn.Do(t.Context(), target.Get("/", "")); err == nil {
			t.Errorf("%q was taken for an answer: %+v", text, got)
		}
		conn.Close()
	}
}
