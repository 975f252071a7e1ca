package brokertest

import (
	"context"
	"net"
	"sync/atomic"
)

// Dial is how brokers' libraries make connections.
type Dial = func(ctx context.Context, network, address string) (net.Conn, error)

// Deafen returns a Dial whose first connection neither delivers nor breaks once
// deafen is called: as when a firewall has forgotten it, or the other machine is
// gone without a word.
func Deafen(dial Dial) (deaf Dial, deafen func()) {
	var cut atomic.Bool
	var dialed atomic.Int32
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil || dialed.Add(1) > 1 {
			return conn, err
		}
		return deafConn{conn, &cut}, nil
	}, func() { cut.Store(true) }
}

type deafConn struct {
	net.Conn
	cut *atomic.Bool
}

// Read swallows what comes.
func (c deafConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.cut.Load() {
			return n, err
		}
	}
}
