// Package lifeline ends what a test process started, however that process
// ends: its children are killed and its temporary folder is removed after a
// panic, a timeout, Ctrl-C and SIGKILL as after a plain return.
//
// A small shell waits on a pipe whose other end is this process. The kernel
// closes it when the process is gone, and the shell clears up. (Linux'
// Pdeathsig would be tied to a thread, and a TestMain per package would not
// run after SIGKILL.)
package lifeline

import (
	"fmt"
	"io"
	"os"
	"os/exec"
)

// Line guards one folder and any number of processes.
type Line struct {
	shell *exec.Cmd
	pipe  io.WriteCloser
}

// The shell is told of every process that starts and ends, so that it never
// kills a stranger to whom the number was given anew.
const script = `
PATH=$PATH:/usr/bin:/bin
live=
while read -r verb pid; do
	case $verb in
	watch) live="$live $pid" ;;
	forget)
		rest=
		for p in $live; do [ "$p" = "$pid" ] || rest="$rest $p"; done
		live=$rest
		;;
	esac
done
for p in $live; do kill -QUIT "$p" 2>/dev/null; done
for p in $live; do
	left=100
	while [ $left -gt 0 ] && kill -0 "$p" 2>/dev/null; do
		sleep 0.05
		left=$((left - 1))
	done
	kill -KILL "$p" 2>/dev/null
done
rm -rf "$1"
`

// Guard takes charge of dir, which exists: it is removed with Close or with
// this process, whichever comes first.
func Guard(dir string) (*Line, error) {
	shell := exec.Command("/bin/sh", "-c", script, "lifeline", dir)
	shell.Dir = "/"
	Detach(shell)
	pipe, err := shell.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := shell.Start(); err != nil {
		return nil, fmt.Errorf("start the guard of %s: %w", dir, err)
	}
	return &Line{shell: shell, pipe: pipe}, nil
}

// Watch has the process ended (SIGQUIT, after 5 s SIGKILL) if this process
// dies, or at Close, before the folder is removed.
func (l *Line) Watch(p *os.Process) { fmt.Fprintln(l.pipe, "watch", p.Pid) }

// Forget is called when the process has been waited for.
func (l *Line) Forget(p *os.Process) { fmt.Fprintln(l.pipe, "forget", p.Pid) }

// Close ends what is still watched and removes the folder.
func (l *Line) Close() error {
	l.pipe.Close()
	if err := l.shell.Wait(); err != nil {
		return fmt.Errorf("clear up after the tests: %w", err)
	}
	return nil
}
