package syncer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/go-json-experiment/json/jsontext"
)

// Everything here is linear in the texts it reads: a patch is applied while its
// space is locked, so a document that nests deep must not be read once a level.

// patch is a JSON Merge Patch (RFC 7396), taken apart at every level.
type patch struct {
	members []patchMember
	at      map[string]int // index in members by name
}

// patchMember is one name of a patch. inner is its value if that is an object,
// which is merged; any other value replaces what was there, null takes it away.
type patchMember struct {
	name    string // unescaped
	rawName []byte
	value   []byte
	inner   *patch
}

func (m *patchMember) removes() bool { return string(m.value) == "null" }

// object is a JSON object, taken apart as far as a patch names something in it.
// It keeps the order and the bytes of its members, so that a merge leaves alone
// what the patch doesn't name.
type object struct {
	text    []byte // as it was read
	parts   []part
	found   []int // for each member of the patch: its part, -1 if it is not there
	changed bool
}

// part is a member that the patch names, or, without a rawName, the text of all
// members between two of those. It was taken away if it has neither value nor
// inner.
type part struct {
	rawName []byte
	value   []byte
	inner   *object // in place of value if the patch goes on in there
}

// A reader reads a text that checkDocument has passed. It doesn't check for
// duplicate names again, which is most of the cost of reading.
type reader struct {
	text []byte
	dec  *jsontext.Decoder
}

func newReader(text []byte) reader {
	return reader{text, jsontext.NewDecoder(bytes.NewBuffer(text),
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))}
}

// value returns the next value as it stands in the text.
func (r reader) value() ([]byte, error) {
	v, err := r.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	end := r.dec.InputOffset() // v itself belongs to the decoder
	return r.text[end-int64(len(v)) : end : end], nil
}

// object calls member for each name of the next value, which must be an object;
// member reads the value that follows. It returns the object as it stands in
// the text.
func (r reader) object(member func(name, rawName []byte) error) ([]byte, error) {
	if kind := r.dec.PeekKind(); kind != '{' {
		return nil, fmt.Errorf("want an object, not %s", kind)
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, err
	}
	start := r.dec.InputOffset() - 1
	for r.dec.PeekKind() == '"' {
		raw, err := r.value()
		if err != nil {
			return nil, err
		}
		name, err := unquote(raw)
		if err != nil {
			return nil, err
		}
		if err := member(name, raw); err != nil {
			return nil, err
		}
	}
	_, err := r.dec.ReadToken()
	end := r.dec.InputOffset()
	return r.text[start:end:end], err
}

func unquote(raw []byte) ([]byte, error) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	return jsontext.AppendUnquote(nil, raw)
}

// parsePatch reads an object that checkDocument has passed.
func parsePatch(text []byte) (*patch, error) { return newReader(text).patch() }

func (r reader) patch() (*patch, error) {
	p := &patch{at: make(map[string]int)}
	_, err := r.object(func(name, rawName []byte) (err error) {
		m := patchMember{name: string(name), rawName: rawName}
		if r.dec.PeekKind() == '{' {
			m.inner, err = r.patch()
		} else {
			m.value, err = r.value()
		}
		p.at[m.name] = len(p.members)
		p.members = append(p.members, m)
		return err
	})
	return p, err
}

// parseObject reads a document that is to be patched by p.
func parseObject(text []byte, p *patch) (*object, error) { return newReader(text).document(p) }

func (r reader) document(p *patch) (*object, error) {
	o := &object{found: make([]int, len(p.members))}
	for i := range o.found {
		o.found[i] = -1
	}
	start, end := int64(-1), int64(0) // of the members not named since the last that was
	flush := func() {
		if start >= 0 {
			o.parts = append(o.parts, part{value: r.text[start:end:end]})
			start = -1
		}
	}
	text, err := r.object(func(name, rawName []byte) (err error) {
		i, named := p.at[string(name)]
		if !named {
			if start < 0 {
				start = r.dec.InputOffset() - int64(len(rawName))
			}
			_, err := r.dec.ReadValue()
			end = r.dec.InputOffset()
			return err
		}
		flush()
		m := part{rawName: rawName}
		o.found[i] = len(o.parts)
		if p.members[i].inner != nil && r.dec.PeekKind() == '{' {
			m.inner, err = r.document(p.members[i].inner)
		} else {
			m.value, err = r.value()
		}
		o.parts = append(o.parts, m)
		return err
	})
	flush()
	o.text = text
	return o, err
}

// patched is what a merge patch did to a document.
type patched struct {
	changed []string // top-level names whose value the patch changed or added
	removed []string // top-level names that the patch took away
}

func (p *patched) nothing() bool { return len(p.changed)+len(p.removed) == 0 }

// merge applies p, for which o was read.
func (o *object) merge(p *patch) (done patched) {
	for i := range p.members {
		m := &p.members[i]
		switch {
		case !o.set(o.found[i], m):
			continue
		case m.removes():
			done.removed = append(done.removed, m.name)
		default:
			done.changed = append(done.changed, m.name)
		}
		o.changed = true
	}
	return done
}

// set applies one name of a patch to the part where it was found, -1 if it was
// not, and reports whether that changed anything. Bytes that mean the same
// stay as they are.
func (o *object) set(at int, m *patchMember) bool {
	if at < 0 {
		if m.removes() {
			return false
		}
		o.parts = append(o.parts, part{rawName: m.rawName, value: m.fresh()})
		return true
	}
	old := &o.parts[at]
	switch {
	case m.removes():
		*old = part{}
	case m.inner != nil && old.inner != nil:
		old.inner.merge(m.inner)
		return old.inner.changed
	case m.inner == nil && sameValue(old.value, m.value):
		return false
	default:
		old.value = m.fresh()
	}
	return true
}

// fresh returns what m puts where no object was: an object without its nulls
// (RFC 7396, section 2).
func (m *patchMember) fresh() []byte {
	if m.inner == nil {
		return m.value
	}
	return m.inner.append(nil)
}

// append appends the object that p makes of an empty one.
func (p *patch) append(b []byte) []byte {
	b = append(b, '{')
	first := true
	for i := range p.members {
		m := &p.members[i]
		if m.removes() {
			continue
		}
		b = appendName(b, m.rawName, first)
		first = false
		if m.inner != nil {
			b = m.inner.append(b)
		} else {
			b = append(b, m.value...)
		}
	}
	return append(b, '}')
}

// append appends the text of o.
func (o *object) append(b []byte) []byte {
	if !o.changed {
		return append(b, o.text...)
	}
	b = append(b, '{')
	first := true
	for i := range o.parts {
		m := &o.parts[i]
		if m.value == nil && m.inner == nil {
			continue
		}
		b = appendName(b, m.rawName, first)
		first = false
		if m.inner != nil {
			b = m.inner.append(b)
		} else {
			b = append(b, m.value...)
		}
	}
	return append(b, '}')
}

func appendName(b, rawName []byte, first bool) []byte {
	if !first {
		b = append(b, ',')
	}
	if rawName == nil {
		return b
	}
	b = append(b, rawName...)
	return append(b, ':')
}

// sameValue reports whether two JSON texts have the same value: numbers are
// compared as float64, objects without regard to the order of their members.
func sameValue(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if jsontext.Value(a).Kind() != jsontext.Value(b).Kind() {
		return false
	}
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	return reflect.DeepEqual(x, y)
}
