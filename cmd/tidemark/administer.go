package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"os/user"
	"syscall"
	"time"

	"github.com/tidemark/tidemark/syncer/store"
)

// administer runs what works on the database beside servers that run. On SQLite it
// takes no lock: it is one writer more, like those that write to the inbox.
func administer(s *Settings, known variables, do func(context.Context, *store.Store) error) error {
	if err := errors.Join(known.check(), s.checkDatabase()); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// Nothing of what is done here is an edit, so it is all one whether edits are safe.
	db, err := store.Open(ctx, s.DatabaseURL, store.Options{UnsafeDurability: true, Logger: s.logger(os.Stderr)})
	if err != nil {
		return store.ExplainSchema(err)
	}
	return errors.Join(store.ExplainSchema(do(ctx, db)), db.Close())
}

// actor names whoever sits at the terminal, for the audit log.
func actor() string {
	name := fmt.Sprint("uid ", os.Getuid())
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

// when shows a time of the database.
func when(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05") }
