package conformance

import (
	"fmt"
	"net/http"
)

func documents() []check {
	item := func(t *trial) string { return t.path("/documents/todos/t1") }
	tag := func(version int64) string { return fmt.Sprintf("%q", fmt.Sprint(version)) }
	return []check{
		{name: "PUT creates and replaces, with the version as ETag", run: func(t *trial) {
			a := t.want(t.ask("PUT", item(t), `{"a":1}`, "If-None-Match", "*"), http.StatusCreated)
			var c change
			t.parse(a, "application/json", &c)
			t.same("the ETag", a.header.Get("ETag"), tag(c.Version))
			t.is(a.header.Get("Location") != "", "201 without Location")
			a = t.want(t.ask("PUT", item(t), `{"a":2}`, "If-Match", tag(c.Version)), http.StatusOK)
			var after change
			t.read(a, &after)
			t.is(after.Version > c.Version && string(after.Data) == `{"a":2}`, "it is %+v", after)
			got := t.want(t.ask("GET", item(t), ""), http.StatusOK)
			t.same("the ETag of a GET", got.header.Get("ETag"), tag(after.Version))
			t.want(t.ask("GET", item(t), "", "If-None-Match", tag(after.Version)), http.StatusNotModified)
		}},
		{name: "a write without a precondition is 428", run: func(t *trial) {
			t.refused(t.ask("PUT", item(t), `{}`), 428, "precondition_required")
			t.refused(t.ask("DELETE", item(t), ""), 428, "precondition_required")
			t.holds()
		}},
		{name: "a precondition that fails is 412, with the document", run: func(t *trial) {
			v1 := t.must(t.put("t1", 0, `{"a":1}`))
			v2 := t.must(t.put("t1", v1, `{"a":2}`))
			for _, a := range []answer{
				t.ask("PUT", item(t), `{"a":3}`, "If-Match", tag(v1)),
				t.ask("PUT", item(t), `{"a":3}`, "If-None-Match", "*"),
				t.ask("PATCH", item(t), `{"a":3}`, "If-Match", tag(v1), "Content-Type", "application/merge-patch+json"),
				t.ask("DELETE", item(t), "", "If-Match", tag(v1)),
			} {
				p := t.refused(a, 412, "version_conflict")
				t.is(p.Current != nil && p.Current.Version == v2 && string(p.Current.Data) == `{"a":2}`, "%s: current is %+v", a.asked, p.Current)
			}
			t.holds(`todos/t1 {"a":2}`)
		}},
		{name: "PATCH is a merge patch, DELETE leaves nothing", run: func(t *trial) {
			v := t.must(t.put("t1", 0, `{"a":1,"b":1}`))
			var c change
			t.read(t.ask("PATCH", item(t), `{"a":null,"c":2}`, "If-Match", tag(v), "Content-Type", "application/merge-patch+json"), &c)
			t.is(sameJSON(c.Data, `{"b":1,"c":2}`), "the document is %s", c.Data)
			t.want(t.ask("DELETE", item(t), "", "If-Match", tag(c.Version)), http.StatusNoContent)
			t.refused(t.ask("GET", item(t), ""), 404, "document_not_found")
		}},
		{name: "If-Match: * needs a live document, whichever version it has", run: func(t *trial) {
			t.refused(t.ask("PUT", item(t), `{}`, "If-Match", "*"), 412, "version_conflict")
			t.must(t.put("t1", 0, `{}`))
			t.want(t.ask("PUT", item(t), `{"a":1}`, "If-Match", "*"), http.StatusOK)
			t.holds(`todos/t1 {"a":1}`)
		}},
		{name: "a document is found by its collection and its id", run: func(t *trial) {
			t.must(t.put("t1", 0, `{"c":"todos"}`), t.put("t2", 0, `{"c":"todos"}`), t.put("t1", 0, `{"c":"notes"}`).in("notes"))
			for path, want := range map[string]string{"todos/t1": `{"c":"todos"}`, "notes/t1": `{"c":"notes"}`} {
				var c change
				t.read(t.ask("GET", t.path("/documents/"+path), ""), &c)
				t.same(path, c.name()+" "+string(c.Data), path+" "+want)
			}
			t.refused(t.ask("GET", t.path("/documents/notes/t2"), ""), 404, "document_not_found")
			t.refused(t.ask("GET", "/v1/spaces/"+t.space+"-other/documents/todos/t1", ""), 404, "document_not_found")
		}},
		{name: "a write with an Idempotency-Key can be sent again", run: func(t *trial) {
			create := func() answer {
				return t.ask("PUT", item(t), `{"a":1}`, "If-None-Match", "*", "Idempotency-Key", "k1", "Tidemark-Client", "c9")
			}
			first := t.want(create(), http.StatusCreated)
			again := create()
			t.is(again.status == http.StatusCreated || again.status == http.StatusOK, "the retry is answered %d %s", again.status, again.body)
			t.same("the ETag of the retry", again.header.Get("ETag"), first.header.Get("ETag"))
			changes, _ := t.pullAll("", "")
			t.is(len(changes) == 1 && changes[0].EditID == "k1" && changes[0].ClientID == "c9", "the feed has %+v", changes)
		}},
	}
}
