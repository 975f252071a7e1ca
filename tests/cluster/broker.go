package main

import "fmt"

// startBroker starts the broker of this kind, if it is a server of its own, and
// returns what --broker is to be.
func startBroker(kind string) (setting string, closeBroker func() error, err error) {
	switch kind {
	case "postgres", "logical":
		return kind, func() error { return nil }, nil
	}
	return "", nil, fmt.Errorf("there is no broker %q: postgres, logical, nats or redis", kind)
}
