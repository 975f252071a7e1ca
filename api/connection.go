package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/presence"
)

const (
	// patience is how long one step of a write may take. A client that does not
	// read for that long is cut off; it loses nothing, because it comes back with
	// its cursor.
	patience = 10 * time.Second
	// lastPatience is how long all writes together may take once the server shuts
	// down, or a client that reads slowly would hold it up step by step.
	lastPatience = time.Second
	// writeStep is what one step writes. A slow line carries a page of any size
	// as long as it carries this much within patience.
	writeStep = 32 << 10
)

// errCut is the error of a write that failed: the client is gone, or too slow.
var errCut = errors.New("the client does not read")

// A connection is that of a stream, taken over from net/http. As long as net/http
// has it, it holds buffers of 10 KB, the request, and two stacks grown by all that
// stands around a handler; a stream needs none of that, and most streams do
// nothing most of the time. The price is that HTTP's framing is written here.
type connection struct {
	pace
	chunked bool
	sent    int64 // bytes of the body
	size    []byte
	parts   []byte      // the small ones of a page
	buffers net.Buffers // what flush will write
}

// take takes the connection of a request and writes the head of its answer. HTTP/2
// has none to take; the server does not speak it.
func (s *streams) take(w http.ResponseWriter, r *http.Request) (*connection, error) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("take over the connection: %w", err)
	}
	c := &connection{pace: pace{conn: conn, streams: s}, chunked: r.ProtoAtLeast(1, 1)}
	h, version := w.Header(), "HTTP/1.0"
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	h.Set("Connection", "close")
	if c.chunked {
		h.Set("Transfer-Encoding", "chunked")
		version = "HTTP/1.1"
	}
	var head bytes.Buffer
	head.WriteString(version + " 200 OK\r\n")
	_ = h.Write(&head) // to memory
	head.WriteString("\r\n")
	c.buffers = append(c.buffers, head.Bytes())
	return c, nil
}

var (
	chunkEnd = []byte("\r\n")
	lastEnd  = []byte("0\r\n\r\n")
)

// write sends parts as one, without copying them. Error: errCut.
func (c *connection) write(parts ...[]byte) error {
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	c.sent += int64(size)
	if c.chunked {
		c.size = append(strconv.AppendInt(c.size[:0], int64(size), 16), chunkEnd...)
		c.buffers = append(c.buffers, c.size)
	}
	c.buffers = append(c.buffers, parts...)
	if c.chunked {
		c.buffers = append(c.buffers, chunkEnd)
	}
	return c.flush()
}

func (c *connection) begin() error {
	return c.write(appendOpening(nil, spread(time.Second, 3*time.Second)))
}

func (c *connection) page(space string, p *syncer.SharedPage, id string) error {
	b := appendPageHead(c.parts[:0], space)
	head := len(b)
	b = appendID(b, id)
	c.parts = b
	return c.write(b[:head], p.Text(pageText), b[head:])
}

func (c *connection) presence(e *presence.Event) error {
	return c.write(e.Text(func(e *models.PresenceEvent) []byte {
		return event{name: "presence", data: e.AppendJSON(nil)}.frame()
	}))
}

func (c *connection) tell(e event) error { return c.write(e.frame()) }

func (c *connection) beat() error { return c.write(heartbeat) }

func (c *connection) network() net.Conn { return c.conn }

func (c *connection) written() int64 { return c.sent }

func (c *connection) end(cut bool, _ string) {
	if c.chunked && !cut {
		c.buffers = append(c.buffers, lastEnd)
		_ = c.flush() // who does not hear it sees the connection close
	}
	_ = c.conn.Close()
}

// flush writes what is in buffers, step by step, each within patience.
func (c *connection) flush() error {
	for rest := c.buffers; len(rest) > 0; {
		var step net.Buffers
		step, rest = cutStep(rest)
		c.setDeadline()
		if _, err := step.WriteTo(c.conn); err != nil {
			return fmt.Errorf("%w: %w", errCut, err)
		}
	}
	c.buffers = c.buffers[:0]
	return nil
}

// cutStep takes writeStep bytes off the front.
func cutStep(all net.Buffers) (step, rest net.Buffers) {
	left := writeStep
	for i, b := range all {
		if len(b) > left {
			step = append(slices.Clone(all[:i]), b[:left])
			all[i] = b[left:]
			return step, all[i:]
		}
		left -= len(b)
	}
	return all, nil
}

// awaitEnd: what the client sends means nothing.
func (c *connection) awaitEnd(gone context.CancelFunc) {
	defer gone()
	for ignored := make([]byte, 64); ; {
		if _, err := c.conn.Read(ignored); err != nil {
			return
		}
	}
}
