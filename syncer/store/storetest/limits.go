package storetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/models"
)

var limitRequirements = []requirement{
	{"a patched document is held to the size of a document", limitPatchedSize},
	{"a patched document is held to the number of values", limitPatchedValues},
	{"the documents of one push hold 4 MiB, to the byte", limitPush},
	{"a small patch counts as the document that it makes", limitPushPatches},
}

func limitPatchedSize(t *testing.T, w *world) {
	// {"a":"…"} patched with b becomes {"a":"…","b":""}.
	w.alice.must(t,
		put("e1", "todos/fits", on(0), text(models.MaxDocumentBytes-len(`,"b":""`))),
		put("e2", "todos/full", on(0), text(models.MaxDocumentBytes-len(`,"b":""`)+1)))
	before := w.alice.all(t, w.store)
	same(t, "results", w.alice.push(t,
		patch("e3", "todos/full", on(1), `{"b":""}`),
		patch("e4", "todos/fits", on(1), `{"b":""}`),
	), []models.EditResult{rejected("e3", models.CodeDocumentTooLarge, "/data"), applied("e4", 2)})
	same(t, "the document that was full", w.alice.all(t, w.store)[0], before[1])
}

func limitPatchedValues(t *testing.T, w *world) {
	// The document itself and the list are values too.
	list := func(values int) string { return `{"a":[` + strings.Repeat("0,", values-1) + `0]}` }
	w.alice.must(t,
		put("e1", "todos/fits", on(0), list(models.MaxDocumentValues-3)),
		put("e2", "todos/full", on(0), list(models.MaxDocumentValues-2)))
	same(t, "results", w.alice.push(t,
		patch("e3", "todos/full", on(1), `{"b":1}`),
		patch("e4", "todos/fits", on(1), `{"b":1}`),
		patch("e5", "todos/full", on(1), `{"a":1}`),
	), []models.EditResult{rejected("e3", models.CodeDocumentTooLarge, "/data"), applied("e4", 2), applied("e5", 2)})
}

const perPush = models.MaxPushBytes / models.MaxDocumentBytes

func limitPush(t *testing.T, w *world) {
	var edits []models.Edit
	var want []models.EditResult
	for i := range perPush {
		id := fmt.Sprintf("e%d", i)
		edits = append(edits, put(id, "todos/"+id, on(0), text(models.MaxDocumentBytes)))
		want = append(want, applied(id, 1))
	}
	edits = append(edits,
		put("over", "todos/over", on(0), `{}`),
		put("again", "todos/e0", after("e0"), text(models.MaxDocumentBytes)), // in place of the first
		remove("less", "todos/e1", after("e1")),
		put("fits", "todos/fits", on(0), `{}`),
		patch("on", "todos/over", after("over"), `{}`),
	)
	want = append(want, rejected("over", models.CodePushTooLarge, ""),
		applied("again", 1), applied("less", 1), applied("fits", 1), blocked("on", "over"))
	same(t, "results", w.alice.push(t, edits...), want)
	same(t, "number of documents", len(w.alice.all(t, w.store)), perPush+1)
	same(t, "the one that was over, in a push of its own",
		w.alice.push(t, put("over", "todos/over", on(0), `{}`)), []models.EditResult{applied("over", 2)})
}

func limitPushPatches(t *testing.T, w *world) {
	var puts, patches []models.Edit
	for i := range perPush + 1 {
		at := fmt.Sprintf("todos/t%02d", i)
		puts = append(puts, put(fmt.Sprintf("p%d", i), at, on(0), text(models.MaxDocumentBytes-len(`,"b":0`))))
		patches = append(patches, patch(fmt.Sprintf("e%d", i), at, force, `{"b":0}`))
	}
	w.alice.must(t, puts[:perPush]...)
	w.alice.must(t, puts[perPush:]...)
	before := w.alice.all(t, w.store)

	last := fmt.Sprintf("e%d", perPush)
	results := w.alice.atomic(t, patches...)
	same(t, "the one too many", results[perPush], rejected(last, models.CodePushTooLarge, ""))
	same(t, "the others", results[0], blocked("e0", last))
	same(t, "documents", w.alice.all(t, w.store), before)

	results = w.alice.push(t, patches...)
	same(t, "the one too many", results[perPush], rejected(last, models.CodePushTooLarge, ""))
	for i, r := range results[:perPush] {
		same(t, "the others", r, applied(fmt.Sprintf("e%d", i), 3))
	}
}
