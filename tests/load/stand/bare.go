package stand

import (
	"context"
	"os"
	"os/exec"
)

// BareArgument is the first argument by which the bench's own program becomes
// a bare server.
const BareArgument = "bare-server"

// Bare starts a net/http server that does next to nothing (limits.Serve), in a
// process of its own as the node has one.
func (s *Stand) Bare(ctx context.Context) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return s.start(ctx, exec.Command(self, BareArgument), "bare")
}
