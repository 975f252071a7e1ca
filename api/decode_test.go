package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/models"
)

// put is an edit that is right in every way.
const put = `{"edit_id":"e1","op":"put","collection":"c","id":"d","base_version":0,"data":{}}`

func pushOf(edits string) string { return `{"client_id":"c1","edits":[` + edits + `]}` }

func TestDecodePush_everyMember(t *testing.T) {
	t.Parallel()
	got, err := decodePush([]byte(`
		{ "min_version": 21, "limit": 7, "collections": ["a", "b"], "cursor": "", "atomic": true,
		  "edits": [
			{"id": "d", "collection": "c", "op": "put", "edit_id": "e1", "base_version": 9007199254740991, "data": { "a" :1, "a": "\ud800" }},
			{"edit_id": "e\u0032", "op": "patch", "collection": "", "id": "é", "base_edit_id": "e1", "data": null},
			{"edit_id": "e3", "op": "delete", "collection": "c", "id": "d", "force": true}
		  ], "client_id": "c1" }
	`))
	if err != nil {
		t.Fatal(err)
	}
	version, cursor := int64(models.MaxVersion), ""
	want := &models.PushRequest{
		ClientID: "c1",
		Edits: []models.Edit{
			{EditID: "e1", Op: "put", Collection: "c", ID: "d", BaseVersion: &version, Data: json.RawMessage(`{ "a" :1, "a": "\ud800" }`)},
			{EditID: "e2", Op: "patch", ID: "é", BaseEditID: "e1", Data: json.RawMessage(`null`)},
			{EditID: "e3", Op: "delete", Collection: "c", ID: "d", Force: true},
		},
		Atomic:      true,
		Cursor:      &cursor,
		Collections: []string{"a", "b"},
		Limit:       7,
		MinVersion:  21,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecodePush_absent(t *testing.T) {
	t.Parallel()
	got, err := decodePush([]byte(pushOf(`{"edit_id":"e1","op":"delete","collection":"c","id":"d"}`)))
	if err != nil {
		t.Fatal(err)
	}
	if got.Cursor != nil || got.Edits[0].BaseVersion != nil || got.Edits[0].Data != nil {
		t.Errorf("what is absent is there: %+v", got)
	}
}

func TestDecodePush_refuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, body string
		code       models.Code
		pointer    string // of the first of errors, "-" for none
	}{
		{"nothing", ``, "malformed_json", "-"},
		{"space", "  \n", "malformed_json", "-"},
		{"null", `null`, "invalid_request", ""},
		{"array", `[]`, "invalid_request", ""},
		{"text", `"x"`, "invalid_request", ""},
		{"cut off", `{"client_id":"c1","edits":[{"edit_id":"e1"`, "malformed_json", "-"},
		{"two values", pushOf(put) + ` ` + pushOf(put), "malformed_json", "-"},
		{"trailing comma", `{"client_id":"c1",}`, "malformed_json", "-"},
		{"trailing letter", pushOf(put) + `x`, "malformed_json", "-"},
		{"byte order mark", "\ufeff" + pushOf(put), "malformed_json", "-"},
		{"not UTF-8", pushOf(strings.Replace(put, `{}`, "{\"a\":\"\xff\"}", 1)), "malformed_json", "-"},
		{"not UTF-8 at all", "\xff\xfe{\x00}\x00", "malformed_json", "-"},
		{"NaN in a document", pushOf(strings.Replace(put, `{}`, `{"a":NaN}`, 1)), "malformed_json", "-"},
		{"a name that is no string", `{1:2}`, "malformed_json", "-"},
		{"raw control character", "{\"client_id\":\"a\nb\"}", "malformed_json", "-"},
		{"nested 10,001 deep", pushOf(strings.Replace(put, `{}`, strings.Repeat("[", 10_001)+strings.Repeat("]", 10_001), 1)), "malformed_json", "-"},
		{"wrong, then cut off", `{"CLIENT_ID":1,"edits":[`, "malformed_json", "-"},

		{"unknown name", `{"client_id":"c1","edits":[` + put + `],"a/b~c":1}`, "unknown_field", "/a~1b~0c"},
		{"other case", pushOf(strings.Replace(put, "base_version", "Base_Version", 1)), "unknown_field", "/edits/0/Base_Version"},
		{"unknown in an edit", pushOf(put + `,{"edit_id":"e2","op":"put","collection":"c","id":"d","force":true,"rev":{"x":[1]}}`), "unknown_field", "/edits/1/rev"},
		{"twice", `{"client_id":"c1","client_id":"c2","edits":[` + put + `]}`, "duplicate_key", "/client_id"},
		{"twice, once escaped", `{"client_id":"c1","client\u005fid":"c1","edits":[` + put + `]}`, "duplicate_key", "/client_id"},
		{"twice in an edit", pushOf(strings.Replace(put, `"data"`, `"op":"put","data"`, 1)), "duplicate_key", "/edits/0/op"},
		{"data twice", pushOf(strings.Replace(put, `{}`, `{},"data":{}`, 1)), "duplicate_key", "/edits/0/data"},

		{"client_id missing", `{"edits":[` + put + `]}`, "invalid_request", "/client_id"},
		{"client_id a number", `{"client_id":7,"edits":[` + put + `]}`, "invalid_request", "/client_id"},
		{"client_id null", `{"client_id":null,"edits":[` + put + `]}`, "invalid_request", "/client_id"},
		{"client_id not a name", `{"client_id":"a b","edits":[` + put + `]}`, "invalid_request", "/client_id"},
		{"client_id with a lone surrogate", `{"client_id":"a\ud800","edits":[` + put + `]}`, "invalid_request", "/client_id"},
		{"edits missing", `{"client_id":"c1"}`, "invalid_request", "/edits"},
		{"edits null", `{"client_id":"c1","edits":null}`, "invalid_request", "/edits"},
		{"edits empty", pushOf(``), "invalid_request", "/edits"},
		{"edits an object", `{"client_id":"c1","edits":{}}`, "invalid_request", "/edits"},
		{"edit null", pushOf(`null`), "invalid_request", "/edits/0"},
		{"edit a string", pushOf(put + `,"x"`), "invalid_request", "/edits/1"},
		{"edit_id missing", pushOf(strings.Replace(put, `"edit_id":"e1",`, ``, 1)), "invalid_request", "/edits/0/edit_id"},
		{"edit_id too long", pushOf(strings.Replace(put, `e1`, strings.Repeat("e", 129), 1)), "invalid_request", "/edits/0/edit_id"},
		{"edit_id twice", pushOf(put + `,` + put), "invalid_request", "/edits/1/edit_id"},
		{"op missing", pushOf(strings.Replace(put, `"op":"put",`, ``, 1)), "invalid_request", "/edits/0/op"},
		{"op unknown", pushOf(strings.Replace(put, `"put"`, `"upsert"`, 1)), "invalid_request", "/edits/0/op"},
		{"op in another case", pushOf(strings.Replace(put, `"put"`, `"PUT"`, 1)), "invalid_request", "/edits/0/op"},
		{"id a number", pushOf(strings.Replace(put, `"id":"d"`, `"id":1`, 1)), "invalid_request", "/edits/0/id"},
		{"force a number", pushOf(strings.Replace(put, `"base_version":0`, `"force":1`, 1)), "invalid_request", "/edits/0/force"},
		{"atomic a string", `{"client_id":"c1","edits":[` + put + `],"atomic":"true"}`, "invalid_request", "/atomic"},
		{"cursor null", `{"client_id":"c1","edits":[` + put + `],"cursor":null}`, "invalid_request", "/cursor"},
		{"collections a string", `{"client_id":"c1","edits":[` + put + `],"collections":"a"}`, "invalid_request", "/collections"},
		{"collection not a name", `{"client_id":"c1","edits":[` + put + `],"collections":["a",""]}`, "invalid_request", "/collections/1"},
		{"too many collections", `{"client_id":"c1","edits":[` + put + `],"collections":["a"` + strings.Repeat(`,"b"`, 100) + `]}`, "invalid_request", "/collections/100"},
		{"limit 0", `{"client_id":"c1","edits":[` + put + `],"limit":0}`, "invalid_request", "/limit"},
		{"limit 1001", `{"client_id":"c1","edits":[` + put + `],"limit":1001}`, "invalid_request", "/limit"},
		{"limit a float", `{"client_id":"c1","edits":[` + put + `],"limit":5.0}`, "invalid_request", "/limit"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := decodePush([]byte(test.body))
			wantProblem(t, err, test.code, test.pointer)
		})
	}
}

func TestDecodePush_baseVersion(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"0": true, "1": true, "9007199254740991": true,
		"9007199254740992": false, "9223372036854775808": false, "-1": false, "-0": false,
		"1.0": false, "1e3": false, `"1"`: false, "null": false, "true": false, "[]": false,
	} {
		_, err := decodePush([]byte(pushOf(strings.Replace(put, `"base_version":0`, `"base_version":`+text, 1))))
		if ok && err != nil {
			t.Errorf("%s: %v", text, err)
		} else if !ok {
			wantProblem(t, err, models.CodeInvalidRequest, "/edits/0/base_version")
		}
	}
}

func TestDecodePush_batch(t *testing.T) {
	t.Parallel()
	edits := make([]string, models.MaxEdits+1)
	for i := range edits {
		edits[i] = strings.Replace(put, "e1", fmt.Sprint("e", i), 1)
	}
	if _, err := decodePush([]byte(pushOf(strings.Join(edits[1:], ",")))); err != nil {
		t.Errorf("%d edits: %v", models.MaxEdits, err)
	}
	_, err := decodePush([]byte(pushOf(strings.Join(edits, ","))))
	wantProblem(t, err, models.CodeBatchTooLarge, "-")
}

// What is wrong all over must not make an answer larger than the request.
func TestDecodePush_manyFaults(t *testing.T) {
	t.Parallel()
	var e *models.Error
	_, err := decodePush([]byte(`{"` + strings.Repeat("x", 100_000) + `":1` + strings.Repeat(`,"y":1`, 50_000) + `}`))
	if !errors.As(err, &e) || len(e.Fields) != maxFieldErrors {
		t.Fatalf("got %v", err)
	}
	if n := len(e.Fields[0].Pointer); n > 300 {
		t.Errorf("a pointer of %d bytes", n)
	}
}

func TestDecodeDocument(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"{}":                  "{}",
		" \n{ \"a\": 1 }\r\n": `{ "a": 1 }`,
		`{"a":1,"a":2}`:       `{"a":1,"a":2}`,
		`[]`:                  `[]`,
		`{} {}`:               "malformed_json",
		``:                    "malformed_json",
		"{\"a\":\"\xff\"}":    "malformed_json",
	} {
		got, err := decodeDocument([]byte(body))
		if err != nil {
			got = []byte(models.CodeOf(err))
		}
		if string(got) != want {
			t.Errorf("%q: got %q, want %q", body, got, want)
		}
	}
}

func wantProblem(t *testing.T, err error, code models.Code, pointer string) {
	t.Helper()
	var e *models.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want %s", err, code)
	}
	got := "-"
	if len(e.Fields) > 0 {
		got = e.Fields[0].Pointer
	}
	if e.Code != code || got != pointer {
		t.Errorf("got %s at %q (%v), want %s at %q", e.Code, got, e, code, pointer)
	}
}

// A push that is accepted is valid JSON, is read as encoding/json reads it, and
// holds its documents as they were sent.
func FuzzDecodePush(f *testing.F) {
	f.Add([]byte(pushOf(put)))
	f.Add([]byte(`{"client_id":"c","edits":[{"edit_id":"e","op":"patch","collection":"c","id":"d","base_edit_id":"x","data":{"a":[1,"\ud83d\ude00"]}}],"atomic":true,"cursor":"","collections":["a"],"limit":1}`))
	f.Add([]byte(`{"client_id":"c","client_id":"c"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		got, err := decodePush(body)
		if !bytes.Equal(before, body) {
			t.Fatal("the body was changed")
		}
		var known *models.Error
		if err != nil && !errors.As(err, &known) {
			t.Fatalf("an error without a code: %v", err)
		}
		if err != nil {
			return
		}
		var want models.PushRequest
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("accepted, but: %v", err)
		}
		if len(want.Collections) == 0 && len(got.Collections) == 0 {
			want.Collections = got.Collections
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("(-encoding/json +ours):\n%s", diff)
		}
	})
}

func BenchmarkDecodePush(b *testing.B) {
	const edit = `{"edit_id":"0192f0c1-5f7e-7c3a-9d2b-%012d","op":"put","collection":"todos","id":"t%d","base_version":1795428000123000,"data":{"title":"Milk","done":false,"note":"%s"}}`
	for _, n := range []int{1, 10, 100} {
		edits := make([]string, n)
		for i := range edits {
			edits[i] = fmt.Sprintf(edit, i, i, strings.Repeat("x", 150))
		}
		body := []byte(pushOf(strings.Join(edits, ",")))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decodePush(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What sound passes, the rules of the tags pass too.
func TestSound(t *testing.T) {
	t.Parallel()
	name := rapid.SampledFrom([]string{"a", "b", "c-1", "", "é", strings.Repeat("x", 129)})
	edit := rapid.Custom(func(t *rapid.T) models.Edit {
		e := models.Edit{EditID: name.Draw(t, "edit_id"), Op: models.Op(rapid.SampledFrom([]string{"put", "patch", "delete", "", "Put"}).Draw(t, "op"))}
		if rapid.Bool().Draw(t, "based") {
			version := rapid.SampledFrom([]int64{-1, 0, 7, models.MaxVersion, models.MaxVersion + 1}).Draw(t, "base_version")
			e.BaseVersion = &version
		}
		return e
	})
	usual := &models.PushRequest{ClientID: "a", Edits: []models.Edit{{EditID: "b", Op: models.OpPut}}}
	if !sound(usual) {
		t.Error("a usual request takes the long way")
	}
	rapid.Check(t, func(t *rapid.T) {
		req := &models.PushRequest{
			ClientID: name.Draw(t, "client_id"), Edits: rapid.SliceOfN(edit, 0, 3).Draw(t, "edits"),
			Limit: rapid.SampledFrom([]int{-1, 0, 1, 1000, 1001}).Draw(t, "limit"),
		}
		if !sound(req) {
			return
		}
		if err := validation.Struct(req); err != nil {
			t.Fatalf("%+v: %v", req, err)
		}
	})
}
