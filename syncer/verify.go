package syncer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tidemark/tidemark/models"
)

const (
	// verifyEvery is how often a node verifies one space, chosen by chance.
	verifyEvery = time.Minute

	// verifyDocuments is how large a space may be that is verified so. Larger ones are for
	// the command `verify`, which somebody waits for.
	verifyDocuments = 200_000

	// maxFaults bounds what is told of one space.
	maxFaults = 20
)

// verifyNowAndThen verifies a space a minute until ctx ends. What it finds is a bug here,
// or a hand in the tables: it is logged and counted, and mends nothing.
func (e *Engine) verifyNowAndThen(ctx context.Context) {
	next := time.NewTicker(verifyEvery)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		if err := e.verifyAny(ctx); err != nil && ctx.Err() == nil {
			e.opts.Logger.DebugContext(ctx, "no space verified", "error", err)
		}
	}
}

// verifyAny verifies a space that is chosen by chance.
func (e *Engine) verifyAny(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, verifyEvery)
	defer cancel()
	space, err := e.store.AnySpace(ctx, rand.Float64())
	if err != nil || space.ID == "" || space.LiveCount > verifyDocuments {
		return err
	}
	faults, err := e.Verify(ctx, space.ID)
	if err != nil {
		return err
	}
	e.verified.Add(1)
	if len(faults) > 0 {
		e.faulty.Add(1)
		e.opts.Logger.ErrorContext(ctx, "a space is not as it should be", "space", space.ID, "faults", faults)
	}
	return nil
}

// Verified returns how many spaces Run has verified so far, and how many were faulty.
func (e *Engine) Verified() (spaces, faulty int64) { return e.verified.Load(), e.faulty.Load() }

// Verify proves a space by its rows, all read from one snapshot: digest and count, that
// no version is above the head or in a history that was lost, that no tombstone is below
// the floor, and that every document is as new as the receipts of those who changed it
// say. It returns what is wrong, a sentence each, twenty at most. Errors: those of Store.
func (e *Engine) Verify(ctx context.Context, space string) (faults []string, err error) {
	v := Verification{newest: make(map[uint32]int64)}
	err = e.store.Rows(ctx, space, RowReader{Space: v.Space, Document: v.Document, Client: v.Client})
	if err != nil {
		return nil, err
	}
	return v.Faults(), nil
}

// Verification is what the rows of a space have told so far: its own, then those of its
// documents, then those of its clients. The zero value takes no more memory for many
// documents than for few; it does not compare receipts with documents.
type Verification struct {
	row    models.Space
	past   pastEpochs
	sum    models.Space     // digest and count, counted again
	head   int64            // the newest version of a document
	newest map[uint32]int64 // of the documents, by the hash of their names; nil: not kept
	faults []string
}

func (v *Verification) fault(format string, args ...any) {
	if len(v.faults) < maxFaults {
		v.faults = append(v.faults, fmt.Sprintf(format, args...))
	}
}

// Space takes the row of the space.
func (v *Verification) Space(s *models.Space) {
	v.row = *s
	var err error
	if v.past, err = parseEpochs(s.PastEpochs); err != nil {
		v.fault("its past epochs can't be read: %v", err)
	}
	for i, p := range v.past {
		if p.head >= p.first || p.first > s.Head || i > 0 && p.head < v.past[i-1].first {
			v.fault("past epoch %d, up to %d and then from %d, does not fit between the others and head %d", p.epoch, p.head, p.first, s.Head)
		}
	}
	switch {
	case s.Head < 0 || s.Head > models.MaxVersion:
		v.fault("head %d is no version", s.Head)
	case s.DeletedThrough < 0 || s.DeletedThrough > s.Floor:
		v.fault("it was deleted at %d, floor is %d", s.DeletedThrough, s.Floor)
	case s.RetentionMS < 0:
		v.fault("its retention is %d ms", s.RetentionMS)
	case s.Floor < 0 || s.Floor > s.Head:
		v.fault("floor %d is not between 0 and head %d", s.Floor, s.Head)
	case s.Head > 0 && s.Epoch == 0:
		v.fault("it was written and has no epoch")
	}
}

// Document takes the row of a document, which may come without its text.
func (v *Verification) Document(d *models.Document) {
	name := d.Collection + "/" + d.ID
	switch {
	case d.Version <= 0 || d.Version > v.row.Head:
		v.fault("%s has version %d, head is %d", name, d.Version, v.row.Head)
	case v.past.lost(d.Version):
		v.fault("%s has version %d, which is of a history that was lost", name, d.Version)
	case d.Deleted && d.Version <= v.row.Floor:
		v.fault("the tombstone of %s, version %d, is not above floor %d", name, d.Version, v.row.Floor)
	}
	if f, err := parseFields(d.FieldVersions, d.Version); err != nil {
		v.fault("the field versions of %s can't be read: %v", name, err)
	} else if newest := f.newest(); newest > d.Version {
		v.fault("a field of %s has changed at %d, the document at %d", name, newest, d.Version)
	}
	account(&v.sum, nil, d)
	v.head = max(v.head, d.Version)
	if v.newest != nil {
		key := hash32(d.Collection, d.ID)
		v.newest[key] = max(v.newest[key], d.Version)
	}
}

// Client compares receipts with the documents: an edit that was acknowledged is there,
// or something newer is, or it was a deletion that is forgotten by now.
func (v *Verification) Client(c *models.Client) {
	ring, err := openRing(Receipts{Newest: c.Receipts, Older: c.OlderReceipts, OlderTag: c.OlderTag})
	if err != nil {
		v.fault("the receipts of client %s of %s can't be read: %v", c.ClientID, c.Subject, err)
		return
	}
	for record := range ring.records {
		r := readReceipt(record)
		switch {
		case r.version > v.row.Head:
			v.fault("client %s of %s has a receipt for version %d, head is %d", c.ClientID, c.Subject, r.version, v.row.Head)
		case v.newest != nil && !r.unchanged && r.version > v.newest[r.key] && r.version > v.row.Floor:
			v.fault("client %s of %s has a receipt for version %d of a document that is at %d", c.ClientID, c.Subject, r.version, v.newest[r.key])
		}
	}
}

// Faults returns what is wrong, once all rows are there.
func (v *Verification) Faults() []string {
	if v.sum.Digest != v.row.Digest || v.sum.LiveCount != v.row.LiveCount {
		v.fault("digest %016x and count %d; its documents have %016x and %d",
			uint64(v.row.Digest), v.row.LiveCount, uint64(v.sum.Digest), v.sum.LiveCount)
	}
	if v.head < v.row.Head && v.row.Floor < v.row.Head {
		v.fault("head is %d, but no document has that version; the newest has %d", v.row.Head, v.head)
	}
	return v.faults
}
