package api

import (
	"context"
	"errors"
	"net"
	"net/http"
)

// net/http writes through a buffer of 4 KB, so an answer that is a little larger, as
// a page of ten changes is, would go out in two parts. Over a fast line the second
// costs more than all else there is to do for the answer. So bodies of these sizes
// are put together first; of larger ones, the copy would cost more than the part.
const (
	corkFrom = 3 << 10
	corkUpTo = 16 << 10
)

// A corkConn is a connection that can hold back what is written to it. Only one
// goroutine writes at a time.
type corkConn struct {
	*net.TCPConn
	corked bool
	held   []byte
}

// Write implements net.Conn.
func (c *corkConn) Write(b []byte) (int, error) {
	if !c.corked {
		return c.TCPConn.Write(b)
	}
	c.held = append(c.held, b...)
	return len(b), nil
}

// inOne has write called, and sends what it writes to w as one.
func (c *corkConn) inOne(w http.ResponseWriter, write func() error) (err error) {
	buffer, _ := bodies.Get().(*[]byte)
	c.corked, c.held = true, (*buffer)[:0]
	defer func() {
		*buffer = c.held
		c.corked, c.held = false, nil
		_, sendErr := c.TCPConn.Write(*buffer)
		bodies.Put(buffer)
		if sendErr != nil {
			// net/http does not know, and would send the next answer after half of this one.
			err = errors.Join(err, sendErr, c.Close())
		}
	}()
	if err := write(); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}

// Listener returns a listener whose connections send answers in one piece where that
// pays. HTTPServer serves any listener, but TCP is faster through this one.
func Listener(l net.Listener) net.Listener { return corkListener{l} }

type corkListener struct{ net.Listener }

// Accept implements net.Listener.
func (l corkListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		return &corkConn{TCPConn: tcp}, err
	}
	return conn, err
}

type corkKey struct{}

// withCork lets corkOf find the connection of a request. It is http.Server.ConnContext.
func withCork(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(*corkConn); ok {
		return context.WithValue(ctx, corkKey{}, c)
	}
	return ctx
}

// corkOf returns the connection that an answer of that size should be sent over in
// one piece, nil for all others. What is compressed becomes small enough by that.
func corkOf(r *http.Request, size int) *corkConn {
	if size < corkFrom || size > corkUpTo || compressible(r) {
		return nil
	}
	c, _ := r.Context().Value(corkKey{}).(*corkConn)
	return c
}
