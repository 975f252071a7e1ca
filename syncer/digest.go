package syncer

import (
	"hash/fnv"
	"strconv"

	"github.com/tidemark/tidemark/models"
)

// documentHash is the hash whose sum over a space's live documents is its
// digest: FNV-1a (64 bit) of collection, a zero byte, id, a zero byte and the
// version in decimal, then the finalizer of MurmurHash3. Without the finalizer
// the hashes of two documents whose versions differ in the last digit differ by
// almost the same amount, and swapping the two versions would keep the sum.
func documentHash(collection, id string, version int64) uint64 {
	h := fnv.New64a()
	h.Write([]byte(collection))
	h.Write([]byte{0})
	h.Write([]byte(id))
	h.Write([]byte{0})
	h.Write(strconv.AppendInt(nil, version, 10))
	return mix(h.Sum64())
}

// mix is the 64-bit finalizer of MurmurHash3: every input bit reaches every output bit.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
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

// live reports whether there is a document, as opposed to nothing or a tombstone.
func live(d *models.Document) bool { return d != nil && !d.Deleted }
