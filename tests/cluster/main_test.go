package main

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// Who listens there already must not be taken for the cluster.
func TestRun_addressTaken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = run(t.Context(), options{binary: "/nonexistent", broker: "postgres", nodes: 1, listen: taken.Addr().String()})
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the cluster ended with %v", err)
	}
}
