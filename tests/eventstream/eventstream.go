// Package eventstream reads text/event-stream as a browser does, word by word
// after WHATWG HTML, section 9.2.6. It knows nothing of what the server writes.
package eventstream

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Event is what a page's listener would get, and what stood between it and the
// event before.
type Event struct {
	Name string // "message" if the stream names none
	Data string
	// ID is the id of the newest event that had one.
	ID string
	// Retry is how long to wait before connecting again, 0 if never told.
	Retry time.Duration
	// Comments counts comments since the event before.
	Comments int
}

// Reader reads events.
type Reader struct {
	lines *bufio.Reader
	last  Event // id, retry and comments so far
	// Tick, if not nil, is called after each line that is read.
	Tick func()
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{lines: bufio.NewReader(r)} }

// Next returns the next event. What the end of the stream cuts off is none: the
// error is then io.EOF, or what r says.
func (r *Reader) Next() (Event, error) {
	event, data, id := Event{}, []string(nil), r.last.ID
	for {
		line, err := r.line()
		if err != nil {
			return Event{}, err
		}
		if r.Tick != nil {
			r.Tick()
		}
		if line == "" {
			r.last.ID = id
			if data == nil {
				event.Name = ""
				continue
			}
			event.Data, event.ID, event.Retry, event.Comments = strings.Join(data, "\n"), id, r.last.Retry, r.last.Comments
			if event.Name == "" {
				event.Name = "message"
			}
			r.last.Comments = 0
			return event, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "":
			r.last.Comments++
		case "event":
			event.Name = value
		case "data":
			data = append(data, value)
		case "id":
			if !strings.Contains(value, "\x00") {
				id = value
			}
		case "retry":
			if ms, err := strconv.ParseUint(value, 10, 31); err == nil {
				r.last.Retry = time.Duration(ms) * time.Millisecond
			}
		default:
			return Event{}, fmt.Errorf("a line that no browser understands: %q", line)
		}
	}
}

// Last returns what is known beside events: the id, the retry, and the comments
// since the last event.
func (r *Reader) Last() Event { return r.last }

// line returns a line without its end: CR LF, LF or CR.
func (r *Reader) line() (string, error) {
	var line strings.Builder
	for {
		c, err := r.lines.ReadByte()
		switch {
		case err != nil:
			return "", err
		case c == '\n':
			return line.String(), nil
		case c == '\r':
			// A CR that ends what has come so far must not wait for what follows.
			if r.lines.Buffered() > 0 {
				if next, _ := r.lines.Peek(1); next[0] == '\n' {
					_, _ = r.lines.ReadByte()
				}
			}
			return line.String(), nil
		}
		line.WriteByte(c)
	}
}
