package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/memory"
	"github.com/tidemark/tidemark/syncer/store"
)

// The commands here work on the database beside the servers that run on it.

// gcCommand is what servers do by themselves every hour.
type gcCommand struct{}

// Run forgets what is past its retention.
func (gcCommand) Run(s *Settings, known variables, out output) error {
	if err := s.checkAmounts(); err != nil {
		return err
	}
	return withStore(s, known, func(ctx context.Context, db *store.Store) error {
		var spaces, tombstones, clients int
		elsewhere, err := offline(s, db).Purge(ctx, func(space string, done syncer.Purged) {
			fmt.Fprintf(out.stdout, "%s: %d tombstones, %d clients\n", space, done.Tombstones, done.Clients)
			spaces, tombstones, clients = spaces+1, tombstones+done.Tombstones, clients+done.Clients
		})
		if err == nil && elsewhere {
			err = errors.New("a server is at it already")
		}
		fmt.Fprintf(out.stdout, "%d tombstones and %d clients forgotten, in %d spaces\n", tombstones, clients, spaces)
		return err
	})
}

// verifyCommand is for cron: its exit code tells.
type verifyCommand struct {
	Spaces []string `arg:"" optional:"" name:"space" help:"Only these spaces. Default: all."`
}

// Run verifies spaces by their rows.
func (c verifyCommand) Run(s *Settings, known variables, out output) error {
	for _, space := range c.Spaces {
		if !models.ValidSpace(space) {
			return usagef("%q is no name of a space", space)
		}
	}
	return withStore(s, known, func(ctx context.Context, db *store.Store) error {
		unfinished, err := db.Unfinished(ctx)
		if err != nil {
			return err
		}
		engine, spaces, faulty := offline(s, db), 0, 0
		verify := func(space *models.Space) error {
			if slices.Contains(unfinished, space.ID) {
				fmt.Fprintf(out.stderr, "%s was imported in part, and is not verified\n", space.ID)
				return nil
			}
			faults, err := engine.Verify(ctx, space.ID)
			for _, fault := range faults {
				fmt.Fprintf(out.stdout, "%s: %s\n", space.ID, fault)
			}
			spaces++
			if len(faults) > 0 {
				faulty++
			}
			return err
		}
		err = each(ctx, db, engine, c.Spaces, verify)
		fmt.Fprintf(out.stdout, "%d spaces verified, %d with faults\n", spaces, faulty)
		if err == nil && faulty > 0 {
			err = errors.New("there are faults")
		}
		return err
	})
}

// each calls do with the spaces of these names, which must be there, or with all spaces
// but the server's own if there are no names.
func each(ctx context.Context, db *store.Store, engine *syncer.Engine, names []string, do func(*models.Space) error) error {
	if len(names) == 0 {
		return engine.EachSpace(ctx, func(s *models.Space) error {
			if models.OwnSpace(s.ID) {
				return nil
			}
			return do(s)
		})
	}
	spaces, err := db.Heads(ctx, names)
	if err != nil {
		return err
	}
	for i := range spaces {
		if spaces[i].ID == "" {
			return fmt.Errorf("there is no space %s", names[i])
		}
		if err := do(&spaces[i]); err != nil {
			return err
		}
	}
	return nil
}

// spaceCommand is about one space.
type spaceCommand struct {
	Retention spaceRetention `cmd:"" help:"Set how long a space remembers what was deleted, and clients that stay away."`
	Delete    spaceDelete    `cmd:"" help:"Delete all that is in a space. Its name may be used again; whoever was there starts again."`
}

type spaceRetention struct {
	Space     string `arg:"" help:"The space; it may not be written yet."`
	Retention string `arg:"" help:"How long, like 48h; default for what the server is set to."`
}

// Run sets the retention of a space.
func (c spaceRetention) Run(s *Settings, known variables, out output) error {
	if !models.ValidSpace(c.Space) {
		return usagef("%q is no name of a space", c.Space)
	}
	var retention time.Duration
	if c.Retention != "default" {
		var err error
		if retention, err = time.ParseDuration(c.Retention); err != nil || retention < time.Millisecond {
			return usagef("the retention must be default or a duration like 48h, not %q", c.Retention)
		}
	}
	return withStore(s, known, func(ctx context.Context, db *store.Store) error {
		if err := db.SetRetention(ctx, actor(), c.Space, retention); err != nil {
			return err
		}
		fmt.Fprintf(out.stdout, "%s: %s\n", c.Space, c.Retention)
		return nil
	})
}

// offline returns an engine that nobody runs.
func offline(s *Settings, db *store.Store) *syncer.Engine {
	return syncer.New(db, memory.New(), syncer.Options{Retention: s.Retention})
}

// withStore opens the database, whose schema must be that of this program.
func withStore(s *Settings, known variables, do func(context.Context, *store.Store) error) error {
	if err := errors.Join(known.check(), s.checkDatabase()); err != nil {
		return err
	}
	if path, ok := store.SQLitePath(s.DatabaseURL); ok {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("there is no database to work on: %w", err) // opening it would make one
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := store.CheckSchema(ctx, s.DatabaseURL); err != nil {
		return err // before Open, whose statements are those of the newest
	}
	url, err := store.ForCommand(s.DatabaseURL)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, url, store.Options{UnsafeDurability: true}) // no edit is acknowledged here
	if err != nil {
		return err
	}
	return errors.Join(do(ctx, db), db.Close())
}
