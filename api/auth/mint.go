package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Grant is what a new token says.
type Grant struct {
	ID      string // `jti`, by which the token can be revoked; "": one is made up
	Subject string
	Spaces  map[string]string // a space or a pattern to "r" or "rw", or "rw:todos,comments"
	TTL     time.Duration
}

// Mint signs a token with the secret of opts, for their audience and issuer. It
// makes no token that a Verifier with the same opts would refuse.
func Mint(ctx context.Context, opts Options, g Grant) (string, error) {
	v, err := New(ctx, opts)
	if err != nil {
		return "", err
	}
	now := v.now()
	c := &claims{
		RegisteredClaims: jwt.RegisteredClaims{
			ID:        cmp.Or(g.ID, rand.Text()),
			Subject:   g.Subject,
			Issuer:    opts.Issuer,
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(g.TTL)),
		},
		Spaces: g.Spaces,
	}
	if opts.Audience != "" {
		c.Audience = jwt.ClaimStrings{opts.Audience}
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString([]byte(opts.Secret))
	if err != nil {
		return "", fmt.Errorf("sign the token: %w", err)
	}
	if _, err := v.Verify(ctx, token); err != nil {
		return "", err
	}
	return token, nil
}
