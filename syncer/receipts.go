package syncer

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"

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
		content: hash32(string(e.Op), string(e.Data)),
	}
}

// hashEditID returns the hash by which a receipt is found.
func hashEditID(id string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return mix(h.Sum64())
}

func hash32(parts ...string) uint32 {
	h := fnv.New64a()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return uint32(mix(h.Sum64()))
}

// ring holds a client's newest receipts, oldest first.
type ring []receipt

// find returns the newest receipt of an edit.
func (r ring) find(edit uint64) (receipt, bool) {
	for i := len(r) - 1; i >= 0; i-- {
		if r[i].edit == edit {
			return r[i], true
		}
	}
	return receipt{}, false
}

// The stored form is one byte format, then the receipts. Versions are below
// 2^53, so the version's upper bits have room for flags.
const (
	ringFormat    = 1
	flagMerged    = 1 << 63
	flagForced    = 1 << 62
	flagUnchanged = 1 << 61
	versionBits   = 1<<53 - 1
)

// encode returns the stored form of the newest models.MaxReceipts receipts.
func (r ring) encode() []byte {
	r = r[max(0, len(r)-models.MaxReceipts):]
	b := append(make([]byte, 0, 1+32*len(r)), ringFormat)
	for _, x := range r {
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

// parseRing reads the stored form; nil is a client without receipts.
func parseRing(b []byte) (ring, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if b[0] != ringFormat {
		return nil, fmt.Errorf("read stored receipts: format %d is unknown", b[0])
	}
	var r ring
	for b = b[1:]; len(b) > 0; {
		if len(b) < 24 {
			return nil, fmt.Errorf("read stored receipts: %d bytes left over", len(b))
		}
		word := binary.BigEndian.Uint64(b[16:])
		x := receipt{
			edit:      binary.BigEndian.Uint64(b),
			key:       binary.BigEndian.Uint32(b[8:]),
			content:   binary.BigEndian.Uint32(b[12:]),
			version:   int64(word & versionBits),
			merged:    word&flagMerged != 0,
			forced:    word&flagForced != 0,
			unchanged: word&flagUnchanged != 0,
		}
		b = b[24:]
		if x.loose() {
			if len(b) < 8 {
				return nil, fmt.Errorf("read stored receipts: the base of a receipt is missing")
			}
			x.base = int64(binary.BigEndian.Uint64(b))
			b = b[8:]
		}
		r = append(r, x)
	}
	return r, nil
}
