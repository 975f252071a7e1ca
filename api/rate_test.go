package api

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/models"
)

// limited is a world in which time stands still unless it is told to pass.
type limited struct {
	*world
	now time.Time
}

func newLimited(t *testing.T, perSecond int, change ...func(*Options)) *limited {
	t.Helper()
	change = append(change, func(o *Options) {
		o.RateLimit = perSecond
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // httptest's peer is in there
	})
	l := &limited{world: newReady(t, change...), now: time.Unix(1_800_000_000, 0)}
	l.server.rates.now = func() time.Time { return l.now }
	return l
}

func (l *limited) pass(d time.Duration) { l.now = l.now.Add(d) }

func (l *limited) as(subject string) {
	l.t.Helper()
	token, err := auth.Mint(l.t.Context(), auth.Options{Secret: testSecret}, auth.Grant{Subject: subject, Spaces: map[string]string{"s1": "rw"}, TTL: time.Hour})
	if err != nil {
		l.t.Fatal(err)
	}
	l.token = token
}

// from asks from an address, behind the proxy.
func (l *limited) from(address, target string, headers ...string) answer {
	l.t.Helper()
	return l.get(target, append(headers, "X-Forwarded-For", address)...)
}

// refused is how many requests were refused, by kind, as /metrics tells.
func (l *limited) refused(kind string) string {
	l.t.Helper()
	_, rest, _ := strings.Cut(l.get("/metrics").want(http.StatusOK, "").body, `tidemark_rate_limited_total{kind="`+kind+`"} `)
	count, _, _ := strings.Cut(rest, "\n")
	return count
}

func TestRate_subject(t *testing.T) {
	t.Parallel()
	l := newLimited(t, 3)
	put := func(id string) answer {
		return l.ask(http.MethodPut, "/v1/spaces/s1/documents/c/"+id, `{}`, "If-None-Match", "*")
	}
	l.as("alice")
	for i := range 6 { // twice as many after a pause
		put(fmt.Sprint("d", i)).want(http.StatusCreated, "").wantHeader("RateLimit", "").wantHeader("RateLimit-Policy", "")
	}
	put("late").want(http.StatusTooManyRequests, models.CodeRateLimited).wantHeader("Retry-After", "1").
		wantHeader("RateLimit", `"subject";r=0;t=1`).wantHeader("RateLimit-Policy", `"subject";q=3;w=1`)
	l.from("203.0.113.200", feed).want(http.StatusTooManyRequests, models.CodeRateLimited) // from wherever

	l.as("bob")
	l.get("/v1/spaces/s1/documents/c/late").want(http.StatusNotFound, models.CodeDocumentNotFound) // nothing was changed
	if got := l.refused("subject"); got != "2" {
		t.Errorf("the counter of refused requests is %q, want 2", got)
	}
	if got := l.refused("address"); got != "0" {
		t.Errorf("the counter of refused addresses is %q, want 0", got)
	}

	l.as("alice")
	l.pass(time.Second / 3)
	put("late").want(http.StatusCreated, "")
	put("later").want(http.StatusTooManyRequests, models.CodeRateLimited)
	l.pass(time.Hour)
	for range 6 {
		l.get(feed).want(http.StatusOK, "")
	}
	l.get(feed).want(http.StatusTooManyRequests, models.CodeRateLimited)
}

// A request without a good token counts for its address, whatever it asks for, and
// takes nothing from those behind the same address that have one.
func TestRate_address(t *testing.T) {
	t.Parallel()
	l := newLimited(t, 2)
	good := l.token
	const here, there = "203.0.113.9", "203.0.113.10"
	l.token = ""
	l.from(here, feed).want(http.StatusUnauthorized, models.CodeUnauthenticated)
	l.from(here, feed, "Authorization", "Bearer forged").want(http.StatusUnauthorized, models.CodeUnauthenticated)
	l.from(here, "/nowhere").want(http.StatusUnauthorized, models.CodeUnauthenticated)
	l.from(here, "/v1/config").want(http.StatusOK, "")
	for _, target := range []string{feed, "/nowhere", "/v1/config", "/tidemark.js", "/v1/spaces/s1/stream?ticket=forged"} {
		l.from(here, target, "Authorization", "Bearer forged").want(http.StatusTooManyRequests, models.CodeRateLimited).
			wantHeader("RateLimit", `"address";r=0;t=1`).wantHeader("RateLimit-Policy", `"address";q=2;w=1`).
			wantHeader("Retry-After", "1").wantHeader("Www-Authenticate", "")
	}
	for range 20 {
		l.from(here, "/healthz").want(http.StatusOK, "")
		l.from(here, "/readyz").want(http.StatusOK, "")
	}
	l.from(there, "/v1/config").want(http.StatusOK, "")
	// What stands left of whom the proxy heard is made up, and no way out.
	l.from("198.51.100.1, "+here, "/v1/config").want(http.StatusTooManyRequests, models.CodeRateLimited)

	l.token = good
	for range 4 {
		l.from(here, feed).want(http.StatusOK, "")
	}
	l.pass(time.Second)
	if got := l.refused("address"); got != "6" {
		t.Errorf("the counter of refused requests is %q, want 6", got)
	}
}

// One customer has a whole /64, and must not have as many rates as addresses.
func TestRate_networks(t *testing.T) {
	t.Parallel()
	l := newLimited(t, 1)
	l.token = ""
	l.from("2001:db8:1:2::1", "/v1/config").want(http.StatusOK, "")
	l.from("2001:db8:1:2:ffff::2", "/v1/config").want(http.StatusOK, "")
	l.from("2001:db8:1:2:8000::3", "/v1/config").want(http.StatusTooManyRequests, models.CodeRateLimited)
	l.from("2001:db8:1:3::1", "/v1/config").want(http.StatusOK, "")
	// IPv4 is the same in both its forms.
	l.from("203.0.113.9", "/v1/config").want(http.StatusOK, "")
	l.from("::ffff:203.0.113.9", "/v1/config").want(http.StatusOK, "")
	l.from("203.0.113.9:1234", "/v1/config").want(http.StatusTooManyRequests, models.CodeRateLimited)
}

func TestRate_ticket(t *testing.T) {
	t.Parallel()
	l := newLimited(t, 1)
	ticket := l.ask(http.MethodPost, "/v1/spaces/s1/stream-tickets", "").want(http.StatusOK, "").text("ticket")
	l.get(feed).want(http.StatusOK, "")
	l.token = ""
	l.get("/v1/spaces/s1/stream?ticket="+ticket).want(http.StatusTooManyRequests, models.CodeRateLimited).
		wantHeader("RateLimit", `"subject";r=0;t=1`)
}

func TestRate_off(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]*limited{"0": newLimited(t, 0), "development": newLimited(t, 1, development)} {
		for range 10 {
			l.get(feed).want(http.StatusOK, "")
		}
		if got := l.get("/v1/config").body; !strings.Contains(got, `"requests_per_s":0`) {
			t.Errorf("%s: the configuration is %s", name, got)
		}
	}
}

// However many subjects or addresses there are, what is remembered of them is bounded,
// and whoever keeps asking is not forgotten.
func TestBuckets_bounded(t *testing.T) {
	t.Parallel()
	b, now := newBuckets[int](1), time.Unix(1_800_000_000, 0)
	const busy = -1
	for b.take(busy, now) == 0 {
	}
	for key := range 5 * mostBuckets {
		b.take(key, now)
		if len(b.young) > mostBuckets || len(b.old) > mostBuckets {
			t.Fatalf("%d and %d buckets are kept", len(b.young), len(b.old))
		}
		if key%1000 == 0 && b.take(busy, now) == 0 {
			t.Fatalf("an empty bucket was forgotten after %d others", key)
		}
	}
	if b.take(busy, now.Add(time.Second)) != 0 {
		t.Error("a bucket did not fill again")
	}
}

func TestBuckets_wait(t *testing.T) {
	t.Parallel()
	b, now := newBuckets[string](4), time.Unix(1_800_000_000, 0)
	for range 8 {
		if wait := b.take("a", now); wait != 0 {
			t.Fatalf("a full bucket made wait for %s", wait)
		}
	}
	wait := b.take("a", now)
	if wait < 240*time.Millisecond || wait > 260*time.Millisecond {
		t.Errorf("wait for %s, want a quarter of a second", wait)
	}
	if again := b.take("a", now.Add(wait+time.Microsecond)); again != 0 {
		t.Errorf("after the wait there is nothing for %s", again)
	}
}

func BenchmarkRate(b *testing.B) {
	buckets := newBuckets[string](1_000_000_000)
	for i := range mostBuckets / 2 {
		buckets.take(fmt.Sprint("subject-", i), time.Now())
	}
	b.ReportAllocs()
	for b.Loop() {
		buckets.take("subject-7", time.Now())
	}
}
