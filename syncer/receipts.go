package syncer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/tidemark/tidemark/models"
)

// receipt is what is remembered of an applied edit, so that a retry gets its
// first answer and a later edit can name it as its base. Hashes keep it small:
// 24 bytes, 32 for a loose edit.
type receipt struct {
	edit    uint64 // hash of edit_id
	key     uint32 // hash of collection and id
	content uint32 // hash of op and data
	version int64  // of the document after the edit
	// merged: a patch applied to a newer version than its base. forced: no check
	// was made. Either way the client has not seen the document as it was before
	// the edit, so version is no base for what the client does next; base is.
	merged, forced bool
	base           int64 // of a merged edit; 0 for a forced one
	// unchanged: the edit made no change, version is another edit's.
	unchanged bool
}

func (r receipt) loose() bool { return r.merged || r.forced }

// newReceipt returns a receipt of e without its outcome.
func newReceipt(e *models.Edit) receipt {
	return receipt{
		edit:    hashEditID(e.EditID),
		key:     hash32(e.Collection, e.ID),
		content: hash32(e.Op, e.Data),
	}
}

// hashEditID returns the hash by which a receipt is found.
func hashEditID(id string) uint64 { return mix(fnv(fnvOffset, id)) }

// hash32 returns the hash by which two texts are known again.
func hash32[A, B ~string | ~[]byte](a A, b B) uint32 {
	return uint32(mix(fnvZero(fnv(fnvZero(fnv(fnvOffset, a)), b))))
}

// Receipts are a client's receipts as they are stored, in two parts: most pushes
// add to the small one and leave the large one where it is, for rewriting some
// kilobytes costs more than everything else that a small push writes.
type Receipts struct {
	Newest []byte // nil: none
	Older  []byte // nil: none, or known; in Writes: as it was, and so is the tag
	// OlderTag is another one whenever Older is, also over backups; 0: there are none.
	OlderTag int64
}

// onto returns what is stored once r is written over before.
func (r Receipts) onto(before Receipts) Receipts {
	if r.Older == nil {
		r.Older, r.OlderTag = before.Older, before.OlderTag
	}
	return r
}

// maxNewest is how many receipts the small part may hold. With one more all of them
// go over to the large one.
const maxNewest = 64

// A part is one byte format, then receipts, oldest first. Versions are below 2^53,
// so the version's upper bits have room for flags.
const (
	partFormat    = 1
	flagMerged    = 1 << 63
	flagForced    = 1 << 62
	flagUnchanged = 1 << 61
	versionBits   = 1<<53 - 1

	receiptBytes = 24
	looseBytes   = 8 // more, for the base
)

// ring is the newest models.MaxReceipts receipts of a client. They are read where
// they lie: every push has to look for a few of them.
type ring struct {
	stored Receipts
	older  int // receipts in each part
	newest int
}

// openRing checks that stored receipts can be read.
func openRing(stored Receipts) (r ring, err error) {
	r.stored = stored
	if stored.OlderTag != 0 && stored.Older == nil {
		return r, errors.New("older receipts were neither read nor known")
	}
	if r.older, err = countReceipts(stored.Older); err == nil {
		r.newest, err = countReceipts(stored.Newest)
	}
	return r, err
}

func countReceipts(part []byte) (n int, err error) {
	if len(part) == 0 {
		return 0, nil
	}
	if part[0] != partFormat {
		return 0, fmt.Errorf("read stored receipts: format %d is unknown", part[0])
	}
	for part = part[1:]; len(part) > 0; n++ {
		if len(part) < receiptBytes || len(part) < receiptSize(part) {
			return 0, fmt.Errorf("read stored receipts: %d bytes left over", len(part))
		}
		part = part[receiptSize(part):]
	}
	return n, nil
}

// receiptSize returns the size of the receipt at the beginning of b.
func receiptSize(b []byte) int {
	if b[16]&((flagMerged|flagForced)>>56) != 0 {
		return receiptBytes + looseBytes
	}
	return receiptBytes
}

// records yields the receipts as they are stored, oldest first.
func (r *ring) records(yield func([]byte) bool) {
	skip := r.older + r.newest - models.MaxReceipts
	for _, part := range [][]byte{r.stored.Older, r.stored.Newest} {
		for at := 1; at < len(part); skip-- {
			size := receiptSize(part[at:])
			if skip <= 0 && !yield(part[at:at+size]) {
				return
			}
			at += size
		}
	}
}

// find returns the newest receipt of an edit.
func (r *ring) find(edit uint64) (found receipt, ok bool) {
	var last []byte
	skip := r.older + r.newest - models.MaxReceipts
	for _, part := range [2][]byte{r.stored.Older, r.stored.Newest} {
		// As records does, but without a call for each: every edit comes by here.
		for at := 1; at < len(part); skip-- {
			record := part[at:]
			if skip <= 0 && binary.BigEndian.Uint64(record) == edit {
				last = record
			}
			at += receiptSize(record)
		}
	}
	if last == nil {
		return receipt{}, false
	}
	return readReceipt(last), true
}

// add returns what is to be stored once added have come to r.
func (r *ring) add(added []receipt) Receipts {
	if r.newest+len(added) <= maxNewest {
		newest := make([]byte, 0, len(r.stored.Newest)+1+len(added)*(receiptBytes+looseBytes))
		if newest = append(newest, r.stored.Newest...); len(newest) == 0 {
			newest = append(newest, partFormat)
		}
		return Receipts{Newest: appendReceipts(newest, added)}
	}
	all := append(make([]byte, 0, 1+(models.MaxReceipts+len(added))*(receiptBytes+looseBytes)), partFormat)
	drop := min(r.older+r.newest, models.MaxReceipts) + len(added) - models.MaxReceipts
	for record := range r.records {
		if drop--; drop < 0 {
			all = append(all, record...)
		}
	}
	return Receipts{Newest: []byte{partFormat}, Older: appendReceipts(all, added), OlderTag: 1 + rand.Int64N(math.MaxInt64)}
}

func appendReceipts(b []byte, list []receipt) []byte {
	for _, x := range list {
		b = binary.BigEndian.AppendUint64(b, x.edit)
		b = binary.BigEndian.AppendUint32(b, x.key)
		b = binary.BigEndian.AppendUint32(b, x.content)
		b = binary.BigEndian.AppendUint64(b, uint64(x.version)|x.flags())
		if x.loose() {
			b = binary.BigEndian.AppendUint64(b, uint64(x.base))
		}
	}
	return b
}

func (r receipt) flags() (flags uint64) {
	if r.merged {
		flags |= flagMerged
	}
	if r.forced {
		flags |= flagForced
	}
	if r.unchanged {
		flags |= flagUnchanged
	}
	return flags
}

func readReceipt(record []byte) receipt {
	word := binary.BigEndian.Uint64(record[16:])
	r := receipt{
		edit:      binary.BigEndian.Uint64(record),
		key:       binary.BigEndian.Uint32(record[8:]),
		content:   binary.BigEndian.Uint32(record[12:]),
		version:   int64(word & versionBits),
		merged:    word&flagMerged != 0,
		forced:    word&flagForced != 0,
		unchanged: word&flagUnchanged != 0,
	}
	if r.loose() {
		r.base = int64(binary.BigEndian.Uint64(record[receiptBytes:]))
	}
	return r
}
