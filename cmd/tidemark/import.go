package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/tidemark/tidemark/syncer/archive"
	"github.com/tidemark/tidemark/syncer/guard"
	"github.com/tidemark/tidemark/syncer/store"
)

// importCommand works while no server does.
type importCommand struct {
	File string `arg:"" placeholder:"FILE|-" help:"What tidemark export has written; - is stdin."`
}

// Run takes in what is not there yet.
func (c importCommand) Run(s *Settings, known variables, out output) error {
	if err := errors.Join(known.check(), s.checkDatabase()); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	from := os.Stdin
	if c.File != "-" {
		file, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }() // it was only read
		from = file
	}
	return importInto(ctx, s, from, out)
}

// importInto migrates the database and takes in what it reads.
func importInto(ctx context.Context, s *Settings, from io.Reader, out output) (err error) {
	lock, err := store.LockImport(ctx, s.migrateURL()) // it holds a session, as migrations do
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	if err := migrate(ctx, s.migrateURL()); err != nil {
		return err
	}
	url, err := store.ForCommand(s.DatabaseURL)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, url, store.Options{UnsafeDurability: true}) // no edit is acknowledged here
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	bar, engine := newProgress(out.stderr, "import"), offline(s, db)
	defer bar.end()
	all, err := archive.Read(ctx, db, from, archive.ImportOptions{
		Started: lock.Check,
		Clear: func(ctx context.Context, space string) error {
			_, err := engine.DeleteSpace(ctx, space, "")
			return err
		},
		Header: func(h archive.Header) { bar.begin(h.Documents) }, Document: bar.add,
		Differs: func(space string) {
			fmt.Fprintf(out.stderr, "%s is there already, with another history: it was left as it is\n", space)
		},
	})
	bar.end()
	fmt.Fprintf(out.stdout, "%d documents in %d spaces imported, %d spaces were there already\n", all.Documents, all.Spaces, all.There)
	if err == nil {
		err = noteUnfinished(ctx, db, out)
	}
	if err == nil && all.Different > 0 {
		err = fmt.Errorf("%d spaces were not imported, because others of their names are there", all.Different)
	}
	return err
}

// noteUnfinished tells of what another export has left: no server starts on it.
func noteUnfinished(ctx context.Context, db *store.Store, out output) error {
	spaces, err := db.Unfinished(ctx)
	for _, space := range spaces {
		fmt.Fprintf(out.stderr, "note: %s is there in part, from another export: import that one, or tidemark space delete %s\n", space, space)
	}
	return err
}

// copyCommand is export and import in one.
type copyCommand struct {
	From string `required:"" placeholder:"URL" help:"Database to read, as --database-url."`
	To   string `required:"" placeholder:"URL" help:"Database to write, as --database-url; of either kind, empty or not."`
}

// Run copies all spaces into another database.
func (c copyCommand) Run(s *Settings, known variables, out output) error {
	from, to := *s, *s
	from.DatabaseURL, to.DatabaseURL = c.From, c.To
	from.MigrateURL = "" // nothing is migrated there
	if !store.IsPostgres(c.To) {
		to.MigrateURL = ""
	}
	if err := errors.Join(from.checkDatabase(), to.checkDatabase()); err != nil {
		return err
	}
	if c.From == c.To {
		return usagef("--from and --to are the same database")
	}
	return withStore(&from, known, func(ctx context.Context, db *store.Store) error {
		if err := noteSource(ctx, c.From, db, out); err != nil {
			return err
		}
		reader, writer := io.Pipe()
		exported := make(chan error, 1)
		go func() {
			err := guard.Call(func() error {
				_, err := archive.Export(ctx, db, writer, archive.ExportOptions{Source: kindOf(c.From), Version: currentVersion()})
				return err
			})
			exported <- err
			writer.CloseWithError(err) // nil is the end of the file
		}()
		err := importInto(ctx, &to, reader, out)
		reader.CloseWithError(errImportFailed)
		if failed := <-exported; failed != nil && !errors.Is(failed, errImportFailed) {
			return failed
		}
		return err
	})
}

// errImportFailed ends an export that nobody reads.
var errImportFailed = errors.New("the import has failed")
