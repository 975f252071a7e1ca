package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/tidemark/tidemark/tests/eventstream"
)

// Stream is an open stream of server-sent events.
type Stream struct {
	Header http.Header

	events *eventstream.Reader
	body   io.ReadCloser
}

// Stream opens a stream, which lasts until ctx ends or it is closed. The error is
// a *Problem if the answer is one.
func (c *Client) Stream(ctx context.Context, path string, headers http.Header) (*Stream, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base()+path, nil)
	if err != nil {
		return nil, err
	}
	if headers != nil {
		request.Header = headers.Clone()
	}
	if c.Token != "" && request.Header.Get("Authorization") == "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	patient := *c.HTTP
	patient.Timeout = 0 // a stream lasts longer than any request
	response, err := patient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		read, err := io.ReadAll(response.Body)
		if err != nil {
			return nil, err
		}
		return nil, Answer{response.StatusCode, response.Header, read}.Problem()
	}
	return &Stream{response.Header, eventstream.NewReader(response.Body), response.Body}, nil
}

// Next returns the next event, io.EOF at the end of the stream.
func (s *Stream) Next() (eventstream.Event, error) { return s.events.Next() }

// Page returns the next event, which must be a page.
func (s *Stream) Page() (Page, error) {
	event, err := s.Next()
	if err != nil {
		return Page{}, err
	}
	if event.Name != "changes" {
		return Page{}, fmt.Errorf("event %s: %.300s", event.Name, event.Data)
	}
	var page Page
	err = json.Unmarshal([]byte(event.Data), &page)
	return page, err
}

// Close ends the stream.
func (s *Stream) Close() error { return s.body.Close() }
