package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"
)

// trial is one check under way. Its methods end it when the deployment doesn't do what
// they ask for.
type trial struct {
	ctx    context.Context //nolint:containedctx // a trial lasts as long
	client *client
	space  string
	edits  int
	// acknowledged is the newest version that a write was answered with. Pulls name it: of
	// several nodes another one may not have heard of it.
	acknowledged int64
}

// failure ends a trial.
type failure string

func (t *trial) failf(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

// same fails unless what is found is what is wanted.
func (t *trial) same(what string, got, want any) {
	if !reflect.DeepEqual(got, want) {
		t.failf("%s: got %v, want %v", what, got, want)
	}
}

func (t *trial) is(holds bool, format string, args ...any) {
	if !holds {
		t.failf(format, args...)
	}
}

func (t *trial) ask(method, path, body string, headers ...string) answer {
	a, err := t.client.do(t.ctx, method, path, body, headers...)
	if err != nil {
		t.failf("%s %s: %v", method, path, err)
	}
	// That of a document is its version.
	if version, err := strconv.ParseInt(strings.Trim(a.header.Get("ETag"), `"`), 10, 64); err == nil {
		t.acknowledged = max(t.acknowledged, version)
	}
	return a
}

// want fails unless an answer has a status.
func (t *trial) want(a answer, status int) answer {
	if a.status != status {
		t.failf("%s: status %d, want %d: %.200s", a.asked, a.status, status, a.body)
	}
	return a
}

// read takes the body of a good answer.
func (t *trial) read(a answer, into any) {
	t.want(a, http.StatusOK)
	t.parse(a, "application/json", into)
}

func (t *trial) parse(a answer, media string, into any) {
	if got, _, err := mime.ParseMediaType(a.header.Get("Content-Type")); err != nil || got != media {
		t.failf("%s: Content-Type %q, want %s", a.asked, a.header.Get("Content-Type"), media)
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		t.failf("%s: %v in %.200s", a.asked, err, a.body)
	}
}

// refused fails unless an answer is an error with this status and code (RFC 9457).
func (t *trial) refused(a answer, status int, code string) problem {
	t.want(a, status)
	var p problem
	t.parse(a, "application/problem+json", &p)
	if p.Code != code || p.Status != status || p.Title == "" || !strings.HasSuffix(p.Type, "/problems/"+code) {
		t.failf("%s: want code %s with type, title and status, got %.300s", a.asked, code, a.body)
	}
	return p
}

func (t *trial) path(rest string) string { return "/v1/spaces/" + t.space + rest }

// at is a base_version.
func at(version int64) *int64 { return &version }

// The edits that checks send. Each has an edit_id of its own.

func (t *trial) put(id string, base int64, data string) edit {
	return t.edit("put", id, at(base), data)
}

func (t *trial) patch(id string, base int64, data string) edit {
	return t.edit("patch", id, at(base), data)
}

func (t *trial) remove(id string, base int64) edit { return t.edit("delete", id, at(base), "") }

func (t *trial) edit(op, id string, base *int64, data string) edit {
	t.edits++
	e := edit{EditID: fmt.Sprint("e", t.edits), Op: op, Collection: "todos", ID: id, BaseVersion: base}
	if data != "" {
		e.Data = json.RawMessage(data)
	}
	return e
}

// after makes an edit one on the result of another.
func (e edit) after(editID string) edit {
	e.BaseVersion, e.BaseEditID = nil, editID
	return e
}

func (e edit) forced() edit {
	e.BaseVersion, e.Force = nil, true
	return e
}

// in names another collection.
func (e edit) in(collection string) edit {
	e.Collection = collection
	return e
}

// push pushes edits of one client.
func (t *trial) push(edits ...edit) pushAnswer {
	return t.send(pushRequest{ClientID: "c1", Edits: edits})
}

func (t *trial) send(r pushRequest) pushAnswer {
	var res pushAnswer
	t.read(t.ask(http.MethodPost, t.path("/push"), t.encode(r)), &res)
	if len(res.Results) != len(r.Edits) {
		t.failf("a push of %d edits has %d results", len(r.Edits), len(res.Results))
	}
	for i := range r.Edits {
		t.same("the edit_id of a result", res.Results[i].EditID, r.Edits[i].EditID)
	}
	t.acknowledged = max(t.acknowledged, res.Version)
	return res
}

func (t *trial) encode(r pushRequest) string {
	body, err := json.Marshal(r)
	if err != nil {
		t.failf("%v", err)
	}
	return string(body)
}

// must pushes edits that have to be applied, and returns their version.
func (t *trial) must(edits ...edit) int64 {
	res := t.push(edits...)
	for _, r := range res.Results {
		t.status(r, "applied")
	}
	return res.Version
}

// one pushes one edit, which must come to a status.
func (t *trial) one(e edit, status string) result {
	r := t.push(e).Results[0]
	t.status(r, status)
	return r
}

func (t *trial) status(r result, want string) {
	if r.Status != want {
		t.failf("edit %s is %s, want %s: %+v", r.EditID, r.Status, want, r)
	}
}

// feed is the path of a pull, or of a stream, that sees what was acknowledged; names and
// values in pairs.
func (t *trial) feed(kind string, pairs ...string) string {
	return t.path(kind + "?" + query(append(pairs, "min_version", strconv.FormatInt(t.acknowledged, 10))...))
}

// pull asks for one page; names and values in pairs.
func (t *trial) pull(pairs ...string) page {
	var p page
	t.read(t.ask(http.MethodGet, t.feed("/changes", pairs...), ""), &p)
	if p.Cursor == "" || len(p.Cursor) > 256 {
		t.failf("a page's cursor is %q, want 1 to 256 bytes", p.Cursor)
	}
	if p.Changes == nil {
		t.failf("a page without changes must have changes: []")
	}
	if !p.HasMore && p.PollAfterMS <= 0 {
		t.failf("a last page must say poll_after_ms, got %d", p.PollAfterMS)
	}
	return p
}

// pullAll pulls to the end, in pages of a limit.
func (t *trial) pullAll(cursor, limit string) (changes []change, last page) {
	for {
		p := t.pull("cursor", cursor, "limit", limit)
		changes = append(changes, p.Changes...)
		if !p.HasMore {
			return changes, p
		}
		if p.Cursor == cursor {
			t.failf("has_more is true and the cursor has not advanced")
		}
		cursor = p.Cursor
	}
}

// head is the end of the feed.
func (t *trial) head() page {
	_, p := t.pullAll("", "")
	return p
}

// holds fails unless a snapshot has these documents, in any order, as `collection/id data`.
func (t *trial) holds(want ...string) {
	changes, _ := t.pullAll("", "")
	got := map[string]change{}
	take(got, changes)
	t.same("how many documents the space has", len(changes), len(want))
	for _, w := range want {
		name, data, _ := strings.Cut(w, " ")
		t.is(sameJSON(got[name].Data, data), "%s holds %s, want %s", name, got[name].Data, data)
	}
}

// names lists changes, tombstones with a minus.
func names(changes []change) []string {
	list := []string{}
	for _, c := range changes {
		name := c.name()
		if c.Deleted {
			name = "-" + name
		}
		list = append(list, name)
	}
	return list
}
