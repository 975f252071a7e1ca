package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/memory"
)

// emptyStore answers as if nothing was ever written. It is in memory, so that
// time can stand still while it is asked.
type emptyStore struct{ syncer.Store }

func (emptyStore) Changes(context.Context, string, syncer.Range) (syncer.Run, error) {
	return syncer.Run{}, nil
}

// pipes is a listener of connections in memory, on which deadlines follow the
// clock of a synctest bubble.
type pipes struct {
	connections chan net.Conn
	closed      chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.connections:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// inBubble runs a test against a whole HTTP server, in development, with a clock
// that moves only while everybody waits. dial opens a connection to it.
func inBubble(t *testing.T, test func(t *testing.T, dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		engine := syncer.New(emptyStore{}, memory.New(), syncer.Options{})
		s, err := New(Options{Engine: engine, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		listener := &pipes{make(chan net.Conn), make(chan struct{})}
		server := s.HTTPServer()
		done := make(chan error)
		go func() { done <- server.Serve(listener) }()
		test(t, func() net.Conn {
			ours, theirs := net.Pipe()
			listener.connections <- theirs
			return ours
		})
		_ = server.Close()
		<-done
	})
}

func send(t *testing.T, c net.Conn, format string, args ...any) {
	t.Helper()
	if _, err := fmt.Fprintf(c, format, args...); err != nil {
		t.Fatal(err)
	}
}

// receive reads one answer and says how long it took since start.
func receive(t *testing.T, r *bufio.Reader, start time.Time) (status int, body string, took time.Duration) {
	t.Helper()
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text), time.Since(start)
}

func TestDeadline_slowBody(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, dial func() net.Conn) {
		c := dial()
		defer c.Close()
		start := time.Now()
		send(t, c, "POST /v1/spaces/s1/push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
		gone := make(chan struct{})
		go func() { // a byte a second, until the server has enough
			defer close(gone)
			for range time.Tick(time.Second) {
				if _, err := c.Write([]byte(" ")); err != nil {
					return
				}
			}
		}()
		status, body, took := receive(t, bufio.NewReader(c), start)
		if status != http.StatusRequestTimeout || took != bodyTimeout {
			t.Errorf("after %s: %d %s", took, status, body)
		}
		<-gone
	})
}

// An answer that does not want the body must not wait for it without end either.
func TestDeadline_unwantedBody(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, dial func() net.Conn) {
		c := dial()
		defer c.Close()
		start := time.Now()
		send(t, c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
		r := bufio.NewReader(c)
		if status, _, took := receive(t, r, start); status != http.StatusOK || took > bodyTimeout {
			t.Errorf("after %s: %d", took, status)
		}
		if _, err := r.ReadByte(); err != io.EOF || time.Since(start) > bodyTimeout+time.Second {
			t.Errorf("after %s the connection is still there: %v", time.Since(start), err)
		}
	})
}

func TestDeadline_headers(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, dial func() net.Conn) {
		c := dial()
		defer c.Close()
		start := time.Now()
		send(t, c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
		if _, err := io.ReadAll(c); err != nil || time.Since(start) != headerTimeout {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

// Headers that go on coming, a byte a second, have no more time.
func TestDeadline_slowHeaders(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, dial func() net.Conn) {
		c := dial()
		defer c.Close()
		start := time.Now()
		send(t, c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
		for range time.Tick(time.Second) {
			if _, err := c.Write([]byte("x")); err != nil {
				break
			}
		}
		if took := time.Since(start); took < headerTimeout || took > headerTimeout+time.Second {
			t.Errorf("the connection was there for %s", took)
		}
	})
}

// A connection on which nothing is asked is closed: early if nothing ever was.
func TestDeadline_idle(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, dial func() net.Conn) {
		silent := dial()
		defer silent.Close()
		start := time.Now()
		if _, err := io.ReadAll(silent); err != nil || time.Since(start) != headerTimeout {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		c := dial()
		defer c.Close()
		r := bufio.NewReader(c)
		send(t, c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if status, _, _ := receive(t, r, time.Now()); status != http.StatusOK {
			t.Fatalf("%d", status)
		}
		start = time.Now()
		if _, err := r.ReadByte(); err != io.EOF || time.Since(start) != idleTimeout {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

// Who does not read an answer keeps the connection no longer than that.
func TestDeadline_unreadAnswer(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, dial func() net.Conn) {
		c := dial()
		defer c.Close()
		start := time.Now()
		send(t, c, "GET /assets/scalar.js HTTP/1.1\r\nHost: localhost\r\n\r\n")
		gone := make(chan struct{})
		go func() { // nothing is read, so only a write can see the connection close
			defer close(gone)
			for range time.Tick(time.Second) {
				if _, err := c.Write([]byte("x")); err != nil {
					return
				}
			}
		}()
		<-gone
		if took := time.Since(start); took < writeTimeout || took > writeTimeout+time.Second {
			t.Errorf("the connection was there for %s", took)
		}
	})
}

// A long poll lasts longer than a body may, on a connection that has just
// brought a body, and it is not ended by the deadline of that.
func TestDeadline_longPoll(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, dial func() net.Conn) {
		c := dial()
		defer c.Close()
		r := bufio.NewReader(c)
		send(t, c, "POST /v1/spaces/s1/push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
		if status, body, _ := receive(t, r, time.Now()); status != http.StatusBadRequest {
			t.Fatalf("%d %s", status, body)
		}
		send(t, c, "GET /v1/spaces/s1/changes HTTP/1.1\r\nHost: localhost\r\n\r\n")
		_, body, _ := receive(t, r, time.Now())
		cursor := answer{t: t, body: body}.text("cursor")

		start := time.Now()
		send(t, c, "GET /v1/spaces/s1/changes?wait=25&cursor=%s HTTP/1.1\r\nHost: localhost\r\n\r\n", cursor)
		status, body, took := receive(t, r, start)
		if status != http.StatusOK || took != models.MaxWait {
			t.Errorf("after %s: %d %s", took, status, body)
		}
		// And the connection is still good.
		send(t, c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if status, _, _ := receive(t, r, time.Now()); status != http.StatusOK {
			t.Errorf("%d", status)
		}
	})
}

// The server must notice a client that leaves, or polls of clients long gone would
// hold up the drain.
func TestDeadline_longPollOfWhoLeaves(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		const target = "/v1/spaces/s1/changes"
		f := b.follow(target)
		cursor := f.answer().text("cursor")
		waiting := b.ask(target + "?wait=25&cursor=" + cursor)
		<-time.After(3 * time.Second)
		synctest.Wait()
		if got := strings.Count(b.log.String(), "path="+target); got != 1 {
			t.Fatalf("%d requests have ended, want the first alone:\n%s", got, b.log)
		}
		_ = waiting.conn.Close()
		synctest.Wait()
		if log := b.log.String(); strings.Count(log, "path="+target) != 2 || !strings.Contains(log, " ms=3000 ") {
			t.Errorf("the poll goes on:\n%s", log)
		}
	})
}
