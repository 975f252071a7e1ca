package api

import (
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/tidemark/tidemark/models"
)

// The kinds of who has a rate; they name the policies on the wire, and the counters.
const (
	bySubject = "subject"
	byAddress = "address"
)

// rates hold everybody to so many requests a second: who brings a good token, by its
// subject; all others, also those that only load a page, by their address. After a
// pause twice as many may come at once, as when an app starts.
//
// Who has a good token is not counted by address: behind one there may be a school,
// or a proxy that nobody has told the server of, and how many subjects there are is
// decided by who signs the tokens. So an address that somebody else floods still
// serves those behind it that have a token. For the others it has the same figure as
// a subject, so that a class that opens the same page is let in.
//
// Each node counts for itself. An expensive request counts like a cheap one: what
// makes one expensive has limits of its own.
type rates struct {
	perSecond int
	subjects  *buckets[string]
	addresses *buckets[netip.Addr]
	refused   *prometheus.CounterVec
	now       func() time.Time
}

func newRates(perSecond int) *rates {
	r := &rates{
		perSecond: perSecond,
		subjects:  newBuckets[string](perSecond),
		addresses: newBuckets[netip.Addr](perSecond),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_rate_limited_total",
			Help: "Requests refused with 429 rate_limited, by what was counted: the subject of a token, or an address.",
		}, []string{"kind"}),
		now: time.Now,
	}
	for _, kind := range []string{bySubject, byAddress} {
		r.refused.WithLabelValues(kind) // so that zero is there to be seen
	}
	return r
}

// rated lets steps find out who asks, and then counts the request, whether they have
// accepted it or not. It comes before the body is read: nothing is changed by what
// it refuses. A stream counts once, when it is opened.
func (s *Server) rated(steps ...step) step {
	identify := sequence(steps)
	if s.rates.perSecond == 0 {
		return identify
	}
	return func(c echo.Context) error {
		err := identify(c)
		if path := c.Path(); path == "/healthz" || path == "/readyz" {
			return err // asked by who would start the server anew if it did not answer
		}
		if refused := s.count(c, err == nil); refused != nil {
			return refused
		}
		return err
	}
}

// countSubject takes a frame of a socket off the rate of its subject, as a request.
func (s *Server) countSubject(subject string) error {
	if s.rates.perSecond == 0 {
		return nil
	}
	wait := s.rates.subjects.take(subject, s.rates.now())
	if wait == 0 {
		return nil
	}
	s.rates.refused.WithLabelValues(bySubject).Inc()
	return s.rates.limited(bySubject, wait)
}

// count takes a request off the rate of who sent it.
func (s *Server) count(c echo.Context, accepted bool) error {
	var kind string
	var wait time.Duration
	if who := principal(c); accepted && who != nobody {
		kind, wait = bySubject, s.rates.subjects.take(who.Subject, s.rates.now())
	} else {
		address := household(clientAddress(c.Request(), s.opts.TrustedProxies))
		kind, wait = byAddress, s.rates.addresses.take(address, s.rates.now())
	}
	if wait == 0 {
		return nil
	}
	s.rates.refused.WithLabelValues(kind).Inc()
	s.rates.setHeaders(c.Response().Header(), kind, wait)
	return s.rates.limited(kind, wait)
}

func (r *rates) limited(kind string, wait time.Duration) error {
	detail := "This subject may send %d requests a second."
	if kind == byAddress {
		detail = "Without a good token, %d requests a second may come from one address."
	}
	return &models.Error{Code: models.CodeRateLimited, Detail: fmt.Sprintf(detail, r.perSecond), RetryAfter: wait}
}

// setHeaders says what draft-ietf-httpapi-ratelimit-headers has names for. Answers
// that are not refused go without: each header costs every poll, and tells a client
// that keeps to poll_after_ms nothing. GET /v1/config has the policy.
func (r *rates) setHeaders(h http.Header, kind string, wait time.Duration) {
	h.Del(echo.HeaderWWWAuthenticate) // whether the token is good is not the matter
	h.Set("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=1", kind, r.perSecond))
	h.Set("RateLimit", fmt.Sprintf("%q;r=0;t=%d", kind, wholeSeconds(wait)))
}

// wholeSeconds is d as headers have it, rounded up, and never none.
func wholeSeconds(d time.Duration) int { return int(math.Ceil(max(d, time.Second).Seconds())) }

// mostBuckets bounds each of the two generations of buckets: some 5 MB in all.
const mostBuckets = 10_000

// buckets are a token bucket for each of many keys. Like verified in package auth they
// are forgotten by generations. A bucket that is forgotten was not asked for while
// 10,000 others were; after two seconds without it would have been full again anyway.
type buckets[K comparable] struct {
	limit rate.Limit
	burst int

	mu         sync.Mutex
	young, old map[K]*rate.Limiter
}

func newBuckets[K comparable](perSecond int) *buckets[K] {
	return &buckets[K]{limit: rate.Limit(perSecond), burst: 2 * perSecond}
}

// take takes one token out of key's bucket. If there is none it returns how long
// until there is one.
func (b *buckets[K]) take(key K, now time.Time) (wait time.Duration) {
	bucket := b.find(key)
	if bucket.AllowN(now, 1) {
		return 0
	}
	missing := 1 - bucket.TokensAt(now)
	return max(time.Duration(missing/float64(b.limit)*float64(time.Second)), 1)
}

func (b *buckets[K]) find(key K) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if bucket := b.young[key]; bucket != nil {
		return bucket
	}
	if b.young == nil || len(b.young) >= mostBuckets {
		b.old, b.young = b.young, make(map[K]*rate.Limiter)
	}
	bucket := b.old[key]
	if bucket == nil {
		bucket = rate.NewLimiter(b.limit, b.burst)
	}
	b.young[key] = bucket
	return bucket
}
