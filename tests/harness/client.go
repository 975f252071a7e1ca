package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Edit is one edit on the wire. Members at their zero value are not sent;
// Data is sent byte for byte.
type Edit struct {
	EditID      string          `json:"edit_id"`
	Op          string          `json:"op"`
	Collection  string          `json:"collection"`
	ID          string          `json:"id"`
	BaseVersion *int64          `json:"base_version,omitempty"`
	BaseEditID  string          `json:"base_edit_id,omitempty"`
	Force       bool            `json:"force,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"`
}

// At returns a base_version.
func At(version int64) *int64 { return &version }

// Push is the body of a push.
type Push struct {
	ClientID    string   `json:"client_id"`
	Edits       []Edit   `json:"edits,omitempty"`
	Atomic      bool     `json:"atomic,omitempty"`
	Cursor      *string  `json:"cursor,omitempty"`
	Collections []string `json:"collections,omitempty"`
	Limit       int      `json:"limit,omitempty"`
	MinVersion  int64    `json:"min_version,omitempty"`
}

// encode writes the push with the data of its edits byte for byte. A json.Marshal
// of the whole would write it anew, and a test that asks whether documents come
// back as they were sent would ask about another document.
func (p Push) encode() ([]byte, error) {
	edits := make([][]byte, len(p.Edits))
	for i, edit := range p.Edits {
		data := edit.Data
		edit.Data = nil
		encoded, err := json.Marshal(edit)
		if err != nil {
			return nil, err
		}
		if data != nil {
			encoded = slices.Concat(encoded[:len(encoded)-1], []byte(`,"data":`), data, []byte("}"))
		}
		edits[i] = encoded
	}
	p.Edits = nil
	body, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return slices.Concat(body[:len(body)-1], []byte(`,"edits":[`), bytes.Join(edits, []byte(",")), []byte("]}")), nil
}

// Result is the fate of one edit.
type Result struct {
	EditID            string     `json:"edit_id"`
	Status            string     `json:"status"`
	Version           int64      `json:"version"`
	Replayed          bool       `json:"replayed"`
	Merged            bool       `json:"merged"`
	Current           *Change    `json:"current"`
	ConflictingFields []string   `json:"conflicting_fields"`
	Error             *EditError `json:"error"`
	BlockedBy         string     `json:"blocked_by"`
}

// EditError says why an edit was rejected or skipped.
type EditError struct {
	Code    string `json:"code"`
	Detail  string `json:"detail"`
	Pointer string `json:"pointer"`
	Errors  []struct {
		Pointer string `json:"pointer"`
		Detail  string `json:"detail"`
	} `json:"errors"`
}

// PushAnswer answers a push. Page is its zero value unless a cursor was sent.
type PushAnswer struct {
	Results []Result `json:"results"`
	Page
}

// Change is a document as it is after a version.
type Change struct {
	Collection string          `json:"collection"`
	ID         string          `json:"id"`
	Version    int64           `json:"version"`
	Deleted    bool            `json:"deleted"`
	Data       json.RawMessage `json:"data"`
	UpdatedAt  time.Time       `json:"updated_at"`
	UpdatedBy  string          `json:"updated_by"`
	ClientID   string          `json:"client_id"`
	EditID     string          `json:"edit_id"`
}

// Page is one answer of pull.
type Page struct {
	Space       string   `json:"space"` // on a stream of several only
	Changes     []Change `json:"changes"`
	Cursor      string   `json:"cursor"`
	Version     int64    `json:"version"`
	HasMore     bool     `json:"has_more"`
	Digest      string   `json:"digest"` // "" where there is none
	Count       int64    `json:"count"`
	PollAfterMS int64    `json:"poll_after_ms"`
}

// Problem is an answer that is an error. It is the error that the client's
// methods return for any status they do not expect.
type Problem struct {
	HTTPStatus int    `json:"-"`
	RetryAfter string `json:"-"`

	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail"`
	Code      string  `json:"code"`
	Cause     string  `json:"cause"`
	Current   *Change `json:"current"`
	RequestID string  `json:"request_id"`
	Errors    []struct {
		Pointer string `json:"pointer"`
		Detail  string `json:"detail"`
	} `json:"errors"`
}

func (p *Problem) Error() string {
	return fmt.Sprintf("%d %s %s: %s", p.HTTPStatus, p.Code, p.Cause, p.Detail)
}

// Pull is the query of a pull. Members at their zero value are not sent.
type Pull struct {
	Cursor      string
	Limit       int
	Wait        int // seconds
	Collections []string
	MinVersion  int64
}

func (p Pull) query() string {
	query := url.Values{}
	for name, value := range map[string]int64{"limit": int64(p.Limit), "wait": int64(p.Wait), "min_version": p.MinVersion} {
		if value != 0 {
			query.Set(name, strconv.FormatInt(value, 10))
		}
	}
	if p.Cursor != "" {
		query.Set("cursor", p.Cursor)
	}
	for _, collection := range p.Collections {
		query.Add("collections", collection)
	}
	return query.Encode()
}

// Transport wraps the connection of every client. A test that holds requests
// and answers against the contract sets it before it makes its clients.
var Transport = func(next http.RoundTripper) http.RoundTripper { return next }

// requestTimeout is what "never a hang" means: the longest long poll and some.
const requestTimeout = 40 * time.Second

// Client speaks to one server. It retries nothing.
type Client struct {
	// Token is sent as the bearer token, unless it is empty.
	Token string
	// HTTP carries the requests.
	HTTP *http.Client

	base         func() string
	acknowledged *versions // nil: nothing is added to pulls
}

// Client returns a client with its own connections that follows the server
// over restarts.
func (s *Server) Client(token string) *Client {
	c := s.LooseClient(token)
	s.t.Cleanup(c.HTTP.CloseIdleConnections)
	return c
}

// LooseClient returns a client whose idle connections the caller closes: for
// tests that make many, one after the other.
func (s *Server) LooseClient(token string) *Client {
	c := NewClient(s.URL, token)
	c.acknowledged = s.acknowledged
	return c
}

// NewClient returns a client of whatever listens at base.
func NewClient(base func() string, token string) *Client {
	connections := &http.Transport{MaxIdleConnsPerHost: 100, DisableCompression: true}
	return &Client{
		Token: token,
		HTTP: &http.Client{
			Transport: Transport(connections),
			Timeout:   requestTimeout,
			// A redirect would hide what the server answers to odd paths.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		base: base,
	}
}

// Push pushes edits to a space.
func (c *Client) Push(ctx context.Context, space string, push Push) (PushAnswer, error) {
	body, err := push.encode()
	if err != nil {
		return PushAnswer{}, err
	}
	var answer PushAnswer
	err = c.call(ctx, http.MethodPost, "/v1/spaces/"+space+"/push", body, &answer)
	c.acknowledged.saw(space, answer.Version)
	return answer, err
}

// Pull asks for a page of changes.
func (c *Client) Pull(ctx context.Context, space string, pull Pull) (Page, error) {
	if pull.MinVersion == 0 {
		pull.MinVersion = c.acknowledged.of(space)
	}
	var page Page
	err := c.call(ctx, http.MethodGet, "/v1/spaces/"+space+"/changes?"+pull.query(), nil, &page)
	return page, err
}

// PullAll pulls page after page until there is no more, and returns all
// changes in the order they came, and the last cursor.
func (c *Client) PullAll(ctx context.Context, space string, first Pull) ([]Change, string, error) {
	var changes []Change
	pull := first
	for {
		page, err := c.Pull(ctx, space, pull)
		if err != nil {
			return nil, "", err
		}
		changes = append(changes, page.Changes...)
		if !page.HasMore {
			if err := first.prove(page, changes); err != nil {
				return nil, "", err
			}
			return changes, page.Cursor, nil
		}
		if page.Cursor == pull.Cursor {
			return nil, "", fmt.Errorf("a page with has_more did not advance the cursor %q", page.Cursor)
		}
		pull.Cursor = page.Cursor
	}
}

// prove compares the digest of the last page with all changes of a pull, where they are
// all that there is.
func (p Pull) prove(last Page, changes []Change) error {
	if p.Cursor != "" || len(p.Collections) > 0 {
		return nil
	}
	held := make(map[[2]string]int64) // live documents
	for _, c := range changes {
		if name := [2]string{c.Collection, c.ID}; c.Deleted {
			delete(held, name)
		} else {
			held[name] = c.Version
		}
	}
	var sum uint64
	for name, version := range held {
		sum += DocumentHash(name[0], name[1], version)
	}
	if digest := fmt.Sprintf("%016x", sum); last.Digest != digest || last.Count != int64(len(held)) {
		return fmt.Errorf("the last page has digest %q and count %d; what was pulled has %s and %d", last.Digest, last.Count, digest, len(held))
	}
	return nil
}

// DocumentHash is the hash of a live document that the digest is the sum of, written
// from its description in openapi.yaml.
func DocumentHash(collection, id string, version int64) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, b := range []byte(collection + "\x00" + id + "\x00" + strconv.FormatInt(version, 10)) {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// Heads asks for the newest versions of spaces, in the order of the names.
func (c *Client) Heads(ctx context.Context, minVersion int64, spaces ...string) ([]int64, error) {
	query := url.Values{"space": spaces}
	if minVersion != 0 {
		query.Set("min_version", strconv.FormatInt(minVersion, 10))
	}
	var answer struct {
		Heads []struct {
			Version int64 `json:"version"`
		} `json:"heads"`
	}
	err := c.call(ctx, http.MethodGet, "/v1/heads?"+query.Encode(), nil, &answer)
	versions := make([]int64, len(answer.Heads))
	for i, head := range answer.Heads {
		versions[i] = head.Version
	}
	return versions, err
}

func (c *Client) call(ctx context.Context, method, path string, body []byte, into any) error {
	headers := http.Header{}
	if body != nil {
		headers.Set("Content-Type", "application/json")
	}
	answer, err := c.Do(ctx, method, path, headers, body)
	if err != nil {
		return err
	}
	return answer.Decode(into)
}

// Answer is any answer, read whole.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Decode reads the answer's body; the error is a *Problem if the answer is one.
func (a Answer) Decode(into any) error {
	if a.Status/100 != 2 {
		return a.Problem()
	}
	if err := json.Unmarshal(a.Body, into); err != nil {
		return fmt.Errorf("the answer %.300q: %w", a.Body, err)
	}
	return nil
}

// Problem reads the answer as problem+json, as far as it is one.
func (a Answer) Problem() *Problem {
	problem := &Problem{HTTPStatus: a.Status, RetryAfter: a.Header.Get("Retry-After")}
	if !strings.HasPrefix(a.Header.Get("Content-Type"), "application/problem+json") {
		problem.Detail = fmt.Sprintf("not problem+json: %.300q", a.Body)
		return problem
	}
	if err := json.Unmarshal(a.Body, problem); err != nil {
		problem.Detail = fmt.Sprintf("%v: %.300q", err, a.Body)
	}
	return problem
}

// Do sends any request; the token is added unless headers has its own.
// The path is sent as it is.
func (c *Client) Do(ctx context.Context, method, path string, headers http.Header, body []byte) (Answer, error) {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base()+path, reader)
	if err != nil {
		return Answer{}, err
	}
	if headers != nil {
		request.Header = headers.Clone()
	}
	if c.Token != "" && request.Header.Get("Authorization") == "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, err
	}
	return Answer{response.StatusCode, response.Header, read}, nil
}
