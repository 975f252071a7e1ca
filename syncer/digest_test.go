package syncer

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
)

var vector = regexp.MustCompile("(?m)^ *\\| `([^`]+)` \\| `([^`]+)` \\| ([0-9]+) \\| `([0-9a-f]{16})` \\|$")

// Clients compute the same hash in other languages, by what openapi.yaml says.
func TestDocumentHash_vectors(t *testing.T) {
	t.Parallel()
	spec, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	vectors := vector.FindAllStringSubmatch(string(spec), -1)
	if len(vectors) != 3 {
		t.Fatalf("openapi.yaml has %d vectors, want 3", len(vectors))
	}
	for _, v := range vectors {
		version, err := strconv.ParseInt(v[3], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%016x", documentHash(v[1], v[2], version)); got != v[4] {
			t.Errorf("documentHash(%q, %q, %d) = %s, want %s", v[1], v[2], version, got, v[4])
		}
	}
}

func TestDocumentHash_tellsNamesApart(t *testing.T) {
	t.Parallel()
	seen := make(map[uint64]string)
	for _, key := range []Key{{"a", "bc"}, {"ab", "c"}, {"abc", ""}, {"", "abc"}} {
		h := documentHash(key.Collection, key.ID, 1)
		if other, ok := seen[h]; ok {
			t.Errorf("%v and %s have the same hash", key, other)
		}
		seen[h] = key.Collection + "/" + key.ID
	}
}

// Two documents that change places in the feed keep the sum of their names and
// of their versions, but not the digest.
func TestDigest_seesASwap(t *testing.T) {
	t.Parallel()
	digest := func(v1, v2 int64) int64 {
		var s models.Space
		account(&s, nil, &models.Document{Collection: "c", ID: "d1", Version: v1})
		account(&s, nil, &models.Document{Collection: "c", ID: "d2", Version: v2})
		return s.Digest
	}
	for v := int64(1795428004000000); v < 1795428004000100; v++ {
		if digest(v, v+1) == digest(v+1, v) {
			t.Fatalf("swapping versions %d and %d keeps the digest", v, v+1)
		}
	}
}

func TestAccount(t *testing.T) {
	t.Parallel()
	live := func(version int64) *models.Document {
		return &models.Document{Collection: "c", ID: "d", Version: version}
	}
	dead := &models.Document{Collection: "c", ID: "d", Version: 3, Deleted: true}
	h := func(version int64) int64 { return int64(documentHash("c", "d", version)) }

	var s models.Space
	for _, step := range []struct {
		what          string
		before, after *models.Document
		want          models.Space
	}{
		{"created", nil, live(1), models.Space{Digest: h(1), LiveCount: 1}},
		{"changed", live(1), live(2), models.Space{Digest: h(2), LiveCount: 1}},
		{"deleted", live(2), dead, models.Space{}},
		{"created again", dead, live(4), models.Space{Digest: h(4), LiveCount: 1}},
	} {
		account(&s, step.before, step.after)
		if diff := cmp.Diff(step.want, s); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.what, diff)
		}
	}
}
