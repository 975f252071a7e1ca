package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/archive"
	"github.com/tidemark/tidemark/syncer/store"
)

// exportCommand may run beside the server.
type exportCommand struct {
	Spaces []string `arg:"" optional:"" name:"space" help:"Only these spaces. Default: all."`
	Output string   `short:"o" default:"-" placeholder:"FILE|-" help:"Where to; - is stdout. A file must not be there yet."`
	After  string   `placeholder:"SPACE" help:"Only spaces whose names come after this one, byte by byte: goes on after an export that was broken off."`
}

// Run writes spaces as lines of JSON.
func (c exportCommand) Run(s *Settings, known variables, out output) (err error) {
	for _, space := range c.Spaces {
		if !models.ValidSpace(space) {
			return usagef("%q is no name of a space", space)
		}
	}
	return withStore(s, known, func(ctx context.Context, db *store.Store) (err error) {
		to := out.stdout
		if c.Output != "-" {
			file, err := os.OpenFile(c.Output, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, file.Close()) }()
			to = syncOnEnd{file}
		}
		return c.write(ctx, s, db, to, out)
	})
}

// syncOnEnd is a file that is on disk when all is written.
type syncOnEnd struct{ *os.File }

func (c exportCommand) write(ctx context.Context, s *Settings, db *store.Store, to io.Writer, out output) error {
	if err := noteSource(ctx, s.DatabaseURL, db, out); err != nil {
		return err
	}
	bar, last := newProgress(out.stderr, "export"), ""
	defer bar.end()
	spaces, err := archive.Export(ctx, db, to, archive.ExportOptions{
		Spaces: c.Spaces, After: c.After, Source: kindOf(s.DatabaseURL), Version: currentVersion(),
		Header: func(h archive.Header) { bar.begin(h.Documents) }, Document: bar.add, Space: func(name string) { last = name },
	})
	if file, ok := to.(syncOnEnd); ok && err == nil {
		err = file.Sync()
	}
	bar.end()
	if err != nil && last != "" {
		return fmt.Errorf("%w (%d spaces are written whole; go on with --after %s, into another file)", err, spaces, last)
	}
	if err == nil {
		fmt.Fprintf(out.stderr, "%d documents in %d spaces exported\n", bar.done, spaces)
	}
	return err
}

// noteSource says what will not be in an export.
func noteSource(ctx context.Context, url string, db *store.Store, out output) error {
	waiting, err := db.Waiting(ctx)
	if err != nil {
		return err
	}
	if waiting > 0 {
		fmt.Fprintf(out.stderr, "note: %d rows of the inbox, waiting or rejected, are not exported; what waits is carried out by a server that runs\n", waiting)
	}
	if runs, err := store.ServerRuns(ctx, url); err != nil || runs {
		fmt.Fprintln(out.stderr, "note: a server runs on this database; what it acknowledges after a space was read is not in the export")
	}
	return nil
}

func kindOf(databaseURL string) string {
	if store.IsPostgres(databaseURL) {
		return "postgres"
	}
	return "sqlite"
}
