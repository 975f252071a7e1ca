// Package process runs servers for tests, cluster and bench: programs that say on
// their first line of output where they listen, answer /readyz, and end at SIGTERM.
package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/tidemark/tidemark/tests/lifeline"
)

const pollEvery = 10 * time.Millisecond

// Process is a program that was started.
type Process struct {
	// Exited is closed when the process has ended, with Err.
	Exited <-chan struct{}
	Err    error

	process *os.Process
	first   chan string
}

// Start starts the command, which ends with this process at the latest.
func Start(line *lifeline.Line, cmd *exec.Cmd) (*Process, error) {
	lifeline.Detach(cmd)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line.Watch(cmd.Process)
	exited := make(chan struct{})
	p := &Process{Exited: exited, process: cmd.Process, first: make(chan string, 1)}
	go func() {
		defer close(exited)
		// Wait closes the pipe, so everything is read first.
		out := bufio.NewReader(stdout)
		greeting, _ := out.ReadString('\n')
		p.first <- strings.TrimSpace(greeting)
		io.Copy(io.Discard, out)
		p.Err = cmd.Wait()
		line.Forget(cmd.Process)
	}()
	return p, nil
}

// PID is the process's id.
func (p *Process) PID() int { return p.process.Pid }

// Signal sends a signal to the process.
func (p *Process) Signal(signal os.Signal) error { return p.process.Signal(signal) }

// Address waits for the first line and returns the URL that it names. It can be
// asked once.
func (p *Process) Address(ctx context.Context) (string, error) {
	select {
	case line := <-p.first:
		_, url, ok := strings.Cut(line, ": listening on ")
		if !ok {
			return "", fmt.Errorf("its first line on stdout is %q, want the address it listens on", line)
		}
		return url, nil
	case <-ctx.Done():
		return "", fmt.Errorf("it names no address: %w", ctx.Err())
	}
}

// AwaitReady waits until the server at url, or one behind it, says that it is
// ready. Error: ctx or the server has ended before that.
func AwaitReady(ctx context.Context, url string, ended <-chan struct{}) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(answer.Status)
		}
		select {
		case <-ended:
			return errors.New("it ended while starting")
		case <-ctx.Done():
			return fmt.Errorf("it is not ready: %w", err)
		case <-tick.C:
		}
	}
}

// End sends the signal, also to a process that is frozen, and waits until it has
// ended. One that has ended before is no error.
func (p *Process) End(signal os.Signal, within time.Duration) error {
	for _, s := range []os.Signal{signal, syscall.SIGCONT} {
		if err := p.process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	select {
	case <-p.Exited:
		return nil
	case <-time.After(within):
		// SIGQUIT makes a Go program print what all its goroutines wait for.
		p.process.Signal(syscall.SIGQUIT)
		return fmt.Errorf("it still runs %v after %v", within, signal)
	}
}
