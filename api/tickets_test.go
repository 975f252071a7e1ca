package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/models"
)

// ticketFor gets a ticket.
func (w *world) ticketFor(path string) string {
	w.t.Helper()
	got := w.ask(http.MethodPost, path, "").want(http.StatusOK, "").wantHeader("Cache-Control", "private, no-store")
	if got.member("expires_in_s") != "60" {
		w.t.Errorf("%s", got.body)
	}
	return got.text("ticket")
}

func TestTicket(t *testing.T) {
	t.Parallel()
	w := newWorld(t).listen()
	w.write("a")
	one := w.ticketFor("/v1/spaces/s1/stream-tickets")
	both := w.ticketFor("/v1/stream-tickets")
	some := w.ticketFor("/v1/stream-tickets?space=s2,s1")
	token := w.token
	w.token = ""

	for _, target := range []string{
		streamPath + "?ticket=" + one,
		streamPath + "?ticket=" + one, // again: it is good for a minute, not for one stream
		streamPath + "?ticket=" + both,
		streamPath + "?ticket=" + some,
		"/v1/stream?space=s1&ticket=" + one,
		"/v1/stream?ticket=" + one,
		"/v1/stream?space=s1,s2&ticket=" + both,
		"/v1/stream?ticket=" + both,
	} {
		w.follow(target).wantPage("a")
	}

	for target, code := range map[string]models.Code{
		"/v1/spaces/s2/stream?ticket=" + one:         models.CodeSpaceNotFound,
		"/v1/stream?space=s1,s2&ticket=" + one:       models.CodeSpaceNotFound,
		streamPath + "?ticket=":                      models.CodeUnauthenticated,
		streamPath + "?ticket=x" + one:               models.CodeUnauthenticated,
		streamPath + "?ticket=" + one + "x":          models.CodeUnauthenticated,
		streamPath + "?ticket=" + one[1:]:            models.CodeUnauthenticated,
		streamPath + "?ticket=" + token:              models.CodeUnauthenticated,
		streamPath + "?ticket=" + one + "&ticket=x":  models.CodeInvalidRequest,
		streamPath + "?access_token=" + token:        models.CodeUnauthenticated,
		streamPath + "?token=" + token:               models.CodeUnauthenticated,
		"/v1/spaces/s1/changes?ticket=" + one:        models.CodeUnauthenticated, // for streams only
		"/v1/heads?ticket=" + both:                   models.CodeUnauthenticated,
		"/v1/spaces/s1/documents/c/a?ticket=" + both: models.CodeUnauthenticated,
		"/metrics?ticket=" + both:                    models.CodeUnauthenticated,
		"/v1/nowhere?ticket=" + both:                 models.CodeUnauthenticated,
	} {
		w.connect(target).answer().want(kinds[code].status, code)
	}
	// No ticket by a ticket: it could be renewed for ever.
	w.ask(http.MethodPost, "/v1/spaces/s1/stream-tickets?ticket="+one, "").want(http.StatusUnauthorized, models.CodeUnauthenticated)
	w.connect(streamPath, "Authorization", "Bearer "+one).answer().want(http.StatusUnauthorized, models.CodeUnauthenticated)
	w.connect(streamPath+"?ticket="+one, "Authorization", "Bearer "+token).answer().want(http.StatusBadRequest, models.CodeInvalidRequest)
	w.close()
	if log := w.log.String(); strings.Contains(log, one) || !strings.Contains(log, "subject=alice") {
		t.Errorf("the log names tickets, or not their subjects:\n%s", log)
	}
}

func TestTicket_whoMayHaveOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.token = w.mint(map[string]string{"s1": "r", "news-*": "r"})
	w.ticketFor("/v1/spaces/s1/stream-tickets")
	w.ticketFor("/v1/spaces/news-today/stream-tickets")
	w.ticketFor("/v1/stream-tickets?space=s1,news-today")
	for target, code := range map[string]models.Code{
		"/v1/spaces/s2/stream-tickets":       models.CodeSpaceNotFound,
		"/v1/stream-tickets?space=s1,s2":     models.CodeSpaceNotFound,
		"/v1/stream-tickets?space=":          models.CodeSpaceNotFound,
		"/v1/spaces/s1/stream-tickets?ttl=1": models.CodeInvalidRequest,
		"/v1/stream-tickets?spaces=s1":       models.CodeInvalidRequest,
	} {
		w.ask(http.MethodPost, target, "").want(kinds[code].status, code)
	}
	w.token = w.mint(map[string]string{"news-*": "r"})
	w.ask(http.MethodPost, "/v1/stream-tickets", "").want(http.StatusBadRequest, models.CodeInvalidRequest)
}

// A ticket is good on every node, however many of them make the key at a time.
func TestTicket_onTwoNodes(t *testing.T) {
	t.Parallel()
	db := newStore(t)
	one := newWorld(t, func(o *Options) { o.Engine = newEngine(t, db) }).listen()
	two := newWorld(t, func(o *Options) { o.Engine = newEngine(t, db) }).listen()
	stranger := newWorld(t).listen()
	ticket := one.ticketFor("/v1/spaces/s1/stream-tickets")
	one.token, two.token, stranger.token = "", "", ""
	one.follow(streamPath + "?ticket=" + ticket).wantPage("")
	two.follow(streamPath + "?ticket=" + ticket).wantPage("")
	stranger.connect(streamPath+"?ticket="+ticket).answer().want(http.StatusUnauthorized, models.CodeUnauthenticated)
}

// In development a ticket is not needed. Who brings one is bound to it.
func TestTicket_development(t *testing.T) {
	t.Parallel()
	w := newWorld(t, development).listen()
	w.follow(streamPath).wantPage("")
	ticket := w.ticketFor("/v1/spaces/s1/stream-tickets")
	w.token = ""
	w.follow(streamPath + "?ticket=" + ticket).wantPage("")
	w.connect("/v1/spaces/s2/stream?ticket="+ticket).answer().want(http.StatusNotFound, models.CodeSpaceNotFound)
	w.connect(streamPath+"?ticket=x").answer().want(http.StatusUnauthorized, models.CodeUnauthenticated)
}

func TestTicket_forged(t *testing.T) {
	t.Parallel()
	key, other := []byte("the key of all nodes"), []byte("another key")
	good := ticket{Subject: "alice", Spaces: []string{"s1"}, Expires: 1}
	if got, ok := openTicket(key, good.seal(key)); !ok || got.Subject != "alice" {
		t.Errorf("a good ticket: %+v, %v", got, ok)
	}
	text, _ := json.Marshal(good)
	body := base64.RawURLEncoding.EncodeToString(text)
	seal := func(body string) string {
		return body + "." + ticketEncoding.EncodeToString(ticketSum(key, body))
	}
	for _, bad := range []string{
		"", ".", "..", body, body + ".", "." + body, good.seal(other), good.seal(key) + ".", seal(body) + "=",
		seal("not base64!"), seal(base64.RawURLEncoding.EncodeToString([]byte("not JSON"))), seal(""), strings.ToLower(seal(body)),
	} {
		if got, ok := openTicket(key, bad); ok {
			t.Errorf("%q is taken for %+v", bad, got)
		}
	}
}

// settled is a store with a key for tickets.
type settled struct{ *oneDocument }

func (settled) Setting(context.Context, string, []byte) ([]byte, error) { return []byte("key"), nil }

func TestTicket_expires(t *testing.T) {
	t.Parallel()
	inStreamBubble(t, func(b *bubble) {
		b.token = b.mint(10 * time.Minute)
		ticket := b.post("/v1/spaces/s1/stream-tickets").text("ticket")
		b.token = ""
		<-time.After(ticketTTL - time.Second)
		f := b.follow(streamPath + "?ticket=" + ticket)
		f.wantPage("d1")
		<-time.After(time.Second)
		late := b.follow(streamPath + "?ticket=" + ticket)
		late.answer().want(http.StatusUnauthorized, models.CodeUnauthenticated)
		// The stream goes on, until the token that the ticket was for expires.
		f.wantBye("token_expired")
		if f.after() != 9*time.Minute+time.Second {
			t.Errorf("ended after %v", f.after())
		}
	}, withTokens)
}
