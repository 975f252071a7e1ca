//nolint:paralleltest // the environment is the process's
package main

import (
	"bytes"
	"database/sql"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/syncer/store"
)

// migrated returns the environment with a database that is ready.
func migrated(t *testing.T) []string {
	t.Helper()
	env := []string{"TIDEMARK_DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "x.db")}
	if code, _, stderr := tidemark(t, env, "migrate", "up"); code != 0 {
		t.Fatal(stderr)
	}
	return env
}

// must runs a command that succeeds.
func must(t *testing.T, env []string, args ...string) (stdout string) {
	t.Helper()
	code, stdout, stderr := tidemark(t, env, args...)
	if code != 0 {
		t.Fatalf("%v: %d %s", args, code, stderr)
	}
	return stdout
}

// wantLines holds the columns of what was printed, below their heads, against
// patterns, one a line.
func wantLines(t *testing.T, printed string, patterns ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(printed), "\n")[1:]
	if len(lines) != len(patterns) {
		t.Errorf("%d lines, want %d:\n%s", len(lines), len(patterns), printed)
		return
	}
	for i, pattern := range patterns {
		got := strings.Join(strings.Fields(lines[i]), " ")
		if !regexp.MustCompile("^" + pattern + "$").MatchString(got) {
			t.Errorf("%q, want %s", got, pattern)
		}
	}
}

const aTime = `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`

func TestKey_createListRevoke(t *testing.T) {
	env := migrated(t)
	key := strings.TrimSpace(must(t, env, "key", "create", "--name", "nightly", "--subject", "job", "--spaces", "board-*=rw", "--space", "news=r", "--expires", "720h"))
	parts := regexp.MustCompile(`^tm_([A-Z2-7]{10})_([A-Z2-7]{52})$`).FindStringSubmatch(key)
	if parts == nil {
		t.Fatalf("the key is %q", key)
	}
	other := strings.TrimSpace(must(t, env, "key", "create", "--name", "hourly", "--subject", "job", "--space", "news=r"))
	otherID := strings.Split(other, "_")[1]

	list := must(t, env, "key", "list")
	for _, want := range []string{
		parts[1] + ` nightly job {"board-*":"rw","news":"r"} `, otherID + ` hourly job {"news":"r"} `,
	} {
		if !strings.Contains(strings.Join(strings.Fields(list), " "), want) {
			t.Errorf("no %q in\n%s", want, list)
		}
	}
	if !regexp.MustCompile("good until " + aTime).MatchString(list) {
		t.Errorf("the list does not say when a key expires:\n%s", list)
	}
	must(t, env, "key", "revoke", parts[1])
	must(t, env, "key", "revoke", parts[1]) // it is already
	if list = must(t, env, "key", "list"); !regexp.MustCompile(parts[1]+`.*revoked `+aTime).MatchString(list) || strings.Contains(list, parts[2]) {
		t.Errorf("a revoked key in the list:\n%s", list)
	}

	log := must(t, env, "audit")
	wantLines(t, log,
		aTime+` \S+@\S+ key_revoke `+parts[1],
		aTime+` \S+@\S+ key_create `+otherID+` {"name":"hourly","spaces":{"news":"r"},"subject":"job"}`,
		aTime+` \S+@\S+ key_create `+parts[1]+` {"expires_at":.*,"name":"nightly","spaces":{"board-\*":"rw","news":"r"},"subject":"job"}`,
	)
	wantLines(t, must(t, env, "audit", "--limit", "1"), aTime+` \S+@\S+ key_revoke `+parts[1])

	// Neither the database nor anything that was printed holds a secret.
	_, database, _ := strings.Cut(env[0], "=")
	db, err := store.OpenSQL(database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if holds(t, db, parts[2]) || strings.Contains(log, parts[2]) {
		t.Error("the secret is kept")
	}
}

func holds(t *testing.T, db *sql.DB, secret string) bool {
	t.Helper()
	var row []byte
	var all []byte
	rows, err := db.QueryContext(t.Context(), `SELECT id || name || subject || spaces || hash FROM api_keys UNION ALL SELECT target || detail FROM audit_log`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&row); err != nil {
			t.Fatal(err)
		}
		all = append(all, row...)
	}
	if err := rows.Err(); err != nil || len(all) == 0 {
		t.Fatalf("%v, %d bytes", err, len(all))
	}
	return bytes.Contains(all, []byte(secret))
}

func TestRevoke(t *testing.T) {
	env := migrated(t)
	must(t, env, "key", "create", "--name", "nightly", "--subject", "alice", "--space", "news=r")
	if out := must(t, env, "revoke", "--jti", "j1"); out != "" {
		t.Errorf("%q", out)
	}
	if out := must(t, env, "revoke", "--subject", "alice"); out != "1 API keys are revoked too\n" {
		t.Errorf("%q", out)
	}
	wantLines(t, must(t, env, "audit"),
		aTime+` \S+@\S+ subject_revoke alice {"keys":1}`,
		aTime+` \S+@\S+ token_revoke j1`,
		aTime+` \S+@\S+ key_create .*`,
	)
}

// What `tidemark token` prints can be revoked by what it says.
func TestToken_saysItsID(t *testing.T) {
	_, _, stderr := tidemark(t, []string{"TIDEMARK_AUTH_SECRET=" + testSecret}, "token", "--space", "a=r", "--subject", "x")
	if !regexp.MustCompile(`^to take it back: tidemark revoke --jti [A-Z2-7]{26}\n$`).MatchString(stderr) {
		t.Errorf("%q", stderr)
	}
}

func TestAdminister_refused(t *testing.T) {
	ready := migrated(t)
	empty := []string{"TIDEMARK_DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "y.db")}
	old := migrated(t)
	if code, _, stderr := tidemark(t, old, "migrate", "force", "5"); code != 0 {
		t.Fatal(stderr)
	}
	for _, test := range []struct {
		name string
		env  []string
		args []string
		code int
		want string
	}{
		{"key without name", ready, []string{"key", "create", "--subject", "x", "--space", "a=r"}, exitUsage, "--name"},
		{"key without subject", ready, []string{"key", "create", "--name", "x", "--space", "a=r"}, exitUsage, "--subject"},
		{"key without space", ready, []string{"key", "create", "--name", "x", "--subject", "x"}, exitUsage, "--space"},
		{"key of another access", ready, []string{"key", "create", "--name", "x", "--subject", "x", "--space", "a=admin"}, exitUsage, "r or rw"},
		{"key of the past", ready, []string{"key", "create", "--name", "x", "--subject", "x", "--space", "a=r", "--expires=-1h"}, exitUsage, "--expires"},
		{"key of no time", ready, []string{"key", "create", "--name", "x", "--subject", "x", "--space", "a=r", "--expires", "0s"}, exitUsage, "--expires"},
		{"no such key", ready, []string{"key", "revoke", "AAAA"}, exitUsage, "tidemark key list"},
		{"revoke nothing", ready, []string{"revoke"}, exitUsage, "--jti"},
		{"revoke an empty jti", ready, []string{"revoke", "--jti", ""}, exitUsage, "--jti"},
		{"revoke both", ready, []string{"revoke", "--jti", "a", "--subject", "b"}, exitUsage, "--subject"},
		{"audit of nothing", ready, []string{"audit", "--limit", "0"}, exitUsage, "--limit"},
		{"no database", empty, []string{"key", "list"}, exitFailure, "no database"},
		{"another schema", old, []string{"revoke", "--jti", "a"}, exitFailure, "tidemark migrate up"},
		{"bad database", []string{"TIDEMARK_DATABASE_URL=mysql://hush@x"}, []string{"audit"}, exitUsage, "--database-url"},
	} {
		code, stdout, stderr := tidemark(t, test.env, test.args...)
		if code != test.code || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, test.want) || strings.Contains(stderr, "hush") {
			t.Errorf("%s: exit code %d, %q, %q", test.name, code, stdout, stderr)
		}
	}
	wantLines(t, must(t, ready, "audit"))
}
