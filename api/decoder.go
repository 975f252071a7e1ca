package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark/tidemark/models"
)

// maxFieldErrors bounds the answer to a request that is wrong all over.
const maxFieldErrors = 20

// A decoder reads a JSON text token by token and collects what is wrong with it.
// After a syntax error its methods return zero values and its loops end.
type decoder struct {
	body   []byte
	tokens *jsontext.Decoder
	source bytes.Buffer // of tokens
	syntax error        // the text is not JSON
	code   models.Code
	fields []models.FieldError
}

// decoders keep their memory between bodies.
var decoders = sync.Pool{New: func() any { return &decoder{tokens: &jsontext.Decoder{}} }}

// newDecoder returns a decoder of body, to be used until its end.
func newDecoder(body []byte) *decoder {
	d, _ := decoders.Get().(*decoder)
	d.open(body)
	if !utf8.Valid(body) {
		d.syntax = errors.New("it is not valid UTF-8")
	}
	return d
}

func (d *decoder) open(body []byte) {
	*d = decoder{body: body, tokens: d.tokens, source: *bytes.NewBuffer(body)}
	// Both are judged here for the envelope and by the engine for documents.
	// Invalid UTF-8 then only means escaped lone surrogates.
	d.tokens.Reset(&d.source, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// end returns what is wrong, if anything. A text that is not JSON comes before
// everything else, because what was understood of it means nothing.
func (d *decoder) end() error {
	defer func() {
		d.open(nil) // lets go of the body
		decoders.Put(d)
	}()
	if d.syntax == nil {
		if _, err := d.tokens.ReadToken(); err == nil {
			d.syntax = errors.New("something follows the value")
		} else if !errors.Is(err, io.EOF) {
			d.fail(err)
		}
	}
	switch {
	case d.syntax != nil:
		return &models.Error{Code: models.CodeMalformedJSON, Detail: fmt.Sprintf("The body is not one JSON value: %v.", d.syntax), Err: d.syntax}
	case d.code == models.CodeBatchTooLarge:
		return models.Errorf(d.code, "A push has at most %d edits.", models.MaxEdits)
	case d.code != "":
		return &models.Error{Code: d.code, Detail: badForm, Fields: d.fields}
	}
	return nil
}

// fail notes a syntax error in words of ours.
func (d *decoder) fail(err error) {
	var at *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		d.syntax = errors.New("it is empty or cut off")
	case errors.As(err, &at):
		d.syntax = fmt.Errorf("it goes wrong after byte %d", at.ByteOffset)
	default:
		d.syntax = errors.New("it can't be read")
	}
}

// wrong notes that the name or value read last is not right. The first thing
// that is wrong decides the code.
func (d *decoder) wrong(code models.Code, detail string) {
	if d.syntax != nil {
		return
	}
	if d.code == "" {
		d.code = code
	}
	if len(d.fields) < maxFieldErrors {
		pointer := models.Cut(string(d.tokens.StackPointer()), 256)
		d.fields = append(d.fields, models.FieldError{Pointer: pointer, Detail: detail})
	}
}

// tooMany passes over an edit above the limit, which outweighs all else.
func (d *decoder) tooMany() {
	d.raw()
	d.code = models.CodeBatchTooLarge
}

// kind returns the kind of the next token, 0 if there is none.
func (d *decoder) kind() jsontext.Kind {
	if d.syntax != nil {
		return 0
	}
	return d.tokens.PeekKind()
}

// skip passes over the next token: a bracket that kind has seen.
func (d *decoder) skip() {
	if d.syntax != nil {
		return
	}
	if _, err := d.tokens.ReadToken(); err != nil {
		d.fail(err)
	}
}

// raw returns the next value as it stands in the body.
func (d *decoder) raw() []byte {
	if d.syntax != nil {
		return nil
	}
	v, err := d.tokens.ReadValue()
	if err != nil {
		d.fail(err)
		return nil
	}
	// v belongs to the decoder, so point into the body instead.
	end := d.tokens.InputOffset()
	start := end - int64(len(v))
	return d.body[start:end:end]
}

// scalar returns the next value if it is of one of the kinds.
func (d *decoder) scalar(want string, kinds ...jsontext.Kind) (jsontext.Value, bool) {
	v := jsontext.Value(d.raw())
	if d.syntax != nil {
		return nil, false
	}
	if !slices.Contains(kinds, v.Kind()) {
		if v.Kind() == 'n' {
			want += "; leave out what has no value"
		}
		d.wrong(models.CodeInvalidRequest, want)
		return nil, false
	}
	return v, true
}

func (d *decoder) text() string {
	return d.textLike("")
}

// textLike is text where most are like an earlier one: it shares that one's memory.
func (d *decoder) textLike(earlier string) string {
	v, ok := d.scalar("must be a string", '"')
	if !ok {
		return ""
	}
	text := unquote(v)
	if string(text) == earlier { // compared where it is
		return earlier
	}
	return string(text)
}

// unquote returns the text of a JSON string. A lone surrogate becomes U+FFFD,
// which no name has; that is all AppendUnquote could complain about.
func unquote(v jsontext.Value) []byte {
	if plain := v[1 : len(v)-1]; bytes.IndexByte(plain, '\\') < 0 {
		return plain
	}
	text, _ := jsontext.AppendUnquote(nil, v)
	return text
}

func (d *decoder) boolean() bool {
	v, ok := d.scalar("must be true or false", 't', 'f')
	return ok && v.Kind() == 't'
}

// integer takes digits only: 1.0 and 1e3 are integers to some readers and not to
// others.
func (d *decoder) integer(least, most int64) int64 {
	want := func() string { return fmt.Sprintf("must be an integer from %d to %d", least, most) }
	v, ok := d.scalar("must be an integer", '0')
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < least || n > most || v[0] == '-' {
		d.wrong(models.CodeInvalidRequest, want())
		return 0
	}
	return n
}

// array calls element for each element of the next value, which element reads.
func (d *decoder) array(element func(i int)) {
	if d.kind() != '[' {
		d.scalar("must be an array")
		return
	}
	d.skip()
	for i := 0; d.syntax == nil && d.kind() != ']'; i++ {
		element(i)
	}
	d.skip()
}

// object reads the next value, which may have the members that known names. It
// calls member with each name, and member reads its value.
func (d *decoder) object(known []string, member func(name string)) {
	if d.kind() != '{' {
		d.scalar("must be an object")
		return
	}
	d.skip()
	var seen uint // a bit for each of known
	for d.syntax == nil && d.kind() != '}' {
		i := d.name(known)
		switch {
		case d.syntax != nil:
		case i < 0:
			d.wrong(models.CodeUnknownField, "is not known here")
			d.raw()
		case seen&(1<<i) != 0:
			d.wrong(models.CodeDuplicateKey, "is there twice")
			d.raw()
		default:
			seen |= 1 << i
			member(known[i])
		}
	}
	d.skip()
}

// name reads a member's name and returns its place in known, -1 if it has none.
func (d *decoder) name(known []string) int {
	v := d.raw()
	if d.syntax != nil {
		return -1
	}
	text := unquote(v)
	return slices.IndexFunc(known, func(name string) bool { return string(text) == name })
}
