package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/models"
)

// seenWithin is how soon a revocation must be seen.
const seenWithin = 5 * time.Second

// register is where keys and revocations are kept, in memory.
type register struct {
	mu          sync.Mutex
	keys        []models.APIKey
	revocations []models.Revocation
	err         error
}

func (r *register) Access(context.Context) ([]models.APIKey, []models.Revocation, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]models.APIKey{}, r.keys...), append([]models.Revocation{}, r.revocations...), r.err
}

func (*register) ForgetRevocations(context.Context, time.Time, time.Time) error { return nil }

func (r *register) change(do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	do()
}

func (r *register) revoke(kind, name string) {
	r.change(func() {
		r.revocations = append(r.revocations, models.Revocation{Kind: kind, Name: name, NotBefore: time.Now().UnixMilli()})
	})
}

// narrow gives the one key there is other rights.
func (r *register) narrow(spaces string) { r.change(func() { r.keys[0].Spaces = spaces }) }

func (r *register) revokeKeys() { r.change(func() { r.keys = nil }) }

func (r *register) fail() { r.change(func() { r.err = errors.New("away") }) }

// guarded is a bubble whose server asks a register. Token j1 is Alice's, j2 is Bob's,
// and the key is a robot's.
type guarded struct {
	*bubble
	register                *register
	alice, bob, key, cursor string
}

func inGuardedBubble(t *testing.T, test func(*guarded)) {
	t.Helper()
	g := &guarded{register: &register{}}
	inStreamBubble(t, func(b *bubble) {
		g.bubble = b
		g.alice, g.bob = g.mintAs("j1", "alice"), g.mintAs("j2", "bob")
		g.token = g.bob
		g.cursor = b.follow("/v1/spaces/s1/changes").answer().text("cursor")
		test(g)
	}, func(t *testing.T, o *Options) {
		withTokens(t, o)
		key, row, err := auth.NewKey(auth.KeyGrant{Name: "job", Subject: "robot", Spaces: map[string]string{"s1": "rw", "s2": "r"}}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		g.key, g.register.keys = key, []models.APIKey{row}
		directory, err := auth.OpenDirectory(t.Context(), g.register, auth.DirectoryOptions{Logger: o.Logger})
		if err != nil {
			t.Fatal(err)
		}
		o.Verifier.Consult(directory)
		go func() { _ = directory.Run(t.Context()) }() // the bubble waits for it
	})
}

func (g *guarded) mintAs(id, subject string) string {
	g.t.Helper()
	token, err := auth.Mint(g.t.Context(), auth.Options{Secret: testSecret}, auth.Grant{
		ID: id, Subject: subject, Spaces: map[string]string{"s1": "rw", "s2": "r"}, TTL: 10 * time.Hour,
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return token
}

// as asks with a token, or without one.
func (g *guarded) as(token, target string) *raw {
	g.t.Helper()
	g.token = token
	return g.ask(target)
}

// losses are the ways to lose what one had.
var losses = map[string]struct {
	who  func(*guarded) string // whose rights are lost
	lose func(*guarded)
	bye  string
	code models.Code // of what is asked afterwards
}{
	"token revoked":    {func(g *guarded) string { return g.alice }, func(g *guarded) { g.register.revoke("token", "j1") }, "access_lost", models.CodeUnauthenticated},
	"subject revoked":  {func(g *guarded) string { return g.alice }, func(g *guarded) { g.register.revoke("subject", "alice") }, "access_lost", models.CodeUnauthenticated},
	"key revoked":      {func(g *guarded) string { return g.key }, func(g *guarded) { g.register.revokeKeys() }, "access_lost", models.CodeUnauthenticated},
	"key narrowed":     {func(g *guarded) string { return g.key }, func(g *guarded) { g.register.narrow(`{"s2":"r"}`) }, "access_lost", models.CodeSpaceNotFound},
	"key of a part":    {func(g *guarded) string { return g.key }, func(g *guarded) { g.register.narrow(`{"s1":"rw:c","s2":"r:c"}`) }, "access_lost", ""},
	"nothing readable": {func(g *guarded) string { return g.alice }, func(g *guarded) { g.register.fail() }, "unavailable", models.CodeUnavailable},
}

func eachLoss(t *testing.T, test func(g *guarded, who string, lose func(), bye string, code models.Code)) {
	t.Helper()
	for name, loss := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inGuardedBubble(t, func(g *guarded) {
				test(g, loss.who(g), func() { loss.lose(g) }, loss.bye, loss.code)
			})
		})
	}
}

// A stream on which nothing happens ends too, and others go on.
func TestRights_quietStream(t *testing.T) {
	t.Parallel()
	eachLoss(t, func(g *guarded, who string, lose func(), bye string, code models.Code) {
		theirs := g.as(g.bob, streamPath).readHead()
		theirs.wantPage("d1")
		f := g.as(who, streamPath).readHead()
		f.wantPage("d1")
		<-time.After(time.Second)
		lost := time.Now()
		lose()
		f.wantBye(bye)
		if took := time.Since(lost); took > seenWithin {
			g.t.Errorf("the stream ended after %v", took)
		}
		if again := g.as(who, streamPath).readHead(); code == "" {
			again.wantPage("") // of what is left
		} else {
			again.answer().want(kinds[code].status, code)
		}
		if code == models.CodeUnavailable {
			theirs.wantBye(bye)
			return
		}
		g.change(2)
		theirs.wantPage("d2")
	})
}

// What is pushed after a revocation was seen is not shown, on a stream that is woken
// by many things at a time.
func TestRights_busyStream(t *testing.T) {
	t.Parallel()
	eachLoss(t, func(g *guarded, who string, lose func(), bye string, _ models.Code) {
		f := g.as(who, "/v1/stream?space=s1&space=s2").readHead()
		f.wantPage("d1")
		f.wantPage("d1")
		lose()
		lost := time.Now()
		for head := int64(2); ; head++ {
			g.change(head)
			e, err := f.events.Next()
			if err != nil {
				g.t.Fatal(err)
			}
			if e.Name == "bye" {
				if !strings.Contains(e.Data, bye) {
					g.t.Errorf("%s, want %s", e.Data, bye)
				}
				break
			}
			if time.Since(lost) > seenWithin {
				g.t.Fatalf("after %v there came %+v", time.Since(lost), e)
			}
			<-time.After(50 * time.Millisecond)
		}
	})
}

func TestRights_tickets(t *testing.T) {
	t.Parallel()
	eachLoss(t, func(g *guarded, who string, lose func(), bye string, code models.Code) {
		g.token = who
		ticket := g.post("/v1/spaces/s1/stream-tickets").text("ticket")
		f := g.as("", streamPath+"?ticket="+ticket).readHead()
		f.wantPage("d1")
		lose()
		f.wantBye(bye)
		late := g.as("", streamPath+"?ticket="+ticket).readHead()
		if code == models.CodeSpaceNotFound || code == "" {
			late.wantBye(bye) // the ticket itself is good, its space is not
			return
		}
		late.answer().want(kinds[code].status, code)
	})
}

func TestRights_longPoll(t *testing.T) {
	t.Parallel()
	eachLoss(t, func(g *guarded, who string, lose func(), _ string, code models.Code) {
		poll := g.as(who, "/v1/spaces/s1/changes?wait=25&cursor="+g.cursor)
		theirs := g.as(g.bob, "/v1/spaces/s1/changes?wait=25&cursor="+g.cursor)
		synctest.Wait()
		lose()
		want := cmp.Or(code, models.CodeForbidden)
		got := poll.readHead().answer().want(kinds[want].status, want)
		if poll.after() > seenWithin {
			g.t.Errorf("the poll ended after %v", poll.after())
		}
		if code == models.CodeUnavailable {
			got.wantHeader("Retry-After", "2")
			return
		}
		// Bob's goes on waiting, until there is news or the time is over.
		<-time.After(seenWithin)
		g.change(2)
		if got := theirs.readHead().answer().want(http.StatusOK, ""); !strings.Contains(got.body, `"d2"`) {
			g.t.Errorf("the other's poll brought %s", got.body)
		}
		empty := g.as(g.bob, "/v1/spaces/s1/changes?wait=25&cursor="+g.cursor+"&collections=none")
		empty.readHead().answer().want(http.StatusGone, models.CodeCursorExpired)
		g.token = g.bob
		cursor := g.follow("/v1/spaces/s1/changes").answer().text("cursor")
		whole := g.as(g.bob, "/v1/spaces/s1/changes?wait=25&cursor="+cursor)
		<-time.After(time.Second)
		g.register.revoke("token", "of nobody here")
		if got := whole.readHead().answer().want(http.StatusOK, ""); whole.after() != 25*time.Second || !strings.Contains(got.body, `"changes":[]`) {
			g.t.Errorf("after %v came %s", whole.after(), got.body)
		}
	})
}

// The rights are lost, and that is seen, while the page is read that was theirs before.
func TestRights_lostWhileAPageIsRead(t *testing.T) {
	t.Parallel()
	eachLoss(t, func(g *guarded, who string, lose func(), bye string, code models.Code) {
		poll := g.as(who, "/v1/spaces/s1/changes?wait=25&cursor="+g.cursor)
		f := g.as(who, streamPath).readHead()
		f.wantPage("d1")
		synctest.Wait()
		var once sync.Once
		g.store.during(func() {
			once.Do(lose)
			<-time.After(seenWithin)
		})
		g.change(2)
		f.wantBye(bye)
		want := cmp.Or(code, models.CodeForbidden)
		if got := poll.readHead().answer().want(kinds[want].status, want); strings.Contains(got.body, `"d2"`) {
			g.t.Errorf("the poll brought %s", got.body)
		}
	})
}

// The rights are lost while the body is on its way: nothing is changed (there is no
// Commit here that could).
func TestRights_lostWhileABodyIsSent(t *testing.T) {
	t.Parallel()
	const push = `{"client_id":"c1","edits":[{"edit_id":"e1","op":"put","collection":"c","id":"d9","base_version":0,"data":{}}]}`
	const noDocument, readOnly = models.CodeDocumentNotFound, models.CodeForbidden
	for _, r := range []struct {
		method, target, headers, body string
		// narrowed is what is said when the collection is not reached any more, and
		// reading what is said to who may only read now; "" where it may go on.
		narrowed, reading models.Code
	}{
		{http.MethodPost, "/v1/spaces/s1/push", "", push, "", readOnly},
		{http.MethodPut, "/v1/spaces/s1/documents/todos/d9", "If-None-Match: *\r\n", `{"n":1}`, noDocument, readOnly},
		{http.MethodPatch, "/v1/spaces/s1/documents/todos/d9", "If-Match: *\r\n", `{"n":1}`, noDocument, readOnly},
		{http.MethodPut, "/v1/spaces/s1/presence/c9", "", `{"state":{}}`, "", ""},
	} {
		media := "application/json"
		if r.method == http.MethodPatch {
			media = "application/merge-patch+json"
		}
		while := func(g *guarded, who string, lose func(), want models.Code) {
			g.token = who
			slow := g.connection()
			send(g.t, slow.conn, "%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n%s",
				r.method, r.target, who, media, r.headers, len(r.body), r.body[:1])
			synctest.Wait()
			lose()
			<-time.After(seenWithin)
			send(g.t, slow.conn, "%s", r.body[1:])
			if want != "" {
				slow.readHead().answer().want(kinds[want].status, want)
			}
		}
		t.Run(r.method+" "+r.target, func(t *testing.T) {
			t.Parallel()
			eachLoss(t, func(g *guarded, who string, lose func(), _ string, code models.Code) {
				while(g, who, lose, cmp.Or(code, r.narrowed))
			})
			t.Run("may only read", func(t *testing.T) {
				t.Parallel()
				inGuardedBubble(t, func(g *guarded) {
					while(g, g.key, func() { g.register.narrow(`{"s1":"r","s2":"r"}`) }, r.reading)
				})
			})
		})
	}
}

// A stream of a key ends when the key does, also if it was opened by a ticket.
func TestRights_keyExpires(t *testing.T) {
	t.Parallel()
	inGuardedBubble(t, func(g *guarded) {
		const good = seenWithin + 3*time.Second
		expires := time.Now().Add(good).UnixMilli()
		g.register.change(func() { g.register.keys[0].ExpiresAt = &expires })
		<-time.After(seenWithin)
		g.token = g.key
		ticket := g.post("/v1/spaces/s1/stream-tickets").text("ticket")
		byKey := g.as(g.key, streamPath).readHead()
		byTicket := g.as("", streamPath+"?ticket="+ticket).readHead()
		byKey.wantPage("d1")
		byTicket.wantPage("d1")
		for _, f := range []*raw{byKey, byTicket} {
			f.wantBye("token_expired")
			if f.after() > good-seenWithin {
				t.Errorf("it ended after %v", f.after())
			}
		}
		g.as("", streamPath+"?ticket="+ticket).readHead().answer().want(http.StatusUnauthorized, models.CodeUnauthenticated)
		g.as(g.key, "/v1/spaces/s1/changes").readHead().answer().want(http.StatusUnauthorized, models.CodeUnauthenticated)
	})
}

// While it can't be read what is revoked, what needs no token works, and nothing else.
func TestRights_unreadable(t *testing.T) {
	t.Parallel()
	inGuardedBubble(t, func(g *guarded) {
		g.register.fail()
		<-time.After(seenWithin)
		for _, r := range Routes() {
			if r.Path == "/" || r.Path == "/assets/{file}" {
				continue
			}
			g.token = g.bob
			if r.Method == http.MethodGet && r.Path == "/v1/spaces/{space}/stream" {
				g.token = g.key // one route stands for keys
			}
			got := g.send(r.Method, filled.Replace(r.Path)).readHead().answer()
			switch {
			case r.Path == "/readyz" || !r.Public:
				got.want(http.StatusServiceUnavailable, models.CodeUnavailable)
			default:
				got.want(http.StatusOK, "")
			}
		}
		g.register.change(func() { g.register.err = nil })
		<-time.After(seenWithin)
		g.as(g.bob, "/v1/spaces/s1/changes").readHead().answer().want(http.StatusOK, "")
		g.as("", "/readyz").readHead().answer().want(http.StatusOK, "")
	})
}

func TestAudit_denied(t *testing.T) {
	t.Parallel()
	inGuardedBubble(t, func(g *guarded) {
		reader := g.mint(time.Hour)
		before := g.log.Len()
		for _, r := range []struct{ method, target, token, want string }{
			{http.MethodGet, "/v1/spaces/s1/changes", "", `code=unauthenticated subject="" space=""`},
			{http.MethodGet, "/v1/nowhere", g.alice + "x", `code=unauthenticated subject="" space=""`},
			{http.MethodGet, "/v1/spaces/s3/changes", g.alice, `code=space_not_found subject=alice space=s3`},
			{http.MethodGet, "/v1/heads?space=s1,s4", g.alice, `code=space_not_found subject=alice space=s4`},
			{http.MethodGet, "/v1/spaces/" + g.key + "/changes", g.key, `code=space_not_found subject=robot space=""`},
			{http.MethodGet, "/v1/heads?space=" + g.alice, g.alice, `code=space_not_found subject=alice space=""`},
			{http.MethodPost, "/v1/spaces/s1/push", reader, `code=forbidden subject=alice space=s1`},
			{http.MethodGet, streamPath + "?ticket=" + g.alice, "", `code=unauthenticated subject="" space=""`},
			{http.MethodGet, "/v1/spaces/s1/documents/c/none", g.alice, ""},
			{http.MethodGet, "/v1/nowhere", g.alice, ""},
		} {
			g.token = r.token
			g.send(r.method, r.target).readHead().answer()
			synctest.Wait()
			var audit []string
			for line := range strings.Lines(g.log.String()[before:]) {
				if strings.Contains(line, "msg=audit") {
					audit = append(audit, line)
				}
			}
			before = g.log.Len()
			switch {
			case r.want == "" && len(audit) == 0:
			case len(audit) != 1 || r.want == "" || !strings.Contains(audit[0], "action=request_denied "+r.want+" request_id=") || !strings.Contains(audit[0], " address="):
				g.t.Errorf("%s %s: %q, want one line with %q", r.method, r.target, audit, r.want)
			case strings.Contains(audit[0], g.key) || strings.Contains(audit[0], g.alice):
				g.t.Errorf("%s", audit[0])
			}
		}
	})
}
