// Package redistest gives tests Redis servers of their own, on loopback.
//
// Start runs redis-server if it is installed. Where it is not, an embedded server
// that speaks the same protocol stands in for it, so that the tests run anywhere
// without a manual step; in CI a missing redis-server is a failure. A started
// server ends with the process that started it (package lifeline) and keeps
// nothing.
package redistest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// Server is a running server.
type Server struct {
	url   string
	cut   func(ctx context.Context) error
	close func() error
}

// URL is how to connect, with the password.
func (s *Server) URL() string { return s.url }

// Cut ends all connections to the server, which goes on or starts again.
func (s *Server) Cut(ctx context.Context) error { return s.cut(ctx) }

// Break is Cut for a test that can't go on without it.
func (s *Server) Break(t *testing.T) {
	t.Helper()
	if err := s.Cut(t.Context()); err != nil {
		t.Fatalf("redistest: %v", err)
	}
}

// Close ends the server.
func (s *Server) Close() error { return s.close() }

// Launch starts a server that ends with this process, or earlier with Close.
func Launch() (*Server, error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil && os.Getenv("CI") != "" {
		return nil, errors.New("CI needs redis-server: apt-get install redis-server")
	}
	if err != nil {
		return launchEmbedded()
	}
	p, err := launch(binary)
	if err != nil {
		return nil, err
	}
	return &Server{url: p.url(), cut: p.cut, close: p.close}, nil
}

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	return ended(t)(Launch())
}

// StartEmbedded runs the server that stands in for redis-server.
func StartEmbedded(t testing.TB) *Server {
	t.Helper()
	return ended(t)(launchEmbedded())
}

// ended returns what has a server end with the test.
func ended(t testing.TB) func(*Server, error) *Server {
	return func(s *Server, err error) *Server {
		t.Helper()
		if err != nil {
			t.Fatalf("redistest: %v", err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Errorf("redistest: %v", err)
			}
		})
		return s
	}
}

func launchEmbedded() (*Server, error) {
	server, password := miniredis.NewMiniRedis(), rand.Text()
	server.RequireAuth(password)
	if err := server.StartAddr("127.0.0.1:0"); err != nil {
		return nil, err
	}
	return &Server{
		url: fmt.Sprintf("redis://:%s@%s/0", password, server.Addr()),
		cut: func(ctx context.Context) error {
			server.Close()
			return restart(ctx, server)
		},
		close: func() error { server.Close(); return nil },
	}, nil
}

// restart starts a server on its port again. A connection that is not quite gone
// may hold the port for a moment.
func restart(ctx context.Context, server *miniredis.Miniredis) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := server.Restart()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// connect returns a client, which the caller closes.
func connect(url string) (*redis.Client, error) {
	opts, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	opts.DialTimeout, opts.DialerRetries, opts.MaxRetries = time.Second, 1, -1
	return redis.NewClient(opts), nil
}
