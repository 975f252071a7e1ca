package syncer

import (
	stdfnv "hash/fnv"
	"testing"

	"pgregory.net/rapid"
)

// What was hashed once is stored: receipts, digests.
func TestFNV_isTheStandardOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.String().Draw(t, "a"), rapid.SliceOf(rapid.Byte()).Draw(t, "b")
		h := stdfnv.New64a()
		_, _ = h.Write([]byte(a))
		if got, want := fnv(fnvOffset, a), h.Sum64(); got != want {
			t.Fatalf("got %x, want %x", got, want)
		}
		_, _ = h.Write([]byte{0})
		_, _ = h.Write(b)
		_, _ = h.Write([]byte{0})
		if got, want := hash32(a, b), uint32(mix(h.Sum64())); got != want {
			t.Fatalf("two texts: got %x, want %x", got, want)
		}
	})
}
