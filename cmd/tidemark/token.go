package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/api/auth"
)

type tokenCommand struct {
	Space   map[string]string `required:"" placeholder:"NAME=r|rw[:COLLECTION,…]" help:"A space, or a pattern like news-*, and what may be done there, in all collections or in some: home=rw:todos,comments. May be repeated."`
	Subject string            `required:"" help:"Who the token is for; stands in updated_by."`
	TTL     time.Duration     `name:"ttl" default:"1h" help:"How long the token is good; at most --auth-max-ttl."`
}

// Run prints a token.
func (c *tokenCommand) Run(s *Settings, out output) error {
	if s.AuthSecret == "" {
		return usagef("set --auth-secret (TIDEMARK_AUTH_SECRET) to the server's secret; with --auth-jwks tokens come from their issuer")
	}
	if err := s.checkAuth(); err != nil {
		return err
	}
	id := rand.Text()
	token, err := auth.Mint(context.Background(), s.authOptions(), auth.Grant{ID: id, Subject: c.Subject, Spaces: c.Space, TTL: c.TTL})
	if err != nil {
		return usageError{err}
	}
	fmt.Fprintln(out.stdout, token)
	fmt.Fprintln(out.stderr, "to take it back: tidemark revoke --jti", id)
	return nil
}
