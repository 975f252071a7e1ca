package auth

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidemark/tidemark/models"
)

// Principal is who sends a request.
type Principal struct {
	// Subject names the sender in updated_by, and with client_id in receipts.
	Subject string
	// Expires is when the token is no longer good, zero if that is never. What
	// goes on for long, a stream, must end then.
	Expires time.Time
	// Origin is what this rests on.
	Origin Origin

	grants []grant // the most specific first
}

// Origin names the token or the API key that a Principal comes from, by which its
// rights can be taken back. It is a part of tickets.
type Origin struct {
	TokenID string `json:"jti,omitempty"` // "": the token has none
	Issued  int64  `json:"iat,omitempty"` // milliseconds of Unix time; 0: the token doesn't say
	KeyID   string `json:"key,omitempty"` // "": it is a token
}

// grant is one entry of the claim `spaces`.
type grant struct {
	name    string // a space, or what its name begins with if pattern is set
	pattern bool
	write   bool
}

// Anonymous is everybody in development: every space readable and writable.
var Anonymous = &Principal{
	Subject: "anonymous",
	grants:  []grant{{pattern: true, write: true}},
}

// NewReader returns a Principal that may read spaces, by their exact names.
func NewReader(subject string, spaces []string, expires time.Time) *Principal {
	p := &Principal{Subject: subject, Expires: expires}
	for _, name := range spaces {
		p.grants = append(p.grants, grant{name: name})
	}
	return p
}

// Expired reports whether p was good only until before now.
func (p *Principal) Expired(now time.Time) bool {
	return !p.Expires.IsZero() && !now.Before(p.Expires)
}

// CanRead reports whether p may see space at all.
func (p *Principal) CanRead(space string) bool {
	_, ok := p.find(space)
	return ok
}

// CanWrite reports whether p may change space.
func (p *Principal) CanWrite(space string) bool {
	g, ok := p.find(space)
	return ok && g.write
}

// Spaces returns the spaces that p names exactly, not by a pattern, sorted.
func (p *Principal) Spaces() []string {
	names := make([]string, 0, len(p.grants))
	for _, g := range p.grants {
		if !g.pattern {
			names = append(names, g.name)
		}
	}
	slices.Sort(names)
	return names
}

// find returns the grant that decides about space: its exact name before any
// pattern, and of patterns the longest. So {"team-*": "rw", "team-42": "r"}
// means that team-42 is read only.
func (p *Principal) find(space string) (grant, bool) {
	for _, g := range p.grants {
		if g.name == space && !g.pattern || g.pattern && strings.HasPrefix(space, g.name) {
			return g, true
		}
	}
	return grant{}, false
}

// newPrincipal checks the claim `spaces`. Anything it does not understand is an
// error: a typo must not silently mean less, or more, than was meant.
func newPrincipal(subject string, spaces map[string]string) (*Principal, error) {
	grants := make([]grant, 0, len(spaces))
	for name, access := range spaces {
		prefix, pattern := strings.CutSuffix(name, "*")
		if !models.ValidSpace(prefix) && !(pattern && prefix == "") {
			return nil, fmt.Errorf("claim spaces: %q is neither a space nor a pattern like news-*", shorten(name))
		}
		if access != "r" && access != "rw" {
			return nil, fmt.Errorf("claim spaces: the access to %s must be r or rw", name)
		}
		grants = append(grants, grant{name: prefix, pattern: pattern, write: access == "rw"})
	}
	slices.SortFunc(grants, moreSpecific)
	return &Principal{Subject: subject, grants: grants}, nil
}

func moreSpecific(a, b grant) int {
	switch {
	case a.pattern && !b.pattern:
		return 1
	case !a.pattern && b.pattern:
		return -1
	default:
		return len(b.name) - len(a.name)
	}
}

func shorten(s string) string {
	if len(s) > models.MaxSpaceBytes+1 {
		return s[:models.MaxSpaceBytes+1] + "…"
	}
	return s
}
