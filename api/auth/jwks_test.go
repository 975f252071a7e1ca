package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/tidemark/tidemark/models"
)

// signer is a private key of an issuer.
type signer struct {
	kid    string
	method jwt.SigningMethod
	key    crypto.Signer
}

func newSigners(t *testing.T) []signer {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return []signer{
		{"rsa", jwt.SigningMethodRS256, rsaKey},
		{"ec", jwt.SigningMethodES256, ecKey},
		{"ed", jwt.SigningMethodEdDSA, edKey},
	}
}

func (s signer) token(t *testing.T) string {
	return sign(t, s.method, s.key, map[string]any{"kid": s.kid}, good())
}

// keySet returns the JWK Set of the signers' public keys.
func keySet(t *testing.T, signers ...signer) []byte {
	t.Helper()
	var set jwkset.JWKSMarshal
	for _, s := range signers {
		jwk, err := jwkset.NewJWKFromKey(s.key.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: s.kid}})
		if err != nil {
			t.Fatal(err)
		}
		set.Keys = append(set.Keys, jwk.Marshal())
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// issuer serves a JWK Set that can be exchanged.
type issuer struct {
	*httptest.Server
	mu      sync.Mutex
	set     []byte // nil: answers 500
	fetches int
}

func newIssuer(t *testing.T, set []byte) *issuer {
	i := &issuer{set: set}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.fetches++
		if i.set == nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(i.set)
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) serve(set []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.set = set
}

func TestJWKS_file(t *testing.T) {
	t.Parallel()
	signers := newSigners(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, keySet(t, signers...), 0o600); err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, func(o *Options) { o.Secret, o.JWKS = "", file })
	for _, s := range signers {
		if _, err := v.Verify(t.Context(), s.token(t)); err != nil {
			t.Errorf("%s: %v", s.kid, err)
		}
		if _, err := v.Verify(t.Context(), sign(t, s.method, s.key, nil, good())); err != nil {
			t.Errorf("%s without kid: %v", s.kid, err)
		}
	}
	for _, stranger := range newSigners(t) {
		_, err := v.Verify(t.Context(), stranger.token(t))
		wantVerdict(t, err, false)
	}
}

// The classic confusion: the public key, which everybody has, used as a secret.
func TestJWKS_publicKeyIsNoSecret(t *testing.T) {
	t.Parallel()
	s := newSigners(t)[0]
	v := newVerifier(t, func(o *Options) { o.Secret, o.JWKS = "", newIssuer(t, keySet(t, s)).URL })
	public, err := x509.MarshalPKIXPublicKey(s.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range [][]byte{public, keySet(t, s), {}} {
		_, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodHS256, key, map[string]any{"kid": s.kid}, good()))
		wantVerdict(t, err, false)
	}
}

// RFC 8725, section 3.1: a key is for one use and one algorithm, with a kid and
// without; and RFC 7518, section 3.3: those of RSA are long.
func TestJWKS_keysForSomethingElse(t *testing.T) {
	t.Parallel()
	signers := newSigners(t)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	brief := signer{"brief", jwt.SigningMethodRS256, short}
	for _, test := range []struct {
		name   string
		signer signer
		say    jwkset.JWKMetadataOptions
		alg    jwkset.ALG
		ok     bool
	}{
		{"says nothing", signers[0], jwkset.JWKMetadataOptions{}, "", true},
		{"for signatures", signers[0], jwkset.JWKMetadataOptions{USE: jwkset.UseSig}, jwkset.AlgRS256, true},
		{"to verify", signers[1], jwkset.JWKMetadataOptions{KEYOPS: []jwkset.KEYOPS{jwkset.KeyOpsVerify}}, "", true},
		{"for encryption", signers[0], jwkset.JWKMetadataOptions{USE: jwkset.UseEnc}, "", false},
		{"to encrypt", signers[0], jwkset.JWKMetadataOptions{KEYOPS: []jwkset.KEYOPS{jwkset.KeyOpsEncrypt}}, "", false},
		{"for another algorithm", signers[0], jwkset.JWKMetadataOptions{}, jwkset.AlgPS256, false},
		{"too short", brief, jwkset.JWKMetadataOptions{}, "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.say.KID, test.say.ALG = test.signer.kid, test.alg
			jwk, err := jwkset.NewJWKFromKey(test.signer.key.Public(), jwkset.JWKOptions{Metadata: test.say})
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{jwk.Marshal()}})
			if err != nil {
				t.Fatal(err)
			}
			v := newVerifier(t, func(o *Options) { o.Secret, o.JWKS = "", newIssuer(t, text).URL })
			for _, header := range []map[string]any{{"kid": test.signer.kid}, nil} {
				_, err := v.Verify(t.Context(), sign(t, test.signer.method, test.signer.key, header, good()))
				wantVerdict(t, err, test.ok)
			}
		})
	}
}

// A file that holds private keys by mistake works, as its public keys would.
func TestJWKS_privateKeys(t *testing.T) {
	t.Parallel()
	s := newSigners(t)[1]
	jwk, err := jwkset.NewJWKFromKey(s.key, jwkset.JWKOptions{Marshal: jwkset.JWKMarshalOptions{Private: true}, Metadata: jwkset.JWKMetadataOptions{KID: s.kid}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{jwk.Marshal()}})
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, func(o *Options) { o.Secret, o.JWKS = "", newIssuer(t, text).URL })
	if _, err := v.Verify(t.Context(), s.token(t)); err != nil {
		t.Error(err)
	}
}

func TestJWKS_badFiles(t *testing.T) {
	t.Parallel()
	for i, text := range []string{"", "{", `{"keys":[]}`, `[]`} {
		file := filepath.Join(t.TempDir(), fmt.Sprint(i))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(t.Context(), Options{JWKS: file}); err == nil {
			t.Errorf("%q is taken for a JWK Set", text)
		}
	}
}

func TestJWKS_rotation(t *testing.T) {
	t.Parallel()
	signers := newSigners(t)
	before, after := signers[1], signers[2]
	i := newIssuer(t, keySet(t, before))
	v := newVerifier(t, func(o *Options) { o.Secret, o.JWKS = "", i.URL })
	if _, err := v.Verify(t.Context(), before.token(t)); err != nil {
		t.Fatal(err)
	}
	i.serve(keySet(t, after))
	if _, err := v.Verify(t.Context(), after.token(t)); err != nil {
		t.Errorf("a key that is new at the issuer: %v", err)
	}
	_, err := v.Verify(t.Context(), before.token(t))
	wantVerdict(t, err, false)
}

// Anybody can make up key ids; they must neither hammer the issuer nor hang.
func TestJWKS_unknownKeyIDs(t *testing.T) {
	t.Parallel()
	s := newSigners(t)[1]
	i := newIssuer(t, keySet(t, s))
	v := newVerifier(t, func(o *Options) { o.Secret, o.JWKS = "", i.URL })
	for n := range 20 {
		made := signer{fmt.Sprint("made-up-", n), s.method, s.key}
		_, err := v.Verify(t.Context(), made.token(t))
		wantVerdict(t, err, false)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.fetches > 2 { // the first, and one for the first unknown id
		t.Errorf("%d fetches", i.fetches)
	}
}

func TestJWKS_issuerComesLater(t *testing.T) {
	t.Parallel()
	s := newSigners(t)[1]
	i := newIssuer(t, nil)
	var told int
	v := newVerifier(t, func(o *Options) {
		o.Secret, o.JWKS, o.OnRefreshError = "", i.URL, func(error) { told++ }
	})
	if told == 0 {
		t.Error("nobody was told that the set can't be fetched")
	}
	i.serve(keySet(t, s))
	if _, err := v.Verify(t.Context(), sign(t, s.method, s.key, nil, good())); err != nil {
		t.Errorf("after the issuer came up: %v", err)
	}
}

func TestJWKS_unavailable(t *testing.T) {
	t.Parallel()
	s := newSigners(t)[1]
	v := newVerifier(t, func(o *Options) { o.Secret, o.JWKS = "", newIssuer(t, nil).URL })
	_, err := v.Verify(t.Context(), s.token(t))
	if models.CodeOf(err) != models.CodeUnavailable {
		t.Errorf("got %v, want %s: nothing is known about the token", err, models.CodeUnavailable)
	}
}
