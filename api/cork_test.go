package api

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An answer that is larger than net/http's buffer arrives as one.
func TestListener_onePiece(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var edits []string
	for i := range 10 {
		edits = append(edits, fmt.Sprintf(`{"edit_id":"e%d","collection":"todos","id":"t%d","op":"put","base_version":0,"data":{"title":%q}}`, i, i, strings.Repeat("milk ", 60)))
	}
	body := `{"client_id":"c1","edits":[` + strings.Join(edits, ",") + `]}`
	if a := w.ask(http.MethodPost, "/v1/spaces/s1/push", body, "Content-Type", "application/json"); a.status != http.StatusOK || strings.Count(a.body, `"applied"`) != 10 {
		t.Fatal(a.body)
	}
	l := w.listen()
	for _, encoding := range []string{"", "zstd"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(l.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patient))
		for range 2 { // what comes after it is not held back either
			fmt.Fprintf(conn, "GET /v1/spaces/s1/changes HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nAccept-Encoding: %s\r\n\r\n", w.token, encoding)
			whole := make([]byte, 64<<10)
			n, err := conn.Read(whole)
			if err != nil {
				t.Fatal(err)
			}
			if n == 4<<10 {
				t.Errorf("Accept-Encoding %q: what arrives first is what fits net/http's buffer", encoding)
			}
			answer, err := http.ReadResponse(bufio.NewReader(io.MultiReader(bytes.NewReader(whole[:n]), conn)), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if err != nil || answer.StatusCode != http.StatusOK {
				t.Fatalf("%s, %v", answer.Status, err)
			}
			if encoding == "" && len(body) <= 4<<10 {
				t.Errorf("%d bytes are no test", len(body))
			}
		}
	}
}

// tcpPair returns the two ends of a connection; the first is a corkConn.
func tcpPair(t *testing.T) (*corkConn, net.Conn) {
	t.Helper()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := Listener(plain)
	theirs, err := net.Dial("tcp", plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, ok := ours.(*corkConn)
	if !ok {
		t.Fatalf("accepted a %T", ours)
	}
	t.Cleanup(func() {
		_, _, _, _ = listener.Close(), plain.Close(), theirs.Close(), c.Close()
	})
	return c, theirs
}

// What was held back is sent also when the handler fails, and what is written
// afterwards goes out at once.
func TestCorkConn_handlerFails(t *testing.T) {
	t.Parallel()
	c, theirs := tcpPair(t)
	failed := errors.New("failed")
	err := c.inOne(httptest.NewRecorder(), func() error {
		fmt.Fprint(c, "one ")
		fmt.Fprint(c, "two ")
		return failed
	})
	if !errors.Is(err, failed) {
		t.Errorf("inOne: %v, want the handler's error", err)
	}
	fmt.Fprint(c, "three")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(theirs); string(got) != "one two three" || err != nil {
		t.Errorf("arrived: %q, %v", got, err)
	}
}

// After a write that failed the connection is closed: the client would take the
// next answer for the rest of this one.
func TestCorkConn_writeFails(t *testing.T) {
	t.Parallel()
	c, _ := tcpPair(t)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	err := c.inOne(httptest.NewRecorder(), func() error {
		_, err := c.Write([]byte("lost"))
		return err
	})
	if !errors.Is(err, syscall.EPIPE) {
		t.Errorf("inOne: %v, want that the pipe is broken", err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v, want that the connection is closed", err)
	}
}

// Held back is only what is of a size where that pays.
func TestCorkOf(t *testing.T) {
	t.Parallel()
	c, _ := tcpPair(t)
	r := httptest.NewRequestWithContext(withCork(t.Context(), c), http.MethodGet, "/", nil)
	for size, want := range map[int]*corkConn{corkFrom - 1: nil, corkFrom: c, corkUpTo: c, corkUpTo + 1: nil} {
		if got := corkOf(r, size); got != want {
			t.Errorf("corkOf(%d): %v, want %v", size, got, want)
		}
	}
	r.Header.Set("Accept-Encoding", "gzip")
	if corkOf(r, corkFrom) != nil {
		t.Error("an answer that is going to be compressed would be held back")
	}
	if corkOf(httptest.NewRequest(http.MethodGet, "/", nil), corkFrom) != nil {
		t.Error("found where none is")
	}
}
