package api

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/tidemark/tidemark/models"
)

// streams are the streams that this node has open.
type streams struct {
	perSubject, perNode int
	patience            time.Duration
	draining            <-chan struct{}

	mu       sync.Mutex
	open     map[*stream]net.Conn // nil before the answer begins
	subjects map[string]int
	left     *sync.Cond // of mu: a stream has ended
}

func newStreams(draining <-chan struct{}) *streams {
	s := &streams{
		perSubject: models.MaxStreamsPerSubject,
		perNode:    models.MaxStreamsPerNode,
		patience:   patience,
		draining:   draining,
		open:       make(map[*stream]net.Conn),
		subjects:   make(map[string]int),
	}
	s.left = sync.NewCond(&s.mu)
	return s
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
	s.open[st] = nil
	s.subjects[subject]++
	return nil
}

// streamKinds are the kinds of streams, as metrics have them.
var streamKinds = []string{"space", "spaces", "socket"}

func (st *stream) kind() string {
	switch {
	case st.upgrade:
		return "socket"
	case st.several:
		return "spaces"
	}
	return "space"
}

// amount returns how many streams of a kind are open.
func (s *streams) amount(kind string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for st := range s.open {
		if st.kind() == kind {
			n++
		}
	}
	return n
}

// leave takes back an enter.
func (s *streams) leave(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, st)
	s.left.Broadcast()
	if s.subjects[st.who.Subject]--; s.subjects[st.who.Subject] == 0 {
		delete(s.subjects, st.who.Subject)
	}
}

// attach tells of the connection that the stream has taken.
func (s *streams) attach(st *stream, conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[st] = conn
}

// hurry shortens the writes that are under way: a client that does not read must
// not hold up the shutdown.
func (s *streams) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.open {
		if conn != nil {
			_ = conn.SetWriteDeadline(time.Now().Add(lastPatience)) // it has one already
		}
	}
}

// wait waits until no stream is left.
func (s *streams) wait() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.open) > 0 {
		s.left.Wait()
	}
}
