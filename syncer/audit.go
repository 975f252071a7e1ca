package syncer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tidemark/tidemark/models"
)

const (
	// auditEvery is how often a node proves one space, chosen by chance.
	auditEvery = time.Minute

	// auditDocuments is how large a space may be that is proven so. Larger ones are for
	// the command `verify`, which somebody waits for.
	auditDocuments = 200_000

	// maxFaults bounds what is told of one space.
	maxFaults = 20
)

// auditNowAndThen proves a space a minute until ctx ends. What it finds is a bug here,
// or a hand in the tables: it is logged and counted, and mends nothing.
func (e *Engine) auditNowAndThen(ctx context.Context) {
	next := time.NewTicker(auditEvery)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		if err := e.auditAny(ctx); err != nil && ctx.Err() == nil {
			e.opts.Logger.DebugContext(ctx, "no space audited", "error", err)
		}
	}
}

// auditAny audits the space that comes after a name chosen by chance.
func (e *Engine) auditAny(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, auditEvery)
	defer cancel()
	space, err := e.store.AnySpace(ctx, rand.Float64())
	if err != nil || space.ID == "" || space.LiveCount > auditDocuments {
		return err
	}
	faults, err := e.Audit(ctx, space.ID)
	if err != nil {
		return err
	}
	e.audits.Add(1)
	if len(faults) > 0 {
		e.auditFaults.Add(1)
		e.opts.Logger.ErrorContext(ctx, "a space is not as it should be", "space", space.ID, "faults", faults)
	}
	return nil
}

// Audits returns how many spaces Run has proven so far, and how many were not as they
// should be.
func (e *Engine) Audits() (audits, faulty int64) { return e.audits.Load(), e.auditFaults.Load() }

// Audit proves a space by its rows, all read from one snapshot: digest and count, that
// no version is above the head or in a history that was lost, that no tombstone is below
// the floor, and that every document is as new as the receipts of those who changed it
// say. It returns what is wrong, a sentence each, twenty at most. Errors: those of Store.
func (e *Engine) Audit(ctx context.Context, space string) (faults []string, err error) {
	a := audit{newest: make(map[uint32]int64)}
	err = e.store.Rows(ctx, space, RowReader{Space: a.open, Document: a.document, Client: a.client})
	if err != nil {
		return nil, err
	}
	a.close()
	return a.faults, nil
}

// audit is what the rows of a space have told so far: its own, then those of its
// documents, then those of its clients.
type audit struct {
	space  models.Space
	past   pastEpochs
	sum    models.Space     // digest and count, counted again
	head   int64            // the newest version of a document
	newest map[uint32]int64 // of the documents, by the hash of their names
	faults []string
}

func (a *audit) fault(format string, args ...any) {
	if len(a.faults) < maxFaults {
		a.faults = append(a.faults, fmt.Sprintf(format, args...))
	}
}

func (a *audit) open(s *models.Space) {
	a.space = *s
	var err error
	if a.past, err = parseEpochs(s.PastEpochs); err != nil {
		a.fault("its past epochs can't be read: %v", err)
	}
	for i, p := range a.past {
		if p.head >= p.first || p.first > s.Head || i > 0 && p.head < a.past[i-1].first {
			a.fault("past epoch %d, up to %d and then from %d, does not fit between the others and head %d", p.epoch, p.head, p.first, s.Head)
		}
	}
	switch {
	case s.Floor < 0 || s.Floor > s.Head:
		a.fault("floor %d is not between 0 and head %d", s.Floor, s.Head)
	case s.Head > 0 && s.Epoch == 0:
		a.fault("it was written and has no epoch")
	}
}

func (a *audit) document(d *models.Document) {
	name := d.Collection + "/" + d.ID
	switch {
	case d.Version <= 0 || d.Version > a.space.Head:
		a.fault("%s has version %d, head is %d", name, d.Version, a.space.Head)
	case a.past.lost(d.Version):
		a.fault("%s has version %d, which is of a history that was lost", name, d.Version)
	case d.Deleted && d.Version <= a.space.Floor:
		a.fault("the tombstone of %s, version %d, is not above floor %d", name, d.Version, a.space.Floor)
	}
	if f, err := parseFields(d.FieldVersions, d.Version); err != nil {
		a.fault("the field versions of %s can't be read: %v", name, err)
	} else if newest := f.newest(); newest > d.Version {
		a.fault("a field of %s has changed at %d, the document at %d", name, newest, d.Version)
	}
	account(&a.sum, nil, d)
	a.head = max(a.head, d.Version)
	key := hash32(d.Collection, d.ID)
	a.newest[key] = max(a.newest[key], d.Version)
}

// client compares receipts with the documents: an edit that was acknowledged is there,
// or something newer is, or it was a deletion that is forgotten by now.
func (a *audit) client(c *models.Client) {
	ring, err := openRing(Receipts{Newest: c.Receipts, Older: c.OlderReceipts, OlderTag: c.OlderTag})
	if err != nil {
		a.fault("the receipts of client %s of %s can't be read: %v", c.ClientID, c.Subject, err)
		return
	}
	for record := range ring.records {
		r := readReceipt(record)
		switch {
		case r.version > a.space.Head:
			a.fault("client %s of %s has a receipt for version %d, head is %d", c.ClientID, c.Subject, r.version, a.space.Head)
		case !r.unchanged && r.version > a.newest[r.key] && r.version > a.space.Floor:
			a.fault("client %s of %s has a receipt for version %d of a document that is at %d", c.ClientID, c.Subject, r.version, a.newest[r.key])
		}
	}
}

func (a *audit) close() {
	if a.sum.Digest != a.space.Digest || a.sum.LiveCount != a.space.LiveCount {
		a.fault("digest %016x and count %d; its documents have %016x and %d",
			uint64(a.space.Digest), a.space.LiveCount, uint64(a.sum.Digest), a.sum.LiveCount)
	}
	if a.head < a.space.Head && a.space.Floor < a.space.Head {
		a.fault("head is %d, but no document has that version; the newest has %d", a.space.Head, a.head)
	}
}
