package converge

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"sync"
)

// Kind says what an event is about.
type Kind string

// The kinds of events. All but KindRun are told by a client, in the order in which
// it met them.
const (
	KindRun      Kind = "run"      // first of all: Seed and Store
	KindSend     Kind = "send"     // Edit is sent for the first time
	KindAnswer   Kind = "answer"   // Result has come; Took is what the client made of it
	KindOpen     Kind = "open"     // EditID was sent and never answered, and is given up
	KindFound    Kind = "found"    // EditID was sent and never answered, and a snapshot shows it
	KindPage     Kind = "page"     // Page has come and was taken in
	KindExpired  Kind = "expired"  // the cursor is refused, Why says the cause
	KindMismatch Kind = "mismatch" // the digest of the newest page is not that of what the client holds
	KindError    Kind = "error"    // an answer that nothing excuses, in Why
	KindStuck    Kind = "stuck"    // the client has not come to its end in time
	KindEnd      Kind = "end"      // the client has sent all it had and seen all there is
)

// Witness is the name of the client that only reads, at the end, from the start.
const Witness = "witness"

// Event is one line of a history.
type Event struct {
	Kind   Kind    `json:"kind"`
	Client string  `json:"client,omitempty"`
	Seed   uint64  `json:"seed,omitempty"`
	Store  string  `json:"store,omitempty"`
	Edit   *Edit   `json:"edit,omitempty"`
	Result *Result `json:"result,omitempty"`
	Took   *Doc    `json:"took,omitempty"`
	Page   *Page   `json:"page,omitempty"`
	EditID string  `json:"edit_id,omitempty"`
	Why    string  `json:"why,omitempty"`
}

// Edit is an edit as it was sent.
type Edit struct {
	ID    string `json:"id"`
	Op    string `json:"op"`
	Key   string `json:"key"` // collection/id
	Base  *int64 `json:"base,omitempty"`
	On    string `json:"on,omitempty"` // base_edit_id
	Force bool   `json:"force,omitempty"`
	Data  string `json:"data,omitempty"`
	// Token names what the edit is for. Edits that are made anew after a conflict
	// keep it, and at most one of them may take effect.
	Token string `json:"token"`
}

// Result is the fate of an edit.
type Result struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Version  int64  `json:"version,omitempty"`
	Merged   bool   `json:"merged,omitempty"`
	Replayed bool   `json:"replayed,omitempty"`
	Shown    *Doc   `json:"shown,omitempty"`
}

// Doc is a document at a version. Data is left out where the history has told it
// before.
type Doc struct {
	Key     string `json:"key"`
	Version int64  `json:"version"`
	Deleted bool   `json:"deleted,omitempty"`
	Data    string `json:"data,omitempty"`
	By      string `json:"by,omitempty"` // client/edit_id
}

// Page is a page that a client has taken in.
type Page struct {
	// Start begins a snapshot, which lasts until a page without More.
	Start   bool   `json:"start,omitempty"`
	Version int64  `json:"version"`
	More    bool   `json:"more,omitempty"`
	Digest  string `json:"digest,omitempty"`
	Count   int64  `json:"count,omitempty"`
	Docs    []Doc  `json:"docs,omitempty"`
	// By is how it came: push, pull, poll or stream.
	By string `json:"by"`
}

// Recorder writes a history, from any goroutine.
type Recorder struct {
	mu   sync.Mutex
	file *os.File
	out  *bufio.Writer
	told map[at]string // data of a document at a version
	err  error
}

type at struct {
	key     string
	version int64
}

// Record creates the file of a history.
func Record(name string) (*Recorder, error) {
	file, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	return &Recorder{file: file, out: bufio.NewWriterSize(file, 1<<20), told: map[at]string{}}, nil
}

// Add writes an event.
func (r *Recorder) Add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Page != nil {
		for i := range e.Page.Docs {
			r.shorten(&e.Page.Docs[i])
		}
	}
	if e.Result != nil && e.Result.Shown != nil {
		r.shorten(e.Result.Shown)
	}
	if e.Took != nil {
		r.shorten(e.Took)
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = r.out.Write(append(line, '\n'))
	}
	r.err = errors.Join(r.err, err)
}

// shorten leaves the data out if it was told already. Data that differs from what
// was told stays: that is what the judge is looking for.
func (r *Recorder) shorten(d *Doc) {
	if d.Deleted {
		return
	}
	told, ok := r.told[at{d.Key, d.Version}]
	if !ok {
		r.told[at{d.Key, d.Version}] = d.Data
	} else if told == d.Data {
		d.Data = ""
	}
}

// Close ends the history.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.err, r.out.Flush(), r.file.Close())
}

// read calls f for each event of a history.
func read(name string, f func(*Event) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	for lines := json.NewDecoder(bufio.NewReaderSize(file, 1<<20)); lines.More(); {
		var e Event
		if err := lines.Decode(&e); err != nil {
			return err
		}
		if err := f(&e); err != nil {
			return err
		}
	}
	return nil
}
