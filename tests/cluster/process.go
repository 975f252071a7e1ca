package main

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

const (
	pollEvery   = 20 * time.Millisecond
	stopTimeout = 30 * time.Second // a drain may wait for requests
)

// process is something that was started and runs until end, or until somebody
// kills it, which is what a cluster is for.
type process struct {
	name   string
	url    string // of a node
	cmd    *exec.Cmd
	exited chan struct{}
}

// start starts the command. Every line that it writes is passed on with its name.
func start(line *lifeline.Line, name string, cmd *exec.Cmd) (*process, <-chan string, error) {
	lifeline.Detach(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	errs, err := cmd.StderrPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", name, err)
	}
	line.Watch(cmd.Process)
	p := &process{name: name, cmd: cmd, exited: make(chan struct{})}
	first := make(chan string, 1)
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		for lines := bufio.NewScanner(errs); lines.Scan(); {
			fmt.Fprintf(os.Stderr, "%s | %s\n", name, lines.Text())
		}
		io.Copy(io.Discard, errs) // after a line that is too long
	}()
	go func() {
		reader := bufio.NewReader(out)
		greeting, _ := reader.ReadString('\n')
		first <- strings.TrimSpace(greeting)
		io.Copy(io.Discard, reader)
		<-logged
		cmd.Wait()
		line.Forget(cmd.Process)
		fmt.Fprintf(os.Stderr, "%s | ended: %v\n", name, cmd.ProcessState)
		close(p.exited)
	}()
	return p, first, nil
}

// end asks the process to end, and waits for it.
func (p *process) end() error {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGCONT} {
		if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTimeout):
		p.cmd.Process.Kill()
		return fmt.Errorf("%s did not end within %v", p.name, stopTimeout)
	}
}

// startNode starts a node on a free port and waits until it is ready.
func startNode(ctx context.Context, line *lifeline.Line, binary, name, database, broker string) (*process, error) {
	cmd := exec.Command(binary, "serve", "--listen", "127.0.0.1:0", "--database-url", database, "--broker", broker)
	node, first, err := start(line, name, cmd)
	if err != nil {
		return nil, err
	}
	greeting := <-first // empty if it ended
	url, ok := strings.CutPrefix(greeting, "tidemark: listening on ")
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s did not start", name), node.end())
	}
	node.url = url
	if err := awaitReady(ctx, url, node.exited); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), node.end())
	}
	return node, nil
}

// awaitReady waits until the server at url, or one behind it, says that it is ready.
func awaitReady(ctx context.Context, url string, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
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
			return errors.New("ended while starting")
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", err)
		case <-tick.C:
		}
	}
}
