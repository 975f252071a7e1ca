package api

import (
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/models"
)

const pushTarget = "/v1/spaces/s1/push"

func TestBody_mediaType(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, test := range []struct {
		types []string
		ok    bool
	}{
		{[]string{"application/json"}, true},
		{[]string{"Application/JSON"}, true},
		{[]string{"application/json; charset=utf-8"}, true},
		{[]string{`application/json;charset="UTF-8"`}, true},
		{[]string{""}, false},
		{[]string{"text/plain"}, false},
		{[]string{"application/json; charset=utf-16"}, false},
		{[]string{"application/json; charset="}, false},
		{[]string{"application/json, text/plain"}, false},
		{[]string{"application/json", "application/json"}, false},
		{[]string{"application/merge-patch+json"}, false},
		{[]string{"application/x-www-form-urlencoded"}, false},
		{[]string{"multipart/form-data; boundary=x"}, false},
	} {
		var headers []string
		for _, media := range test.types {
			headers = append(headers, "Content-Type", media)
		}
		got := w.ask(http.MethodPost, pushTarget, pushOf(put), headers...)
		if test.ok {
			got.want(http.StatusOK, "")
		} else {
			got.want(http.StatusUnsupportedMediaType, models.CodeUnsupportedMedia)
		}
	}
	got := w.ask(http.MethodPost, pushTarget, pushOf(put), "Content-Type", "")
	got.want(http.StatusUnsupportedMediaType, models.CodeUnsupportedMedia)
	w.ask(http.MethodPost, pushTarget, "").want(http.StatusUnsupportedMediaType, models.CodeUnsupportedMedia)
	w.ask(http.MethodPost, pushTarget, "", "Content-Type", "application/json").want(http.StatusBadRequest, models.CodeMalformedJSON)
	w.ask(http.MethodPut, todo, `{}`, "If-None-Match", "*", "Content-Type", "application/merge-patch+json").
		want(http.StatusUnsupportedMediaType, models.CodeUnsupportedMedia)
}

func pack(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestBody_encoding(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	packed := pack(t, pushOf(put))
	for _, test := range []struct {
		name, body string
		encodings  []string
		status     int
		code       models.Code
	}{
		{"identity", pushOf(put), []string{"identity"}, 200, ""},
		{"gzip", packed, []string{"gzip"}, 200, ""},
		{"GZIP", packed, []string{"GZIP"}, 200, ""},
		{"twice", pack(t, packed), []string{"gzip, gzip"}, 415, models.CodeUnsupportedEncoding},
		{"twice in two headers", pack(t, packed), []string{"gzip", "gzip"}, 415, models.CodeUnsupportedEncoding},
		{"gzip and identity", packed, []string{"gzip, identity"}, 415, models.CodeUnsupportedEncoding},
		{"deflate", packed, []string{"deflate"}, 415, models.CodeUnsupportedEncoding},
		{"zstd", packed, []string{"zstd"}, 415, models.CodeUnsupportedEncoding},
		{"br", packed, []string{"br"}, 415, models.CodeUnsupportedEncoding},
		{"not gzip", pushOf(put), []string{"gzip"}, 400, models.CodeMalformedJSON},
		{"gzip unsaid", packed, nil, 400, models.CodeMalformedJSON},
		{"gzip cut off", packed[:len(packed)-9], []string{"gzip"}, 400, models.CodeMalformedJSON},
		{"gzip damaged", packed[:len(packed)-8] + "12345678", []string{"gzip"}, 400, models.CodeMalformedJSON},
		{"rubbish behind gzip", packed + "rubbish", []string{"gzip"}, 400, models.CodeMalformedJSON},
		{"nothing, as gzip", pack(t, ""), []string{"gzip"}, 400, models.CodeMalformedJSON},
		{"1 MiB inflated", pack(t, padded(models.MaxBodyBytes)), []string{"gzip"}, 200, ""},
		{"1 MiB + 1 inflated", pack(t, padded(models.MaxBodyBytes+1)), []string{"gzip"}, 413, models.CodeBodyTooLarge},
		{"a bomb", bomb(t), []string{"gzip"}, 413, models.CodeBodyTooLarge},
		{"a bomb of nothing", strings.Repeat(pack(t, ""), 60_000), []string{"gzip"}, 413, models.CodeBodyTooLarge},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var headers []string
			for _, e := range test.encodings {
				headers = append(headers, "Content-Encoding", e)
			}
			w.ask(http.MethodPost, pushTarget, test.body, headers...).want(test.status, test.code)
		})
	}
}

// padded returns a push of n bytes.
func padded(n int) string {
	text := pushOf(put)
	return text + strings.Repeat(" ", n-len(text))
}

// bomb returns 32 MiB of zeros in 32 KiB.
func bomb(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for range 32 {
		if _, err := z.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestBody_size(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ask(http.MethodPost, pushTarget, padded(models.MaxBodyBytes)).want(http.StatusOK, "")
	w.ask(http.MethodPost, pushTarget, padded(models.MaxBodyBytes+1)).want(http.StatusRequestEntityTooLarge, models.CodeBodyTooLarge)

	// Without Content-Length it is counted.
	r := httptest.NewRequest(http.MethodPost, pushTarget, io.LimitReader(rand.NewChaCha8([32]byte{}), models.MaxBodyBytes+1))
	r.ContentLength = -1
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+w.token)
	w.send(r).want(http.StatusRequestEntityTooLarge, models.CodeBodyTooLarge)

	// With it, nothing is read.
	r = httptest.NewRequest(http.MethodPost, pushTarget, unreadable{t})
	r.ContentLength = models.MaxBodyBytes + 1
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+w.token)
	w.send(r).want(http.StatusRequestEntityTooLarge, models.CodeBodyTooLarge)
}

type unreadable struct{ t *testing.T }

func (u unreadable) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

// Who may not push need not be listened to.
func TestBody_notReadBeforeTheTokenIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for target, status := range map[string]int{pushTarget: 401, "/v1/spaces/other/push": 404} {
		r := httptest.NewRequest(http.MethodPost, target, unreadable{t})
		r.Header.Set("Content-Type", "application/json")
		if status == 404 {
			r.Header.Set("Authorization", "Bearer "+w.token)
		}
		if got := w.send(r); got.status != status {
			t.Errorf("%s: %d", target, got.status)
		}
	}
}
