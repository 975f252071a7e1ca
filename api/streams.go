package api

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/tidemark/tidemark/models"
)

const (
	// patience is how long one step of a write may take. A client that does not
	// read for that long is cut off; it loses nothing, because it comes back with
	// its cursor.
	patience = 10 * time.Second
	// lastPatience is patience while the server shuts down.
	lastPatience = time.Second
	// writeStep is what one step writes. A slow line carries a page of any size
	// as long as it carries this much within patience.
	writeStep = 32 << 10
)

// streams are the streams that this node has open.
type streams struct {
	perSubject, perNode int
	patience            time.Duration
	draining            <-chan struct{}

	mu       sync.Mutex
	open     map[*stream]struct{}
	subjects map[string]int
}

// enter counts a stream, unless there are too many.
func (s *streams) enter(st *stream) error {
	select {
	case <-s.draining:
		return models.Errorf(models.CodeUnavailable, "The server is shutting down.")
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	subject := st.who.Subject
	// In development everybody has the same subject, and nothing is at stake.
	if !st.server.development() && s.subjects[subject] >= s.perSubject {
		return &models.Error{
			Code:       models.CodeTooManyStreams,
			Detail:     fmt.Sprintf("This subject has %d streams open already. Close one, or poll.", s.perSubject),
			RetryAfter: 10 * time.Second,
		}
	}
	if len(s.open) >= s.perNode {
		return &models.Error{
			Code:       models.CodeUnavailable,
			Detail:     fmt.Sprintf("This node has %d streams open already. Try another one, or poll.", s.perNode),
			RetryAfter: 10 * time.Second,
		}
	}
	if s.open == nil {
		s.open, s.subjects = make(map[*stream]struct{}), make(map[string]int)
	}
	s.open[st] = struct{}{}
	s.subjects[subject]++
	return nil
}

// leave takes back an enter. After it nothing but the handler touches the
// stream's connection.
func (s *streams) leave(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, st)
	if s.subjects[st.who.Subject]--; s.subjects[st.who.Subject] == 0 {
		delete(s.subjects, st.who.Subject)
	}
}

// hurry shortens the writes that are under way: a client that does not read must
// not hold up the shutdown.
func (s *streams) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for st := range s.open {
		_ = st.out.control.SetWriteDeadline(time.Now().Add(lastPatience)) // it has one already
	}
}

// errCut is the error of a write that failed: the client is gone, or too slow.
var errCut = errors.New("the client does not read")

// An eventWriter writes to a client and waits for it only so long.
type eventWriter struct {
	streams *streams
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s *streams) writer(w http.ResponseWriter) *eventWriter {
	return &eventWriter{s, w, http.NewResponseController(w)}
}

// write sends parts as one. Error: errCut.
func (w *eventWriter) write(parts ...[]byte) error {
	left := 0 // of the present step
	for _, part := range parts {
		for len(part) > 0 {
			if left == 0 {
				if err := w.wait(); err != nil {
					return err
				}
				left = writeStep
			}
			n, err := w.w.Write(part[:min(len(part), left)])
			if err != nil {
				return fmt.Errorf("%w: %w", errCut, err)
			}
			part, left = part[n:], left-n
		}
	}
	if err := w.control.Flush(); err != nil {
		return fmt.Errorf("%w: %w", errCut, err)
	}
	return nil
}

// wait gives the next step its time. The deadline that http.Server.WriteTimeout
// has set for the whole answer is gone with it.
func (w *eventWriter) wait() error {
	err := w.control.SetWriteDeadline(time.Now().Add(w.streams.patience))
	select {
	case <-w.streams.draining: // asked last: if it happens now, hurry comes after
		err = w.control.SetWriteDeadline(time.Now().Add(lastPatience))
	default:
	}
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("%w: %w", errCut, err)
	}
	return nil
}
