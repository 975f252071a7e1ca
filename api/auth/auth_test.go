package auth

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
)

const testSecret = "0123456789abcdef0123456789abcdef"

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newVerifier(t *testing.T, change ...func(*Options)) *Verifier {
	t.Helper()
	opts := Options{Secret: testSecret, MaxTTL: 24 * time.Hour, Now: func() time.Time { return noon }}
	for _, c := range change {
		c(&opts)
	}
	v, err := New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// good returns the claims of a token that is accepted.
func good() jwt.MapClaims {
	return jwt.MapClaims{
		"sub":    "alice",
		"exp":    noon.Add(time.Hour).Unix(),
		"iat":    noon.Unix(),
		"spaces": map[string]any{"team-42": "rw", "news-*": "r"},
	}
}

func sign(t *testing.T, method jwt.SigningMethod, key any, header map[string]any, c jwt.Claims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func signHS256(t *testing.T, c jwt.Claims) string {
	return sign(t, jwt.SigningMethodHS256, []byte(testSecret), nil, c)
}

func TestVerify_good(t *testing.T) {
	t.Parallel()
	p, err := newVerifier(t).Verify(t.Context(), signHS256(t, good()))
	if err != nil {
		t.Fatal(err)
	}
	if p.Subject != "alice" {
		t.Errorf("subject %q, want alice", p.Subject)
	}
	if diff := cmp.Diff([]string{"team-42"}, p.Spaces()); diff != "" {
		t.Errorf("exact spaces (-want +got):\n%s", diff)
	}
}

func TestVerify_claims(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(jwt.MapClaims)
		ok     bool
	}{
		{"exp just past, within the leeway", func(c jwt.MapClaims) { c["exp"] = noon.Add(-20 * time.Second).Unix() }, true},
		{"exp past", func(c jwt.MapClaims) { c["exp"] = noon.Add(-31 * time.Second).Unix() }, false},
		{"no exp", func(c jwt.MapClaims) { delete(c, "exp") }, false},
		{"exp null", func(c jwt.MapClaims) { c["exp"] = nil }, false},
		{"exp a string", func(c jwt.MapClaims) { c["exp"] = "tomorrow" }, false},
		{"exp huge", func(c jwt.MapClaims) { c["exp"] = 1e300 }, false},
		{"exp as far as allowed", func(c jwt.MapClaims) { c["exp"] = noon.Add(24 * time.Hour).Unix() }, true},
		{"exp too far", func(c jwt.MapClaims) { c["exp"] = noon.Add(24*time.Hour + time.Second).Unix() }, false},
		{"exp too far, no iat", func(c jwt.MapClaims) { delete(c, "iat"); c["exp"] = noon.Add(25 * time.Hour).Unix() }, false},
		{"exp in 10 years", func(c jwt.MapClaims) { c["exp"] = noon.AddDate(10, 0, 0).Unix() }, false},
		{"lived long already", func(c jwt.MapClaims) { c["iat"] = noon.Add(-24 * time.Hour).Unix() }, false},
		{"no iat", func(c jwt.MapClaims) { delete(c, "iat") }, true},
		{"iat in the future", func(c jwt.MapClaims) { c["iat"] = noon.Add(time.Minute).Unix() }, false},
		{"nbf past", func(c jwt.MapClaims) { c["nbf"] = noon.Unix() }, true},
		{"nbf in the future", func(c jwt.MapClaims) { c["nbf"] = noon.Add(time.Hour).Unix() }, false},
		{"no sub", func(c jwt.MapClaims) { delete(c, "sub") }, false},
		{"sub empty", func(c jwt.MapClaims) { c["sub"] = "" }, false},
		{"sub of 128 bytes", func(c jwt.MapClaims) { c["sub"] = strings.Repeat("a", 128) }, true},
		{"sub of 129 bytes", func(c jwt.MapClaims) { c["sub"] = strings.Repeat("a", 129) }, false},
		{"sub with NUL", func(c jwt.MapClaims) { c["sub"] = "a\x00b" }, false},
		{"sub a number", func(c jwt.MapClaims) { c["sub"] = 7 }, false},
		{"no spaces", func(c jwt.MapClaims) { delete(c, "spaces") }, false},
		{"spaces null", func(c jwt.MapClaims) { c["spaces"] = nil }, false},
		{"spaces empty", func(c jwt.MapClaims) { c["spaces"] = map[string]any{} }, true},
		{"spaces a list", func(c jwt.MapClaims) { c["spaces"] = []string{"s1"} }, false},
		{"spaces a string", func(c jwt.MapClaims) { c["spaces"] = "s1" }, false},
		{"access unknown", func(c jwt.MapClaims) { c["spaces"] = map[string]any{"s1": "w"} }, false},
		{"access true", func(c jwt.MapClaims) { c["spaces"] = map[string]any{"s1": true} }, false},
		{"all spaces", func(c jwt.MapClaims) { c["spaces"] = map[string]any{"*": "r"} }, true},
		{"star inside", func(c jwt.MapClaims) { c["spaces"] = map[string]any{"a*b": "r"} }, false},
		{"two stars", func(c jwt.MapClaims) { c["spaces"] = map[string]any{"a**": "r"} }, false},
		{"jti", func(c jwt.MapClaims) { c["jti"] = strings.Repeat("j", 256) }, true},
		{"jti too long", func(c jwt.MapClaims) { c["jti"] = strings.Repeat("j", 257) }, false},
		{"jti of lines", func(c jwt.MapClaims) { c["jti"] = "a\nb" }, false},
		{"jti a number", func(c jwt.MapClaims) { c["jti"] = 7 }, false},
		{"aud, and the server has no name", func(c jwt.MapClaims) { c["aud"] = "other" }, false},
		{"aud of nobody", func(c jwt.MapClaims) { c["aud"] = []string{} }, true},
		{"a claim like sub", func(c jwt.MapClaims) { c["SUB"] = 7 }, true}, // and not taken for it: TestVerify_namesOfClaims
		{"space with a slash", func(c jwt.MapClaims) { c["spaces"] = map[string]any{"a/b": "r"} }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := good()
			test.change(c)
			_, err := newVerifier(t).Verify(t.Context(), signHS256(t, c))
			wantVerdict(t, err, test.ok)
		})
	}
}

func wantVerdict(t *testing.T, err error, ok bool) {
	t.Helper()
	if ok && err != nil {
		t.Errorf("refused: %v", err)
	}
	if !ok && (err == nil || models.CodeOf(err) != models.CodeUnauthenticated) {
		t.Errorf("got %v, want %s", err, models.CodeUnauthenticated)
	}
}

// base64URL is the alphabet (RFC 4648, section 5).
const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func TestVerify_forged(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	segment := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	whole := signHS256(t, good())
	parts := strings.Split(whole, ".")
	claims := fmt.Sprintf(`{"sub":"alice","exp":%d,"spaces":{"s1":"rw"}}`, noon.Add(time.Hour).Unix())
	rest := fmt.Sprintf(`"exp":%d,"spaces":{"s1":"rw"}}`, noon.Add(time.Hour).Unix())
	signed := func(claims string) string { return signText(t, claims) }
	hs256 := func(header map[string]any) string {
		return sign(t, jwt.SigningMethodHS256, []byte(testSecret), header, good())
	}
	for name, token := range map[string]string{
		"empty":                        "",
		"one word":                     "abc",
		"dots":                         strings.Repeat(".", 4000),
		"two parts":                    parts[0] + "." + parts[1],
		"four parts":                   whole + ".x",
		"another secret":               sign(t, jwt.SigningMethodHS256, []byte(strings.Repeat("x", 32)), nil, good()),
		"empty secret":                 sign(t, jwt.SigningMethodHS256, []byte{}, nil, good()),
		"alg none":                     sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, good()),
		"alg NONE":                     segment(`{"alg":"NONE"}`) + "." + segment(claims) + ".",
		"alg missing":                  segment(`{}`) + "." + segment(claims) + "." + parts[2],
		"alg a number":                 segment(`{"alg":1}`) + "." + segment(claims) + "." + parts[2],
		"HS384":                        sign(t, jwt.SigningMethodHS384, []byte(testSecret), nil, good()),
		"RS256":                        sign(t, jwt.SigningMethodRS256, rsaKey, nil, good()),
		"base64 that is not canonical": whole[:len(whole)-1] + string(base64URL[strings.IndexByte(base64URL, whole[len(whole)-1])|1]),
		"no signature":                 parts[0] + "." + parts[1] + ".",
		"claims exchanged":             parts[0] + "." + segment(claims) + "." + parts[2],
		"signature with padding":       whole + "=",
		"not base64":                   parts[0] + "." + parts[1] + ".!!!",
		"claims no JSON":               parts[0] + "." + segment("{") + "." + parts[2],
		"two subs":                     signed(`{"sub":"alice","sub":"bob",` + rest),
		"a space twice":                signed(`{"sub":"alice","spaces":{"a":"r","a":"rw"},` + rest),
		"no UTF-8":                     signed("{\"sub\":\"al\xffice\"," + rest),
		"half a character":             signed(`{"sub":"al\ud800ice",` + rest),
		"of a logout":                  hs256(map[string]any{"typ": "logout+jwt"}),
		"of an event":                  hs256(map[string]any{"typ": "application/secevent+jwt"}),
		"of a proof":                   hs256(map[string]any{"typ": "dpop+jwt"}),
		"of no type":                   hs256(map[string]any{"typ": ""}),
		"type a number":                hs256(map[string]any{"typ": 7}),
		"header jku":                   hs256(map[string]any{"jku": "http://evil.example/keys"}),
		"header x5u":                   hs256(map[string]any{"x5u": "http://evil.example/cert"}),
		"header jwk":                   hs256(map[string]any{"jwk": map[string]string{"kty": "oct", "k": "AAAA"}}),
		"header x5c":                   hs256(map[string]any{"x5c": []string{"AAAA"}}),
		"header crit":                  hs256(map[string]any{"crit": []string{"b64"}, "b64": false}),
		"kid is a path, empty secret": sign(t, jwt.SigningMethodHS256, []byte{},
			map[string]any{"kid": "../../dev/null"}, good()),
		"longer than 4 KiB": hs256(map[string]any{"x": strings.Repeat("a", 4096)}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := newVerifier(t).Verify(t.Context(), token)
			wantVerdict(t, err, false)
		})
	}
}

// signText signs claims as they are written.
func signText(t *testing.T, claims string) string {
	t.Helper()
	segment := base64.RawURLEncoding.EncodeToString
	text := segment([]byte(`{"alg":"HS256"}`)) + "." + segment([]byte(claims))
	sum, err := jwt.SigningMethodHS256.Sign(text, []byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + segment(sum)
}

// RFC 8725, section 3.11: what else an issuer signs is no token, if it says so.
func TestVerify_types(t *testing.T) {
	t.Parallel()
	for _, typ := range []string{"JWT", "jwt", "at+jwt", "AT+JWT", "application/jwt", "application/at+jwt"} {
		token := sign(t, jwt.SigningMethodHS256, []byte(testSecret), map[string]any{"typ": typ}, good())
		if _, err := newVerifier(t).Verify(t.Context(), token); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
	}
	text := fmt.Sprintf(`{"sub":"alice","exp":%d,"spaces":{}}`, noon.Add(time.Hour).Unix())
	if _, err := newVerifier(t).Verify(t.Context(), signText(t, text)); err != nil {
		t.Errorf("none: %v", err)
	}
}

// An issuer may let its users choose claims with names of their own. They must not
// pass for others.
func TestVerify_namesOfClaims(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"SUB", "Sub", "ſub"} {
		for _, form := range []string{`{"sub":"alice","%s":"root","exp":%d,"spaces":{"a":"r"},"Spaces":{"*":"rw"}}`, `{"%s":"root","sub":"alice","exp":%d,"Spaces":{"*":"rw"},"spaces":{"a":"r"}}`} {
			p, err := newVerifier(t).Verify(t.Context(), signText(t, fmt.Sprintf(form, name, noon.Add(time.Hour).Unix())))
			if err != nil {
				t.Fatal(err)
			}
			if p.Subject != "alice" || p.CanRead("b") || p.CanWrite("a") {
				t.Errorf("with %s: %+v", name, p)
			}
		}
	}
}

func TestVerify_audienceAndIssuer(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, func(o *Options) { o.Audience, o.Issuer = "tidemark", "https://id.example" })
	for _, test := range []struct {
		name     string
		aud, iss any
		ok       bool
	}{
		{"both right", "tidemark", "https://id.example", true},
		{"one of several audiences", []string{"a", "tidemark"}, "https://id.example", true},
		{"another audience", "other", "https://id.example", false},
		{"no audience", nil, "https://id.example", false},
		{"another issuer", "tidemark", "https://evil.example", false},
		{"no issuer", "tidemark", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := good()
			if test.aud != nil {
				c["aud"] = test.aud
			}
			if test.iss != nil {
				c["iss"] = test.iss
			}
			_, err := v.Verify(t.Context(), signHS256(t, c))
			wantVerdict(t, err, test.ok)
		})
	}
}

func TestPrincipal_mostSpecificDecides(t *testing.T) {
	t.Parallel()
	p, err := newPrincipal("alice", map[string]string{
		"team-*":       "rw",
		"team-42":      "r",
		"team-42-*":    "r",
		"team-42-open": "rw",
		"news":         "r",
		"tie":          "r",
		"tie*":         "rw",
	})
	if err != nil {
		t.Fatal(err)
	}
	for space, want := range map[string]string{
		"team-1":         "rw",
		"team-":          "rw",
		"team-42":        "r",
		"team-42-closed": "r",
		"team-42-open":   "rw",
		"team-42-opened": "r",
		"team-421":       "rw",
		"news":           "r",
		"news2":          "",
		"tie":            "r",
		"tied":           "rw",
		"Team-1":         "",
		"team":           "",
		"":               "",
	} {
		got := ""
		if p.CanRead(space) {
			got = "r"
		}
		if p.CanWrite(space) {
			got += "w"
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", space, got, want)
		}
	}
	if diff := cmp.Diff([]string{"news", "team-42", "team-42-open", "tie"}, p.Spaces()); diff != "" {
		t.Errorf("exact spaces (-want +got):\n%s", diff)
	}
}

func TestPrincipal_zeroMayDoNothing(t *testing.T) {
	t.Parallel()
	var p Principal
	if p.CanRead("s1") || p.CanWrite("s1") || len(p.Spaces()) > 0 {
		t.Error("the zero Principal may do something")
	}
	if !Anonymous.CanRead("s1") || !Anonymous.CanWrite("s1") {
		t.Error("Anonymous may not do everything")
	}
}

func TestMint(t *testing.T) {
	t.Parallel()
	opts := Options{Secret: testSecret, Audience: "tidemark", Issuer: "me", MaxTTL: time.Hour, Now: func() time.Time { return noon }}
	for _, test := range []struct {
		name  string
		grant Grant
		ok    bool
	}{
		{"good", Grant{Subject: "bob", Spaces: map[string]string{"s1": "rw"}, TTL: time.Hour}, true},
		{"too long", Grant{Subject: "bob", Spaces: map[string]string{"s1": "rw"}, TTL: 2 * time.Hour}, false},
		{"over already", Grant{Subject: "bob", Spaces: map[string]string{"s1": "rw"}, TTL: -time.Minute}, false},
		{"no subject", Grant{Spaces: map[string]string{"s1": "rw"}, TTL: time.Hour}, false},
		{"bad access", Grant{Subject: "bob", Spaces: map[string]string{"s1": "write"}, TTL: time.Hour}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			token, err := Mint(t.Context(), opts, test.grant)
			if (err == nil) != test.ok {
				t.Fatalf("got %q, %v", token, err)
			}
			if !test.ok {
				return
			}
			p, err := newVerifier(t, func(o *Options) { *o = opts }).Verify(t.Context(), token)
			if err != nil || len(p.Origin.TokenID) < 22 || p.Origin.Issued != noon.UnixMilli() {
				t.Errorf("a token without jti and iat: %+v, %v", p, err)
			}
		})
	}
}

func TestNew_refuses(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]Options{
		"nothing":      {},
		"short secret": {Secret: strings.Repeat("a", 31)},
		"both":         {Secret: testSecret, JWKS: "https://id.example/keys"},
		"no such file": {JWKS: "/nonexistent/keys.json"},
	} {
		if _, err := New(context.Background(), opts); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzVerify(f *testing.F) {
	v, err := New(context.Background(), Options{Secret: testSecret, Now: func() time.Time { return noon }})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		if p, err := v.Verify(context.Background(), token); err == nil {
			t.Fatalf("a token nobody signed is good for %+v", p)
		}
	})
}
