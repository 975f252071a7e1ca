//go:build unix

package lifeline

import (
	"os/exec"
	"syscall"
)

// Detach gives the command a session of its own, so that Ctrl-C reaches the
// tests and not what they run on. Call it before Start.
func Detach(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
}
