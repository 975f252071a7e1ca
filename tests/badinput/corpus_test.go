package badinput_test

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"
)

// badInput is one line of the corpus.
type badInput struct {
	ID      string            `json:"id"`
	Group   string            `json:"group"`
	Name    string            `json:"name"`
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers"`
	Body    []byte            `json:"body_b64"`
	Gen     string            `json:"gen"` // the body or the sending in words; see generated
	Want    want              `json:"want"`
}

// want is what a case must be answered with. No code means that any will do, or
// none, because the answer is net/http's own; with status 200 it means applied.
type want struct {
	Status int     `json:"status"`
	Code   *string `json:"code"`
	Result string  `json:"result"` // of the push's first edit, where the answer is 200
}

func (w want) code() string {
	if w.Code == nil {
		return ""
	}
	return *w.Code
}

// corpusSize guards against a corpus cut short.
const corpusSize = 106

func corpus(t *testing.T) []badInput {
	t.Helper()
	file, err := os.Open("testdata/bad-inputs.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var all []badInput
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var one badInput
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			t.Fatalf("line %d: %v", len(all)+1, err)
		}
		all = append(all, one)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(all) != corpusSize {
		t.Fatalf("the corpus has %d cases, want %d", len(all), corpusSize)
	}
	return all
}

// status builds a want that the server's own code does not answer.
func status(code int) want { return want{Status: code} }

// differs holds the cases whose expected answer here is another one than in the
// corpus, and why.
var differs = map[string]struct {
	want want
	why  string
}{
	"E09": {refused("invalid_cursor"), "cursors are opaque, so a cursor of an old epoch cannot be written by hand; the tests of restored backups hold a real one (trust issue)"},
	"E10": {refused("invalid_cursor"), "the same for a cursor before the floor; nothing is purged yet (trust issue)"},
	"F22": {want{Status: 200}, "there are no rate limits yet (trust issue); until then the header must only do no harm"},
	"G10": {status(431), "100,000 dots are more than the 16 KiB of headers, which net/http refuses before anything of ours sees them; G10 at 4,000 dots is a variant"},
	"G13": {status(431), "the same for a token of 30,000 spaces; one of 300 is a variant"},
}

func refused(code string) want { return want{Status: 400, Code: &code} }
