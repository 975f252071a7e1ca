// Package dbproxy stands between a node and its PostgreSQL, and does to the network
// what happens to networks.
package dbproxy

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Direction is which way bytes go.
type Direction int

// The directions, seen from the node.
const (
	ToDatabase Direction = iota
	FromDatabase
)

// Ending is what becomes of a connection.
type Ending int

// The endings.
const (
	Intact Ending = iota
	Reset         // both sides are told, at once
	Silent        // nobody is told: nothing passes any more
)

// Proxy passes bytes on, and is told by a test what else to do.
type Proxy struct {
	target string

	mu      sync.Mutex
	changed *sync.Cond // of mu: something that holds bytes back may have ended
	links   map[*link]bool
	closed  bool
	delay   time.Duration
	held    bool
	away    bool

	// The next connection that does what is waited for ends so, and then none does.
	commit    Ending        // the answer to a COMMIT comes
	committed chan struct{} // closed when that has happened
	cut       Ending        // so many more bytes have passed in a direction, on all connections together
	way       Direction     // of cut
	left      int           // of cut
	cutOff    chan struct{} // closed when that has happened
}

// link is one connection of the node, and the proxy's own to the database.
type link struct {
	proxy  *Proxy
	ends   [2]net.Conn // by direction: where bytes come from
	silent bool
	ended  chan struct{} // closed when it was cut
	once   sync.Once

	unread []byte // of a message of the database that has not come whole
}

// Through returns databaseURL by way of a proxy, which ends with the test.
func Through(t testing.TB, databaseURL string) (string, *Proxy) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: u.Host, links: make(map[*link]bool)}
	p.changed = sync.NewCond(&p.mu)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // the test has ended
			}
			serving.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		p.close()
		serving.Wait()
	})
	u.Host = listener.Addr().String()
	query := u.Query()
	query.Set("sslmode", "disable") // what is encrypted can't be read here
	u.RawQuery = query.Encode()
	return u.String(), p
}

// Delay makes all that passes take so much longer.
func (p *Proxy) Delay(d time.Duration) { p.change(func() { p.delay = d }) }

// Hold lets nothing pass, closes nothing, and takes new connections, to say nothing on
// them: the cable is out.
func (p *Proxy) Hold() { p.change(func() { p.held = true }) }

// Release ends Hold. What was sent meanwhile arrives.
func (p *Proxy) Release() { p.change(func() { p.held = false }) }

// Leave resets all connections and takes no more: the database is away.
func (p *Proxy) Leave() {
	p.change(func() { p.away = true })
	p.End(Reset)
}

// Return ends Leave.
func (p *Proxy) Return() { p.change(func() { p.away = false }) }

// End ends all connections that there are, and returns how many. Silent: a firewall has
// forgotten them. New ones are welcome.
func (p *Proxy) End(how Ending) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.links)
	for l := range p.links {
		l.end(how)
	}
	p.changed.Broadcast()
	return n
}

// OnCommit ends the next connection on which the answer to a COMMIT comes: the
// transaction is committed, and the node is not told. The channel is closed when it
// has happened.
func (p *Proxy) OnCommit(how Ending) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commit, p.committed = how, make(chan struct{})
	return p.committed
}

// CutAfter lets n more bytes pass in a direction, on all connections together, and resets
// the one on which the next comes: that byte and what follows don't arrive. The channel
// is closed when it has happened.
func (p *Proxy) CutAfter(way Direction, n int) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.way, p.left, p.cutOff = Reset, way, n, make(chan struct{})
	return p.cutOff
}

// Calm takes back what has not happened yet, and all that lasts.
func (p *Proxy) Calm() {
	p.change(func() {
		p.commit, p.cut, p.delay, p.held, p.away = Intact, Intact, 0, false, false
	})
}

func (p *Proxy) change(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.changed.Broadcast()
}

func (p *Proxy) close() {
	p.change(func() { p.closed = true })
	p.End(Reset)
}

func (p *Proxy) serve(node net.Conn) {
	defer node.Close()
	l := p.open(node)
	if l == nil {
		return
	}
	defer p.forget(l)
	var passing sync.WaitGroup
	for _, way := range []Direction{ToDatabase, FromDatabase} {
		passing.Go(func() { l.pass(way) })
	}
	passing.Wait()
}

// open connects to the database, nil if it is away. While everything is held back the
// database does not hear of new connections either.
func (p *Proxy) open(node net.Conn) *link {
	p.mu.Lock()
	for p.held && !p.closed {
		p.changed.Wait()
	}
	p.mu.Unlock()
	database, err := net.Dial("tcp", p.target)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil || p.away || p.closed {
		node.(*net.TCPConn).SetLinger(0)
		if err == nil {
			database.Close()
		}
		return nil
	}
	l := &link{proxy: p, ends: [2]net.Conn{node, database}, ended: make(chan struct{})}
	p.links[l] = true
	return l
}

func (p *Proxy) forget(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
	l.end(Reset)
	p.changed.Broadcast()
}

// end ends a link. It is called with mu held.
func (l *link) end(how Ending) {
	switch how {
	case Reset:
		l.once.Do(func() {
			close(l.ended)
			for _, conn := range l.ends {
				conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
			}
		})
	case Silent:
		l.silent = true
	}
}

// pass copies one way until the link ends. A side that closes takes the other along.
func (l *link) pass(way Direction) {
	defer l.proxy.forget(l)
	buffer := make([]byte, 64<<10)
	for {
		n, err := l.ends[way].Read(buffer)
		if err != nil {
			l.await() // nothing passes, so nobody hears that one side has closed
			return
		}
		if !l.wait(way, buffer[:n]) {
			return
		}
		if _, err := l.ends[1-way].Write(buffer[:n]); err != nil {
			return
		}
	}
}

// wait returns when a part may pass, false if it must not.
func (l *link) wait(way Direction, part []byte) bool {
	if delay := l.proxy.delayOf(); delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.ended:
			return false
		}
	}
	l.await()
	return l.proxy.allows(l, way, part)
}

// await waits as long as the proxy holds everything back, or this link for ever.
func (l *link) await() {
	p := l.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	for (p.held || l.silent) && !p.closed && !l.over() {
		p.changed.Wait()
	}
}

func (l *link) over() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

func (p *Proxy) delayOf() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.delay
}

// allows reports whether a part may pass, and does to the link what is to be done.
func (p *Proxy) allows(l *link, way Direction, part []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	committed := way == FromDatabase && l.committed(part)
	how, struck := Intact, p.committed
	switch {
	case l.over():
		return false
	case p.commit != Intact && committed:
		how, p.commit = p.commit, Intact
	case p.cut != Intact && way == p.way:
		if p.left -= len(part); p.left < 0 {
			// What lies before the cut arrives.
			l.ends[1-way].Write(part[:len(part)+p.left])
			how, p.cut, struck = p.cut, Intact, p.cutOff
		}
	}
	if how == Intact {
		return true
	}
	l.end(how)
	close(struck)
	if how == Silent {
		for l.silent && !p.closed && !l.over() {
			p.changed.Wait()
		}
	}
	return false
}

// commitTag is the tag with which PostgreSQL says that a COMMIT was carried out.
var commitTag = []byte("COMMIT\x00")

// committed reads what the database sends and reports whether it says so.
func (l *link) committed(part []byte) (found bool) {
	const head = 5 // the kind, and the length with itself
	l.unread = append(l.unread, part...)
	for len(l.unread) >= head {
		size := 1 + int(binary.BigEndian.Uint32(l.unread[1:head]))
		if len(l.unread) < size {
			break
		}
		found = found || l.unread[0] == 'C' && bytes.Equal(l.unread[head:size], commitTag)
		l.unread = l.unread[size:]
	}
	return found
}
