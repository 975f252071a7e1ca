package store_test

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/store"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// eachStore runs a test on a fresh database of both kinds.
func eachStore(t *testing.T, test func(t *testing.T, s *store.Store, url string)) {
	t.Helper()
	for name, database := range map[string]func(testing.TB) string{"sqlite": sqliteURL, "postgres": pgtest.URL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := database(t)
			migrate(t, url)
			test(t, open(t, url, store.Options{}), url)
		})
	}
}

// moment is n milliseconds after a time of long ago.
func moment(n int64) time.Time { return time.UnixMilli(1_700_000_000_000 + n) }

func newKey(id, subject string) models.APIKey {
	hash := sha256.Sum256([]byte(id))
	return models.APIKey{ID: id, Hash: hash[:], Name: "job " + id, Subject: subject, Spaces: `{"s1":"rw"}`, CreatedAt: moment(0).UnixMilli()}
}

func wantAccess(t *testing.T, s *store.Store, wantKeys []models.APIKey, want []models.Revocation) {
	t.Helper()
	keys, revocations, err := s.Access(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantKeys, keys, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, revocations, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("revocations (-want +got):\n%s", diff)
	}
}

func wantLog(t *testing.T, s *store.Store, limit int, want ...models.AuditEntry) {
	t.Helper()
	log, err := s.AuditLog(t.Context(), limit)
	if err != nil {
		t.Fatal(err)
	}
	for i := range log {
		if i > 0 && log[i].ID >= log[i-1].ID {
			t.Errorf("entry %d comes after %d, want the newest first", log[i].ID, log[i-1].ID)
		}
	}
	if diff := cmp.Diff(want, log, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(models.AuditEntry{}, "ID")); diff != "" {
		t.Errorf("audit log (-want +got):\n%s", diff)
	}
}

func TestAccess_keys(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, s *store.Store, _ string) {
		a, b := newKey("a", "alice"), newKey("b", "bob")
		expires := moment(3_600_000).UnixMilli()
		b.ExpiresAt, b.CreatedAt = &expires, b.CreatedAt+1
		for _, key := range []models.APIKey{b, a} {
			if err := s.AddKey(t.Context(), "root@host", key); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.AddKey(t.Context(), "root@host", a); err == nil {
			t.Error("an id is given out twice")
		}
		wantAccess(t, s, []models.APIKey{a, b}, nil)
		if err := s.RevokeKey(t.Context(), "eve@host", "a", moment(5)); err != nil {
			t.Fatal(err)
		}
		// The second time changes nothing, also not who did it.
		if err := s.RevokeKey(t.Context(), "mallory@host", "a", moment(6)); err != nil {
			t.Fatal(err)
		}
		if err := s.RevokeKey(t.Context(), "eve@host", "c", moment(7)); !errors.Is(err, store.ErrNoKey) {
			t.Errorf("a key that is not there: %v", err)
		}
		wantAccess(t, s, []models.APIKey{b}, nil)
		revoked := moment(5).UnixMilli()
		a.RevokedAt = &revoked
		all, err := s.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]models.APIKey{b, a}, all); diff != "" {
			t.Errorf("all keys (-want +got):\n%s", diff)
		}
		wantLog(t, s, 10,
			models.AuditEntry{At: revoked, Actor: "eve@host", Action: "key_revoke", Target: "a"},
			models.AuditEntry{At: a.CreatedAt, Actor: "root@host", Action: "key_create", Target: "a", Detail: `{"name":"job a","spaces":{"s1":"rw"},"subject":"alice"}`},
			models.AuditEntry{
				At: b.CreatedAt, Actor: "root@host", Action: "key_create", Target: "b",
				Detail: `{"expires_at":"2023-11-14T23:13:20Z","name":"job b","spaces":{"s1":"rw"},"subject":"bob"}`,
			},
		)
		wantLog(t, s, 1, models.AuditEntry{At: revoked, Actor: "eve@host", Action: "key_revoke", Target: "a"})
	})
}

func TestAccess_revocations(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, s *store.Store, _ string) {
		a, b := newKey("a", "alice"), newKey("b", "bob")
		for _, key := range []models.APIKey{a, b} {
			if err := s.AddKey(t.Context(), "root", key); err != nil {
				t.Fatal(err)
			}
		}
		revoke := func(kind, name string, notBefore, expires, wantKeys int64) {
			t.Helper()
			r := models.Revocation{Kind: kind, Name: name, NotBefore: moment(notBefore).UnixMilli(), ExpiresAt: moment(expires).UnixMilli()}
			keys, err := s.Revoke(t.Context(), "root", r)
			if err != nil || keys != wantKeys {
				t.Errorf("revoke %s %s: %d keys, %v; want %d", kind, name, keys, err, wantKeys)
			}
		}
		revoke("token", "alice", 1, 10, 0) // a jti of that name
		revoke("subject", "alice", 5, 50, 1)
		revoke("subject", "alice", 3, 60, 0) // by a clock that is behind
		token := models.Revocation{Kind: "token", Name: "alice", NotBefore: moment(1).UnixMilli(), ExpiresAt: moment(10).UnixMilli()}
		subject := models.Revocation{Kind: "subject", Name: "alice", NotBefore: moment(5).UnixMilli(), ExpiresAt: moment(60).UnixMilli()}
		wantAccess(t, s, []models.APIKey{b}, []models.Revocation{subject, token})
		wantLog(t, s, 3,
			models.AuditEntry{At: moment(3).UnixMilli(), Actor: "root", Action: "subject_revoke", Target: "alice", Detail: `{"keys":0}`},
			models.AuditEntry{At: moment(5).UnixMilli(), Actor: "root", Action: "subject_revoke", Target: "alice", Detail: `{"keys":1}`},
			models.AuditEntry{At: moment(1).UnixMilli(), Actor: "root", Action: "token_revoke", Target: "alice"},
		)

		for _, step := range []struct {
			now, madeBefore int64
			want            []models.Revocation
		}{
			{10, 100, []models.Revocation{subject, token}},
			{100, 1, []models.Revocation{subject, token}}, // tokens live longer here than where it was made
			{11, 2, []models.Revocation{subject}},
			{100, 100, nil},
		} {
			if err := s.ForgetRevocations(t.Context(), moment(step.now), moment(step.madeBefore)); err != nil {
				t.Fatal(err)
			}
			wantAccess(t, s, []models.APIKey{b}, step.want)
		}
	})
}

// What fails leaves no entry, and what can't be written down is not done.
func TestAccess_auditedOrNotAtAll(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, s *store.Store, url string) {
		bad := newKey("a", "alice")
		bad.Hash = []byte("short")
		if err := s.AddKey(t.Context(), "root", bad); err == nil {
			t.Error("a key without a whole hash is added")
		}
		wantLog(t, s, 10)
		if _, err := openSQL(t, url).ExecContext(t.Context(), `ALTER TABLE audit_log RENAME TO elsewhere`); err != nil {
			t.Fatal(err)
		}
		if err := s.AddKey(t.Context(), "root", newKey("a", "alice")); err == nil {
			t.Error("without a log a key is added")
		}
		if _, err := s.Revoke(t.Context(), "root", models.Revocation{Kind: "subject", Name: "x"}); err == nil {
			t.Error("without a log a subject is revoked")
		}
		if err := s.SetRetention(t.Context(), "root", "s1", time.Hour); err == nil {
			t.Error("without a log a retention is set")
		}
		if spaces, err := s.Spaces(t.Context(), "", 9); err != nil || len(spaces) > 0 {
			t.Errorf("there is a space: %+v, %v", spaces, err)
		}
		wantAccess(t, s, nil, nil)
	})
}
