package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/store"
)

type keyCommand struct {
	Create keyCreate `cmd:"" help:"Make an API key and print it, once: only a hash of it is kept."`
	List   keyList   `cmd:"" help:"List the API keys, the newest first."`
	Revoke keyRevoke `cmd:"" help:"Revoke an API key."`
}

type (
	keyCreate struct {
		Name    string            `required:"" help:"What people call the key."`
		Subject string            `required:"" help:"Whom it lets in; stands in updated_by."`
		Space   map[string]string `required:"" aliases:"spaces" placeholder:"NAME=r|rw[:COLLECTION,…]" help:"A space, or a pattern like board-*, and what may be done there, as for token. May be repeated."`
		Expires *time.Duration    `placeholder:"DURATION" help:"How long the key is good. Default: until it is revoked."`
	}
	keyList   struct{}
	keyRevoke struct {
		ID string `arg:"" help:"What stands between tm_ and the next _ of the key."`
	}
)

// Run makes a key.
func (c *keyCreate) Run(s *Settings, known variables, out output) error {
	grant := auth.KeyGrant{Name: c.Name, Subject: c.Subject, Spaces: c.Space}
	if c.Expires != nil {
		if grant.TTL = *c.Expires; grant.TTL <= 0 {
			return usagef("--expires must be longer than nothing")
		}
	}
	key, row, err := auth.NewKey(grant, time.Now())
	if err != nil {
		return usageError{err}
	}
	return withStore(s, known, func(ctx context.Context, db *store.Store) error {
		if err := db.AddKey(ctx, actor(), row); err != nil {
			return err
		}
		fmt.Fprintln(out.stdout, key)
		fmt.Fprintln(out.stderr, "running servers take it within 2 seconds; to take it back: tidemark key revoke", row.ID)
		return nil
	})
}

// Run lists the keys.
func (keyList) Run(s *Settings, known variables, out output) error {
	return withStore(s, known, func(ctx context.Context, db *store.Store) error {
		keys, err := db.Keys(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tNAME\tSUBJECT\tSPACES\tCREATED\tSTATE")
		for _, k := range keys {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, k.Subject, k.Spaces, when(k.CreatedAt), keyState(&k, time.Now()))
		}
		return w.Flush()
	})
}

func keyState(k *models.APIKey, now time.Time) string {
	switch {
	case k.RevokedAt != nil:
		return "revoked " + when(*k.RevokedAt)
	case k.ExpiresAt == nil:
		return "good"
	case now.UnixMilli() < *k.ExpiresAt:
		return "good until " + when(*k.ExpiresAt)
	}
	return "expired " + when(*k.ExpiresAt)
}

// Run revokes a key.
func (c *keyRevoke) Run(s *Settings, known variables) error {
	return withStore(s, known, func(ctx context.Context, db *store.Store) error {
		err := db.RevokeKey(ctx, actor(), c.ID, time.Now())
		if errors.Is(err, store.ErrNoKey) {
			return usagef("there is no key %q; tidemark key list shows all", c.ID)
		}
		return err
	})
}
