package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/store"
)

type revokeCommand struct {
	JTI     string `name:"jti" required:"" xor:"what" placeholder:"ID" help:"The claim jti of the token."`
	Subject string `required:"" xor:"what" help:"Whose tokens, of all that were issued up to now, and API keys."`
}

// Run revokes a token, or all that a subject has.
func (c *revokeCommand) Run(s *Settings, known variables, out output) error {
	if s.AuthMaxTTL <= 0 {
		return usagef("--auth-max-ttl must be longer than nothing")
	}
	if c.JTI == "" && c.Subject == "" {
		return usagef("--jti and --subject must not be empty")
	}
	now := time.Now()
	r := models.Revocation{
		Kind: models.RevokedToken, Name: c.JTI,
		NotBefore: now.UnixMilli(), ExpiresAt: now.Add(auth.RevocationTTL(s.AuthMaxTTL)).UnixMilli(),
	}
	if c.Subject != "" {
		r.Kind, r.Name = models.RevokedSubject, c.Subject
	}
	return withStore(s, known, func(ctx context.Context, db *store.Store) error {
		keys, err := db.Revoke(ctx, actor(), r)
		if err == nil && keys > 0 {
			fmt.Fprintf(out.stdout, "%d API keys are revoked too\n", keys)
		}
		return err
	})
}
