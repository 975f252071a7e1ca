package api

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/models"
)

const (
	mediaJSON       = "application/json"
	mediaMergePatch = "application/merge-patch+json"

	maxRoom = 64 << 10
)

// readBody returns the whole body, inflated. A body may take its time, and its sender's
// rights may be others by then; so they are read again, and allowed asks what they must
// still be. Errors: the media type is none of media, the encoding is unknown, the body is
// too large or too slow, the sender is let in no more, and those of allowed.
func readBody(c echo.Context, allowed func() error, media ...string) ([]byte, error) {
	r := c.Request()
	if err := checkMediaType(r, media); err != nil {
		return nil, err
	}
	inflate, err := encoded(r)
	if err != nil {
		return nil, err
	}
	if r.ContentLength > models.MaxBodyBytes {
		return nil, bodyTooLarge()
	}
	// Bounds what is read off the line; it also closes the connection after the
	// answer, so that nobody goes on sending.
	var source io.Reader = http.MaxBytesReader(c.Response().Writer, r.Body, models.MaxBodyBytes)
	if inflate {
		if source, err = gzip.NewReader(source); err != nil {
			return nil, bodyError(err)
		}
	}
	var body bytes.Buffer
	// Room for what is announced, as far as that costs little: it may never come.
	body.Grow(int(min(max(r.ContentLength, 0), maxRoom)) + bytes.MinRead)
	_, err = body.ReadFrom(io.LimitReader(source, models.MaxBodyBytes+1))
	switch {
	case err != nil:
		return nil, bodyError(err)
	case body.Len() > models.MaxBodyBytes:
		return nil, bodyTooLarge()
	}
	// The body is here, so its deadline (boundBody) must not end the request.
	err = http.NewResponseController(c.Response()).SetReadDeadline(time.Time{})
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, fmt.Errorf("reset the body's deadline: %w", err)
	}
	if err = renewRights(c); err == nil {
		err = allowed()
	}
	return body.Bytes(), err
}

// renewRights makes the principal of a request the one that it is now.
func renewRights(c echo.Context) error {
	r, ok := c.(*request)
	if !ok || r.principal == nil {
		return nil
	}
	now, err := r.server.renew(r.principal)
	if err != nil {
		return err
	}
	r.principal = now
	return nil
}

func checkMediaType(r *http.Request, media []string) error {
	headers := r.Header.Values(echo.HeaderContentType)
	if len(headers) == 1 {
		kind, params, err := mime.ParseMediaType(headers[0])
		charset, named := params["charset"]
		if err == nil && slices.Contains(media, kind) && (!named || strings.EqualFold(charset, "utf-8")) {
			return nil
		}
	}
	return models.Errorf(models.CodeUnsupportedMedia, "Send Content-Type: %s.", strings.Join(media, " or "))
}

// encoded reports whether the body is compressed.
func encoded(r *http.Request) (bool, error) {
	encoding := strings.Join(r.Header.Values(echo.HeaderContentEncoding), ",")
	switch strings.ToLower(encoding) {
	case "", "identity":
		return false, nil
	case "gzip":
		return true, nil
	}
	return false, models.Errorf(models.CodeUnsupportedEncoding, "The body may be compressed once, with gzip.")
}

func bodyTooLarge() error {
	return models.Errorf(models.CodeBodyTooLarge, "A body has at most %d bytes after inflation.", models.MaxBodyBytes)
}

// bodyError says why a body could not be read.
func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return bodyTooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &models.Error{Code: models.CodeRequestTimeout, Detail: fmt.Sprintf("The body did not arrive within %s.", bodyTimeout), Err: err}
	default: // cut off, or not gzip
		return &models.Error{Code: models.CodeMalformedJSON, Detail: "The body is cut off, or it is not gzip as it says.", Err: err}
	}
}
