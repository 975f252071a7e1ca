// Command cluster runs several nodes of tidemark on this machine, with one
// PostgreSQL and one broker, behind a round-robin: what `make cluster` starts.
// All data is new and goes when the command ends.
//
//	go run ./tests/cluster -broker nats
//
// Settings that the environment holds (TIDEMARK_AUTH_SECRET, …) are those of
// every node. TIDEMARK_LISTEN is where the round-robin listens.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tidemark/tidemark/tests/lifeline"
	"github.com/tidemark/tidemark/tests/pgtest"
)

type options struct {
	binary string
	broker string
	nodes  int
	listen string
}

func main() {
	o := options{listen: os.Getenv("TIDEMARK_LISTEN")}
	flag.StringVar(&o.binary, "binary", "bin/tidemark", "the server")
	flag.StringVar(&o.broker, "broker", "postgres", "how the nodes hear each other: postgres, logical, nats or redis")
	flag.IntVar(&o.nodes, "nodes", 3, "how many nodes")
	flag.Parse()
	if o.listen == "" {
		o.listen = "127.0.0.1:8080"
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// run starts everything and ends it, in the other order, when ctx ends.
func run(ctx context.Context, o options) (err error) {
	if err := free(ctx, o.listen); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tidemark-cluster-")
	if err != nil {
		return err
	}
	line, err := lifeline.Guard(dir)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	defer func() { err = errors.Join(err, line.Close()) }()

	//nolint:contextcheck // it bounds its own start
	database, err := pgtest.Launch("wal_level=logical") // whatever the broker is
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	broker, closeBroker, err := startBroker(o.broker) //nolint:contextcheck // as above
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeBroker()) }()

	nodes := make([]*member, 0, o.nodes)
	defer func() {
		for _, node := range nodes {
			err = errors.Join(err, node.end())
		}
	}()
	for i := range o.nodes {
		node, err := startNode(ctx, line, o.binary, fmt.Sprintf("node %d", i+1), database.AdminURL(), broker)
		if err != nil {
			return err
		}
		nodes = append(nodes, node)
	}
	front, err := startFront(ctx, line, dir, o.listen, nodes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, front.end()) }()
	greet(o, front, nodes, database.AdminURL(), broker)
	select {
	case <-ctx.Done():
		fmt.Fprintln(os.Stderr, "cluster: shutting down")
		return nil
	case <-front.ended():
		return fmt.Errorf("%s ended by itself", front.name())
	}
}

// free finds out whether somebody listens there already, who would be taken for the
// round-robin.
func free(ctx context.Context, address string) error {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return listener.Close()
}

func greet(o options, front front, nodes []*member, database, broker string) {
	fmt.Printf("tidemark: %d nodes behind http://%s (%s, round-robin)\n\n", len(nodes), o.listen, front.name())
	if os.Getenv("TIDEMARK_AUTH_SECRET") == "" && os.Getenv("TIDEMARK_AUTH_JWKS") == "" {
		fmt.Printf("  Demo page      http://%s/\n", o.listen)
	}
	fmt.Printf("  API reference  http://%s/docs\n\n", o.listen)
	for _, node := range nodes {
		fmt.Printf("  %-13s  %s (process %d)\n", node.name, node.url, node.PID())
	}
	fmt.Printf("  database       %s\n  broker         %s\n\n", database, broker)
	fmt.Printf("  kill -STOP, -CONT, -KILL a node and see what clients notice. Ctrl-C ends everything.\n\n")
}

// startTimeout bounds how long a node or the round-robin may take to answer.
const startTimeout = time.Minute
