package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/tidemark/tidemark/tests/eventstream"
)

const eventStream = "text/event-stream"

// stream checks the head of a stream, and makes its body check each event on its
// way to the client: a stream has no end to wait for.
func (r *Recorder) stream(request *http.Request, response *http.Response) error {
	head := &Exchange{Request: request, Response: response}
	if err := r.record(head); err != nil {
		response.Body.Close()
		return err
	}
	if request.Method == http.MethodHead {
		return nil
	}
	read, write := io.Pipe()
	body := &streamBody{body: response.Body, copied: write, checked: make(chan struct{})}
	go func() {
		defer close(body.checked)
		body.violation = r.checkEvents(request, response, read)
		read.CloseWithError(body.violation)
	}()
	response.Body = body
	return nil
}

// streamBody is a body that somebody else reads along. What breaks the contract
// fails a later read, at the latest that which would have been the end.
type streamBody struct {
	body      io.ReadCloser
	copied    *io.PipeWriter
	checked   chan struct{} // closed when everything that was read is checked
	violation error         // then
}

func (b *streamBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if n > 0 {
		if _, violation := b.copied.Write(p[:n]); violation != nil {
			return n, violation
		}
	}
	if err != nil {
		b.copied.Close()
		<-b.checked
		if b.violation != nil {
			err = b.violation
		}
	}
	return n, err
}

func (b *streamBody) Close() error {
	err := errors.Join(b.body.Close(), b.copied.Close())
	<-b.checked
	return err
}

// checkEvents checks events until there are no more. The error is a violation.
func (r *Recorder) checkEvents(request *http.Request, response *http.Response, body io.Reader) error {
	events := eventstream.NewReader(body)
	// How a stream ends is no matter of the contract.
	for event, err := events.Next(); err == nil; event, err = events.Next() {
		x := &Exchange{Request: request, Response: response, Received: []byte(event.Data)}
		if err := r.judge(x, r.spec.checkEvent(x, event)); err != nil {
			return err
		}
	}
	return nil
}

// checkEvent holds one event of a stream against the description.
func (s *Spec) checkEvent(x *Exchange, event eventstream.Event) Verdict {
	verdict := Verdict{Event: event.Name}
	route, _ := s.find(x.Request)
	var data any
	decoder := json.NewDecoder(bytes.NewReader(x.Received))
	decoder.UseNumber()
	if err := decoder.Decode(&data); err != nil {
		verdict.Err = fmt.Errorf("event %s: %w", event.Name, err)
		return verdict
	}
	var body answer
	_ = json.Unmarshal(x.Received, &body) // a member of another type is for its schema to find
	verdict.Codes = body.codes()
	schema, rule := s.schemaOf(event.Name, route.Operation), error(nil)
	switch event.Name {
	case "changes":
		rule = checkPageID(event.ID, &body)
	case "reset":
		kept := body.Space == "" && event.ID != "" || body.Space != "" && strings.Contains(","+event.ID, ","+body.Space+"=")
		if s.Problems[body.Code] != http.StatusGone || body.Cause == "" || kept {
			rule = fmt.Errorf("reset with code %q, cause %q, id %q", body.Code, body.Cause, event.ID)
		}
	case "bye":
		if !s.ByeReasons[body.Reason] {
			rule = fmt.Errorf("the reason %q is not described", body.Reason)
		}
	case "presence":
		if bytes.Contains(x.Received, []byte(`"expires_in_ms"`)) {
			rule = errors.New("presence with expires_in_ms, which heartbeats would belie")
		}
	}
	if schema == nil {
		verdict.Err = fmt.Errorf("event %q is not described", event.Name)
		return verdict
	}
	several := route.Operation.OperationID == "streamSpaces"
	if several != (body.Space != "") && event.Name != "bye" && event.Name != "presence" {
		rule = errors.Join(rule, fmt.Errorf("event %s of space %q on %s", event.Name, body.Space, route.Operation.OperationID))
	}
	verdict.Err = errors.Join(schema.VisitJSON(data, openapi3.VisitAsResponse(), openapi3.MultiErrors()), rule)
	return verdict
}

// schemaOf returns the schema of an event's data: the one described is that of
// `changes`; what the others are is said in words.
func (s *Spec) schemaOf(event string, op *openapi3.Operation) *openapi3.Schema {
	switch event {
	case "changes":
		return op.Responses.Value("200").Value.Content[eventStream].Schema.Value
	case "reset":
		return s.doc.Components.Schemas["Problem"].Value
	case "bye":
		return byeSchema
	case "presence":
		return s.presenceSchema()
	}
	return nil
}

// byeSchema is what the description says in words: components that no operation
// names are left out by generators and refused by linters.
var byeSchema = openapi3.NewObjectSchema().
	WithProperty("reason", openapi3.NewStringSchema()).
	WithProperty("retry_after_ms", openapi3.NewInt64Schema().WithMin(0)).
	WithRequired([]string{"reason", "retry_after_ms"}).
	WithoutAdditionalProperties()

// presenceSchema is what the description says in words, too.
func (s *Spec) presenceSchema() *openapi3.Schema {
	present := openapi3.NewArraySchema()
	present.Items = s.doc.Components.Schemas["Presence"]
	return openapi3.NewObjectSchema().
		WithProperty("space", openapi3.NewStringSchema()).
		WithProperty("present", present).
		WithRequired([]string{"space", "present"}).
		WithoutAdditionalProperties()
}

// checkPageID checks that a client that comes back with the id of a page goes on
// after that page.
func checkPageID(id string, page *answer) error {
	if page.Space == "" && id != page.Cursor || page.Space != "" && !slices.Contains(strings.Split(id, ","), page.Space+"="+page.Cursor) {
		return fmt.Errorf("the id of a page is %q, its cursor %q", id, page.Cursor)
	}
	return nil
}
