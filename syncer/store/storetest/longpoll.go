package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

var longPollRequirements = []requirement{
	{"answers at once when there is news", longPollNews},
	{"a snapshot does not wait", longPollSnapshot},
	{"wakes on a push to this node", longPollWakes},
	{"goes on waiting when the news is not for its filter", longPollFilter},
	{"ends after its time with an empty page and the same cursor", longPollEnds},
	{"finds at its end what another node committed", longPollOtherNode},
	{"ends when the node drains, and none begins", longPollDrain},
	{"ends when its client goes", longPollClientGoes},
	{"ends when its cursor expires", longPollExpires},
	{"is not woken by a push to another space", watchOtherSpace},
	{"is not woken by a push that changes nothing", watchNothing},
}

// longest is a wait that a test would notice.
const longest = patience

// observed is a store that tells when a feed has been read.
type observed struct {
	syncer.Store
	read chan int64 // the head of each page
}

func (s observed) Changes(ctx context.Context, space string, r syncer.Range) (syncer.Run, error) {
	run, err := s.Store.Changes(ctx, space, r)
	select {
	case s.read <- run.Space.Head:
	case <-ctx.Done():
	}
	return run, err
}

// poller is a client whose node tells when it has read a feed. It has no tails, so
// each pull is a read, and hears of nothing but its own commits.
func (w *world) poller(t testing.TB) (client, <-chan int64) {
	t.Helper()
	read := make(chan int64)
	c := w.bob
	c.engine = syncer.New(observed{counting(w.store), read}, deaf{}, syncer.Options{
		TailMemory: -1,
	})
	run(t, c.engine)
	return c, read
}

// run runs an engine's broker until the test ends.
func run(t testing.TB, engine *syncer.Engine) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- engine.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := await(t, "the end of Run", done); err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

type answer struct {
	page *models.Page
	err  error
}

// poll begins a long poll.
func (c client) poll(ctx context.Context, req syncer.PullRequest) <-chan answer {
	answers := make(chan answer, 1)
	go func() {
		page, err := c.engine.Pull(ctx, c.space, req)
		answers <- answer{page, err}
	}()
	return answers
}

// answered waits for a long poll that must not fail.
func answered(t testing.TB, from <-chan answer) *models.Page {
	t.Helper()
	got := await(t, "the answer of a long poll", from)
	if got.err != nil {
		t.Fatalf("pull: %v", got.err)
	}
	return got.page
}

func longPollNews(t *testing.T, w *world) {
	cursor := w.alice.cursor(t)
	w.fill(t, 2)
	begun := time.Now()
	page := w.alice.pull(t, syncer.PullRequest{Cursor: cursor, Wait: longest})
	same(t, "changes", names(page.Changes), []string{"todos/t1", "todos/t2"})
	more := w.alice.pull(t, syncer.PullRequest{Cursor: cursor, Wait: longest, Limit: 1})
	same(t, "changes", names(more.Changes), []string{"todos/t1"})
	if took := time.Since(begun); took > longest/2 {
		t.Errorf("it took %v", took)
	}
}

func longPollSnapshot(t *testing.T, w *world) {
	begun := time.Now()
	page := w.alice.pull(t, syncer.PullRequest{Wait: longest})
	same(t, "changes", page.Changes, nil)
	if took := time.Since(begun); took > longest/2 {
		t.Errorf("it took %v", took)
	}
}

func longPollWakes(t *testing.T, w *world) {
	cursor := w.alice.cursor(t)
	bob, read := w.poller(t)
	polling := bob.poll(t.Context(), syncer.PullRequest{Cursor: cursor, Wait: longest})
	await(t, "the first read", read)
	writer := bob
	writer.must(t, put("b1", "todos/t1", on(0), `{}`))
	await(t, "the second read", read)
	page := answered(t, polling)
	same(t, "changes", page.Changes, []models.Change{*bob.live(1, "todos/t1", `{}`, "b1")})
}

func longPollFilter(t *testing.T, w *world) {
	todos := []string{"todos"}
	cursor := w.alice.pull(t, syncer.PullRequest{Collections: todos}).Cursor
	bob, read := w.poller(t)
	polling := bob.poll(t.Context(), syncer.PullRequest{Cursor: cursor, Wait: longest, Collections: todos})
	await(t, "the first read", read)
	bob.must(t, put("b1", "notes/n1", on(0), `{}`))
	same(t, "head at the second read", await(t, "the second read", read), 1)
	bob.must(t, put("b2", "todos/t1", on(0), `{}`))
	same(t, "head at the third read", await(t, "the third read", read), 2)
	page := answered(t, polling)
	same(t, "changes", page.Changes, []models.Change{*bob.live(2, "todos/t1", `{}`, "b2")})
	same(t, "page after it", w.alice.pull(t, syncer.PullRequest{Cursor: page.Cursor, Collections: todos}).Changes, nil)
}

func longPollEnds(t *testing.T, w *world) {
	w.fill(t, 2)
	cursor := w.alice.cursor(t)
	const wait = 50 * time.Millisecond
	begun := time.Now()
	page := w.alice.pull(t, syncer.PullRequest{Cursor: cursor, Wait: wait})
	if took := time.Since(begun); took < wait {
		t.Errorf("it ended after %v, want %v", took, wait)
	}
	same(t, "page", *page, models.Page{Version: 2, Cursor: cursor, Digest: digest("todos/t1@1", "todos/t2@2"), PollAfter: page.PollAfter})
}

func longPollOtherNode(t *testing.T, w *world) {
	bob := w.bob
	cursor := bob.cursor(t)
	first := true
	bob.engine = newEngine(interrupted{w.store, func() {
		if first {
			first = false
			w.fill(t, 1) // by an engine that bob's does not hear
		}
	}}, nil)
	page := bob.pull(t, syncer.PullRequest{Cursor: cursor, Wait: 20 * time.Millisecond})
	same(t, "changes", names(page.Changes), []string{"todos/t1"})
}

// interrupted is a store in whose reads something comes between.
type interrupted struct {
	syncer.Store
	afterRead func()
}

func (s interrupted) Changes(ctx context.Context, space string, r syncer.Range) (syncer.Run, error) {
	run, err := s.Store.Changes(ctx, space, r)
	s.afterRead()
	return run, err
}

func longPollDrain(t *testing.T, w *world) {
	w.fill(t, 1)
	cursor := w.alice.cursor(t)
	bob, read := w.poller(t)
	polling := bob.poll(t.Context(), syncer.PullRequest{Cursor: cursor, Wait: longest})
	await(t, "the first read", read)
	bob.engine.Drain()
	page := answered(t, polling)
	same(t, "page", *page, models.Page{Version: 1, Cursor: cursor, Digest: digest("todos/t1@1"), PollAfter: page.PollAfter})

	polling = bob.poll(t.Context(), syncer.PullRequest{Cursor: cursor, Wait: longest})
	await(t, "the read of a later poll", read)
	same(t, "page", *answered(t, polling), *page)
	fails(t, "ready", bob.engine.Ready(t.Context()), models.CodeUnavailable)
	bob.engine.Drain() // once more does no harm
}

func longPollClientGoes(t *testing.T, w *world) {
	w.fill(t, 1)
	cursor := w.alice.cursor(t)
	bob, read := w.poller(t)
	ctx, cancel := context.WithCancel(t.Context())
	polling := bob.poll(ctx, syncer.PullRequest{Cursor: cursor, Wait: longest})
	await(t, "the first read", read)
	cancel()
	if got := await(t, "the end of the poll", polling); !errors.Is(got.err, context.Canceled) {
		t.Errorf("error %v, want that of the context", got.err)
	}
}

func longPollExpires(t *testing.T, w *world) {
	w.fill(t, 1)
	w.exec(t, `UPDATE spaces SET epoch = epoch + 1 WHERE id = $1`, w.space)
	cursor := w.alice.cursor(t)
	bob, read := w.poller(t)
	polling := bob.poll(t.Context(), syncer.PullRequest{Cursor: cursor, Wait: longest})
	await(t, "the first read", read)
	w.exec(t, `UPDATE spaces SET epoch = epoch - 1 WHERE id = $1`, w.space) // that epoch has never been
	bob.must(t, put("b1", "todos/t9", on(0), `{}`))
	await(t, "the second read", read)
	expires(t, "the poll", await(t, "its answer", polling).err, models.CauseEpoch)
}

// prompt is a broker that has delivered a poke when Publish returns.
type prompt struct {
	deliver chan func(syncer.Message)
}

func (b prompt) Publish(_ context.Context, p syncer.Message) error {
	deliver := <-b.deliver
	deliver(p)
	b.deliver <- deliver
	return nil
}

func (b prompt) Run(ctx context.Context, deliver func(syncer.Message)) error {
	b.deliver <- deliver
	<-ctx.Done()
	return nil
}

// woken reports whether a watcher has been woken since it was asked last.
func woken(wake <-chan struct{}) bool {
	select {
	case <-wake:
		return true
	default:
		return false
	}
}

// watcher makes alice's engine one whose pokes are prompt, and watches her space.
func (w *world) watcher(t testing.TB) <-chan struct{} {
	t.Helper()
	w.alice.engine = newEngine(counting(w.store), prompt{make(chan func(syncer.Message), 1)})
	run(t, w.alice.engine)
	watch := w.alice.engine.Watch(w.space)
	t.Cleanup(watch.Stop)
	return watch.C
}

func watchOtherSpace(t *testing.T, w *world) {
	wake := w.watcher(t)
	neighbor := w.alice
	neighbor.space = newSpace()
	neighbor.must(t, put("e1", "todos/t1", on(0), `{}`))
	same(t, "woken by another space", woken(wake), false)
	w.fill(t, 3)
	same(t, "woken by its own", woken(wake), true)
	same(t, "woken again for the same", woken(wake), false)
}

func watchNothing(t *testing.T, w *world) {
	wake := w.watcher(t)
	first := put("e1", "todos/t1", on(0), `{"a":1}`)
	w.alice.must(t, first)
	same(t, "woken by a change", woken(wake), true)
	w.alice.push(t, first)
	w.alice.push(t, put("e2", "todos/t1", on(0), `{}`))
	w.alice.push(t, patch("e3", "todos/t1", on(1), `{"a":1}`))
	w.alice.atomic(t, put("e4", "todos/t4", on(0), `{}`), put("e5", "todos/t1", on(0), `{}`))
	same(t, "woken by nothing", woken(wake), false)
}
