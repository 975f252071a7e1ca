package syncer

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tidemark/tidemark/models"
)

// The canary proves the feed from end to end. Each node writes a beat, a document that
// says when it was written, into a space that no client can name, by the path that all
// pushes take. Every node follows that space as streams do, and notes how long each beat
// was on its way.
const (
	beatCollection = "beats"
	beatSubject    = "tidemark"

	// heardLately is how long a node counts as there after its newest beat.
	heardLately = 5 * time.Minute

	// beatsKept is how much older than the newest of all a beat may get. Then its node is
	// gone, and whoever beats next deletes it.
	beatsKept = time.Hour

	// farewellPatience is how long a node that is stopped waits for its farewell.
	farewellPatience = 2 * time.Second

	// maxBeats bounds what is remembered, and forgetAtOnce what one push deletes.
	maxBeats, forgetAtOnce = 10_000, 100
)

// beats are the newest beats of all nodes, by the database's clock, so that a node whose
// own is wrong takes nobody for gone.
type beats struct {
	self string // this node's; "": it writes none
	now  func() time.Time

	mu     sync.Mutex
	newest map[string]time.Time
}

// beat is the document.
type beat struct {
	At int64 `json:"at"` // microseconds of Unix time, by the clock of the node
}

// keepBeating writes beats until ctx ends. Then it takes its own back, so that nobody
// takes a node that was stopped for one that stands still.
func (e *Engine) keepBeating(ctx context.Context) {
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			e.farewell(context.WithoutCancel(ctx))
			return
		case <-next.C:
		}
		if err := e.beat(ctx); err != nil && ctx.Err() == nil {
			// tidemark_beat_age_seconds tells who watches.
			e.opts.Logger.DebugContext(ctx, "beat not written", "error", err)
		}
		// Nodes that were started together drift apart.
		next.Reset(e.opts.Canary - rand.N(e.opts.Canary/10+1))
	}
}

// beat writes one, and deletes those of nodes that are gone. The application's rules are
// not for it, and it leaves no receipt: nobody retries it.
func (e *Engine) beat(ctx context.Context) error {
	data, err := json.Marshal(beat{At: e.opts.Now().UnixMicro()})
	if err != nil {
		return err
	}
	edits := []edit{e.beatEdit(models.OpPut, e.beats.self, data)}
	for _, node := range e.beats.gone() {
		edits = append(edits, e.beatEdit(models.OpDelete, node, nil))
	}
	return e.pushBeats(ctx, edits)
}

// farewell deletes this node's beat, if the database can do so soon.
func (e *Engine) farewell(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, farewellPatience)
	defer cancel()
	if err := e.pushBeats(ctx, []edit{e.beatEdit(models.OpDelete, e.beats.self, nil)}); err != nil {
		e.opts.Logger.DebugContext(ctx, "beat not taken back", "error", err)
	}
}

func (e *Engine) beatEdit(op models.Op, node string, data []byte) edit {
	n := newEdit(models.Edit{EditID: e.opts.NewID(), Op: op, Collection: beatCollection, ID: node, Force: true, Data: data})
	n.unnamed = true
	return n
}

func (e *Engine) pushBeats(ctx context.Context, edits []edit) error {
	p := &push{space: models.CanarySpace, subject: beatSubject, clientID: e.beats.self, edits: edits}
	_, err := e.carryOut(ctx, p)
	return err
}

// watchBeats follows the beats until ctx ends.
func (e *Engine) watchBeats(ctx context.Context) {
	watch := e.Watch(models.CanarySpace) // before the first pull; see Watch
	defer watch.Stop()
	// As a stream does when nothing has come for long, in case a poke was lost.
	silence := time.NewTicker(e.opts.Canary)
	defer silence.Stop()
	watch.Look()
	for cursor := ""; ; {
		select {
		case <-ctx.Done():
			return
		case <-silence.C:
			watch.Look()
		case <-watch.C:
			for i := range watch.News {
				cursor = e.lookAtBeats(ctx, watch, i, cursor)
			}
		}
	}
}

// lookAtBeats takes in the page after cursor, and returns the next cursor. One that is
// no good any more begins anew; what the database doesn't answer, the next look asks for.
func (e *Engine) lookAtBeats(ctx context.Context, watch *Watch, i int, cursor string) string {
	page, err := watch.Pull(ctx, i, PullRequest{Cursor: cursor})
	if models.CodeOf(err) == models.CodeCursorExpired && err != nil {
		watch.Again(i)
		return ""
	}
	if err != nil {
		return cursor
	}
	now := e.opts.Now()
	for j := range page.Changes {
		c := &page.Changes[j]
		e.beats.take(c)
		if cursor == "" || c.Deleted {
			continue // it was there before anybody looked
		}
		var b beat
		if json.Unmarshal(c.Data, &b) != nil {
			continue // it was written by another hand
		}
		seen := e.metrics.seenOther
		if c.ID == e.beats.self {
			seen = e.metrics.seenOwn
		}
		seen.Observe(since(b.At, now))
	}
	if page.HasMore {
		watch.Again(i)
	}
	return page.Cursor
}

// begin makes this node one that beats.
func (b *beats) begin(self string, now func() time.Time) {
	b.self, b.now = self, now
	b.newest = map[string]time.Time{self: now()} // it is due from now on
}

// take notes a beat, or that it was deleted.
func (b *beats) take(c *models.Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.Deleted {
		delete(b.newest, c.ID)
		return
	}
	if _, known := b.newest[c.ID]; known || len(b.newest) < maxBeats {
		b.newest[c.ID] = time.UnixMilli(c.UpdatedAt)
	}
}

// gone lists nodes that have not beaten for long.
func (b *beats) gone() (nodes []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var last time.Time
	for _, at := range b.newest {
		last = maxTime(last, at)
	}
	for node, at := range b.newest {
		if last.Sub(at) > beatsKept && node != b.self && len(nodes) < forgetAtOnce {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// age is that of the oldest of the newest beats of all nodes that are there.
func (b *beats) age() float64 { age, _ := b.there(); return age.Seconds() }

// nodes is how many nodes are there.
func (b *beats) nodes() float64 { _, n := b.there(); return float64(n) }

func (b *beats) there() (oldest time.Duration, nodes int) {
	if b.self == "" {
		return 0, 0
	}
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for node, at := range b.newest {
		if age := now.Sub(at); age <= heardLately || node == b.self {
			oldest = max(oldest, age)
			nodes++
		}
	}
	return oldest, nodes
}
