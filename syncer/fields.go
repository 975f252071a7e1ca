package syncer

import (
	"encoding/json"
	"fmt"
	"slices"
)

// fieldVersions says at which version each top-level field of a document last
// changed, so that two patches of different fields don't conflict. It holds only
// names that are in the document and were patched since the last put; it never
// outgrows the document.
type fieldVersions struct {
	// All is the version of every field that is there and not in Fields: that of
	// the last put, which changes every field.
	All int64 `json:"all"`
	// Absent stands for all names that are not there: the newest removal of a
	// field, or the last put, which also said that they are not there.
	Absent int64            `json:"absent"`
	Fields map[string]int64 `json:"fields,omitempty"`
}

// putFields is what a put at version leaves.
func putFields(version int64) *fieldVersions {
	return &fieldVersions{All: version, Absent: version}
}

// parseFields reads what text, made by textAt, says of a document at version.
func parseFields(text string, version int64) (*fieldVersions, error) {
	if text == "" {
		return putFields(version), nil
	}
	f := &fieldVersions{}
	if err := json.Unmarshal([]byte(text), f); err != nil {
		return nil, fmt.Errorf("read stored field versions: %w", err)
	}
	return f, nil
}

// textAt returns f as it is stored with a document at version: empty if a put made
// that version, which most documents are.
func (f *fieldVersions) textAt(version int64) string {
	if len(f.Fields) == 0 && f.All == version && f.Absent == version {
		return ""
	}
	text, err := json.Marshal(f)
	if err != nil {
		panic(err) // unreachable: integers and strings always encode
	}
	return string(text)
}

// of returns the version at which name last changed.
func (f *fieldVersions) of(name string, present bool) int64 {
	if !present {
		return f.Absent
	}
	if v, ok := f.Fields[name]; ok {
		return v
	}
	return f.All
}

// newest returns the newest of all versions in f.
func (f *fieldVersions) newest() int64 {
	newest := max(f.All, f.Absent)
	for _, v := range f.Fields {
		newest = max(newest, v)
	}
	return newest
}

// changedSince returns, sorted, the names of p whose field in document changed
// after base; changes at own versions were the caller's and do not count.
func (f *fieldVersions) changedSince(document *object, p *patch, base int64, own map[int64]bool) []string {
	var names []string
	for i := range p.members {
		name := p.members[i].name
		v := f.of(name, document.found[i] >= 0)
		if v > base && !own[v] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// note notes what a patch did at version.
func (f *fieldVersions) note(done patched, version int64) {
	if f.Fields == nil {
		f.Fields = make(map[string]int64, len(done.changed))
	}
	for _, name := range done.changed {
		f.Fields[name] = version
	}
	for _, name := range done.removed {
		delete(f.Fields, name)
		f.Absent = version
	}
}
