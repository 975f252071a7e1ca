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
	conn    net.Conn
	streams *streams
	chunked bool
	last    bool  // the deadline is that of the shutdown
	sent    int64 // bytes of the body
	size    []byte
	buffers net.Buffers // what flush will write
}

// take takes the connection of a request and writes the head of its answer. HTTP/2
// has none to take; the server does not speak it.
func (s *streams) take(w http.ResponseWriter, r *http.Request) (*connection, error) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("take over the connection: %w", err)
	}
	c := &connection{conn: conn, streams: s, chunked: r.ProtoAtLeast(1, 1)}
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

// end ends the answer and closes the connection. cut: nothing more can be written.
func (c *connection) end(cut bool) {
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

// setDeadline gives the next step its time. That it fails is for the step to find.
func (c *connection) setDeadline() {
	if c.last {
		return
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.streams.patience))
	select {
	case <-c.streams.draining: // asked last: if it happens now, hurry comes after
		c.last = true
		_ = c.conn.SetWriteDeadline(time.Now().Add(lastPatience))
	default:
	}
}

// awaitEnd calls gone when the client closes. What it sends means nothing.
func (c *connection) awaitEnd(gone context.CancelFunc) {
	defer gone()
	for ignored := make([]byte, 64); ; {
		if _, err := c.conn.Read(ignored); err != nil {
			return
		}
	}
}
