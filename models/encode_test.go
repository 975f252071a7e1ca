package models_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidemark/tidemark/models"
)

// spaced is a document that encoding/json would rewrite in four ways.
const spaced = "{ \"b\": 1.0, \"a\":\"<&> é\u2028\",\n\"n\" : -0 }"

func live() models.Change {
	return models.Change{
		Collection: "todos", ID: "t1", Version: models.MaxVersion, Data: json.RawMessage(spaced),
		UpdatedAt: 1795428000123, UpdatedBy: "alice", ClientID: "c1", EditID: "e1",
	}
}

func tombstone() models.Change {
	return models.Change{
		Collection: "todos", ID: "t2", Version: 3, Deleted: true,
		UpdatedAt: 1795428000000, UpdatedBy: "bob \"b\" \\ <é>", ClientID: "c2", EditID: "e2",
	}
}

const (
	liveJSON = `{"collection":"todos","id":"t1","version":9007199254740991,"deleted":false,"data":` + spaced +
		`,"updated_at":"2026-11-23T10:00:00.123Z","updated_by":"alice","client_id":"c1","edit_id":"e1"}`
	tombstoneJSON = `{"collection":"todos","id":"t2","version":3,"deleted":true,` +
		`"updated_at":"2026-11-23T10:00:00.000Z","updated_by":"bob \"b\" \\ \u003cé\u003e","client_id":"c2","edit_id":"e2"}`
)

func TestAppendJSON(t *testing.T) {
	t.Parallel()
	change, grave := live(), tombstone()
	for name, test := range map[string]struct {
		value interface{ AppendJSON([]byte) []byte }
		want  string
	}{
		"live document": {&change, liveJSON},
		"tombstone":     {&grave, tombstoneJSON},

		"applied":              {&models.EditResult{EditID: "e1", Status: models.StatusApplied, Version: 21}, `{"edit_id":"e1","status":"applied","version":21}`},
		"applied, no document": {&models.EditResult{EditID: "e1", Status: models.StatusApplied}, `{"edit_id":"e1","status":"applied","version":0}`},
		"merged, replayed": {
			&models.EditResult{EditID: "e1", Status: models.StatusApplied, Version: 21, Replayed: true, Merged: true, Current: &change},
			`{"edit_id":"e1","status":"applied","version":21,"replayed":true,"merged":true,"current":` + liveJSON + `}`,
		},
		"conflict": {
			&models.EditResult{EditID: "e1", Status: models.StatusConflict, Current: &grave, ConflictingFields: []string{"a", "\"b\"\n"}},
			`{"edit_id":"e1","status":"conflict","current":` + tombstoneJSON + `,"conflicting_fields":["a","\"b\"\n"]}`,
		},
		"conflict with nothing": {&models.EditResult{EditID: "e1", Status: models.StatusConflict}, `{"edit_id":"e1","status":"conflict"}`},
		"rejected": {
			&models.EditResult{EditID: "e1", Status: models.StatusRejected, Error: &models.EditError{Code: models.CodeInvalidDocument, Detail: "no", Pointer: "/data/a"}},
			`{"edit_id":"e1","status":"rejected","error":{"code":"invalid_document","detail":"no","pointer":"/data/a"}}`,
		},
		"skipped": {
			&models.EditResult{EditID: "e2", Status: models.StatusSkipped, BlockedBy: "e1"},
			`{"edit_id":"e2","status":"skipped","blocked_by":"e1"}`,
		},

		"page to the head": {
			&models.Page{Cursor: "abc", Digest: &models.Digest{Sum: 0x0f3c, Count: 42}},
			`{"changes":[],"cursor":"abc","has_more":false,"digest":"0000000000000f3c","count":42,"version":0,"poll_after_ms":0}`,
		},
		"empty page": {&models.Page{Cursor: "abc", PollAfter: 1500 * time.Millisecond}, `{"changes":[],"cursor":"abc","has_more":false,"version":0,"poll_after_ms":1500}`},
		"page": {
			&models.Page{Changes: []models.Change{change, grave}, Cursor: "abc", Version: 21, HasMore: true},
			`{"changes":[` + liveJSON + "," + tombstoneJSON + `],"cursor":"abc","has_more":true,"version":21,"poll_after_ms":0}`,
		},

		"push": {
			&models.PushResponse{Results: []models.EditResult{{EditID: "e1", Status: models.StatusConflict}, {EditID: "e2", Status: models.StatusConflict}}, Version: 21, PollAfter: time.Second},
			`{"results":[{"edit_id":"e1","status":"conflict"},{"edit_id":"e2","status":"conflict"}],"version":21,"poll_after_ms":1000}`,
		},
		"push with a page": {
			&models.PushResponse{Version: 21, Page: &models.Page{Cursor: "abc", Version: 22, HasMore: true, PollAfter: time.Hour}},
			`{"results":[],"version":21,"changes":[],"cursor":"abc","has_more":true,"poll_after_ms":0}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := string(test.value.AppendJSON([]byte("before ")))
			if diff := cmp.Diff("before "+test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !json.Valid([]byte(test.want)) {
				t.Errorf("no JSON: %s", test.want)
			}
		})
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	long := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = 'x'
		}
		return string(b)
	}
	for _, test := range []struct {
		name        string
		valid       bool
		validSpaces bool
	}{
		{"a", true, true},
		{"0", true, true},
		{"Team-42_b.c", true, true},
		{"a:b", true, false},
		{long(models.MaxSpaceBytes), true, true},
		{long(models.MaxSpaceBytes + 1), true, false},
		{long(models.MaxNameBytes), true, false},
		{long(models.MaxNameBytes + 1), false, false},
		{"", false, false},
		{".", false, false},
		{"..", false, false},
		{"-a", false, false},
		{"_a", false, false},
		{":a", false, false},
		{"a/b", false, false},
		{"a b", false, false},
		{"a\n", false, false},
		{"\na", false, false},
		{"a\x00", false, false},
		{"a%2f", false, false},
		{"é", false, false},
		{"a\u200b", false, false},
		{"\xff", false, false},
	} {
		if got := models.ValidName(test.name); got != test.valid {
			t.Errorf("ValidName(%.70q) = %t", test.name, got)
		}
		if got := models.ValidSpace(test.name); got != test.validSpaces {
			t.Errorf("ValidSpace(%.70q) = %t", test.name, got)
		}
	}
}

func TestDocument_Change(t *testing.T) {
	t.Parallel()
	text := spaced
	want := live()
	doc := models.Document{
		SpaceID: "s", Collection: want.Collection, ID: want.ID, Version: want.Version, Data: &text, Size: int64(len(text)),
		FieldVersions: "{}", ClientID: want.ClientID, EditID: want.EditID, UpdatedBy: want.UpdatedBy, UpdatedAt: want.UpdatedAt,
	}
	if diff := cmp.Diff(&want, doc.Change(), cmpopts.IgnoreUnexported(models.Change{})); diff != "" {
		t.Errorf("live (-want +got):\n%s", diff)
	}
	doc.Deleted, doc.Data = true, nil
	want.Deleted, want.Data = true, nil
	if diff := cmp.Diff(&want, doc.Change(), cmpopts.IgnoreUnexported(models.Change{})); diff != "" {
		t.Errorf("tombstone (-want +got):\n%s", diff)
	}
}

// What was encoded once is the same text however it is asked for again.
func TestChange_Encode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]models.Change{"live": live(), "tombstone": tombstone()} {
		want := string(c.AppendJSON(nil))
		text := string(c.Data)
		c.Encode()
		c.Encode() // twice is fine
		if diff := cmp.Diff(want, string(c.AppendJSON(nil))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if string(c.Data) != text {
			t.Errorf("%s: its text became %s", name, c.Data)
		}
	}
}

func TestError(t *testing.T) {
	t.Parallel()
	underneath := &models.Error{Code: models.CodeUnavailable, Detail: "away"}
	err := &models.Error{Code: models.CodeInternal, Detail: "failed", Err: underneath}
	if got, want := err.Error(), "internal: failed: unavailable: away"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := models.CodeOf(err); got != models.CodeInternal {
		t.Errorf("CodeOf says %s, want the outermost", got)
	}
	if got := models.CodeOf(nil); got != models.CodeInternal {
		t.Errorf("CodeOf(nil) = %s", got)
	}
	if !errors.Is(err, underneath) {
		t.Error("Unwrap doesn't return what went wrong underneath")
	}
}
