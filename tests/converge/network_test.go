package converge_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark/tidemark/tests/converge/crowd"
)

var errLost = errors.New("the network has lost it")

// network is what lies between a client and the servers until it is healed: it loses
// requests and answers, delivers pushes twice, late and out of order, and breaks
// streams off.
type network struct {
	next   http.RoundTripper
	client context.Context //nolint:containedctx // of what it delivers after the request has ended
	healed *atomic.Bool
	faults atomic.Int64
	late   sync.WaitGroup // deliveries that nobody waits for

	mu     sync.Mutex
	random *rand.Rand
}

func (n *network) draw(below int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.random.IntN(below)
}

// RoundTrip implements http.RoundTripper.
func (n *network) RoundTrip(request *http.Request) (*http.Response, error) {
	if n.healed.Load() {
		return n.next.RoundTrip(request)
	}
	push, stream := request.Method == http.MethodPost, strings.HasSuffix(request.URL.Path, "/stream")
	fate := n.draw(100)
	if fate < 30 {
		n.faults.Add(1)
	}
	switch {
	case fate < 6:
		return n.lose(request)
	case fate < 12 && !stream:
		response, err := n.next.RoundTrip(request)
		if err == nil {
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
		return nil, errors.Join(errLost, err)
	case fate < 16 && push:
		n.deliver(request, 0) //nolint:contextcheck // beside the one that is answered, and on its own
	case fate < 20 && push:
		n.deliver(request, time.Duration(n.draw(1500))*time.Millisecond) //nolint:contextcheck // it outlives the request
		return n.lose(request)
	case fate < 30:
		if err := crowd.Wait(request.Context(), time.Duration(n.draw(100))*time.Millisecond); err != nil {
			return n.lose(request)
		}
	}
	response, err := n.next.RoundTrip(request)
	if err == nil && stream && n.draw(2) == 0 {
		response.Body = &cutOff{ReadCloser: response.Body, left: n.draw(20_000), network: n}
	}
	return response, err
}

func (n *network) lose(request *http.Request) (*http.Response, error) {
	if request.Body != nil {
		request.Body.Close()
	}
	return nil, errLost
}

// deliver sends a copy of the request, later, whose answer goes to nobody. None begins
// once the network is healed.
func (n *network) deliver(request *http.Request, after time.Duration) {
	body, err := request.GetBody()
	if err != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.healed.Load() {
		return
	}
	n.late.Go(func() {
		ctx, cancel := context.WithTimeout(n.client, lateTimeout)
		defer cancel()
		duplicate := request.Clone(ctx)
		duplicate.Body = body
		if crowd.Wait(ctx, after) != nil {
			return
		}
		response, err := n.next.RoundTrip(duplicate)
		if err == nil {
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
	})
}

// settle waits for what a network that is healed still delivers.
func (n *network) settle() {
	n.mu.Lock()   // whoever is about to begin a delivery has done so, or sees that it is healed
	n.mu.Unlock() //nolint:staticcheck // nothing is to be done meanwhile
	n.late.Wait()
}

// lateTimeout bounds how long a copy of a request may be under way.
const lateTimeout = 5 * time.Second

// cutOff is a body that breaks off after so many bytes.
type cutOff struct {
	io.ReadCloser
	left    int
	network *network
}

func (c *cutOff) Read(b []byte) (int, error) {
	if c.left <= 0 && !c.network.healed.Load() {
		c.network.faults.Add(1)
		return 0, errLost
	}
	if !c.network.healed.Load() {
		b = b[:min(len(b), c.left)]
	}
	n, err := c.ReadCloser.Read(b)
	c.left -= n
	return n, err
}
