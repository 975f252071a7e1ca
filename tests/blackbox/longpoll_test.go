package blackbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/harness"
)

const longest = 25 // seconds that a poll may wait

// poll is a long poll of the space room, under way.
type poll struct {
	written chan struct{} // closed when the request is on the wire
	done    chan struct{} // closed when it is answered
	began   time.Time
	answer  harness.Answer
	page    harness.Page
	err     error
}

func startPoll(t *testing.T, client *harness.Client, cursor string, wait int, headers http.Header) *poll {
	t.Helper()
	p := &poll{written: make(chan struct{}), done: make(chan struct{}), began: time.Now()}
	ctx := onceWritten(t.Context(), func() { close(p.written) })
	go func() {
		defer close(p.done)
		path := fmt.Sprintf("/v1/spaces/room/changes?cursor=%s&wait=%d", cursor, wait)
		p.answer, p.err = client.Do(ctx, http.MethodGet, path, headers, nil)
		if p.err == nil && p.answer.Status == http.StatusOK {
			p.err = p.answer.Decode(&p.page)
		}
	}()
	select {
	case <-p.written:
	case <-p.done:
		t.Fatalf("long poll: %v", p.err)
	}
	return p
}

// onceWritten has written called when a request of the context is on the wire;
// once, though net/http may send a GET again.
func onceWritten(ctx context.Context, written func()) context.Context {
	once := sync.OnceFunc(written)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { once() },
	})
}

// end waits for the answer, which must come before the poll has waited its time.
func (p *poll) end(t *testing.T) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(time.Until(p.began.Add(longest * time.Second))):
		t.Fatal("the long poll was not woken")
	}
}

func (p *poll) mustEnd(t *testing.T) {
	t.Helper()
	p.end(t)
	if p.err != nil {
		t.Fatal(p.err)
	}
}

func TestChanges_waitIsEndedByAPush(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, harness.Options{Store: store})
		client := server.Client("")
		var cursor string
		for round := range 20 {
			page, err := client.Pull(t.Context(), "room", harness.Pull{Cursor: cursor})
			if err != nil {
				t.Fatal(err)
			}
			waiting := startPoll(t, client, page.Cursor, longest, nil)
			version := mustPush(t, client, "room", put(fmt.Sprint("e", round), fmt.Sprint("d", round), 0, `{}`)).Version
			waiting.mustEnd(t)
			if len(waiting.page.Changes) != 1 || waiting.page.Changes[0].Version != version {
				t.Fatalf("round %d: the poll brought %+v, want version %d", round, waiting.page, version)
			}
			cursor = waiting.page.Cursor
		}
	})
}

// TestChanges_waitIsNotEndedByOtherPushes: what happens in another space is no news.
func TestChanges_waitIsNotEndedByOtherPushes(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, harness.Options{Store: store})
		client := server.Client("")
		page, err := client.Pull(t.Context(), "room", harness.Pull{})
		if err != nil {
			t.Fatal(err)
		}
		waiting := startPoll(t, client, page.Cursor, 1, nil)
		mustPush(t, client, "another-room", put("e1", "d1", 0, `{}`))
		waiting.mustEnd(t)
		if waited := time.Since(waiting.began); waited < time.Second {
			t.Errorf("the poll ended after %v, want the second it was to wait", waited)
		}
		if len(waiting.page.Changes) != 0 || waiting.page.Cursor != page.Cursor || waiting.page.HasMore {
			t.Errorf("nothing is new, but the page is %+v (the cursor was %s)", waiting.page, page.Cursor)
		}
	})
}

func TestChanges_waitEndsWith304OnlyIfAsked(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, harness.Options{Store: store})
		client := server.Client("")
		mustPush(t, client, "room", put("e1", "d1", 0, `{}`))
		first, err := client.Do(t.Context(), http.MethodGet, "/v1/spaces/room/changes", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		var page harness.Page
		if err := first.Decode(&page); err != nil {
			t.Fatal(err)
		}
		etag := first.Header.Get("ETag")
		for want, headers := range map[int]http.Header{
			http.StatusNotModified: {"If-None-Match": {etag}},
			http.StatusOK:          {},
		} {
			waiting := startPoll(t, client, page.Cursor, 1, headers)
			waiting.mustEnd(t)
			if waiting.answer.Status != want {
				t.Errorf("If-None-Match %q is answered with %d, want %d", headers.Get("If-None-Match"), waiting.answer.Status, want)
			}
		}
		waiting := startPoll(t, client, page.Cursor, longest, http.Header{"If-None-Match": {etag}})
		mustPush(t, client, "room", put("e2", "d2", 0, `{}`))
		waiting.mustEnd(t)
		if waiting.answer.Status != http.StatusOK || len(waiting.page.Changes) != 1 {
			t.Errorf("news is answered with %d %+v", waiting.answer.Status, waiting.page)
		}
	})
}

// TestServe_drainEndsLongPolls: SIGTERM answers what waits and ends the server
// long before the polls would have ended by themselves.
func TestServe_drainEndsLongPolls(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, harness.Options{Store: store})
		page := mustPush(t, server.Client(""), "room", put("e1", "d1", 0, `{}`)).Page
		// A request that is on the wire but not yet read when the drain begins is
		// net/http's to drop, and from here nobody sees whether it was read. So
		// there are rounds, until in one of them all polls were the server's.
		for round := 1; !drainAnswersAll(t, server, page.Version); round++ {
			if round == 20 {
				t.Fatal("in none of 20 drains all long polls were answered")
			}
			server.Restart()
		}
	})
}

func drainAnswersAll(t *testing.T, server *harness.Server, version int64) bool {
	t.Helper()
	client := server.Client("")
	page, err := client.Pull(t.Context(), "room", harness.Pull{})
	if err != nil {
		t.Fatal(err)
	}
	var polls []*poll
	for range 5 {
		// Connections of their own: on one that was used before, the client would
		// send a dropped request again by itself.
		polls = append(polls, startPoll(t, server.Client(""), page.Cursor, longest, nil))
	}
	if _, err := server.Client("").Do(t.Context(), http.MethodGet, "/healthz", nil, nil); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	answered := 0
	for _, waiting := range polls {
		waiting.end(t)
		if errors.Is(waiting.err, io.EOF) || errors.Is(waiting.err, syscall.ECONNRESET) {
			continue
		}
		if waiting.err != nil {
			t.Fatal(waiting.err)
		}
		answered++
		if waiting.answer.Status != http.StatusOK || waiting.page.Version != version || waiting.page.Cursor != page.Cursor {
			t.Errorf("a drained poll is answered with %d %+v", waiting.answer.Status, waiting.page)
		}
	}
	return answered == len(polls)
}
