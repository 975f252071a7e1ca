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
// was: a virtual machine that was put back with its memory, or rows that were put back
// into the tables as they are.
type epochCommand struct {
	Rotate epochRotate `cmd:"" help:"Begin a new epoch, after the database was put back in a way that it can't notice, and before any server is started on it. What clients have seen and is still there stays good."`
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
	if err := store.RotateEpoch(ctx, s.DatabaseURL, actor()); err != nil {
		return err
	}
	fmt.Fprintln(out.stdout, "each space begins a new epoch with its next push")
	return nil
}
