package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/models"
)

func (w *world) mintAs(subject string) string {
	w.t.Helper()
	token, err := auth.Mint(context.Background(), auth.Options{Secret: testSecret}, auth.Grant{
		Subject: subject, Spaces: map[string]string{"s1": "rw"}, TTL: time.Hour,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

func TestStream_limits(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	w.server.streams.perNode = models.MaxStreamsPerSubject + 2
	var open []*following
	follow := func(subject string) {
		t.Helper()
		w.token = w.mintAs(subject)
		f := w.follow(streamPath)
		f.wantPage("")
		open = append(open, f)
	}
	for range models.MaxStreamsPerSubject {
		follow("alice")
	}
	w.connect(streamPath).answer().want(http.StatusTooManyRequests, models.CodeTooManyStreams).wantHeader("Retry-After", "10")
	ticket := w.ticketFor("/v1/spaces/s1/stream-tickets")
	w.token = ""
	w.connect(streamPath+"?ticket="+ticket).answer().want(http.StatusTooManyRequests, models.CodeTooManyStreams)
	follow("bob")
	follow("carol")
	w.token = w.mintAs("dave")
	w.connect(streamPath).answer().want(http.StatusServiceUnavailable, models.CodeUnavailable).wantHeader("Retry-After", "10")

	// Who leaves makes room, for himself and for others.
	open[0].stop()
	w.becomes(len(open) - 1)
	follow("alice")
	for _, f := range open {
		f.stop()
	}
	w.becomes(0)
	if n := len(w.server.streams.subjects); n != 0 {
		t.Errorf("%d subjects are still counted", n)
	}
}

// becomes waits until so many streams are open.
func (w *world) becomes(want int) {
	w.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patient); w.server.streams.count() != want; {
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("%d streams are open, want %d", w.server.streams.count(), want)
		}
	}
}

// In development all are one subject.
func TestStream_noLimitInDevelopment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, development).listen()
	for range models.MaxStreamsPerSubject + 5 {
		w.follow(streamPath).wantPage("")
	}
}

// A client over TCP that stops reading is cut off, without harm to others, and
// comes back with its cursor to all that it has missed.
func TestStream_slowReader(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen(func(s *http.Server) {
		s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			if err := c.(*corkConn).SetWriteBuffer(4 << 10); err != nil {
				t.Error(err)
			}
			return ctx
		}
	})
	w.server.streams.patience = 500 * time.Millisecond
	quick := w.follow(streamPath)
	quick.wantPage("")

	slow := w.dialNarrow()
	f := slow.follow(streamPath)
	seen := []string{f.wantPage("").ids()}
	cursor := f.events.Last().ID
	// More than the sockets between them hold.
	const documents, size = 20, 20_000
	for i := range documents {
		w.ask(http.MethodPut, fmt.Sprint("/v1/spaces/s1/documents/c/d", i), fmt.Sprintf(`{"a":%q}`, strings.Repeat("x", size)),
			"If-None-Match", "*").want(http.StatusCreated, "")
		quick.wantPage(fmt.Sprint("d", i))
	}
	w.becomes(1) // the slow one is gone

	var err error
	for err == nil { // what was on its way is still good
		e, next := f.events.Next()
		if err = next; err == nil && e.Name == "changes" {
			cursor = e.ID
			seen = append(seen, pageOf(t, e.Data).ids())
		}
	}
	if errors.Is(err, io.EOF) {
		t.Error("a stream that was cut off looks whole")
	}
	again := w.follow(streamPath+"?cursor="+cursor, "Accept", "text/event-stream")
	for {
		p := again.page()
		seen = append(seen, p.ids())
		if !p.HasMore {
			break
		}
	}
	got := strings.Fields(strings.Join(seen, " "))
	for i := range documents {
		if i >= len(got) || got[i] != fmt.Sprint("d", i) {
			t.Fatalf("seen %v, want d0 to d%d once each", got, documents-1)
		}
	}
	if len(got) != documents {
		t.Errorf("seen %v", got)
	}
}

// dialNarrow is a client whose connections take little before they are read.
func (l *listening) dialNarrow() *listening {
	narrow := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err == nil {
			err = c.(*net.TCPConn).SetReadBuffer(4 << 10)
		}
		return c, err
	}}
	l.t.Cleanup(narrow.CloseIdleConnections)
	return &listening{l.world, l.url, &http.Client{Transport: narrow}, l.close}
}
