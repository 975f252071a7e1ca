package auth

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tidemark/tidemark/models"
)

// counted counts how often a token's key is looked for: once for each check.
type counted struct {
	keys
	mu     sync.Mutex
	checks int
	err    error
}

func (c *counted) find(ctx context.Context, t *jwt.Token) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checks++
	if c.err != nil {
		return nil, c.err
	}
	return c.keys.find(ctx, t)
}

// timed returns a verifier whose clock the test moves, and what counts its checks.
func timed(t *testing.T) (v *Verifier, now *time.Time, checks *counted) {
	t.Helper()
	clock := noon
	v = newVerifier(t, func(o *Options) { o.Now = func() time.Time { return clock } })
	checks = &counted{keys: v.keys}
	v.keys = checks
	return v, &clock, checks
}

func TestVerify_checksOncePerMinute(t *testing.T) {
	t.Parallel()
	v, now, checks := timed(t)
	token := signHS256(t, good())
	first, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		passed time.Duration // since noon
		want   int           // checks so far
	}{{0, 1}, {rememberFor - 1, 1}, {rememberFor, 2}, {2*rememberFor - 1, 2}, {3 * rememberFor, 3}} {
		*now = noon.Add(step.passed)
		p, err := v.Verify(t.Context(), token)
		if err != nil || p.Subject != first.Subject || !p.Expires.Equal(first.Expires) || !p.CanWrite("team-42") || p.CanWrite("news-1") {
			t.Errorf("after %v: %+v, %v", step.passed, p, err)
		}
		if checks.checks != step.want {
			t.Errorf("after %v: %d checks, want %d", step.passed, checks.checks, step.want)
		}
	}
	c := good()
	c["sub"] = "bob"
	if p, err := v.Verify(t.Context(), signHS256(t, c)); err != nil || p.Subject != "bob" {
		t.Errorf("another token: %+v, %v", p, err)
	}
}

func TestVerify_expiresWhileRemembered(t *testing.T) {
	t.Parallel()
	v, now, _ := timed(t)
	c := good()
	c["exp"] = noon.Add(10 * time.Second).Unix()
	token := signHS256(t, c)
	for _, step := range []struct {
		passed time.Duration
		ok     bool
	}{{0, true}, {10*time.Second + leeway - 1, true}, {10*time.Second + leeway, false}, {50 * time.Second, false}} {
		*now = noon.Add(step.passed)
		_, err := v.Verify(t.Context(), token)
		wantVerdict(t, err, step.ok)
	}
}

// A token that is too young to be good is checked again each time.
func TestVerify_doesNotRememberRefusals(t *testing.T) {
	t.Parallel()
	v, now, checks := timed(t)
	c := good()
	c["nbf"] = noon.Add(leeway + time.Second).Unix()
	token := signHS256(t, c)
	for range 3 {
		_, err := v.Verify(t.Context(), token)
		wantVerdict(t, err, false)
	}
	if checks.checks != 3 || len(v.verified.young) != 0 {
		t.Errorf("%d checks and %d remembered, want 3 and none", checks.checks, len(v.verified.young))
	}
	*now = noon.Add(time.Second)
	_, err := v.Verify(t.Context(), token)
	wantVerdict(t, err, true)

	checks.err = errNoKeys
	for range 2 {
		if _, err := v.Verify(t.Context(), signHS256(t, good())); models.CodeOf(err) != models.CodeUnavailable {
			t.Errorf("without keys: %v", err)
		}
	}
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Errorf("without keys, remembered: %v", err)
	}
}

// A key that is withdrawn is noticed after a minute.
func TestVerify_keyWithdrawn(t *testing.T) {
	t.Parallel()
	signers := newSigners(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, keySet(t, signers...), 0o600); err != nil {
		t.Fatal(err)
	}
	now := noon
	v := newVerifier(t, func(o *Options) { o.Secret, o.JWKS, o.Now = "", file, func() time.Time { return now } })
	_, err := v.Verify(t.Context(), signers[0].token(t))
	wantVerdict(t, err, true)
	set, ok := v.keys.(jwks)
	if !ok {
		t.Fatalf("keys are %T", v.keys)
	}
	if _, err := set.Storage().KeyDelete(t.Context(), signers[0].kid); err != nil {
		t.Fatal(err)
	}
	now = noon.Add(rememberFor)
	_, err = v.Verify(t.Context(), signers[0].token(t))
	wantVerdict(t, err, false)
}

func TestVerified_bounded(t *testing.T) {
	t.Parallel()
	var v verified
	p := &Principal{Expires: noon.Add(time.Hour)}
	named := func(i int) (d digest) {
		copy(d[:], fmt.Sprint(i))
		return d
	}
	for i := range 3 * maxVerified {
		v.add(named(i), p, noon)
	}
	if len(v.young) > maxVerified || len(v.old) > maxVerified {
		t.Errorf("%d and %d are remembered", len(v.young), len(v.old))
	}
	if v.find(named(0), noon) != nil {
		t.Error("the first is not forgotten")
	}
	for i := range maxVerified {
		if v.find(named(3*maxVerified-1-i), noon) != p {
			t.Fatalf("the last but %d is forgotten", i)
		}
	}
}

func TestVerify_concurrently(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, func(o *Options) { o.Now = nil })
	tokens := make([]string, 4)
	for i := range tokens {
		c := good()
		c["sub"], c["iat"], c["exp"] = fmt.Sprint("user", i), time.Now().Unix(), time.Now().Add(time.Hour).Unix()
		tokens[i] = signHS256(t, c)
	}
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			for range 100 {
				p, err := v.Verify(t.Context(), tokens[i%4])
				if want := fmt.Sprint("user", i%4); err != nil || p.Subject != want {
					t.Errorf("got %+v, %v, want %s", p, err, want)
					return
				}
			}
		})
	}
	wait.Wait()
}

func BenchmarkVerify(b *testing.B) {
	v, err := New(b.Context(), Options{Secret: testSecret})
	if err != nil {
		b.Fatal(err)
	}
	source := &kept{revocations: []models.Revocation{{Kind: models.RevokedSubject, Name: "bob"}, {Kind: models.RevokedToken, Name: "j1"}}}
	directory, err := OpenDirectory(b.Context(), source, DirectoryOptions{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, end := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- directory.Run(ctx) }() // so that what is known stays fresh
	defer func() { end(); <-done }()
	v.Consult(directory)
	token, err := Mint(b.Context(), Options{Secret: testSecret}, Grant{Subject: "alice", Spaces: map[string]string{"team-42": "rw", "news-*": "r"}, TTL: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	for name, verify := range map[string]func(context.Context, string) (*Principal, error){"first": v.verify, "again": v.Verify} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
