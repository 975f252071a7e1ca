package converge_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/tests/converge"
)

// TestJudge_tellsGoodFromBad holds the judge itself to a short history: nothing is
// wrong with it, and then one thing is.
func TestJudge_tellsGoodFromBad(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spoil func(h []converge.Event) []converge.Event
		want  string // among the findings
	}{
		"an acknowledged edit is gone from the snapshot": {func(h []converge.Event) []converge.Event {
			h[atWitness].Page.Docs = h[atWitness].Page.Docs[:2]
			return h
		}, "witness is at the head 4 and holds lists/0 at 0, it was changed at 4"},
		"an acknowledged token is gone from its list": {func(h []converge.Event) []converge.Event {
			for _, doc := range []*converge.Doc{h[atAppend+1].Took, &h[atFollower].Page.Docs[2], &h[atWitness].Page.Docs[2]} {
				doc.Data = `{"items":[]}`
			}
			return h
		}, "a:3 was appended to lists/0 and is not there"},
		"a token that is in its list twice": {func(h []converge.Event) []converge.Event {
			h[atAppend].Edit.Data = twice
			for _, doc := range []*converge.Doc{h[atAppend+1].Took, &h[atFollower].Page.Docs[2], &h[atWitness].Page.Docs[2]} {
				doc.Data = twice
			}
			return h
		}, "a:3 was appended 2 times"},
		"two edits on one base": {func(h []converge.Event) []converge.Event {
			h[atSecondCount].Edit.Base = &one
			return h
		}, "a/e2 was made on counters/0 at 1 and applied at 3, over 2"},
		"a retry that took effect again": {func(h []converge.Event) []converge.Event {
			again := *h[atFirstCount+1].Result
			again.Version = 9
			return append(h, converge.Event{Kind: converge.KindAnswer, Client: "a", Result: &again})
		}, "a/e1 is applied at 2 and at 9"},
		"an edit that is made anew though it was applied": {func(h []converge.Event) []converge.Event {
			h[atSecondCount].Edit.Token = "a:1"
			return h
		}, "a:1 took effect as e1 and as e2"},
		"a counter that is too low": {func(h []converge.Event) []converge.Event {
			h[atWitness].Page.Docs[1].Data = `{"n":1}`
			return h
		}, "counters/0 is at 1, 2 have counted"},
		"a follower that was not shown a version": {func(h []converge.Event) []converge.Event {
			h[atFollower].Page.Docs = h[atFollower].Page.Docs[:2]
			return h
		}, "b is at the head 4 and holds lists/0 at 0, it was changed at 4"},
		"a document that was never deleted and is gone": {func(h []converge.Event) []converge.Event {
			h[atFollower].Page.Docs[2] = converge.Doc{Key: "lists/0", Version: 4, Deleted: true}
			return h
		}, "lists/0 at 4 is a document and a tombstone"},
		"a version with two contents": {func(h []converge.Event) []converge.Event {
			h[atFollower].Page.Docs[0].Data = `{"n":7}`
			return h
		}, `counters/0 at 3 is {"n":2}, and to b {"n":7}`},
		"an end that is not that of the others": {func(h []converge.Event) []converge.Event {
			h[atFollower].Page.Docs[0].Data = `{"n":7}`
			return h
		}, `b ends with counters/0 at 3: {"n":7}, want 3: {"n":2}`},
		"money out of nowhere": {func(h []converge.Event) []converge.Event {
			h[atWitness].Page.Docs[0].Data = `{"balance":1}`
			return h
		}, "witness is at the head 4 and its 1 accounts hold 1 together, want 0"},
		"an edit that nobody sent": {func(h []converge.Event) []converge.Event {
			h[atWitness].Page.Docs[1].By = "a/e9"
			return h
		}, "counters/0 at 3 is of a/e9, which nobody sent"},
		"a digest that is not of the documents": {func(h []converge.Event) []converge.Event {
			h[atWitness].Page.Digest = "0000000000000000"
			return h
		}, "the page says 0000000000000000 of 3"},
		"a page beyond its head": {func(h []converge.Event) []converge.Event {
			h[atFollower].Page.Version = 3
			return h
		}, "a page of head 3 shows lists/0 at 4 to b"},
		"a client that never ends": {func(h []converge.Event) []converge.Event {
			return append(h, converge.Event{Kind: converge.KindStuck, Client: "a", Why: "2 edits wait"})
		}, "a has not come to its end: 2 edits wait"},
		"a witness that never ends": {func(h []converge.Event) []converge.Event {
			return h[:len(h)-1]
		}, "the witness has not come to its end"},
		"a cursor that expires for no reason": {func(h []converge.Event) []converge.Event {
			return append(h, converge.Event{Kind: converge.KindExpired, Client: "a", Why: "epoch"})
		}, "a is told that its cursor is of no use (epoch)"},
		"an answer that nothing excuses": {func(h []converge.Event) []converge.Event {
			return append(h, converge.Event{Kind: converge.KindError, Client: "a", Why: "500"})
		}, "a: 500"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := judged(t, test.spoil(shortHistory()), nil)
			if found := strings.Join(v.Findings, "\n"); v.Bad() == 0 || !strings.Contains(found, test.want) {
				t.Errorf("found %q, want %q among it", found, test.want)
			}
		})
	}
	if v := judged(t, shortHistory(), nil); v.Bad() > 0 {
		t.Errorf("of a good history the judge says %q", v.Findings)
	}
}

// TestJudgeAfterLoss_tellsKnownLossFromOthers: the database has lost the version 4 and
// knows it, a starts again, and all end without the list.
func TestJudgeAfterLoss_tellsKnownLossFromOthers(t *testing.T) {
	t.Parallel()
	lost := func(version int64) bool { return version == 4 }
	history := func() []converge.Event {
		h := shortHistory()
		rest := h[atWitness].Page
		rest.Version, rest.Docs = 5, rest.Docs[:2]
		rest.Digest, rest.Count = converge.Sum(map[string]converge.Doc{"accounts/0": rest.Docs[0], "counters/0": rest.Docs[1]})
		again := *rest
		again.Docs = []converge.Doc{rest.Docs[0], rest.Docs[1]}
		page := converge.Event{Kind: converge.KindPage, Page: &again}
		page.Client = "a"
		expired := converge.Event{Kind: converge.KindExpired, Client: "a", Why: "epoch"}
		other := page
		other.Client = "b"
		h = append(h[:atFollower+1], append([]converge.Event{expired, page, other}, h[atFollower+1:]...)...)
		return h
	}
	v := judged(t, history(), lost)
	if v.Bad() > 0 || v.Met[converge.AppliedAndLost] != 1 {
		t.Errorf("of a loss that is known: %d lost, and %q", v.Met[converge.AppliedAndLost], v.Findings)
	}
	if v := judged(t, history(), nil); v.Lost == 0 {
		t.Error("a loss that nobody knows of is not found")
	}
	more := history()
	more[atWitness+3].Page.Docs = more[atWitness+3].Page.Docs[:1]
	if v := judged(t, more, lost); v.Lost == 0 {
		t.Error("a loss beyond what is known is not found")
	}
}

func judged(t *testing.T, history []converge.Event, lost func(int64) bool) *converge.Verdict {
	t.Helper()
	file := filepath.Join(t.TempDir(), "history.jsonl")
	record, err := converge.Record(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range history {
		record.Add(e)
	}
	if err := record.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := converge.JudgeAfterLoss(file, lost)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

var zero, one, two int64 = 0, 1, 2

const (
	once  = `{"items":["a:3"]}`
	twice = `{"items":["a:3","a:3"]}`
)

// Where things stand in shortHistory.
const (
	atFirstCount  = 1
	atSecondCount = 3
	atAppend      = 5
	atFollower    = 7
	atWitness     = 9
)

// shortHistory: a counts twice and appends, b follows from the setup on.
func shortHistory() []converge.Event {
	const counter, list, account = "counters/0", "lists/0", "accounts/0"
	money := converge.Doc{Key: account, Version: 1, Data: `{"balance":0}`, By: "setup/s2"}
	counted := func(version int64, data, by string) *converge.Doc {
		return &converge.Doc{Key: counter, Version: version, Data: data, By: by}
	}
	appended := func() *converge.Doc { return &converge.Doc{Key: list, Version: 4, Data: once, By: "a/e3"} }
	digest, count := converge.Sum(map[string]converge.Doc{account: money, counter: *counted(3, "", ""), list: *appended()})
	answer := func(id string, took *converge.Doc) converge.Event {
		return converge.Event{Kind: converge.KindAnswer, Client: "a", Result: &converge.Result{ID: id, Status: "applied", Version: took.Version}, Took: took}
	}
	return []converge.Event{
		{Kind: converge.KindPage, Client: "a", Page: &converge.Page{Version: 1, By: "pull", Docs: []converge.Doc{*counted(1, `{"n":0}`, "setup/s1"), money}}},
		{Kind: converge.KindSend, Client: "a", Edit: &converge.Edit{ID: "e1", Op: "put", Key: counter, Base: &one, Data: `{"n":1}`, Token: "a:1"}},
		answer("e1", counted(2, `{"n":1}`, "a/e1")),
		{Kind: converge.KindSend, Client: "a", Edit: &converge.Edit{ID: "e2", Op: "put", Key: counter, Base: &two, Data: `{"n":2}`, Token: "a:2"}},
		answer("e2", counted(3, `{"n":2}`, "a/e2")),
		{Kind: converge.KindSend, Client: "a", Edit: &converge.Edit{ID: "e3", Op: "put", Key: list, Base: &zero, Data: once, Token: "a:3"}},
		answer("e3", appended()),
		{Kind: converge.KindPage, Client: "b", Page: &converge.Page{
			Version: 4, By: "poll", Digest: digest, Count: count, Docs: []converge.Doc{*counted(3, `{"n":2}`, "a/e2"), money, *appended()},
		}},
		{Kind: converge.KindEnd, Client: "b"},
		{Kind: converge.KindPage, Client: converge.Witness, Page: &converge.Page{
			Start: true, Version: 4, By: "pull", Digest: digest, Count: count, Docs: []converge.Doc{money, *counted(3, `{"n":2}`, "a/e2"), *appended()},
		}},
		{Kind: converge.KindEnd, Client: "a"},
		{Kind: converge.KindEnd, Client: converge.Witness},
	}
}
