package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"
)

// sameJSON compares values; numbers by what they are, not by how they are written.
func sameJSON(a json.RawMessage, b string) bool {
	value := func(text []byte) (v any) {
		if err := json.NewDecoder(bytes.NewReader(text)).Decode(&v); err != nil {
			return err
		}
		return v
	}
	return reflect.DeepEqual(value(a), value([]byte(b)))
}

// hash is that of one live document, as openapi.yaml says under Digest.
func hash(collection, id string, version int64) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, b := range []byte(collection + "\x00" + id + "\x00" + strconv.FormatInt(version, 10)) {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// proven fails unless the digest and the count of a page are those of what is held.
func (t *trial) proven(p page, held map[string]change) {
	sum, count := uint64(0), int64(0)
	for _, c := range held {
		if !c.Deleted {
			sum += hash(c.Collection, c.ID, c.Version)
			count++
		}
	}
	t.same("the digest", p.Digest, fmt.Sprintf("%016x", sum))
	t.same("the count", p.Count, count)
}

func take(held map[string]change, changes []change) {
	for _, c := range changes {
		held[c.name()] = c
	}
}

func pulling() []check {
	return []check{
		{name: "a space that was never written is empty, at head 0", run: func(t *trial) {
			p := t.pull()
			t.is(len(p.Changes) == 0 && p.Version == 0 && !p.HasMore, "it is %+v", p)
			t.proven(p, nil)
			v := t.must(t.put("t1", 0, `{}`))
			p = t.pull("cursor", p.Cursor)
			t.is(len(p.Changes) == 1 && p.Version == v, "with the cursor of the empty space: %+v", p)
		}},
		{name: "a change says what, when and by whom", run: func(t *trial) {
			v := t.must(t.put("t1", 0, `{"a":1}`))
			a := t.want(t.ask("GET", t.feed("/changes"), ""), http.StatusOK)
			var raw struct {
				Changes []map[string]any `json:"changes"`
			}
			t.parse(a, "application/json", &raw)
			t.same("changes", len(raw.Changes), 1)
			c := raw.Changes[0]
			for name, want := range map[string]any{
				"collection": "todos", "id": "t1", "version": float64(v), "deleted": false,
				"data": map[string]any{"a": 1.0}, "client_id": "c1", "edit_id": "e1",
			} {
				t.same("the member "+name, c[name], want)
			}
			when, _ := c["updated_at"].(string)
			if _, err := time.Parse(time.RFC3339, when); err != nil {
				t.failf("updated_at is %q: %v", when, err)
			}
			_, named := c["updated_by"].(string)
			t.is(named, "updated_by is %v", c["updated_by"])
		}},
		{name: "oldest version first, each document once, in its newest state", run: func(t *trial) {
			v := t.must(t.put("t1", 0, `{"n":1}`))
			t.must(t.put("t2", 0, `{}`))
			t.must(t.put("t1", v, `{"n":2}`))
			p := t.pull()
			t.same("changes", names(p.Changes), []string{"todos/t2", "todos/t1"})
			t.same("the data", string(p.Changes[1].Data), `{"n":2}`)
		}},
		{name: "pages of any limit bring everything, and split no version", run: func(t *trial) {
			for i := range 4 {
				var edits []edit
				for j := range 3 {
					edits = append(edits, t.put(fmt.Sprintf("t%d-%d", i, j), 0, `{}`))
				}
				t.must(edits...)
			}
			for _, limit := range []string{"1", "2", "3", "4", "7", "1000"} {
				versions := map[int64]int{}
				count := 0
				most, err := strconv.Atoi(limit)
				t.is(err == nil, "%v", err)
				for cursor, more := "", true; more; {
					p := t.pull("cursor", cursor, "limit", limit)
					// At least one whole version, of which each has three documents.
					t.is(len(p.Changes) <= max(most, 3), "with limit %s a page brings %d documents", limit, len(p.Changes))
					for _, v := range slices.Compact(versionsOf(p.Changes)) {
						if versions[v]++; versions[v] > 1 {
							t.failf("with limit %s version %d comes on two pages", limit, v)
						}
					}
					count += len(p.Changes)
					t.is(!p.HasMore || p.Cursor != cursor, "with limit %s the cursor does not advance", limit)
					cursor, more = p.Cursor, p.HasMore
				}
				t.same("documents with limit "+limit, count, 12)
			}
		}},
		{name: "a snapshot has no tombstones; who saw the document gets its tombstone", run: func(t *trial) {
			v := t.must(t.put("t1", 0, `{"a":1}`))
			t.must(t.put("t2", 0, `{}`))
			seen := t.head()
			v = t.must(t.remove("t1", v))
			t.same("the snapshot", names(t.pull().Changes), []string{"todos/t2"})
			p := t.pull("cursor", seen.Cursor)
			t.same("the changes", names(p.Changes), []string{"-todos/t1"})
			t.is(p.Changes[0].Version == v && p.Changes[0].Data == nil, "the tombstone is %+v", p.Changes[0])
		}},
		{name: "what is deleted while a snapshot is paged gets its tombstone", run: func(t *trial) {
			v1 := t.must(t.put("t1", 0, `{}`))
			t.must(t.put("t2", 0, `{}`))
			t.must(t.put("t3", 0, `{}`))
			first := t.pull("limit", "1")
			t.same("the first page", names(first.Changes), []string{"todos/t1"})
			t.must(t.remove("t1", v1))
			changes, last := t.pullAll(first.Cursor, "1")
			t.same("the other pages", names(changes), []string{"todos/t2", "todos/t3", "-todos/t1"})
			held := map[string]change{}
			take(held, first.Changes)
			take(held, changes)
			t.proven(last, held)
		}},
		{name: "digest and count tell what a client holds", run: func(t *trial) {
			held := map[string]change{}
			cursor := ""
			follow := func() {
				changes, p := t.pullAll(cursor, "2")
				take(held, changes)
				cursor = p.Cursor
				t.proven(p, held)
			}
			v1 := t.must(t.put("t1", 0, `{}`), t.put("t2", 0, `{}`).in("notes"))
			follow()
			v2 := t.must(t.patch("t1", v1, `{"a":1}`), t.put("t3", 0, `{}`))
			follow()
			v3 := t.must(t.remove("t1", v2), t.remove("t3", v2), t.put("t4", 0, `{}`))
			follow()
			t.must(t.put("t1", v3, `{}`))
			follow()
			t.same("live documents", len(held), 4)
		}},
		{name: "collections restrict the feed, and a page behind such a filter has no digest", run: func(t *trial) {
			t.must(t.put("t1", 0, `{}`), t.put("n1", 0, `{}`).in("notes"), t.put("x1", 0, `{}`).in("other"))
			p := t.pull("collections", "notes", "collections", "todos")
			got := names(p.Changes)
			slices.Sort(got)
			t.same("changes", got, []string{"notes/n1", "todos/t1"})
			t.same("the digest", p.Digest, "")
			t.same("changes of collections with commas", len(t.pull("collections", "notes,other").Changes), 2)
			v := t.must(t.put("x2", 0, `{}`).in("other"))
			next := t.pull("cursor", p.Cursor, "collections", "todos,notes") // the order does not matter
			t.is(len(next.Changes) == 0 && next.Version == v && next.Cursor != p.Cursor, "the head moved and nothing matched: %+v", next)
		}},
		{name: "a push can pull in the same request, at a head not below its own", run: func(t *trial) {
			start := t.pull()
			t.must(t.put("t1", 0, `{}`))
			own := t.put("t2", 0, `{}`)
			res := t.send(pushRequest{ClientID: "c1", Edits: []edit{own}, Cursor: &start.Cursor})
			t.same("changes", names(res.Changes), []string{"todos/t1", "todos/t2"})
			t.is(!res.HasMore && res.Cursor != "", "the page is %+v", res.page)
			t.same("changes after its cursor", len(t.pull("cursor", res.Cursor).Changes), 0)
			some := t.pull("collections", "notes")
			res = t.send(pushRequest{
				ClientID: "c1", Cursor: &some.Cursor, Collections: []string{"notes"}, Limit: 1,
				Edits: []edit{t.put("n1", 0, `{}`).in("notes"), t.put("t3", 0, `{}`)},
			})
			t.same("changes of one collection", names(res.Changes), []string{"notes/n1"})
			start = t.pull("limit", "1")
			res = t.send(pushRequest{ClientID: "c1", Cursor: &start.Cursor, Limit: 1, Edits: []edit{t.put("t4", 0, `{}`)}})
			t.is(len(res.Changes) == 1 && res.HasMore, "with limit 1 it brings %q, has_more %t", names(res.Changes), res.HasMore)
			none := t.send(pushRequest{ClientID: "c1", Edits: []edit{t.put("t5", 0, `{}`)}})
			t.is(none.Changes == nil && none.Cursor == "", "a push that asked for no page got %+v", none.page)
		}},
		{name: "who names min_version reads what was written", run: func(t *trial) {
			cursor := t.pull().Cursor
			for i := range 10 {
				v := t.must(t.put(fmt.Sprint("t", i), 0, `{}`))
				p := t.pull("cursor", cursor) // which names it
				t.is(p.Version >= v && len(p.Changes) == 1, "after a push at %d: %+v", v, p)
				cursor = p.Cursor
			}
		}},
		{name: "a long poll is answered when something is new, and not before", run: func(t *trial) {
			cursor := t.pull().Cursor
			idle := time.Now()
			p := t.pull("cursor", cursor, "wait", "1")
			t.is(len(p.Changes) == 0 && p.Cursor == cursor && time.Since(idle) > 500*time.Millisecond, "with nothing new, after %v: %+v", time.Since(idle), p)
			var got answer
			var fault error
			answered := make(chan struct{})
			var waiting sync.WaitGroup
			waiting.Go(func() {
				defer close(answered)
				got, fault = t.client.do(t.ctx, http.MethodGet, t.path("/changes?"+query("cursor", cursor, "wait", "25")), "")
			})
			select {
			case <-answered:
				t.failf("a long poll with nothing new is answered: %v, %s", fault, got.body)
			case <-time.After(300 * time.Millisecond):
			}
			begun := time.Now()
			v := t.must(t.put("t1", 0, `{}`))
			waiting.Wait()
			t.is(fault == nil, "a long poll: %v", fault)
			t.read(got, &p)
			t.is(p.Version == v && len(p.Changes) == 1 && time.Since(begun) < 20*time.Second, "%v after a change: %+v", time.Since(begun), p)
		}},
		{name: "304 only for who sends If-None-Match, with its cursor at the head", run: func(t *trial) {
			t.must(t.put("t1", 0, `{}`))
			a := t.want(t.ask("GET", t.feed("/changes"), ""), http.StatusOK)
			var p page
			t.read(a, &p)
			tag := a.header.Get("ETag")
			t.is(tag != "", "a page has no ETag")
			path := t.feed("/changes", "cursor", p.Cursor)
			t.want(t.ask("GET", path, ""), http.StatusOK)
			not := t.want(t.ask("GET", path, "", "If-None-Match", tag), http.StatusNotModified)
			t.is(len(not.body) == 0, "304 has a body: %s", not.body)
			t.must(t.put("t2", 0, `{}`))
			t.want(t.ask("GET", t.feed("/changes", "cursor", p.Cursor), "", "If-None-Match", tag), http.StatusOK)
		}},
		{name: "pages are for nobody's cache", run: func(t *trial) {
			a := t.want(t.ask("GET", t.path("/changes"), ""), http.StatusOK)
			t.same("Cache-Control", a.header.Get("Cache-Control"), "private, no-store")
		}},
		{name: "heads tell the newest versions of spaces", run: func(t *trial) {
			v := t.must(t.put("t1", 0, `{}`))
			empty := t.space + "-empty"
			a := t.want(t.ask("GET", "/v1/heads?"+query("space", t.space, "space", empty, "min_version", fmt.Sprint(v)), ""), http.StatusOK)
			var got struct {
				Heads []struct {
					Space   string `json:"space"`
					Version int64  `json:"version"`
				} `json:"heads"`
			}
			t.read(a, &got)
			t.same("the heads", fmt.Sprint(got.Heads), fmt.Sprintf("[{%s %d} {%s 0}]", t.space, v, empty))
			heads := func(v int64) answer {
				return t.ask("GET", "/v1/heads?"+query("space", t.space, "space", empty, "min_version", fmt.Sprint(v)), "", "If-None-Match", a.header.Get("ETag"))
			}
			t.want(heads(v), http.StatusNotModified)
			t.want(heads(t.must(t.put("t2", 0, `{}`))), http.StatusOK)
		}},
	}
}

func versionsOf(changes []change) []int64 {
	list := make([]int64, len(changes))
	for i, c := range changes {
		list[i] = c.Version
	}
	return list
}

func continuing() []check {
	return []check{
		{name: "any cursor can be gone on from, again and again", run: func(t *trial) {
			cursors := []string{t.pull().Cursor}
			for i := range 5 {
				t.must(t.put(fmt.Sprint("t", i), 0, `{}`))
				cursors = append(cursors, t.pull("cursor", cursors[i]).Cursor)
			}
			for range 2 {
				for i, cursor := range cursors {
					changes, _ := t.pullAll(cursor, "2")
					t.same("changes since", len(changes), 5-i)
				}
			}
		}},
		{name: "a cursor of another space, and a damaged one, are invalid_cursor", run: func(t *trial) {
			t.must(t.put("t1", 0, `{}`))
			cursor := t.pull().Cursor
			t.want(t.ask("GET", t.path("/changes?"+query("cursor", cursor)), ""), http.StatusOK)
			t.refused(t.ask("GET", "/v1/spaces/"+t.space+"-other/changes?"+query("cursor", cursor), ""), 400, "invalid_cursor")
			damaged := []byte(cursor)
			damaged[len(damaged)/2] ^= 1
			for _, bad := range []string{string(damaged), cursor[1:], cursor + "AA", "x"} {
				t.refused(t.ask("GET", t.path("/changes?"+query("cursor", bad)), ""), 400, "invalid_cursor")
			}
			bad := "x"
			t.refused(t.ask("POST", t.path("/push"), t.encode(pushRequest{ClientID: "c1", Edits: []edit{t.put("t2", 0, `{}`)}, Cursor: &bad})), 400, "invalid_cursor")
			t.holds(`todos/t1 {}`) // nothing was applied
		}},
		{name: "a cursor belongs to its filter", run: func(t *trial) {
			t.must(t.put("t1", 0, `{}`))
			cursor := t.pull("collections", "todos").Cursor
			p := t.refused(t.ask("GET", t.path("/changes?"+query("cursor", cursor)), ""), 410, "cursor_expired")
			t.same("the cause", p.Cause, "filter")
		}},
		{name: "min_version above the head is of a lost history", run: func(t *trial) {
			v := t.must(t.put("t1", 0, `{}`))
			cursor := t.pull().Cursor
			path := t.path("/changes?" + query("cursor", cursor, "min_version", fmt.Sprint(v+1_000_000_000)))
			p := t.refused(t.ask("GET", path, ""), 410, "cursor_expired")
			t.same("the cause", p.Cause, "epoch")
		}},
	}
}
