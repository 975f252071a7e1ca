package harness

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/lifeline"
	"github.com/tidemark/tidemark/tests/nginx"
)

// FindNginx returns the path of nginx. Where none is installed the test is skipped; in
// CI its absence is a mistake.
func FindNginx(t testing.TB) string {
	t.Helper()
	path, err := nginx.Find()
	Need(t, err)
	return path
}

// Need ends a test for want of a program, unless err is nil: it is skipped, but in CI,
// which installs all that tests need, it fails.
func Need(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
}

// ClientThroughNginx returns a client whose requests go through an nginx with its
// default configuration: what a server needs of it must work without a line there.
// It does not follow the server over restarts.
func (s *Server) ClientThroughNginx(token string) *Client {
	s.t.Helper()
	path := FindNginx(s.t)
	dir, err := os.MkdirTemp(s.place.dir, "nginx-")
	if err != nil {
		s.t.Fatal(err)
	}
	socket := filepath.Join(dir, "socket")
	startNginx(s.t, s.place, path, dir, socket, s.URL())
	client := NewClient(func() string { return "http://127.0.0.1" }, token)
	connections := &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	client.HTTP.Transport = Transport(connections)
	s.t.Cleanup(connections.CloseIdleConnections)
	awaitSocket(s.t, socket)
	return client
}

func startNginx(t testing.TB, place workplace, path, dir, socket, target string) {
	t.Helper()
	// A socket of the file system, because only the system can give out a port
	// without a race.
	cmd, err := nginx.Command(path, dir, "unix:"+socket, target)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	lifeline.Detach(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	place.line.Watch(cmd.Process)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // says only that it was killed
		place.line.Forget(cmd.Process)
		if said, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("nginx: %s", said)
		}
	})
}

// awaitSocket waits until somebody listens.
func awaitSocket(t testing.TB, socket string) {
	t.Helper()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for deadline := time.After(readyTimeout); ; {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("nothing listens: %v", err)
		}
	}
}
