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
	"sync/atomic"

	"github.com/tidemark/tidemark/tests/lifeline"
	"github.com/tidemark/tidemark/tests/nginx"
	"github.com/tidemark/tidemark/tests/process"
)

// front is the round-robin.
type front interface {
	name() string
	ended() <-chan struct{} // closed when it has ended by itself
	end() error
}

// startFront starts nginx if it is installed, else a proxy in this process, and
// waits until a node answers through it.
func startFront(ctx context.Context, line *lifeline.Line, dir, listen string, nodes []*member) (front, error) {
	var started front
	var err error
	if path, lookErr := nginx.Find(); lookErr == nil {
		started, err = startNginx(line, path, dir, listen, nodes)
	} else {
		started, err = startProxy(listen, nodes)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := process.AwaitReady(ctx, "http://"+listen, started.ended()); err != nil {
		return nil, errors.Join(fmt.Errorf("%s at %s: %w", started.name(), listen, err), started.end())
	}
	return started, nil
}

// nginxFront is nginx.
type nginxFront struct{ *member }

func (n nginxFront) name() string           { return "nginx" }
func (n nginxFront) ended() <-chan struct{} { return n.gone }

func startNginx(line *lifeline.Line, path, dir, listen string, nodes []*member) (front, error) {
	urls := make([]string, len(nodes))
	for i, node := range nodes {
		urls[i] = node.url
	}
	cmd, err := nginx.Command(path, dir, listen, urls...)
	if err != nil {
		return nil, err
	}
	started, err := start(line, "nginx", cmd)
	if err != nil {
		return nil, err
	}
	return nginxFront{started}, nil
}

// proxy goes round the nodes, and to the next one if a node can't be reached.
type proxy struct {
	server *http.Server
	done   chan struct{}
}

func (p *proxy) name() string           { return "the built-in proxy" }
func (p *proxy) ended() <-chan struct{} { return p.done }
func (p *proxy) end() error             { return p.server.Close() }

func startProxy(listen string, nodes []*member) (front, error) {
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
