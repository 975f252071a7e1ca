package syncer

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// applyPatch returns what a patch makes of a document.
func applyPatch(t testing.TB, document, patch string) (after string, done patched) {
	t.Helper()
	p, err := parsePatch([]byte(patch))
	if err != nil {
		t.Fatalf("read patch %s: %v", patch, err)
	}
	o, err := parseObject([]byte(document), p)
	if err != nil {
		t.Fatalf("read document %s: %v", document, err)
	}
	done = o.merge(p)
	return string(o.append(nil)), done
}

// RFC 7396, appendix A. A document of ours is always an object, so target and
// patch stand one level down, where anything may stand. The two cases whose
// patch is null as a whole say there "take away".
func TestMerge_appendixOfRFC7396(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, ``},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		want := `{"v":` + test.want + `}`
		if test.want == "" {
			want = `{}`
		}
		got, _ := applyPatch(t, `{"v":`+test.target+`}`, `{"v":`+test.patch+`}`)
		if got != want {
			t.Errorf("%s patched by %s:\ngot  %s\nwant %s", test.target, test.patch, got, want)
		}
		if test.target[0] != '{' || test.patch[0] != '{' {
			continue
		}
		if got, _ := applyPatch(t, test.target, test.patch); got != test.want {
			t.Errorf("%s patched by %s as a whole:\ngot  %s\nwant %s", test.target, test.patch, got, test.want)
		}
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		document, patch, want string
		done                  patched
	}{
		"order stays, what is new comes last": {
			`{"c":1,"a":2,"b":3}`, `{"z":1,"b":4,"y":1,"c":5}`,
			`{"c":5,"a":2,"b":4,"z":1,"y":1}`,
			patched{changed: []string{"z", "b", "y", "c"}},
		},
		"bytes that are not named stay": {
			`{ "a" : [ 1.0, "\u00e9<" ] , "b":1e2, "c": {"x" : 1 } }`, `{"b":7}`,
			`{"a" : [ 1.0, "\u00e9<" ],"b":7,"c": {"x" : 1 }}`,
			patched{changed: []string{"b"}},
		},
		"an object merged without effect keeps its bytes": {
			`{"a":{ "x" : 1.0 },"b":1}`, `{"a":{"x":1},"b":2}`,
			`{"a":{ "x" : 1.0 },"b":2}`,
			patched{changed: []string{"b"}},
		},
		"an equal value keeps its bytes": {
			`{"a":1.0,"b":[1,{"x":1,"y":2}],"c":1}`, `{"a":1,"b":[1.0,{"y":2,"x":1}],"c":2}`,
			`{"a":1.0,"b":[1,{"x":1,"y":2}],"c":2}`,
			patched{changed: []string{"c"}},
		},
		"bytes between what is not named stay": {
			`{ "a" : 1 , "b":2,  "c":3 , "d" : 4 , "e":5 }`, `{"c":null,"e":6,"f":7}`,
			`{"a" : 1 , "b":2,"d" : 4,"e":6,"f":7}`,
			patched{changed: []string{"e", "f"}, removed: []string{"c"}},
		},
		"nothing named":                    {`{"a":1}`, `{}`, `{"a":1}`, patched{}},
		"null of what is not there":        {`{"a":1}`, `{"b":null}`, `{"a":1}`, patched{}},
		"null deep down where nothing is":  {`{"a":{"x":1}}`, `{"a":{"y":{"z":null}}}`, `{"a":{"x":1,"y":{}}}`, patched{changed: []string{"a"}}},
		"null stored is there":             {`{"a":null}`, `{"a":null}`, `{}`, patched{removed: []string{"a"}}},
		"an empty object is something":     {`{}`, `{"a":{"b":null}}`, `{"a":{}}`, patched{changed: []string{"a"}}},
		"an empty object on one":           {`{"a":{}}`, `{"a":{"b":null}}`, `{"a":{}}`, patched{}},
		"an object on a text":              {`{"a":"x"}`, `{"a":{"b":null,"c":1}}`, `{"a":{"c":1}}`, patched{changed: []string{"a"}}},
		"an object on null":                {`{"a":null}`, `{"a":{}}`, `{"a":{}}`, patched{changed: []string{"a"}}},
		"a text on an object":              {`{"a":{"b":1}}`, `{"a":"x"}`, `{"a":"x"}`, patched{changed: []string{"a"}}},
		"nulls in an array stay":           {`{"a":1}`, `{"a":[null,{"b":null}]}`, `{"a":[null,{"b":null}]}`, patched{changed: []string{"a"}}},
		"all taken away":                   {`{"a":1,"b":2}`, `{"b":null,"a":null}`, `{}`, patched{removed: []string{"b", "a"}}},
		"a name spelled in another way":    {`{"\u0061":1,"b":2}`, `{"a":3,"\u0062":4}`, `{"\u0061":3,"b":4}`, patched{changed: []string{"a", "b"}}},
		"false and true differ":            {`{"a":false}`, `{"a":true}`, `{"a":true}`, patched{changed: []string{"a"}}},
		"0 and -0 are one float64":         {`{"a":0}`, `{"a":-0}`, `{"a":0}`, patched{}},
		"a text and its escaped form":      {`{"a":"é"}`, `{"a":"\u00e9"}`, `{"a":"é"}`, patched{}},
		"a number and its text":            {`{"a":1}`, `{"a":"1"}`, `{"a":"1"}`, patched{changed: []string{"a"}}},
		"the order in an array counts":     {`{"a":[1,2]}`, `{"a":[2,1]}`, `{"a":[2,1]}`, patched{changed: []string{"a"}}},
		"only the deepest level changes":   {`{"a":{"b":{"c":1,"d":2},"e":3}}`, `{"a":{"b":{"c":4}}}`, `{"a":{"b":{"c":4,"d":2},"e":3}}`, patched{changed: []string{"a"}}},
		"taken away and put in the object": {`{"a":{"b":1}}`, `{"a":{"b":null,"c":2}}`, `{"a":{"c":2}}`, patched{changed: []string{"a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, done := applyPatch(t, test.document, test.patch)
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if diff := cmp.Diff(test.done, done, cmp.AllowUnexported(patched{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A patch is applied under the space's lock. What it costs must grow with the
// texts, not with the texts times their depth: that held a space for 50 seconds.
// Compared are the shortest of several runs, one level down and thirty; reading
// a document once a level takes thirty times as long.
func TestMerge_readsADocumentOnce(t *testing.T) {
	t.Parallel()
	cost := func(depth int) time.Duration {
		inner := func(text string) string {
			return strings.Repeat(`{"a":`, depth) + text + strings.Repeat("}", depth)
		}
		document, patch := inner(`{"b":1,`+numbered(9_000)+`}`), inner(`{"b":2}`)
		shortest := time.Hour
		for range 9 {
			began := time.Now()
			applyPatch(t, document, patch)
			shortest = min(shortest, time.Since(began))
		}
		return shortest
	}
	if deep, flat := cost(30), cost(1); deep > 8*flat {
		t.Errorf("a patch 30 levels down takes %v, one level down %v", deep, flat)
	}
}

func TestParseObject_damaged(t *testing.T) {
	t.Parallel()
	p, err := parsePatch([]byte(`{"a":{"b":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`[]`, `"a"`, `{`, `{"a"`, `{"a":`, `{"a":{`, `{"a":{"b"`, `{"a":1`, `{"a" 1}`} {
		if _, err := parseObject([]byte(text), p); err == nil {
			t.Errorf("read %q without an error", text)
		}
	}
}

func TestSameValue(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{`1`, `1.0`, true},
		{`100`, `1e2`, true},
		{`0.1`, `0.10000000000000001`, true}, // one float64
		{`9007199254740991`, `9007199254740990`, false},
		{`"a"`, `"\u0061"`, true},
		{`"a"`, `"A"`, false},
		{`[1, 2]`, `[1,2]`, true},
		{`[1,2]`, `[1,2,3]`, false},
		{`{"a":1,"b":2}`, `{ "b":2, "a":1.0 }`, true},
		{`{"a":1}`, `{"a":1,"b":null}`, false},
		{`null`, `false`, false},
		{`{}`, `[]`, false},
	} {
		if got := sameValue([]byte(test.a), []byte(test.b)); got != test.want {
			t.Errorf("sameValue(%s, %s) = %t, want %t", test.a, test.b, got, test.want)
		}
	}
}

// naivePatch is section 2 of RFC 7396, word by word.
func naivePatch(target, patch any) any {
	object, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	result := map[string]any{}
	if old, ok := target.(map[string]any); ok {
		maps.Copy(result, old)
	}
	for name, value := range object {
		if value == nil {
			delete(result, name)
		} else {
			result[name] = naivePatch(result[name], value)
		}
	}
	return result
}

func mustDecode(t testing.TB, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("decode %.200q: %v", text, err)
	}
	return v
}

func TestFieldVersions(t *testing.T) {
	t.Parallel()
	f := putFields(10)
	f.note(patched{changed: []string{"a"}}, 20)
	f.note(patched{changed: []string{"b", "c"}}, 30)
	f.note(patched{removed: []string{"c"}}, 40)

	p, err := parsePatch([]byte(`{"a":0,"b":0,"c":0,"d":0,"e":0}`))
	if err != nil {
		t.Fatal(err)
	}
	document, err := parseObject([]byte(`{"a":1,"b":2,"d":3}`), p)
	if err != nil {
		t.Fatal(err)
	}
	// a changed at 20, b at 30, d at 10 with the put; c and e are not there,
	// and the newest removal was at 40.
	for _, test := range []struct {
		base int64
		own  []int64
		want []string
	}{
		{9, nil, []string{"a", "b", "c", "d", "e"}},
		{10, nil, []string{"a", "b", "c", "e"}},
		{20, nil, []string{"b", "c", "e"}},
		{30, nil, []string{"c", "e"}},
		{40, nil, nil},
		{9, []int64{30}, []string{"a", "c", "d", "e"}},
		{9, []int64{40}, []string{"a", "b", "d"}},
		{20, []int64{30}, []string{"c", "e"}},
		{9, []int64{20, 40}, []string{"b", "d"}},
	} {
		stored, err := parseFields(f.textAt(41), 41)
		if err != nil {
			t.Fatal(err)
		}
		own := make(map[int64]bool)
		for _, version := range test.own {
			own[version] = true
		}
		got := stored.changedSince(document, p, test.base, own)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("since %d, own %v (-want +got):\n%s", test.base, test.own, diff)
		}
	}
	if want := `{"all":10,"absent":40,"fields":{"a":20,"b":30}}`; f.textAt(40) != want {
		t.Errorf("stored as %s, want %s", f.textAt(40), want)
	}
}

func TestFieldVersions_neverOutgrowTheDocument(t *testing.T) {
	t.Parallel()
	f := putFields(1)
	for i := range int64(1000) {
		name := fmt.Sprint("k", i)
		f.note(patched{changed: []string{name}}, 2*i+2)
		f.note(patched{removed: []string{name}}, 2*i+3)
	}
	if want := (&fieldVersions{All: 1, Absent: 2001, Fields: map[string]int64{}}); !cmp.Equal(want, f) {
		t.Errorf("got %v, want %v", f, want)
	}
}

func TestParseFields_damaged(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`[]`, `{"all":"x"}`, `{"all":1`} {
		if _, err := parseFields(text, 1); err == nil {
			t.Errorf("read %q without an error", text)
		}
	}
}

// Most documents are as a put left them, so that is stored as nothing.
func TestFieldVersions_ofAPut(t *testing.T) {
	t.Parallel()
	f := putFields(10)
	if text := f.textAt(10); text != "" {
		t.Errorf("stored as %q", text)
	}
	read, err := parseFields("", 10)
	if err != nil || !cmp.Equal(f, read) {
		t.Errorf("read back %v, %v", read, err)
	}
	f.note(patched{removed: []string{"a"}}, 20)
	if want := `{"all":10,"absent":20}`; f.textAt(20) != want {
		t.Errorf("stored as %s, want %s", f.textAt(20), want)
	}
	// A put and a patch of one push.
	f = putFields(30)
	f.note(patched{removed: []string{"a"}}, 30)
	if text := f.textAt(30); text != "" {
		t.Errorf("stored as %q", text)
	}
}
