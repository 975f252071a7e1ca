package stand

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/tidemark/tidemark/tests/load/measure"
	"github.com/tidemark/tidemark/tests/process"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 45 * time.Second
)

// Process is a running server: a node or a bare one.
type Process struct {
	*process.Process
	URL         string
	DatabaseURL string // of a node

	stand      *Stand
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
	started, err := process.Start(s.line, command)
	if err != nil {
		return nil, err
	}
	p := &Process{Process: started, stand: s, log: log.Name()}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if p.URL, err = started.Address(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w\n%s", name, err, p.logTail()), p.Stop())
	}
	return p, nil
}

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
	case <-p.Exited:
		return fmt.Errorf("a server ended by itself:\n%s", p.logTail())
	default:
	}
	if memory, err := measure.MemoryOf(p.PID()); err == nil && p.countsPeak {
		p.stand.notePeak(memory.Peak)
	}
	return p.End(syscall.SIGTERM, stopTimeout)
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
