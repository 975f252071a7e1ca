// Package contract holds what the server says against openapi.yaml, in both
// directions: a Recorder sits under an HTTP client and lets no request and no
// answer pass that the description does not allow.
//
// A suite of black-box tests is held to the contract by one line:
//
//	func TestMain(m *testing.M) { os.Exit(contract.Run(m)) }
//
// The description is stricter here than for clients, who must let unknown
// members pass: a member, a status or a code that it does not list is a violation.
package contract

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"

	"github.com/tidemark/tidemark"
)

// Spec is openapi.yaml, read and closed.
type Spec struct {
	doc *openapi3.T
	// Problems are the codes that Problem lists, with their statuses, and
	// EditErrors those that EditError lists.
	Problems   map[string]int
	EditErrors map[string]bool
	// ByeReasons are the reasons of a bye that streamChanges lists.
	ByeReasons map[string]bool
}

// Load reads openapi.yaml and validates it with all its examples.
var Load = sync.OnceValues(func() (*Spec, error) {
	doc, err := openapi3.NewLoader().LoadFromData(tidemark.OpenAPI)
	if err != nil {
		return nil, fmt.Errorf("read openapi.yaml: %w", err)
	}
	spec := &Spec{doc: doc, Problems: make(map[string]int), EditErrors: make(map[string]bool), ByeReasons: make(map[string]bool)}
	spec.closeSchemas()
	if err := doc.Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		return nil, fmt.Errorf("validate openapi.yaml: %w", err)
	}
	spec.readCodes()
	return spec, nil
})

// closeSchemas forbids members that are not described, except where a schema
// says itself that it is open.
func (s *Spec) closeSchemas() {
	closed := false
	for _, schema := range s.doc.Components.Schemas {
		if extra := &schema.Value.AdditionalProperties; extra.Has == nil && extra.Schema == nil {
			extra.Has = &closed
		}
	}
}

var codeLine = regexp.MustCompile("(?m)^- `([a-z_]+)`(?: \\((\\d{3})\\))?: ")

// readCodes reads the lists of codes out of the descriptions: the codes are
// open strings, so that clients let new ones pass.
func (s *Spec) readCodes() {
	code := func(schema string) string {
		return s.doc.Components.Schemas[schema].Value.Properties["code"].Value.Description
	}
	for _, line := range codeLine.FindAllStringSubmatch(code("Problem"), -1) {
		s.Problems[line[1]], _ = strconv.Atoi(line[2])
	}
	for _, line := range codeLine.FindAllStringSubmatch(code("EditError"), -1) {
		s.EditErrors[line[1]] = true
	}
	stream := s.doc.Paths.Value("/v1/spaces/{space}/stream").Get
	for _, line := range codeLine.FindAllStringSubmatch(stream.Description, -1) {
		s.ByeReasons[line[1]] = true
	}
}

// Operation is one operation of the description.
type Operation struct {
	ID     string
	Method string
	Path   string // with parameters in braces
	Public bool   // needs no token
	Spec   *openapi3.Operation
}

// Operations returns all of them.
func (s *Spec) Operations() []Operation {
	var list []Operation
	for path, item := range s.doc.Paths.Map() {
		for method, op := range item.Operations() {
			public := op.Security != nil && len(*op.Security) == 0
			list = append(list, Operation{op.OperationID, method, path, public, op})
		}
	}
	return list
}

// find returns the operation that a request is for and its path parameters, or
// nil. The path is matched as it was sent: an escaped slash is no separator.
func (s *Spec) find(r *http.Request) (*routers.Route, map[string]string) {
	sent := strings.Split(r.URL.EscapedPath(), "/")
	for path, item := range s.doc.Paths.Map() {
		op := item.GetOperation(r.Method)
		if params, ok := match(strings.Split(path, "/"), sent); ok && op != nil {
			return &routers.Route{Spec: s.doc, Path: path, PathItem: item, Method: r.Method, Operation: op}, params
		}
	}
	return nil, nil
}

func match(template, sent []string) (map[string]string, bool) {
	if len(template) != len(sent) {
		return nil, false
	}
	params := make(map[string]string)
	for i, segment := range template {
		if name, ok := strings.CutPrefix(segment, "{"); ok && sent[i] != "" {
			value, err := url.PathUnescape(sent[i])
			if err != nil {
				return nil, false
			}
			params[strings.TrimSuffix(name, "}")] = value
		} else if segment != sent[i] {
			return nil, false
		}
	}
	return params, true
}
