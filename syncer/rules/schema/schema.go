// Package schema holds documents against JSON Schemas (draft 4 to 2020-12), one for
// each collection that has one. It is [syncer.Rules].
//
// Schemas are the operator's, documents anybody's. So nothing in a document may cost
// more than its size says: numbers are read as the float64 that they fit, for as big
// fractions 1e-999999 alone would take a megabyte; regular expressions are Go's, which
// take linear time; `format: regex`, for which a document brings one of its own, takes
// short ones only. What remains is uniqueItems, at worst the square of its items,
// which are bounded by models.MaxDocumentValues.
package schema

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

const (
	// maxViolations is how many places an edit is told of.
	maxViolations = 10
	// maxDetailBytes bounds what is said of one: it may repeat a part of the document.
	maxDetailBytes = 200
	// maxPatternBytes bounds a regular expression: its compiled form can be a thousand
	// times as large.
	maxPatternBytes = 1000
)

// Schemas are the schemas of collections. They don't change.
type Schemas struct{ of map[string]*jsonschema.Schema }

var _ syncer.Rules = (*Schemas)(nil)

var english = message.NewPrinter(language.English)

// Check implements syncer.Rules. A collection without a schema takes any document.
func (s *Schemas) Check(collection string, document []byte) *models.EditError {
	schema, ok := s.of[collection]
	if !ok {
		return nil
	}
	var value any
	if err := json.Unmarshal(document, &value); err != nil {
		// Unreachable: documents are checked by stricter rules before.
		return &models.EditError{Code: models.CodeInvalidDocument, Detail: "not a JSON value", Pointer: "/data"}
	}
	err := schema.Validate(value)
	if err == nil {
		return nil
	}
	e := &models.EditError{Code: models.CodeSchemaViolation, Detail: "the document breaks the schema of its collection", Pointer: "/data"}
	if invalid, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		e.Errors = report(invalid)
		e.Detail, e.Pointer = e.Errors[0].Detail, e.Errors[0].Pointer
	}
	return e
}

// violation is a place in a document and what is wrong there.
type violation struct {
	pointer string
	rule    string // where in the schemas
	kind    jsonschema.ErrorKind
}

// report tells the first violations. The library goes through objects in any order,
// but the same document must always get the same answer.
func report(e *jsonschema.ValidationError) []models.FieldError {
	all := collect(nil, e)
	slices.SortFunc(all, func(a, b violation) int {
		return cmp.Or(cmp.Compare(a.pointer, b.pointer), cmp.Compare(a.rule, b.rule))
	})
	all = all[:min(len(all), maxViolations)]
	list := make([]models.FieldError, len(all))
	for i, v := range all {
		list[i] = models.FieldError{Pointer: v.pointer, Detail: models.Cut(v.kind.LocalizedString(english), maxDetailBytes)}
	}
	return list
}

// collect adds what is wrong in e. Of alternatives none of which fits (anyOf) only
// that is told: each says something else about the same place.
func collect(list []violation, e *jsonschema.ValidationError) []violation {
	at := e.InstanceLocation
	switch e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		for _, cause := range e.Causes {
			list = collect(list, cause)
		}
		return list
	case *kind.PropertyNames:
		at = nil // the library may have overwritten it; the detail tells the name
	}
	rule := e.SchemaURL + "/" + strings.Join(e.ErrorKind.KeywordPath(), "/")
	return append(list, violation{pointerTo(at), rule, e.ErrorKind})
}

// pointerTo is a JSON Pointer into an edit.
func pointerTo(tokens []string) string {
	pointer := []byte("/data")
	for _, token := range tokens {
		pointer = append(pointer, '/')
		pointer = append(pointer, escapes.Replace(token)...)
		if len(pointer) > models.MaxKeyBytes {
			return "/data" // a pointer longer than any name is no help to anybody
		}
	}
	return string(pointer)
}

var escapes = strings.NewReplacer("~", "~0", "/", "~1")

// compilePattern makes Go's regular expressions out of patterns.
func compilePattern(text string) (jsonschema.Regexp, error) {
	if len(text) > maxPatternBytes {
		return nil, fmt.Errorf("a regular expression has at most %d bytes", maxPatternBytes)
	}
	return regexp.Compile(text)
}
