package store_test

import (
	"net"
	"net/url"
	"sync"
	"testing"
)

// proxy stands between a store and its database.
type proxy struct {
	target string

	mu    sync.Mutex
	turns int  // how often the store spoke after the database had
	heard bool // the database spoke last
	cut   cut
}

// cut says where the proxy ends connections.
type cut int

const (
	nowhere cut = iota
	request     // what the store sends next does not arrive
	answers     // it arrives, and the answer does not
)

// through returns database's URL through a proxy that ends with the test.
func through(t testing.TB, database string) (string, *proxy) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{target: u.Host}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // the test has ended
			}
			serving.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		serving.Wait() // connections end with the store, which was opened later
	})
	u.Host = listener.Addr().String()
	return u.String(), p
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	var copying sync.WaitGroup
	for _, way := range []struct {
		from, to net.Conn
		pass     func() bool
	}{{client, server, p.asked}, {server, client, p.answered}} {
		copying.Go(func() {
			defer client.Close()
			defer server.Close()
			buffer := make([]byte, 64<<10)
			for {
				n, err := way.from.Read(buffer)
				if err != nil || !way.pass() {
					return
				}
				if _, err := way.to.Write(buffer[:n]); err != nil {
					return
				}
			}
		})
	}
	copying.Wait()
}

func (p *proxy) asked() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.heard {
		p.turns++
	}
	p.heard = false
	return p.cut != request
}

func (p *proxy) answered() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = true
	return p.cut != answers
}

// set says where to cut from now on.
func (p *proxy) set(where cut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = where
}

// count returns the round trips since the last call.
func (p *proxy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.turns
	p.turns, p.heard = 0, true
	return n
}
