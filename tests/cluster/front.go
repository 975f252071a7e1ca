package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/tidemark/tidemark/tests/lifeline"
)

// front is the round-robin.
type front interface {
	name() string
	ended() <-chan struct{} // closed when it has ended by itself
	end() error
}

// startFront starts nginx if it is installed, else a proxy in this process, and
// waits until a node answers through it.
func startFront(ctx context.Context, line *lifeline.Line, dir, listen string, nodes []*process) (front, error) {
	var started front
	var err error
	if path, lookErr := exec.LookPath("nginx"); lookErr == nil {
		started, err = startNginx(line, path, dir, listen, nodes)
	} else {
		started, err = startProxy(listen, nodes)
	}
	if err != nil {
		return nil, err
	}
	if err := awaitReady(ctx, "http://"+listen, started.ended()); err != nil {
		return nil, errors.Join(fmt.Errorf("%s at %s: %w", started.name(), listen, err), started.end())
	}
	return started, nil
}

// nginxConf is what a user would write who reads no manual: that streams and long
// polls go through it is for the server to see to. The Host is passed on because
// without auth the server wants to be asked for localhost. The rest keeps nginx in
// its folder, and in one process, which can be ended.
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
	upstream tidemark {
%[2]s	}
	server {
		listen %[3]s;
		location / {
			proxy_pass http://tidemark;
			proxy_set_header Host $http_host;
		}
	}
}
`

type nginx struct{ *process }

func (n nginx) name() string           { return "nginx" }
func (n nginx) ended() <-chan struct{} { return n.exited }

func startNginx(line *lifeline.Line, path, dir, listen string, nodes []*process) (front, error) {
	var servers strings.Builder
	for _, node := range nodes {
		fmt.Fprintf(&servers, "\t\tserver %s;\n", strings.TrimPrefix(node.url, "http://"))
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, servers.String(), listen), 0o600); err != nil {
		return nil, err
	}
	process, _, err := start(line, "nginx", exec.Command(path, "-p", dir, "-e", "stderr", "-c", conf))
	if err != nil {
		return nil, err
	}
	return nginx{process}, nil
}

// proxy goes round the nodes, and to the next one if a node can't be reached.
type proxy struct {
	server *http.Server
	done   chan struct{}
}

func (p *proxy) name() string           { return "the built-in proxy" }
func (p *proxy) ended() <-chan struct{} { return p.done }
func (p *proxy) end() error             { return p.server.Close() }

func startProxy(listen string, nodes []*process) (front, error) {
	turns := &roundRobin{transport: http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}}
	for _, node := range nodes {
		target, err := url.Parse(node.url)
		if err != nil {
			return nil, err
		}
		turns.targets = append(turns.targets, target)
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	handler := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetXForwarded() },
		// Answers are passed on as they come: a stream has no end to wait for.
		FlushInterval: -1,
		Transport:     turns,
	}
	p := &proxy{server: &http.Server{Handler: handler}, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.server.Serve(listener)
	}()
	return p, nil
}

// roundRobin sends each request to the next node. One that did not reach its node
// may go to another; of one that did, nobody knows what became of it, and whether
// to send it again is the client's decision.
type roundRobin struct {
	targets   []*url.URL
	turn      atomic.Uint64
	transport http.Transport
}

// RoundTrip implements http.RoundTripper.
func (r *roundRobin) RoundTrip(request *http.Request) (*http.Response, error) {
	attempt := request.Clone(request.Context())
	if request.Body != nil {
		// A transport that can't reach its node closes the body without reading it.
		defer request.Body.Close()
		attempt.Body = io.NopCloser(request.Body)
	}
	var err error
	for range r.targets {
		target := r.targets[r.turn.Add(1)%uint64(len(r.targets))]
		attempt.URL.Scheme, attempt.URL.Host = target.Scheme, target.Host
		var answer *http.Response
		if answer, err = r.transport.RoundTrip(attempt); err == nil {
			return answer, nil
		}
		if refused := new(net.OpError); !errors.As(err, &refused) || refused.Op != "dial" {
			return nil, err
		}
	}
	return nil, err
}
