package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/harness"
	"github.com/tidemark/tidemark/tests/lifeline"
	"github.com/tidemark/tidemark/tests/natstest"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// commandsTimeout is more than a busy machine needs to start two servers.
const commandsTimeout = 2 * time.Minute

var shell = regexp.MustCompile("(?s)```sh\n(.*?)```")

// commands are the blocks of shell under a heading of deploy/README.md.
func commands(t *testing.T, heading string) []string {
	t.Helper()
	_, section, found := strings.Cut(file(t, "deploy/README.md"), "\n### "+heading+"\n")
	if !found {
		t.Fatalf("deploy/README.md has no heading %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n### ")
	section, _, _ = strings.Cut(section, "\n## ")
	var blocks []string
	for _, block := range shell.FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, block[1])
	}
	return blocks
}

// freeAddresses are addresses of loopback where nobody listens. Another process could
// take one before it is used; that fails the test, and passes for nothing.
func freeAddresses(t *testing.T, n int) (addresses []string) {
	t.Helper()
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses
}

// checkout is a folder with what an operator has: the binary and the folder deploy, in
// which texts are replaced.
func checkout(t *testing.T, replace *strings.Replacer) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "deploy"), os.DirFS("../../deploy")); err != nil {
		t.Fatal(err)
	}
	confs, err := filepath.Glob(filepath.Join(dir, "deploy/nginx/*"))
	if err != nil || len(confs) == 0 {
		t.Fatalf("nginx's configuration is not there: %v", err)
	}
	for _, conf := range confs {
		text, err := os.ReadFile(conf)
		if err == nil {
			err = os.WriteFile(conf, []byte(replace.Replace(string(text))), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	binary, err := harness.Binary()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(dir, "bin/tidemark")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// execute runs a script in dir and returns what it printed. What it has started ends with
// it.
func execute(t *testing.T, dir, script string, env ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandsTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "TIDEMARK_") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	lifeline.Detach(cmd) // a session, and so a group of processes, of its own
	output, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	cmd.Stdout, cmd.Stderr = output, output
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err = errors.Join(cmd.Wait(), ctx.Err())
	if killErr := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); killErr == nil {
		t.Error("the script left processes behind")
	}
	said, readErr := os.ReadFile(output.Name())
	if readErr != nil {
		t.Fatal(readErr)
	}
	return string(said), err
}

// TestREADME_twoNodes carries out "Two nodes without containers", in one shell, with other
// ports and addresses: two nodes with PostgreSQL and NATS behind nginx, a push, a node that
// is killed, and a pull.
func TestREADME_twoNodes(t *testing.T) {
	t.Parallel()
	path := harness.FindNginx(t)
	blocks := commands(t, "Two nodes without containers")
	if len(blocks) != 2 {
		t.Fatalf("there are %d blocks of commands, want the start and the use", len(blocks))
	}
	at := freeAddresses(t, 3)
	_, port, err := net.SplitHostPort(at[0])
	if err != nil {
		t.Fatal(err)
	}
	replace := strings.NewReplacer(
		"'postgres://tidemark:PASSWORD@127.0.0.1:5432/tidemark'", "'"+pgtest.URL(t)+"'",
		"nats://127.0.0.1:4222/tidemark", natstest.Start(t).URL(),
		"127.0.0.1:8080", at[0], "127.0.0.1:8081", at[1], "127.0.0.1:8082", at[2],
		"listen 8080;", "listen 127.0.0.1:"+port+";",
		"nginx -p", path+" -p",
	)
	script := replace.Replace(strings.Join(blocks, "\n"))
	for _, documented := range []string{"5432", "4222", "8080", "8081", "8082"} {
		if regexp.MustCompile(`:` + documented + `\b`).MatchString(script) {
			t.Fatalf("port %s was not replaced in\n%s", documented, script)
		}
	}
	end := "\n# twice, so that each turn of nginx meets the node that is gone\n" +
		"for _ in 1 2 3 4; do curl -sf http://" + at[0] + "/readyz >/dev/null; done\n" +
		"kill $nginx $node2\nwait $nginx $node2\necho ENDED WELL\n"
	trap := "trap 'kill -KILL ${nginx:-} ${node1:-} ${node2:-} 2>/dev/null || true' EXIT\n"
	said, err := execute(t, checkout(t, replace), trap+script+end)
	if err != nil || !strings.HasSuffix(said, "ENDED WELL\n") {
		t.Fatalf("%v:\n%s\n%s", err, script, said)
	}
	for _, want := range []string{`"status":"applied"`, `"data":{"title": "Milk"}`} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not print %s:\n%s", want, said)
		}
	}
}

// TestREADME_oneMachine carries out "One machine: systemd" with what belongs to the
// system moved into a folder. What systemd would do is done by hand: the unit's command,
// with its environment.
func TestREADME_oneMachine(t *testing.T) {
	t.Parallel()
	blocks := commands(t, "One machine: systemd")
	if len(blocks) != 2 {
		t.Fatalf("there are %d blocks of commands, want the start and the use", len(blocks))
	}
	at := freeAddresses(t, 1)[0]
	dir := checkout(t, strings.NewReplacer())
	root := filepath.Join(dir, "root")
	for _, folder := range []string{"programs", "root/usr/local/bin", "root/etc/systemd/system", "root/var/lib/tidemark"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	unit := file(t, "deploy/systemd/tidemark.service")
	replace := strings.NewReplacer("/usr/local/bin", root+"/usr/local/bin", "/etc/", root+"/etc/", "/var/lib/", root+"/var/lib/")
	line := func(name string) string {
		found := regexp.MustCompile(`(?m)^` + name + `=-?(.*)$`).FindStringSubmatch(unit)
		if found == nil {
			t.Fatalf("the unit has no %s", name)
		}
		return replace.Replace(found[1])
	}
	for name, program := range map[string]string{
		"sudo": `exec "$@"`,
		"systemctl": fmt.Sprintf(`case "$*" in
			daemon-reload) test -s %[1]s/etc/systemd/system/tidemark.service ;;
			"enable --now tidemark")
				set -a; export %[2]s; . %[3]s
				%[4]s & echo $! > %[1]s/pid
				until tidemark healthcheck >/dev/null 2>&1; do sleep 0.1; done ;;
			*) exit 64 ;;
			esac`, root, line("Environment"), line("EnvironmentFile"), line("ExecStart")),
	} {
		text := "#!/bin/sh\nset -eu\n" + program + "\n"
		if err := os.WriteFile(filepath.Join(dir, "programs", name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	script := replace.Replace(blocks[0]) + replace.Replace(blocks[1]) +
		"\nkill $(cat " + root + "/pid)\nwhile kill -0 $(cat " + root + "/pid) 2>/dev/null; do sleep 0.1; done\necho ENDED WELL\n"
	trap := "trap 'kill -KILL $(cat " + root + "/pid) 2>/dev/null || true' EXIT\n"
	said, err := execute(t, dir, trap+script,
		"PATH="+filepath.Join(dir, "programs")+":"+root+"/usr/local/bin:"+os.Getenv("PATH"), "TIDEMARK_LISTEN="+at)
	if err != nil || !strings.HasSuffix(said, "ENDED WELL\n") {
		t.Fatalf("%v:\n%s\n%s", err, script, said)
	}
	if !strings.Contains(said, "0 spaces verified, 0 with faults") || !regexp.MustCompile(`(?m)^ey[\w-]+\.[\w-]+\.[\w-]+$`).MatchString(said) {
		t.Errorf("it prints no token, or verifies nothing:\n%s", said)
	}
	if info, err := os.Stat(root + "/etc/tidemark"); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder of the secret: %v, %v", info, err)
	}
}

// TestREADME_kubernetes renders the example by the commands of "Kubernetes", as far as they
// need no cluster.
func TestREADME_kubernetes(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("kubectl"); err != nil {
		t.Skip(err) // `make lint-files` renders it with kustomize
	}
	block := commands(t, "Kubernetes")[0]
	offline, _, found := strings.Cut(block, "kubectl apply")
	if !found {
		t.Fatalf("nothing is applied by\n%s", block)
	}
	dir := checkout(t, strings.NewReplacer())
	// Who edits finds what is to be edited in the files that are opened.
	editor := filepath.Join(dir, "editor")
	text := `#!/bin/sh
set -eu
for edit in 's/CHANGE-ME$/0123456789abcdef0123456789abcdef/' 's/NAME-A-RELEASE/1.2.3/' 's/sync.example.com/sync.tidemark.test/' 's/:PASSWORD@/:hush@/'; do
	before=${edit#s/}
	grep -q "${before%%/*}" "$@"
	sed -i "$edit" "$@"
done
`
	if err := os.WriteFile(editor, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	said, err := execute(t, dir, offline, "EDITOR="+editor)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for _, want := range []string{
		"enableServiceLinks: false", "readOnlyRootFilesystem: true", "kind: PodDisruptionBudget",
		"image: ghcr.io/tidemark/tidemark:1.2.3", "host: sync.tidemark.test",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("what is rendered has no %s:\n%s", want, said)
		}
	}
}

// TestExample_unedited: the server does not start with the settings of the example before
// somebody has put a secret there, and does with one.
func TestExample_unedited(t *testing.T) {
	t.Parallel()
	binary, err := harness.Binary()
	if err != nil {
		t.Fatal(err)
	}
	config := func(settings string) (string, error) {
		cmd := exec.CommandContext(t.Context(), binary, "config")
		cmd.Dir, cmd.Env = t.TempDir(), strings.Fields(settings)
		said, err := cmd.CombinedOutput()
		return string(said), err
	}
	example := file(t, "deploy/k8s/example/tidemark.env.example")
	said, err := config(example)
	if err == nil || !strings.Contains(said, "--auth-secret") {
		t.Errorf("%v, and it says %s", err, said)
	}
	if said, err := config(strings.Replace(example, "CHANGE-ME", strings.Repeat("0", 64), 1)); err != nil {
		t.Errorf("with a secret: %v, and it says %s", err, said)
	}
}

// TestREADME_keyForPrometheus: the key that is made there opens /metrics, and without one
// it is closed.
func TestREADME_keyForPrometheus(t *testing.T) {
	t.Parallel()
	block := commands(t, "Kubernetes")[2]
	_, command, _ := strings.Cut(block, "-- /tidemark ")
	command, _, found := strings.Cut(command, ")\n")
	if !found || !strings.Contains(block, `--from-literal=token="$KEY"`) {
		t.Fatalf("no key is made, or kept, by\n%s", block)
	}
	if find(t, "deploy/k8s/servicemonitor/servicemonitor.yaml", `name: (tidemark-\w+)\n +key: token`) != "tidemark-metrics" ||
		!strings.Contains(block, "secret generic tidemark-metrics ") {
		t.Errorf("it is kept where the monitor does not look:\n%s", block)
	}
	server := harness.Start(t, harness.Options{Secret: harness.Secret})
	key, stderr, err := server.Run(t.Context(), strings.Fields(command)...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, stderr)
	}
	status := func(token string) int {
		answer, err := server.Client(token).Do(t.Context(), http.MethodGet, "/metrics", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return answer.Status
	}
	if got := status(""); got != http.StatusUnauthorized {
		t.Errorf("without a key /metrics answers %d", got)
	}
	harness.Until(t, commandsTimeout, "the key opens /metrics", func() bool {
		return status(strings.TrimSuffix(key, "\n")) == http.StatusOK
	})
}
