package storetest

import (
	"testing"

	"github.com/tidemark/tidemark/models"
)

var patchRequirements = []requirement{
	{"merges as RFC 7396 says", patchMerges},
	{"that alters no value changes nothing", patchChangesNothing},
	{"of other fields does not conflict", patchOtherFields},
	{"conflicts over each field that changed since the base", patchFieldVersions},
	{"that changes nothing may still be merged", patchMergedUnchanged},
	{"keeps what it does not name byte for byte", patchKeepsBytes},
}

func patchMerges(t *testing.T, w *world) {
	for name, tt := range map[string]struct{ before, patch, after string }{
		"replaces":                           {`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		"adds at the end":                    {`{"b":1}`, `{"a":2,"c":3}`, `{"b":1,"a":2,"c":3}`},
		"removes by null":                    {`{"a":1,"b":2}`, `{"a":null}`, `{"b":2}`},
		"removes and adds":                   {`{"a":1}`, `{"a":null,"b":2}`, `{"b":2}`},
		"keeps a null of the document":       {`{"a":null}`, `{"b":1}`, `{"a":null,"b":1}`},
		"merges inside":                      {`{"a":{"b":1,"c":2}}`, `{"a":{"b":3}}`, `{"a":{"b":3,"c":2}}`},
		"removes inside":                     {`{"a":{"b":1,"c":2}}`, `{"a":{"b":null}}`, `{"a":{"c":2}}`},
		"leaves an empty object":             {`{"a":{"b":1}}`, `{"a":{"b":null}}`, `{"a":{}}`},
		"replaces a list as a whole":         {`{"a":[1,{"b":2}]}`, `{"a":[null,{"c":null}]}`, `{"a":[null,{"c":null}]}`},
		"puts an object in place of a list":  {`{"a":[1]}`, `{"a":{"b":1}}`, `{"a":{"b":1}}`},
		"puts a value in place of an object": {`{"a":{"b":1}}`, `{"a":7}`, `{"a":7}`},
		"adds an object without its nulls":   {`{}`, `{"a":{"b":null,"c":{"d":null,"e":1}}}`, `{"a":{"c":{"e":1}}}`},
		"finds names that are escaped":       {`{"\u0061":1}`, `{"a":2}`, `{"\u0061":2}`},
		"tells names by case":                {`{"a":1}`, `{"A":2}`, `{"a":1,"A":2}`},
		"an empty name":                      {`{"":1}`, `{"":2}`, `{"":2}`},
		"to the empty document":              {`{"a":1}`, `{"a":null}`, `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alice := w.alice
			alice.space = newSpace()
			alice.must(t, put("e1", "todos/t1", on(0), tt.before))
			same(t, "results", alice.push(t, patch("e2", "todos/t1", on(1), tt.patch)), []models.EditResult{applied("e2", 2)})
			same(t, "document", alice.all(t, w.store), []models.Change{*alice.live(2, "todos/t1", tt.after, "e2")})
		})
	}
}

func patchChangesNothing(t *testing.T, w *world) {
	for name, tt := range map[string]struct{ before, patch string }{
		"nothing":                  {`{"a":1}`, `{}`},
		"the same":                 {`{"a":1}`, `{"a":1}`},
		"the same number":          {`{"a":1,"b":100,"c":0}`, `{"a":1.0,"b":1e2,"c":-0}`},
		"the same number as float": {`{"a":9007199254740991}`, `{"a":9007199254740991.0}`},
		"the same text":            {`{"a":"é/"}`, `{"a":"\u00e9\/"}`},
		"the same object":          {`{"a":{"b":1,"c":[1,2]}}`, `{"a":{"c":[1.0, 2],"b":1}}`},
		"an empty patch inside":    {`{"a":{"b":1}}`, `{"a":{}}`},
		"removes what is not":      {`{"a":1}`, `{"b":null}`},
		"removes what is not in":   {`{"a":{"b":1}}`, `{"a":{"c":null}}`},
		"white space":              {`{"a":[1,2]}`, ` { "a" : [ 1 , 2 ] } `},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alice := w.alice
			alice.space = newSpace()
			alice.must(t, put("e1", "todos/t1", on(0), tt.before))
			res := alice.send(t, models.PushRequest{Edits: []models.Edit{patch("e2", "todos/t1", on(1), tt.patch)}})
			same(t, "results", res.Results, []models.EditResult{applied("e2", 1)})
			same(t, "head", res.Version, 1)
			same(t, "document", alice.all(t, w.store), []models.Change{*alice.live(1, "todos/t1", tt.before, "e1")})
		})
	}
}

func patchOtherFields(t *testing.T, w *world) {
	w.alice.must(t, put("e1", "todos/t1", on(0), `{"a":1,"b":1,"c":1}`))
	w.bob.must(t, patch("b2", "todos/t1", on(1), `{"a":2}`))
	w.bob.must(t, patch("b3", "todos/t1", on(2), `{"b":3}`))
	want := w.alice.live(4, "todos/t1", `{"a":2,"b":3,"c":4}`, "e4")
	same(t, "results", w.alice.push(t, patch("e4", "todos/t1", on(1), `{"c":4}`)), []models.EditResult{merged("e4", want)})
	same(t, "document", w.alice.all(t, w.store), []models.Change{*want})
}

// The document's history: v1 puts a, b and c; v2 patches b; v3 takes c away; v4 adds d.
func patchFieldVersions(t *testing.T, w *world) {
	for name, tt := range map[string]struct {
		patch string
		base  int64
		over  []string // nil: merged, or applied on its own version
	}{
		"untouched field":                            {`{"a":9}`, 1, nil},
		"changed field":                              {`{"b":9}`, 1, []string{"b"}},
		"changed field, seen":                        {`{"b":9}`, 2, nil},
		"changed field to the same value":            {`{"b":2}`, 1, []string{"b"}},
		"removed field":                              {`{"c":9}`, 2, []string{"c"}},
		"removed field, removed again":               {`{"c":null}`, 2, []string{"c"}},
		"removed field, seen":                        {`{"c":9}`, 3, nil},
		"added field":                                {`{"d":9}`, 3, []string{"d"}},
		"added field, seen":                          {`{"d":9}`, 4, nil},
		"new field since a removal":                  {`{"z":9}`, 2, []string{"z"}},
		"new field, removal seen":                    {`{"z":9}`, 3, nil},
		"absent field removed, removal seen":         {`{"z":null,"a":9}`, 3, nil},
		"all that changed, in order of names":        {`{"d":9,"b":9,"c":9,"a":9}`, 1, []string{"b", "c", "d"}},
		"the one that changed among those that not":  {`{"a":9,"d":9}`, 3, []string{"d"}},
		"inside a changed field, whatever it names":  {`{"d":{"x":1}}`, 3, []string{"d"}},
		"nothing at all, on whatever version it was": {`{}`, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alice, bob := w.alice, w.bob
			alice.space = newSpace()
			bob.space = alice.space
			bob.must(t, put("b1", "todos/t1", on(0), `{"a":1,"b":1,"c":1}`))
			bob.must(t, patch("b2", "todos/t1", on(1), `{"b":2}`))
			bob.must(t, patch("b3", "todos/t1", on(2), `{"c":null}`))
			bob.must(t, patch("b4", "todos/t1", on(3), `{"d":{}}`))

			got := alice.push(t, patch("e", "todos/t1", on(tt.base), tt.patch))[0]
			if tt.over == nil {
				if got.Status != models.StatusApplied || got.Merged != (tt.base != 4) {
					t.Errorf("%s, merged %t, over %v; want applied", got.Status, got.Merged, got.ConflictingFields)
				}
				return
			}
			same(t, "result", got, conflict("e", bob.live(4, "todos/t1", `{"a":1,"b":2,"d":{}}`, "b4"), tt.over...))
		})
	}
}

func patchMergedUnchanged(t *testing.T, w *world) {
	w.bob.must(t, put("b1", "todos/t1", on(0), `{"a":1,"b":1}`))
	w.bob.must(t, patch("b2", "todos/t1", on(1), `{"b":2}`))
	there := w.bob.live(2, "todos/t1", `{"a":1,"b":2}`, "b2")
	same(t, "results", w.alice.push(t, patch("e", "todos/t1", on(1), `{"a":1}`)), []models.EditResult{merged("e", there)})
	same(t, "document", w.alice.all(t, w.store), []models.Change{*there})
}

func patchKeepsBytes(t *testing.T, w *world) {
	w.alice.must(t, put("e1", "todos/t1", on(0), `{"n":1.10,"e":"\u0041\/","l":[ 1 , 2 ],"o":{ "x" : 1e2 },"a":1}`))
	w.alice.must(t, patch("e2", "todos/t1", on(1), `{"a":2}`))
	same(t, "document", string(w.alice.all(t, w.store)[0].Data), `{"n":1.10,"e":"\u0041\/","l":[ 1 , 2 ],"o":{ "x" : 1e2 },"a":2}`)
}
