package syncer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// member is one name of a JSON object with its value, both as they were sent.
type member struct {
	name    string // unescaped
	rawName []byte
	value   []byte // nil: taken away
}

// object is a JSON object whose members can be found by name. It keeps their
// order and their bytes, so that a merge leaves alone what the patch doesn't name.
type object struct {
	members []member
	at      map[string]int
}

// parseObject reads an object that checkDocument has passed.
func parseObject(text []byte) (object, error) {
	o := object{at: make(map[string]int)}
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	if _, err := dec.ReadToken(); err != nil {
		return o, err
	}
	for dec.PeekKind() == '"' {
		value, err := dec.ReadValue()
		if err != nil {
			return o, err
		}
		m := member{rawName: bytes.Clone(value)}
		name, err := jsontext.AppendUnquote(nil, value)
		if err != nil {
			return o, err
		}
		m.name = string(name)
		if value, err = dec.ReadValue(); err != nil {
			return o, err
		}
		m.value = bytes.Clone(value)
		o.set(m)
	}
	return o, nil
}

// get returns the value of name, nil if it is not there.
func (o *object) get(name string) []byte {
	if i, ok := o.at[name]; ok {
		return o.members[i].value
	}
	return nil
}

func (o *object) set(m member) {
	if i, ok := o.at[m.name]; ok {
		o.members[i].value = m.value
		return
	}
	o.at[m.name] = len(o.members)
	o.members = append(o.members, m)
}

func (o *object) clone() object {
	return object{slices.Clone(o.members), maps.Clone(o.at)}
}

func (o *object) append(b []byte) []byte {
	b = append(b, '{')
	first := true
	for _, m := range o.members {
		if m.value == nil {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, m.rawName...)
		b = append(b, ':')
		b = append(b, m.value...)
	}
	return append(b, '}')
}

// merge applies a JSON Merge Patch (RFC 7396).
func (o *object) merge(patch object) error {
	for _, p := range patch.members {
		if string(p.value) == "null" {
			p.value = nil
			if _, ok := o.at[p.name]; ok {
				o.set(p)
			}
			continue
		}
		value, err := mergeValue(o.get(p.name), p.value)
		if err != nil {
			return err
		}
		p.value = value
		o.set(p)
	}
	return nil
}

// mergeValue merges an object into what was there, which counts as an empty
// object unless it is one (RFC 7396, section 2); any other value replaces it.
func mergeValue(old, patch []byte) ([]byte, error) {
	if patch[0] != '{' {
		return patch, nil
	}
	if len(old) == 0 || old[0] != '{' {
		old = []byte(`{}`)
	}
	target, err := parseObject(old)
	if err != nil {
		return nil, err
	}
	names, err := parseObject(patch)
	if err != nil {
		return nil, err
	}
	if err := target.merge(names); err != nil {
		return nil, err
	}
	return target.append(nil), nil
}

// sameValue reports whether two JSON texts have the same value: numbers are
// compared as float64, objects without regard to the order of their members.
// nil is the value of a member that is not there.
func sameValue(a, b []byte) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	if bytes.Equal(a, b) {
		return true
	}
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	return reflect.DeepEqual(x, y)
}

// patched is a document after a merge patch.
type patched struct {
	text    []byte
	changed []string // top-level names whose value the patch changed or added
	removed []string // top-level names that the patch took away
}

// applyPatch applies patch to document.
func applyPatch(document, patch object) (patched, error) {
	after := document.clone()
	if err := after.merge(patch); err != nil {
		return patched{}, fmt.Errorf("merge a patch: %w", err)
	}
	p := patched{text: after.append(nil)}
	for _, m := range patch.members {
		was, is := document.get(m.name), after.get(m.name)
		switch {
		case sameValue(was, is):
		case is == nil:
			p.removed = append(p.removed, m.name)
		default:
			p.changed = append(p.changed, m.name)
		}
	}
	return p, nil
}
