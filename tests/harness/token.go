package harness

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"time"
)

// Secret is a key for tests that want authentication and have no wish of their own.
const Secret = "a secret of the tests, thirty-two bytes or more"

// Claims are the claims of a token.
type Claims map[string]any

// Token signs the claims for Secret, HS256. A subject and an expiry in an hour
// are added unless the claims have their own; a claim that is nil is left out.
func Token(claims Claims) string { return Sign(Secret, Claims{"alg": "HS256", "typ": "JWT"}, claims) }

// Sign makes a token with any header, so that also bad ones can be made.
func Sign(secret string, header, claims Claims) string {
	now := time.Now()
	all := Claims{"sub": "tester", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	signed := segment(header) + "." + segment(all)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func segment(members Claims) string {
	encoded, err := json.Marshal(members)
	if err != nil {
		panic(err) // a test's own literal
	}
	return base64.RawURLEncoding.EncodeToString(encoded)
}
