package wire

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// maxBody bounds what is read of one answer; pages have about 1 MiB.
const maxBody = 64 << 20

// Conn is one keep-alive connection, for one goroutine.
type Conn struct {
	target  Target
	reader  *bufio.Reader
	conn    net.Conn
	release func() bool
	closing bool // the server closes it after this answer
	etag    []byte
	body    []byte
}

// Answer is what came back. Its slices are good until the next request.
type Answer struct {
	Status int
	ETag   []byte // with its quotes
	Body   []byte
}

// Dial connects. The connection lives no longer than ctx: a cancel breaks what
// it waits for, and so does ctx's deadline.
func Dial(ctx context.Context, target Target) (*Conn, error) {
	c := &Conn{target: target, reader: bufio.NewReaderSize(nil, 4<<10)}
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Conn) connect(ctx context.Context) error {
	dialer := net.Dialer{Timeout: 30 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", c.target.Address)
	if err != nil {
		return err
	}
	if c.target.TLS {
		host, _, err := net.SplitHostPort(c.target.Address)
		if err != nil {
			host = c.target.Address
		}
		secured := tls.Client(conn, &tls.Config{ServerName: host})
		if err := secured.HandshakeContext(ctx); err != nil {
			conn.Close()
			return err
		}
		conn = secured
	}
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	c.conn, c.closing = conn, false
	c.release = context.AfterFunc(ctx, func() { conn.Close() })
	c.reader.Reset(conn)
	return nil
}

// Close ends the connection.
func (c *Conn) Close() {
	c.release()
	c.conn.Close()
}

// Do sends a request and reads its answer.
func (c *Conn) Do(ctx context.Context, request []byte) (Answer, error) {
	if c.closing { // as proxies do after some number of requests
		c.Close()
		if err := c.connect(ctx); err != nil {
			return Answer{}, err
		}
	}
	if _, err := c.conn.Write(request); err != nil {
		return Answer{}, err
	}
	return c.read()
}

func (c *Conn) read() (Answer, error) {
	head, err := c.readHead()
	if err != nil {
		return Answer{}, err
	}
	c.closing = head.closing
	answer := Answer{Status: head.status, ETag: c.etag}
	switch {
	case head.status == 204 || head.status == 304:
	case head.chunked:
		answer.Body, err = c.readChunks()
	case head.length < 0:
		c.closing = true
		c.body, err = io.ReadAll(io.LimitReader(c.reader, maxBody))
		answer.Body = c.body
	default:
		c.body = c.body[:0]
		answer.Body, err = c.readBody(head.length)
	}
	return answer, err
}

type head struct {
	status  int
	length  int // -1: not said
	chunked bool
	closing bool
}

// readHead reads the status line and the headers.
func (c *Conn) readHead() (head, error) {
	h := head{length: -1}
	c.etag = c.etag[:0]
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return h, err
	}
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return h, fmt.Errorf("an answer begins with %.80q", line)
	}
	if h.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return h, fmt.Errorf("an answer begins with %.80q", line)
	}
	for {
		if line, err = c.reader.ReadSlice('\n'); err != nil {
			return h, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return h, nil
		}
		if err := c.readHeader(line, &h); err != nil {
			return h, err
		}
	}
}

// readHeader looks at the first letter before it compares: most headers are of
// no interest here.
func (c *Conn) readHeader(line []byte, h *head) (err error) {
	switch line[0] | 0x20 {
	case 'c':
		if value, ok := header(line, "content-length"); ok {
			h.length, err = strconv.Atoi(string(value))
			if err != nil || h.length < 0 || h.length > maxBody {
				return fmt.Errorf("an answer's Content-Length is %.40q", value)
			}
		} else if value, ok := header(line, "connection"); ok {
			h.closing = bytes.EqualFold(value, []byte("close"))
		}
	case 't':
		if value, ok := header(line, "transfer-encoding"); ok {
			h.chunked = bytes.EqualFold(value, []byte("chunked"))
		}
	case 'e':
		if value, ok := header(line, "etag"); ok {
			c.etag = append(c.etag, value...)
		}
	}
	return nil
}

// header returns the value if the line is the header of that name.
func header(line []byte, name string) ([]byte, bool) {
	if len(line) <= len(name) || line[len(name)] != ':' || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name)+1:]), true
}

// readBody appends n bytes to the body.
func (c *Conn) readBody(n int) ([]byte, error) {
	start := len(c.body)
	if cap(c.body) < start+n {
		c.body = append(make([]byte, 0, 2*(start+n)), c.body...)
	}
	c.body = c.body[:start+n]
	_, err := io.ReadFull(c.reader, c.body[start:])
	return c.body, err
}

func (c *Conn) readChunks() ([]byte, error) {
	c.body = c.body[:0]
	for {
		size, err := chunkSize(c.reader)
		if err != nil {
			return nil, err
		}
		if len(c.body)+size > maxBody {
			return nil, errors.New("an answer is too long")
		}
		if size > 0 {
			if _, err := c.readBody(size); err != nil {
				return nil, err
			}
		}
		// The end of the chunk; after the last one no trailers are expected.
		if _, err := c.reader.ReadSlice('\n'); err != nil {
			return nil, err
		}
		if size == 0 {
			return c.body, nil
		}
	}
}

func chunkSize(r *bufio.Reader) (int, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	digits, _, _ := bytes.Cut(bytes.TrimSpace(line), []byte(";"))
	size, err := strconv.ParseUint(string(digits), 16, 31)
	if err != nil {
		return 0, fmt.Errorf("a chunk begins with %.40q", line)
	}
	return int(size), nil
}
