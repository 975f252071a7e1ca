package blackbox_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/harness"
)

// receiver is told of changes. It takes what it is told as long as it is not down.
type receiver struct {
	*httptest.Server
	t *testing.T

	mu    sync.Mutex
	down  bool
	asked int
	told  map[string][]int64 // the versions of each space, in the order in which they came
}

func newPokeReceiver(t *testing.T) *receiver {
	r := &receiver{t: t, told: make(map[string][]int64)}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) settings(store harness.Store, args ...string) harness.Options {
	return harness.Options{
		Store: store,
		Args:  args,
		Env:   []string{"TIDEMARK_WEBHOOK_URL=" + r.URL + "/poke", "TIDEMARK_WEBHOOK_SECRET=" + validationSecret},
	}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(validationSecret, "whsec_"))
	sum := hmac.New(sha256.New, key)
	sum.Write([]byte(req.Header.Get("Webhook-Id") + "." + req.Header.Get("Webhook-Timestamp") + "." + string(body)))
	if req.Header.Get("Webhook-Signature") != "v1,"+base64.StdEncoding.EncodeToString(sum.Sum(nil)) || req.URL.Path != "/poke" {
		r.t.Errorf("a wake-up of %s is not signed: %v", req.URL.Path, req.Header)
	}
	var poke struct {
		Type string
		Data struct {
			Spaces []struct {
				Space   string
				Version int64
			}
		}
	}
	if err := json.Unmarshal(body, &poke); err != nil || poke.Type != "space.changed" {
		r.t.Errorf("told %s: %v", body, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if r.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	for _, s := range poke.Data.Spaces {
		r.told[s.Space] = append(r.told[s.Space], s.Version)
	}
}

func (r *receiver) setDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

// await waits until the newest version that was told of a space is that one.
func (r *receiver) await(t *testing.T, space string, version int64) {
	t.Helper()
	harness.Until(t, time.Minute, fmt.Sprintf("told that %s is at %d", space, version), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		told := r.told[space]
		return len(told) > 0 && told[len(told)-1] == version
	})
}

func (r *receiver) awaitAsked(t *testing.T) {
	t.Helper()
	harness.Until(t, time.Minute, "a wake-up", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.asked > 0
	})
}

// However a change was made, the node that has committed it tells, and no other does.
func TestWebhook_told(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		r := newPokeReceiver(t)
		options := r.settings(store)
		options.Nodes = 2
		server := harness.Start(t, options)
		client := server.Client("")
		work := mustPush(t, client, "work", put("e1", "d1", 0, `{}`)).Version
		r.await(t, "work", work)
		home := mustPush(t, client, "home", put("e1", "d1", 0, `{}`)).Version
		r.await(t, "home", home)
		script(t, server.DatabaseURL(), `INSERT INTO inbox (space, collection, id, op, data) VALUES ('jobs', 'c', 'row', 'put', '{}');`)
		r.await(t, "jobs", awaitDocument(t, client, "jobs", "row"))

		r.mu.Lock()
		defer r.mu.Unlock()
		for space, versions := range r.told {
			if len(versions) != 1 {
				t.Errorf("of %s was told %v, want each version once", space, versions)
			}
		}
	})
}

// What a receiver that was away has missed, it is told when the next server starts.
func TestWebhook_restart(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		r := newPokeReceiver(t)
		r.setDown(true)
		server := harness.Start(t, r.settings(store))
		home := mustPush(t, server.Client(""), "home", put("e1", "d1", 0, `{}`)).Version
		r.awaitAsked(t)
		server.Stop()
		r.setDown(false)
		server.Restart()
		r.await(t, "home", home)
		noDeadLetter(t, server)
	})
}

// What could not be told for long is a dead letter, which an operator can see and have
// tried again.
func TestWebhook_deadLetters(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		r := newPokeReceiver(t)
		r.setDown(true)
		server := harness.Start(t, r.settings(store, "--webhook-give-up", "100ms"))
		home := mustPush(t, server.Client(""), "home", put("e1", "d1", 0, `{}`)).Version
		line := fmt.Sprintf("home   %d  ", home)
		harness.Until(t, time.Minute, "a dead letter", func() bool {
			out, _, err := server.Run(t.Context(), "webhook", "dead")
			return err == nil && strings.Contains(out, line) && strings.Contains(out, "the answer is 503, not 2xx")
		})
		r.setDown(false)
		if out, stderr, err := server.Run(t.Context(), "webhook", "retry", "work"); err != nil || out != "0 spaces are due\n" {
			t.Errorf("%q %q %v", out, stderr, err)
		}
		if out, stderr, err := server.Run(t.Context(), "webhook", "retry"); err != nil || out != "1 spaces are due\n" {
			t.Errorf("%q %q %v", out, stderr, err)
		}
		server.Stop() // or it would take a minute
		server.Restart()
		r.await(t, "home", home)
		noDeadLetter(t, server)
	})
}

func noDeadLetter(t *testing.T, server *harness.Server) {
	t.Helper()
	harness.Until(t, time.Minute, "nothing is left to tell", func() bool {
		var n int
		err := openSQL(t, server.DatabaseURL()).QueryRowContext(t.Context(), `SELECT count(*) FROM webhook_undelivered`).Scan(&n)
		return err == nil && n == 0
	})
}
