package api

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/models"
)

// EventSource can send no header, and a token in a URL ends up in logs. So who
// has a token gets a ticket for it, which opens streams of some spaces and
// nothing else, and is worth nothing a minute later.
const (
	ticketParameter = "ticket"
	ticketTTL       = 60 * time.Second
)

// ticket is what a ticket says. Its wire form is base64url of its JSON, a dot and
// base64url of the HMAC-SHA256 of what stands before the dot.
type ticket struct {
	Subject string   `json:"sub"`
	Spaces  []string `json:"spaces"` // of which all may be read
	// Within has those of which some collections may be read, by these, with commas
	// between. What a pattern of the token narrows stands there once for all spaces: a
	// ticket must fit a URL.
	Within  map[string][]string `json:"within,omitempty"`
	Expires int64               `json:"exp"`             // the ticket, in seconds of Unix time
	Until   int64               `json:"until,omitempty"` // the token that it was got for; the stream ends then
	// Write is for a socket: its holder may push to the space. Who wants it has asked for
	// it, for a URL may be read by others for as long as the ticket is good.
	Write bool `json:"write,omitempty"`
	// Origin is that token. When it is revoked, so is the ticket.
	auth.Origin
}

var ticketEncoding = base64.RawURLEncoding.Strict()

// seal returns the wire form of t.
func (t ticket) seal(key []byte) string {
	text, err := json.Marshal(t)
	if err != nil {
		panic(err) // unreachable: strings and integers
	}
	body := ticketEncoding.EncodeToString(text)
	return body + "." + ticketEncoding.EncodeToString(ticketSum(key, body))
}

func ticketSum(key []byte, body string) []byte {
	sum := hmac.New(sha256.New, key)
	sum.Write([]byte(body))
	return sum.Sum(nil)
}

// openTicket reads a ticket that the server has given out; ok is false for
// anything else.
func openTicket(key []byte, sealed string) (t ticket, ok bool) {
	body, sum, _ := strings.Cut(sealed, ".")
	given, err := ticketEncoding.DecodeString(sum)
	if err != nil || !hmac.Equal(given, ticketSum(key, body)) {
		return ticket{}, false
	}
	text, err := ticketEncoding.DecodeString(body)
	return t, err == nil && json.Unmarshal(text, &t) == nil
}

// ticketKey is the key of all nodes' tickets, once this node knows it.
type ticketKey struct{ known atomic.Pointer[[]byte] }

// get returns the key. The first node that needs one makes it.
func (k *ticketKey) get(ctx context.Context, setting func(ctx context.Context, name string, fresh []byte) ([]byte, error)) ([]byte, error) {
	if known := k.known.Load(); known != nil {
		return *known, nil
	}
	fresh := make([]byte, sha256.Size)
	_, _ = rand.Read(fresh) // never fails
	key, err := setting(ctx, "stream_ticket_key", fresh)
	if err != nil {
		return nil, err
	}
	k.known.Store(&key)
	return key, nil
}

// spaceTicket gives out a ticket for the stream of one space.
func (s *Server) spaceTicket(c echo.Context) error {
	space, err := readable(c)
	if err != nil {
		return err
	}
	q, err := query(c, "write")
	if err != nil {
		return err
	}
	write, err := single(q, "write")
	switch {
	case err != nil:
		return err
	case write != "" && write != "true" && write != "false":
		return invalid("write", "must be true or false")
	case write == "true":
		if _, err := writable(c); err != nil {
			return err
		}
	}
	return s.giveTicket(c, []string{space}, write == "true")
}

// spacesTicket gives out a ticket for streams of several spaces.
func (s *Server) spacesTicket(c echo.Context) error {
	q, err := query(c, "space")
	if err != nil {
		return err
	}
	spaces, err := s.bindStreamSpaces(c, q)
	if err != nil {
		return err
	}
	return s.giveTicket(c, spaces, false)
}

func (s *Server) giveTicket(c echo.Context, spaces []string, write bool) error {
	key, err := s.ticketKey.get(c.Request().Context(), s.engine.Setting)
	if err != nil {
		return err
	}
	who := principal(c)
	t := ticket{Subject: who.Subject, Expires: time.Now().Add(ticketTTL).Unix(), Write: write, Origin: who.Origin}
	t.Spaces, t.Within = reach(who, spaces)
	if !who.Expires.IsZero() {
		t.Until = who.Expires.Unix()
	}
	return c.JSON(http.StatusOK, struct {
		Ticket     string `json:"ticket"`
		ExpiresInS int    `json:"expires_in_s"`
	}{t.seal(key), int(ticketTTL / time.Second)})
}

// acceptTickets lets a ticket stand for a token on the routes that take one.
// What it allows is bound to its spaces, in development too.
func (s *Server) acceptTickets(c echo.Context) error {
	if s.access[c.Path()] != byTicket || !holdsTicket(c) {
		return nil
	}
	q := c.Request().URL.Query()
	sealed, err := single(q, ticketParameter)
	if err != nil {
		return err
	}
	if len(c.Request().Header.Values(echo.HeaderAuthorization)) > 0 {
		return invalid(ticketParameter, "must not be there beside a token")
	}
	key, err := s.ticketKey.get(c.Request().Context(), s.engine.Setting)
	if err != nil {
		return err
	}
	t, ok := openTicket(key, sealed)
	switch {
	case !ok:
		return models.Errorf(models.CodeUnauthenticated, "This is not a ticket that the server has given out.")
	case time.Now().Unix() >= t.Expires:
		return models.Errorf(models.CodeUnauthenticated, "The ticket is expired; get a new one for each stream.")
	}
	holder := t.holder()
	if _, err := s.renew(holder); err != nil {
		return err
	}
	setPrincipal(c, holder)
	return nil
}

// holdsTicket reports whether the request brings a ticket, good or not.
func holdsTicket(c echo.Context) bool { return c.Request().URL.Query().Has(ticketParameter) }

// reach sorts spaces by what who may read there, as a ticket has them.
func reach(who *auth.Principal, spaces []string) (whole []string, within map[string][]string) {
	within = make(map[string][]string)
	for _, space := range spaces {
		if collections := who.Collections(space); collections != nil {
			list := strings.Join(collections, ",")
			within[list] = append(within[list], space)
		} else {
			whole = append(whole, space)
		}
	}
	return whole, within
}

// holder is who got t.
func (t ticket) holder() *auth.Principal {
	var until time.Time
	if t.Until != 0 {
		until = time.Unix(t.Until, 0)
	}
	spaces := make(map[string][]string)
	for _, space := range t.Spaces {
		spaces[space] = nil
	}
	for list, narrowed := range t.Within {
		for _, space := range narrowed {
			spaces[space] = strings.Split(list, ",")
		}
	}
	p := auth.NewReader(t.Subject, spaces, until)
	if t.Write {
		p = p.Writer()
	}
	p.Origin = t.Origin
	return p
}
