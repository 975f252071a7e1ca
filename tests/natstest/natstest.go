// Package natstest gives tests a real NATS server. It runs in the test's process,
// on loopback, and can be stopped and started again on its port.
package natstest

import (
	"crypto/rand"
	"errors"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const startTimeout = 10 * time.Second

// Server is a NATS server.
type Server struct {
	port int

	mu      sync.Mutex
	running *server.Server // nil while stopped
}

// Launch starts a server that runs until Stop or until this process ends.
func Launch() (*Server, error) {
	s := &Server{port: server.RANDOM_PORT}
	if err := s.Start(); err != nil {
		return nil, err
	}
	s.port = s.running.Addr().(*net.TCPAddr).Port
	return s, nil
}

// Start runs a server of the test's own, which ends with it.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := Launch()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// URL is what --broker is to be. Each call names another subject, so that who
// shares the server hears only those with the same URL.
func (s *Server) URL() string {
	return "nats://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) + "/test-" + rand.Text()
}

// Start starts a stopped server again on its port.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return errors.New("the NATS server is running")
	}
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		made, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: s.port, NoLog: true, NoSigs: true})
		if err != nil {
			return err
		}
		made.Start()
		if made.ReadyForConnections(time.Second) {
			s.running = made
			return nil
		}
		// A connection of this machine may hold the port for a moment.
		made.Shutdown()
		made.WaitForShutdown()
	}
	return errors.New("the NATS server doesn't start")
}

// Stop ends the server and all connections to it. Stopping a stopped server does nothing.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return
	}
	s.running.Shutdown()
	s.running.WaitForShutdown()
	s.running = nil
}
