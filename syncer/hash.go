package syncer

// FNV-1a, 64 bit. Package hash/fnv does the same, but every text would have to be
// copied first, and each edit has some to hash.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// fnv goes on hashing with text; the first hash is fnvOffset.
func fnv[T ~string | ~[]byte](hash uint64, text T) uint64 {
	for i := range len(text) {
		hash = (hash ^ uint64(text[i])) * fnvPrime
	}
	return hash
}

// fnvZero goes on with a zero byte, which no name holds: it keeps texts apart.
func fnvZero(hash uint64) uint64 { return hash * fnvPrime }

// mix is the 64-bit finalizer of MurmurHash3: every input bit reaches every output bit.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
