package main

import (
	"fmt"

	"github.com/tidemark/tidemark/tests/natstest"
	"github.com/tidemark/tidemark/tests/redistest"
)

// startBroker starts the broker of this kind, if it is a server of its own, and
// returns what --broker is to be.
func startBroker(kind string) (setting string, closeBroker func() error, err error) {
	nothing := func() error { return nil }
	switch kind {
	case "postgres", "logical":
		return kind, nothing, nil
	case "nats":
		server, err := natstest.Launch()
		if err != nil {
			return "", nil, err
		}
		return server.URL(), func() error { server.Stop(); return nil }, nil
	case "redis":
		server, err := redistest.Launch()
		if err != nil {
			return "", nil, err
		}
		return server.URL(), server.Close, nil
	}
	return "", nil, fmt.Errorf("there is no broker %q: postgres, logical, nats or redis", kind)
}
