package ha

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/tests/converge"
	"github.com/tidemark/tidemark/tests/converge/crowd"
	"github.com/tidemark/tidemark/tests/harness"
)

const (
	clients = 12
	// think is a user's longest pause: some hundred pushes a second from all of them.
	think = 80 * time.Millisecond
	// convergeIn is how long it may take until all hold the same, once nobody edits.
	convergeIn = 60 * time.Second
)

// load is clients that edit a space of their own through some nodes.
type load struct {
	s      *stack
	nodes  []*harness.Server
	space  string
	file   string
	record *converge.Recorder
	stage  crowd.Stage
	meter  meter

	running *errgroup.Group
	ctx     context.Context //nolint:containedctx // of the clients, which outlive the call that starts them
	cancel  context.CancelFunc
	turn    atomic.Uint64
}

// meter looks at the answers to pushes.
type meter struct {
	next http.RoundTripper

	mu       sync.Mutex
	pushes   int
	last     time.Time
	longest  time.Duration
	stopped  bool
	refusals map[string]int // by status
}

// RoundTrip implements http.RoundTripper.
func (m *meter) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := m.next.RoundTrip(request)
	if request.Method == http.MethodPost && strings.HasSuffix(request.URL.Path, "/push") {
		m.count(answer, err)
	}
	return answer, err
}

func (m *meter) count(answer *http.Response, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil || answer.StatusCode != http.StatusOK {
		what := "no answer"
		if err == nil {
			what = fmt.Sprint(answer.StatusCode)
		}
		m.refusals[what]++
		return
	}
	now := time.Now()
	if m.pushes > 0 && !m.stopped {
		m.longest = max(m.longest, now.Sub(m.last))
	}
	m.pushes, m.last = m.pushes+1, now
}

// answered is how many pushes were.
func (m *meter) answered() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pushes
}

// gap is the longest time in which no push was answered while users edited.
func (m *meter) gap() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = true
	return m.longest
}

// startLoad starts the clients.
func startLoad(s *stack, space string, nodes []*harness.Server) *load {
	s.t.Helper()
	l := &load{s: s, nodes: nodes, space: space, file: filepath.Join(s.logs, "history-"+space+".jsonl")}
	l.stage.Think, l.stage.Space = think, space
	l.meter = meter{next: &http.Transport{MaxIdleConnsPerHost: 100}, refusals: map[string]int{}}
	if _, err := l.client().Push(s.t.Context(), space, crowd.Setup()); err != nil {
		s.t.Fatal(err)
	}
	var err error
	if l.record, err = converge.Record(l.file); err != nil {
		s.t.Fatal(err)
	}
	seed := harness.Seed(s.t)
	l.record.Add(converge.Event{Kind: converge.KindRun, Seed: seed, Store: space})
	l.ctx, l.cancel = context.WithCancel(s.t.Context())
	l.running, _ = errgroup.WithContext(l.ctx)
	for i := range clients {
		name := fmt.Sprint("c", i)
		c := crowd.New(name, i, l.client(), harness.Random(seed, space+name), l.record, &l.stage)
		l.running.Go(func() error { return c.Run(l.ctx) })
	}
	l.more()
	return l
}

// client goes to another node with each request.
func (l *load) client() *harness.Client {
	c := harness.NewClient(func() string { return l.nodes[l.turn.Add(1)%uint64(len(l.nodes))].URL() }, "")
	c.HTTP.Transport = &l.meter
	return c
}

// more waits until some more pushes were answered.
func (l *load) more() {
	l.s.t.Helper()
	const some = 200
	begun := l.meter.answered()
	l.s.until("pushes are answered", func() bool { return l.meter.answered() >= begun+some })
}

// end has users stop, waits until all clients hold the same, and returns the verdict
// for a database that says itself which versions it has lost.
func (l *load) end(db *database) *row {
	l.s.t.Helper()
	r := &row{gap: l.meter.gap(), pushes: l.meter.answered()}
	l.stage.Stop()
	deadline := time.AfterFunc(convergeIn, l.cancel)
	l.stage.Witness(l.ctx, clients, l.client(), harness.Random(harness.Seed(l.s.t), converge.Witness), l.record)
	err := l.running.Wait()
	deadline.Stop()
	l.cancel()
	l.stage.Close()
	if closed := l.record.Close(); err == nil {
		err = closed
	}
	if err != nil {
		l.s.t.Fatalf("%v; the history is in %s", err, l.file)
	}
	lost := l.lostVersions(db)
	verdict, err := converge.JudgeAfterLoss(l.file, lost)
	if err != nil {
		l.s.t.Fatalf("%v in the history %s", err, l.file)
	}
	r.take(verdict)
	if verdict.Bad() > 0 {
		l.s.t.Errorf("%s: %d lost, %d doubled, %d diverged, %d stuck, %d gaps, %d server errors; the history is in %s:\n%s", l.space, verdict.Lost, verdict.Doubled,
			verdict.Diverged, verdict.Stuck, verdict.Gaps, verdict.ServerErrors, l.file, strings.Join(verdict.Findings, "\n"))
	} else {
		os.Remove(l.file)
	}
	l.s.t.Logf("%s: %d pushes answered, refused %v, met %v", l.space, r.pushes, l.meter.refusals, verdict.Met)
	return r
}

// lostVersions asks the space for its past epochs: what lies above the end of one and
// below the first version after it is lost, if it ever was.
func (l *load) lostVersions(db *database) func(version int64) bool {
	l.s.t.Helper()
	text, err := db.query(url(db.primary, "tidemark", "tidemark"), "SELECT past_epochs FROM spaces WHERE id = $1", l.space)
	var past [][3]int64
	if err == nil {
		err = json.Unmarshal([]byte(text), &past)
	}
	if err != nil {
		l.s.t.Fatalf("past epochs of %s: %v", l.space, err)
	}
	return func(version int64) bool {
		for _, e := range past {
			if e[1] < version && version < e[2] {
				return true
			}
		}
		return false
	}
}
