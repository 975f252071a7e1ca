package storetest

import (
	"strings"
	"testing"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

var textRequirements = []requirement{
	{"documents are returned byte for byte", textDocuments},
	{"documents go through an engine byte for byte", textThroughEngine},
	{"names are compared byte by byte", textNames},
	{"spaces are compared byte by byte", textSpaces},
	{"people's names are returned as they are", textUpdatedBy},
}

var texts = map[string]string{
	"empty":                  `{}`,
	"white space":            " \t\r\n{ \"a\" :\t1 ,\n\"b\":[ ] } \n",
	"order of members":       `{"b":1,"a":2,"c":{"z":1,"y":2}}`,
	"numbers":                `{"a":-0,"b":0.0,"c":1e2,"d":1E+2,"e":1.10,"f":9007199254740991,"g":1e-400,"h":0.1e1}`,
	"escapes":                `{"a":"\u0041\/\b\f\n\r\t\"\\ \u00e9 \ud83d\ude00"}`,
	"what was not escaped":   `{"a":"é 😀 < > & ' / = ` + "\u007f" + `"}`,
	"line separators":        `{"a":"` + "\u2028\u2029" + `\u2028"}`,
	"noncharacters":          `{"a":"` + "\uffff\ufffe\U0010ffff\ufdd0" + `\uffff"}`,
	"byte order mark inside": `{"a":"` + "\ufeff" + `"}`,
	"looks like duplicates":  `{"a":1,"A":2,"\u0061a":3,"a ":4,"` + "\u00e9" + `":5,"` + "e\u0301" + `":6,"":7}`,
	"markup":                 `{"a":"<script>alert('x')</script><!-- & -->"}`,
	"looks like SQL":         `{"a":"'; DROP TABLE documents; -- $1 ? @space :x"}`,
	"nulls and booleans":     `{"a":null,"b":true,"c":false,"d":[null,[],{}]}`,
	"deep":                   strings.Repeat(`{"a":`, 31) + `{}` + strings.Repeat(`}`, 31),
	"as large as may be":     text(models.MaxDocumentBytes),
}

func textDocuments(t *testing.T, w *world) {
	version := int64(0)
	for name, data := range texts {
		version++
		w.write(t, row(version, "todos/t1", data))
		run := w.read(t, syncer.Range{Limit: 1})
		same(t, name+" in the feed", string(run.Changes[0].Data), data)
		document, err := w.store.Document(t.Context(), w.space, key("todos/t1"))
		if err != nil {
			t.Fatal(err)
		}
		same(t, name+" alone", *document.Data, data)
		locked := w.locked(t, w.touch(syncer.Want{Key: key("todos/t1"), Data: true}))
		same(t, name+" under the lock", *locked.Documents[key("todos/t1")].Data, data)
	}
}

func textThroughEngine(t *testing.T, w *world) {
	for name, data := range texts {
		version := w.alice.must(t, put("put-"+strings.ReplaceAll(name, " ", "-"), "todos/t1", force, data))
		results := w.alice.push(t, put("conflict", "todos/t1", on(0), `{}`))
		same(t, name, string(results[0].Current.Data), data)
		page := w.alice.pull(t, syncer.PullRequest{})
		same(t, name, string(page.Changes[0].Data), data)
		if page.Changes[0].Version != version {
			t.Errorf("%s: version %d, want %d", name, page.Changes[0].Version, version)
		}
	}
}

// twins are names that a careless comparison takes for one another.
var twins = []string{"a", "A", "a.", "a-", "a_", "a:", "aa", "a.a", "0", "00", "1e0", "1", "a0", "a00", "Aa", "aA"}

func textNames(t *testing.T, w *world) {
	var list []models.Document
	for _, collection := range twins {
		for _, id := range twins {
			list = append(list, row(1, collection+"/"+id, `{"at":"`+collection+"/"+id+`"}`))
		}
	}
	w.write(t, list...)
	same(t, "changes", ordered(w.read(t, syncer.Range{Limit: 1000}).Changes), changes(list))
	for _, d := range list {
		got, err := w.store.Document(t.Context(), w.space, syncer.Key{Collection: d.Collection, ID: d.ID})
		if err != nil || got == nil || *got.Data != *d.Data {
			t.Errorf("%s/%s is %+v, error %v", d.Collection, d.ID, got, err)
		}
	}
	for _, collection := range twins {
		run := w.read(t, syncer.Range{Collections: []string{collection}, Limit: 1000})
		if len(run.Changes) != len(twins) {
			t.Errorf("collection %s has %d documents, want %d", collection, len(run.Changes), len(twins))
		}
	}
}

func textSpaces(t *testing.T, w *world) {
	for i, suffix := range []string{"x", "X", "x.", "x-", "xx"} {
		neighbor := *w
		neighbor.space = w.space + suffix
		neighbor.write(t, row(int64(i+1), "todos/t1", `{}`))
	}
	heads, err := w.store.Heads(t.Context(), []string{w.space, w.space + "X", w.space + "x", w.space + "xx"})
	if err != nil {
		t.Fatal(err)
	}
	versions := make([]int64, len(heads))
	for i := range heads {
		versions[i] = heads[i].Head
	}
	same(t, "heads", versions, []int64{0, 2, 1, 5})
}

func textUpdatedBy(t *testing.T, w *world) {
	for i, name := range []string{"zoë", "zoe\u0308", "a b", "auth0|5f7", `<b>"'\`, "😀", strings.Repeat("x", 1000)} {
		d := row(int64(i+1), "todos/t1", `{}`)
		d.UpdatedBy = name
		w.write(t, d)
		same(t, "updated_by", w.read(t, syncer.Range{Limit: 1}).Changes[0].UpdatedBy, name)
	}
}
