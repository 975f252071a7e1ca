package schema

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
)

// folder makes a folder of files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t *testing.T, files map[string]string) *Schemas {
	t.Helper()
	s, err := Load(folder(t, files))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// one loads a schema for the collection c.
func one(t *testing.T, text string) *Schemas { return load(t, map[string]string{"c.json": text}) }

func TestCheck(t *testing.T) {
	t.Parallel()
	s := load(t, map[string]string{
		"todos.json": `{
			"type": "object", "required": ["title"], "additionalProperties": false,
			"properties": {
				"title": {"type": "string", "minLength": 1, "maxLength": 5},
				"done": {"type": "boolean"},
				"due": {"type": "string", "format": "date"},
				"at": {"$ref": "common/place.json"},
				"n": {"type": "integer", "maximum": 9007199254740991},
				"a/b~c": {"enum": ["x"]},
				"size": {"anyOf": [{"type": "null"}, {"type": "number", "multipleOf": 0.5}]}
			}}`,
		"common/place.json": `{"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}, "properties": {"x": {"type": "number"}, "y": {"type": "number"}}}`,
		"open.json":         `true`,
		".hidden":           `nothing`,
	})
	for _, test := range []struct {
		collection, document string
		want                 []models.FieldError
	}{
		{"todos", `{"title":"Milk","done":false}`, nil},
		{"todos", `{"title":"Milk","due":"2026-02-28","at":{"x":1,"y":1e2},"n":9007199254740991,"size":1.5}`, nil},
		{"others", `{"anything":1}`, nil},
		{"open", `{"anything":1}`, nil},
		{"todos", `{}`, []models.FieldError{{Pointer: "/data", Detail: `missing property 'title'`}}},
		{"todos", `{"title":""}`, []models.FieldError{{Pointer: "/data/title", Detail: "minLength: got 0, want 1"}}},
		{"todos", `{"title":"x","n":1.5}`, []models.FieldError{{Pointer: "/data/n", Detail: "got number, want integer"}}},
		{"todos", `{"title":"x","due":"tomorrow"}`, []models.FieldError{{Pointer: "/data/due", Detail: `'tomorrow' is not valid date: parsing time "tomorrow" as "2006-01-02": cannot parse "tomorrow" as "2006"`}}},
		{"todos", `{"title":"x","a/b~c":1}`, []models.FieldError{{Pointer: "/data/a~1b~0c", Detail: "value must be 'x'"}}},
		{"todos", `{"title":"x","size":"L"}`, []models.FieldError{{Pointer: "/data/size", Detail: "'anyOf' failed"}}},
		{"todos", `{"title":"Bread!","done":1,"more":1,"at":{"y":"south","x":"west"}}`, []models.FieldError{
			{Pointer: "/data", Detail: "additional properties 'more' not allowed"},
			{Pointer: "/data/at/x", Detail: "got string, want number"},
			{Pointer: "/data/at/y", Detail: "got string, want number"},
			{Pointer: "/data/done", Detail: "got number, want boolean"},
			{Pointer: "/data/title", Detail: "maxLength: got 6, want 5"},
		}},
		{"todos", `{"title":"x","at":{"X":1}}`, []models.FieldError{{Pointer: "/data", Detail: "invalid propertyName 'X'"}}},
	} {
		var want *models.EditError
		if test.want != nil {
			want = &models.EditError{
				Code: models.CodeSchemaViolation, Detail: test.want[0].Detail, Pointer: test.want[0].Pointer, Errors: test.want,
			}
		}
		for range 3 { // the same each time, though Go's maps are not
			if diff := cmp.Diff(want, s.Check(test.collection, []byte(test.document))); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", test.collection, test.document, diff)
			}
		}
	}
}

// What is said of a document is bounded, however much is wrong with it.
func TestCheck_bounds(t *testing.T) {
	t.Parallel()
	s := one(t, `{"additionalProperties": {"maxLength": 3, "pattern": "^a*$", "items": {"type": "null"}}}`)
	long, deep := strings.Repeat("é", 10_000), strings.Repeat("k", models.MaxKeyBytes)
	var members []string
	for i := range 1000 {
		members = append(members, fmt.Sprintf(`"m%03d":[1,2,3]`, i))
	}
	e := s.Check("c", []byte(`{"a":"`+long+`","`+deep+`":1,"`+deep[1:]+`":"`+long+`",`+strings.Join(members, ",")+`}`))
	if e == nil || len(e.Errors) != maxViolations {
		t.Fatalf("got %+v, want %d violations", e, maxViolations)
	}
	for _, v := range e.Errors {
		if len(v.Detail) > maxDetailBytes+len("…") || strings.ContainsRune(v.Detail, '\uFFFD') || len(v.Pointer) > models.MaxKeyBytes {
			t.Errorf("told %q at %q", v.Detail, v.Pointer)
		}
	}
}

// Numbers that take a few bytes and, as exact fractions, a megabyte each.
func TestCheck_hugeExponents(t *testing.T) {
	t.Parallel()
	s := one(t, `{"properties": {"n": {"items": {"type": "integer", "minimum": 0, "multipleOf": 3}, "uniqueItems": true}}}`)
	numbers := strings.Repeat("1e-999999,", 9000) + "0"
	if e := s.Check("c", []byte(`{"n":[`+numbers+`]}`)); e == nil || e.Code != models.CodeSchemaViolation {
		t.Errorf("got %+v", e) // they are all 0, which is there only once
	}
	if e := s.Check("c", []byte(`{"n":[0,3,1.2e1,9007199254740990]}`)); e != nil {
		t.Errorf("got %+v", e)
	}
}

func TestCheck_formatRegex(t *testing.T) {
	t.Parallel()
	s := one(t, `{"properties": {"r": {"format": "regex"}}}`)
	for document, ok := range map[string]bool{
		`{"r":"^a+$"}`: true, `{"r":"("}`: false, `{"r":"(?=a)"}`: false,
		`{"r":"` + strings.Repeat("a", maxPatternBytes) + `"}`:       true,
		`{"r":"` + strings.Repeat("a{1000}", maxPatternBytes) + `"}`: false,
	} {
		if e := s.Check("c", []byte(document)); (e == nil) != ok {
			t.Errorf("%.40s: %+v", document, e)
		}
	}
}

func TestLoad_wrong(t *testing.T) {
	t.Parallel()
	outside := folder(t, map[string]string{"place.json": `{}`})
	for name, test := range map[string]struct {
		files map[string]string
		want  string // in the error
	}{
		"none":               {map[string]string{"sub/todos.json": `{}`}, "no schema"},
		"another file":       {map[string]string{"c.json": `{}`, "README.md": ""}, "README.md"},
		"no collection":      {map[string]string{"a b.json": `{}`}, "a b.json"},
		"nothing in it":      {map[string]string{"c.json": ``}, "c.json"},
		"no JSON":            {map[string]string{"c.json": `{"type": }`}, "c.json"},
		"more than JSON":     {map[string]string{"c.json": `{} {}`}, "c.json"},
		"a keyword twice":    {map[string]string{"c.json": `{"type": "object", "type": "array"}`}, "duplicate"},
		"no schema":          {map[string]string{"c.json": `{"type": "objekt"}`}, "/type"},
		"no pattern":         {map[string]string{"c.json": `{"pattern": "(?=lookahead)"}`}, "pattern"},
		"a long pattern":     {map[string]string{"c.json": `{"pattern": "` + strings.Repeat("a", maxPatternBytes+1) + `"}`}, "pattern"},
		"nothing there":      {map[string]string{"c.json": `{"$ref": "common/none.json"}`}, "none.json"},
		"bad, behind a ref":  {map[string]string{"c.json": `{"$ref": "d/e.json"}`, "d/e.json": `{"minLength": "x"}`}, "minLength"},
		"the network":        {map[string]string{"c.json": `{"$ref": "https://example.com/s.json"}`}, "nothing else is read"},
		"by its id":          {map[string]string{"c.json": `{"$id": "https://example.com/c.json", "$ref": "d.json"}`, "d.json": `{}`}, "nothing else is read"},
		"another host":       {map[string]string{"c.json": `{"$ref": "file://host/d.json"}`, "d.json": `{}`}, "nothing else is read"},
		"outside":            {map[string]string{"c.json": `{"$ref": "file://` + outside + `/place.json"}`}, "place.json"},
		"above":              {map[string]string{"c.json": `{"$ref": "../../../../../../../etc/hostname"}`}, "etc/hostname"},
		"a strange dialect":  {map[string]string{"c.json": `{"$schema": "https://example.com/dialect"}`}, "dialect"},
		"in a circle":        {map[string]string{"c.json": `{"$ref": "#"}`}, "cycle"},
		"in a circle of two": {map[string]string{"c.json": `{"$ref": "d.json"}`, "d.json": `{"$ref": "c.json"}`}, "cycle"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Load(folder(t, test.files))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error that tells of %q", err, test.want)
			}
		})
	}
	if _, err := Load(filepath.Join(outside, "none")); err == nil {
		t.Error("a folder that is not there is no error")
	}
}

// As Kubernetes mounts a ConfigMap: names are links into a folder that is replaced.
func TestLoad_links(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"..2026/c.json": `{"type": "object", "maxProperties": 1}`})
	outside := folder(t, map[string]string{"secret.json": `{}`})
	for from, to := range map[string]string{"..data": "..2026", "c.json": "..data/c.json"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if e := s.Check("c", []byte(`{"a":1,"b":2}`)); e == nil {
		t.Error("the schema behind the link does not count")
	}
	if err := os.Symlink(filepath.Join(outside, "secret.json"), filepath.Join(dir, "d.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("a link led out of the folder")
	}
}

func TestCheck_recursiveSchema(t *testing.T) {
	t.Parallel()
	s := one(t, `{"type": "object", "properties": {"children": {"items": {"$ref": "#"}}, "name": {"type": "string"}}}`)
	e := s.Check("c", []byte(`{"children":[{"name":"x"},{"children":[{"name":1}]}]}`))
	if e == nil || e.Pointer != "/data/children/1/children/0/name" {
		t.Errorf("got %+v", e)
	}
}
