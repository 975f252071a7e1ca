package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/tidemark/tidemark/syncer/store"
)

type statsCommand struct {
	Top  int  `default:"10" placeholder:"N" help:"How many spaces to show of the largest, of those written last, and of those that change most. Their documents are gone through."`
	JSON bool `name:"json" help:"Print JSON."`
}

// Run counts.
func (c statsCommand) Run(s *Settings, known variables, out output) error {
	if c.Top < 0 {
		return usagef("--top must not be below 0")
	}
	return withStore(s, known, func(ctx context.Context, db *store.Store) error {
		stats, err := db.Stats(ctx, c.Top)
		if err != nil {
			return err
		}
		if c.JSON {
			encoder := json.NewEncoder(out.stdout)
			encoder.SetIndent("", "  ")
			return encoder.Encode(stats)
		}
		w := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "spaces\t%d\ndocuments\t%d\ntombstones\t%d\nclients\t%d\non disk\t%s\n",
			stats.Spaces, stats.Documents, stats.Tombstones, stats.Clients, size(stats.Bytes))
		showSpaces(w, "LARGEST", stats.Largest)
		showSpaces(w, "WRITTEN LAST", stats.WrittenLast)
		if c.Top > 0 {
			showHot(w, stats.Hot)
		}
		return w.Flush()
	})
}

func showHot(w io.Writer, spaces []store.HotSpace) {
	if len(spaces) == 0 {
		fmt.Fprint(w, "\nHOT\tnone: nothing has changed within the last minute\n")
		return
	}
	fmt.Fprint(w, "\nHOT\tCHANGED WITHIN A MINUTE\tDOCUMENTS\tWRITTEN\n")
	for _, s := range spaces {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", s.ID, s.Changed, s.LiveCount, when(s.Head/1000))
	}
}

func showSpaces(w io.Writer, title string, spaces []store.SpaceStats) {
	if len(spaces) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\tDOCUMENTS\tTOMBSTONES\tCLIENTS\tTEXTS\tWRITTEN\n", title)
	for _, s := range spaces {
		written := "never"
		if s.Written > 0 {
			written = when(s.Written)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\n", s.Space, s.Documents, s.Tombstones, s.Clients, size(s.Bytes), written)
	}
}

// size shows bytes as people read them.
func size(bytes int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	value, unit := float64(bytes), 0
	for value >= 1024 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
