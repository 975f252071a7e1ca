package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os/signal"
	"syscall"
	"time"

	"github.com/tidemark/tidemark/api/conformance"
)

type conformanceCommand struct {
	URL   string `arg:"" help:"Where the deployment is, without /v1."`
	Token string `env:"TIDEMARK_CONFORMANCE_TOKEN" placeholder:"TOKEN" help:"A token or an API key that may read and write the spaces conformance-*. Not needed without auth."`
}

// Run holds a deployment against the protocol and prints what it does not keep to.
func (c *conformanceCommand) Run(out output) error {
	if u, err := url.Parse(c.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return usagef("%q is no URL like https://sync.example.com", c.URL)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	made, faults := 0, 0
	faulty, err := conformance.Run(ctx, conformance.Options{URL: c.URL, Token: c.Token}, func(r conformance.Result) {
		verdict := "ok"
		made++
		if r.Fault != "" {
			verdict = "FAULT"
			faults++
		}
		fmt.Fprintf(out.stdout, "%-6s %-10s %s (%v)\n", verdict, r.Area, r.Name, r.Took.Round(time.Millisecond))
		if r.Fault != "" {
			fmt.Fprintf(out.stdout, "       %s\n", r.Fault)
		}
	})
	fmt.Fprintf(out.stdout, "%d checks, %d faults\n", made, faults)
	if err == nil && faulty {
		err = errors.New("the deployment does not conform")
	}
	return err
}
