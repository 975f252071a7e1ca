package presence

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/guard"
)

const (
	// sweepEvery is how late watchers hear that somebody has expired. Lists are
	// never late.
	sweepEvery = time.Second

	// tellEvery is how long changes are collected before watchers hear of them. All
	// of a space are told at once, so that what they then ask for is made once.
	tellEvery = 100 * time.Millisecond

	// fullPause is when to try again where there is no room.
	fullPause = 10 * time.Second
)

// Publisher takes messages for the other nodes; a syncer.Broker is one.
type Publisher interface {
	Publish(ctx context.Context, m syncer.Message) error
}

// Options set a Registry. The zero value works.
type Options struct {
	// MaxClients bounds the clients present in all spaces together, and so the
	// memory: up to 2 KiB each. Default: 100,000.
	MaxClients int

	// NodeID tells this node's stamps from those of others. Default: random.
	NodeID string

	// Now is the clock. Default: time.Now.
	Now func() time.Time

	// Logger hears of messages that could not be published. Default: slog.Default().
	Logger *slog.Logger
}

// Registry knows who is present. It is safe for concurrent use.
type Registry struct {
	publisher Publisher
	opts      Options

	mu       sync.Mutex
	spaces   map[string]*space
	clients  int   // entries over all spaces
	newest   int64 // time of the newest stamp made or seen here
	departed departed
	untold   []*space // those with that mark

	changed chan struct{} // holds one value: there is something in untold
}

// space is what is known of a space that has clients or watchers.
type space struct {
	name    string
	entries map[string]*entry // by client id
	next    time.Time         // nobody expires before
	watches map[*Watch]int    // the space's place in each
	event   *Event            // the newest, if somebody has asked for it
	untold  bool              // its watches are still to be told of a change
}

type entry struct {
	subject string
	state   []byte
	since   int64
	stamp   stamp
	expires time.Time
}

// New returns a Registry that tells the others through publisher, which is nil for
// a node that is alone. What they tell goes to Receive, and Run tells watchers.
func New(publisher Publisher, opts Options) *Registry {
	if opts.MaxClients <= 0 {
		opts.MaxClients = 100_000
	}
	if opts.NodeID == "" {
		opts.NodeID = rand.Text()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	return &Registry{publisher: publisher, opts: opts, spaces: make(map[string]*space), changed: make(chan struct{}, 1)}
}

// Enter is a heartbeat: clientID is present in the space, for subject, until the
// ttl of req has passed. req.TTL must be 0 or within its limits. Errors:
// CodePresenceTaken if another subject is present with clientID; for a state that
// is not as it should be the codes of documents; CodePresenceFull, and
// CodeUnavailable if the node has no room.
func (r *Registry) Enter(ctx context.Context, spaceName, clientID, subject string, req models.PresenceRequest) error {
	n := &news{
		ClientID: clientID, Subject: subject,
		State: req.State, TTLMS: cmp.Or(req.TTL, models.DefaultPresenceTTL).Milliseconds(),
	}
	if n.State == nil {
		n.State = []byte("{}")
	}
	if err := checkState(n.State); err != nil {
		return err
	}
	if err := r.enter(spaceName, n); err != nil {
		return err
	}
	r.publish(ctx, n.message(spaceName))
	return nil
}

// enter stamps and applies n, if it may come in.
func (r *Registry) enter(spaceName string, n *news) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.opts.Now()
	s := r.open(spaceName, now)
	defer r.close(s)
	n.Since = now.UnixMilli()
	switch e := s.entries[n.ClientID]; {
	case e != nil && e.subject != n.Subject:
		return taken()
	case e != nil:
		n.Since = e.since
	case len(s.entries) >= models.MaxPresent:
		return &models.Error{
			Code: models.CodePresenceFull, RetryAfter: fullPause,
			Detail: "As many clients are present in this space as there may be.",
		}
	case r.clients >= r.opts.MaxClients:
		return &models.Error{
			Code: models.CodeUnavailable, RetryAfter: fullPause,
			Detail: "As many clients are present on this server as it has room for.",
		}
	}
	n.Stamp = r.stamp(now)
	r.put(s, n, now)
	return nil
}

// Leave ends the presence of a client; it does nothing if there is none. Error:
// CodePresenceTaken if another subject is present with clientID.
func (r *Registry) Leave(ctx context.Context, spaceName, clientID, subject string) error {
	n := &news{ClientID: clientID, Subject: subject, Left: true}
	if err := r.leave(spaceName, n); err != nil {
		return err
	}
	// Also for who was not known here: another node may have heard of it.
	r.publish(ctx, n.message(spaceName))
	return nil
}

// leave stamps and applies n, if it may.
func (r *Registry) leave(spaceName string, n *news) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.opts.Now()
	s := r.open(spaceName, now)
	defer r.close(s)
	if e := s.entries[n.ClientID]; e != nil && e.subject != n.Subject {
		return taken()
	}
	n.Stamp = r.stamp(now)
	r.remove(s, n.ClientID, n.Stamp, now)
	return nil
}

func taken() error {
	return models.Errorf(models.CodePresenceTaken, "Somebody else is present with this client_id.")
}

// Receive takes what another node has published. What it can't read it passes
// over: the next heartbeat may be better.
func (r *Registry) Receive(m syncer.Message) {
	n, err := readNews(m, r.opts.Now())
	if err != nil {
		r.opts.Logger.Debug("news of presence not read", "space", m.Space, "error", err)
		return
	}
	if n.Stamp.Node == r.opts.NodeID {
		return // applied before it was published
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.opts.Now()
	s := r.open(m.Space, now)
	defer r.close(s)
	r.newest = max(r.newest, n.Stamp.Time)

	e := s.entries[n.ClientID]
	switch {
	case e != nil && !n.Stamp.newer(e.stamp),
		e == nil && !n.Stamp.newer(r.departed.stamp(client{m.Space, n.ClientID}, now)):
		// Late, or here already.
	case n.Left && e != nil && e.subject != n.Subject:
		// Its sender did not know whose client that is.
	case n.Left:
		r.remove(s, n.ClientID, n.Stamp, now)
	case e != nil || r.clients < r.opts.MaxClients:
		r.put(s, n, now)
	}
}

// List returns who is present in a space, those who came first at the front.
func (r *Registry) List(spaceName string) []models.Presence {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.opts.Now()
	s := r.open(spaceName, now)
	defer r.close(s)
	return s.list(now)
}

func (s *space) list(now time.Time) []models.Presence {
	list := make([]models.Presence, 0, len(s.entries))
	for id, e := range s.entries {
		list = append(list, models.Presence{
			ClientID: id, Subject: e.subject, State: e.state, Since: e.since, ExpiresIn: e.expires.Sub(now),
		})
	}
	slices.SortFunc(list, func(a, b models.Presence) int {
		return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.ClientID, b.ClientID))
	})
	return list
}

// Run tells watchers what has changed and who has expired, until ctx ends. It returns
// no error.
func (r *Registry) Run(ctx context.Context) error {
	return guard.Keep(ctx, r.opts.Logger, "presence", r.run)
}

func (r *Registry) run(ctx context.Context) error {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	// When what has changed is told. There may be something: a panic may have come
	// between the signal and the telling.
	due := time.After(tellEvery)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sweep.C:
			r.sweep()
		case <-r.changed:
			if due == nil { // the first; if others put it off, it might never be told
				due = time.After(tellEvery)
			}
		case <-due:
			due = nil
			r.tell()
		}
	}
}

func (r *Registry) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.opts.Now()
	for _, s := range r.spaces {
		r.expire(s, now)
		r.close(s)
	}
}

// open returns the space of a name, without those who have expired. Whoever opens
// it closes it, so that a space that nobody is in takes no memory.
func (r *Registry) open(name string, now time.Time) *space {
	s := r.spaces[name]
	if s == nil {
		s = &space{name: name, entries: make(map[string]*entry), watches: make(map[*Watch]int)}
		r.spaces[name] = s
	}
	r.expire(s, now)
	return s
}

func (r *Registry) close(s *space) {
	if len(s.entries) == 0 && len(s.watches) == 0 {
		delete(r.spaces, s.name)
	}
}

// expire removes who has sent no heartbeat in time.
func (r *Registry) expire(s *space, now time.Time) {
	if len(s.entries) == 0 || now.Before(s.next) {
		return
	}
	s.next = now.Add(models.MaxPresenceTTL)
	for id, e := range s.entries {
		if !now.Before(e.expires) {
			r.remove(s, id, e.stamp, now)
		} else if e.expires.Before(s.next) {
			s.next = e.expires
		}
	}
}

// stamp returns one that is newer than all that were made or seen here.
func (r *Registry) stamp(now time.Time) stamp {
	r.newest = max(r.newest+1, now.UnixMicro())
	return stamp{r.newest, r.opts.NodeID}
}

// put makes a client present as n says.
func (r *Registry) put(s *space, n *news, now time.Time) {
	e := s.entries[n.ClientID]
	if e == nil {
		e = &entry{}
		s.entries[n.ClientID] = e
		r.clients++
	}
	changed := e.subject != n.Subject || e.since != n.Since || !bytes.Equal(e.state, n.State)
	*e = entry{subject: n.Subject, state: e.state, since: n.Since, stamp: n.Stamp, expires: now.Add(n.ttl())}
	if e.expires.Before(s.next) || len(s.entries) == 1 {
		s.next = e.expires
	}
	if changed {
		e.state = bytes.Clone(n.State) // what was sent is a part of a larger body
		r.note(s)
	}
}

// remove makes a client absent and remembers since which stamp.
func (r *Registry) remove(s *space, clientID string, at stamp, now time.Time) {
	r.departed.add(client{s.name, clientID}, at, now)
	if s.entries[clientID] == nil {
		return
	}
	delete(s.entries, clientID)
	r.clients--
	r.note(s)
}

// publish tells the other nodes. It goes on when the client hangs up: a page that
// is closed sends its farewell and is gone.
func (r *Registry) publish(ctx context.Context, m syncer.Message) {
	if r.publisher == nil {
		return
	}
	if err := r.publisher.Publish(context.WithoutCancel(ctx), m); err != nil {
		r.opts.Logger.WarnContext(ctx, "news of presence not published", "space", m.Space, "error", err)
	}
}
