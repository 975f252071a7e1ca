package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// Verdict is what there is to say about one exchange.
type Verdict struct {
	OperationID string   // "" if the request is for no operation
	Event       string   // the name of an event, if it is no whole answer
	Codes       []string // error codes in the answer
	Err         error    // why the exchange breaks the contract
}

// answer is what of an answer's body has rules beyond its schema.
type answer struct {
	// of a problem
	Type   string `json:"type"`
	Status any    `json:"status"`
	Code   string `json:"code"`
	Cause  string `json:"cause"`

	// of the event bye
	Reason string `json:"reason"`

	// of a push
	Results []struct {
		Status string `json:"status"`
		Error  *struct {
			Code string `json:"code"`
		} `json:"error"`
	} `json:"results"`

	// of a page, of a document
	Space   string          `json:"space"`
	Cursor  string          `json:"cursor"`
	Version int64           `json:"version"`
	Current json.RawMessage `json:"current"`
}

// Check holds one exchange against the description.
func (s *Spec) Check(x *Exchange) Verdict {
	switch {
	case x.Response.StatusCode == http.StatusRequestHeaderFieldsTooLarge:
		return Verdict{} // written by net/http before any handler, as the description says
	case x.Request.Method == http.MethodHead:
		return Verdict{} // not described, and without a body to look at
	}
	var body answer
	if isJSON(x.Response.Header) && len(x.Received) > 0 {
		// A member of another type is for its schema to find.
		var otherType *json.UnmarshalTypeError
		if err := json.Unmarshal(x.Received, &body); err != nil && !errors.As(err, &otherType) {
			return Verdict{Err: fmt.Errorf("the body: %w", err)}
		}
	}
	route, params := s.find(x.Request)
	if route == nil {
		return Verdict{Codes: body.codes(), Err: s.checkNoOperation(x, &body)}
	}
	return Verdict{
		OperationID: route.Operation.OperationID,
		Codes:       body.codes(),
		Err: errors.Join(
			s.checkAnswer(route, x),
			s.checkRules(route, x, &body),
			checkRequest(route, params, x, &body),
		),
	}
}

func (a *answer) codes() []string {
	var codes []string
	if a.Code != "" {
		codes = append(codes, a.Code)
	}
	for _, result := range a.Results {
		if result.Error != nil {
			codes = append(codes, result.Error.Code)
		}
	}
	return codes
}

// checkNoOperation checks the answer to what the description does not know: it
// must be a problem that says so.
func (s *Spec) checkNoOperation(x *Exchange, body *answer) error {
	if x.Request.Method == http.MethodOptions && x.Response.StatusCode == http.StatusNoContent {
		return nil // a preflight
	}
	if x.Response.StatusCode < 400 {
		if page := mediaType(x.Response.Header); page != "application/json" {
			return nil // a part of the embedded pages; TestRoutes knows them
		}
		return errors.New("an answer of an operation that is not described")
	}
	problem := &openapi3.MediaType{Schema: s.doc.Components.Schemas["Problem"].Value.NewRef()}
	return errors.Join(
		checkBody(openapi3.Content{"application/problem+json": problem}, x),
		s.checkProblem(x, body),
	)
}

// checkAnswer checks status, headers and body. The default answer of an
// operation is for clients; what the server sends is listed by its number.
func (s *Spec) checkAnswer(route *routers.Route, x *Exchange) error {
	described := route.Operation.Responses.Value(strconv.Itoa(x.Response.StatusCode))
	if described == nil && x.Response.StatusCode == http.StatusForbidden {
		described = route.Operation.Responses.Default() // in development, for a foreign Host
	}
	if described == nil {
		return fmt.Errorf("status %d is not described", x.Response.StatusCode)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(described.Value.Headers)) {
		errs = append(errs, checkHeader(name, described.Value.Headers[name].Value, x))
	}
	return errors.Join(append(errs, checkBody(described.Value.Content, x))...)
}

func checkHeader(name string, described *openapi3.Header, x *Exchange) error {
	value := x.Response.Header.Get(name)
	if value == "" {
		if name == "ETag" && x.Response.StatusCode == http.StatusPreconditionFailed {
			return nil // there may be no document to have one
		}
		return fmt.Errorf("header %s is missing", name)
	}
	var decoded any = value
	if described.Schema.Value.Type.Is("integer") {
		number, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return fmt.Errorf("header %s: %w", name, err)
		}
		decoded = float64(number)
	}
	if err := described.Schema.Value.VisitJSON(decoded); err != nil {
		return fmt.Errorf("header %s: %w", name, err)
	}
	return nil
}

func checkBody(content openapi3.Content, x *Exchange) error {
	if len(content) == 0 {
		if len(x.Received) > 0 {
			return errors.New("a body where none is described")
		}
		return nil
	}
	kind := mediaType(x.Response.Header)
	described := content[kind]
	if described == nil {
		return fmt.Errorf("content type %q is not described", kind)
	}
	if !isJSON(x.Response.Header) {
		return nil // text of any kind
	}
	var value any
	decoder := json.NewDecoder(bytes.NewReader(x.Received))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("something follows the body's JSON value")
	}
	return described.Schema.Value.VisitJSON(value, openapi3.VisitAsResponse(), openapi3.MultiErrors())
}

// checkRules checks what the description says in words.
func (s *Spec) checkRules(route *routers.Route, x *Exchange, body *answer) error {
	etag := x.Response.Header.Get("ETag")
	switch status := x.Response.StatusCode; {
	case status >= 400:
		return s.checkProblem(x, body)
	case status == http.StatusNotModified:
		if x.Request.Header.Get("If-None-Match") == "" {
			return errors.New("304 without If-None-Match")
		}
	case route.Operation.OperationID == "pushEdits":
		return s.checkResults(body)
	case route.Operation.OperationID == "pullChanges":
		if etag != strconv.Quote(body.Cursor) {
			return fmt.Errorf("the ETag of a page is %s, not its cursor %q", etag, body.Cursor)
		}
	case etag != "" && body.Version > 0 && strings.HasPrefix(route.Path, "/v1/"):
		if etag != fmt.Sprintf("%q", strconv.FormatInt(body.Version, 10)) {
			return fmt.Errorf("the ETag of a document is %s, not its version %d", etag, body.Version)
		}
	}
	return nil
}

func (s *Spec) checkProblem(x *Exchange, body *answer) error {
	status, known := s.Problems[body.Code]
	switch {
	case !known:
		return fmt.Errorf("code %q is not listed", body.Code)
	case status != x.Response.StatusCode || body.Status != float64(x.Response.StatusCode):
		return fmt.Errorf("code %q is listed with %d; the body says %v", body.Code, status, body.Status)
	case body.Type != "/problems/"+body.Code:
		return fmt.Errorf("code %q has type %q", body.Code, body.Type)
	case body.Code == "cursor_expired" && !slices.Contains([]string{"retention", "epoch", "filter", "deleted"}, body.Cause):
		return fmt.Errorf("cause %q is not listed", body.Cause)
	case body.Code != "cursor_expired" && body.Cause != "":
		return fmt.Errorf("code %q has a cause", body.Code)
	case body.Code != "version_conflict" && body.Current != nil:
		return fmt.Errorf("code %q has a current document", body.Code)
	case status == http.StatusMethodNotAllowed && x.Response.Header.Get("Allow") == "":
		return errors.New("405 without Allow")
	}
	return nil
}

func (s *Spec) checkResults(body *answer) error {
	for i, result := range body.Results {
		if result.Error != nil && !s.EditErrors[result.Error.Code] {
			return fmt.Errorf("result %d: code %q is not listed", i, result.Error.Code)
		}
		if (result.Status == "rejected") != (result.Error != nil) && result.Status != "skipped" {
			return fmt.Errorf("result %d is %s, with error: %v", i, result.Status, result.Error != nil)
		}
	}
	return nil
}

// checkRequest checks that the server accepts nothing that the description
// forbids. What it refused may be as wrong as a test likes.
func checkRequest(route *routers.Route, params map[string]string, x *Exchange, body *answer) error {
	if x.Response.StatusCode >= 400 {
		return nil
	}
	query, err := acceptedQuery(route, x.Request.URL)
	if err != nil {
		return err
	}
	request := x.Request.Clone(context.Background())
	request.Body, request.GetBody = http.NoBody, nil // GetBody would win, and give what was sent before inflation
	sent := acceptedBody(x.Sent, body)
	if sent != nil {
		request.Body = io.NopCloser(bytes.NewReader(sent))
	}
	err = openapi3filter.ValidateRequest(context.Background(), &openapi3filter.RequestValidationInput{
		Request:     request,
		PathParams:  params,
		QueryParams: query,
		Route:       route,
		Options: &openapi3filter.Options{
			AuthenticationFunc:  openapi3filter.NoopAuthenticationFunc,
			ExcludeRequestBody:  sent == nil,
			SkipSettingDefaults: true,
		},
	})
	if err != nil {
		return fmt.Errorf("the server accepted what is not described: %w", err)
	}
	return nil
}

// acceptedQuery returns the query with values that commas join taken apart, as
// the description allows.
func acceptedQuery(route *routers.Route, u *url.URL) (url.Values, error) {
	query := u.Query()
	for name, values := range query {
		described := route.Operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name)
		switch {
		case described == nil && isCredential(route, name):
			delete(query, name)
		case described == nil && strings.HasPrefix(u.Path, "/v1/"):
			return nil, fmt.Errorf("the server accepted the query parameter %q", name)
		case described != nil && described.Schema.Value.Type.Is("array"):
			query[name] = strings.Split(strings.Join(values, ","), ",")
		case described != nil && len(values) > 1:
			return nil, fmt.Errorf("the server accepted the query parameter %q twice", name)
		}
	}
	return query, nil
}

// isCredential reports whether a query parameter is described as one that stands
// for a token.
func isCredential(route *routers.Route, name string) bool {
	if route.Operation.Security == nil {
		return false
	}
	for _, requirement := range *route.Operation.Security {
		for scheme := range requirement {
			described := route.Spec.Components.SecuritySchemes[scheme].Value
			if described.In == openapi3.ParameterInQuery && described.Name == name {
				return true
			}
		}
	}
	return false
}

// acceptedBody returns a body without the edits that the server did not take:
// those may be as wrong as a test likes. Nil if nothing is left to look at.
func acceptedBody(sent []byte, body *answer) []byte {
	if sent == nil || body.Results == nil {
		return sent
	}
	var push map[string]json.RawMessage
	var edits []json.RawMessage
	if json.Unmarshal(sent, &push) != nil || json.Unmarshal(push["edits"], &edits) != nil || len(edits) != len(body.Results) {
		return sent
	}
	var taken []json.RawMessage
	for i, result := range body.Results {
		if result.Status == "applied" || result.Status == "conflict" {
			taken = append(taken, edits[i])
		}
	}
	if len(taken) == 0 {
		return nil
	}
	push["edits"], _ = json.Marshal(taken)
	rest, _ := json.Marshal(push)
	return rest
}

func mediaType(h http.Header) string {
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return kind
}

func isJSON(h http.Header) bool {
	kind := mediaType(h)
	return kind == "application/json" || strings.HasSuffix(kind, "+json")
}
