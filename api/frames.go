package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/guard"
	"github.com/tidemark/tidemark/syncer/presence"
)

// maxFrameBytes leaves a body of the largest size room for what stands around it.
const maxFrameBytes = models.MaxBodyBytes + 1024

var errBinary = errors.New("a frame that is no text")

// A socket carries a stream in text frames, each one JSON object:
//
//	{"event": "changes", "data": {…}}
//
// and takes frames from the client, one after another. What comes while one is carried
// out waits in the network, so a client can't have more memory here than one frame.
type socket struct {
	conn *websocket.Conn
	line *paced
	log  *slog.Logger
	// carryOut carries a frame out, and returns what to answer; nil is nothing.
	carryOut func(ctx context.Context, text []byte) []byte
	sent     atomic.Int64

	// busy is held while a frame is carried out and answered: no bye comes between.
	busy  sync.Mutex
	ended bool
}

// begin: that the handshake was answered says it.
func (*socket) begin() error { return nil }

func (s *socket) page(space string, p *syncer.SharedPage, _ string) error {
	// The text is made once for all streams, and has the beginnings of an event's lines
	// where the documents' own lines end. Those are blanks between tokens of JSON.
	text := bytes.ReplaceAll(bytes.TrimSuffix(p.Text(pageText), []byte("\n")), []byte("\ndata: "), []byte("\n"))
	b := make([]byte, 0, len(text)+128)
	b = append(b, `{"event":"changes","data":{`...)
	if space != "" {
		b = append(strconv.AppendQuote(append(b, `"space":`...), space), ',')
	}
	return s.write(append(append(b, text...), '}'))
}

func (s *socket) presence(e *presence.Event) error {
	return s.write(append(e.AppendJSON([]byte(`{"event":"presence","data":`)), '}'))
}

func (s *socket) tell(e event) error { return s.write(frame(e.name, "", e.data)) }

// frame returns what answers the frame of a ref, if it has one.
func frame(name, ref string, data []byte) []byte {
	b := append([]byte(`{"event":"`), name...)
	b = append(b, '"')
	if ref != "" {
		b = strconv.AppendQuote(append(b, `,"ref":`...), ref) // it is a name
	}
	b = append(b, `,"data":`...)
	return append(append(b, data...), '}')
}

// write writes a frame; the line gives it its time.
func (s *socket) write(text []byte) error {
	s.sent.Add(int64(len(text)))
	if err := s.conn.Write(context.Background(), websocket.MessageText, text); err != nil {
		return fmt.Errorf("%w: %w", errCut, err)
	}
	return nil
}

// beat sends a ping. Nobody waits for the answer but the goroutine that cuts off who
// does not give one.
func (s *socket) beat() error {
	go guard.Do(context.Background(), s.log, "a ping", func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience) // a push may be in front of the answer
		defer cancel()
		if s.conn.Ping(ctx) != nil {
			_ = s.line.Close()
		}
	})
	return nil
}

// end waits for the answer to a frame that is under way, closes, and gives the client
// some seconds to do so too.
func (s *socket) end(cut bool, ended string) {
	if cut {
		_ = s.line.Close()
		return
	}
	s.busy.Lock()
	s.ended = true
	s.busy.Unlock()
	_ = s.conn.Close(closeCodes[ended], ended)
}

func (s *socket) network() net.Conn { return s.line }

func (s *socket) written() int64 { return s.sent.Load() }

// awaitEnd reads frames and has them carried out.
func (s *socket) awaitEnd(gone context.CancelFunc) {
	defer gone()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		text, err := s.read(ctx)
		if errors.Is(err, errBinary) {
			_ = s.conn.Close(websocket.StatusUnsupportedData, "frames are JSON text")
		}
		if err != nil || !s.take(ctx, text) {
			return
		}
	}
}

// read reads a frame. Once it has begun it must come to its end like a body.
func (s *socket) read(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kind, text, err := s.conn.Reader(ctx)
	if err != nil {
		return nil, err
	}
	if kind != websocket.MessageText {
		return nil, errBinary
	}
	timer := time.AfterFunc(bodyTimeout, func() { guard.Do(ctx, s.log, "a slow frame", cancel) })
	defer timer.Stop()
	return io.ReadAll(text)
}

// take has a frame carried out, and reports whether there may be another.
func (s *socket) take(ctx context.Context, text []byte) bool {
	s.busy.Lock()
	defer s.busy.Unlock()
	if s.ended {
		return false
	}
	answer := s.carryOut(ctx, text)
	return answer == nil || s.write(answer) == nil //nolint:contextcheck // the line has deadlines of its own
}
