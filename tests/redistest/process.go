package redistest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemark/tidemark/tests/lifeline"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 30 * time.Second
	pollEvery    = 10 * time.Millisecond
)

// process is a redis-server in a temporary folder.
type process struct {
	dir      string
	line     *lifeline.Line
	password string
	port     int
	cmd      *exec.Cmd
	exited   chan struct{} // closed when cmd has been waited for
}

func launch(binary string) (*process, error) {
	dir, err := os.MkdirTemp("", "tidemark-redis-")
	if err != nil {
		return nil, err
	}
	p := &process{dir: dir, password: rand.Text()}
	if p.line, err = lifeline.Guard(dir); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	// A few ports, because between asking for a free one and redis-server listening
	// on it somebody else may take it.
	for range 5 {
		if err = p.start(binary); err == nil {
			return p, nil
		}
	}
	return nil, errors.Join(err, p.line.Close())
}

func (p *process) url() string { return fmt.Sprintf("redis://:%s@127.0.0.1:%d/0", p.password, p.port) }

// start starts the server on a free port and waits until it answers.
func (p *process) start(binary string) error {
	var err error
	if p.port, err = freePort(); err != nil {
		return err
	}
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command(binary, "-") // the settings come from stdin: the password is nobody's business
	p.cmd.Dir = p.dir
	p.cmd.Stdin = strings.NewReader(fmt.Sprintf(
		"bind 127.0.0.1\nport %d\nrequirepass %s\nsave \"\"\nappendonly no\ndaemonize no\n", p.port, p.password))
	p.cmd.Stdout, p.cmd.Stderr = log, log
	lifeline.Detach(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	p.line.Watch(p.cmd.Process)
	exited := make(chan struct{})
	p.exited = exited
	go func() {
		p.cmd.Wait()
		p.line.Forget(p.cmd.Process)
		close(exited)
	}()
	if err := p.awaitReady(); err != nil {
		return errors.Join(err, p.stop())
	}
	return nil
}

func (p *process) awaitReady() error {
	client, err := connect(p.url())
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		// With our password: who else may be on the port doesn't know it.
		err := client.Ping(ctx).Err()
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			log, _ := os.ReadFile(p.logFile())
			return fmt.Errorf("redis-server ended while starting:\n%s", log)
		case <-ctx.Done():
			return fmt.Errorf("redis-server not ready after %v: %w", startTimeout, err)
		case <-tick.C:
		}
	}
}

// cut ends all connections but its own.
func (p *process) cut(ctx context.Context) error {
	client, err := connect(p.url())
	if err != nil {
		return err
	}
	defer client.Close()
	for _, kind := range []string{"pubsub", "normal"} {
		if err := client.Do(ctx, "CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes").Err(); err != nil {
			return fmt.Errorf("cut connections: %w", err)
		}
	}
	return nil
}

// stop ends the server. Nothing in it is worth a signal that it may think about.
func (p *process) stop() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop redis-server: %w", err)
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTimeout):
		return fmt.Errorf("redis-server did not stop within %v", stopTimeout)
	}
}

func (p *process) close() error { return errors.Join(p.stop(), p.line.Close()) }

func (p *process) logFile() string { return filepath.Join(p.dir, "log") }

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
