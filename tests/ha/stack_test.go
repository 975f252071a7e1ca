package ha

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/dbproxy"
	"github.com/tidemark/tidemark/tests/harness"
	"github.com/tidemark/tidemark/tests/lifeline"
	"github.com/tidemark/tidemark/tests/pgtest"
)

const (
	// envTools names the variable with the folder that scripts/ha-tools.sh prints.
	envTools = "TIDEMARK_TEST_HA"
	// envLogs names the one with the folder for the logs, which is there.
	envLogs = "TIDEMARK_TEST_HA_LOGS"
)

// stack is everything that is started, and where it lies.
type stack struct {
	t     *testing.T // of the part that runs
	whole *testing.T // what is started ends with it
	tools string     // folder of programs, laid out like /
	root  string     // of the repository
	dir   string     // everything that is written, but the logs
	logs  string
	line  *lifeline.Line
}

func newStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{t: t, whole: t, tools: os.Getenv(envTools), logs: os.Getenv(envLogs)}
	var err error
	if s.root, err = harness.Root(); err == nil {
		s.dir, err = pgtest.Folder()
	}
	if err == nil {
		s.line, err = lifeline.Guard(s.dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	if s.logs == "" {
		s.logs = t.TempDir()
	}
	t.Cleanup(func() {
		if err := s.line.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// daemon is a program that runs until it is ended.
type daemon struct {
	stack  *stack
	cmd    *exec.Cmd
	exited chan struct{}
}

// start runs a program of the packages, or one of the system's by its path.
func (s *stack) start(name string, prepare func(*exec.Cmd) error, env []string, program string, args ...string) *daemon {
	s.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = s.dir
	cmd.Env = append(append(os.Environ(), s.libraries()...), env...)
	log, err := os.OpenFile(filepath.Join(s.logs, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if prepare != nil {
		if err := prepare(cmd); err != nil {
			s.t.Fatal(err)
		}
	}
	lifeline.Detach(cmd)
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("start %s: %v", name, err)
	}
	s.line.Watch(cmd.Process)
	d := &daemon{stack: s, cmd: cmd, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // it is killed
		s.line.Forget(cmd.Process)
		close(d.exited)
	}()
	s.whole.Cleanup(d.kill)
	return d
}

// libraries are where programs find what the packages brought along.
func (s *stack) libraries() []string {
	folders, _ := filepath.Glob(filepath.Join(s.tools, "usr/lib/*-linux-gnu*"))
	return []string{
		"LD_LIBRARY_PATH=" + strings.Join(folders, ":"),
		"PYTHONPATH=" + filepath.Join(s.tools, "usr/lib/python3/dist-packages"),
	}
}

func (s *stack) tool(path string) string { return filepath.Join(s.tools, path) }

// signal reaches also a process that is frozen.
func (d *daemon) signal(signal syscall.Signal) { _ = d.cmd.Process.Signal(signal) } // it may have ended

// kill ends it at once and waits for that.
func (d *daemon) kill() {
	d.signal(syscall.SIGKILL)
	<-d.exited
}

// freePort returns a port that was free just now.
func (s *stack) freePort() int {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// cable leads to a port of this machine, and can be pulled.
type cable struct {
	*dbproxy.Proxy

	address string
	port    string
}

func (s *stack) cable(port int) cable {
	s.t.Helper()
	through, proxy := dbproxy.Through(s.t, fmt.Sprintf("postgres://127.0.0.1:%d/any", port))
	address := strings.TrimSuffix(strings.TrimPrefix(through, "postgres://"), "/any?sslmode=disable")
	_, number, err := net.SplitHostPort(address)
	if err != nil {
		s.t.Fatal(err)
	}
	return cable{proxy, address, number}
}

// within is how long the stack may take for anything: several times what it should.
const within = 2 * time.Minute

func (s *stack) until(what string, holds func() bool) {
	s.t.Helper()
	harness.Until(s.t, within, what, holds)
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
