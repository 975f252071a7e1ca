package api

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/tidemark/tidemark/models"
)

// closesWith is what the API reference says of a bye.
var closesWith = map[string]websocket.StatusCode{
	"access_lost":   websocket.StatusPolicyViolation,
	"token_expired": websocket.StatusPolicyViolation,
	"unavailable":   websocket.StatusTryAgainLater,
	"max_age":       websocket.StatusNormalClosure,
	"shutdown":      websocket.StatusGoingAway,
}

// talk opens a socket.
func (b *bubble) talk(target string) *talking {
	b.t.Helper()
	h := make(http.Header)
	if b.token != "" {
		h.Set("Authorization", "Bearer "+b.token)
	}
	ours := b.connection().conn
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return ours, nil }}}
	conn, _, err := websocket.Dial(b.t.Context(), "http://localhost"+target, &websocket.DialOptions{HTTPHeader: h, HTTPClient: client})
	if err != nil {
		b.t.Fatalf("%s: %v", target, err)
	}
	b.t.Cleanup(func() { _ = conn.CloseNow() })
	return &talking{b.t, b.t.Context(), conn}
}

// talkAs opens a socket with a token, or without one.
func (g *guarded) talkAs(token, target string) *talking {
	g.t.Helper()
	g.token = token
	return g.talk(target)
}

// ticketOf gets a ticket for a token.
func (g *guarded) ticketOf(token, query string) string {
	g.t.Helper()
	g.token = token
	return g.post("/v1/spaces/s1/stream-tickets"+query).want(http.StatusOK, "").text("ticket")
}

// wantPushRefused pushes an edit. There is no Commit here: a push that gets that far is a bug.
func (s *talking) wantPushRefused(status int, code models.Code) {
	s.t.Helper()
	s.send(pushOfOne, "e1", "d9", "r1")
	s.wantError("r1", status, code)
}

// A socket on which nothing happens ends too, however it was opened, and others go on.
func TestRights_quietSocket(t *testing.T) {
	t.Parallel()
	eachLoss(t, func(g *guarded, who string, lose func(), bye string, code models.Code) {
		byTicket := g.talkAs("", socketPath+"?ticket="+g.ticketOf(who, "?write=true"))
		byTicket.wantPage("d1")
		byToken := g.talkAs(who, socketPath)
		byToken.wantPage("d1")
		theirs := g.talkAs(g.bob, socketPath)
		theirs.wantPage("d1")
		<-time.After(time.Second)
		lost := time.Now()
		lose()
		byToken.wantBye(bye, closesWith[bye])
		byTicket.wantBye(bye, closesWith[bye])
		if took := time.Since(lost); took > seenWithin {
			g.t.Errorf("the sockets ended after %v", took)
		}
		if code == models.CodeUnavailable {
			theirs.wantBye(bye, closesWith[bye])
			return
		}
		g.change(2)
		theirs.wantPage("d2")
	})
}

// What is pushed once a revocation was seen is refused, also while the socket itself is
// busy and so has not ended yet.
func TestRights_pushOnASocket(t *testing.T) {
	t.Parallel()
	eachLoss(t, func(g *guarded, who string, lose func(), bye string, code models.Code) {
		byTicket := g.talkAs("", socketPath+"?ticket="+g.ticketOf(who, "?write=true"))
		byToken := g.talkAs(who, socketPath)
		for _, s := range []*talking{byTicket, byToken} {
			s.wantPage("d1")
		}
		synctest.Wait()
		read := make(chan struct{})
		g.store.during(func() { <-read })
		g.change(2) // whose page is not read before the pushes are answered
		synctest.Wait()
		lose()
		<-time.After(seenWithin)
		code = cmp.Or(code, models.CodeForbidden)
		for _, s := range []*talking{byTicket, byToken} {
			s.wantPushRefused(kinds[code].status, code)
			s.send(`{"presence":{"client_id":"c1"},"ref":"r2"}`)
			s.wantError("r2", kinds[code].status, code)
		}
		close(read)
		for _, s := range []*talking{byTicket, byToken} {
			s.wantBye(bye, closesWith[bye])
		}
	})
}

// Who may only read from now on keeps the socket, and is seen, but changes nothing.
func TestRights_socketMayOnlyRead(t *testing.T) {
	t.Parallel()
	inGuardedBubble(t, func(g *guarded) {
		sockets := []*talking{g.talkAs("", socketPath+"?ticket="+g.ticketOf(g.key, "?write=true")), g.talkAs(g.key, socketPath)}
		for _, s := range sockets {
			s.wantPage("d1")
		}
		g.register.narrow(`{"s1":"r","s2":"r"}`)
		<-time.After(seenWithin)
		for _, s := range sockets {
			s.wantPushRefused(http.StatusForbidden, models.CodeForbidden)
		}
		g.change(2)
		for _, s := range sockets {
			s.wantPage("d2")
		}
	})
}

// A ticket for reading stays one, although whose it is may write.
func TestRights_ticketForReadingOnASocket(t *testing.T) {
	t.Parallel()
	inGuardedBubble(t, func(g *guarded) {
		for _, who := range []string{g.alice, g.key} {
			for _, query := range []string{"", "?write=false"} {
				s := g.talkAs("", socketPath+"?ticket="+g.ticketOf(who, query))
				s.wantPage("d1")
				s.wantPushRefused(http.StatusForbidden, models.CodeForbidden)
			}
		}
	})
}

// A socket ends with its token, and until it has, nothing is pushed either.
func TestSocket_tokenExpires(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		b.token = b.mint(2 * time.Second)
		quiet, busy := b.talk(socketPath), b.talk(socketPath)
		quiet.wantPage("d1")
		busy.wantPage("d1")
		began := time.Now()
		quiet.wantBye("token_expired", closesWith["token_expired"])
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("ended after %v", took)
		}
		busy.wantBye("token_expired", closesWith["token_expired"])

		b.token = b.mint(2 * time.Second)
		busy = b.talk(socketPath)
		busy.wantPage("d1")
		synctest.Wait()
		read := make(chan struct{})
		b.store.during(func() { <-read })
		b.change(2)
		<-time.After(2 * time.Second)
		busy.wantPushRefused(http.StatusUnauthorized, models.CodeUnauthenticated)
		close(read)
		busy.wantBye("token_expired", closesWith["token_expired"])
	}, withTokens)
}

func TestSocket_maxAge(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		s := b.talk(socketPath)
		s.wantPage("d1")
		began := time.Now()
		s.wantBye("max_age", closesWith["max_age"]) // pings are answered meanwhile
		if took := time.Since(began); took < 12*time.Minute || took > 18*time.Minute {
			t.Errorf("ended after %v", took)
		}
	})
}

// Who reads all that comes and never answers a ping is as good as gone: a proxy may have
// lost whom it reads for.
func TestSocket_whoAnswersNoPingIsCut(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		silent := b.connection()
		send(t, silent.conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n", socketPath)
		answers := b.talk(socketPath)
		answers.wantPage("d1")
		next := make(chan []byte)
		go func() {
			_, text, _ := answers.conn.Read(answers.ctx)
			next <- text
		}()

		lines := bufio.NewReader(silent.conn)
		response, err := http.ReadResponse(lines, nil)
		if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%v %+v", err, response)
		}
		_ = response.Body.Close()
		text, err := io.ReadAll(lines)
		const ping = "\x89\x01" // the beginning of its frame
		if err != nil || strings.Count(string(text), ping) == 0 || strings.Contains(string(text), `"bye"`) {
			t.Errorf("%v: read %q", err, text)
		}
		if want := heartbeatEvery + 2*patience; silent.after() != want {
			t.Errorf("cut after %v, want %v", silent.after(), want)
		}
		synctest.Wait()
		if n := b.server.streams.count(); n != 1 {
			t.Errorf("%d sockets are left, want who answers", n)
		}
		<-time.After(time.Minute)
		b.change(2)
		if text := <-next; !strings.Contains(string(text), `"d2"`) {
			t.Errorf("who answers was brought %q", text)
		}
	})
}
