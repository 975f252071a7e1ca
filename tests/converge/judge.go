package converge

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The collections of a history, each with a promise of its own.
const (
	Registers = "registers" // put, deleted and made again, by version or by force
	Forms     = "forms"     // patched by field
	Counters  = "counters"  // counted up, on the version seen
	Lists     = "lists"     // appended to, on the version seen
	Accounts  = "accounts"  // moved between, two at a time; their sum stays
)

// Verdict is what a history comes to.
type Verdict struct {
	Lost, Doubled, Diverged, Stuck, Gaps, ServerErrors int
	// Findings says for the first of them what and where.
	Findings []string
	// Met counts what happened, good or bad.
	Met map[string]int
}

// AppliedAndLost is what a verdict has met when an edit was applied at a version that
// the database says is lost.
const AppliedAndLost = "applied and lost"

// Bad is how much is wrong.
func (v *Verdict) Bad() int {
	return v.Lost + v.Doubled + v.Diverged + v.Stuck + v.Gaps + v.ServerErrors
}

const mostFindings = 30

func (v *Verdict) find(counter *int, format string, values ...any) {
	*counter++
	if len(v.Findings) < mostFindings {
		v.Findings = append(v.Findings, fmt.Sprintf(format, values...))
	}
}

// Judge reads a history and says what is wrong with it. It goes through it twice:
// first for all that is known of any document at any version, whoever was told,
// and then for what each client held.
func Judge(name string) (*Verdict, error) {
	return JudgeAfterLoss(name, nil)
}

// JudgeAfterLoss is Judge where the database lost a part of its history and says
// itself which versions that were: what was applied at one of them is only counted
// (AppliedAndLost), and the rest is held to everything else. Cursors may have been
// refused for it.
func JudgeAfterLoss(name string, lost func(version int64) bool) (*Verdict, error) {
	j := &judge{
		lost:    lost,
		Verdict: &Verdict{Met: map[string]int{}}, edits: map[string]*fate{}, docs: map[string]*document{},
		tokens: map[string]*token{}, clients: map[string]*view{}, patches: map[field][]*fate{},
	}
	if err := read(name, j.learn); err != nil {
		return nil, err
	}
	for _, doc := range j.docs {
		doc.versions = slices.DeleteFunc(slices.Sorted(maps.Keys(doc.at)), j.isLost)
	}
	j.checkEdits()
	if err := read(name, j.replay); err != nil {
		return nil, err
	}
	j.checkEnd()
	return j.Verdict, nil
}

type judge struct {
	*Verdict

	lost    func(version int64) bool // nil: nothing is
	order   []*fate                  // in the order they were sent
	edits   map[string]*fate
	patches map[field][]*fate // that were applied
	docs    map[string]*document
	tokens  map[string]*token
	clients map[string]*view
}

func (j *judge) isLost(version int64) bool { return j.lost != nil && j.lost(version) }

// fate is an edit and what became of it.
type fate struct {
	Edit
	client  string
	applied bool
	merged  bool
	version int64
	base    int64 // the version it was made on, as far as that is known
	shownAt int64
}

// field is one field of a form.
type field struct{ key, name string }

// token is what several edits may have tried and one may have done.
type token struct {
	key     string
	applied *fate // answered so, or found in a snapshot
	open    bool  // never answered and given up
}

// unsure reports whether its version is not known, or even whether it has one.
func (t *token) unsure() bool { return t.open || t.applied != nil && !t.applied.applied }

// document is all versions of a document that anybody was told of.
type document struct {
	at       map[int64]*content
	versions []int64
}

type content struct {
	deleted bool
	data    string
	by      string // the edit that made it, once somebody was shown it
}

func (j *judge) document(key string) *document {
	doc := j.docs[key]
	if doc == nil {
		doc = &document{at: map[int64]*content{}}
		j.docs[key] = doc
	}
	return doc
}

// newestAt is the newest known version up to limit, 0 if there is none.
func (d *document) newestAt(limit int64) int64 {
	i, exact := slices.BinarySearch(d.versions, limit)
	switch {
	case exact:
		return limit
	case i == 0:
		return 0
	default:
		return d.versions[i-1]
	}
}

// learn takes in what an event says of documents and edits.
func (j *judge) learn(e *Event) error {
	j.Met[string(e.Kind)]++
	switch e.Kind {
	case KindSend:
		f := &fate{Edit: *e.Edit, client: e.Client}
		j.order = append(j.order, f)
		j.edits[e.Client+"/"+e.Edit.ID] = f
		if j.tokens[f.Token] == nil {
			j.tokens[f.Token] = &token{key: f.Key}
		}
	case KindAnswer:
		j.answer(e)
	case KindOpen, KindFound:
		f := j.edits[e.Client+"/"+e.EditID]
		if f == nil {
			return fmt.Errorf("%s gives up %s, which it never sent", e.Client, e.EditID)
		}
		if t := j.tokens[f.Token]; e.Kind == KindOpen {
			t.open = true
		} else {
			t.applied = f
		}
	case KindPage:
		j.Met["page by "+e.Page.By]++
		for i := range e.Page.Docs {
			j.shown(&e.Page.Docs[i], e.Client)
		}
	case KindExpired:
		j.Met["expired "+e.Why]++
		if e.Why != "filter" && (j.lost == nil || e.Why != "epoch") {
			j.find(&j.Lost, "%s is told that its cursor is of no use (%s), though nothing was restored or purged", e.Client, e.Why)
		}
	case KindMismatch:
		if j.lost != nil {
			break // a loss may be found by the digest, too; checkHeld and checkEnd say whether it had to be
		}
		j.find(&j.Diverged, "%s holds something else than the digest says: %s", e.Client, e.Why)
	case KindError:
		j.find(&j.ServerErrors, "%s: %s", e.Client, e.Why)
	case KindStuck:
		j.find(&j.Stuck, "%s has not come to its end: %s", e.Client, e.Why)
	case KindRun, KindEnd:
	}
	return nil
}

// answer takes in the result of an edit.
func (j *judge) answer(e *Event) {
	r := e.Result
	f := j.edits[e.Client+"/"+r.ID]
	if f == nil {
		j.find(&j.Diverged, "%s is answered for %s, which it never sent", e.Client, r.ID)
		return
	}
	j.Met[r.Status]++
	if r.Replayed {
		j.Met["replayed"]++
	}
	if r.Merged {
		j.Met["merged"]++
	}
	if r.Shown != nil {
		j.shown(r.Shown, e.Client)
	}
	if e.Took != nil {
		j.shown(e.Took, e.Client)
	}
	switch {
	case r.Status == "applied" && j.isLost(r.Version):
		j.Met[AppliedAndLost]++
		j.tokens[f.Token].open = true // nobody will send it again; a retry may have made it
	case r.Status == "applied":
		j.applied(f, r)
	case f.applied:
		j.find(&j.Doubled, "%s/%s was applied at %d and is now %s: its receipt is lost", e.Client, r.ID, f.version, r.Status)
	}
}

func (j *judge) applied(f *fate, r *Result) {
	if f.applied && f.version != r.Version {
		j.find(&j.Doubled, "%s/%s is applied at %d and at %d", f.client, f.ID, f.version, r.Version)
	}
	f.applied, f.version, f.merged = true, r.Version, r.Merged
	t := j.tokens[f.Token]
	if t.applied != nil && t.applied != f {
		j.find(&j.Doubled, "%s took effect as %s and as %s", f.Token, t.applied.ID, f.ID)
	}
	t.applied = f
	switch {
	case f.Base != nil:
		f.base = *f.Base
	case f.On != "":
		on := j.edits[f.client+"/"+f.On]
		switch {
		case on == nil || !on.applied:
			f.base = r.Version // nobody was told where that edit stands: no check
		case on.merged || on.Force:
			f.base = on.base
		default:
			f.base = on.version
		}
	}
	// A delete of what is gone and a patch that alters nothing change nothing: their
	// version is another's.
	if f.Op != "delete" && r.Version > 0 {
		doc := j.document(f.Key)
		if doc.at[r.Version] == nil {
			doc.at[r.Version] = &content{}
		}
	}
}

// shown takes in a document as somebody was shown it.
func (j *judge) shown(d *Doc, client string) {
	doc := j.document(d.Key)
	known := doc.at[d.Version]
	if known == nil {
		known = &content{}
		doc.at[d.Version] = known
	}
	known.deleted = known.deleted || d.Deleted
	switch {
	case d.Deleted && known.data != "":
		j.find(&j.Diverged, "%s at %d is a document and a tombstone", d.Key, d.Version)
	case d.Data != "" && known.data != "" && d.Data != known.data:
		j.find(&j.Diverged, "%s at %d is %s, and to %s %s", d.Key, d.Version, known.data, client, d.Data)
	case d.Data != "":
		known.data = d.Data
	}
	if d.By == "" {
		return
	}
	if known.by != "" && known.by != d.By {
		j.find(&j.Diverged, "%s at %d is of %s and of %s", d.Key, d.Version, known.by, d.By)
	}
	known.by = d.By
	made := j.edits[d.By]
	if made == nil {
		if !strings.HasPrefix(d.By, "setup/") {
			j.find(&j.Diverged, "%s at %d is of %s, which nobody sent", d.Key, d.Version, d.By)
		}
		return
	}
	if made.Key != d.Key {
		j.find(&j.Diverged, "%s at %d is of %s, which is an edit of %s", d.Key, d.Version, d.By, made.Key)
	}
	if made.Op == "put" && d.Data != "" && d.Data != made.Data {
		j.find(&j.Diverged, "%s at %d is %s, but %s put %s", d.Key, d.Version, d.Data, d.By, made.Data)
	}
	if j.isLost(d.Version) {
		return
	}
	if made.shownAt != 0 && made.shownAt != d.Version {
		j.find(&j.Doubled, "%s took effect at %d and at %d", d.By, made.shownAt, d.Version)
	}
	made.shownAt = d.Version
}

// checkEdits holds every edit that was applied against all versions of its document.
func (j *judge) checkEdits() {
	for _, f := range j.order {
		if f.applied && f.Op == "patch" {
			at := field{f.Key, fieldOf(f.Data)}
			j.patches[at] = append(j.patches[at], f)
		}
	}
	for _, f := range j.order {
		if !f.applied || f.version == 0 {
			continue
		}
		j.checkPlace(f)
		switch {
		case f.Force:
		case f.Op == "put":
			if between := j.document(f.Key).newestAt(f.version - 1); between > f.base {
				j.find(&j.Lost, "%s/%s was made on %s at %d and applied at %d, over %d", f.client, f.ID, f.Key, f.base, f.version, between)
			}
		case f.Op == "patch":
			j.checkPatch(f)
		}
	}
}

// checkPlace: what is there at the edit's version is the edit's, or that of a later
// edit of the same push, which has the same version.
func (j *judge) checkPlace(f *fate) {
	there := j.document(f.Key).at[f.version]
	if f.Op != "put" || there == nil || there.by == "" || there.by == f.client+"/"+f.ID {
		return
	}
	if over := j.edits[there.by]; over == nil || over.client != f.client || over.version != f.version {
		j.find(&j.Lost, "%s/%s was applied to %s at %d, but that is of %s", f.client, f.ID, f.Key, f.version, there.by)
	}
}

// checkPatch: nobody else has patched the same field between the base and the patch.
func (j *judge) checkPatch(f *fate) {
	for _, other := range j.patches[field{f.Key, fieldOf(f.Data)}] {
		if other.client != f.client && other.version > f.base && other.version < f.version {
			j.find(&j.Lost, "%s/%s was made on %s at %d and applied at %d, over %s/%s of the same field at %d",
				f.client, f.ID, f.Key, f.base, f.version, other.client, other.ID, other.version)
		}
	}
}

// fieldOf is the only field of a patch.
func fieldOf(patch string) string {
	var fields map[string]string
	if json.Unmarshal([]byte(patch), &fields) != nil || len(fields) != 1 {
		return ""
	}
	for name := range fields {
		return name
	}
	return ""
}

func live(docs map[string]Doc) map[string]Doc {
	all := maps.Clone(docs)
	maps.DeleteFunc(all, func(_ string, d Doc) bool { return d.Deleted })
	return all
}
