// Command cmd runs another command with a PostgreSQL server beside it:
//
//	go run ./tests/pgtest/cmd -- go test ./...
//
// The command finds the server in TIDEMARK_TEST_DATABASE_URL. The server ends
// with the command; if the variable was set already, nothing is started.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/tidemark/tidemark/tests/pgtest"
)

func main() {
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: go run ./tests/pgtest/cmd -- command [argument ...]")
		os.Exit(2)
	}
	code, err := run(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
	}
	os.Exit(code)
}

func run(args []string) (code int, err error) {
	if os.Getenv(pgtest.EnvURL) == "" {
		server, err := pgtest.Launch()
		if err != nil {
			return 1, err
		}
		defer server.Close()
		os.Setenv(pgtest.EnvURL, server.AdminURL())
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// A terminal sends Ctrl-C to the command as well: here it only must not end
	// us before the command. SIGTERM comes to us alone and is passed on.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	go func() {
		for received := range signals {
			if received == syscall.SIGTERM {
				cmd.Process.Signal(received)
			}
		}
	}()
	var failed *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &failed) {
		return max(failed.ExitCode(), 1), nil
	} else if err != nil {
		return 1, err
	}
	return 0, nil
}
