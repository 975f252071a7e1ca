package syncer

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
)

// nested returns a document that nests objects to a depth.
func nested(depth int) string {
	return strings.Repeat(`{"a":`, depth-1) + "{}" + strings.Repeat("}", depth-1)
}

// listing returns a document of n values: itself, the array and n-2 numbers.
func listing(n int) string {
	return `{"a":[` + strings.Repeat("1,", n-3) + `1]}`
}

// sized returns a document of n bytes.
func sized(n int) string {
	return `{"a":"` + strings.Repeat("x", n-len(`{"a":""}`)) + `"}`
}

func TestCheckDocument_passes(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty":                           `{}`,
		"space around and between":        " \t\r\n{ \"a\" : [ 1 , 2 ] }\n",
		"all kinds":                       `{"s":"x","n":1.5,"t":true,"f":false,"z":null,"a":[],"o":{}}`,
		"262,144 bytes":                   sized(models.MaxDocumentBytes),
		"32 levels":                       nested(models.MaxDocumentDepth),
		"10,000 values":                   listing(models.MaxDocumentValues),
		"key of 256 bytes":                `{"` + strings.Repeat("k", models.MaxKeyBytes) + `":1}`,
		"key of 256 bytes, escaped":       `{"` + strings.Repeat(`\u006b`, models.MaxKeyBytes) + `":1}`,
		"long text":                       `{"a":"` + strings.Repeat("x", 1000) + `"}`,
		"empty key":                       `{"":1}`,
		"2^53-1":                          `{"n":9007199254740991}`,
		"-(2^53-1)":                       `{"n":-9007199254740991}`,
		"-0":                              `{"n":-0}`,
		"largest float64":                 `{"n":1.7976931348623157e308}`,
		"too small for a float64":         `{"n":1e-400}`,
		"many digits after the point":     `{"n":0.1234567890123456789012345678901234567890}`,
		"large integer with an exponent":  `{"n":1e300}`,
		"surrogate pair":                  `{"a":"\ud83d\ude00"}`,
		"surrogate pair in a key":         `{"\ud83d\ude00":1}`,
		"beyond the BMP":                  `{"a":"😀"}`,
		"noncharacter":                    `{"a":"\uffff"}`,
		"noncharacter, not escaped":       "{\"a\":\"\ufffe\ufdd0\"}",
		"U+2028":                          `{"a":"\u2028"}`,
		"control characters, escaped":     `{"a":"\u0001\u001f\u007f"}`,
		"escapes":                         `{"a":"\"\\\/\b\f\n\r\t"}`,
		"same key at different levels":    `{"a":{"a":{"a":1}},"b":{"a":1}}`,
		"same key in different letters":   `{"a":1,"A":2}`,
		"same letter in different code":   "{\"\u00e9\":1,\"e\u0301\":2}",
		"names with a meaning elsewhere":  `{"__proto__":1,"constructor":2}`,
		"what looks like a key in a text": `{"a":"{\"b\":1,\"b\":2}"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if problem := checkDocument([]byte(text)); problem != nil {
				t.Fatalf("refused: %+v", problem)
			}
			if !json.Valid([]byte(text)) {
				t.Error("passed what encoding/json can't read")
			}
		})
	}
}

func TestCheckDocument_refuses(t *testing.T) {
	t.Parallel()
	const (
		invalid   = models.CodeInvalidDocument
		duplicate = models.CodeDuplicateKey
		tooLarge  = models.CodeDocumentTooLarge
		tooDeep   = models.CodeDocumentTooDeep
	)
	for name, test := range map[string]struct {
		text    string
		code    models.Code
		pointer string
	}{
		"262,145 bytes":                  {sized(models.MaxDocumentBytes + 1), tooLarge, "/data"},
		"33 levels":                      {nested(models.MaxDocumentDepth + 1), tooDeep, "/data"},
		"33 levels of arrays":            {`{"a":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + "}", tooDeep, "/data"},
		"100,000 levels":                 {strings.Repeat("[", 100_000), tooDeep, "/data"},
		"10,001 values":                  {listing(models.MaxDocumentValues + 1), tooLarge, "/data"},
		"key of 257 bytes, escaped":      {`{"` + strings.Repeat(`\u006b`, models.MaxKeyBytes+1) + `":1}`, invalid, "/data"},
		"key of 257 bytes":               {`{"` + strings.Repeat("k", models.MaxKeyBytes+1) + `":1}`, invalid, "/data"},
		"key of 258 bytes, 129 letters":  {`{"` + strings.Repeat("é", 129) + `":1}`, invalid, "/data"},
		"2^53":                           {`{"n":9007199254740992}`, invalid, "/data/n"},
		"-2^53":                          {`{"a":[0,-9007199254740992]}`, invalid, "/data/a/1"},
		"2^64":                           {`{"n":18446744073709551616}`, invalid, "/data/n"},
		"100,000 digits":                 {`{"n":` + strings.Repeat("9", 100_000) + `}`, invalid, "/data/n"},
		"1e400":                          {`{"n":1e400}`, invalid, "/data/n"},
		"-1E+400":                        {`{"n":-1E+400}`, invalid, "/data/n"},
		"1.0e400":                        {`{"n":1.0e400}`, invalid, "/data/n"},
		"pointer with special letters":   {`{"a/b~c":1e400}`, invalid, "/data/a~1b~0c"},
		"pointer that is too long":       {`{"` + strings.Repeat("k", 255) + `":1e400}`, invalid, "/data"},
		"NaN":                            {`{"n":NaN}`, invalid, "/data/n"},
		"leading zero":                   {`{"n":01}`, invalid, "/data"},
		"hexadecimal":                    {`{"n":0x10}`, invalid, "/data"},
		"U+0000 in a value":              {`{"a":["x\u0000y"]}`, invalid, "/data/a/0"},
		"U+0000 in a key":                {`{"a\u0000b":1}`, invalid, "/data/a\x00b"},
		"U+0000 not escaped":             {"{\"a\":\"\x00\"}", invalid, "/data/a"},
		"control character, not escaped": {"{\"a\":\"\n\"}", invalid, "/data/a"},
		"lone high surrogate":            {`{"a":"\ud800"}`, invalid, "/data/a"},
		"lone low surrogate":             {`{"a":"\udc00x"}`, invalid, "/data/a"},
		"surrogates in the wrong order":  {`{"a":"\ude00\ud83d"}`, invalid, "/data/a"},
		"high surrogate twice":           {`{"a":"\ud83d\ud83d\ude00"}`, invalid, "/data/a"},
		"lone surrogate in a key":        {`{"\udc00":1}`, invalid, "/data"},
		"surrogate as three bytes":       {"{\"a\":\"\xed\xa0\x80\"}", invalid, "/data/a"},
		"overlong slash":                 {"{\"a\":\"\xc0\xaf\"}", invalid, "/data/a"},
		"not UTF-8":                      {"{\"a\":\"\xff\"}", invalid, "/data/a"},
		"byte order mark":                {"\ufeff{}", invalid, "/data"},
		"duplicate key":                  {`{"a":1,"a":1}`, duplicate, "/data/a"},
		"duplicate key far apart":        {`{"a":1,` + numbered(100) + `,"a":2}`, duplicate, "/data/a"},
		"duplicate key at depth":         {`{"a":[{"b":{"c":1,"d":2,"c":3}}]}`, duplicate, "/data/a/0/b/c"},
		"duplicate key, escaped":         {`{"a":1,"\u0061":2}`, duplicate, "/data/a"},
		"duplicate key, pair escaped":    {`{"😀":1,"\ud83d\ude00":2}`, duplicate, "/data/😀"},
		"duplicate empty key":            {`{"":1,"":2}`, duplicate, "/data/"},
		"nothing":                        {``, invalid, "/data"},
		"only space":                     {" \n", invalid, "/data"},
		"cut off":                        {`{"a":[1,`, invalid, "/data/a"},
		"array":                          {`[{}]`, invalid, "/data"},
		"text":                           {`"{}"`, invalid, "/data"},
		"number":                         {`1`, invalid, "/data"},
		"null":                           {`null`, invalid, "/data"},
		"two values":                     {`{} {}`, invalid, "/data"},
		"something after the value":      {`{}x`, invalid, "/data"},
		"comma at the end":               {`{"a":1,}`, invalid, "/data"},
		"comment":                        {`{/**/}`, invalid, "/data"},
		"key without quotes":             {`{a:1}`, invalid, "/data"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := checkDocument([]byte(test.text))
			if got == nil {
				t.Fatal("passed")
			}
			want := &models.EditError{Code: test.code, Pointer: test.pointer, Detail: got.Detail}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Detail == "" || len(got.Detail) > 300 {
				t.Errorf("detail is no sentence: %q", got.Detail)
			}
		})
	}
}

// numbered returns n members k0 … without the braces.
func numbered(n int) string {
	members := make([]string, n)
	for i := range members {
		members[i] = fmt.Sprintf(`"k%d":%d`, i, i)
	}
	return strings.Join(members, ",")
}

func TestCountValues(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		`{}`:                                     1,
		`{"a":1}`:                                2,
		` { "a" : [ ] } `:                        2,
		`{"a:b":"c:{[\""}`:                       2,
		`{"a":[true,false,null,-1.5e+3,"x",{}]}`: 8,
		`{"\\":{"\"":"\\\\"}}`:                   3,
		`[[],[[]],0.5,-0]`:                       6,
		listing(10_000):                          10_000,
		nested(32):                               32,
	} {
		if got := countValues([]byte(text)); got != want {
			t.Errorf("countValues(%.60s) = %d, want %d", text, got, want)
		}
	}
}
