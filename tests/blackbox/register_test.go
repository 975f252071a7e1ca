package blackbox_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/tidemark/tidemark/tests/harness"
)

// register is what a document is, seen from outside and one operation at a time:
// compare-and-set by version. Its zero value is the document that was never there.
//
// The edit that made a state is its name: a version is only known once somebody
// was told, and the outcome of an edit may never have been told to anybody.
type register struct {
	Edit    string `json:"edit"`    // client and edit_id; "": never there
	Version int64  `json:"version"` // unknown, or 0 if it was never there
	Deleted bool   `json:"deleted"`
}

// unknown is the version of a state that came of an edit without an answer.
const unknown = -1

// operation is what a client asks of one document.
type operation struct {
	Document string   `json:"document"`
	Op       string   `json:"op"` // put, patch, delete or read
	Edit     string   `json:"edit"`
	Base     register `json:"base"` // the state the edit was made on
}

// outcome is what the client was told.
type outcome struct {
	Status  string   `json:"status"`  // applied, conflict, read, or "" if it never heard
	Version int64    `json:"version"` // of an applied edit
	Current register `json:"current"` // what a conflict or a read has shown
}

// model is how a register behaves. An operation without an answer lasts to the
// end of the history, so it may be placed after everything, where it is as if it
// had never happened: Step has to know only what it does if it does.
var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		var parts [][]porcupine.Operation
		index := map[string]int{}
		for _, op := range history {
			document := op.Input.(operation).Document
			i, known := index[document]
			if !known {
				i = len(parts)
				index[document], parts = i, append(parts, nil)
			}
			parts[i] = append(parts[i], op)
		}
		return parts
	},
	Init: func() any { return register{} },
	Step: func(state, input, output any) (bool, any) {
		return state.(register).step(input.(operation), output.(outcome))
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
}

// step says whether the operation may end like this in state r, and what the
// state is after it.
func (r register) step(op operation, out outcome) (possible bool, after register) {
	changes, conflicts := r.fate(op)
	switch {
	case out.Status == "" && changes:
		return true, register{Edit: op.Edit, Version: unknown, Deleted: op.Op == "delete"}
	case out.Status == "":
		return true, r
	case op.Op == "read":
		return r.learn(out.Current, out.Status == "read")
	case conflicts:
		return r.learn(out.Current, out.Status == "conflict")
	case changes:
		next := register{Edit: op.Edit, Version: out.Version, Deleted: op.Op == "delete"}
		return out.Status == "applied" && out.Version > max(r.Version, 0), next
	default: // applied, and nothing to do
		same := r
		same.Version = out.Version
		return r.learn(same, out.Status == "applied")
	}
}

// fate is DESIGN's table of states, for edits that always change what they touch.
func (r register) fate(op operation) (changes, conflicts bool) {
	gone := r.Edit == "" || r.Deleted
	atBase := op.Base.Edit == r.Edit && (r.Version == unknown || op.Base.Version == r.Version)
	switch {
	case op.Op == "read", op.Op == "delete" && gone:
		return false, false
	case !atBase, op.Op == "patch" && gone:
		return false, true
	default:
		return true, false
	}
}

// learn compares a state with what a client was shown of it, which may be the
// first that is heard of its version.
func (r register) learn(shown register, possible bool) (bool, register) {
	if r.Version == unknown && shown.Version > 0 {
		r.Version = shown.Version
	}
	return possible && r == shown, r
}

// checkTime bounds the search for an order. A history for which it is not enough
// is a failure of the test: it has proved nothing.
var checkTime = harness.Size(time.Minute, 20*time.Minute)

// linearizable fails the test if no order of the operations explains their
// outcomes. The history is kept then: as a picture, and to check it again. It returns
// false if there is none, true also if that could not be found out.
func linearizable(t *testing.T, history []porcupine.Operation) bool {
	t.Helper()
	result, info := porcupine.CheckOperationsVerbose(model, history, checkTime)
	if result == porcupine.Ok {
		return true
	}
	dir, err := os.MkdirTemp("", "tidemark-history-")
	if err != nil {
		t.Fatal(err)
	}
	picture, list := filepath.Join(dir, "history.html"), filepath.Join(dir, "history.json")
	if err := porcupine.VisualizePath(model, info, picture); err != nil {
		t.Error(err)
	}
	text, err := json.MarshalIndent(history, "", "\t")
	if err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(list, text, 0o600); err != nil {
		t.Error(err)
	}
	t.Errorf("the history of %d operations is not linearizable (%s): see %s and %s", len(history), result, picture, list)
	return result != porcupine.Illegal
}

// TestRegister_tellsLinearizableFromNot holds the model itself to short histories.
func TestRegister_tellsLinearizableFromNot(t *testing.T) {
	t.Parallel()
	put := func(edit string, base register, from, to int64, out outcome) porcupine.Operation {
		return porcupine.Operation{
			Input: operation{Document: "d", Op: "put", Edit: edit, Base: base},
			Call:  from, Return: to, Output: out,
		}
	}
	first := register{Edit: "a", Version: 5}
	applied := func(version int64) outcome { return outcome{Status: "applied", Version: version} }
	conflict := func(current register) outcome { return outcome{Status: "conflict", Current: current} }
	for name, test := range map[string]struct {
		want    porcupine.CheckResult
		history []porcupine.Operation
	}{
		"one after the other": {porcupine.Ok, []porcupine.Operation{
			put("a", register{}, 1, 2, applied(5)), put("b", first, 3, 4, applied(6)),
		}},
		"both on one base": {porcupine.Illegal, []porcupine.Operation{
			put("a", register{}, 1, 2, applied(5)), put("b", first, 3, 6, applied(6)), put("c", first, 4, 5, applied(7)),
		}},
		"a conflict with what is gone": {porcupine.Illegal, []porcupine.Operation{
			put("a", register{}, 1, 2, applied(5)), put("b", first, 3, 4, applied(6)), put("c", register{}, 5, 6, conflict(first)),
		}},
		"a version that goes back": {porcupine.Illegal, []porcupine.Operation{
			put("a", register{}, 1, 2, applied(5)), put("b", first, 3, 4, applied(4)),
		}},
		"an open edit that took effect later": {porcupine.Ok, []porcupine.Operation{
			put("a", register{}, 1, 100, outcome{}), put("b", register{}, 2, 3, applied(5)),
			put("c", register{Edit: "b", Version: 5}, 4, 5, applied(6)),
		}},
		"an open edit that others have seen": {porcupine.Ok, []porcupine.Operation{
			put("a", register{}, 1, 100, outcome{}), put("b", register{}, 2, 3, conflict(first)), put("c", first, 4, 5, applied(6)),
		}},
		"an open edit seen at two versions": {porcupine.Illegal, []porcupine.Operation{
			put("a", register{}, 1, 100, outcome{}), put("b", register{}, 2, 3, conflict(first)),
			put("c", register{}, 4, 5, conflict(register{Edit: "a", Version: 6})),
		}},
	} {
		if got := porcupine.CheckOperationsTimeout(model, test.history, checkTime); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
