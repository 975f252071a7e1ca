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
	// collections are what may be seen and changed there, sorted; nil: all.
	collections []string
}

// Anonymous is everybody in development: every space readable and writable.
var Anonymous = &Principal{
	Subject: "anonymous",
	grants:  []grant{{pattern: true, write: true}},
}

// NewReader returns a Principal that may read spaces, by their exact names, each with
// the collections that it may see there; nil: all.
func NewReader(subject string, spaces map[string][]string, expires time.Time) *Principal {
	p := &Principal{Subject: subject, Expires: expires}
	for name, collections := range spaces {
		p.grants = append(p.grants, grant{name: name, collections: collections})
	}
	return p
}

// Writer returns a Principal that may also change what p may read.
func (p *Principal) Writer() *Principal {
	writer := *p
	writer.grants = slices.Clone(p.grants)
	for i := range writer.grants {
		writer.grants[i].write = true
	}
	return &writer
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

// Collections returns the collections of space that p is narrowed to, nil if it is not.
func (p *Principal) Collections(space string) []string {
	g, _ := p.find(space)
	return g.collections
}

// Filter returns the collections of space that p is shown if it asks for some; none
// means all, both times. ok is false if p may not see one of those that it asks for:
// what it would get instead would look like an empty collection.
func (p *Principal) Filter(space string, asked []string) (shown []string, ok bool) {
	g, ok := p.find(space)
	switch {
	case !ok:
		return nil, false
	case g.collections == nil:
		return asked, true
	case len(asked) == 0:
		return g.collections, true
	}
	for _, name := range asked {
		if !slices.Contains(g.collections, name) {
			return nil, false
		}
	}
	return asked, true
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
		access, list, narrowed := strings.Cut(access, ":")
		if access != "r" && access != "rw" {
			return nil, fmt.Errorf("claim spaces: the access to %s must be r or rw, or like rw:todos,comments", name)
		}
		g := grant{name: prefix, pattern: pattern, write: access == "rw"}
		if narrowed {
			var err error
			if g.collections, err = readCollections(list); err != nil {
				return nil, fmt.Errorf("claim spaces: the access to %s: %w", name, err)
			}
		}
		grants = append(grants, g)
	}
	slices.SortFunc(grants, moreSpecific)
	return &Principal{Subject: subject, grants: grants}, nil
}

// readCollections reads what stands behind the colon. An empty list is an error: it
// could be meant as nothing or as everything.
func readCollections(list string) ([]string, error) {
	names := strings.Split(list, ",")
	for _, name := range names {
		if !models.ValidName(name) {
			return nil, fmt.Errorf("%q is not the name of a collection", shorten(name))
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) > models.MaxCollections {
		return nil, fmt.Errorf("more than %d collections", models.MaxCollections)
	}
	return names, nil
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
