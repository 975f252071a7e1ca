//nolint:paralleltest // the environment is the process's
package main

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/migrations"
)

const (
	testSecret       = "0123456789abcdef0123456789abcdef"
	validationSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// tidemark runs a command with an environment of its own. Because the
// environment is the process's, these tests do not run in parallel.
func tidemark(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, value, _ := strings.Cut(entry, "="); strings.HasPrefix(name, variablePrefix) {
			t.Setenv(name, value) // so that it is there again after the test
			os.Unsetenv(name)
		}
	}
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		t.Setenv(name, value)
	}
	var out, errs bytes.Buffer
	code = run(args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestSettings_refused(t *testing.T) {
	for _, test := range []struct {
		name string
		env  []string
		args []string
		want string // in the one line
	}{
		{"unknown flag", nil, []string{"--lisen", "127.0.0.1:0"}, "--listen"},
		{"unknown variable of a command", []string{"TIDEMARK_METRICS_TOKN=x"}, nil, "did you mean TIDEMARK_METRICS_TOKEN?"},
		{"unknown variable", []string{"TIDEMARK_LISTN=127.0.0.1:0"}, nil, "did you mean TIDEMARK_LISTEN?"},
		{"unknown variable, nothing near", []string{"TIDEMARK_COLOR=blue"}, nil, "no setting TIDEMARK_COLOR"},
		{"a port as Kubernetes would name it", []string{"TIDEMARK_PORT=8080"}, nil, "no setting TIDEMARK_PORT"},
		{"no port", nil, []string{"--listen", "localhost"}, "HOST:PORT"},
		{"port too large", nil, []string{"--listen", "localhost:70000"}, "70000"},
		{"port a name", nil, []string{"--listen", "localhost:http"}, "no port"},
		{"metrics without a port", nil, []string{"--metrics-listen", "localhost"}, "HOST:PORT"},
		{"metrics at a port that is none", nil, []string{"--metrics-listen", ":x"}, "no port"},
		{"metrics where everything else is", nil, []string{"--listen", "127.0.0.1:81", "--metrics-listen", "127.0.0.1:81"}, "another address"},
		{"a canary out of breath", nil, []string{"--canary", "10ms"}, "at least 1s"},
		{"a canary that goes back", nil, []string{"--canary=-1s"}, "at least 1s"},
		{"all addresses without auth", nil, []string{"--listen", "0.0.0.0:0"}, "loopback"},
		{"all addresses by leaving it out", nil, []string{"--listen", ":0"}, "loopback"},
		{"all IPv6 addresses", nil, []string{"--listen", "[::]:0"}, "loopback"},
		{"another address", nil, []string{"--listen", "192.0.2.1:0"}, "loopback"},
		{"a name that looks local", nil, []string{"--listen", "localhost.example:0"}, "loopback"},
		{"database of another kind", nil, []string{"--database-url", "mysql://localhost/x"}, "sqlite:"},
		{"database without kind", nil, []string{"--database-url", "tidemark.db"}, "sqlite:"},
		{"database without path", nil, []string{"--database-url", "sqlite:"}, "sqlite:"},
		{"database with a bad password", nil, []string{"--database-url", "postgres://u:hush%zz@h/d"}, "%-encoded"},
		{"broker of another kind", nil, []string{"--broker", "kafka://localhost"}, "--broker must be"},
		{"broker with a bad password", nil, []string{"--broker", "nats://u:hush%zz@h"}, "--broker: a NATS URL"},
		{"broker with a bad slot", nil, []string{"--broker", "logical:Hush", "--database-url", "postgres://h/d"}, "replication slot"},
		{"broker postgres on SQLite", nil, []string{"--broker", "postgres"}, "needs a PostgreSQL database"},
		{"short secret", []string{"TIDEMARK_AUTH_SECRET=hush"}, nil, "at least 32"},
		{"secret and JWKS", []string{"TIDEMARK_AUTH_SECRET=" + testSecret, "TIDEMARK_AUTH_JWKS=https://id.example/keys"}, nil, "not both"},
		{"JWKS file that is not there", nil, []string{"--auth-jwks", "/nonexistent/keys.json"}, "keys.json"},
		{"audience without auth", nil, []string{"--auth-audience", "x"}, "--auth-audience"},
		{"lifetime of nothing", nil, []string{"--auth-max-ttl", "0s"}, "--auth-max-ttl"},
		{"no folder of schemas", nil, []string{"--schemas", "/nonexistent/schemas"}, "--schemas"},
		{"validation URL without secret", nil, []string{"--validation-url", "https://app.example/v"}, "--validation-secret"},
		{"validation URL with a short secret", []string{"TIDEMARK_VALIDATION_SECRET=hush"}, []string{"--validation-url", "https://app.example/v"}, "--validation-secret"},
		{"validation URL that others read along", []string{"TIDEMARK_VALIDATION_SECRET=" + validationSecret}, []string{"--validation-url", "http://app.example/v"}, "--validation-url: it must begin with https://"},
		{"validation URL with a password", []string{"TIDEMARK_VALIDATION_SECRET=" + validationSecret}, []string{"--validation-url", "https://u:hush@app.example/v"}, "--validation-url"},
		{"validation secret alone", []string{"TIDEMARK_VALIDATION_SECRET=" + validationSecret}, nil, "--validation-secret"},
		{"webhook without secret", nil, []string{"--webhook-url", "https://push.example/t"}, "--webhook-secret"},
		{"webhook with a short secret", []string{"TIDEMARK_WEBHOOK_SECRET=hush"}, []string{"--webhook-url", "https://push.example/t"}, "--webhook-secret"},
		{"webhook that others read along", []string{"TIDEMARK_WEBHOOK_SECRET=" + validationSecret}, []string{"--webhook-url", "http://push.example/t"}, "--webhook-url: it must begin with https://"},
		{"webhook secret alone", []string{"TIDEMARK_WEBHOOK_SECRET=" + validationSecret}, nil, "--webhook-secret"},
		{"webhook given up at once", nil, []string{"--webhook-give-up", "0s"}, "--webhook-give-up"},
		{"validation within no time", nil, []string{"--validation-timeout", "0s"}, "--validation-timeout"},
		{"validation within a minute", nil, []string{"--validation-timeout", "1m"}, "--validation-timeout"},
		{"origin *", nil, []string{"--cors-origins", "*"}, "not an origin"},
		{"origin pattern", nil, []string{"--cors-origins", "https://*.example.com"}, "not an origin"},
		{"origin with a path", nil, []string{"--cors-origins", "https://app.example,https://b.example/"}, "https://b.example/"},
		{"replica of another kind", nil, []string{"--database-url", "postgres://h/d", "--replica-url", "mysql://u:hush@h/d"}, "--replica-url"},
		{"replica without a host", nil, []string{"--database-url", "postgres://h/d", "--replica-url", "postgres:///d"}, "--replica-url"},
		{"replica beside SQLite", nil, []string{"--replica-url", "postgres://u:hush@h/d"}, "--replica-url"},
		{"origin without scheme", nil, []string{"--cors-origins", "app.example"}, "not an origin"},
		{"proxy by name", nil, []string{"--trusted-proxies", "10.0.0.0/8,proxy.example"}, "proxy.example"},
		{"proxy with a bad network", nil, []string{"--trusted-proxies", "10.0.0.0/33"}, "10.0.0.0/33"},
		{"proxy with a port", nil, []string{"--trusted-proxies", "10.0.0.1:80"}, "neither an address nor a network"},
		{"proxy as IPv4 in IPv6", nil, []string{"--trusted-proxies", "::ffff:10.0.0.1"}, "neither an address nor a network"},
		{"rate below nothing", nil, []string{"--rate-limit=-1"}, "--rate-limit"},
		{"rate no number", nil, []string{"--rate-limit", "many"}, "--rate-limit"},
		{"log level", nil, []string{"--log-level", "loud"}, "loud"},
		{"log format", []string{"TIDEMARK_LOG_FORMAT=xml"}, nil, "xml"},
		{"retention without unit", nil, []string{"--retention", "30"}, "--retention"},
		{"retention negative", nil, []string{"--retention=-1h"}, "--retention"},
		{"migration of another kind", nil, []string{"--migrate", "never"}, "--migrate"},
		{"migration by a URL of another kind", nil, []string{"--database-url", "postgres://h/d", "--migrate-url", "mysql://u:hush@h/d"}, "--migrate-url"},
		{"migration URL beside SQLite", nil, []string{"--migrate-url", "postgres://u:hush@h/d"}, "--migrate-url"},
		{"drain delay negative", nil, []string{"--drain-delay=-1s"}, "--drain-delay"},
		{"drain delay of an hour", nil, []string{"--drain-delay", "1h"}, "--drain-delay"},
		{"poll of nothing", nil, []string{"--poll-min", "0s"}, "--poll-min"},
		{"poll turned around", nil, []string{"--poll-min", "20s"}, "--poll-max"},
		{"argument", nil, []string{"now"}, "now"},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := append([]string{"TIDEMARK_DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "x.db")}, test.env...)
			code, stdout, stderr := tidemark(t, env, append([]string{"serve"}, test.args...)...)
			if code != exitUsage || stdout != "" {
				t.Errorf("exit code %d, stdout %q", code, stdout)
			}
			if !strings.HasPrefix(stderr, "tidemark: ") || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, test.want) {
				t.Errorf("not one line with %q: %q", test.want, stderr)
			}
			if strings.Contains(stderr, "hush") {
				t.Errorf("a secret is printed: %q", stderr)
			}
		})
	}
}

func TestSchemas_refused(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "todos.json"), []byte(`{"type": "objekt", "required": 1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"TIDEMARK_DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "x.db"), "TIDEMARK_LISTEN=127.0.0.1:0"}
	code, stdout, stderr := tidemark(t, env, "serve", "--schemas", folder)
	if code != exitUsage || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "todos.json") || !strings.Contains(stderr, "/type") {
		t.Errorf("exit code %d, stdout %q, stderr %q; want one line with the file and the place", code, stdout, stderr)
	}
}

func TestVariables_ofOthers(t *testing.T) {
	code, _, stderr := tidemark(t, []string{
		"TIDEMARK_TEST_ANYTHING=1", "TIDEMARK_BIN=x", "TIDEMARK_URL=x", "TIDEMARK_SEED=1",
		"TIDEMARK_SERVICE_HOST=10.0.0.1", "TIDEMARK_SERVICE_PORT=8080", "TIDEMARK_SERVICE_PORT_HTTP=8080",
		"TIDEMARK_PORT=tcp://10.0.0.1:8080", "TIDEMARK_PORT_8080_TCP=tcp://10.0.0.1:8080",
		"TIDEMARK_PORT_8080_TCP_ADDR=10.0.0.1", "TIDEMARK_PORT_8080_TCP_PORT=8080", "TIDEMARK_PORT_8080_TCP_PROTO=tcp",
		"TIDEMARK_POSTGRES_SERVICE_HOST=10.0.0.2", "TIDEMARK_POSTGRES_PORT=tcp://10.0.0.2:5432",
		"TIDEMARK_METRICS_TOKEN=x", "TIDEMARK_CONFORMANCE_TOKEN=x", // of commands, in a shell that is used for several
		"TIDEMARK_LISTEN=", "TIDEMARK_WHATEVER=", // empty is as good as none
	}, "config")
	if code != 0 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestConfig_hidesSecrets(t *testing.T) {
	code, stdout, stderr := tidemark(t, []string{
		"TIDEMARK_AUTH_SECRET=" + testSecret,
		"TIDEMARK_DATABASE_URL=postgres://tidemark:hush@db.example/tidemark?sslpassword=hush&sslmode=disable",
		"TIDEMARK_MIGRATE_URL=postgres://owner:hush@direct.example/tidemark",
		"TIDEMARK_LISTEN=0.0.0.0:80", "TIDEMARK_VALIDATION_URL=https://app.example/v?token=hush", "TIDEMARK_VALIDATION_SECRET=" + validationSecret,
		"TIDEMARK_WEBHOOK_URL=https://push.example/hush-in-path", "TIDEMARK_WEBHOOK_SECRET=" + validationSecret,
	}, "config", "--poll-min", "2s", "--cors-origins", "https://a.example,https://b.example")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if strings.Contains(stdout, "hush") || strings.Contains(stdout, testSecret) || strings.Contains(stdout, validationSecret) {
		t.Errorf("a secret is printed:\n%s", stdout)
	}
	lines := strings.Fields(stdout)
	for _, want := range []string{"0.0.0.0:80", "2s", "https://a.example,https://b.example", "postgres://owner:xxxxx@direct.example/tidemark", "https://app.example/xxxxx", "https://push.example/xxxxx", "postgres://tidemark:xxxxx@db.example/tidemark?sslmode=disable&sslpassword=xxxxx"} {
		if !strings.Contains(strings.Join(lines, " "), want) {
			t.Errorf("no %s in\n%s", want, stdout)
		}
	}
}

// The broker is shown that is in force, without its secrets.
func TestConfig_broker(t *testing.T) {
	for _, test := range []struct{ database, broker, want string }{
		{"sqlite:x.db", "", "memory"},
		{"postgres://db.example/tidemark", "", "postgres"},
		{"postgres://db.example/tidemark", "logical:node_1", "logical:node_1"},
		{"postgres://db.example/tidemark", "nats://tidemark:hush@a.example,nats://hush@b.example/tidemark", "nats://tidemark:xxxxx@a.example,nats://xxxxx@b.example/tidemark"},
		{"postgres://db.example/tidemark", "redis://:hu,hush@host.example/0", "redis://:xxxxx@host.example/0"},
	} {
		code, stdout, stderr := tidemark(t, []string{"TIDEMARK_DATABASE_URL=" + test.database, "TIDEMARK_BROKER=" + test.broker}, "config")
		if code != 0 {
			t.Fatalf("%s: exit code %d: %s", test.broker, code, stderr)
		}
		_, shown, _ := strings.Cut(stdout, "TIDEMARK_BROKER")
		shown, _, _ = strings.Cut(shown, "\n")
		if got := strings.TrimSpace(shown); got != test.want {
			t.Errorf("%s with %q: shown is %q, want %q", test.database, test.broker, got, test.want)
		}
	}
}

func TestToken(t *testing.T) {
	env := []string{"TIDEMARK_AUTH_SECRET=" + testSecret, "TIDEMARK_AUTH_AUDIENCE=tidemark"}
	code, stdout, stderr := tidemark(t, env, "token", "--space", "team-42=rw", "--space", "news-*=r", "--space", "shop=rw:carts,orders", "--subject", "alice", "--ttl", "1h")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	v, err := auth.New(context.Background(), auth.Options{Secret: testSecret, Audience: "tidemark"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := v.Verify(context.Background(), strings.TrimSpace(stdout))
	if err != nil {
		t.Fatal(err)
	}
	if p.Subject != "alice" || !p.CanWrite("team-42") || !p.CanRead("news-today") || p.CanWrite("news-today") ||
		!p.CanWrite("shop") || strings.Join(p.Collections("shop"), " ") != "carts orders" {
		t.Errorf("%+v", p)
	}
	for name, args := range map[string][]string{
		"too long":   {"token", "--space", "a=rw", "--subject", "x", "--ttl", "25h"},
		"bad access": {"token", "--space", "a=w", "--subject", "x"},
		"no list":    {"token", "--space", "a=rw:", "--subject", "x"},
		"bad space":  {"token", "--space", "a b=r", "--subject", "x"},
		"no space":   {"token", "--subject", "x"},
		"no subject": {"token", "--space", "a=r"},
	} {
		if code, stdout, stderr := tidemark(t, env, args...); code != exitUsage || stdout != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d, %q, %q", name, code, stdout, stderr)
		}
	}
	if code, _, stderr := tidemark(t, nil, "token", "--space", "a=r", "--subject", "x"); code != exitUsage || !strings.Contains(stderr, "TIDEMARK_AUTH_SECRET") {
		t.Errorf("without a secret: %d %s", code, stderr)
	}
}

// schemaVersion is the n-th newest version of the schema, counted from 0.
func schemaVersion(t *testing.T, n int) string {
	t.Helper()
	files, err := fs.Glob(migrations.Files, "sqlite/*.up.sql")
	if err != nil || n > len(files) {
		t.Fatal(files, err)
	}
	if n == len(files) {
		return "schema version 0\n"
	}
	number, _, _ := strings.Cut(path.Base(files[len(files)-1-n]), "_")
	return "schema version " + strings.TrimLeft(number, "0") + "\n"
}

func TestMigrate(t *testing.T) {
	newest, before := schemaVersion(t, 0), schemaVersion(t, 1)
	env := []string{"TIDEMARK_DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "folder", "x.db")}
	for _, step := range []struct {
		args string
		code int
		want string
	}{
		{"migrate version", 0, "schema version 0\n"},
		{"migrate up", 0, newest},
		{"migrate up", 0, newest},
		{"migrate down 1", 0, before},
		{"migrate down 0", exitUsage, ""},
		{"migrate down", exitUsage, ""},
		{"migrate force 1", 0, "schema version 1\n"},
	} {
		code, stdout, stderr := tidemark(t, env, strings.Fields(step.args)...)
		if code != step.code || stdout != step.want {
			t.Errorf("%s: exit code %d, %q, %q", step.args, code, stdout, stderr)
		}
	}
}

func TestEpoch_refused(t *testing.T) {
	for _, database := range []string{"sqlite:" + filepath.Join(t.TempDir(), "x.db"), "mysql://x"} {
		code, _, stderr := tidemark(t, []string{"TIDEMARK_DATABASE_URL=" + database}, "epoch", "rotate")
		if code != exitUsage || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d, %q", database, code, stderr)
		}
	}
	if code, _, stderr := tidemark(t, []string{"TIDEMARK_DATABASE_URL=postgres://127.0.0.1:1/x"}, "epoch", "rotate"); code != exitFailure {
		t.Errorf("no database: exit code %d, %q", code, stderr)
	}
}

func TestVersion(t *testing.T) {
	if code, stdout, _ := tidemark(t, nil, "version"); code != 0 || !strings.HasPrefix(stdout, "tidemark ") {
		t.Errorf("exit code %d, %q", code, stdout)
	}
}

func TestHealthcheck_nobodyThere(t *testing.T) {
	// Port 1 needs root and nobody uses it.
	code, _, stderr := tidemark(t, []string{"TIDEMARK_LISTEN=127.0.0.1:1"}, "healthcheck")
	if code != exitFailure || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

func TestMain_short(t *testing.T) {
	text, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n > 30 {
		t.Errorf("main.go has %d lines", n)
	}
}
