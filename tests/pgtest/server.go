package pgtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark/tidemark/tests/lifeline"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second
	pollEvery    = 20 * time.Millisecond
)

// Server is a PostgreSQL server in a temporary folder. Its port stays the same
// over restarts, so that clients can be seen to reconnect.
type Server struct {
	bin      string // folder of the server's binaries
	dir      string // everything the server writes
	line     *lifeline.Line
	password string
	port     int
	runAs    account
	settings []string // name=value

	mu      sync.Mutex
	process *exec.Cmd     // nil while stopped
	exited  chan struct{} // closed when process has been waited for
}

// Launch starts a server that ends with this process, or earlier with Close. The
// settings, each name=value, come on top of PostgreSQL's defaults.
func Launch(settings ...string) (*Server, error) {
	bin, err := findBinaries()
	if err != nil {
		return nil, err
	}
	runAs, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := tempDir(runAs)
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir, runAs: runAs, password: secret(), settings: settings}
	// First, so that whatever fails or dies from here on is cleared away.
	if s.line, err = lifeline.Guard(dir); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	if err := s.initialize(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.startOnFreePort(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// AdminURL is the URL of the server's own database, as its superuser.
func (s *Server) AdminURL() string {
	return fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%d/postgres?sslmode=disable", s.password, s.port)
}

// PID is the postmaster's process id, 0 while the server is stopped.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return 0
	}
	return s.process.Process.Pid
}

// Start starts a stopped server again on the same data and port.
func (s *Server) Start() error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for deadline := time.Now().Add(startTimeout); ; <-tick.C {
		err := s.launch()
		if !errors.Is(err, errOrphans) || time.Now().After(deadline) {
			return err
		}
	}
}

// errOrphans: children of a postmaster that was killed have not ended yet.
var errOrphans = errors.New("pre-existing shared memory block")

// launch starts the server once.
func (s *Server) launch() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		return errors.New("the server is running")
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{
		"-D", s.dataDir(),
		"-c", "listen_addresses=127.0.0.1",
		"-c", fmt.Sprintf("port=%d", s.port),
		"-c", "unix_socket_directories=",
		"-c", "max_connections=300",
	}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	cmd := s.command("postgres", args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	s.line.Watch(cmd.Process)
	exited := make(chan struct{})
	s.process, s.exited = cmd, exited
	go func() {
		cmd.Wait()
		s.line.Forget(cmd.Process)
		close(exited)
	}()
	err = s.awaitReady()
	if errors.Is(err, errOrphans) {
		s.process = nil // it has ended, and may be launched again
	}
	return err
}

// Stop ends the server as an administrator would (pg_ctl stop -m fast): open
// transactions are rolled back and everything is written.
func (s *Server) Stop() error { return s.end(syscall.SIGINT) }

// StopImmediate ends the server without a checkpoint (pg_ctl stop -m
// immediate): the next start recovers from the log, as after a power cut.
func (s *Server) StopImmediate() error { return s.end(syscall.SIGQUIT) }

// Kill ends the postmaster with SIGKILL. Its children notice and follow; Start
// waits for them.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

// Close ends the server if it is running and removes its folder.
func (s *Server) Close() error {
	stopped := s.StopImmediate()
	return errors.Join(stopped, s.line.Close())
}

// end sends the signal and waits for the postmaster. Ending a stopped server does nothing.
func (s *Server) end(signal syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return nil
	}
	if err := s.process.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop postgres: %w", err)
	}
	select {
	case <-s.exited:
		s.process = nil
		return nil
	case <-time.After(stopTimeout):
		return fmt.Errorf("postgres did not stop within %v after %v", stopTimeout, signal)
	}
}

// initialize makes the data folder. Where the build allows it the default
// collation is a language's, so that a key column that forgot its COLLATE "C"
// sorts wrong in tests too and not only in production.
func (s *Server) initialize() error {
	passwordFile := filepath.Join(s.dir, "password")
	if err := os.WriteFile(passwordFile, []byte(s.password), 0o600); err != nil {
		return err
	}
	if err := s.runAs.own(passwordFile); err != nil {
		return err
	}
	args := []string{
		"-D", s.dataDir(), "-U", "postgres", "-A", "scram-sha-256", "--pwfile", passwordFile,
		"-E", "UTF8", "--locale=C", "--no-sync",
	}
	icu := append([]string{"--locale-provider=icu", "--icu-locale=en"}, args...)
	if s.command("initdb", icu...).Run() == nil {
		return nil
	}
	if err := os.RemoveAll(s.dataDir()); err != nil {
		return err
	}
	cmd := s.command("initdb", args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, output.String())
	}
	return nil
}

// startOnFreePort tries a few ports, because between asking for a free one and
// PostgreSQL listening on it somebody else may take it.
func (s *Server) startOnFreePort() error {
	var err error
	for range 3 {
		if s.port, err = freePort(); err != nil {
			return err
		}
		if err = s.Start(); err == nil {
			return nil
		}
		if stopErr := s.StopImmediate(); stopErr != nil {
			return errors.Join(err, stopErr)
		}
	}
	return err
}

func (s *Server) awaitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.AdminURL())
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.exited:
			tail := s.logTail()
			if strings.Contains(tail[strings.LastIndex(tail, "starting PostgreSQL")+1:], errOrphans.Error()) {
				return fmt.Errorf("postgres did not start: %w", errOrphans)
			}
			return fmt.Errorf("postgres ended while starting:\n%s", tail)
		case <-ctx.Done():
			return fmt.Errorf("postgres not ready after %v: %w\n%s", startTimeout, err, s.logTail())
		case <-tick.C:
		}
	}
}

// command prepares one of the server's programs, or another by its path: as the right user, in a folder
// which that user can enter, and without PG* variables that would lead it astray.
func (s *Server) command(program string, args ...string) *exec.Cmd {
	if !filepath.IsAbs(program) {
		program = filepath.Join(s.bin, program)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = s.dir
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "PG") && !strings.HasPrefix(entry, "LC_") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	s.runAs.apply(cmd)
	lifeline.Detach(cmd)
	return cmd
}

// BackUp copies the running server's data folder, by pg_basebackup. An archive that
// was fetched has none; then the server stops, is copied, and starts again.
func (s *Server) BackUp() error {
	if err := os.RemoveAll(s.backupDir()); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.bin, "pg_basebackup")); err != nil {
		if err := s.Stop(); err != nil {
			return err
		}
		return errors.Join(s.copy(s.dataDir(), s.backupDir()), s.Start())
	}
	cmd := s.command("pg_basebackup", "--pgdata="+s.backupDir(), "--dbname="+s.AdminURL(), "--checkpoint=fast", "--no-sync")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_basebackup: %w\n%s", err, output)
	}
	return nil
}

// PutBack puts what BackUp has copied in place of the stopped server's data.
func (s *Server) PutBack() error {
	if err := os.RemoveAll(s.dataDir()); err != nil {
		return err
	}
	return s.copy(s.backupDir(), s.dataDir())
}

// copy copies a folder with its owner.
func (s *Server) copy(from, to string) error {
	cp, err := exec.LookPath("cp")
	if err != nil {
		return err
	}
	if output, err := s.command(cp, "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w\n%s", from, err, output)
	}
	return nil
}

func (s *Server) backupDir() string { return filepath.Join(s.dir, "backup") }

func (s *Server) dataDir() string { return filepath.Join(s.dir, "data") }
func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }

func (s *Server) logTail() string {
	const most = 4 << 10
	log, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-most):])
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func secret() string {
	b := make([]byte, 16)
	rand.Read(b)
	return hex.EncodeToString(b)
}
