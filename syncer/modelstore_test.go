package syncer

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/models"
)

// modelStore is a Store in memory, as simple as can be: what the engine's memory is
// held against. It brings about what a database does only by chance.
type modelStore struct {
	Store
	// begin is called before anything of a group is looked at. It may wait, or fail.
	begin func(context.Context, Group) error
	// refuse is called before anything is written. An error is the database's.
	refuse func([]Touch, []Writes) error
	// bugs are methods that panic, so many times more.
	bugs map[string]int
	// down and standby, if there are any, are what reads and heads fail with.
	down, standby error

	mu  sync.Mutex
	now int64 // the database's clock
	// identity is that of the database, see Locked.
	identity int64
	spaces   map[string]*modelSpace
	locked   map[string]chan struct{} // by somebody else, until the channel is closed
	groups   [][]string               // what was committed: the spaces
	reads    int                      // calls of Changes
	looks    int                      // calls of Heads
}

type modelSpace struct {
	row       models.Space
	documents map[Key]models.Document
	receipts  map[Client]Receipts
}

func newModelStore() *modelStore {
	return &modelStore{identity: 7, spaces: make(map[string]*modelSpace), locked: make(map[string]chan struct{})}
}

// space returns a space, as it is before it was written if it is not there.
func (s *modelStore) space(name string, epoch int64) *modelSpace {
	if space := s.spaces[name]; space != nil {
		return space
	}
	return &modelSpace{
		row:       models.Space{ID: name, Epoch: epoch, PastEpochs: "[]"},
		documents: make(map[Key]models.Document),
		receipts:  make(map[Client]Receipts),
	}
}

// lock locks a space as another node would. free ends that.
func (s *modelStore) lock(space string) (free func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := make(chan struct{})
	s.locked[space] = held
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.locked, space)
		close(held)
	}
}

func (s *modelStore) holder(space string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.locked[space]
}

func (s *modelStore) Commit(ctx context.Context, g Group) error {
	if s.begin != nil {
		if err := s.begin(ctx, g); err != nil {
			return err
		}
	}
	for g.Wait {
		held := s.holder(g.Touches[0].Space)
		if held == nil {
			break
		}
		select {
		case <-held:
		case <-ctx.Done():
			return models.Errorf(models.CodeUnavailable, "locked")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make([]*Locked, len(g.Touches))
	for i := range g.Touches {
		if s.locked[g.Touches[i].Space] == nil {
			found[i] = s.find(&g.Touches[i])
		}
	}
	writes := g.Decide(found)
	if s.refuse != nil {
		if err := s.refuse(g.Touches, writes); err != nil {
			return err
		}
	}
	var names []string
	for i := range writes {
		if !writes[i].Empty() {
			s.write(&g.Touches[i], &writes[i])
			names = append(names, g.Touches[i].Space)
		}
	}
	s.groups = append(s.groups, names)
	s.meetBug("Commit") // after the fact, which is worse than before
	return nil
}

func (s *modelStore) find(t *Touch) *Locked {
	space := s.space(t.Space, 0)
	l := &Locked{Space: space.row, Now: s.now, Identity: s.identity, Documents: make(map[Key]*models.Document), Receipts: make(map[Client]Receipts)}
	for _, want := range t.Documents {
		d, ok := space.documents[want.Key]
		if !ok {
			continue
		}
		if !want.Data && d.Version == want.Base {
			d.Data = nil
		}
		l.Documents[want.Key] = &d
	}
	for _, client := range t.Clients {
		if receipts, ok := space.receipts[client]; ok {
			l.Receipts[client] = receipts
		}
	}
	return l
}

func (s *modelStore) write(t *Touch, w *Writes) {
	space := s.space(t.Space, 0)
	s.spaces[t.Space] = space
	if w.Space != nil {
		space.row = *w.Space
	}
	for _, d := range w.Documents {
		space.documents[Key{d.Collection, d.ID}] = *d
	}
	for client, receipts := range w.Receipts {
		space.receipts[client] = receipts.onto(space.receipts[client])
	}
}

// Erase takes everything in one go.
func (s *modelStore) Erase(_ context.Context, name string, e Erasure) (done Erased, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	space := s.spaces[name]
	if space == nil {
		return done, nil
	}
	gone := slices.Collect(maps.Values(space.documents))
	done = Erased{Documents: len(gone), Clients: len(space.receipts), Found: true}
	clear(space.documents)
	clear(space.receipts)
	e.Account(&space.row, s.now, gone)
	return done, nil
}

// Inbox has no rows.
func (s *modelStore) Inbox(context.Context, InboxRange) ([]models.Inbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meetBug("Inbox")
	return nil, nil
}

// plant makes the next calls of a method panic.
func (s *modelStore) plant(method string, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bugs == nil {
		s.bugs = make(map[string]int)
	}
	s.bugs[method] = times
}

func (s *modelStore) meet(method string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meetBug(method)
}

// meetBug is called with mu held.
func (s *modelStore) meetBug(method string) {
	if s.bugs[method] > 0 {
		s.bugs[method]--
		panic("planted in " + method)
	}
}

func (s *modelStore) Changes(ctx context.Context, name string, r Range) (Run, error) {
	if err := ctx.Err(); err != nil {
		return Run{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meetBug("Changes")
	if s.reads++; s.down != nil {
		return Run{}, s.down
	}
	return s.changes(name, r), nil
}

// changes is Changes, with the lock held.
func (s *modelStore) changes(name string, r Range) Run {
	space := s.spaces[name]
	if space == nil {
		return Run{}
	}
	row := models.Space{Head: space.row.Head, Floor: space.row.Floor, Epoch: space.row.Epoch, PastEpochs: space.row.PastEpochs, DeletedThrough: space.row.DeletedThrough}
	documents := slices.SortedFunc(maps.Values(space.documents), func(a, b models.Document) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.Collection, b.Collection), cmp.Compare(a.ID, b.ID))
	})
	hide := r.HideUpTo
	if r.Snapshot {
		hide = row.Head
	}
	page, full := Pager{Limit: r.Limit}, false
	for i := range documents {
		d := &documents[i]
		if d.Version <= r.After || d.Deleted && d.Version <= hide ||
			len(r.Collections) > 0 && !slices.Contains(r.Collections, d.Collection) {
			continue
		}
		if full = !page.Add(d.Change()); full {
			break
		}
	}
	return page.Run(row, row.Head, full)
}

func (s *modelStore) Heads(ctx context.Context, names []string) ([]models.Space, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meetBug("Heads")
	if s.looks++; s.standby != nil {
		return nil, s.standby
	}
	rows := make([]models.Space, len(names))
	for i, name := range names {
		if space := s.spaces[name]; space != nil {
			rows[i] = models.Space{ID: name, Head: space.row.Head, Floor: space.row.Floor, Epoch: space.row.Epoch, PastEpochs: space.row.PastEpochs, DeletedThrough: space.row.DeletedThrough}
		}
	}
	return rows, nil
}

// calls returns how often the store was read, and how often its heads were.
func (s *modelStore) calls() (reads, looks int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads, s.looks
}

// texts compares texts as a whole; byte by byte takes minutes.
var texts = gocmp.Options{
	gocmp.FilterValues(func(a, b json.RawMessage) bool { return len(a)+len(b) > 0 },
		gocmp.Comparer(func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })),
	cmpopts.EquateEmpty(),
	cmpopts.IgnoreUnexported(models.Change{}),
}

// sameChanges compares changes. Within a version their order is free. cmp is too slow
// for what a tail holds.
func sameChanges(a, b []models.Change) bool {
	inOrder := func(a, b models.Change) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.Collection, b.Collection), cmp.Compare(a.ID, b.ID))
	}
	slices.SortFunc(a, inOrder)
	slices.SortFunc(b, inOrder)
	return slices.EqualFunc(a, b, func(a, b models.Change) bool {
		return bytes.Equal(a.AppendJSON(nil), b.AppendJSON(nil))
	})
}

// ascends fails where changes don't come by version.
func ascends(t rapid.TB, what string, changes []models.Change) {
	t.Helper()
	if !slices.IsSortedFunc(changes, func(a, b models.Change) int { return cmp.Compare(a.Version, b.Version) }) {
		t.Errorf("%s: the changes are out of order", what)
	}
}
