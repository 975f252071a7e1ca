package harness

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/lifeline"
)

// nginxConf is nginx as it comes: what a server needs of it must work without a
// line in its configuration. Only where it keeps its files is set, and that it
// is one process, which can be ended. It listens on a socket of the file system,
// because only the system can give out a port without a race.
const nginxConf = `
daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr warn;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen unix:%[1]s/socket;
		location / {
			proxy_pass %[2]s;
		}
	}
}
`

// ClientThroughNginx returns a client whose requests go through an nginx with its
// default configuration, or, where none is installed, through Go's proxy. It does
// not follow the server over restarts.
func (s *Server) ClientThroughNginx(token string) *Client {
	s.t.Helper()
	dir, err := os.MkdirTemp(s.place.dir, "nginx-")
	if err != nil {
		s.t.Fatal(err)
	}
	socket := filepath.Join(dir, "socket")
	path, err := exec.LookPath("nginx")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/nginx") // not in the PATH of everybody
	}
	if err == nil {
		startNginx(s.t, s.place, path, dir, s.URL())
	} else {
		startProxy(s.t, socket, s.URL())
	}
	client := NewClient(func() string { return "http://127.0.0.1" }, token)
	connections := &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	client.HTTP.Transport = Transport(connections)
	s.t.Cleanup(connections.CloseIdleConnections)
	awaitSocket(s.t, socket)
	return client
}

func startNginx(t testing.TB, place workplace, path, dir, target string) {
	t.Helper()
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, target), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(path, "-p", dir, "-e", "stderr", "-c", conf)
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

func startProxy(t testing.TB, socket, target string) {
	t.Helper()
	upstream, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &http.Server{Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(upstream) }}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = proxy.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = proxy.Close()
		<-done
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
