package model_test

import (
	"fmt"
	"reflect"
	"slices"

	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/tests/harness"
)

// author is a client as README tells one how to be, and as tidemark.js is: it shows what
// it was shown with its own edits on top, queues them, makes each on the one before, and
// keeps what did not go through until its app decides. Where others push, purge and restore
// between what it does, the transcript says what it must send, and show then.
type author struct {
	handed
	held     map[key]held
	queue    []queued
	problems [][]queued // edits that did not go through, each with those made on it
	settled  map[string]string
}

// held is a document as last shown, or its tombstone.
type held struct {
	version int64
	data    map[string]any // nil: a tombstone
}

// queued is an edit, and the document that its maker saw, nil if there was none.
type queued struct {
	harness.Edit
	data   map[string]any
	before map[string]any
}

// deed is what the app does: an edit, or a way out of a problem, and the edits that come
// of it.
type deed struct {
	Does       string         `json:"does"` // put, merge, delete; keepMine, takeTheirs, merge
	Collection string         `json:"collection,omitempty"`
	ID         string         `json:"id,omitempty"`
	Problem    string         `json:"problem,omitempty"` // the edit that failed
	Data       map[string]any `json:"data,omitempty"`
	Edits      []string       `json:"edits"`
}

// shows is what the app sees.
type shows struct {
	Documents []shownDocument `json:"documents"`
	Problems  []shownProblem  `json:"problems"`
	// Settled says what has become of edits since the last time that it was told.
	Settled map[string]string `json:"settled,omitempty"`
}

type shownDocument struct {
	Collection string         `json:"collection"`
	ID         string         `json:"id"`
	Data       map[string]any `json:"data"`
	Version    int64          `json:"version"`
	Pending    bool           `json:"pending"`
}

type shownProblem struct {
	Edits  []string       `json:"edits"`
	Base   map[string]any `json:"base"`
	Mine   map[string]any `json:"mine"`
	Theirs map[string]any `json:"theirs"`
	Fields []string       `json:"fields"` // that both sides changed, to different values
}

var authorIs = writer{"alice", "author"}

// authorLimit is what a page holds if nobody says: more than there is.
const authorLimit = 500

func newAuthor() author { return author{held: map[key]held{}, settled: map[string]string{}} }

// write lets the app of the author do something, and mostly has it sent.
func (m *machine) write(t *rapid.T) {
	s := m.space(t)
	deeds := m.deeds(t, s, 1+draw(t, 4, "deeds"))
	transcript()(line{Author: s.name, Do: deeds, Shows: s.author.shows()})
	if draw(t, 3, "offline") > 0 {
		m.synchronize(t, s)
	}
}

func (m *machine) deeds(t *rapid.T, s *space, count int) (deeds []deed) {
	for range count {
		if len(s.author.problems) > 0 && draw(t, 3, "solve") == 0 {
			deeds = append(deeds, m.solve(t, &s.author))
			continue
		}
		at := key{sample(t, collections, "collection"), sample(t, ids, "id")}
		d := deed{Does: sample(t, []string{"put", "merge", "merge", "merge", "merge", "delete"}, "does"), Collection: at.collection, ID: at.id}
		switch d.Does {
		case "put":
			d.Data = parse(object(t, 2, values))
			d.Edits = []string{m.append(&s.author, "put", at, d.Data)}
		case "merge":
			d.Data = parse(object(t, 3, append([]string{`null`, `{"n":null}`}, values...)))
			d.Edits = []string{m.append(&s.author, "patch", at, d.Data)}
		case "delete":
			d.Edits = []string{m.append(&s.author, "delete", at, nil)}
		}
		deeds = append(deeds, d)
	}
	return deeds
}

// solve chooses one of the ways out of a problem.
func (m *machine) solve(t *rapid.T, a *author) deed {
	i := draw(t, len(a.problems), "problem")
	edits := a.problems[i]
	_, mine, theirs := a.sides(edits)
	at := keyOf(edits[0].Edit)
	a.problems = slices.Delete(a.problems, i, i+1)
	d := deed{Does: sample(t, []string{"keepMine", "takeTheirs", "merge"}, "way"), Problem: edits[0].EditID, Edits: []string{}}
	switch {
	case d.Does == "merge":
		d.Data = parse(object(t, 2, values))
		d.Edits = append(d.Edits, m.append(a, "put", at, d.Data))
	case d.Does == "keepMine" && theirs == nil && mine != nil: // a patch would have lost what it patched
		d.Edits = append(d.Edits, m.append(a, "put", at, mine))
	case d.Does == "keepMine":
		for _, edit := range edits {
			d.Edits = append(d.Edits, m.append(a, edit.Op, at, edit.data))
		}
	}
	m.met["author: "+d.Does]++
	return d
}

// append puts an edit at the end of the queue and returns its name.
func (m *machine) append(a *author, op string, at key, data map[string]any) string {
	m.edits++
	edit := queued{
		Edit:   harness.Edit{EditID: fmt.Sprintf("e%d", m.edits), Op: op, Collection: at.collection, ID: at.id},
		before: a.sees(at),
	}
	if op == "patch" && edit.before == nil { // there is nothing to patch
		edit.Op, data = "put", merge(nil, data).(map[string]any)
	}
	if op != "delete" {
		edit.data, edit.Data = data, []byte(show(data))
	}
	edit.BaseVersion = harness.At(a.held[at].version)
	if mine := a.editsOf(at); len(mine) > 0 {
		edit.BaseVersion, edit.BaseEditID = nil, mine[len(mine)-1].EditID
	}
	a.queue = append(a.queue, edit)
	return edit.EditID
}

func (a *author) editsOf(at key) (edits []queued) {
	for _, edit := range a.queue {
		if keyOf(edit.Edit) == at {
			edits = append(edits, edit)
		}
	}
	return edits
}

func (a *author) sees(at key) map[string]any { return replay(a.held[at].data, a.editsOf(at)) }

func replay(data map[string]any, edits []queued) map[string]any {
	for _, edit := range edits {
		switch edit.Op {
		case "put":
			data = edit.data
		case "delete":
			data = nil
		case "patch":
			if data == nil {
				data = edit.before
			}
			data = merge(data, edit.data).(map[string]any)
		}
	}
	return data
}

func (a *author) sides(edits []queued) (base, mine, theirs map[string]any) {
	base = edits[0].before
	return base, replay(base, edits), a.held[keyOf(edits[0].Edit)].data
}

func (a *author) shows() *shows {
	now := &shows{Documents: []shownDocument{}, Problems: []shownProblem{}}
	for _, collection := range collections {
		for _, id := range ids {
			at := key{collection, id}
			if data := a.sees(at); data != nil {
				now.Documents = append(now.Documents, shownDocument{collection, id, data, a.held[at].version, len(a.editsOf(at)) > 0})
			}
		}
	}
	for _, edits := range a.problems {
		base, mine, theirs := a.sides(edits)
		problem := shownProblem{Base: base, Mine: mine, Theirs: theirs, Fields: []string{}}
		for _, edit := range edits {
			problem.Edits = append(problem.Edits, edit.EditID)
		}
		for _, name := range fieldNames {
			if differ(base, mine, name) && differ(base, theirs, name) && differ(mine, theirs, name) {
				problem.Fields = append(problem.Fields, name)
			}
		}
		now.Problems = append(now.Problems, problem)
	}
	return now
}

func differ(a, b map[string]any, name string) bool {
	one, inOne := a[name]
	other, inOther := b[name]
	return inOne != inOther || !reflect.DeepEqual(one, other)
}

// synchronize sends what is queued and takes what is new, until nothing is queued.
func (m *machine) synchronize(t *rapid.T, s *space) {
	a := &s.author
	if a.cursor == "" || len(a.queue) == 0 || draw(t, 3, "pull first") == 0 {
		m.authorPulls(t, s)
	}
	for busy := true; len(a.queue) > 0; busy = false {
		m.authorPushes(t, s, busy)
	}
	now := a.shows()
	now.Settled, a.settled = a.settled, map[string]string{}
	transcript()(line{Author: s.name, Shows: now})
}

func (m *machine) authorPulls(t *rapid.T, s *space) {
	a := &s.author
	if cause := s.expired(&a.handed); cause != "" {
		_, err := m.clients[authorIs.subject].Pull(t.Context(), s.name, harness.Pull{Cursor: a.cursor})
		m.wantExpired(t, s, &a.handed, err)
		transcript()(line{Author: s.name, Cursor: a.cursor, Expired: cause})
		a.handed = handed{}
	}
	from := a.handed
	if from.cursor == "" {
		from.began = s.head
	}
	page, err := m.clients[authorIs.subject].Pull(t.Context(), s.name, harness.Pull{Cursor: from.cursor})
	if err != nil {
		t.Fatalf("the author pulls: %v", err)
	}
	transcript()(line{Author: s.name, Cursor: from.cursor, Page: &page})
	if from.cursor == "" {
		a.held = map[key]held{}
	}
	m.authorTakes(t, s, page, from)
}

// authorTakes takes in a page, after which the author holds exactly what is live.
func (m *machine) authorTakes(t *rapid.T, s *space, page harness.Page, from handed) {
	a := &s.author
	a.handed = m.take(t, s, page, from, authorLimit)
	for _, change := range page.Changes {
		a.hold(change)
	}
	for _, collection := range collections {
		for _, id := range ids {
			at := key{collection, id}
			doc, mine := s.docs[at], a.held[at]
			if live := doc != nil && doc.live; live != (mine.data != nil) || live && (mine.version != doc.version || !reflect.DeepEqual(mine.data, doc.value)) {
				t.Fatalf("the author holds %+v of %v, there is %+v", mine, at, doc)
			}
		}
	}
}

// hold takes the server's word for a document, if it is news.
func (a *author) hold(change harness.Change) {
	at := key{change.Collection, change.ID}
	if change.Version < a.held[at].version {
		return
	}
	now := held{version: change.Version}
	if !change.Deleted {
		now.data = parse(change.Data)
	}
	a.held[at] = now
}

// authorPushes pushes the whole queue. If busy, the answer may get lost, so that the same is
// sent again, and the app goes on while one is awaited.
func (m *machine) authorPushes(t *rapid.T, s *space, busy bool) {
	a := &s.author
	cursor, from := a.cursor, a.handed
	push := harness.Push{ClientID: authorIs.clientID, Cursor: &cursor}
	for _, edit := range a.queue {
		push.Edits = append(push.Edits, edit.Edit)
		if edit.BaseEditID != "" {
			m.met["author: on an own edit"]++
		}
	}
	said := line{Author: s.name, Cursor: cursor, Push: push.Edits, Shows: a.shows()}
	cause := s.expired(&from)
	if busy && cause == "" && draw(t, 4, "lost") == 0 {
		m.answered(t, s, authorIs, push, m.mustPush(t, s, push))
		lost := said
		lost.Lost, lost.During = true, m.deeds(t, s, draw(t, 3, "while lost"))
		transcript()(lost)
		m.met["author: answer lost"]++
		said.Shows = a.shows()
		if draw(t, 2, "others") == 0 {
			m.push(t)
		}
	}
	if busy {
		said.During = m.deeds(t, s, draw(t, 3, "during"))
	}
	if cause != "" {
		_, err := m.clients[authorIs.subject].Push(t.Context(), s.name, push)
		m.wantExpired(t, s, &from, err)
		said.Expired = cause
		transcript()(said)
		m.met["author: cursor expired"]++
		a.handed = handed{}
		m.authorPulls(t, s)
		return
	}
	answer := m.mustPush(t, s, push)
	said.Answer = &answer
	transcript()(said)
	m.answered(t, s, authorIs, push, answer)
	for _, result := range answer.Results {
		m.authorHears(t, a, result)
	}
	m.authorTakes(t, s, answer.Page, from)
}

func (m *machine) mustPush(t *rapid.T, s *space, push harness.Push) harness.PushAnswer {
	answer, err := m.clients[authorIs.subject].Push(t.Context(), s.name, push)
	if err != nil {
		t.Fatalf("the author pushes %s: %v", show(push), err)
	}
	return answer
}

// authorHears takes in what became of an edit.
func (m *machine) authorHears(t *rapid.T, a *author, result harness.Result) {
	i := slices.IndexFunc(a.queue, func(edit queued) bool { return edit.EditID == result.EditID })
	if i < 0 {
		return // it went with the one that it was made on
	}
	edit := a.queue[i]
	at := keyOf(edit.Edit)
	known, there := a.held[at]
	m.met["author: "+result.Status]++
	switch {
	case result.Status == "rejected":
		t.Fatalf("the author has sent what is wrong in itself: %s", show(edit.Edit))
	case result.Current != nil:
		a.hold(*result.Current)
	case result.Status == "applied":
		if there && result.Version >= known.version || !there && result.Version > 0 {
			a.held[at] = held{result.Version, replay(known.data, []queued{edit})}
		}
	case result.Status == "conflict" && there && edit.BaseVersion != nil && known.version == *edit.BaseVersion:
		delete(a.held, at) // the server has none
	}
	if result.Status != "applied" {
		a.fail(edit, result.Status)
		return
	}
	a.queue = slices.Delete(a.queue, i, i+1)
	a.settled[edit.EditID] = "applied"
	// The next one has a version to name now. Not after a merge: that holds what its maker had not seen.
	for i := range a.queue {
		if next := &a.queue[i]; next.BaseEditID == edit.EditID && result.Merged {
			m.met["author: on a merged edit"]++
		} else if next.BaseEditID == edit.EditID {
			next.BaseEditID, next.BaseVersion = "", harness.At(result.Version)
		}
	}
}

// fail makes a problem of an edit and of what was made on it.
func (a *author) fail(edit queued, status string) {
	failed := []queued{edit}
	a.settled[edit.EditID] = status
	for _, later := range a.queue {
		if slices.ContainsFunc(failed, func(f queued) bool { return f.EditID == later.BaseEditID }) {
			failed = append(failed, later)
			a.settled[later.EditID] = "skipped"
		}
	}
	a.queue = slices.DeleteFunc(a.queue, func(e queued) bool {
		return slices.ContainsFunc(failed, func(f queued) bool { return f.EditID == e.EditID })
	})
	a.problems = append(a.problems, failed)
}
