package model_test

import (
	"encoding/json"
	"flag"
	"os"
	"sync"

	"github.com/tidemark/tidemark/tests/harness"
)

// transcriptFile gets what followers were answered and have to hold then, what authors
// did, sent, were answered and have to show then, and what patches make of documents, a
// line of JSON each. The tests of tidemark.js do the same
// with the client: tests/e2e/client/transcript.test.js says how to write it anew.
var transcriptFile = flag.String("transcript", "", "write a transcript to this file")

// line is one of a transcript: a page, a 410, what a follower holds at the head; what the
// author of a space does, is answered or shows; or a patch.
type line struct {
	Space   string              `json:"space,omitempty"`
	Cursor  string              `json:"cursor,omitempty"` // asked with
	Page    *harness.Page       `json:"page,omitempty"`
	Expired string              `json:"expired,omitempty"` // the cause
	Holds   *[]harness.Change   `json:"holds,omitempty"`
	Author  string              `json:"author,omitempty"` // the space
	Do      []deed              `json:"do,omitempty"`
	Push    []harness.Edit      `json:"push,omitempty"`
	During  []deed              `json:"during,omitempty"` // before the answer is there
	Answer  *harness.PushAnswer `json:"answer,omitempty"`
	Lost    bool                `json:"lost,omitempty"`
	Shows   *shows              `json:"shows,omitempty"`
	Before  map[string]any      `json:"before,omitempty"`
	Patch   json.RawMessage     `json:"patch,omitempty"`
	After   map[string]any      `json:"after,omitempty"`
}

var transcript = sync.OnceValue(func() func(line) {
	if *transcriptFile == "" {
		return func(line) {}
	}
	file, err := os.Create(*transcriptFile)
	if err != nil {
		panic(err)
	}
	var mu sync.Mutex
	lines := json.NewEncoder(file)
	return func(l line) {
		mu.Lock()
		defer mu.Unlock()
		if err := lines.Encode(l); err != nil {
			panic(err)
		}
	}
})
