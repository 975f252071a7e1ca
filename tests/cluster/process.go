package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/tidemark/tidemark/tests/lifeline"
	"github.com/tidemark/tidemark/tests/process"
)

const stopTimeout = 30 * time.Second // a drain may wait for requests

// member is something that was started and runs until end, or until somebody
// kills it, which is what a cluster is for.
type member struct {
	*process.Process
	name string
	url  string        // of a node
	gone chan struct{} // closed when all that it said has been passed on
}

// start starts the command. Every line that it logs is passed on with its name.
func start(line *lifeline.Line, name string, cmd *exec.Cmd) (*member, error) {
	errs, writer := io.Pipe()
	cmd.Stderr = writer
	started, err := process.Start(line, cmd)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	m := &member{Process: started, name: name, gone: make(chan struct{})}
	go func() {
		<-m.Exited
		writer.Close()
	}()
	go func() {
		defer close(m.gone)
		for lines := bufio.NewScanner(errs); lines.Scan(); {
			fmt.Fprintf(os.Stderr, "%s | %s\n", name, lines.Text())
		}
		io.Copy(io.Discard, errs) // after a line that is too long
		fmt.Fprintf(os.Stderr, "%s | ended: %v\n", name, cmd.ProcessState)
	}()
	return m, nil
}

// end asks the process to end, and waits for it.
func (m *member) end() error {
	if err := m.End(syscall.SIGTERM, stopTimeout); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	<-m.gone
	return nil
}

// startNode starts a node on a free port and waits until it is ready.
func startNode(ctx context.Context, line *lifeline.Line, binary, name, database, broker string) (*member, error) {
	cmd := exec.Command(binary, "serve", "--listen", "127.0.0.1:0", "--database-url", database, "--broker", broker)
	node, err := start(line, name, cmd)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if node.url, err = node.Address(ctx); err == nil {
		err = process.AwaitReady(ctx, node.url, node.Exited)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), node.end())
	}
	return node, nil
}
