package archive

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/store"
)

const (
	// A batch is one transaction: enough to share its cost, little enough to be held in
	// memory and to be lost.
	batchRows  = 2000
	batchBytes = 8 << 20

	// maxLine bounds a line: a document of 256 KiB, every byte of it escaped, and what
	// its fields' versions take.
	maxLine = 32 << 20
)

// Target is a database that takes spaces in.
type Target interface {
	StartImport(ctx context.Context, space *models.Space, sum []byte) (there *models.Space, at store.Imported, err error)
	ImportRows(ctx context.Context, documents []models.Document, clients []models.Client) error
	FinishImport(ctx context.Context, space *models.Space, documents int64) error
}

// ImportOptions are whom to ask, and whom to tell how far it has come.
type ImportOptions struct {
	// Started is called before the first row of a space is written. An error ends all.
	Started func(ctx context.Context) error
	// Clear takes out of the database what an earlier import of another export has left
	// of a space.
	Clear func(ctx context.Context, space string) error
	// Header, Document and Differs, which may be nil, are told how far it has come.
	Header   func(Header)
	Document func()
	Differs  func(space string) // it is there already with another history, and stays as it is
}

// Import is what an import has come to.
type Import struct {
	Spaces    int   // taken in
	Documents int64 // of them
	There     int   // spaces that were there already
	Different int   // of those, with another history
}

// Read takes spaces in from r, one after another. What is there already stays as it is. One
// that was broken off goes on where it stood when it is read again.
func Read(ctx context.Context, target Target, r io.Reader, opts ImportOptions) (all Import, err error) {
	i := importer{lines: bufio.NewScanner(r), target: target, opts: opts}
	i.lines.Buffer(make([]byte, 1<<16), maxLine)
	err = i.all(ctx)
	if err != nil && i.number > 0 {
		err = fmt.Errorf("line %d: %w", i.number, err)
	}
	return i.Import, err
}

type importer struct {
	Import

	lines  *bufio.Scanner
	number int
	target Target
	opts   ImportOptions
}

// errTruncated is the end of a file that has no end.
var errTruncated = errors.New("the export ends here, and is not complete")

// next reads the next line.
func (i *importer) next() (line, error) {
	if !i.lines.Scan() {
		if err := i.lines.Err(); err != nil {
			return line{}, err
		}
		return line{}, errTruncated
	}
	i.number++
	l, err := parse(i.lines.Bytes())
	if errors.Is(err, io.ErrUnexpectedEOF) && !i.lines.Scan() { // half a line, and no other
		return l, cmp.Or(i.lines.Err(), errTruncated)
	}
	if err != nil {
		return l, fmt.Errorf("it can't be read: %w", err)
	}
	return l, nil
}

func (i *importer) all(ctx context.Context) error {
	first, err := i.next()
	if err != nil {
		return err
	}
	switch h := first.Header; {
	case h == nil:
		return errors.New("this is no export of Tidemark")
	case h.Format != formatVersion:
		return fmt.Errorf("the export has format %d, this program reads %d", h.Format, formatVersion)
	case i.opts.Header != nil:
		i.opts.Header(*h)
	}
	for spaces := 0; ; spaces++ {
		l, err := i.next()
		switch {
		case err != nil:
			return err
		case l.Done != nil && l.Done.Spaces != spaces:
			return fmt.Errorf("%d spaces came, the export has %d", spaces, l.Done.Spaces)
		case l.Done != nil:
			return nil
		case l.Space == nil:
			return errors.New("it should begin a space")
		}
		if err := i.space(ctx, l.Space); err != nil {
			return fmt.Errorf("space %s: %w", l.Space.ID, err)
		}
	}
}

// space takes one space in, or leaves it out.
func (i *importer) space(ctx context.Context, s *space) error {
	row, err := s.row()
	if err != nil {
		return err
	}
	there, at, err := i.start(ctx, row)
	if err != nil {
		return err
	}
	b := batch{row: row, at: at, write: i.target.ImportRows}
	b.proof.Space(row)
	if there != nil {
		b.write = func(context.Context, []models.Document, []models.Client) error { return nil }
	}
	if err := i.rows(ctx, &b, there == nil); err != nil {
		return err
	}
	if faults := b.proof.Faults(); len(faults) > 0 {
		return fmt.Errorf("the export is damaged: %s", strings.Join(faults, "; "))
	}
	if there == nil {
		i.Spaces++
		i.Documents += b.documents
		return i.target.FinishImport(ctx, row, b.documents)
	}
	i.There++
	if !syncer.Continues(there, row) {
		i.Different++
		if i.opts.Differs != nil {
			i.opts.Differs(row.ID)
		}
	}
	return nil
}

// start begins a space, over what another export has left of it.
func (i *importer) start(ctx context.Context, row *models.Space) (there *models.Space, at store.Imported, err error) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v", *row))
	there, at, err = i.target.StartImport(ctx, row, sum[:])
	if errors.Is(err, store.ErrOtherImport) {
		if err := i.opts.Clear(ctx, row.ID); err != nil {
			return nil, at, err
		}
		there, at, err = i.target.StartImport(ctx, row, sum[:])
	}
	if err == nil && there == nil && i.opts.Started != nil {
		err = i.opts.Started(ctx)
	}
	return there, at, err
}

// rows reads to the end of the space.
func (i *importer) rows(ctx context.Context, b *batch, count bool) error {
	for {
		l, err := i.next()
		if err != nil {
			return err
		}
		switch {
		case l.Document != nil:
			if err = b.document(ctx, l.Document); err == nil && count && i.opts.Document != nil {
				i.opts.Document()
			}
		case l.Client != nil:
			err = b.client(ctx, l.Client)
		case l.End == nil || *l.End != end{b.row.ID, b.documents, b.clients}:
			return fmt.Errorf("%d documents and %d clients came, and then not the space's end", b.documents, b.clients)
		default:
			return b.flush(ctx)
		}
		if err != nil {
			return err
		}
	}
}
