package api

import (
	"context"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/memory"
)

// buggyStore panics in Changes while it is told to.
type buggyStore struct {
	syncer.Store
	broken atomic.Bool
}

func (s *buggyStore) Changes(ctx context.Context, space string, r syncer.Range) (syncer.Run, error) {
	if s.broken.Load() {
		panic("planted")
	}
	return s.Store.Changes(ctx, space, r)
}

// caught is how many panics the server says that it has caught.
func (w *world) caught() int {
	w.t.Helper()
	got := w.get("/metrics").want(http.StatusOK, "")
	found := regexp.MustCompile(`(?m)^tidemark_panics_total (\d+)$`).FindStringSubmatch(got.body)
	if found == nil {
		w.t.Fatalf("panics are not counted:\n%s", got.body)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// A bug under a stream ends that stream, which lets go of all it has; the client comes
// back with its cursor. A bug under a request is its 500. Both are counted.
func TestPanic_streamsAndRequests(t *testing.T) {
	t.Parallel()
	store := &buggyStore{Store: newStore(t)}
	w := newWorld(t, func(o *Options) {
		o.Logger = slog.New(slog.DiscardHandler)
		// Nobody runs it, so every page is the store's.
		o.Engine = syncer.New(store, memory.New(), syncer.Options{Logger: o.Logger})
	})
	l := w.listen()
	w.write("a")
	f := l.follow(streamPath)
	cursor := f.wantPage("a").Cursor
	before := w.caught()

	store.broken.Store(true)
	w.get(feed).want(http.StatusInternalServerError, "internal")
	if n := w.caught() - before; n < 1 {
		t.Errorf("after a request %d panics are counted, want 1 or more", n)
	}
	before = w.caught()
	w.write("b")
	if e, err := f.events.Next(); err == nil {
		t.Errorf("the stream goes on with %+v", e)
	}
	w.becomes(0)
	if n := w.caught() - before; n < 1 {
		t.Errorf("after a stream %d panics are counted, want 1 or more", n)
	}

	store.broken.Store(false)
	l.follow(streamPath + "?cursor=" + cursor).wantPage("b")
}

// A bug outside of the handlers is counted too; net/http cuts the connection.
func TestPanic_aroundTheHandlers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.caught()
	healthy := w.server.packed
	w.server.packed = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("planted") })
	func() {
		defer func() {
			if r := recover(); r != "planted" {
				t.Errorf("net/http is shown %v", r)
			}
		}()
		w.get("/healthz")
	}()
	w.server.packed = healthy
	if n := w.caught() - before; n < 1 {
		t.Errorf("%d panics are counted, want 1 or more", n)
	}
	if strings.Contains(w.get("/healthz").want(http.StatusOK, "").body, "planted") {
		t.Error("the panic is told to clients")
	}
}
