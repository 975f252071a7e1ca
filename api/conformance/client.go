package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// client speaks to the deployment.
type client struct {
	base, token string
	http        *http.Client
}

// maxAnswer is more than any answer may have: a page is about 1 MiB, and one version of
// it at most 4 MiB of documents.
const maxAnswer = 32 << 20

// answer is what the deployment says.
type answer struct {
	asked  string // for people
	status int
	header http.Header
	body   []byte
}

// do asks, and reads the whole answer.
func (c *client) do(ctx context.Context, method, path, body string, headers ...string) (answer, error) {
	res, err := c.open(ctx, method, path, body, headers)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	read, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return answer{method + " " + path, res.StatusCode, res.Header, read}, err
}

// open asks and leaves the answer's body to the caller. headers are pairs; a token and a
// type are sent unless they say otherwise, "" for none. Where the deployment says that it
// is asked too often, or can't answer now, it is asked again when it says.
func (c *client) open(ctx context.Context, method, path, body string, headers []string) (*http.Response, error) {
	for {
		res, err := c.once(ctx, method, path, body, headers)
		if err != nil || res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusServiceUnavailable {
			return res, err
		}
		_ = res.Body.Close()
		seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
		if err != nil {
			return nil, fmt.Errorf("%s %s: %d without Retry-After in seconds", method, path, res.StatusCode)
		}
		select {
		case <-time.After(time.Duration(max(seconds, 1)) * time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *client) once(ctx context.Context, method, path, body string, headers []string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for ; len(headers) >= 2; headers = headers[2:] {
		if req.Header.Set(headers[0], headers[1]); headers[1] == "" {
			req.Header.Del(headers[0])
		}
	}
	return c.http.Do(req)
}

// edit is one edit on the wire.
type edit struct {
	EditID      string          `json:"edit_id"`
	Op          string          `json:"op"`
	Collection  string          `json:"collection"`
	ID          string          `json:"id"`
	BaseVersion *int64          `json:"base_version,omitempty"`
	BaseEditID  string          `json:"base_edit_id,omitempty"`
	Force       bool            `json:"force,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"`
}

// pushRequest is the body of a push.
type pushRequest struct {
	ClientID    string   `json:"client_id"`
	Edits       []edit   `json:"edits"`
	Atomic      bool     `json:"atomic,omitempty"`
	Cursor      *string  `json:"cursor,omitempty"`
	Collections []string `json:"collections,omitempty"`
	Limit       int      `json:"limit,omitempty"`
}

// result is the fate of one edit.
type result struct {
	EditID            string     `json:"edit_id"`
	Status            string     `json:"status"`
	Version           int64      `json:"version"`
	Replayed          bool       `json:"replayed"`
	Merged            bool       `json:"merged"`
	Current           *change    `json:"current"`
	ConflictingFields []string   `json:"conflicting_fields"`
	Error             *editError `json:"error"`
	BlockedBy         string     `json:"blocked_by"`
}

type editError struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// change is a document as it is after a version.
type change struct {
	Collection string          `json:"collection"`
	ID         string          `json:"id"`
	Version    int64           `json:"version"`
	Deleted    bool            `json:"deleted"`
	Data       json.RawMessage `json:"data"`
	ClientID   string          `json:"client_id"`
	EditID     string          `json:"edit_id"`
}

func (c change) name() string { return c.Collection + "/" + c.ID }

// page is one answer of a pull.
type page struct {
	Space       string   `json:"space"`
	Changes     []change `json:"changes"`
	Cursor      string   `json:"cursor"`
	Version     int64    `json:"version"`
	HasMore     bool     `json:"has_more"`
	Digest      string   `json:"digest"`
	Count       int64    `json:"count"`
	PollAfterMS int64    `json:"poll_after_ms"`
}

// pushAnswer answers a push, with a page if it asked for one.
type pushAnswer struct {
	Results []result `json:"results"`
	page
}

// problem is an answer that is an error.
type problem struct {
	Type    string  `json:"type"`
	Title   string  `json:"title"`
	Status  int     `json:"status"`
	Code    string  `json:"code"`
	Cause   string  `json:"cause"`
	Current *change `json:"current"`
}

// query is a pull's, with its names and values in pairs; a value of "" is not sent.
func query(pairs ...string) string {
	values := url.Values{}
	for ; len(pairs) >= 2; pairs = pairs[2:] {
		if pairs[1] != "" {
			values.Add(pairs[0], pairs[1])
		}
	}
	return values.Encode()
}
