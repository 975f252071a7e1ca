package api

import (
	"net"
	"time"
)

// pace gives each step of what is written to a client that may be slow its time.
type pace struct {
	conn    net.Conn
	streams *streams
	last    bool // the deadline is that of the shutdown
}

// setDeadline gives the next step its time. That it fails is for the step to find.
func (p *pace) setDeadline() {
	if p.last {
		return
	}
	_ = p.conn.SetWriteDeadline(time.Now().Add(p.streams.patience))
	select {
	case <-p.streams.draining: // asked last: if it happens now, hurry comes after
		p.last = true
		_ = p.conn.SetWriteDeadline(time.Now().Add(lastPatience))
	default:
	}
}

// paced is a connection whose writes are paced.
type paced struct {
	net.Conn
	pace pace
}

// Write writes step by step, each within patience.
func (p *paced) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		step := b[:min(len(b), writeStep)]
		p.pace.setDeadline()
		var m int
		m, err = p.Conn.Write(step)
		n, b = n+m, b[m:]
	}
	return n, err
}
