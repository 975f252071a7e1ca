package archive

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tidemark/tidemark/models"
)

// Source is a database that is exported.
type Source interface {
	// Spaces returns the first n spaces whose names come after one.
	Spaces(ctx context.Context, after string, n int) ([]models.Space, error)
	// Export hands on all that a space holds, as it is at one moment.
	Export(ctx context.Context, name string, space func(*models.Space) error, document func(*models.Document) error, client func(*models.Client) error) error
}

// ExportOptions say what is exported. The zero value is everything.
type ExportOptions struct {
	Spaces  []string // only these, by name; empty: all
	After   string   // only spaces after this one
	Source  string   // kind of database, for the header
	Version string   // of this program
	// Header, Document and Space, which may be nil, are told how far it has come.
	Header   func(Header)
	Document func()
	Space    func(name string)
}

// spacesAtOnce is how many spaces are listed by one statement.
const spacesAtOnce = 500

// Export writes spaces to w, one after another, in memory that does not depend on how
// many there are.
func Export(ctx context.Context, source Source, w io.Writer, opts ExportOptions) (spaces int, err error) {
	e := exporter{Writer: bufio.NewWriterSize(w, 1<<20), opts: opts}
	header := Header{Format: formatVersion, Source: opts.Source, Version: opts.Version, At: time.Now().UTC().Format(time.RFC3339)}
	err = each(ctx, source, opts, func(s *models.Space) error {
		header.Spaces++
		header.Documents += s.LiveCount
		return nil
	})
	if err != nil {
		return 0, err
	}
	if len(opts.Spaces) > header.Spaces {
		return 0, fmt.Errorf("of the spaces %s only %d are there", strings.Join(opts.Spaces, ", "), header.Spaces)
	}
	if opts.Header != nil {
		opts.Header(header)
	}
	if err := e.write(line{Header: &header}); err != nil {
		return 0, err
	}
	err = each(ctx, source, opts, func(s *models.Space) error {
		if err := e.space(ctx, source, s.ID); err != nil {
			return fmt.Errorf("export space %s: %w", s.ID, err)
		}
		spaces++
		if opts.Space != nil {
			opts.Space(s.ID)
		}
		return nil
	})
	if err != nil {
		return spaces, err
	}
	if err := e.write(line{Done: &done{spaces}}); err != nil {
		return spaces, err
	}
	return spaces, e.Flush()
}

// each calls do with each space that is wanted, by name.
func each(ctx context.Context, source Source, opts ExportOptions, do func(*models.Space) error) error {
	wanted := make(map[string]bool, len(opts.Spaces))
	for _, name := range opts.Spaces {
		wanted[name] = true
	}
	for after := opts.After; ; {
		spaces, err := source.Spaces(ctx, after, spacesAtOnce)
		if err != nil || len(spaces) == 0 {
			return err
		}
		for i := range spaces {
			s := &spaces[i]
			if !models.ValidSpace(s.ID) || len(wanted) > 0 && !wanted[s.ID] {
				continue // one of the servers' own has no name that clients can say
			}
			if err := do(s); err != nil {
				return err
			}
		}
		after = spaces[len(spaces)-1].ID
	}
}

type exporter struct {
	*bufio.Writer
	opts   ExportOptions
	buffer []byte
}

func (e *exporter) write(l line) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	_, err = e.Write(append(text, '\n'))
	return err
}

func (e *exporter) space(ctx context.Context, source Source, name string) error {
	last := end{Space: name}
	err := source.Export(ctx, name,
		func(s *models.Space) error { return e.write(line{Space: newSpace(s)}) },
		func(d *models.Document) (err error) {
			last.Documents++
			if e.buffer, err = appendDocument(e.buffer[:0], d); err != nil {
				return err
			}
			if e.opts.Document != nil {
				e.opts.Document()
			}
			_, err = e.Write(append(e.buffer, '\n'))
			return err
		},
		func(c *models.Client) error {
			last.Clients++
			return e.write(line{Client: newClient(c)})
		})
	if err != nil {
		return err
	}
	if err := e.write(line{End: &last}); err != nil {
		return err
	}
	return e.Flush() // whoever is stopped later has this space whole
}
