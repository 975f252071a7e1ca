package model_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/tests/harness"
)

// TestModel is the machine. A failure is made small by rapid, printed as the
// list of its actions, and kept in testdata/rapid, from where -rapid.failfile
// repeats it. Its size is for every run of the tests or for a soak, unless
// -rapid.checks and -rapid.steps say otherwise.
func TestModel(t *testing.T) {
	seed := harness.Seed(t)
	sizes := map[string]string{
		"rapid.seed":   strconv.FormatUint(seed, 10),
		"rapid.checks": harness.Size("50", "10000"), // per store
		"rapid.steps":  harness.Size("50", "200"),
	}
	flag.Visit(func(given *flag.Flag) { delete(sizes, given.Name) })
	for name, value := range sizes {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, harness.Options{Store: store, Secret: harness.Secret})
		rapid.Check(t, func(r *rapid.T) {
			m := newMachine(r, server)
			r.Repeat(map[string]func(*rapid.T){
				"push":      m.push,
				"pushMore":  m.push, // twice, because everything else lives on it
				"retry":     m.retry,
				"regroup":   m.regroup,
				"pull":      m.pull,
				"pullMore":  m.pull,
				"snapshot":  m.snapshot,
				"follow":    m.follow,
				"misuse":    m.misuseCursor,
				"documents": m.readDocument,
				"heads":     m.heads,
				"restart":   m.restart,
			})
			m.followToTheEnd()
		})
	})
}

// worlds numbers the spaces, so that each check has its own in one database.
var worlds atomic.Int64

var (
	writers     = []writer{{"alice", "c1"}, {"alice", "c2"}, {"bob", "c1"}}
	collections = []string{"todos", "notes"}
	ids         = []string{"d1", "d2", "d3"}
	filters     = [][]string{nil, nil, {"todos"}, {"notes", "todos"}}
	values      = []string{`0`, `1`, `"x"`, `true`, `[1,2]`, `{"n":1}`, `{"n":2,"m":{"k":3}}`, `1.0`, `"ü \u0041"`}
	fieldNames  = []string{"a", "b", "c"}
)

// machine drives one server and its oracles, one per space.
type machine struct {
	t       *rapid.T
	server  *harness.Server
	clients map[string]*harness.Client // by subject
	spaces  []*space
	edits   int // gives out edit_ids
}

type space struct {
	*oracle
	name    string
	pushes  []sent
	cursors []handed
	history map[key][]int64 // versions a document has had
	// follower is a client that pulls now and then and keeps what it is shown.
	follower struct {
		cursor string
		docs   map[key]harness.Change
	}
	seenAt map[int64]time.Time // updated_at of a version, once seen
}

// sent is a push as it was sent.
type sent struct {
	by   writer
	push harness.Push
}

// handed is a cursor and what the server meant by it.
type handed struct {
	cursor string
	position
	collections []string
	more        bool
}

func newMachine(t *rapid.T, server *harness.Server) *machine {
	world := worlds.Add(1)
	m := &machine{t: t, server: server, clients: map[string]*harness.Client{}}
	for _, name := range []string{fmt.Sprintf("w%d-a", world), fmt.Sprintf("w%d-b", world)} {
		s := &space{oracle: newOracle(), name: name, history: map[key][]int64{}, seenAt: map[int64]time.Time{}}
		s.follower.docs = map[key]harness.Change{}
		m.spaces = append(m.spaces, s)
	}
	for _, by := range writers {
		if m.clients[by.subject] != nil {
			continue
		}
		rights := harness.Claims{m.spaces[0].name: "rw", m.spaces[1].name: "rw"}
		client := harness.NewClient(server.URL, harness.Token(harness.Claims{"sub": by.subject, "spaces": rights}))
		t.Cleanup(client.HTTP.CloseIdleConnections)
		m.clients[by.subject] = client
	}
	return m
}

func (m *machine) reader() *harness.Client { return m.clients["bob"] }

func (m *machine) space(t *rapid.T) *space {
	// The second space is there to catch what leaks between spaces; most happens in the first.
	if rapid.IntRange(0, 4).Draw(t, "space") == 4 {
		return m.spaces[1]
	}
	return m.spaces[0]
}

// push sends new edits.
func (m *machine) push(t *rapid.T) {
	s := m.space(t)
	by := rapid.SampledFrom(writers).Draw(t, "writer")
	push := harness.Push{ClientID: by.clientID, Atomic: rapid.IntRange(0, 3).Draw(t, "atomic") == 0}
	count := rapid.SampledFrom([]int{1, 1, 1, 2, 2, 3, 5}).Draw(t, "edits")
	for range count {
		push.Edits = append(push.Edits, m.edit(t, s, by, push.Edits))
	}
	m.send(t, s, by, push, m.cursorToSend(t, s))
}

// cursorToSend is now and then one of the cursors, for a pull in the same round trip.
func (m *machine) cursorToSend(t *rapid.T, s *space) *handed {
	if len(s.cursors) == 0 || rapid.IntRange(0, 3).Draw(t, "with cursor") > 0 {
		return nil
	}
	from := rapid.SampledFrom(s.cursors).Draw(t, "cursor")
	return &from
}

// edit makes an edit of some document, made on some base. before are the edits
// that come before it in the same push.
func (m *machine) edit(t *rapid.T, s *space, by writer, before []harness.Edit) harness.Edit {
	m.edits++
	edit := harness.Edit{
		EditID:     fmt.Sprintf("e%d", m.edits),
		Op:         rapid.SampledFrom([]string{"put", "put", "patch", "patch", "patch", "delete"}).Draw(t, "op"),
		Collection: rapid.SampledFrom(collections).Draw(t, "collection"),
		ID:         rapid.SampledFrom(ids).Draw(t, "id"),
	}
	switch edit.Op {
	case "put":
		edit.Data = object(t, append([]string{`null`}, values...))
	case "patch":
		edit.Data = object(t, append([]string{`null`, `null`, `{"n":null}`}, values...))
	}
	m.chooseBase(t, s, by, &edit, before)
	if old := s.receipts[by]; len(old) > 0 && rapid.IntRange(0, 39).Draw(t, "reuse") == 0 {
		reused := rapid.SampledFrom(old).Draw(t, "of").editID
		// Nothing else of the push may speak of it: which of the two edits would be meant?
		if !slices.ContainsFunc(before, func(e harness.Edit) bool { return e.EditID == reused || e.BaseEditID == reused }) {
			edit.EditID = reused
		}
	}
	return edit
}

func object(t *rapid.T, values []string) []byte {
	text := "{"
	for _, name := range fieldNames {
		if rapid.Bool().Draw(t, name) {
			if text != "{" {
				text += ", "
			}
			text += strconv.Quote(name) + ":" + rapid.SampledFrom(values).Draw(t, "value")
		}
	}
	return []byte(text + "}")
}

func (m *machine) chooseBase(t *rapid.T, s *space, by writer, edit *harness.Edit, before []harness.Edit) {
	at := keyOf(*edit)
	own := func(r receipt) bool {
		return r.key == at && !slices.ContainsFunc(before, func(e harness.Edit) bool { return e.EditID == r.editID })
	}
	switch kind := rapid.IntRange(0, 19).Draw(t, "base"); kind {
	case 0, 1:
		edit.BaseVersion = harness.At(0)
	case 2, 3, 4:
		edit.BaseVersion = harness.At(pick(t, s.history[at], 0))
	case 5:
		if edit.Op == "delete" { // of nothing it changes nothing, whatever its base
			edit.BaseVersion = harness.At(0)
		} else {
			edit.BaseVersion = harness.At(s.head + 1_000_000_000)
		}
	case 6, 7, 8:
		edit.BaseEditID = pick(t, filter(s.receipts[by], own), receipt{editID: "never-sent"}).editID
	case 9, 10:
		here := filter(before, func(e harness.Edit) bool { return keyOf(e) == at && m.isNew(s, by, e) })
		edit.BaseEditID = pick(t, here, harness.Edit{EditID: "never-sent"}).EditID
	case 11:
		other := filter(s.receipts[by], func(r receipt) bool {
			return r.key != at && !slices.ContainsFunc(before, func(e harness.Edit) bool { return e.EditID == r.editID })
		})
		edit.BaseEditID = pick(t, other, receipt{editID: "never-sent"}).editID
	case 12, 13:
		edit.Force = true
	case 14:
		if rapid.Bool().Draw(t, "two bases") {
			edit.Force, edit.BaseVersion = true, harness.At(0)
		}
	default:
		edit.BaseVersion = harness.At(0)
		if doc := s.docs[at]; doc != nil {
			edit.BaseVersion = harness.At(doc.version)
		}
	}
}

// isNew reports whether the edit_id was not applied before: a reused one names two edits.
func (m *machine) isNew(s *space, by writer, e harness.Edit) bool {
	_, known := s.receiptOf(by, e.EditID)
	return !known
}

func filter[T any](all []T, keep func(T) bool) (kept []T) {
	for _, one := range all {
		if keep(one) {
			kept = append(kept, one)
		}
	}
	return kept
}

func pick[T any](t *rapid.T, all []T, otherwise T) T {
	if len(all) == 0 {
		return otherwise
	}
	return all[rapid.IntRange(0, len(all)-1).Draw(t, "which")]
}

// retry sends an earlier push again, whole.
func (m *machine) retry(t *rapid.T) {
	s := m.space(t)
	if len(s.pushes) == 0 {
		t.Skip("nothing was pushed")
	}
	again := rapid.SampledFrom(s.pushes).Draw(t, "push")
	m.send(t, s, again.by, again.push, m.cursorToSend(t, s))
}

// regroup sends the edits of one or two earlier pushes again, cut into other pushes.
func (m *machine) regroup(t *rapid.T) {
	s := m.space(t)
	if len(s.pushes) == 0 {
		t.Skip("nothing was pushed")
	}
	first := rapid.SampledFrom(s.pushes).Draw(t, "first")
	edits := slices.Clone(first.push.Edits)
	second := rapid.SampledFrom(s.pushes).Draw(t, "second")
	if second.by == first.by {
		for _, edit := range second.push.Edits {
			if !slices.ContainsFunc(edits, func(e harness.Edit) bool { return e.EditID == edit.EditID }) {
				edits = append(edits, edit)
			}
		}
	}
	if ambiguous(edits) {
		t.Skip("an edit_id stands for two edits")
	}
	cut := rapid.IntRange(0, len(edits)-1).Draw(t, "cut")
	for _, part := range [][]harness.Edit{edits[:cut], edits[cut:]} {
		if len(part) > 0 {
			m.send(t, s, first.by, harness.Push{ClientID: first.by.clientID, Edits: part}, nil)
		}
	}
}

// ambiguous reports whether an edit is based on one that comes after it in the
// same push. Such a push cannot come from a client that queues.
func ambiguous(edits []harness.Edit) bool {
	for i, edit := range edits {
		if slices.ContainsFunc(edits[i+1:], func(later harness.Edit) bool { return later.EditID == edit.BaseEditID }) {
			return true
		}
	}
	return false
}

// send sends a push and holds the answer against the oracle.
func (m *machine) send(t *rapid.T, s *space, by writer, push harness.Push, from *handed) {
	limit := rapid.IntRange(1, 7).Draw(t, "limit")
	if from != nil {
		push.Cursor, push.Collections, push.Limit = &from.cursor, from.collections, limit
	} else {
		push.Cursor, push.Collections, push.Limit = nil, nil, 0
	}
	s.pushes = append(s.pushes, sent{by, push})
	answer, err := m.clients[by.subject].Push(t.Context(), s.name, push)
	if err != nil {
		t.Fatalf("push %s: %v", show(push), err)
	}
	head := s.head
	candidate := max(answer.Version, head+1)
	fates, changed := s.oracle.push(by, push, candidate)
	if changed && answer.Version <= head || !changed && answer.Version != head {
		t.Fatalf("push %s: version %d after %d, changed: %v", show(push), answer.Version, head, changed)
	}
	if answer.Version >= 1<<53 {
		t.Fatalf("version %d is not below 2^53", answer.Version)
	}
	if len(answer.Results) != len(fates) {
		t.Fatalf("push %s: %d results for %d edits", show(push), len(answer.Results), len(fates))
	}
	for i, want := range fates {
		if err := want.equals(keyOf(push.Edits[i]), answer.Results[i]); err != nil {
			t.Fatalf("push %s by %s: %v", show(push), by.subject, err)
		}
	}
	if changed {
		for at, doc := range s.docs {
			if doc.version == s.head {
				s.history[at] = append(s.history[at], s.head)
			}
		}
	}
	if from == nil {
		if answer.Changes != nil || answer.Cursor != "" || answer.HasMore {
			t.Fatalf("push %s without a cursor was answered with a page: %s", show(push), show(answer))
		}
		return
	}
	m.take(t, s, answer.Page, *from, limit)
}

// pull continues from any cursor ever handed out, with a preference for new ones.
func (m *machine) pull(t *rapid.T) {
	s := m.space(t)
	if len(s.cursors) == 0 {
		m.snapshot(t)
		return
	}
	back := rapid.IntRange(0, len(s.cursors)-1).Draw(t, "back")
	if rapid.Bool().Draw(t, "newest") {
		back = min(back, 2)
	}
	from := s.cursors[len(s.cursors)-1-back]
	limit := rapid.IntRange(1, 7).Draw(t, "limit")
	pull := harness.Pull{Cursor: from.cursor, Collections: from.collections, Limit: limit}
	if rapid.IntRange(0, 3).Draw(t, "min_version") == 0 {
		pull.MinVersion = s.head
	}
	page := m.mustPull(t, s, pull)
	next := m.take(t, s, page, from, limit)
	if len(page.Changes) == 0 && !from.more && from.at == next.at && page.Cursor != from.cursor {
		t.Fatalf("nothing is new, but the cursor went from %q to %q", from.cursor, page.Cursor)
	}
}

// snapshot starts without a cursor; pull goes on with its pages later, with
// whatever happens in between.
func (m *machine) snapshot(t *rapid.T) {
	s := m.space(t)
	from := handed{collections: rapid.SampledFrom(filters).Draw(t, "filter"), position: position{began: s.head}}
	limit := rapid.IntRange(1, 7).Draw(t, "limit")
	page := m.mustPull(t, s, harness.Pull{Collections: from.collections, Limit: limit})
	m.take(t, s, page, from, limit)
}

func (m *machine) mustPull(t *rapid.T, s *space, pull harness.Pull) harness.Page {
	page, err := m.reader().Pull(t.Context(), s.name, pull)
	if err != nil {
		t.Fatalf("pull %s: %v", show(pull), err)
	}
	return page
}

// take holds a page against the oracle and keeps its cursor.
func (m *machine) take(t *rapid.T, s *space, page harness.Page, from handed, limit int) handed {
	at, err := s.page(page, from.position, from.collections, limit)
	if err != nil {
		t.Fatalf("page after %+v: %v\n%s", from, err, show(page))
	}
	for _, change := range page.Changes {
		if seen, ok := s.seenAt[change.Version]; ok && !seen.Equal(change.UpdatedAt) {
			t.Fatalf("version %d has updated_at %v and %v", change.Version, seen, change.UpdatedAt)
		}
		s.seenAt[change.Version] = change.UpdatedAt
	}
	next := handed{cursor: page.Cursor, position: at, collections: from.collections, more: page.HasMore}
	s.cursors = append(s.cursors, next)
	return next
}

// follow lets the follower pull one page.
func (m *machine) follow(t *rapid.T) {
	m.followOnce(t, m.space(t), rapid.IntRange(1, 7).Draw(t, "limit"))
}

func (m *machine) followToTheEnd() {
	for _, s := range m.spaces {
		for m.followOnce(m.t, s, 7) {
		}
	}
}

// followOnce reports whether there is more. Where there is not, the follower
// must hold exactly what is live.
func (m *machine) followOnce(t *rapid.T, s *space, limit int) (more bool) {
	page := m.mustPull(t, s, harness.Pull{Cursor: s.follower.cursor, Limit: limit})
	for _, change := range page.Changes {
		at := key{change.Collection, change.ID}
		if s.follower.docs[at].Version > change.Version {
			t.Fatalf("%v went back from version %d to %d", at, s.follower.docs[at].Version, change.Version)
		}
		if change.Deleted {
			delete(s.follower.docs, at)
		} else {
			s.follower.docs[at] = change
		}
	}
	s.follower.cursor = page.Cursor
	if page.HasMore {
		return true
	}
	live := maps.Clone(s.docs)
	maps.DeleteFunc(live, func(_ key, doc *document) bool { return !doc.live })
	if len(live) != len(s.follower.docs) {
		t.Fatalf("a follower at the head holds %d documents, there are %d", len(s.follower.docs), len(live))
	}
	for at, doc := range live {
		if err := doc.equals(at, s.follower.docs[at]); err != nil {
			t.Fatalf("a follower at the head: %v", err)
		}
	}
	return false
}

// misuseCursor uses a cursor where it does not belong: it must be refused, for
// a page from it would have gaps.
func (m *machine) misuseCursor(t *rapid.T) {
	s := m.space(t)
	if len(s.cursors) == 0 {
		t.Skip("no cursor yet")
	}
	c := rapid.SampledFrom(s.cursors).Draw(t, "cursor")
	pull := harness.Pull{Cursor: c.cursor, Collections: c.collections, Limit: 7}
	in, status, code, cause := s, http.StatusBadRequest, "invalid_cursor", ""
	switch rapid.IntRange(0, 3).Draw(t, "misuse") {
	case 0:
		for _, other := range m.spaces {
			if other != s {
				in = other
			}
		}
	case 1:
		damaged := []byte(c.cursor)
		damaged[rapid.IntRange(0, len(damaged)-1).Draw(t, "at")] ^= 1
		pull.Cursor = string(damaged)
	case 2:
		pull.Collections = []string{"elsewhere"}
		status, code, cause = http.StatusGone, "cursor_expired", "filter"
	case 3:
		pull.MinVersion = s.head + 1
		status, code, cause = http.StatusGone, "cursor_expired", "epoch"
	}
	_, err := m.reader().Pull(t.Context(), in.name, pull)
	m.wantProblem(t, err, status, code, cause)
	if cause == "filter" { // and a push with it does nothing
		m.edits++
		edit := harness.Edit{EditID: fmt.Sprintf("e%d", m.edits), Op: "put", Collection: "todos", ID: "d1", Force: true, Data: []byte(`{}`)}
		_, err := m.clients["alice"].Push(t.Context(), s.name, harness.Push{
			ClientID: "c1", Edits: []harness.Edit{edit}, Cursor: &c.cursor, Collections: pull.Collections,
		})
		m.wantProblem(t, err, status, code, cause)
	}
}

func (m *machine) wantProblem(t *rapid.T, err error, status int, code, cause string) {
	var problem *harness.Problem
	if !errors.As(err, &problem) || problem.HTTPStatus != status || problem.Code != code || problem.Cause != cause {
		t.Fatalf("answered with %v, want %d %s %s", err, status, code, cause)
	}
}

// readDocument reads one document by itself.
func (m *machine) readDocument(t *rapid.T) {
	s := m.space(t)
	at := key{rapid.SampledFrom(collections).Draw(t, "collection"), rapid.SampledFrom(ids).Draw(t, "id")}
	answer, err := m.reader().Do(t.Context(), http.MethodGet, "/v1/spaces/"+s.name+"/documents/"+at.collection+"/"+at.id, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	doc := s.docs[at]
	if doc == nil || !doc.live {
		if problem := answer.Problem(); answer.Status != http.StatusNotFound || problem.Code != "document_not_found" {
			t.Fatalf("GET %v, which is not live: %v", at, problem)
		}
		return
	}
	var change harness.Change
	if err := answer.Decode(&change); err != nil {
		t.Fatalf("GET %v: %v", at, err)
	}
	if err := doc.equals(at, change); err != nil {
		t.Fatalf("GET: %v", err)
	}
	if etag := answer.Header.Get("ETag"); etag != strconv.Quote(strconv.FormatInt(doc.version, 10)) {
		t.Fatalf("GET %v: ETag %s, want version %d", at, etag, doc.version)
	}
}

func (m *machine) heads(t *rapid.T) {
	answer, err := m.reader().Do(t.Context(), http.MethodGet, "/v1/heads?space="+m.spaces[0].name+"&space="+m.spaces[1].name, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		Heads []struct {
			Space   string
			Version int64
		}
	}
	if err := answer.Decode(&body); err != nil {
		t.Fatalf("heads: %v", err)
	}
	heads := map[string]int64{}
	for _, head := range body.Heads {
		heads[head.Space] = head.Version
	}
	for _, s := range m.spaces {
		if head, ok := heads[s.name]; !ok || head != s.head {
			t.Fatalf("heads: %s is at %d, want %d", s.name, head, s.head)
		}
	}
}

// restart ends the server, mostly without warning, and starts it on the same
// data. It takes as long as a hundred other steps, so it is done seldom.
func (m *machine) restart(t *rapid.T) {
	switch rapid.IntRange(0, 15).Draw(t, "restart") {
	case 0:
		m.server.Kill()
	case 1:
		m.server.Stop()
	default:
		m.pull(t)
		return
	}
	m.server.Restart()
}
