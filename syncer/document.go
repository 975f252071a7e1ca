package syncer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark/tidemark/models"
)

// checkDocument checks that text is one JSON object that every implementation
// reads the same way (I-JSON, RFC 7493: UTF-8, no duplicate names, no lone
// surrogates, no number that a float64 can't hold) and keeps the limits. U+0000
// is refused because PostgreSQL can't compare or index it. Noncharacters like
// U+FFFF pass although RFC 7493 doesn't want them: they do no harm, and people
// paste them. It runs once per document, at the door; from then on documents are
// only copied.
func checkDocument(text []byte) *models.EditError {
	if len(text) > models.MaxDocumentBytes {
		return tooManyBytes()
	}
	c, _ := checkers.Get().(*checker)
	defer c.release()
	dec := c.open(text)
	object := dec.PeekKind() == '{'
	for values := 0; ; {
		problem, isValue := checkNext(dec)
		if problem != nil {
			return problem
		}
		if isValue {
			values++
		}
		if values > models.MaxDocumentValues {
			return tooManyValues()
		}
		if dec.StackDepth() == 0 {
			break
		}
	}
	switch _, err := dec.ReadToken(); {
	case !errors.Is(err, io.EOF):
		return documentError(models.CodeInvalidDocument, "", "a document is one JSON value, and nothing after it")
	case !object:
		return documentError(models.CodeInvalidDocument, "", "a document is a JSON object")
	}
	return nil
}

// CheckDocument is checkDocument for what is held to the same rules and is no
// document of an edit.
func CheckDocument(text []byte) *models.EditError { return checkDocument(text) }

// checkPatched checks what a patch made of a document. Both have passed
// checkDocument, so only what adds up can be over its limit: bytes and values,
// not the depth, for everything stays at the level where it was.
func checkPatched(text []byte) *models.EditError {
	switch {
	case len(text) > models.MaxDocumentBytes:
		return tooManyBytes()
	case countValues(text) > models.MaxDocumentValues:
		return tooManyValues()
	}
	return nil
}

// countValues returns how many values a valid JSON text holds.
func countValues(text []byte) (n int) {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			n++
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case c == ':':
			n-- // the string before it was a name
		case c == '{', c == '[', c == 't', c == 'f', c == 'n':
			n++
		case c == '-', '0' <= c && c <= '9':
			n++
			for i+1 < len(text) && strings.IndexByte("0123456789+-.eE", text[i+1]) >= 0 {
				i++
			}
		}
	}
	return n
}

func tooManyBytes() *models.EditError {
	return documentError(models.CodeDocumentTooLarge, "", "a document holds at most %d bytes", models.MaxDocumentBytes)
}

func tooManyValues() *models.EditError {
	return documentError(models.CodeDocumentTooLarge, "", "a document holds at most %d values", models.MaxDocumentValues)
}

// inName reports whether the token just read is a member name.
func inName(dec *jsontext.Decoder) bool {
	kind, length := dec.StackIndex(dec.StackDepth())
	return kind == '{' && length%2 == 1
}

// checkNext reads the next token and checks what the grammar does not: depth,
// numbers, U+0000, long names. It reports whether a value begins with it.
func checkNext(dec *jsontext.Decoder) (problem *models.EditError, isValue bool) {
	switch kind := dec.PeekKind(); kind {
	case '{', '[', '}', ']':
		if _, err := dec.ReadToken(); err != nil {
			return syntaxError(err), false
		}
		if dec.StackDepth() > models.MaxDocumentDepth {
			return documentError(models.CodeDocumentTooDeep, "", "a document nests at most %d levels", models.MaxDocumentDepth), false
		}
		return nil, kind == '{' || kind == '['
	}
	// As a value: a token would bring a copy.
	raw, err := dec.ReadValue()
	if err != nil {
		return syntaxError(err), false
	}
	isName := inName(dec)
	switch raw.Kind() {
	case '0':
		if !safeNumber(string(raw)) {
			return documentError(models.CodeInvalidDocument, dec.StackPointer(),
				"a number must fit a float64, an integer lie within ±(2^53-1); send others as strings"), false
		}
	case '"':
		length := len(raw) - len(`""`)
		if bytes.IndexByte(raw, '\\') >= 0 {
			text, _ := jsontext.AppendUnquote(nil, raw) // it has been read, so it is well formed
			if bytes.IndexByte(text, 0) >= 0 {
				return documentError(models.CodeInvalidDocument, dec.StackPointer(), "U+0000 is not allowed in text"), false
			}
			length = len(text)
		}
		if isName && length > models.MaxKeyBytes {
			return documentError(models.CodeInvalidDocument, "", "a member name holds at most %d bytes", models.MaxKeyBytes), false
		}
	}
	return nil, !isName
}

// checker reads texts one after the other and keeps its memory between them.
type checker struct {
	text bytes.Buffer
	dec  *jsontext.Decoder
}

var checkers = sync.Pool{New: func() any {
	c := &checker{}
	c.dec = jsontext.NewDecoder(&c.text)
	return c
}}

// open returns a decoder of text, to be used until c is released.
func (c *checker) open(text []byte) *jsontext.Decoder {
	c.text = *bytes.NewBuffer(text)
	c.dec.Reset(&c.text)
	return c.dec
}

func (c *checker) release() {
	c.open(nil) // lets go of the text
	checkers.Put(c)
}

// safeNumber reports whether a JSON number keeps its value in a float64 (RFC
// 7493, section 2.2). Integers are exact up to 2^53-1; fractions and exponents
// may be rounded but must not overflow.
func safeNumber(number string) bool {
	if strings.ContainsAny(number, ".eE") {
		f, err := strconv.ParseFloat(number, 64)
		return err == nil && !math.IsInf(f, 0)
	}
	n, err := strconv.ParseInt(number, 10, 64)
	return err == nil && n <= models.MaxVersion && n >= -models.MaxVersion
}

func syntaxError(err error) *models.EditError {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return documentError(models.CodeInvalidDocument, "", "not a JSON value")
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return documentError(models.CodeDuplicateKey, syntax.JSONPointer, "a member name stands twice in one object")
	}
	return documentError(models.CodeInvalidDocument, syntax.JSONPointer, "not valid I-JSON (RFC 7493): %v", syntax.Err)
}

// documentError points at a place inside the edit's data.
func documentError(code models.Code, at jsontext.Pointer, format string, args ...any) *models.EditError {
	pointer := "/data" + string(at)
	if len(pointer) > models.MaxKeyBytes {
		pointer = "/data" // a pointer longer than any name is no help to anybody
	}
	return &models.EditError{Code: code, Detail: fmt.Sprintf(format, args...), Pointer: pointer}
}
