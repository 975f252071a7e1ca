package syncer

import (
	"strconv"

	"github.com/tidemark/tidemark/models"
)

// documentHash is the hash whose sum over a space's live documents is its
// digest: FNV-1a (64 bit) of collection, a zero byte, id, a zero byte and the
// version in decimal, then the finalizer of MurmurHash3. Without the finalizer
// the hashes of two documents whose versions differ in the last digit differ by
// almost the same amount, and swapping the two versions would keep the sum.
func documentHash(collection, id string, version int64) uint64 {
	var digits [20]byte
	h := fnvZero(fnv(uint64(fnvOffset), collection))
	h = fnvZero(fnv(h, id))
	return mix(fnv(h, strconv.AppendInt(digits[:0], version, 10)))
}

// account moves the space's digest and live count from one state of a document
// to the next; nil is a document that does not exist.
func account(s *models.Space, before, after *models.Document) {
	if live(before) {
		s.Digest -= int64(documentHash(before.Collection, before.ID, before.Version))
		s.LiveCount--
	}
	if live(after) {
		s.Digest += int64(documentHash(after.Collection, after.ID, after.Version))
		s.LiveCount++
	}
}

// digest tells what a client of c holds once it has come to the head of a space. A
// filter leaves out documents, of which nobody keeps account.
func (c cursor) digest(s *models.Space) *models.Digest {
	if c.filter != 0 {
		return nil
	}
	return &models.Digest{Sum: uint64(s.Digest), Count: s.LiveCount}
}

// live reports whether there is a document, as opposed to nothing or a tombstone.
func live(d *models.Document) bool { return d != nil && !d.Deleted }
