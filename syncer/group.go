package syncer

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/guard"
)

// group is pushes that one transaction carries out, each with its own version,
// results and fate. Those of one space are decided in the order they came, each on
// what the ones before left.
type group struct {
	spaces []spaceGroup // sorted by name
	older  *olderReceipts
}

// spaceGroup is the part of a group that is of one space.
type spaceGroup struct {
	touch Touch
	jobs  []*job

	wanted map[Key]wanted
	known  map[Client]Receipts
	left   bool // the store left the space out
	commit spaceCommit
}

// wanted is a document that edits of a group look at.
type wanted struct {
	at int  // its place in touch.Documents
	by *job // the last one
}

// spaceCommit is what a transaction did to a space, for whoever follows its feed.
type spaceCommit struct {
	space     models.Space // as it is after it
	before    int64        // the head before it
	documents []*models.Document
}

// newGroup puts jobs, which come in the order of their arrival, together by space.
func newGroup(jobs []*job, older *olderReceipts) *group {
	g := &group{older: older}
	at := make(map[string]int, len(jobs))
	for _, j := range jobs {
		i, ok := at[j.push.space]
		if !ok {
			i = len(g.spaces)
			at[j.push.space] = i
			g.spaces = append(g.spaces, spaceGroup{
				touch:  Touch{Space: j.push.space},
				wanted: make(map[Key]wanted, len(j.push.edits)),
			})
		}
		g.spaces[i].add(j)
	}
	slices.SortFunc(g.spaces, func(a, b spaceGroup) int { return cmp.Compare(a.touch.Space, b.touch.Space) })
	return g
}

// left returns those of jobs that the group, made of them or not there yet, has not
// handed over.
func (g *group) left(jobs []*job) []*job {
	if g == nil {
		return jobs
	}
	var left []*job
	for i := range g.spaces {
		left = append(left, g.spaces[i].jobs...)
	}
	return left
}

func (s *spaceGroup) add(j *job) {
	s.jobs = append(s.jobs, j)
	s.touch.Inbox = append(s.touch.Inbox, j.push.inbox...)
	if client := j.push.client(); j.push.inbox == nil && !slices.Contains(s.touch.Clients, client) {
		s.touch.Clients = append(s.touch.Clients, client)
	}
	for i := range j.push.edits {
		if e := &j.push.edits[i]; e.problem == nil {
			s.want(j, e.want())
		}
	}
}

func (s *spaceGroup) want(j *job, w Want) {
	known, ok := s.wanted[w.Key]
	if !ok {
		s.wanted[w.Key] = wanted{len(s.touch.Documents), j}
		s.touch.Documents = append(s.touch.Documents, w)
		return
	}
	// What the second edit of a push finds depends on the fate of the first, and of
	// two pushes that name different bases one needs the text.
	if other := &s.touch.Documents[known.at]; known.by == j || w.Data || w.Base != other.Base {
		other.Data = true
	}
	s.wanted[w.Key] = wanted{known.at, j}
}

// touches is what a Store must read for the group.
func (g *group) touches() []Touch {
	list := make([]Touch, len(g.spaces))
	for i := range g.spaces {
		s := &g.spaces[i]
		// Kept until the answer is here: what is known now may be forgotten by then.
		s.known, s.touch.Known = g.older.of(s.touch.Space, s.touch.Clients)
		list[i] = s.touch
	}
	return list
}

// decide is the Decide of a Group.
func (g *group) decide(found []*Locked) []Writes {
	writes := make([]Writes, len(found))
	for i, locked := range found {
		s := &g.spaces[i]
		if s.left = locked == nil; !s.left {
			g.older.complete(s.touch.Space, locked.Receipts, s.known)
			writes[i] = s.decide(locked)
		}
	}
	return writes
}

// decide decides the pushes of one space and returns what they write together.
func (s *spaceGroup) decide(locked *Locked) (w Writes) {
	before := locked.Space.Head
	if len(s.jobs) == 1 {
		w = s.jobs[0].decide(*locked)
	} else {
		w = s.decideInTurn(locked)
	}
	slices.SortFunc(w.Documents, func(a, b *models.Document) int {
		return compareKeys(Key{a.Collection, a.ID}, Key{b.Collection, b.ID})
	})
	s.commit = spaceCommit{space: locked.Space, before: before, documents: w.Documents}
	if w.Space != nil {
		s.commit.space = *w.Space
	}
	return w
}

// decideInTurn decides each push on what those before it left.
func (s *spaceGroup) decideInTurn(locked *Locked) Writes {
	sum := Writes{Receipts: make(map[Client]Receipts)}
	at := make(map[Key]int) // in sum.Documents
	for _, j := range s.jobs {
		w := j.decide(*locked)
		if w.Space != nil {
			locked.Space, sum.Space = *w.Space, w.Space
			sum.NewEpoch = sum.NewEpoch || w.NewEpoch
		}
		for _, d := range w.Documents {
			key := Key{d.Collection, d.ID}
			locked.Documents[key] = d
			if i, again := at[key]; again {
				sum.Documents[i] = d
				continue
			}
			at[key] = len(sum.Documents)
			sum.Documents = append(sum.Documents, d)
		}
		for client, r := range w.Receipts {
			locked.Receipts[client] = r.onto(locked.Receipts[client])
			sum.Receipts[client] = r.onto(sum.Receipts[client])
		}
		sum.Confirm = sum.Confirm || w.Confirm
		for _, fate := range w.Inbox {
			delete(locked.Inbox, fate.ID)
			sum.Inbox = append(sum.Inbox, fate)
		}
	}
	return sum
}

// decide decides one push. What goes wrong with it is its own: it writes nothing,
// and the pushes beside it go on.
func (j *job) decide(locked Locked) (w Writes) {
	defer func() {
		if r := recover(); r != nil {
			w = Writes{}
			j.answer = answer{err: fmt.Errorf("decide a push: %w", guard.Caught(r))}
		}
	}()
	decide := j.push.decide
	if j.push.inbox != nil {
		decide = j.push.decideInbox
	}
	results, w, err := decide(locked)
	if err != nil {
		w = Writes{}
	}
	head := locked.Space.Head
	if w.Space != nil {
		head = w.Space.Head
	}
	j.answer = answer{results: results, before: locked.Space.Head, head: head, err: err}
	return w
}
