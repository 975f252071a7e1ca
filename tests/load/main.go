// Command load measures Tidemark: what it does per second, what that costs, and
// how near it comes to the least work that could do the same. `make bench` runs
// it; README.md in this folder says what the figures mean and how to point it
// at a deployment.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/tidemark/tidemark/tests/load/limits"
	"github.com/tidemark/tidemark/tests/load/stand"
)

func main() {
	if err := serveBare(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	var settings Settings
	kong.Parse(&settings, kong.Name("load"),
		kong.Description("Measures Tidemark beside the limits of the same machine, or a deployment of yours."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, &settings)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// serveBare makes this process a bare server if it was started as one, and
// ends it then.
func serveBare() error {
	if len(os.Args) != 2 || os.Args[1] != stand.BareArgument {
		return nil
	}
	if err := limits.Serve(); err != nil {
		return err
	}
	os.Exit(0)
	return nil
}
