package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark/tidemark/syncer/fault"
	"github.com/tidemark/tidemark/tests/pgtest"
	"github.com/tidemark/tidemark/tests/process"
)

const (
	readyTimeout = 60 * time.Second
	stopTimeout  = 45 * time.Second // longer than any request may take, so that a drain can end
	pollEvery    = 10 * time.Millisecond
)

// Store is the kind of database a server runs on.
type Store string

// The stores, both of which every guarantee is tested on.
const (
	SQLite   Store = "sqlite"
	Postgres Store = "postgres"
)

// Stores is all of them.
var Stores = []Store{SQLite, Postgres}

// Each runs the test once per store, as subtests that run in parallel.
func Each(t *testing.T, test func(t *testing.T, store Store)) {
	t.Helper()
	for _, store := range Stores {
		t.Run(string(store), func(t *testing.T) {
			t.Parallel()
			test(t, store)
		})
	}
}

// Options says which server to start. The zero value is one in development
// mode (no authentication) on a fresh SQLite database.
type Options struct {
	Store Store
	// Secret turns authentication on: HS256 tokens signed with it.
	Secret string
	// DatabaseURL is used in place of a fresh database of Store.
	DatabaseURL string
	// Nodes is how many there are on PostgreSQL, if EnvNodes doesn't ask for more; 0 is 1.
	Nodes int
	// Crashing takes a binary that Arm works on.
	Crashing bool
	// Binary is used in place of the one that is built from this tree.
	Binary string
	// Args and Env ("TIDEMARK_…=…") are added to what the harness passes.
	Args []string
	Env  []string
}

// Server is a running tidemark, or one between Kill and Restart. Where EnvNodes
// asks for several nodes it stands for all of them.
type Server struct {
	t           testing.TB
	bin         string
	dir         string
	options     Options
	databaseURL string
	place       workplace

	// Both are nil unless the server speaks for several nodes.
	cluster      *Cluster
	acknowledged *versions

	armed string // where the next process ends itself, "": nowhere

	url atomic.Value // string; not under mu, which a start holds to its end

	mu      sync.Mutex
	process *process.Process // nil while it does not run
	ended   error            // how the last one ended
}

// Start starts a server and waits until it is ready. It ends with the test.
func Start(t testing.TB, options Options) *Server {
	t.Helper()
	if nodes := max(Nodes(), options.Nodes); nodes > 1 && options.Store == Postgres {
		return startMany(t, options, nodes)
	}
	s := New(t, options)
	if err := s.run(); err != nil {
		t.Fatalf("start tidemark: %v", err)
	}
	return s
}

// New prepares a server without starting it: for tests of a start that fails.
func New(t testing.TB, options Options) *Server {
	t.Helper()
	place, err := place()
	if err != nil {
		t.Fatal(err)
	}
	find := binary
	if options.Crashing {
		find = crashing
	}
	bin, err := options.Binary, error(nil)
	if bin == "" {
		bin, err = find()
	}
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(place.dir, "server-")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, bin: bin, dir: dir, options: options, place: place, databaseURL: options.DatabaseURL}
	if s.databaseURL == "" {
		s.databaseURL = s.freshDatabase(t)
	}
	t.Cleanup(s.cleanup)
	return s
}

func (s *Server) freshDatabase(t testing.TB) string {
	if s.options.Store == Postgres {
		return pgtest.URL(t)
	}
	return "sqlite:" + s.SQLiteFile()
}

// SQLiteFile is where a fresh SQLite database of this server lies.
func (s *Server) SQLiteFile() string { return filepath.Join(s.dir, "tidemark.db") }

// DatabaseURL is what the server was given as its database.
func (s *Server) DatabaseURL() string { return s.databaseURL }

// Nodes is how many nodes the server stands for.
func (s *Server) Nodes() int { return len(s.all()) }

// Use gives the server another database from the next Restart on.
func (s *Server) Use(databaseURL string) {
	for _, node := range s.all() {
		node.databaseURL = databaseURL
	}
	s.databaseURL = databaseURL
}

// Binary is the binary of the server.
func (s *Server) Binary() string { return s.bin }

// Deploy gives the server another binary from the next Restart on.
func (s *Server) Deploy(binary string) { s.bin = binary }

// Forget makes clients forget what pushes were answered: the database was put back.
func (s *Server) Forget() { s.acknowledged.forget() }

// URL is where the server listens. It is another one after each Restart,
// because only the system can give out a port without a race.
func (s *Server) URL() string {
	if s.cluster != nil {
		return s.cluster.URL()
	}
	return s.ownURL()
}

func (s *Server) ownURL() string {
	url, _ := s.url.Load().(string)
	return url
}

// Kill ends the server with SIGKILL: it has no chance to write or answer anything.
func (s *Server) Kill() {
	s.t.Helper()
	for _, node := range s.all() {
		if err := node.end(syscall.SIGKILL); err != nil {
			s.t.Fatalf("kill tidemark: %v", err)
		}
	}
}

// Stop ends the server with SIGTERM and expects it to drain and to exit with 0.
func (s *Server) Stop() {
	s.t.Helper()
	for _, node := range s.all() {
		if err := node.end(syscall.SIGTERM); err != nil {
			s.t.Fatalf("stop tidemark: %v", err)
		}
		if node.ended != nil {
			s.t.Errorf("tidemark ended with %v after SIGTERM", node.ended)
		}
	}
}

// Pause freezes the server with SIGSTOP: it keeps its connections and locks and
// does nothing. Resume lets it go on, as if no time had passed for it.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) {
	s.t.Helper()
	for _, node := range s.all() {
		if err := node.send(signal); err != nil {
			s.t.Fatalf("send %v to tidemark: %v", signal, err)
		}
	}
}

func (s *Server) send(signal syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return errors.New("the server is not running")
	}
	return s.process.Signal(signal)
}

// all is the servers that s stands for.
func (s *Server) all() []*Server {
	if s.cluster != nil {
		return s.cluster.nodes
	}
	return []*Server{s}
}

// Restart starts an ended server again on the same data.
func (s *Server) Restart() {
	s.t.Helper()
	for _, node := range s.all() {
		if err := node.run(); err != nil {
			s.t.Fatalf("restart tidemark: %v", err)
		}
	}
}

// RestartUnready starts an ended server and waits until it listens, whether it is ready
// or not.
func (s *Server) RestartUnready() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	err := s.begin()
	if err == nil {
		var url string
		url, err = s.process.Address(ctx)
		s.url.Store(url)
	}
	if err != nil {
		s.t.Fatalf("start tidemark: %v\n%s", err, s.Log())
	}
}

// Arm makes the process of the next Restart end itself when it comes to a point of
// package fault for the n-th time. Later ones don't, unless they are armed again.
func (s *Server) Arm(point string, n int) { s.armed = fmt.Sprintf("%s:%d", point, n) }

// Disarm takes that back.
func (s *Server) Disarm() { s.armed = "" }

// AwaitCrash waits until an armed process has ended itself.
func (s *Server) AwaitCrash() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		s.t.Fatal("the server is not running")
	}
	select {
	case <-s.process.Exited:
	case <-time.After(readyTimeout):
		s.t.Fatalf("the server has not come to where it is to end\n%s", s.Log())
	}
	var status *exec.ExitError
	if !errors.As(s.process.Err, &status) || status.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		s.t.Fatalf("the server ended with %v, want SIGKILL\n%s", s.process.Err, s.Log())
	}
	s.process = nil
}

// RestartToCrash starts an armed server and waits until it has ended itself, which it
// may do before it is ready.
func (s *Server) RestartToCrash() {
	s.t.Helper()
	s.mu.Lock()
	err := s.begin()
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
		if url, err := s.process.Address(ctx); err == nil { // else it has ended before that
			s.url.Store(url)
		}
		cancel()
	}
	s.mu.Unlock()
	if err != nil {
		s.t.Fatalf("start tidemark: %v", err)
	}
	s.AwaitCrash()
}

// Run runs a subcommand of the binary to its end, with the server's settings
// in the environment, and returns what it printed.
func (s *Server) Run(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, s.bin, args...)
	cmd.Dir, cmd.Env = s.dir, s.environment()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func (s *Server) environment() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "TIDEMARK_") {
			env = append(env, entry)
		}
	}
	env = append(env, "TIDEMARK_LISTEN=127.0.0.1:0", "TIDEMARK_DATABASE_URL="+s.databaseURL)
	if s.options.Secret != "" {
		// A test is one subject, and faster than any that should be served.
		env = append(env, "TIDEMARK_AUTH_SECRET="+s.options.Secret, "TIDEMARK_RATE_LIMIT=0")
	}
	if s.armed != "" {
		env = append(env, fault.Variable+"="+s.armed)
	}
	return append(env, s.options.Env...)
}

// run starts a process and waits until it is ready.
func (s *Server) run() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	url, err := s.process.Address(ctx)
	if err == nil {
		s.url.Store(url)
		err = process.AwaitReady(ctx, url, s.process.Exited)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%w\n%s", err, s.Log()), s.endProcess(os.Kill))
	}
	return nil
}

// begin starts a process. It is called with mu held.
func (s *Server) begin() error {
	if s.process != nil {
		return errors.New("the server is running")
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.bin, append([]string{"serve"}, s.options.Args...)...)
	cmd.Dir, cmd.Env, cmd.Stderr = s.dir, s.environment(), log
	started, err := process.Start(s.place.line, cmd)
	if err != nil {
		return err
	}
	s.process, s.armed = started, ""
	return nil
}

// end sends the signal and waits. Ending an ended server does nothing.
func (s *Server) end(signal os.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return nil
	}
	return s.endProcess(signal)
}

func (s *Server) endProcess(signal os.Signal) error {
	if err := s.process.End(signal, stopTimeout); err != nil {
		return err
	}
	s.process, s.ended = nil, s.process.Err
	return nil
}

func (s *Server) cleanup() {
	if err := s.end(syscall.SIGTERM); err != nil {
		s.t.Errorf("stop tidemark: %v", err)
	}
	log := s.Log()
	for _, alarm := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
		if strings.Contains(log, alarm) {
			s.t.Errorf("the server's log holds %q", alarm)
			panics.Add(1)
		}
	}
	s.prove()
	if s.t.Failed() {
		const most = 16 << 10
		s.t.Logf("the server's log:\n%s", log[max(0, len(log)-most):])
	}
	os.RemoveAll(s.dir)
}

// prove has the database verified that the test leaves behind: whatever a test is about,
// it also asks whether all rows still agree.
func (s *Server) prove() {
	if _, err := os.Stat(s.logFile()); err != nil || s.t.Failed() {
		return // it may never have been started
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	stdout, stderr, err := s.Run(ctx, "verify")
	if err != nil || !strings.Contains(stdout, " spaces verified, 0 with faults\n") {
		s.t.Errorf("after the test the database could not be verified: %v\n%s%s", err, stdout, stderr)
	}
}

// Log is what the server has written to stderr so far.
func (s *Server) Log() string {
	log, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return string(log)
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }
