package stand

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/tidemark/tidemark/tests/lifeline"
	"github.com/tidemark/tidemark/tests/load/measure"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 45 * time.Second
)

// Process is a running server: a node or a bare one.
type Process struct {
	URL         string
	DatabaseURL string // of a node

	stand      *Stand
	command    *exec.Cmd
	exited     chan struct{}
	log        string // file of what it wrote to stderr
	countsPeak bool
	after      func() error // once it has ended; may be nil
}

// start runs a command that prints on its first line where it listens.
func (s *Stand) start(ctx context.Context, command *exec.Cmd, name string) (*Process, error) {
	log, err := os.CreateTemp(s.dir, name+"-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command.Stderr = log
	command.Dir = s.dir
	lifeline.Detach(command)
	stdout, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	s.line.Watch(command.Process)
	p := &Process{stand: s, command: command, exited: make(chan struct{}), log: log.Name()}
	first := make(chan string, 1)
	go func() {
		defer close(p.exited)
		out := bufio.NewReader(stdout)
		line, _ := out.ReadString('\n')
		first <- line
		io.Copy(io.Discard, out)
		command.Wait()
		s.line.Forget(command.Process)
	}()
	return p, p.awaitAddress(ctx, first, name)
}

func (p *Process) awaitAddress(ctx context.Context, first <-chan string, name string) error {
	var err error
	select {
	case line := <-first:
		_, address, ok := strings.Cut(strings.TrimSpace(line), "listening on ")
		if p.URL = address; ok {
			return nil
		}
		err = fmt.Errorf("%s did not start:\n%s", name, p.logTail())
	case <-time.After(startTimeout):
		err = fmt.Errorf("%s printed no address within %v", name, startTimeout)
	case <-ctx.Done():
		err = ctx.Err()
	}
	return errors.Join(err, p.Stop())
}

// PID is the process's id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Stop ends the process, as an operator would, and waits for it. Its peak of
// memory is noted first. That it has ended before is an error, with what it
// logged last.
func (p *Process) Stop() error {
	err := p.terminate()
	if p.after != nil {
		err = errors.Join(err, p.after())
	}
	return err
}

func (p *Process) terminate() error {
	select {
	case <-p.exited:
		return fmt.Errorf("a server ended by itself:\n%s", p.logTail())
	default:
	}
	if memory, err := measure.MemoryOf(p.PID()); err == nil && p.countsPeak {
		p.stand.notePeak(memory.Peak)
	}
	err := p.command.Process.Signal(syscall.SIGTERM)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	select {
	case <-p.exited:
	case <-time.After(stopTimeout):
		err = errors.Join(err, fmt.Errorf("it still ran %v after SIGTERM", stopTimeout), p.command.Process.Kill())
		<-p.exited
	}
	return err
}

// logTail is the end of what the process wrote to stderr.
func (p *Process) logTail() string {
	const most = 4 << 10
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}
