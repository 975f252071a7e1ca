package contract

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tidemark/tidemark/tests/harness"
)

// Exchange is a request and its answer, both whole.
type Exchange struct {
	Request *http.Request
	// Sent is the request's body after inflation; nil if there was none or it
	// was streamed and can't be read twice.
	Sent     []byte
	Response *http.Response
	Received []byte
}

func (x *Exchange) String() string {
	return fmt.Sprintf("%s %s: %s", x.Request.Method, x.Request.URL.RequestURI(), x.Response.Status)
}

// Recorder checks everything that passes it and remembers what has passed.
type Recorder struct {
	spec *Spec

	mu         sync.Mutex
	violations []error
	answers    map[Answered]int
	codes      map[string]int
	events     map[string]int
}

// Answered is a kind of answer: which operation, which status.
type Answered struct {
	OperationID string // "" for what is no operation
	Status      int
}

// NewRecorder returns a recorder that has seen nothing.
func NewRecorder(spec *Spec) *Recorder {
	return &Recorder{spec: spec, answers: make(map[Answered]int), codes: make(map[string]int), events: make(map[string]int)}
}

// Violations returns what was wrong so far.
func (r *Recorder) Violations() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.violations)
}

// Answers returns how often each kind of answer was seen.
func (r *Recorder) Answers() map[Answered]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.answers)
}

// Codes returns how often each error code was seen, in problems and in results.
func (r *Recorder) Codes() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.codes)
}

// Events returns how often each event was seen on streams.
func (r *Recorder) Events() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.events)
}

// Transport returns a transport that sends through next and checks. An exchange
// that breaks the contract is an error of its request, so that the test that
// made it fails where it made it; tests that expect lost answers don't hide it,
// because it stays among the violations.
func (r *Recorder) Transport(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(request)
		if err != nil {
			return nil, err
		}
		if mediaType(response.Header) == eventStream {
			return response, r.stream(request, response)
		}
		if response.StatusCode == http.StatusSwitchingProtocols { // what follows is no body
			return response, r.record(&Exchange{Request: request, Response: response})
		}
		received, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			return nil, err
		}
		response.Body = io.NopCloser(bytes.NewReader(received))
		exchange := &Exchange{Request: request, Sent: sentBody(request), Response: response, Received: received}
		if err := r.record(exchange); err != nil {
			return nil, err
		}
		return response, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// sentBody returns the body of a request that was made from bytes. Others, slow
// ones for example, are not read ahead: that would change what the server sees.
func sentBody(r *http.Request) []byte {
	if r.GetBody == nil {
		return nil
	}
	body, err := r.GetBody()
	if err != nil {
		return nil
	}
	defer body.Close()
	var reader io.Reader = body
	if r.Header.Get("Content-Encoding") == "gzip" {
		if reader, err = gzip.NewReader(body); err != nil {
			return nil
		}
	}
	const most = 2 << 20 // above what the server takes, far below what a bomb inflates to
	sent, err := io.ReadAll(io.LimitReader(reader, most))
	if err != nil {
		return nil
	}
	return sent
}

func (r *Recorder) record(x *Exchange) error {
	return r.judge(x, r.spec.Check(x))
}

func (r *Recorder) judge(x *Exchange, verdict Verdict) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if verdict.Event == "" {
		r.answers[Answered{verdict.OperationID, x.Response.StatusCode}]++
	} else {
		r.events[verdict.Event]++
	}
	for _, code := range verdict.Codes {
		r.codes[code]++
	}
	if verdict.Err == nil {
		return nil
	}
	err := fmt.Errorf("against openapi.yaml: %s: %w\nsent %.2000q\nreceived %.2000q", x, verdict.Err, x.Sent, x.Received)
	r.violations = append(r.violations, err)
	return err
}

// Run runs a package's tests with all clients of the harness held to the
// contract, and returns the status to exit with.
func Run(m *testing.M) int {
	spec, err := Load()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	recorder := NewRecorder(spec)
	harness.Transport = recorder.Transport
	status := m.Run()
	if err := errors.Join(recorder.Violations()...); err != nil {
		fmt.Fprintln(os.Stderr, strings.TrimSpace(err.Error()))
		return 1
	}
	return status
}
