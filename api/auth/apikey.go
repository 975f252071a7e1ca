package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/tidemark/tidemark/models"
)

// An API key is tm_<id>_<secret>: 50 random bits that name it, and 260 that nobody
// can guess, in base32. It holds no dot, and a JWT two, so neither passes for the
// other; what looks for lost secrets knows it by its beginning.
const (
	keyPrefix      = "tm_"
	keyIDBytes     = 10
	keySecretBytes = 52
)

const maxKeyNameBytes = 128

// KeyGrant is what a new API key says.
type KeyGrant struct {
	Name    string // for people
	Subject string
	Spaces  map[string]string // a space or a pattern to "r" or "rw"
	TTL     time.Duration     // 0: for ever
}

// NewKey makes an API key, and the row by which it is known. The key itself is
// nowhere but in the answer.
//
// The row has its SHA-256, which for a secret of 260 random bits is as good as bcrypt
// and the like: those make it slow to try what people would choose, and of these
// nobody can try a noticeable part. But a request would have to wait for them.
func NewKey(g KeyGrant, now time.Time) (key string, row models.APIKey, err error) {
	if g.Name == "" || len(g.Name) > maxKeyNameBytes || strings.ContainsFunc(g.Name, unicode.IsControl) {
		return "", row, fmt.Errorf("a key's name must have 1 to %d bytes and no control characters", maxKeyNameBytes)
	}
	if err := checkSubject(g.Subject); err != nil {
		return "", row, err
	}
	if _, err := newPrincipal(g.Subject, g.Spaces); err != nil {
		return "", row, err
	}
	spaces, err := json.Marshal(g.Spaces)
	if err != nil {
		return "", row, err
	}
	row = models.APIKey{
		ID: rand.Text()[:keyIDBytes], Name: g.Name, Subject: g.Subject, Spaces: string(spaces), CreatedAt: now.UnixMilli(),
	}
	switch {
	case g.TTL < 0:
		return "", row, errors.New("a key can't have expired before it is made")
	case g.TTL > 0:
		expires := now.Add(g.TTL).UnixMilli()
		row.ExpiresAt = &expires
	}
	key = keyPrefix + row.ID + "_" + (rand.Text() + rand.Text())[:keySecretBytes]
	hash := sha256.Sum256([]byte(key))
	row.Hash = hash[:]
	return key, row, nil
}

// isKey reports whether what was sent as a token is meant as an API key.
func isKey(text string) bool { return strings.HasPrefix(text, keyPrefix) }

// keyID returns the id that an API key holds, "" if that is no key.
func keyID(text string) string {
	id, secret, _ := strings.Cut(strings.TrimPrefix(text, keyPrefix), "_")
	if len(id) != keyIDBytes || len(secret) != keySecretBytes {
		return ""
	}
	return id
}

// knownKey is an API key that is good until it expires.
type knownKey struct {
	hash      []byte
	principal *Principal
}

// opens reports whether text is this key. It takes as long for one that is almost
// right as for any other.
func (k *knownKey) opens(text string) bool {
	hash := sha256.Sum256([]byte(text))
	return subtle.ConstantTimeCompare(hash[:], k.hash) == 1
}

// newKnownKey reads the row of a key. Somebody may have written to it by hand.
func newKnownKey(row *models.APIKey) (*knownKey, error) {
	var spaces map[string]string
	if err := json.Unmarshal([]byte(row.Spaces), &spaces); err != nil {
		return nil, fmt.Errorf("spaces: %w", err)
	}
	if err := checkSubject(row.Subject); err != nil {
		return nil, err
	}
	p, err := newPrincipal(row.Subject, spaces)
	if err != nil {
		return nil, err
	}
	p.Origin.KeyID = row.ID
	if row.ExpiresAt != nil {
		p.Expires = time.UnixMilli(*row.ExpiresAt)
	}
	return &knownKey{hash: row.Hash, principal: p}, nil
}
