package syncer

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
)

var documentSeeds = []string{
	`{}`, `{"a":1}`, ` { "a" : [ 1 , {"b":null} ] } `, `{"a":"\ud83d\ude00\u0041\\\"\/","é":"<&>"}`,
	`{"n":-0,"m":1.50e+3,"x":9007199254740991}`, `{"a":{"b":{"c":{"d":[[[]]]}}}}`,
	`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"a":"\u0000"}`, `{"a":"\ud800"}`, `{"n":1e400}`, `{"n":9007199254740992}`,
	`{} {}`, `[]`, `null`, `{"a":`, "{\"a\":\"\xff\"}", `{"":{"":{"":""}}}`, `{"k":"v","k2":[true,false]}`,
}

// What passes is read by everybody the same way, and is left as it is.
func FuzzCheckDocument(f *testing.F) {
	for _, seed := range documentSeeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		original := bytes.Clone(text)
		problem := checkDocument(text)
		if !bytes.Equal(original, text) {
			t.Fatal("the text was changed")
		}
		if problem != nil {
			if problem.Code == "" || problem.Detail == "" || !strings.HasPrefix(problem.Pointer, "/data") || !utf8.ValidString(problem.Detail) {
				t.Fatalf("no good answer: %+v", problem)
			}
			return
		}
		var value map[string]any
		if err := json.Unmarshal(text, &value); err != nil {
			t.Fatalf("encoding/json: %v", err)
		}
		if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 || hasNUL(value) {
			t.Fatal("PostgreSQL can't keep it")
		}
		if n := countValues(text); n != valuesIn(value) || n > models.MaxDocumentValues {
			t.Fatalf("counted %d values, there are %d", n, valuesIn(value))
		}
		// A patch that says the same changes nothing; one that says nothing, neither.
		for _, patch := range [][]byte{text, []byte(`{}`)} {
			p, err := parsePatch(patch)
			if err != nil {
				t.Fatalf("read as a patch: %v", err)
			}
			o, err := parseObject(text, p)
			if err != nil {
				t.Fatalf("read as a document: %v", err)
			}
			if done := o.merge(p); len(done.changed) > 0 {
				t.Fatalf("%s changed %q", patch, done.changed)
			}
		}
		// Put together again from its parts it is the same.
		p, err := parsePatch([]byte(`{"no such name here":1}`))
		if err != nil {
			t.Fatal(err)
		}
		o, err := parseObject(text, p)
		if err != nil {
			t.Fatal(err)
		}
		o.changed = true
		if diff := cmp.Diff(value, mustDecode(t, string(o.append(nil)))); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func hasNUL(value any) bool {
	switch v := value.(type) {
	case string:
		return strings.Contains(v, "\x00")
	case []any:
		return slices.ContainsFunc(v, hasNUL)
	case map[string]any:
		for name, one := range v {
			if hasNUL(name) || hasNUL(one) {
				return true
			}
		}
	}
	return false
}

func valuesIn(value any) int {
	n := 1
	switch v := value.(type) {
	case []any:
		for _, one := range v {
			n += valuesIn(one)
		}
	case map[string]any:
		for _, one := range v {
			n += valuesIn(one)
		}
	}
	return n
}

// A merge does what RFC 7396 says, and says what it did.
func FuzzMerge(f *testing.F) {
	for _, document := range documentSeeds {
		for _, patch := range []string{`{}`, `{"a":null}`, `{"a":{"b":{"c":null,"d":{"e":null}}},"z":[null]}`, `{"\u0061":1,"n":0}`} {
			f.Add([]byte(document), []byte(patch))
			f.Add([]byte(patch), []byte(document))
		}
	}
	f.Fuzz(func(t *testing.T, document, patch []byte) {
		if checkDocument(document) != nil || checkDocument(patch) != nil {
			return
		}
		got, done := applyPatch(t, string(document), string(patch))
		before, _ := mustDecode(t, string(document)).(map[string]any)
		want, _ := naivePatch(before, mustDecode(t, string(patch))).(map[string]any)
		if diff := cmp.Diff(any(want), mustDecode(t, got)); diff != "" {
			t.Fatalf("%s patched by %s is %s (-want +got):\n%s", document, patch, got, diff)
		}
		if problem := checkDocument([]byte(got)); problem != nil && problem.Code != models.CodeDocumentTooLarge {
			t.Fatalf("%s patched by %s is not sound: %+v", document, patch, problem)
		} else if (problem == nil) != (checkPatched([]byte(got)) == nil) {
			t.Fatalf("checkPatched says %v, checkDocument %v", checkPatched([]byte(got)), problem)
		}
		reported := make(map[string]bool)
		for _, name := range done.changed {
			reported[name] = true
			if is, ok := want[name]; !ok || reflect.DeepEqual(before[name], is) && has(before, name) {
				t.Fatalf("%q is said to have changed", name)
			}
		}
		for _, name := range done.removed {
			reported[name] = true
			if has(want, name) || !has(before, name) {
				t.Fatalf("%q is said to be taken away", name)
			}
		}
		for name := range want {
			if !reported[name] && (!has(before, name) || !reflect.DeepEqual(before[name], want[name])) {
				t.Fatalf("%q changed, and nobody says so", name)
			}
		}
		for name := range before {
			if !reported[name] && !has(want, name) {
				t.Fatalf("%q was taken away, and nobody says so", name)
			}
		}
	})
}

func has(object map[string]any, name string) bool {
	_, ok := object[name]
	return ok
}

// Only what was handed out is read, and only as what it was.
func FuzzCursor(f *testing.F) {
	for _, c := range []cursor{{}, {position: 5, epoch: 3}, {position: 5, began: 9, seen: 12, epoch: 3, filter: filterOf([]string{"a"})}} {
		f.Add(c.encode("s1"), "s1", c.filter)
		f.Add(c.encode("s1"), "s2", c.filter)
		f.Add(c.encode("s1")+"\n", "s1", uint64(0))
	}
	f.Add("", "s1", uint64(7))
	f.Add("AAAA", "s1", uint64(0))
	f.Fuzz(func(t *testing.T, text, space string, filter uint64) {
		c, err := openCursor(text, space, filter)
		switch {
		case err != nil:
			if code := models.CodeOf(err); code != models.CodeInvalidCursor && code != models.CodeCursorExpired {
				t.Fatalf("%v", err)
			}
			return
		case text == "":
			if !c.start {
				t.Fatalf("no cursor is read as %+v", c)
			}
		case c.encode(space) != text || c.filter != filter || c.start:
			t.Fatalf("%q is read as %+v, which is written %q", text, c, c.encode(space))
		}
		// Whatever a forger writes, it is answered.
		if err := c.check(models.Space{Head: 100, Floor: 50, Epoch: 3}, 0); err != nil && causeOf(err) == "" {
			t.Fatalf("%v", err)
		}
	})
}

// Stored receipts are read as they were written, or not at all.
func FuzzRing(f *testing.F) {
	part := func(list ...receipt) []byte { return appendReceipts([]byte{partFormat}, list) }
	f.Add([]byte(nil), []byte(nil))
	f.Add([]byte{partFormat}, []byte{partFormat})
	f.Add(part(receipt{edit: 1, key: 2, content: 3, version: 4}), []byte(nil))
	f.Add(part(receipt{edit: 1, version: 4, merged: true, base: 3}, receipt{edit: 2, version: 5, forced: true}), part(receipt{unchanged: true}))
	f.Add(part(receipt{edit: 1, merged: true, base: 3})[:20], []byte(nil))
	f.Fuzz(func(t *testing.T, newest, older []byte) {
		stored := Receipts{Newest: newest, Older: older}
		r, err := openRing(stored)
		if err != nil {
			return
		}
		one := receipt{edit: 7, version: 9}
		want := append(r.all(), one)
		again, err := openRing(r.add([]receipt{one}).onto(stored))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[max(0, len(want)-models.MaxReceipts):], again.all(), compareReceipts); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}
