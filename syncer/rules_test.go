package syncer

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
)

// noRude are rules against one word.
type noRude struct{}

func (noRude) Check(collection string, document []byte) *models.EditError {
	if collection != "c" || !bytes.Contains(document, []byte("rude")) {
		return nil
	}
	return &models.EditError{
		Code: models.CodeSchemaViolation, Detail: "first", Pointer: "/data/a",
		Errors: []models.FieldError{{Pointer: "/data/a", Detail: "first"}, {Pointer: "/data", Detail: "second"}},
	}
}

// a validator refuses what it lists, and remembers what it was asked.
type validator struct {
	refused map[string]*models.EditError
	err     error
	asked   []Proposal
}

func (v *validator) Validate(_ context.Context, p Proposal) (map[string]*models.EditError, error) {
	v.asked = append(v.asked, p)
	return v.refused, v.err
}

// ruled is an engine on w with rules.
func (w *world) ruled(rules Rules, v Validator) *Engine {
	e := w.engine()
	e.opts.Rules, e.opts.Validator = rules, v
	return e
}

func pushTo(t *testing.T, e *Engine, req models.PushRequest) []models.EditResult {
	t.Helper()
	req.ClientID = "c1"
	res, err := e.Push(t.Context(), "s", "alice", &req)
	if err != nil {
		t.Fatalf("push: %v", err)
	}
	return res.Results
}

func edits(list ...models.Edit) models.PushRequest { return models.PushRequest{Edits: list} }

func TestRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push(put("e1", "old", version(0), `{"a":"rude"}`)) // from before there were rules
	e := w.ruled(noRude{}, nil)

	wantResults(t, pushTo(t, e, edits(
		put("e2", "d", version(0), `{"a":"rude"}`),
		put("e3", "d", version(0), `{"a":"kind"}`),
		patchOf("e4", "d", after("e3"), `{"b":"rude"}`), // alone it would be as bad: what counts is the whole
		patchOf("e5", "d", after("e3"), `{"b":1}`),
		patchOf("e6", "d", after("e4"), `{"b":2}`),
	)),
		"e2: rejected schema_violation",
		"e3: applied at 2",
		"e4: rejected schema_violation",
		"e5: applied at 2",
		"e6: skipped by e4",
	)
	// What is stored already is measured when a patch makes another document of it.
	wantResults(t, pushTo(t, e, edits(patchOf("e7", "old", version(1), `{"b":1}`))), "e7: rejected schema_violation")
	wantResults(t, pushTo(t, e, edits(patchOf("e8", "old", version(1), `{"a":"rude"}`))), "e8: applied at 1")
	wantResults(t, pushTo(t, e, edits(patchOf("e9", "old", version(1), `{"a":null}`))), "e9: applied at 3")
	wantResults(t, pushTo(t, e, edits(deletion("e10", "old", version(3)))), "e10: applied at 4")
	if got := w.text("d"); got != `{"a":"kind","b":1}` {
		t.Errorf("stored: %s", got)
	}

	wantResults(t, pushTo(t, e, models.PushRequest{Atomic: true, Edits: []models.Edit{
		put("e11", "new", version(0), `{}`), put("e12", "new2", version(0), `{"a":"rude"}`),
	}}), "e11: skipped by e12", "e12: rejected schema_violation")
}

// A rule that is younger than an edit must not take away the answer to its retry.
func TestRules_receiptsComeFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	push := edits(put("e1", "d", version(0), `{"a":"rude"}`), patchOf("e2", "d", after("e1"), `{"b":1}`))
	wantResults(t, pushTo(t, w.engine(), push), "e1: applied at 1", "e2: applied at 1")
	never := &models.EditError{Code: models.CodeValidationFailed, Detail: "no"}
	v := &validator{refused: map[string]*models.EditError{"e1": never, "e2": never, "e3": never}}

	push.Edits = append(push.Edits, patchOf("e3", "d", after("e2"), `{"b":2}`))
	wantResults(t, pushTo(t, w.ruled(noRude{}, v), push),
		"e1: applied at 1 replayed", "e2: applied at 1 replayed", "e3: rejected validation_failed")
	// What is malformed was never applied, whatever its edit_id says.
	push.Edits[0].Data = []byte(`{"a":1,"a":2}`)
	wantResults(t, pushTo(t, w.ruled(noRude{}, v), push),
		"e1: rejected duplicate_key", "e2: applied at 1 replayed", "e3: rejected validation_failed")
	// And a reused edit_id is told of as such.
	push.Edits[0].Data = []byte(`{"a":"rude again"}`)
	wantResults(t, pushTo(t, w.ruled(noRude{}, v), push),
		"e1: rejected edit_id_reused", "e2: applied at 1 replayed", "e3: rejected validation_failed")
}

func TestRules_ofOneDocument(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.ruled(noRude{}, nil)
	_, _, err := e.Write(t.Context(), "s", "alice", DocumentWrite{
		Op: models.OpPut, Collection: "c", ID: "d", Data: []byte(`{"a":"rude"}`), IfNoneMatch: true, ClientID: "rest",
	})
	want := &models.Error{
		Code: models.CodeSchemaViolation, Detail: "first",
		Fields: []models.FieldError{{Pointer: "/a", Detail: "first"}, {Pointer: "", Detail: "second"}},
	}
	if diff := cmp.Diff(error(want), err); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRules_ofTheInbox(t *testing.T) {
	t.Parallel()
	rude, kind := `{"a":"rude"}`, `{"a":"kind"}`
	p := newInboxPush([]models.Inbox{
		{InboxID: 1, Space: "s", Op: "put", Collection: "c", ID: "d", Data: &rude},
		{InboxID: 2, Space: "s", Op: "put", Collection: "c", ID: "d", Data: &kind},
		{InboxID: 3, Space: "s", Op: "patch", Collection: "c", ID: "d", Data: &rude},
	})
	v := &validator{err: errors.New("nobody is to be asked")}
	e := New(nil, nil, Options{Rules: noRude{}, Validator: v})
	if err := e.judge(t.Context(), p); err != nil || v.asked != nil {
		t.Fatalf("%v, asked %v", err, v.asked)
	}
	_, writes, err := p.decideInbox(Locked{Documents: map[Key]*models.Document{}, Inbox: map[int64]bool{1: true, 2: true, 3: true}})
	if err != nil {
		t.Fatal(err)
	}
	var got []models.Code
	for _, fate := range writes.Inbox {
		code := models.Code("")
		if fate.Problem != nil {
			code = fate.Problem.Code
		}
		got = append(got, code)
	}
	if diff := cmp.Diff([]models.Code{models.CodeSchemaViolation, "", models.CodeSchemaViolation}, got); diff != "" {
		t.Errorf("fates (-want +got):\n%s", diff)
	}
}

func TestValidator(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	no := &models.EditError{Code: models.CodeValidationFailed, Detail: "not on a Sunday", Pointer: "/data/day"}
	v := &validator{refused: map[string]*models.EditError{"e2": no}}
	e := w.ruled(noRude{}, v)
	good, refused, removal := put("e1", "d1", version(0), `{}`), put("e2", "d2", version(0), `{}`), deletion("e5", "d5", version(0))
	wantResults(t, pushTo(t, e, edits(
		good, refused,
		put("e3", "d3", unfounded, `{}`),
		put("e4", "d4", version(0), `{"a":"rude"}`),
		removal,
	)),
		"e1: applied at 1", "e2: rejected validation_failed", "e3: rejected base_required",
		"e4: rejected schema_violation", "e5: applied at 0")
	want := []Proposal{{Space: "s", Subject: "alice", ClientID: "c1", Edits: []models.Edit{good, refused, removal}}}
	if diff := cmp.Diff(want, v.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}

	// Where there is nothing to ask, nobody is.
	wantResults(t, pushTo(t, e, edits(put("e6", "d6", unfounded, `{}`))), "e6: rejected base_required")
	if len(v.asked) != 1 {
		t.Errorf("asked %v", v.asked)
	}

	v.err = errors.New("away")
	req := edits(put("e7", "d7", version(0), `{}`), put("e8", "d8", unfounded, `{}`))
	req.ClientID = "c1"
	if _, err := e.Push(t.Context(), "s", "alice", &req); !errors.Is(err, v.err) {
		t.Errorf("got %v, want the validator's error", err)
	}
	if w.text("d7") != "nothing" {
		t.Error("a push that nobody could judge was applied")
	}
}

// What a token does not reach is refused before anything is looked at, a receipt too.
func TestPush_granted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push(put("e1", "d", version(0), `{"a":1}`), patchOf("e2", "d", after("e1"), `{"b":1}`))
	v := &validator{}
	e := w.ruled(noRude{}, v)
	mine := put("e4", "x", version(0), `{}`)
	mine.Collection = "mine"
	req := edits(put("e1", "d", version(0), `{"a":1}`), put("e3", "d", version(9), `{}`), mine)
	req.Granted = []string{"mine"}
	wantResults(t, pushTo(t, e, req), "e1: rejected collection_forbidden", "e3: rejected collection_forbidden", "e4: applied at 2")
	if len(v.asked) != 1 || len(v.asked[0].Edits) != 1 {
		t.Errorf("asked %+v, want one edit", v.asked)
	}
}
