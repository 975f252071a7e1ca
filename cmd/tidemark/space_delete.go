package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/store"
)

type spaceDelete struct {
	Space string `arg:"" help:"The space."`
	Yes   bool   `help:"Don't ask."`
}

// Run deletes a space, after asking for its name again.
func (c spaceDelete) Run(s *Settings, known variables, out output) error {
	if !models.ValidSpace(c.Space) {
		return usagef("%q is no name of a space", c.Space)
	}
	return withStore(s, known, func(ctx context.Context, db *store.Store) error {
		if !c.Yes {
			if err := c.ask(ctx, db, out); err != nil {
				return err
			}
		}
		done, err := offline(s, db).DeleteSpace(ctx, c.Space, actor())
		if err == nil && !done.Found {
			err = fmt.Errorf("there is no space %s", c.Space)
		}
		if err != nil && done.Documents > 0 {
			err = fmt.Errorf("%w (%d documents are deleted; the same command goes on)", err, done.Documents)
		}
		if err == nil {
			fmt.Fprintf(out.stdout, "%s: %d documents and %d clients deleted\n", c.Space, done.Documents, done.Clients)
		}
		return err
	})
}

// ask wants the name again, from somebody at a terminal.
func (c spaceDelete) ask(ctx context.Context, db *store.Store, out output) error {
	if !terminal(os.Stdin) {
		return usagef("this deletes all that is in %s: say --yes where nobody can be asked", c.Space)
	}
	heads, err := db.Heads(ctx, []string{c.Space})
	if err != nil {
		return err
	}
	fmt.Fprintf(out.stderr, "This deletes all %d documents of %s, and nothing brings them back.\nType its name to go on: ", heads[0].LiveCount, c.Space)
	answer, _ := bufio.NewReader(os.Stdin).ReadString('\n') // without an answer it is another name
	if strings.TrimSpace(answer) != c.Space {
		return fmt.Errorf("that was not %s: nothing was deleted", c.Space)
	}
	return nil
}

// terminal reports whether somebody sits at the other end of f.
func terminal(f *os.File) bool {
	return term.IsTerminal(int(f.Fd())) // a descriptor fits, whatever its type here
}
