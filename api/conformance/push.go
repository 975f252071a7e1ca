package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

func pushing() []check {
	return []check{
		{name: "a put on base 0 creates; versions are below 2^53 and rise", run: func(t *trial) {
			last := int64(0)
			for i := range 5 {
				res := t.push(t.put(fmt.Sprint("t", i), 0, `{"n":1}`))
				t.status(res.Results[0], "applied")
				t.same("the result's version", res.Results[0].Version, res.Version)
				t.is(res.Version > last && res.Version < 1<<53, "version %d after %d", res.Version, last)
				last = res.Version
			}
		}},
		{name: "all documents of a push get one version", run: func(t *trial) {
			res := t.push(t.put("t1", 0, `{}`), t.put("t2", 0, `{}`).in("notes"), t.patch("t1", 0, `{}`).after("e1"))
			for _, r := range res.Results {
				t.status(r, "applied")
				t.same("a version", r.Version, res.Version)
			}
		}},
		{name: "a put or a delete on another base is a conflict that shows the document", run: func(t *trial) {
			v1 := t.must(t.put("t1", 0, `{"a":1}`))
			v2 := t.must(t.put("t1", v1, `{"a":2}`))
			for _, e := range []edit{t.put("t1", v1, `{"a":3}`), t.put("t1", 0, `{"a":3}`), t.remove("t1", v1), t.remove("t1", 0)} {
				r := t.one(e, "conflict")
				t.is(r.Current != nil && r.Current.Version == v2 && string(r.Current.Data) == `{"a":2}`, "%s on another base: current is %+v", e.Op, r.Current)
			}
			t.holds(`todos/t1 {"a":2}`)
		}},
		{name: "a patch conflicts over the fields that were changed since its base, and over no others", run: func(t *trial) {
			v1 := t.must(t.put("t1", 0, `{"a":1,"b":1,"c":1}`))
			v2 := t.must(t.patch("t1", v1, `{"a":2}`))
			r := t.one(t.patch("t1", v1, `{"b":2}`), "applied")
			t.is(r.Merged && r.Current != nil && sameJSON(r.Current.Data, `{"a":2,"b":2,"c":1}`), "a patch of another field: %+v, want it merged, with current", r)
			r = t.one(t.patch("t1", v1, `{"a":3,"c":3}`), "conflict")
			t.same("conflicting_fields", r.ConflictingFields, []string{"a"})
			r = t.one(t.patch("t1", v2, `{"b":3}`), "conflict")
			t.same("conflicting_fields", r.ConflictingFields, []string{"b"})
			r = t.one(t.patch("t1", v2, `{"a":3}`), "applied")
			t.is(r.Merged, "a patch on an older base is applied and not merged: %+v", r)
		}},
		{name: "a patch that alters no value changes no field", run: func(t *trial) {
			v1 := t.must(t.put("t1", 0, `{"a":1,"b":1}`))
			t.must(t.patch("t1", v1, `{"a":1.0,"b":2}`))
			t.one(t.patch("t1", v1, `{"a":2}`), "applied")
		}},
		{name: "a name that was removed, and one that was never there, are one field", run: func(t *trial) {
			v1 := t.must(t.put("t1", 0, `{"a":1,"b":1}`))
			t.must(t.patch("t1", v1, `{"a":null}`))
			t.one(t.patch("t1", v1, `{"a":2}`), "conflict")
			t.one(t.patch("t1", v1, `{"z":2}`), "conflict")
			t.one(t.patch("t1", v1, `{"b":2}`), "applied")
		}},
		{name: "patches are merged as RFC 7396 says", run: func(t *trial) {
			v := t.must(t.put("t2", 0, `{"o":{"a":1,"b":{"c":1}},"l":[1,2],"x":1}`))
			v = t.must(t.patch("t2", v, `{"o":{"b":{"c":null,"d":2}},"l":[3],"x":{"y":{"z":null}}}`))
			var c change
			t.read(t.ask("GET", t.path("/documents/todos/t2"), ""), &c)
			t.same("the version", c.Version, v)
			t.is(sameJSON(c.Data, `{"o":{"a":1,"b":{"d":2}},"l":[3],"x":{"y":{}}}`), "the patched document is %s", c.Data)
		}},
		{name: "delete leaves a tombstone; creating anew names its version", run: func(t *trial) {
			v1 := t.must(t.put("t1", 0, `{"a":1}`))
			v2 := t.must(t.remove("t1", v1))
			t.is(v2 > v1, "the tombstone has version %d after %d", v2, v1)
			for _, e := range []edit{t.put("t1", 0, `{}`), t.put("t1", v1, `{}`), t.patch("t1", 0, `{}`), t.patch("t1", v2, `{}`)} {
				r := t.one(e, "conflict")
				t.is(r.Current != nil && r.Current.Deleted && r.Current.Version == v2 && r.Current.Data == nil, "%s beside a tombstone: current is %+v", e.Op, r.Current)
			}
			t.same("deleting again: the version", t.one(t.remove("t1", v1), "applied").Version, v2)
			t.is(t.must(t.put("t1", v2, `{}`)) > v2, "created anew at the same version")
		}},
		{name: "of a document that is not there: patch conflicts, delete changes nothing", run: func(t *trial) {
			r := t.one(t.patch("t1", 0, `{"a":1}`), "conflict")
			t.is(r.Current == nil, "current is %+v", r.Current)
			t.one(t.put("t1", 77, `{}`), "conflict")
			t.same("the version of a delete", t.one(t.remove("t1", 77), "applied").Version, int64(0))
			t.holds()
		}},
		{name: "an edit that changes nothing makes no version", run: func(t *trial) {
			v := t.must(t.put("t1", 0, `{"a":1}`))
			res := t.push(t.patch("t1", v, `{"a":1}`), t.remove("t9", 0))
			t.same("the head", res.Version, v)
			t.same("versions", []int64{res.Results[0].Version, res.Results[1].Version}, []int64{v, 0})
		}},
		{name: "force writes whatever is there", run: func(t *trial) {
			t.must(t.put("t1", 0, `{"a":1,"b":1}`))
			t.one(t.patch("t1", 0, `{"a":2}`).forced(), "applied")
			t.one(t.put("t2", 0, `{}`).forced(), "applied")
			t.holds(`todos/t1 {"a":2,"b":1}`, `todos/t2 {}`)
			t.one(t.remove("t1", 0).forced(), "applied")
			t.one(t.patch("t1", 0, `{"a":2}`).forced(), "conflict")
			t.holds(`todos/t2 {}`)
		}},
		{name: "one bad edit does not block the others", run: func(t *trial) {
			nameless := t.put("t2", 0, `{}`)
			nameless.BaseVersion = nil
			res := t.push(t.put("t1", 0, `{}`), nameless, t.put("no/name", 0, `{}`), t.put("t3", 0, `[]`), t.put("t4", 0, `{}`).in("no name"), t.put("t5", 0, `{"n":1e400}`), t.put("t6", 0, `{}`))
			got := []string{}
			for _, r := range res.Results {
				got = append(got, r.Status+code(r))
			}
			t.same("the results", got, []string{
				"applied", "rejected base_required", "rejected invalid_id", "rejected invalid_document", "rejected invalid_collection", "rejected invalid_document", "applied",
			})
			t.holds(`todos/t1 {}`, `todos/t6 {}`)
		}},
		{name: "an atomic push is applied as a whole or not at all", run: func(t *trial) {
			v := t.must(t.put("t1", 0, `{}`))
			good, bad, other := t.put("t2", 0, `{}`), t.put("t1", 0, `{"a":1}`), t.put("t3", 0, `{}`)
			res := t.send(pushRequest{ClientID: "c1", Atomic: true, Edits: []edit{good, bad, other}})
			t.status(res.Results[1], "conflict")
			for _, i := range []int{0, 2} {
				t.status(res.Results[i], "skipped")
				t.same("blocked_by", res.Results[i].BlockedBy, bad.EditID)
			}
			t.same("the head", res.Version, v)
			t.holds(`todos/t1 {}`)
			t.must(good, other) // nothing of them is remembered
		}},
		{name: "documents come back byte for byte", run: func(t *trial) {
			const text = `{ "z":1.50,"a":{"e":"\u00e9 é 😀"},"big":9007199254740991,"n":[1E2,-0.0,null,true], "":"" }`
			body := `{"client_id":"c1","edits":[{"edit_id":"e1","op":"put","collection":"todos","id":"t1","base_version":0,"data":` + text + `}]}`
			var res pushAnswer
			t.read(t.ask("POST", t.path("/push"), body), &res) // a push of t would be encoded anew
			t.acknowledged = res.Version
			for _, path := range []string{t.path("/documents/todos/t1"), t.feed("/changes")} {
				a := t.want(t.ask("GET", path, ""), http.StatusOK)
				t.is(strings.Contains(string(a.body), `"data":`+text), "GET %s brings %s", path, a.body)
			}
		}},
		{name: "pushes at the same time get each its own answer", run: func(t *trial) {
			const writers, each = 8, 6
			bodies := make([]string, writers*each)
			for i := range bodies {
				bodies[i] = t.encode(pushRequest{ClientID: fmt.Sprint("c", i), Edits: []edit{t.put(fmt.Sprint("t", i), 0, `{}`)}})
			}
			answers := make([]pushAnswer, len(bodies))
			faults := make([]error, writers)
			var running sync.WaitGroup
			for w := range writers {
				running.Go(func() {
					for i := w * each; i < (w+1)*each && faults[w] == nil; i++ {
						a, err := t.client.do(t.ctx, "POST", t.path("/push"), bodies[i])
						if err == nil {
							err = json.Unmarshal(a.body, &answers[i])
						}
						faults[w] = err
					}
				})
			}
			running.Wait()
			versions := map[int64]bool{}
			for i, a := range answers {
				t.is(faults[i/each] == nil, "%v", faults[i/each])
				want := fmt.Sprint("e", i+1)
				t.is(len(a.Results) == 1 && a.Results[0].EditID == want && a.Results[0].Status == "applied", "the push of %s is answered with %+v", want, a.Results)
				versions[a.Results[0].Version] = true
				t.acknowledged = max(t.acknowledged, a.Version)
			}
			t.same("versions given out", len(versions), len(bodies))
			changes, _ := t.pullAll("", "")
			t.same("documents", len(changes), len(bodies))
			t.is(slices.IsSortedFunc(changes, func(a, b change) int { return int(a.Version - b.Version) }), "the feed does not come by version")
		}},
	}
}

// code is what a result's error says.
func code(r result) string {
	if r.Error == nil {
		return ""
	}
	return " " + r.Error.Code
}

func retrying() []check {
	return []check{
		{name: "a retry gets the first answer and changes nothing", run: func(t *trial) {
			first := t.put("t1", 0, `{"a":1}`)
			v := t.must(first)
			later := t.must(t.put("t1", v, `{"a":2}`))
			res := t.push(first)
			t.same("the answer", []any{res.Results[0].Status, res.Results[0].Version, res.Results[0].Replayed}, []any{"applied", v, true})
			t.same("the head", res.Version, later)
			t.holds(`todos/t1 {"a":2}`)
		}},
		{name: "also in another push, beside other edits", run: func(t *trial) {
			first := t.put("t1", 0, `{}`)
			v := t.must(first)
			res := t.push(t.put("t2", 0, `{}`), first)
			t.status(res.Results[0], "applied")
			t.is(res.Results[1].Replayed && res.Results[1].Version == v && !res.Results[0].Replayed, "the answer is %+v", res.Results)
		}},
		{name: "also of an edit that changed nothing, and of one that was forced", run: func(t *trial) {
			nothing, forced := t.remove("t1", 0), t.put("t2", 0, `{"a":1}`).forced()
			t.must(nothing, forced)
			t.must(t.put("t1", 0, `{}`), t.put("t2", 0, `{"a":2}`).forced())
			res := t.push(nothing, forced)
			t.is(res.Results[0].Replayed && res.Results[1].Replayed, "the answer is %+v", res.Results)
			t.holds(`todos/t1 {}`, `todos/t2 {"a":2}`)
		}},
		{name: "a conflict is decided again", run: func(t *trial) {
			v := t.must(t.put("t1", 0, `{}`))
			early := t.put("t2", v, `{}`)
			t.one(early, "conflict")
			early.BaseVersion = at(0)
			t.is(!t.one(early, "applied").Replayed, "what was a conflict is called replayed")
		}},
		{name: "an edit_id stands for one content", run: func(t *trial) {
			first := t.put("t1", 0, `{"a":1}`)
			t.must(first)
			for _, change := range []func(*edit){
				func(e *edit) { e.Data = json.RawMessage(`{"a":2}`) },
				func(e *edit) { e.ID = "t2" },
				func(e *edit) { e.Collection = "notes" },
				func(e *edit) { e.Op, e.Data = "delete", nil },
			} {
				other := first
				change(&other)
				t.same("the error", code(t.one(other, "rejected")), " edit_id_reused")
			}
			other := first
			other.BaseVersion = at(77) // the base is not content
			t.is(t.one(other, "applied").Replayed, "the same edit on another base is no retry")
		}},
		{name: "clients have edit_ids of their own", run: func(t *trial) {
			e := t.put("t1", 0, `{}`)
			t.must(e)
			r := t.send(pushRequest{ClientID: "c2", Edits: []edit{e}}).Results[0]
			t.status(r, "conflict")
			t.is(r.Current != nil && r.Current.ClientID == "c1" && r.Current.EditID == e.EditID, "current does not name the edit that made it: %+v", r.Current)
		}},
	}
}

func basing() []check {
	return []check{
		{name: "an edit can be made on an earlier one of the same push", run: func(t *trial) {
			first := t.put("t1", 0, `{"n":1}`)
			second := t.patch("t1", 0, `{"n":2}`).after(first.EditID)
			t.must(first, second, t.put("t1", 0, `{"n":3}`).after(second.EditID))
			t.holds(`todos/t1 {"n":3}`)
		}},
		{name: "and on one of an earlier push", run: func(t *trial) {
			first := t.put("t1", 0, `{"n":1}`)
			t.must(first)
			second := t.put("t1", 0, `{"n":2}`).after(first.EditID)
			t.must(second)
			t.one(t.put("t1", 0, `{"n":3}`).after(first.EditID), "conflict")
			t.one(t.put("t1", 0, `{"n":3}`).after(second.EditID), "applied")
		}},
		{name: "what is made on an edit that failed is skipped", run: func(t *trial) {
			t.must(t.put("t1", 0, `{}`))
			failed := t.put("t1", 0, `{"n":1}`)
			res := t.push(failed, t.patch("t1", 0, `{"n":2}`).after(failed.EditID))
			t.status(res.Results[0], "conflict")
			t.status(res.Results[1], "skipped")
			t.same("blocked_by", res.Results[1].BlockedBy, failed.EditID)
		}},
		{name: "what is made on an unknown edit is skipped, with base_unknown", run: func(t *trial) {
			t.same("the error", code(t.one(t.put("t1", 0, `{}`).after("never-sent"), "skipped")), " base_unknown")
		}},
		{name: "what is made on an edit of another document is rejected", run: func(t *trial) {
			first := t.put("t1", 0, `{}`)
			res := t.push(first, t.put("t2", 0, `{}`).after(first.EditID))
			t.status(res.Results[1], "rejected")
			t.same("the error", code(res.Results[1]), " invalid_edit")
			t.same("the error, in another push", code(t.one(t.put("t2", 0, `{}`).after(first.EditID), "rejected")), " invalid_edit")
		}},
		{name: "an edit on a merged one has the base of that", run: func(t *trial) {
			v := t.must(t.put("t1", 0, `{"a":1,"b":1,"c":1}`))
			others := edit{EditID: "o1", Op: "patch", Collection: "todos", ID: "t1", BaseVersion: at(v), Data: json.RawMessage(`{"a":2}`)}
			t.status(t.send(pushRequest{ClientID: "c2", Edits: []edit{others}}).Results[0], "applied")
			mine := t.patch("t1", v, `{"b":2}`)
			t.is(t.one(mine, "applied").Merged, "the patch is not merged")
			t.one(t.patch("t1", 0, `{"b":3}`).after(mine.EditID), "applied") // its own field
			t.same("conflicting_fields", t.one(t.patch("t1", 0, `{"a":3}`).after(mine.EditID), "conflict").ConflictingFields, []string{"a"})
			t.one(t.put("t1", 0, `{}`).after(mine.EditID), "conflict")
		}},
		{name: "an edit names one base", run: func(t *trial) {
			e := t.put("t1", 0, `{}`)
			e.Force = true
			t.same("the error", code(t.one(e, "rejected")), " invalid_edit")
		}},
		{name: "a base above the head is a conflict", run: func(t *trial) {
			v := t.must(t.put("t1", 0, `{"a":1}`))
			t.one(t.patch("t1", v+1, `{"a":2}`), "conflict")
			t.one(t.put("t1", v+1, `{"a":2}`), "conflict")
		}},
	}
}
