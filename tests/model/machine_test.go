package model_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
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
	t.Parallel()
	seed := harness.Seed(t)
	sizes := map[string]string{
		"rapid.seed":   strconv.FormatUint(seed, 10),
		"rapid.checks": harness.Size("50", "10000"), // per store
		"rapid.steps":  harness.Size("50", "200"),   // on average
	}
	flag.Visit(func(given *flag.Flag) { delete(sizes, given.Name) })
	for name, value := range sizes {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	harness.Each(t, func(t *testing.T, store harness.Store) {
		figures := harness.Count(t, "T1", seed)
		server := harness.Start(t, harness.Options{Store: store, Secret: harness.Secret, Nodes: 2})
		backup := newBackup(store, filepath.Join(t.TempDir(), "backup.db"))
		met := tally{}
		t.Cleanup(func() { figures.Add(met.figures()) })
		rapid.Check(t, func(r *rapid.T) {
			m := newMachine(r, server, backup, met)
			r.Repeat(map[string]func(*rapid.T){"step": m.step})
			m.followToTheEnd()
			for _, s := range m.spaces {
				m.synchronize(r, s)
			}
		})
		met.check(t)
	})
}

// tally counts what the machine has met. A machine that never makes, say, a
// merged patch proves nothing about merged patches, so that is a failure too.
type tally map[string]int

var mustMeet = []string{
	"applied", "conflict", "rejected", "skipped", "merged", "replayed", "replayed merged",
	"conflict of fields", "conflict with a tombstone", "conflict with nothing", "loose base", "blocked",
	"changed nothing", "atomic taken back", "page of several versions", "page with more", "tombstone shown", "tombstone hidden",
	"author: applied", "author: conflict", "author: on an own edit", "author: answer lost", "author: keepMine",
	"hung up", "restarted", "restored", "purged", "space deleted", "cursor expired by epoch",
}

// mustMeetAtLength is what a short run may be without.
var mustMeetAtLength = []string{"hung up and done", "cursor expired by retention", "cursor expired by deleted", "author: cursor expired", "author: on a merged edit"}

func (m tally) push(push harness.Push, fates []fate, changed bool) {
	failed := false
	for i, f := range fates {
		m[f.Status]++
		failed = failed || f.Status != "applied"
		for name, met := range map[string]bool{
			"merged":                    f.Merged && !f.Replayed,
			"replayed":                  f.Replayed,
			"replayed merged":           f.Replayed && f.Merged,
			"conflict of fields":        f.fields,
			"conflict with a tombstone": f.Status == "conflict" && f.current != nil && !f.current.live,
			"conflict with nothing":     f.Status == "conflict" && f.current == nil,
			"loose base":                f.Status == "applied" && f.receipt.merged && push.Edits[i].BaseEditID != "",
			"blocked":                   f.BlockedBy != "",
			"changed nothing":           f.Status == "applied" && !f.Replayed && !f.receipt.changed,
		} {
			if met {
				m[name]++
			}
		}
	}
	if failed && push.Atomic && len(fates) > 1 && !changed {
		m["atomic taken back"]++
	}
}

func (m tally) page(page harness.Page, hidden bool) {
	if page.HasMore {
		m["page with more"]++
	}
	if changes := page.Changes; len(changes) > 1 && changes[0].Version < changes[len(changes)-1].Version {
		m["page of several versions"]++
	}
	if slices.ContainsFunc(page.Changes, func(c harness.Change) bool { return c.Deleted }) {
		m["tombstone shown"]++
	}
	if hidden {
		m["tombstone hidden"]++
	}
}

// figures is what the machine has done.
func (m tally) figures() harness.Figures {
	return harness.Figures{
		Operations: int64(m["action"]), Kills: int64(m["killed"]),
		Faults: int64(m["hung up"] + m["restored"] + m["purged"] + m["space deleted"]),
	}
}

func (m tally) check(t *testing.T) {
	t.Logf("met %v", m)
	for _, name := range append(mustMeet, harness.Size(nil, mustMeetAtLength)...) {
		if m[name] == 0 && !t.Failed() {
			t.Errorf("the machine never met %q", name)
		}
	}
}

// worlds numbers the spaces, so that each check has its own in one database.
var worlds atomic.Int64

var (
	writers     = []writer{{"alice", "c1"}, {"alice", "c2"}, {"bob", "c1"}}
	collections = []string{"todos", "notes"}
	ids         = []string{"d1", "d2", "d3"}
	filters     = [][]string{nil, nil, {"todos"}, {"notes", "todos"}}
	values      = []string{`0`, `1`, `"x"`, `true`, `[1,2]`, `{"n":1}`, `{"n":2,"m":{"k":3}}`, `1.0`, `"ü \u0041"`}
	fieldNames  = []string{"a", "b", "c", "d"}
)

// machine drives one server and its oracles, one per space.
type machine struct {
	t       *rapid.T
	server  *harness.Server
	clients map[string]*harness.Client // by subject
	spaces  []*space
	edits   int // gives out edit_ids
	backup  backup
	kept    []*oracle // of each space, when it was taken; nil: it was not
	met     tally
}

type space struct {
	*oracle
	name    string
	pushes  []sent
	cursors []handed
	history map[key][]int64 // versions a document has had
	// follower is a client that pulls now and then and keeps what it is shown.
	follower struct {
		handed
		docs map[key]harness.Change
	}
	author author
	seenAt map[int64]time.Time // updated_at of a version, once seen
	ever   int64               // the newest version that was given out, in any history
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
	seen        int64 // the head that its page was read at
	lost        bool  // that head is of a history that was lost
}

// expired is the cause for which the cursor must be refused, "" if it must not.
func (s *space) expired(c *handed) string {
	from := max(c.at, c.began) // what was deleted before it began, a snapshot doesn't need
	switch {
	case c.cursor == "":
		return ""
	case from < s.deleted:
		return "deleted"
	case c.lost:
		return "epoch"
	case from < s.floor:
		return "retention"
	default:
		return ""
	}
}

// wantExpired expects that the cursor was refused, if it must be.
func (m *machine) wantExpired(t *rapid.T, s *space, from *handed, err error) (expired bool) {
	cause := s.expired(from)
	if cause == "" {
		return false
	}
	m.wantProblem(t, err, http.StatusGone, "cursor_expired", cause)
	m.met["cursor expired by "+cause]++
	return true
}

func newMachine(t *rapid.T, server *harness.Server, backup backup, met tally) *machine {
	world := worlds.Add(1)
	m := &machine{t: t, server: server, backup: backup, met: met, clients: map[string]*harness.Client{}}
	for _, name := range []string{fmt.Sprintf("w%d-a", world), fmt.Sprintf("w%d-b", world)} {
		s := &space{oracle: newOracle(), name: name, history: map[key][]int64{}, author: newAuthor(), seenAt: map[int64]time.Time{}}
		s.follower.docs = map[key]harness.Change{}
		m.spaces = append(m.spaces, s)
	}
	for _, subject := range []string{"alice", "bob", "carol"} {
		rights := harness.Claims{m.spaces[0].name: "rw", m.spaces[1].name: "rw"}
		client := server.LooseClient(harness.Token(harness.Claims{"sub": subject, "spaces": rights}))
		t.Cleanup(client.HTTP.CloseIdleConnections)
		m.clients[subject] = client
	}
	return m
}

// step does one of the actions. Pushes are most of them, because everything else
// lives on what they leave.
func (m *machine) step(t *rapid.T) {
	actions := []struct {
		name   string
		weight int
		do     func(*rapid.T)
	}{
		{"push", 10, m.push},
		{"pull", 6, m.pull},
		{"retry", 3, m.retry},
		{"follow", 3, m.follow},
		{"write", 3, m.write},
		{"snapshot", 2, m.snapshot},
		{"regroup", 2, m.regroup},
		{"misuse a cursor", 1, m.misuseCursor},
		{"read a document", 1, m.readDocument},
		{"heads", 1, m.heads},
		{"hang up", 1, m.hangUp},
		{"grant or revoke", 1, m.grant},
		{"restart", 1, m.restart},
	}
	total := 0
	for _, action := range actions {
		total += action.weight
	}
	at := draw(t, total, "action")
	for _, action := range actions {
		if at -= action.weight; at < 0 {
			t.Log(action.name)
			m.met["action"]++
			m.met[action.name]++
			action.do(t)
			return
		}
	}
}

func (m *machine) reader() *harness.Client { return m.clients["bob"] }

func (m *machine) space(t *rapid.T) *space {
	// The second space is there to catch what leaks between spaces; most happens in the first.
	if draw(t, 5, "space") == 4 {
		return m.spaces[1]
	}
	return m.spaces[0]
}

// push sends new edits.
func (m *machine) push(t *rapid.T) {
	s := m.space(t)
	by := sample(t, writers, "writer")
	m.send(t, s, by, m.newPush(t, s, by), m.cursorToSend(t, s))
}

// newPush makes a push of new edits.
func (m *machine) newPush(t *rapid.T, s *space, by writer) harness.Push {
	push := harness.Push{ClientID: by.clientID, Atomic: draw(t, 4, "atomic") == 0}
	count := sample(t, []int{1, 1, 1, 2, 2, 3, 5}, "edits")
	for range count {
		push.Edits = append(push.Edits, m.edit(t, s, by, push.Edits))
	}
	return push
}

// cursorToSend is now and then one of the cursors, for a pull in the same round trip.
func (m *machine) cursorToSend(t *rapid.T, s *space) *handed {
	if len(s.cursors) == 0 || draw(t, 4, "with cursor") > 0 {
		return nil
	}
	from := sample(t, s.cursors, "cursor")
	return &from
}

// edit makes an edit of some document, made on some base. before are the edits
// that come before it in the same push.
func (m *machine) edit(t *rapid.T, s *space, by writer, before []harness.Edit) harness.Edit {
	m.edits++
	edit := harness.Edit{
		EditID:     fmt.Sprintf("e%d", m.edits),
		Collection: sample(t, collections, "collection"),
		ID:         sample(t, ids, "id"),
	}
	// Mostly what makes sense, so that documents live long enough to be patched
	// by several clients, which is where the rules are.
	if doc := s.docs[keyOf(edit)]; doc != nil && doc.live {
		edit.Op = sample(t, []string{"patch", "patch", "patch", "patch", "patch", "patch", "put", "delete"}, "op")
	} else {
		edit.Op = sample(t, []string{"put", "put", "put", "put", "put", "put", "patch", "delete"}, "op")
	}
	switch edit.Op {
	case "put":
		edit.Data = object(t, 2, append([]string{`null`}, values...))
	case "patch":
		edit.Data = object(t, 3, append([]string{`null`, `null`, `{"n":null}`}, values...))
	}
	m.chooseBase(t, s, by, &edit, before)
	if old := s.receipts[by]; len(old) > 0 && draw(t, 40, "reuse") == 0 {
		reused := sample(t, old, "of").editID
		// Nothing else of the push may speak of it: which of the two edits would be meant?
		if !slices.ContainsFunc(before, func(e harness.Edit) bool { return e.EditID == reused || e.BaseEditID == reused }) {
			edit.EditID = reused
		}
	}
	return edit
}

// object makes an object with each of the fields once in so many times.
func object(t *rapid.T, once int, values []string) []byte {
	text := "{"
	for _, name := range fieldNames {
		if draw(t, once, name) == 0 {
			if text != "{" {
				text += ", "
			}
			text += strconv.Quote(name) + ":" + sample(t, values, "value")
		}
	}
	return []byte(text + "}")
}

// chooseBase gives the edit its base: mostly what its client may know, now and
// then what is old, unknown or wrong.
func (m *machine) chooseBase(t *rapid.T, s *space, by writer, edit *harness.Edit, before []harness.Edit) {
	at := keyOf(*edit)
	inThisPush := func(editID string) bool {
		return slices.ContainsFunc(before, func(e harness.Edit) bool { return e.EditID == editID })
	}
	edit.BaseVersion = harness.At(0)
	if doc := s.docs[at]; doc != nil {
		edit.BaseVersion = harness.At(doc.version)
	}
	onEdit := func(candidates []string) {
		if len(candidates) > 0 {
			edit.BaseVersion, edit.BaseEditID = nil, sample(t, candidates, "of")
		}
	}
	switch draw(t, 32, "base") {
	case 0, 1:
		edit.BaseVersion = harness.At(0)
	case 2, 3, 4, 5, 6:
		all := s.history[at]
		edit.BaseVersion = harness.At(pick(t, all[max(0, len(all)-4):], 0))
	case 7:
		if edit.Op != "delete" { // of nothing it changes nothing, whatever its base
			edit.BaseVersion = harness.At(s.head + 1_000_000_000)
		}
	case 8, 9, 10, 11, 12:
		onEdit(editIDs(s.receipts[by], func(r receipt) bool { return r.key == at && !inThisPush(r.editID) }))
	case 13:
		onEdit(editIDs(s.receipts[by], func(r receipt) bool { return r.key != at && !inThisPush(r.editID) }))
	case 14, 15, 16:
		var here []string
		for _, e := range before {
			if _, twice := s.receiptOf(by, e.EditID); keyOf(e) == at && !twice {
				here = append(here, e.EditID)
			}
		}
		onEdit(here)
	case 17:
		onEdit([]string{"never-sent"})
	case 18, 19:
		edit.BaseVersion, edit.Force = nil, true
	case 20:
		edit.BaseVersion = nil
	case 21:
		edit.Force = true
	}
}

func editIDs(receipts []receipt, keep func(receipt) bool) (ids []string) {
	for _, r := range receipts {
		if keep(r) {
			ids = append(ids, r.editID)
		}
	}
	return ids
}

// draw returns a number below n, each as likely as the other. rapid's own ranges
// prefer small numbers, which is right for finding edges of a function and wrong
// for choosing among actions: most of them would hardly ever happen.
func draw(t *rapid.T, n int, label string) int {
	return rapid.Custom(func(t *rapid.T) int {
		drawn := 0
		for range 12 {
			drawn <<= 1
			if rapid.Bool().Draw(t, "bit") {
				drawn++
			}
		}
		return drawn % n
	}).Draw(t, label)
}

func sample[T any](t *rapid.T, all []T, label string) T { return all[draw(t, len(all), label)] }

func pick[T any](t *rapid.T, all []T, otherwise T) T {
	if len(all) == 0 {
		return otherwise
	}
	return sample(t, all, "which")
}

// retry sends an earlier push again, whole.
func (m *machine) retry(t *rapid.T) {
	s := m.space(t)
	if len(s.pushes) == 0 {
		t.Skip("nothing was pushed")
	}
	again := sample(t, s.pushes, "push")
	m.send(t, s, again.by, again.push, m.cursorToSend(t, s))
}

// regroup sends the edits of one or two earlier pushes again, cut into other pushes.
func (m *machine) regroup(t *rapid.T) {
	s := m.space(t)
	if len(s.pushes) == 0 {
		t.Skip("nothing was pushed")
	}
	first := sample(t, s.pushes, "first")
	edits := slices.Clone(first.push.Edits)
	second := sample(t, s.pushes, "second")
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
	cut := draw(t, len(edits), "cut")
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
	limit := 1 + draw(t, 7, "limit")
	if from != nil {
		push.Cursor, push.Collections, push.Limit = &from.cursor, from.collections, limit
	} else {
		push.Cursor, push.Collections, push.Limit = nil, nil, 0
	}
	answer, err := m.clients[by.subject].Push(t.Context(), s.name, push)
	if from != nil && m.wantExpired(t, s, from, err) {
		return // and it did nothing
	}
	if err != nil {
		t.Fatalf("push %s: %v", show(push), err)
	}
	s.pushes = append(s.pushes, sent{by, push})
	m.answered(t, s, by, push, answer)
	if from == nil {
		if answer.Changes != nil || answer.Cursor != "" || answer.HasMore {
			t.Fatalf("push %s without a cursor was answered with a page: %s", show(push), show(answer))
		}
		return
	}
	m.take(t, s, answer.Page, *from, limit)
}

// answered holds the answer to a push against the oracle, and lets the oracle go on.
func (m *machine) answered(t *rapid.T, s *space, by writer, push harness.Push, answer harness.PushAnswer) {
	next := s.oracle.clone()
	if err := m.judge(s, next, by, push, answer); err != nil {
		t.Fatalf("push %s by %s: %v", show(push), by.subject, err)
	}
	s.advance(next)
}

// judge says whether a push that comes to next may be answered so, and takes it in there.
func (m *machine) judge(s *space, next *oracle, by writer, push harness.Push, answer harness.PushAnswer) error {
	head := next.head
	fates, changed := next.push(by, push, versionOf(answer, head))
	if changed && answer.Version <= s.ever || !changed && answer.Version != head {
		return fmt.Errorf("version %d after %d and %d, changed: %v", answer.Version, head, s.ever, changed)
	}
	if answer.Version >= 1<<53 {
		return fmt.Errorf("version %d is not below 2^53", answer.Version)
	}
	if len(answer.Results) != len(fates) {
		return fmt.Errorf("%d results for %d edits", len(answer.Results), len(fates))
	}
	for i, want := range fates {
		if err := want.equals(keyOf(push.Edits[i]), answer.Results[i]); err != nil {
			return err
		}
	}
	m.met.push(push, fates, changed)
	return nil
}

// versionOf is what the changes of a push got as their version, at a head. Of a push that
// changed nothing it isn't told; it is about the time then, and not just above the head
// of a space never written: a base between them is one that has been or one to come.
func versionOf(answer harness.PushAnswer, head int64) int64 {
	if answer.Version > head {
		return answer.Version
	}
	return max(head+1, time.Now().UnixMicro())
}

// advance takes what a push has come to.
func (s *space) advance(next *oracle) {
	changed := next.head != s.head
	s.oracle = next
	if !changed {
		return
	}
	s.ever = max(s.ever, s.head)
	for at, doc := range s.docs {
		if doc.version == s.head {
			s.history[at] = append(s.history[at], s.head)
		}
	}
}

// pull continues from any cursor ever handed out, with a preference for new ones.
func (m *machine) pull(t *rapid.T) {
	s := m.space(t)
	if len(s.cursors) == 0 {
		m.snapshot(t)
		return
	}
	back := draw(t, len(s.cursors), "back")
	if draw(t, 2, "newest") == 1 {
		back = min(back, 2)
	}
	from := s.cursors[len(s.cursors)-1-back]
	limit := 1 + draw(t, 7, "limit")
	pull := harness.Pull{Cursor: from.cursor, Collections: from.collections, Limit: limit}
	if draw(t, 4, "min_version") == 0 {
		pull.MinVersion = s.head
	}
	if s.expired(&from) != "" {
		_, err := m.reader().Pull(t.Context(), s.name, pull)
		m.wantExpired(t, s, &from, err)
		return
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
	from := handed{collections: sample(t, filters, "filter"), position: position{began: s.head}}
	limit := 1 + draw(t, 7, "limit")
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
	m.met.page(page, len(s.feed(position{at: from.at}, from.collections)) > len(s.feed(from.position, from.collections)))
	for _, change := range page.Changes {
		if seen, ok := s.seenAt[change.Version]; ok && !seen.Equal(change.UpdatedAt) {
			t.Fatalf("version %d has updated_at %v and %v", change.Version, seen, change.UpdatedAt)
		}
		s.seenAt[change.Version] = change.UpdatedAt
	}
	m.prove(t, s, page, from.collections)
	next := handed{cursor: page.Cursor, position: at, collections: from.collections, more: page.HasMore, seen: s.head}
	s.cursors = append(s.cursors, next)
	return next
}

// prove holds the digest of a page against the oracle's documents.
func (m *machine) prove(t *rapid.T, s *space, page harness.Page, collections []string) {
	digest, count := s.digest()
	if page.HasMore || len(collections) > 0 {
		digest, count = "", 0
	}
	if page.Digest != digest || page.Count != count {
		t.Fatalf("a page has digest %q and count %d, want %q and %d: %s", page.Digest, page.Count, digest, count, show(page))
	}
}

// follow lets the follower pull one page.
func (m *machine) follow(t *rapid.T) {
	m.followOnce(t, m.space(t), 1+draw(t, 7, "limit"))
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
	from := s.follower.handed
	if cause := s.expired(&from); cause != "" {
		_, err := m.reader().Pull(t.Context(), s.name, harness.Pull{Cursor: from.cursor, Limit: limit})
		m.wantExpired(t, s, &from, err)
		transcript()(line{Space: s.name, Cursor: from.cursor, Expired: cause})
		s.follower.handed, s.follower.docs = handed{}, map[key]harness.Change{}
		return true
	}
	if from.cursor == "" {
		from.began = s.head
	}
	page := m.mustPull(t, s, harness.Pull{Cursor: from.cursor, Limit: limit})
	at, err := s.page(page, from.position, nil, limit)
	if err != nil {
		t.Fatalf("a follower's page after %+v: %v\n%s", from, err, show(page))
	}
	transcript()(line{Space: s.name, Cursor: from.cursor, Page: &page})
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
	m.prove(t, s, page, nil)
	s.follower.handed = handed{cursor: page.Cursor, position: at, more: page.HasMore, seen: s.head}
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
	holds := slices.Collect(maps.Values(s.follower.docs))
	transcript()(line{Space: s.name, Holds: &holds})
	return false
}

// misuseCursor uses a cursor where it does not belong: it must be refused, for
// a page from it would have gaps.
func (m *machine) misuseCursor(t *rapid.T) {
	s := m.space(t)
	if len(s.cursors) == 0 {
		t.Skip("no cursor yet")
	}
	c := sample(t, s.cursors, "cursor")
	if s.expired(&c) != "" {
		t.Skip("it is no good anyway")
	}
	pull := harness.Pull{Cursor: c.cursor, Collections: c.collections, Limit: 7}
	in, status, code, cause := s, http.StatusBadRequest, "invalid_cursor", ""
	switch draw(t, 4, "misuse") {
	case 0:
		for _, other := range m.spaces {
			if other != s {
				in = other
			}
		}
	case 1:
		damaged := []byte(c.cursor)
		damaged[draw(t, len(damaged), "at")] ^= 1
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
	at := key{sample(t, collections, "collection"), sample(t, ids, "id")}
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
	path := "/v1/heads?space=" + m.spaces[0].name + "&space=" + m.spaces[1].name
	if known := max(m.spaces[0].head, m.spaces[1].head); draw(t, 2, "min_version") == 0 || m.server.Nodes() > 1 {
		path += fmt.Sprint("&min_version=", known) // another node may be behind
	}
	answer, err := m.reader().Do(t.Context(), http.MethodGet, path, nil, nil)
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
