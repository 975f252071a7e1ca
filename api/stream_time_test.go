package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/memory"
	"github.com/tidemark/tidemark/tests/eventstream"
)

// oneDocument is a store in memory, of which every space has one document, at
// its head.
type oneDocument struct {
	syncer.Store
	mu   sync.Mutex
	head int64
	text string
	err  error
	// reading is called while a page is read. It may be nil.
	reading func()
}

func (d *oneDocument) set(head int64, text string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.head, d.text, d.err = head, text, err
}

// during has something happen while the next pages are read.
func (d *oneDocument) during(reading func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reading = reading
}

func (d *oneDocument) Changes(_ context.Context, _ string, r syncer.Range) (syncer.Run, error) {
	d.mu.Lock()
	reading := d.reading
	d.mu.Unlock()
	if reading != nil {
		reading()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	run := syncer.Run{Through: d.head, Space: models.Space{Head: d.head, Epoch: 1}}
	if d.head > r.After && len(r.Collections) == 0 {
		run.Changes = []models.Change{{Collection: "c", ID: fmt.Sprint("d", d.head), Version: d.head, Data: []byte(d.text)}}
	}
	return run, d.err
}

func (d *oneDocument) Heads(_ context.Context, names []string) ([]models.Space, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	heads := make([]models.Space, len(names))
	for i := range heads {
		heads[i] = models.Space{Head: d.head, Epoch: 1}
	}
	return heads, d.err
}

func (*oneDocument) AnySpace(context.Context, float64) (models.Space, error) {
	return models.Space{}, nil
}

func (*oneDocument) Now(context.Context) (time.Time, error) { return time.Now(), nil }

func (*oneDocument) Spaces(context.Context, string, int) ([]models.Space, error) { return nil, nil }

func (*oneDocument) Ping(context.Context) error { return nil }

func (*oneDocument) Inbox(context.Context, syncer.InboxRange) ([]models.Inbox, error) {
	return nil, nil
}

// bubble is a whole HTTP server whose time moves only while everybody waits.
type bubble struct {
	t       *testing.T
	store   *oneDocument
	broker  *memory.Broker
	server  *Server
	http    *http.Server
	log     *strings.Builder
	connect chan net.Conn
	token   string
}

func inStreamBubble(t *testing.T, test func(b *bubble), change ...func(*testing.T, *Options)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		defer end()
		b := &bubble{
			t: t, store: &oneDocument{head: 1, text: "{}"}, broker: memory.New(), log: &strings.Builder{}, connect: make(chan net.Conn),
		}
		engine := syncer.New(settled{b.store}, b.broker, syncer.Options{TailMemory: -1})
		opts := Options{Engine: engine, Logger: slog.New(slog.NewTextHandler(b.log, nil))}
		for _, c := range change {
			c(t, &opts)
		}
		var err error
		if b.server, err = New(opts); err != nil {
			t.Fatal(err)
		}
		b.http = b.server.HTTPServer()
		var running sync.WaitGroup
		running.Go(func() { _ = engine.Run(ctx) })
		running.Go(func() { _ = b.http.Serve(&pipes{b.connect, make(chan struct{})}) })
		synctest.Wait() // the broker's first poke says that anything may have changed
		test(b)
		engine.Drain()
		_ = b.http.Close()
		b.server.Wait()
		end()
		running.Wait()
	})
}

func (s *streams) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// change moves the head and tells the streams, as a push does.
func (b *bubble) change(head int64) {
	b.store.set(head, "{}", nil)
	_ = b.broker.Publish(b.t.Context(), syncer.Message{Space: "s1", Version: head})
}

// raw is a stream as it is on the line.
type raw struct {
	*following
	bubble *bubble
	conn   net.Conn
	lines  *bufio.Reader
	began  time.Time
}

// ask sends a request for a stream and reads nothing.
func (b *bubble) ask(target string) *raw {
	b.t.Helper()
	return b.send(http.MethodGet, target)
}

// post sends a request and reads its answer.
func (b *bubble) post(target string) answer {
	b.t.Helper()
	r := b.send(http.MethodPost, target)
	return r.readHead().answer()
}

func (b *bubble) send(method, target string) *raw {
	b.t.Helper()
	r := b.connection()
	auth := ""
	if b.token != "" {
		auth = "Authorization: Bearer " + b.token + "\r\n"
	}
	send(b.t, r.conn, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", method, target, auth)
	return r
}

// connection is one over which nothing was sent yet.
func (b *bubble) connection() *raw {
	b.t.Helper()
	ours, theirs := net.Pipe()
	b.t.Cleanup(func() { _ = ours.Close() })
	b.connect <- theirs
	return &raw{bubble: b, conn: ours, lines: bufio.NewReader(ours), began: time.Now()}
}

// follow asks and reads the head of the answer.
func (b *bubble) follow(target string) *raw {
	b.t.Helper()
	return b.ask(target).readHead()
}

// readHead reads the head of the answer.
func (r *raw) readHead() *raw {
	r.bubble.t.Helper()
	response, err := http.ReadResponse(r.lines, nil)
	if err != nil {
		r.bubble.t.Fatal(err)
	}
	r.following = &following{t: r.bubble.t, response: response, events: eventstream.NewReader(response.Body)}
	r.lines = bufio.NewReader(response.Body)
	return r
}

func (r *raw) after() time.Duration { return time.Since(r.began) }

// wantLine wants a line, some time after the stream began; blank lines and the
// opening do not count.
func (r *raw) wantLine(want string, after time.Duration) {
	r.t.Helper()
	for {
		line, err := r.lines.ReadString('\n')
		if err != nil {
			r.t.Fatalf("%q did not come: %v", want, err)
		}
		if line == "\n" || line == ": tidemark\n" || strings.HasPrefix(line, "retry: ") {
			continue
		}
		if !strings.HasPrefix(line, want) || r.after() != after {
			r.t.Fatalf("after %v came %q, want %q after %v", r.after(), line, want, after)
		}
		return
	}
}

func TestStream_heartbeat(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		f := b.follow(streamPath)
		f.wantLine("event: changes", 0)
		f.wantLine("data: ", 0)
		f.wantLine("id: ", 0)
		f.wantLine(":\n", 15*time.Second)
		f.wantLine(":\n", 30*time.Second)
		time.AfterFunc(10*time.Second, func() { b.change(2) })
		f.wantLine("event: changes", 40*time.Second)
		f.wantLine("data: ", 40*time.Second)
		f.wantLine("id: ", 40*time.Second)
		f.wantLine(":\n", 55*time.Second) // counted from the last that was sent
	})
}

// A poke may be lost; what it would have told is found with the next heartbeat, even
// by an engine without tails, which nothing refreshes.
func TestStream_lostPoke(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		f := b.follow(streamPath)
		f.wantPage("d1")
		synctest.Wait() // nobody is looking any more
		b.store.set(2, "{}", nil)
		if f.wantPage("d2"); f.after() != heartbeatEvery {
			t.Errorf("seen after %v", f.after())
		}
	})
}

// What is outside of the filter moves the cursor, but not at once.
func TestStream_cursorMovesUnderAFilter(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		f := b.follow(streamPath + "?collections=other")
		first := f.wantPage("")
		for head := range int64(10) {
			b.change(2 + head)
			synctest.Wait()
		}
		moved := f.wantPage("")
		if f.after() < heartbeatEvery || moved.Cursor == first.Cursor || moved.Version != 11 {
			t.Errorf("after %v: %+v, before it %+v", f.after(), moved, first)
		}
	})
}

func TestStream_maxAge(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		ages := make(map[time.Duration]bool)
		for range 5 {
			f := b.follow(streamPath)
			f.wantPage("d1")
			f.wantBye("max_age")
			if f.after() < 12*time.Minute || f.after() > 18*time.Minute {
				t.Errorf("ended after %v", f.after())
			}
			ages[f.after()] = true
		}
		if len(ages) < 5 {
			t.Errorf("streams end in step: %v", ages)
		}
	})
}

// withTokens makes the server want tokens.
func withTokens(t *testing.T, o *Options) {
	t.Helper()
	var err error
	if o.Verifier, err = auth.New(t.Context(), auth.Options{Secret: testSecret}); err != nil {
		t.Fatal(err)
	}
}

// mint makes a token for s1 and s2 that lives for ttl.
func (b *bubble) mint(ttl time.Duration) string {
	b.t.Helper()
	token, err := auth.Mint(b.t.Context(), auth.Options{Secret: testSecret}, auth.Grant{
		Subject: "alice", Spaces: map[string]string{"s1": "r", "s2": "r"}, TTL: ttl,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return token
}

func TestStream_tokenExpires(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		b.token = b.mint(2 * time.Second)
		f := b.follow(streamPath)
		f.wantPage("d1")
		f.wantBye("token_expired")
		if f.after() != 2*time.Second {
			t.Errorf("ended after %v", f.after())
		}
		// Requests still take the token, for the clocks may differ.
		f = b.follow("/v1/spaces/s1/changes")
		f.answer().want(http.StatusOK, "")
		f = b.follow(streamPath)
		f.answer().want(http.StatusUnauthorized, models.CodeUnauthenticated)
	}, withTokens)
}

// The rights are looked at with every wake-up, before anything is sent.
func TestStream_rightsAreReadAgain(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		b.token = b.mint(time.Hour)
		f := b.follow("/v1/stream?space=s1&space=s2")
		f.wantPage("d1")
		f.wantPage("d1")
		synctest.Wait()
		b.server.streams.mu.Lock()
		for st := range b.server.streams.open {
			st.who = auth.NewReader("alice", map[string][]string{"s1": nil}, st.who.Expires)
		}
		b.server.streams.mu.Unlock()
		b.change(2)
		f.wantBye("access_lost")
	}, withTokens)
}

func TestStream_databaseGoesAway(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		f := b.follow(streamPath)
		f.wantPage("d1")
		b.store.set(1, "{}", errors.New("the secret of the driver"))
		if e := f.wantBye("unavailable"); strings.Contains(e.Data, "secret") {
			t.Errorf("%s", e.Data)
		}
		synctest.Wait()
		if strings.Count(b.log.String(), "the secret of the driver") != 1 {
			t.Errorf("the log: %s", b.log)
		}
	})
}

func TestStream_whoDoesNotReadIsCut(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		f := b.ask(streamPath)
		synctest.Wait()
		if b.server.streams.count() != 1 {
			t.Fatalf("%d streams are open", b.server.streams.count())
		}
		<-time.After(patience - time.Nanosecond)
		synctest.Wait()
		if b.server.streams.count() != 1 {
			t.Error("cut before its time")
		}
		<-time.After(time.Nanosecond)
		synctest.Wait()
		if b.server.streams.count() != 0 {
			t.Error("not cut")
		}
		if text, err := io.ReadAll(f.lines); err != nil || len(text) != 0 {
			t.Errorf("read %q, %v", text, err)
		}
	})
}

// T12: a thousand clients that never read. They are cut, nothing of them stays
// (the bubble does not end with a goroutine left over), and who reads sees all.
func TestStream_aThousandThatNeverRead(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		const silent = 1000
		for range silent {
			b.ask(streamPath)
		}
		reading := b.follow(streamPath)
		reading.wantPage("d1")
		for head := int64(2); head < 15; head++ {
			<-time.After(time.Second)
			b.change(head)
			reading.wantPage(fmt.Sprint("d", head))
			want := silent + 1
			if reading.after() > patience {
				want = 1
			}
			if n := b.server.streams.count(); n != want && reading.after() != patience {
				t.Errorf("after %v %d streams are open, want %d", reading.after(), n, want)
			}
		}
	})
}

// A line may be as slow as it likes, as long as it carries something.
func TestStream_whoReadsSlowlyIsNot(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		b.store.set(1, `{"a":"`+strings.Repeat("x", models.MaxDocumentBytes-10)+`"}`, nil)
		f := b.ask(streamPath)
		var text []byte
		for piece := make([]byte, 2*writeStep); len(text) < models.MaxDocumentBytes-len(piece); {
			<-time.After(patience - time.Second)
			n, err := io.ReadFull(f.conn, piece)
			if err != nil {
				t.Fatalf("cut after %d bytes, %v: %v", len(text), f.after(), err)
			}
			text = append(text, piece[:n]...)
		}
		for !strings.Contains(string(text), "\nid: ") {
			rest, err := f.lines.ReadBytes('\n')
			if err != nil {
				t.Fatalf("cut after %d bytes, %v: %v", len(text), f.after(), err)
			}
			text = append(text, rest...)
		}
		if f.after() < 2*patience {
			t.Errorf("%d bytes within %v: that was not slow", len(text), f.after())
		}
	})
}

// A client that does not read must not hold up the shutdown.
func TestStream_shutdownDoesNotWait(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		b.ask(streamPath) // never reads
		reading := b.follow(streamPath)
		reading.wantPage("d1")
		synctest.Wait()
		began := time.Now()
		b.server.engine.Drain()
		done := make(chan error)
		go func() {
			err := b.http.Shutdown(b.t.Context())
			b.server.Wait()
			done <- err
		}()
		reading.wantBye("shutdown")
		if took := time.Since(began); took != 0 {
			t.Errorf("said after %v", took)
		}
		if err := <-done; err != nil || time.Since(began) > lastPatience+time.Second {
			t.Errorf("shutdown took %v: %v", time.Since(began), err)
		}
	})
}

// Nor does one that reads, but slowly: all that it is still sent has one deadline.
func TestStream_shutdownDoesNotWaitForASlowReader(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		b.store.set(1, `{"a":"`+strings.Repeat("x", models.MaxDocumentBytes-10)+`"}`, nil)
		f := b.ask(streamPath)
		piece := make([]byte, writeStep)
		if _, err := io.ReadFull(f.conn, piece); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the next step waits to be read
		began := time.Now()
		b.server.engine.Drain()
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.server.Wait()
		}()
		for err := error(nil); err == nil; _, err = io.ReadFull(f.conn, piece) {
			<-time.After(lastPatience - time.Millisecond)
		}
		<-done
		if took := time.Since(began); took > 3*lastPatience {
			t.Errorf("the shutdown took %v", took)
		}
	})
}

// A stream of many spaces doesn't bring news of all of them first.
func TestStreamSpaces_drainBetweenPages(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		f := b.follow("/v1/stream?space=s1,s2,s3,s4,s5,s6,s7,s8")
		f.wantPage("d1")
		synctest.Wait() // the rest of this page waits to be read, or the next one
		b.server.engine.Drain()
		for more := 0; ; more++ {
			e, err := f.events.Next()
			if err != nil {
				t.Fatal(err)
			}
			if e.Name == "bye" {
				break
			}
			if more == 1 {
				t.Fatalf("after the drain came %+v", e)
			}
		}
		f.wantEnd()
	})
}
