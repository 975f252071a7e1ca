package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/tidemark/tidemark/syncer/store"
)

// epochCommand is for a PostgreSQL that can't tell by itself that it is not the one it
// was: a virtual machine that was put back with its memory, or an engine that is spread
// over many servers.
type epochCommand struct {
	Rotate epochRotate `cmd:"" help:"Begin a new epoch, after the database was put back in a way that it can't notice. Servers may run. What clients have seen up to now stays good."`
}

type epochRotate struct{}

// Run begins a new epoch.
func (epochRotate) Run(s *Settings, known variables, out output) error {
	if err := errors.Join(known.check(), s.checkDatabase()); err != nil {
		return err
	}
	if !store.IsPostgres(s.DatabaseURL) {
		return usagef("a server on SQLite begins a new epoch whenever it starts: start it again")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	db, err := store.Open(ctx, s.DatabaseURL, store.Options{UnsafeDurability: true}) // it writes no edits
	if err != nil {
		return err
	}
	if err := errors.Join(db.RotateEpoch(ctx), db.Close()); err != nil {
		return err
	}
	fmt.Fprintln(out.stdout, "each space begins a new epoch with its next push")
	return nil
}
