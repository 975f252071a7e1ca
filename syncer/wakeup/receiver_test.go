package wakeup

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/hook"
)

const (
	testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	within     = 30 * time.Second
)

// request is what the receiver got.
type request struct {
	ID, Path  string
	Timestamp string
	Spaces    map[string]int64
}

// receiver is a real one, over HTTP on loopback. It fails as a test says, request by
// request, and takes what comes after that.
type receiver struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	fails   []http.HandlerFunc
	got     []request // all of them
	taken   map[string]int64
	atOnce  int
	tooMany bool // requests under way
}

func newReceiver(t *testing.T, fails ...http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{t: t, fails: fails, taken: make(map[string]int64)}
	r.Server = httptest.NewUnstartedServer(r)
	r.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(r.Close)
	return r
}

// ServeHTTP verifies the signature as a receiver does that has never seen package hook.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(testSecret, "whsec_"))
	sum := hmac.New(sha256.New, key)
	sum.Write([]byte(req.Header.Get("Webhook-Id") + "." + req.Header.Get("Webhook-Timestamp") + "." + string(body)))
	if req.Header.Get("Webhook-Signature") != "v1,"+base64.StdEncoding.EncodeToString(sum.Sum(nil)) {
		r.t.Errorf("not signed: %v", req.Header)
	}
	var said struct {
		Type, Timestamp string
		Data            struct{ Spaces []models.Head }
	}
	if err := json.Unmarshal(body, &said); err != nil || said.Type != "space.changed" {
		r.t.Errorf("%v: %s", err, body)
	}
	one := request{ID: req.Header.Get("Webhook-Id"), Path: req.URL.Path, Timestamp: said.Timestamp, Spaces: make(map[string]int64)}
	for _, head := range said.Data.Spaces {
		one.Spaces[head.Space] = head.Version
	}

	r.mu.Lock()
	r.got = append(r.got, one)
	r.atOnce++
	r.tooMany = r.tooMany || r.atOnce > 1
	var fail http.HandlerFunc
	if len(r.fails) > 0 {
		fail, r.fails = r.fails[0], r.fails[1:]
	}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.atOnce--
		r.mu.Unlock()
	}()
	if fail != nil {
		fail(w, req)
		return
	}
	r.mu.Lock()
	for space, version := range one.Spaces {
		r.taken[space] = max(r.taken[space], version)
	}
	r.mu.Unlock()
}

func (r *receiver) requests() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func (r *receiver) told(want map[string]int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Equal(r.taken, want)
}

// answers with a status and nothing else.
func answers(status int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if len(header) > 0 {
			w.Header().Set(header[0], header[1])
		}
		w.WriteHeader(status)
	}
}

func reset(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// ledger stands in for the store, whose own tests say that it does as much.
type ledger struct {
	mu   sync.Mutex
	rows map[string]models.Undelivered
	away bool
}

var errAway = errors.New("the database is away")

func (l *ledger) KeepUndelivered(_ context.Context, list []models.Undelivered) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		return errAway
	}
	for _, u := range list {
		u.Version = max(u.Version, l.rows[u.Space].Version)
		l.rows[u.Space] = u
	}
	return nil
}

func (l *ledger) ClaimUndelivered(_ context.Context, now, until time.Time, limit int) (list []models.Undelivered, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		return nil, errAway
	}
	for space, u := range l.rows {
		if u.DueAt != nil && *u.DueAt <= now.UnixMilli() && len(list) < limit {
			later := until.UnixMilli()
			u.DueAt = &later
			l.rows[space] = u
			list = append(list, u)
		}
	}
	return list, nil
}

func (l *ledger) ForgetUndelivered(_ context.Context, told []models.Head) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		return errAway
	}
	for _, h := range told {
		if u, ok := l.rows[h.Space]; ok && u.Version <= h.Version {
			delete(l.rows, h.Space)
		}
	}
	return nil
}

// states says of each row its version and whether it is dead, held or due.
func (l *ledger) states() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[string]string)
	for space, u := range l.rows {
		switch {
		case u.DueAt == nil:
			all[space] = "dead"
		case *u.DueAt > time.Now().UnixMilli():
			all[space] = "held"
		default:
			all[space] = "due"
		}
	}
	return all
}

func newLedger(list ...models.Undelivered) *ledger {
	l := &ledger{rows: make(map[string]models.Undelivered)}
	_ = l.KeepUndelivered(context.Background(), list) // it is there
	return l
}

// quick are pauses for tests.
var quick = pauses{first: time.Millisecond, longest: 5 * time.Millisecond, timeout: within, look: 10 * time.Millisecond}

// start returns a Sender to address that sends.
func start(t *testing.T, address string, l Ledger, change ...func(*Sender)) *Sender {
	t.Helper()
	target, err := hook.New(address, testSecret, 1)
	if err != nil {
		t.Fatal(err)
	}
	s := New(target, l, Options{Gather: time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	s.pauses = quick
	for _, c := range change {
		c(s)
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(within); !holds(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, within)
		}
	}
}
