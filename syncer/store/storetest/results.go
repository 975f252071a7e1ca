package storetest

import (
	"testing"

	"github.com/tidemark/tidemark/models"
)

var resultRequirements = []requirement{
	{"stand in the order of the edits, each with its own fate", resultsInOrder},
	{"say what is wrong with an edit and where", resultsSayWhy},
	{"the head after a push is the space's", resultsHead},
	{"a conflict shows what an earlier edit of the push has made", resultsConflictInPush},
}

func resultsInOrder(t *testing.T, w *world) {
	w.bob.must(t, put("b1", "todos/t1", on(0), `{"a":1,"b":1}`))
	w.bob.must(t, patch("b2", "todos/t1", on(1), `{"b":2}`))
	there := w.bob.live(2, "todos/t1", `{"a":1,"b":2}`, "b2")
	after3 := w.alice.live(3, "todos/t1", `{"a":3,"b":2}`, "e6")
	res := w.alice.send(t, models.PushRequest{Edits: []models.Edit{
		put("e1", "todos/t2", on(0), `{}`),
		put("e2", "todos/t1", on(1), `{}`),
		remove("e3", "todos/t9", on(0)),
		put("e4", "todos/t3", nil, `{}`),
		patch("e5", "todos/t3", after("e4"), `{}`),
		patch("e6", "todos/t1", on(1), `{"a":3}`),
		patch("e7", "todos/t1", on(2), `{}`),
	}})
	e7 := merged("e7", after3)
	same(t, "response", *res, models.PushResponse{Version: 3, PollAfter: res.PollAfter, Results: []models.EditResult{
		applied("e1", 3), conflict("e2", there), applied("e3", 0), rejected("e4", models.CodeBaseRequired, ""),
		blocked("e5", "e4"), merged("e6", after3), e7,
	}})
	same(t, "documents", w.alice.all(t, w.store), []models.Change{
		*after3, *w.alice.live(3, "todos/t2", `{}`, "e1"),
	})
}

func resultsSayWhy(t *testing.T, w *world) {
	bytes := func(at, data string) models.Edit { return put("e", at, on(0), data) }
	withData := remove("e", "todos/t1", on(0))
	withData.Data = []byte(`{}`)
	withoutData := put("e", "todos/t1", on(0), `{}`)
	withoutData.Data = nil
	for name, tt := range map[string]struct {
		edit    models.Edit
		code    models.Code
		pointer string
	}{
		"a collection that is no name":   {bytes("no name/t1", `{}`), models.CodeInvalidCollection, "/collection"},
		"no collection":                  {bytes("/t1", `{}`), models.CodeInvalidCollection, "/collection"},
		"an id that is no name":          {bytes("todos/é", `{}`), models.CodeInvalidID, "/id"},
		"no id":                          {bytes("todos/", `{}`), models.CodeInvalidID, "/id"},
		"no data":                        {withoutData, models.CodeInvalidDocument, "/data"},
		"a delete with data":             {withData, models.CodeInvalidEdit, "/data"},
		"a list":                         {bytes("todos/t1", `[]`), models.CodeInvalidDocument, "/data"},
		"null":                           {bytes("todos/t1", `null`), models.CodeInvalidDocument, "/data"},
		"a name twice":                   {bytes("todos/t1", `{"a":{"b":1,"b":2}}`), models.CodeDuplicateKey, "/data/a/b"},
		"a name twice, once escaped":     {bytes("todos/t1", `{"a":1,"\u0061":2}`), models.CodeDuplicateKey, "/data/a"},
		"a number out of range":          {bytes("todos/t1", `{"a":[1,9007199254740992]}`), models.CodeInvalidDocument, "/data/a/1"},
		"U+0000":                         {bytes("todos/t1", `{"a":"\u0000"}`), models.CodeInvalidDocument, "/data/a"},
		"a patch that is no object":      {patch("e", "todos/t1", on(0), `1`), models.CodeInvalidDocument, "/data"},
		"a patch that names a key twice": {patch("e", "todos/t1", on(0), `{"a":1,"a":1}`), models.CodeDuplicateKey, "/data/a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alice := w.alice
			alice.space = newSpace()
			results := alice.push(t, tt.edit, put("good", "todos/good", on(0), `{}`))
			same(t, "results", results, []models.EditResult{rejected("e", tt.code, tt.pointer), applied("good", 1)})
			if results[0].Error != nil && results[0].Error.Detail == "" {
				t.Error("the error says nothing to a person")
			}
		})
	}
}

func resultsHead(t *testing.T, w *world) {
	none := w.alice.send(t, models.PushRequest{Edits: []models.Edit{put("e1", "todos/t1", on(9), `{}`)}})
	same(t, "head of a space that is still empty", none.Version, 0)
	w.bob.must(t, put("b1", "todos/t1", on(0), `{}`))
	w.bob.must(t, put("b2", "todos/t2", on(0), `{}`))
	none = w.alice.send(t, models.PushRequest{Edits: []models.Edit{put("e2", "todos/t1", on(9), `{}`)}})
	same(t, "head after a push that changed nothing", none.Version, 2)
	same(t, "page of a push that asks for none", none.Page, nil)
}

func resultsConflictInPush(t *testing.T, w *world) {
	w.bob.must(t, put("b1", "todos/t1", on(0), `{"a":1,"b":1}`))
	mine := w.alice.live(2, "todos/t1", `{"a":2,"b":1}`, "e1")
	same(t, "results", w.alice.push(t,
		patch("e1", "todos/t1", on(1), `{"a":2}`),
		put("e2", "todos/t1", on(1), `{}`),
		patch("e3", "todos/t1", on(1), `{"a":3}`),
		put("e4", "todos/t2", on(0), `{}`),
		put("e5", "todos/t2", on(0), `{}`),
	), []models.EditResult{
		applied("e1", 2), conflict("e2", mine), conflict("e3", mine, "a"),
		applied("e4", 2), conflict("e5", w.alice.live(2, "todos/t2", `{}`, "e4")),
	})
}
