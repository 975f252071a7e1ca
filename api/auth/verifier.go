package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"github.com/tidemark/tidemark/models"
)

const (
	// MinSecretBytes is the shortest secret for HS256: as long as its hash
	// (RFC 7518, section 3.2).
	MinSecretBytes = 32

	// leeway is how far the clocks of issuer and server may be apart. It is for
	// requests; a stream ends when its token says, and its client brings a new one.
	leeway = 30 * time.Second

	// maxSubjectBytes bounds `sub`: it is stored with every change.
	maxSubjectBytes = 128
	// maxTokenIDBytes bounds `jti`: it stands in tickets.
	maxTokenIDBytes = 256

	defaultMaxTTL = 24 * time.Hour
)

// Options say which tokens are good. Exactly one of Secret and JWKS is set.
type Options struct {
	Secret string // for HS256, at least MinSecretBytes long
	JWKS   string // URL or file of a JWK Set for RS256, ES256 and EdDSA

	Audience string        // wanted in `aud`; empty: there must be none
	Issuer   string        // wanted in `iss`; empty: not looked at
	MaxTTL   time.Duration // longest lifetime of a token; default 24 h

	Now func() time.Time // default: time.Now

	// OnRefreshError is told when the JWK Set can't be fetched. It may be nil.
	OnRefreshError func(err error)
}

// Verifier checks tokens. It is safe for concurrent use.
type Verifier struct {
	keys      keys
	parser    *jwt.Parser
	audience  string
	maxTTL    time.Duration
	directory *Directory // nil: there are no API keys, and nothing is revoked
	now       func() time.Time

	verified verified
}

// claims is what Tidemark reads of a token.
type claims struct {
	jwt.RegisteredClaims
	Spaces map[string]string `json:"spaces"`
}

// UnmarshalJSON reads the claims as strictly as documents. encoding/json would take
// "SUB" for "sub", the last of two that have the same name, and what is no UTF-8 for
// something else; so a claim that an issuer lets its users choose could become another.
func (c *claims) UnmarshalJSON(text []byte) error {
	type plain claims // without this method
	return json.Unmarshal(text, (*plain)(c))
}

// New returns a Verifier. ctx ends the refreshing of a JWK Set.
func New(ctx context.Context, opts Options) (*Verifier, error) {
	keys, err := newKeys(ctx, opts)
	if err != nil {
		return nil, err
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.MaxTTL <= 0 {
		opts.MaxTTL = defaultMaxTTL
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(keys.algorithms()),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(leeway),
		jwt.WithStrictDecoding(),
		jwt.WithTimeFunc(opts.Now),
	}
	if opts.Audience != "" {
		options = append(options, jwt.WithAudience(opts.Audience))
	}
	if opts.Issuer != "" {
		options = append(options, jwt.WithIssuer(opts.Issuer))
	}
	return &Verifier{keys: keys, parser: jwt.NewParser(options...), audience: opts.Audience, maxTTL: opts.MaxTTL, now: opts.Now}, nil
}

// Consult makes v ask d for API keys and for what is revoked. Call it before the first
// Verify, or never: then there are no keys, and nothing is revoked.
func (v *Verifier) Consult(d *Directory) { v.directory = d }

// Ready returns nil if v can let anybody in. Error: CodeUnavailable.
func (v *Verifier) Ready() error {
	if v.directory == nil {
		return nil
	}
	_, err := v.directory.known(v.now())
	return err
}

// Verify returns who token, which may be an API key, speaks for. A token that was
// found good is not checked again for a minute, apart from its expiry and whether it is
// revoked. Errors: CodeUnauthenticated, and CodeUnavailable while no key could be
// fetched yet or revocations can't be read.
func (v *Verifier) Verify(ctx context.Context, token string) (*Principal, error) {
	if len(token) > models.MaxTokenBytes {
		return nil, models.Errorf(models.CodeUnauthenticated, "A token has at most %d bytes.", models.MaxTokenBytes)
	}
	now := v.now()
	if v.directory != nil && isKey(token) {
		return v.directory.open(token, now)
	}
	d := digest(sha256.Sum256([]byte(token)))
	p := v.verified.find(d, now)
	if p == nil {
		var err error
		if p, err = v.verify(ctx, token); err != nil {
			return nil, err
		}
		v.verified.add(d, p, now)
	}
	return v.renew(p, now)
}

// Renew returns p, whom Verify has once let in, with the rights that its token or
// API key gives now. Errors: CodeUnauthenticated if that is revoked, CodeUnavailable
// while revocations can't be read.
func (v *Verifier) Renew(p *Principal) (*Principal, error) { return v.renew(p, v.now()) }

func (v *Verifier) renew(p *Principal, now time.Time) (*Principal, error) {
	if v.directory == nil {
		return p, nil
	}
	return v.directory.renew(p, now)
}

// Changed returns a channel that is closed when Renew may say something else, for
// other reasons than that a time has come. Take it before Renew is asked.
func (v *Verifier) Changed() <-chan struct{} {
	if v.directory == nil {
		return nil
	}
	return v.directory.changed()
}

// verify checks a token from its signature on.
func (v *Verifier) verify(ctx context.Context, token string) (*Principal, error) {
	var c claims
	if _, err := v.parser.ParseWithClaims(token, &c, v.key(ctx)); err != nil {
		if errors.Is(err, errNoKeys) {
			return nil, &models.Error{
				Code: models.CodeUnavailable, Detail: "The keys that tokens are checked with can't be fetched now.",
				RetryAfter: refreshPause, Err: err,
			}
		}
		return nil, refused(sentence(err), err)
	}
	if err := v.check(&c); err != nil {
		return nil, refused(err.Error(), err)
	}
	p, err := newPrincipal(c.Subject, c.Spaces)
	if err != nil {
		return nil, refused(err.Error(), err)
	}
	p.Expires = c.ExpiresAt.Time
	p.Origin.TokenID = c.ID
	if c.IssuedAt != nil {
		p.Origin.Issued = c.IssuedAt.UnixMilli()
	}
	return p, nil
}

// key returns the function by which the parser finds the key of a token.
func (v *Verifier) key(ctx context.Context) jwt.Keyfunc {
	return func(t *jwt.Token) (any, error) {
		for _, name := range []string{"jku", "x5u", "jwk", "x5c", "crit"} {
			if _, ok := t.Header[name]; ok {
				// The first four would let the token bring its own key
				// (RFC 8725, section 3.10); crit names what a reader must
				// understand (RFC 7515, section 4.1.11), and this one knows none.
				return nil, fmt.Errorf("header %s is not accepted", name)
			}
		}
		if typ, ok := t.Header["typ"]; ok && !goodType(typ) {
			return nil, fmt.Errorf("header typ is %.64v, which is a token for something else", typ)
		}
		return v.keys.find(ctx, t)
	}
}

// goodType reports whether a token of this kind is one that lets somebody in, as far
// as it says (RFC 8725, section 3.11): an issuer signs other kinds too, with the same
// key, such as those that say that somebody has logged out.
func goodType(typ any) bool {
	name, _ := typ.(string)
	name = strings.TrimPrefix(strings.ToLower(name), "application/")
	return name == "jwt" || name == "at+jwt"
}

// check is what the parser does not know of.
func (v *Verifier) check(c *claims) error {
	if err := checkSubject(c.Subject); err != nil {
		return err
	}
	if len(c.ID) > maxTokenIDBytes || strings.ContainsFunc(c.ID, unicode.IsControl) {
		return fmt.Errorf("claim jti must have at most %d bytes and no control characters", maxTokenIDBytes)
	}
	if c.Spaces == nil {
		return errors.New("claim spaces is missing")
	}
	if v.audience == "" && len(c.Audience) > 0 {
		// Whoever is not in `aud` must refuse it (RFC 7519, section 4.1.3), and a
		// server without a name is not.
		return errors.New("claim aud names an audience, and the server has no name (--auth-audience)")
	}
	expires := c.ExpiresAt.Time
	if expires.Sub(v.now()) > v.maxTTL+leeway || c.IssuedAt != nil && expires.Sub(c.IssuedAt.Time) > v.maxTTL {
		return fmt.Errorf("a token may live for at most %s", v.maxTTL)
	}
	return nil
}

func checkSubject(subject string) error {
	if subject == "" || len(subject) > maxSubjectBytes || strings.ContainsFunc(subject, unicode.IsControl) {
		return fmt.Errorf("claim sub must have 1 to %d bytes and no control characters", maxSubjectBytes)
	}
	return nil
}

func refused(why string, err error) *models.Error {
	return &models.Error{Code: models.CodeUnauthenticated, Detail: "The token is not good: " + why + ".", Err: err}
}

// sentence says what is wrong with a token without telling how it was checked.
func sentence(err error) string {
	for _, known := range []struct {
		err  error
		text string
	}{
		{jwt.ErrTokenMalformed, "it is not a JWT"},
		{jwt.ErrTokenSignatureInvalid, "its signature or algorithm is not the configured one"},
		{jwt.ErrTokenUnverifiable, "its signature can't be checked"},
		{jwt.ErrTokenRequiredClaimMissing, "a claim is missing (exp, and aud and iss where configured)"},
		{jwt.ErrTokenExpired, "it is expired"},
		{jwt.ErrTokenNotValidYet, "it is not valid yet"},
		{jwt.ErrTokenUsedBeforeIssued, "it is issued in the future"},
		{jwt.ErrTokenInvalidAudience, "it is for another audience"},
		{jwt.ErrTokenInvalidIssuer, "it is of another issuer"},
	} {
		if errors.Is(err, known.err) {
			return known.text
		}
	}
	return "it can't be read"
}
