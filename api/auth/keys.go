package auth

import (
	"context"
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

const (
	// refreshEvery is how old a JWK Set may become.
	refreshEvery = 5 * time.Minute
	// refreshPause is the least time between two fetches that unknown key ids
	// cause: anybody can make up key ids.
	refreshPause = 10 * time.Second
	// refreshDeadline bounds such a fetch and the waiting for it, because a
	// request hangs on it.
	refreshDeadline = 2 * time.Second

	maxJWKSBytes = 1 << 20

	minRSABits = 2048
)

// errNoKeys: a JWK Set has not been fetched yet, so nothing is known about any token.
var errNoKeys = errors.New("the JWK Set has no keys")

// keys finds the key of a token.
type keys interface {
	algorithms() []string
	find(ctx context.Context, t *jwt.Token) (any, error)
}

func newKeys(ctx context.Context, opts Options) (keys, error) {
	switch {
	case opts.Secret != "" && opts.JWKS != "":
		return nil, errors.New("give an auth secret or a JWK Set, not both")
	case opts.Secret != "":
		if len(opts.Secret) < MinSecretBytes {
			return nil, fmt.Errorf("the auth secret has %d bytes; HS256 needs at least %d (try: openssl rand -base64 32)", len(opts.Secret), MinSecretBytes)
		}
		return secret(opts.Secret), nil
	case opts.JWKS == "":
		return nil, errors.New("neither an auth secret nor a JWK Set is given")
	default:
		return newJWKS(ctx, opts)
	}
}

// secret is the one key of HS256.
type secret string

func (secret) algorithms() []string                            { return []string{jwt.SigningMethodHS256.Alg()} }
func (s secret) find(context.Context, *jwt.Token) (any, error) { return []byte(s), nil }

// jwks is a set of public keys (RFC 7517). HS256 is not among its algorithms:
// otherwise a public key could be taken for a secret.
type jwks struct{ keyfunc.Keyfunc }

func (jwks) algorithms() []string {
	return []string{jwt.SigningMethodRS256.Alg(), jwt.SigningMethodES256.Alg(), jwt.SigningMethodEdDSA.Alg()}
}

func (k jwks) find(ctx context.Context, t *jwt.Token) (any, error) {
	if k.empty(ctx) {
		// A token without a key id would not cause a fetch, so cause one.
		if _, err := k.Storage().KeyRead(ctx, ""); k.empty(ctx) {
			return nil, fmt.Errorf("%w: %w", errNoKeys, err)
		}
	}
	var known []jwkset.JWK
	if id, named := t.Header["kid"]; named {
		text, _ := id.(string)
		one, err := k.Storage().KeyRead(ctx, text)
		if err != nil {
			return nil, fmt.Errorf("find key %.64v: %w", id, err)
		}
		known = append(known, one)
	} else {
		var err error
		if known, err = k.Storage().KeyReadAll(ctx); err != nil {
			return nil, fmt.Errorf("find a key: %w", err)
		}
	}
	var fit jwt.VerificationKeySet
	for _, jwk := range known {
		key := jwk.Key()
		if pair, ok := key.(interface{ Public() crypto.PublicKey }); ok {
			key = pair.Public() // somebody has put private keys into the set
		}
		if fits(jwk.Marshal(), key, t.Method.Alg()) {
			fit.Keys = append(fit.Keys, key)
		}
	}
	if len(fit.Keys) == 0 {
		return nil, fmt.Errorf("no key is there for %s", t.Method.Alg())
	}
	return fit, nil
}

// fits reports whether a key is there to check signatures of this algorithm: a key is
// for one use and one algorithm (RFC 8725, section 3.1), and those of RSA have at least
// 2,048 bits (RFC 7518, section 3.3).
func fits(said jwkset.JWKMarshal, key any, algorithm string) bool {
	if said.USE != "" && said.USE != jwkset.UseSig || said.ALG != "" && said.ALG.String() != algorithm {
		return false
	}
	if len(said.KEYOPS) > 0 && !slices.Contains(said.KEYOPS, jwkset.KeyOpsVerify) {
		return false
	}
	public, isRSA := key.(*rsa.PublicKey)
	return !isRSA || public.N.BitLen() >= minRSABits
}

func (k jwks) empty(ctx context.Context) bool {
	known, err := k.Storage().KeyReadAll(ctx)
	return err != nil || len(known) == 0
}

func newJWKS(ctx context.Context, opts Options) (keys, error) {
	if strings.HasPrefix(opts.JWKS, "http://") || strings.HasPrefix(opts.JWKS, "https://") {
		return fetchJWKS(ctx, opts)
	}
	text, err := os.ReadFile(opts.JWKS)
	if err != nil {
		return nil, fmt.Errorf("read the JWK Set: %w", err)
	}
	set, err := keyfunc.NewJWKSetJSON(text)
	if err != nil {
		return nil, fmt.Errorf("%s is not a JWK Set: %w", opts.JWKS, err)
	}
	if (jwks{set}).empty(ctx) {
		return nil, fmt.Errorf("%s: %w", opts.JWKS, errNoKeys)
	}
	return jwks{set}, nil
}

// fetchJWKS starts with an empty set if the address doesn't answer: server and
// issuer may start together. Until the first fetch every token gets a 503.
func fetchJWKS(ctx context.Context, opts Options) (keys, error) {
	set, err := keyfunc.NewDefaultOverrideCtx(ctx, []string{opts.JWKS}, keyfunc.Override{
		Client:            &http.Client{Transport: bounded{http.DefaultTransport}, Timeout: refreshDeadline},
		HTTPTimeout:       refreshDeadline,
		RateLimitWaitMax:  refreshDeadline,
		RefreshInterval:   refreshEvery,
		RefreshUnknownKID: rate.NewLimiter(rate.Every(refreshPause), 1),
		RefreshErrorHandlerFunc: func(string) func(context.Context, error) {
			return func(_ context.Context, err error) {
				if opts.OnRefreshError != nil {
					opts.OnRefreshError(err)
				}
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("the JWK Set's address: %w", err)
	}
	return jwks{set}, nil
}

// bounded limits what a JWK Set's address may answer.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, maxJWKSBytes), res.Body}
	}
	return res, err
}
