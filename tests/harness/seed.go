package harness

import (
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// EnvSeed names the variable that repeats a random test: it holds the seed
// that the failing run printed.
const EnvSeed = "TIDEMARK_SEED"

// Seed returns the seed of this run and prints it.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv(EnvSeed); given != "" {
		parsed, err := strconv.ParseUint(given, 10, 64)
		if err != nil {
			t.Fatalf("%s=%q is not a number", EnvSeed, given)
		}
		seed = parsed
	}
	t.Logf("%s=%d", EnvSeed, seed)
	return seed
}

// Random returns the numbers of one of a test's goroutines: the same seed and
// name give the same numbers.
func Random(seed uint64, name string) *rand.Rand {
	hash := fnv.New64a()
	hash.Write([]byte(name))
	return rand.New(rand.NewPCG(seed, hash.Sum64()))
}

// EnvSoak names the variable that makes the random tests long, when it is not empty.
const EnvSoak = "TIDEMARK_TEST_SOAK"

// Size chooses between the size for every run of the tests and the size for a soak.
func Size[T any](small, soak T) T {
	if os.Getenv(EnvSoak) != "" {
		return soak
	}
	return small
}

// EnvRounds names the variable that says how many rounds of faults or crashes there
// are, in place of what Size would choose.
const EnvRounds = "TIDEMARK_TEST_ROUNDS"

// Rounds is Size for rounds.
func Rounds(t testing.TB, small, soak int) int {
	t.Helper()
	given := os.Getenv(EnvRounds)
	if given == "" {
		return Size(small, soak)
	}
	rounds, err := strconv.Atoi(given)
	if err != nil || rounds < 1 {
		t.Fatalf("%s=%q is no number of rounds", EnvRounds, given)
	}
	return rounds
}
