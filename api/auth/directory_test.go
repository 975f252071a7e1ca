package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
)

// kept is a source in memory.
type kept struct {
	mu          sync.Mutex
	keys        []models.APIKey
	revocations []models.Revocation
	err         error
	hang, panic bool
	forgotten   [][2]time.Duration // how long ago, when it was told
}

func (k *kept) set(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
}

func (k *kept) Access(ctx context.Context) ([]models.APIKey, []models.Revocation, error) {
	k.mu.Lock()
	keys, revocations := append([]models.APIKey{}, k.keys...), append([]models.Revocation{}, k.revocations...)
	err, hang, panics := k.err, k.hang, k.panic
	k.mu.Unlock()
	if panics {
		panic("a bug")
	}
	if hang {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}
	return keys, revocations, err
}

func (k *kept) ForgetRevocations(ctx context.Context, now, madeBefore time.Time) error {
	k.mu.Lock()
	k.forgotten = append(k.forgotten, [2]time.Duration{time.Since(now), time.Since(madeBefore)})
	err, hang := k.err, k.hang
	k.mu.Unlock()
	if hang {
		<-ctx.Done()
	}
	return err
}

// house is a verifier that asks a directory which runs, in a bubble of its own time.
type house struct {
	t         *testing.T
	source    *kept
	directory *Directory
	verifier  *Verifier
	log       *strings.Builder
}

func inHouse(t *testing.T, test func(*house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &house{t: t, source: &kept{}, log: &strings.Builder{}}
		var err error
		h.directory, err = OpenDirectory(t.Context(), h.source, DirectoryOptions{Logger: slog.New(slog.NewTextHandler(h.log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		if h.verifier, err = New(t.Context(), Options{Secret: testSecret}); err != nil {
			t.Fatal(err)
		}
		h.verifier.Consult(h.directory)
		ctx, end := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.directory.Run(ctx) }()
		test(h)
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (h *house) mint(id, subject string) string {
	h.t.Helper()
	token, err := Mint(h.t.Context(), Options{Secret: testSecret}, Grant{ID: id, Subject: subject, Spaces: map[string]string{"s1": "rw"}, TTL: time.Hour})
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

// makeKey makes a key that is there from now on.
func (h *house) makeKey(g KeyGrant) string {
	h.t.Helper()
	key, row, err := NewKey(g, time.Now())
	if err != nil {
		h.t.Fatal(err)
	}
	h.source.set(func() { h.source.keys = append(h.source.keys, row) })
	return key
}

func (h *house) revoke(kind, name string) {
	h.source.set(func() {
		r := models.Revocation{Kind: kind, Name: name, NotBefore: time.Now().UnixMilli()}
		h.source.revocations = append(h.source.revocations, r)
	})
}

// wants asks again and again until a token's verdict is this; it returns how long that took.
func (h *house) wants(token string, code models.Code) time.Duration {
	h.t.Helper()
	for began := time.Now(); ; <-time.After(10 * time.Millisecond) {
		got := h.verdict(token)
		if got == code {
			return time.Since(began)
		}
		if time.Since(began) > time.Minute {
			h.t.Fatalf("the verdict stays %q, want %q", got, code)
		}
	}
}

// logged is what the directory has written into the log, when it has nothing to do.
func (h *house) logged() string {
	synctest.Wait()
	return h.log.String()
}

// verdict is the code with which a token is refused, "" if it is good.
func (h *house) verdict(token string) models.Code {
	if _, err := h.verifier.Verify(h.t.Context(), token); err != nil {
		return models.CodeOf(err)
	}
	return ""
}

func TestDirectory_revocationsAreSeen(t *testing.T) {
	t.Parallel()
	inHouse(t, func(h *house) {
		hers, hersToo, his := h.mint("j1", "alice"), h.mint("j2", "alice"), h.mint("alice", "bob")
		for _, token := range []string{hers, hersToo, his} {
			h.wants(token, "") // and is remembered from now on
		}
		for i, phase := range []time.Duration{0, 1, lookEvery - 1, lookEvery / 2} {
			<-time.After(phase)
			id := fmt.Sprint("phase", i)
			token := h.mint(id, "alice")
			h.wants(token, "")
			h.revoke(models.RevokedToken, id)
			if took := h.wants(token, models.CodeUnauthenticated); took > lookEvery+10*time.Millisecond {
				t.Errorf("a revocation was seen after %v", took)
			}
		}
		h.revoke(models.RevokedToken, "j1")
		h.wants(hers, models.CodeUnauthenticated)
		h.wants(hersToo, "")
		h.revoke(models.RevokedSubject, "alice")
		h.wants(hersToo, models.CodeUnauthenticated)
		h.wants(his, "") // a jti is no subject
		<-time.After(time.Second)
		h.wants(h.mint("", "alice"), "") // issued since

		// Issued at the very time, which tokens count in seconds.
		<-time.After(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
		same := h.mint("", "alice")
		h.wants(same, "")
		h.revoke(models.RevokedSubject, "alice")
		h.wants(same, models.CodeUnauthenticated)
	})
}

// Whoever can't say when a token was issued can't say that it was afterwards.
func TestDirectory_tokenWithoutIssuedAt(t *testing.T) {
	t.Parallel()
	inHouse(t, func(h *house) {
		c := good()
		delete(c, "iat")
		c["exp"] = time.Now().Add(time.Hour).Unix()
		token := signHS256(t, c)
		h.wants(token, "")
		h.revoke(models.RevokedSubject, "alice")
		h.wants(token, models.CodeUnauthenticated)
		<-time.After(time.Minute)
		c["exp"] = time.Now().Add(time.Hour).Unix()
		h.wants(signHS256(t, c), models.CodeUnauthenticated)
	})
}

// What can't be read may say that anything is revoked.
func TestDirectory_failsClosed(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(*kept){
		"an error": func(k *kept) { k.err = errors.New("away") },
		"a hang":   func(k *kept) { k.hang = true },
		"a panic":  func(k *kept) { k.panic = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inHouse(t, func(h *house) {
				token, key := h.mint("j1", "alice"), h.makeKey(KeyGrant{Name: "job", Subject: "job", Spaces: map[string]string{"s1": "r"}})
				h.wants(key, "") // so a look has just ended
				h.wants(token, "")
				changed := h.verifier.Changed()
				h.source.set(func() { breakIt(h.source) })
				if err := h.verifier.Ready(); err != nil {
					t.Errorf("not ready at once: %v", err)
				}
				took := h.wants(token, models.CodeUnavailable)
				if took > staleAfter || took < staleAfter-20*time.Millisecond {
					t.Errorf("nobody is let in after %v, want %v", took, staleAfter)
				}
				synctest.Wait()
				select {
				case <-changed:
				default:
					t.Error("who waits for changes is not told at once")
				}
				h.wants(key, models.CodeUnavailable)
				if models.CodeOf(h.verifier.Ready()) != models.CodeUnavailable {
					t.Error("the verifier is ready")
				}
				if got := h.verdict(signHS256(t, good()) + "x"); got != models.CodeUnauthenticated {
					t.Errorf("a forged token: %s", got)
				}
				_, err := h.verifier.Verify(t.Context(), token)
				var told *models.Error
				if !errors.As(err, &told) || told.RetryAfter <= 0 {
					t.Errorf("no word on when to come back: %v", err)
				}
				<-time.After(time.Minute)
				changed = h.verifier.Changed()
				h.source.set(func() { h.source.err, h.source.hang, h.source.panic = nil, false, false })
				h.revoke(models.RevokedToken, "j1")
				if took := h.wants(key, ""); took > lookTimeout+retryEvery+10*time.Millisecond {
					t.Errorf("keys are good again after %v", took)
				}
				h.wants(token, models.CodeUnauthenticated)
				if _, open := <-changed; open {
					t.Error("who waits for changes is not told that there are some again")
				}
				if log := h.logged(); strings.Count(log, "level=WARN") != 1 || !strings.Contains(log, "read again") {
					t.Errorf("not one warning and one word of relief:\n%s", log)
				}
			})
		})
	}
}

// A process that was frozen knows nothing of the time between, however soon it is asked.
func TestDirectory_frozen(t *testing.T) {
	t.Parallel()
	inHouse(t, func(h *house) {
		p, err := h.verifier.Verify(t.Context(), h.mint("j1", "alice"))
		if err != nil {
			t.Fatal(err)
		}
		began := h.directory.current.Load().began
		for _, step := range []struct {
			after time.Duration
			code  models.Code
		}{{staleAfter - 1, ""}, {staleAfter, models.CodeUnavailable}, {time.Hour, models.CodeUnavailable}} {
			got := models.Code("")
			if _, err := h.directory.renew(p, began.Add(step.after)); err != nil {
				got = models.CodeOf(err)
			}
			if got != step.code {
				t.Errorf("after %v: %q, want %q", step.after, got, step.code)
			}
		}
	})
}

// Ten thousand streams wait for the channel: it must close when something has
// changed, and only then.
func TestDirectory_changed(t *testing.T) {
	t.Parallel()
	inHouse(t, func(h *house) {
		changed := h.verifier.Changed()
		<-time.After(time.Minute)
		select {
		case <-changed:
			t.Error("a change where there was none")
		default:
		}
		h.revoke(models.RevokedToken, "j1")
		<-changed
		changed = h.verifier.Changed()
		h.makeKey(KeyGrant{Name: "job", Subject: "job", Spaces: map[string]string{"s1": "r"}})
		<-changed
	})
}

func TestDirectory_noSourceAtTheStart(t *testing.T) {
	t.Parallel()
	if _, err := OpenDirectory(t.Context(), &kept{err: errors.New("away")}, DirectoryOptions{}); err == nil {
		t.Error("a directory that knows nothing is opened")
	}
}

func TestDirectory_forgets(t *testing.T) {
	t.Parallel()
	inHouse(t, func(h *house) {
		<-time.After(cleanEvery)
		synctest.Wait()
		h.source.set(func() {
			want := [][2]time.Duration{{0, RevocationTTL(defaultMaxTTL)}}
			if diff := cmp.Diff(want, h.source.forgotten); diff != "" {
				t.Errorf("forgotten (-want +got):\n%s", diff)
			}
		})
		// A database that hangs over it must not keep the node from looking.
		token := h.mint("j1", "alice")
		h.source.set(func() { h.source.hang = true })
		<-time.After(cleanEvery)
		h.source.set(func() { h.source.hang = false })
		h.wants(token, "")
	})
}

func TestDirectory_log(t *testing.T) {
	t.Parallel()
	inHouse(t, func(h *house) {
		key := h.makeKey(KeyGrant{Name: "job", Subject: "robot", Spaces: map[string]string{"s1": "r"}})
		h.wants(key, "")
		h.source.set(func() { h.source.keys = nil })
		h.revoke(models.RevokedToken, "j1")
		h.revoke(models.RevokedSubject, "alice")
		h.wants(key, models.CodeUnauthenticated)
		log := h.logged()
		for _, want := range []string{
			"msg=audit key_id=" + keyID(key) + " subject=robot action=key_revocation_seen",
			"msg=audit token_id=j1 action=token_revocation_seen",
			"msg=audit subject=alice action=subject_revocation_seen",
		} {
			if strings.Count(log, want) != 1 {
				t.Errorf("not once %q in\n%s", want, log)
			}
		}
		if strings.Contains(log, key[len(keyPrefix)+keyIDBytes+1:]) {
			t.Error("the log has a key")
		}
		<-time.After(time.Minute)
		if again := h.logged(); again != log {
			t.Errorf("something is told twice:\n%s", again)
		}
		for i := range 3 * maxTold {
			h.revoke(models.RevokedToken, fmt.Sprint("many", i))
		}
		<-time.After(lookEvery)
		synctest.Wait()
		if got := strings.Count(h.logged(), "msg=audit"); got != 3+maxTold {
			t.Errorf("%d lines, want %d", got, 3+maxTold)
		}
	})
}

func TestKey(t *testing.T) {
	t.Parallel()
	inHouse(t, func(h *house) {
		key := h.makeKey(KeyGrant{Name: "job", Subject: "robot", Spaces: map[string]string{"board-*": "rw", "news": "r"}})
		other := h.makeKey(KeyGrant{Name: "job", Subject: "robot", Spaces: map[string]string{"x": "rw"}})
		brief := h.makeKey(KeyGrant{Name: "job", Subject: "robot", Spaces: map[string]string{"x": "rw"}, TTL: time.Hour})
		if strings.Contains(key, ".") || len(key) > models.MaxTokenBytes || key == other {
			t.Errorf("keys like %s and %s", key, other)
		}
		h.wants(brief, "")
		expiring, err := h.verifier.Verify(t.Context(), brief)
		if err != nil {
			t.Fatal(err)
		}
		p, err := h.verifier.Verify(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if p.Subject != "robot" || !p.CanWrite("board-7") || !p.CanRead("news") || p.CanWrite("news") || p.CanRead("x") || !p.Expires.IsZero() {
			t.Errorf("%+v", p)
		}
		secret := len(keyPrefix) + keyIDBytes + 1
		flipped := []byte(key)
		flipped[len(key)-1] ^= 1
		for name, bad := range map[string]string{
			"another key's secret": key[:secret] + other[secret:],
			"another id":           other[:secret] + key[secret:],
			"one bit":              string(flipped),
			"one less":             key[:len(key)-1],
			"one more":             key + "A",
			"no secret":            key[:secret],
			"nothing":              keyPrefix,
			"lower case":           strings.ToLower(key),
			"as a JWT":             key + ".e30.AAAA",
			"NUL":                  key + "\x00",
		} {
			if got := h.verdict(bad); got != models.CodeUnauthenticated {
				t.Errorf("%s: %q", name, got)
			}
		}
		if got := h.verdict(h.mint("", "alice")); got != "" {
			t.Errorf("a token beside keys: %s", got)
		}
		<-time.After(time.Hour - time.Since(time.Now().Truncate(time.Hour)) - time.Millisecond)
		h.wants(brief, models.CodeUnauthenticated)
		if _, err := h.verifier.Renew(expiring); models.CodeOf(err) != models.CodeUnauthenticated {
			t.Errorf("who has an expired key is renewed: %v", err)
		}
		h.wants(key, "")

		// Streams ask with who they once were, and get the rights of today.
		h.source.set(func() { h.source.keys[0].Spaces = `{"news":"r"}` })
		<-time.After(lookEvery)
		synctest.Wait()
		if now, err := h.verifier.Renew(p); err != nil || now.CanRead("board-7") || !now.CanRead("news") {
			t.Errorf("narrowed: %+v, %v", now, err)
		}
		h.source.set(func() { h.source.keys = h.source.keys[1:] })
		h.wants(key, models.CodeUnauthenticated)
		if _, err := h.verifier.Renew(p); models.CodeOf(err) != models.CodeUnauthenticated {
			t.Errorf("a revoked key's rights: %v", err)
		}
		h.wants(other, "")
	})
}

// A row that somebody has spoiled by hand opens nothing, and hides nothing else.
func TestKey_spoiledRows(t *testing.T) {
	t.Parallel()
	inHouse(t, func(h *house) {
		grant := KeyGrant{Name: "job", Subject: "robot", Spaces: map[string]string{"s1": "rw"}}
		keys := []string{h.makeKey(grant), h.makeKey(grant), h.makeKey(grant), h.makeKey(grant), h.makeKey(grant)}
		h.wants(keys[4], "")
		h.source.set(func() {
			h.source.keys[0].Spaces = `{"s1":"admin"}`
			h.source.keys[1].Spaces = `no JSON`
			h.source.keys[2].Subject = ""
			h.source.keys[3].Hash = nil
		})
		<-time.After(lookEvery)
		synctest.Wait()
		for i, key := range keys {
			want := models.CodeUnauthenticated
			if i == 4 {
				want = ""
			}
			if got := h.verdict(key); got != want {
				t.Errorf("row %d: %q, want %q", i, got, want)
			}
		}
	})
}

func TestNewKey_refuses(t *testing.T) {
	t.Parallel()
	good := KeyGrant{Name: "job", Subject: "robot", Spaces: map[string]string{"s1": "rw"}}
	for name, change := range map[string]func(*KeyGrant){
		"no name":         func(g *KeyGrant) { g.Name = "" },
		"name too long":   func(g *KeyGrant) { g.Name = strings.Repeat("a", 129) },
		"name of lines":   func(g *KeyGrant) { g.Name = "a\nb" },
		"no subject":      func(g *KeyGrant) { g.Subject = "" },
		"access unknown":  func(g *KeyGrant) { g.Spaces = map[string]string{"s1": "w"} },
		"space unknown":   func(g *KeyGrant) { g.Spaces = map[string]string{"a b": "r"} },
		"expired already": func(g *KeyGrant) { g.TTL = -1 },
	} {
		g := good
		change(&g)
		if key, _, err := NewKey(g, noon); err == nil {
			t.Errorf("%s: %s", name, key)
		}
	}
	key, row, err := NewKey(good, noon)
	if err != nil {
		t.Fatal(err)
	}
	want := models.APIKey{ID: keyID(key), Hash: row.Hash, Name: "job", Subject: "robot", Spaces: `{"s1":"rw"}`, CreatedAt: noon.UnixMilli()}
	if diff := cmp.Diff(want, row); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	if strings.Contains(fmt.Sprintf("%+v %s", row, row.Hash), key[len(key)-keySecretBytes:]) {
		t.Error("the row holds the secret")
	}
}
