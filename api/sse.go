package api

import (
	"bytes"
	"strconv"
	"time"

	"github.com/tidemark/tidemark/models"
)

// This file is text/event-stream as a value (WHATWG HTML, section 9.2.5): lines
// of a name and a value, and an empty line that makes an event of them.

// mediaEvents is the media type of a stream.
const mediaEvents = "text/event-stream"

// An event is a small event of a stream. Fields at their zero value are left out.
type event struct {
	name  string
	data  []byte
	id    *string // "" makes the client forget the one it has
	retry time.Duration
}

// frame returns e as it goes over the line.
func (e event) frame() []byte {
	b := []byte("event: ")
	b = append(b, e.name...)
	b = append(b, "\ndata: "...)
	b = appendLines(b, e.data)
	if e.retry > 0 {
		b = appendRetry(b, e.retry)
	}
	if e.id != nil {
		return appendID(b, *e.id)
	}
	return append(b, '\n')
}

// The frame of a page is put together from three parts, because only the middle
// one, pageText, is large, and it is the same for all streams at one cursor:
// appendPageHead, pageText, appendID. The id comes last: a client that takes an
// id when it reads the line, not at the end of the event as it should, would
// otherwise miss a page that is cut off in the middle.

// appendPageHead appends what comes before the members of a page. space is its
// first member if it is not empty.
func appendPageHead(b []byte, space string) []byte {
	b = append(b, "event: changes\ndata: {"...)
	if space != "" {
		b = append(b, `"space":"`...)
		b = append(b, space...) // a name needs no escaping
		b = append(b, `",`...)
	}
	return b
}

// pageText returns the members of a page, from behind its opening brace to the
// end of its last line.
func pageText(p *models.Page) []byte {
	text := p.AppendJSON(nil)[1:]
	if bytes.IndexByte(text, '\n') < 0 && bytes.IndexByte(text, '\r') < 0 {
		return append(text, '\n')
	}
	return appendLines(nil, text)
}

// appendLines appends text as the rest of a data line, and as further ones where
// it has line ends. Those of JSON are blanks between its tokens (within strings
// they are escaped), so it does no harm that the client gets LF for each of them.
func appendLines(b, text []byte) []byte {
	for {
		end := bytes.IndexAny(text, "\r\n")
		if end < 0 {
			b = append(b, text...)
			return append(b, '\n')
		}
		b = append(b, text[:end]...)
		b = append(b, "\ndata: "...)
		if bytes.HasPrefix(text[end:], []byte("\r\n")) {
			end++ // one line end
		}
		text = text[end+1:]
	}
}

// appendID appends the id of an event, and its end.
func appendID(b []byte, id string) []byte {
	b = append(b, "id: "...)
	b = append(b, id...)
	return append(b, "\n\n"...)
}

// appendRetry appends how long the client is to wait before it connects again.
func appendRetry(b []byte, d time.Duration) []byte {
	b = append(b, "retry: "...)
	b = strconv.AppendInt(b, d.Milliseconds(), 10)
	return append(b, '\n')
}

// appendOpening appends what a stream begins with, so that the client knows at
// once that it is connected. It is no event.
func appendOpening(b []byte, retry time.Duration) []byte {
	return append(appendRetry(b, retry), ": tidemark\n\n"...)
}

// heartbeat is a comment: it keeps proxies from ending the connection, and shows
// who listens that it is alive.
var heartbeat = []byte(":\n\n")
