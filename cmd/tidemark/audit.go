package main

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"text/tabwriter"
	"time"

	"github.com/tidemark/tidemark/syncer/store"
)

type auditCommand struct {
	Limit int `default:"50" help:"How many entries."`
}

// Run prints the audit log.
func (c *auditCommand) Run(s *Settings, known variables, out output) error {
	if c.Limit < 1 {
		return usagef("--limit must be at least 1")
	}
	return withStore(s, known, func(ctx context.Context, db *store.Store) error {
		entries, err := db.AuditLog(ctx, c.Limit)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "AT\tACTOR\tACTION\tTARGET\tDETAIL")
		for _, e := range entries {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", when(e.At), e.Actor, e.Action, e.Target, e.Detail)
		}
		return w.Flush()
	})
}

// actor names whoever sits at the terminal.
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
