package converge

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemark/tidemark/tests/harness"
)

// view is what a client holds.
type view struct {
	held, fresh map[string]Doc // fresh is a snapshot that is being read
	ended       bool
}

// replay lets the client of an event take in what it took in, and asks whether it
// may hold what it does.
func (j *judge) replay(e *Event) error {
	if e.Client == "" {
		return nil
	}
	v := j.clients[e.Client]
	if v == nil {
		v = &view{held: map[string]Doc{}}
		j.clients[e.Client] = v
	}
	switch e.Kind {
	case KindAnswer:
		if e.Took != nil {
			v.held[e.Took.Key] = j.whole(*e.Took)
		}
	case KindPage:
		j.page(e.Client, v, e.Page)
	case KindEnd:
		v.ended = true
	case KindRun, KindSend, KindOpen, KindFound, KindExpired, KindMismatch, KindError, KindStuck:
	}
	return nil
}

// whole puts back the data that the history has told elsewhere.
func (j *judge) whole(d Doc) Doc {
	if known := j.docs[d.Key].at[d.Version]; d.Data == "" && !d.Deleted && known != nil {
		d.Data = known.data
	}
	return d
}

func (j *judge) page(client string, v *view, page *Page) {
	if page.Start {
		v.fresh = map[string]Doc{}
	}
	into := v.held
	if v.fresh != nil {
		into = v.fresh
	}
	for _, d := range page.Docs {
		if d.Version > page.Version {
			j.find(&j.Diverged, "a page of head %d shows %s at %d to %s", page.Version, d.Key, d.Version, client)
		}
		if d.Version > into[d.Key].Version {
			into[d.Key] = j.whole(d)
		}
	}
	if page.More {
		return
	}
	if v.fresh != nil {
		v.held, v.fresh = v.fresh, nil
	}
	j.checkHeld(client, v.held, page)
}

// checkHeld: a client at the end of a page without more holds every document as it
// was at the head of that page, or newer where it has edited it since.
func (j *judge) checkHeld(client string, held map[string]Doc, page *Page) {
	counter := &j.Gaps
	if client == Witness {
		counter = &j.Lost // it has begun from the start: what it is not shown is not there
	}
	ahead, stale := false, j.isLost(page.Version)
	for _, has := range held {
		// It was told so for a push, which is lost, and has not come to know that. Its
		// digest says so at this page, and it starts again.
		stale = stale || j.isLost(has.Version)
	}
	if stale {
		return
	}
	for key, doc := range j.docs {
		has := held[key]
		ahead = ahead || has.Version > page.Version
		want := doc.newestAt(page.Version)
		switch {
		case has.Version >= want:
		case doc.at[want].deleted && (has.Version == 0 || has.Deleted):
		default:
			j.find(counter, "%s is at the head %d and holds %s at %d, it was changed at %d", client, page.Version, key, has.Version, want)
		}
	}
	if ahead {
		return // what it has from an answer may be newer than the rest
	}
	j.checkDigest(client, held, page)
	sum, accounts := 0, 0
	for key, doc := range held {
		if strings.HasPrefix(key, Accounts+"/") {
			sum += number(doc.Data, "balance")
			accounts++
		}
	}
	if sum != 0 {
		j.find(&j.Diverged, "%s is at the head %d and its %d accounts hold %d together, want 0", client, page.Version, accounts, sum)
	}
}

func (j *judge) checkDigest(client string, held map[string]Doc, page *Page) {
	if page.Digest == "" {
		return
	}
	j.Met["digest"]++
	if sum, count := Sum(held); sum != page.Digest || count != page.Count {
		j.find(&j.Diverged, "%s is at the head %d with digest %s of %d, the page says %s of %d", client, page.Version, sum, count, page.Digest, page.Count)
	}
}

// Sum is the digest of documents, and how many of them live.
func Sum(docs map[string]Doc) (digest string, count int64) {
	sum := uint64(0)
	for key, doc := range docs {
		if !doc.Deleted {
			collection, id, _ := strings.Cut(key, "/")
			sum += harness.DocumentHash(collection, id, doc.Version)
			count++
		}
	}
	return fmt.Sprintf("%016x", sum), count
}

// checkEnd: all have come to their end, hold the same, and that is what the tokens
// say.
func (j *judge) checkEnd() {
	witness := j.clients[Witness]
	if witness == nil || !witness.ended {
		j.find(&j.Stuck, "the witness has not come to its end")
		return
	}
	truth := live(witness.held)
	for name, v := range j.clients {
		if !v.ended {
			continue // told as stuck
		}
		held := live(v.held)
		for key, want := range truth {
			if got := held[key]; got.Version != want.Version || got.Data != want.Data {
				j.find(&j.Diverged, "%s ends with %s at %d: %s, want %d: %s", name, key, got.Version, got.Data, want.Version, want.Data)
			}
		}
		for key, doc := range held {
			if _, there := truth[key]; !there {
				j.find(&j.Diverged, "%s ends with %s at %d, which is gone", name, key, doc.Version)
			}
		}
	}
	j.checkCounters(truth)
	j.checkLists(truth)
	j.checkForms(truth)
}

// checkCounters: a counter is at the number of those who have counted; who was never
// answered may or may not have.
func (j *judge) checkCounters(truth map[string]Doc) {
	counted, open := map[string]int{}, map[string]int{}
	for _, t := range j.tokens {
		switch {
		case t.applied != nil:
			counted[t.key]++
		case t.open:
			open[t.key]++
		}
	}
	for key, doc := range truth {
		if !strings.HasPrefix(key, Counters+"/") {
			continue
		}
		switch n := number(doc.Data, "n"); {
		case n < counted[key]:
			j.find(&j.Lost, "%s is at %d, %d have counted", key, n, counted[key])
		case n > counted[key]+open[key]:
			j.find(&j.Doubled, "%s is at %d, only %d have counted and %d may have", key, n, counted[key], open[key])
		}
	}
}

// checkLists: every token that was acknowledged is there once, those of a client in
// the order it sent them.
func (j *judge) checkLists(truth map[string]Doc) {
	there := map[string]int{}
	for key, doc := range truth {
		if !strings.HasPrefix(key, Lists+"/") {
			continue
		}
		var list struct{ Items []string }
		if err := json.Unmarshal([]byte(doc.Data), &list); err != nil {
			j.find(&j.Diverged, "%s is no list: %v", key, err)
			continue
		}
		last := map[string]int{}
		for _, item := range list.Items {
			there[item]++
			client, n := tokenOf(item)
			if n < last[client] {
				j.find(&j.Diverged, "%s: %s comes after %d of the same client", key, item, last[client])
			}
			last[client] = n
			if t := j.tokens[item]; t == nil || t.applied == nil && !t.open {
				j.find(&j.Diverged, "%s holds %s, which was not applied", key, item)
			}
		}
	}
	for name, t := range j.tokens {
		if !strings.HasPrefix(t.key, Lists+"/") {
			continue
		}
		if t.applied != nil && there[name] == 0 {
			j.find(&j.Lost, "%s was appended to %s and is not there", name, t.key)
		}
		if there[name] > 1 {
			j.find(&j.Doubled, "%s was appended %d times", name, there[name])
		}
	}
}

// checkForms: a field holds what was patched into it last.
func (j *judge) checkForms(truth map[string]Doc) {
	newest := map[field]*fate{}
	for at, patches := range j.patches {
		for _, f := range patches {
			if last := newest[at]; last == nil || last.version <= f.version {
				newest[at] = f
			}
		}
	}
	for at, f := range newest {
		var fields map[string]string
		if err := json.Unmarshal([]byte(truth[at.key].Data), &fields); err != nil {
			j.find(&j.Lost, "%s is gone or no form: %v", at.key, err)
			continue
		}
		got := fields[at.name]
		if t := j.tokens[got]; got != f.Token && (t == nil || !t.unsure()) {
			j.find(&j.Lost, "%s ends with %s = %s, the newest that was acknowledged is %s at %d", at.key, at.name, got, f.Token, f.version)
		}
	}
}

// tokenOf takes a token apart: "c3:17".
func tokenOf(name string) (client string, n int) {
	client, number, _ := strings.Cut(name, ":")
	n, _ = strconv.Atoi(number)
	return client, n
}

func number(data, field string) int {
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(data), &fields) != nil {
		return 0
	}
	n, _ := strconv.Atoi(string(fields[field]))
	return n
}
