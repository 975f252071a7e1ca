package crowd

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/tidemark/tidemark/tests/converge"
	"github.com/tidemark/tidemark/tests/harness"
)

// How many documents there are of each kind: few, so that clients meet.
const (
	registers  = 10
	forms      = 4
	counters   = 3
	accounts   = 6
	listLength = 60 // then clients begin the next list
)

// Setup makes what clients expect to find.
func Setup() harness.Push {
	push := harness.Push{ClientID: "setup", Atomic: true}
	add := func(collection string, n int, data string) {
		for i := range n {
			push.Edits = append(push.Edits, harness.Edit{
				EditID: fmt.Sprint("setup-", collection, i), Op: "put", Collection: collection, ID: fmt.Sprint(i),
				BaseVersion: harness.At(0), Data: []byte(data),
			})
		}
	}
	add(converge.Forms, forms, `{}`)
	add(converge.Counters, counters, `{"n":0}`)
	add(converge.Accounts, accounts, `{"balance":0}`)
	return push
}

// intent is what the user of a client wants. The edits for it depend on what the
// client sees, so they are made anew after a conflict.
type intent struct {
	key, other string // other is where a transfer goes
	op         string // put, delete, force, patch, count, append, move
	field      string
	amount     int
	token      string
}

// wish makes up what the user wants next.
func (c *Client) wish() intent {
	c.wishes++
	want := intent{token: fmt.Sprintf("%s:%d", c.name, c.wishes)}
	pick := func(collection string, n int) string { return fmt.Sprintf("%s/%d", collection, c.random.IntN(n)) }
	switch c.random.IntN(8) {
	case 0, 1, 2:
		want.key = pick(converge.Registers, registers)
		want.op = []string{"put", "put", "put", "delete", "force"}[c.random.IntN(5)]
	case 3, 4:
		want.key, want.op = pick(converge.Forms, forms), "patch"
		want.field = string(rune('a' + c.random.IntN(6)))
	case 5:
		want.key, want.op = pick(converge.Counters, counters), "count"
	case 6:
		want.key, want.op = c.openList(), "append"
	case 7:
		want.key, want.other, want.op = pick(converge.Accounts, accounts), pick(converge.Accounts, accounts), "move"
		want.amount = 1 + c.random.IntN(9)
	}
	return want
}

// openList is the first list that has room, as the client sees it.
func (c *Client) openList() string {
	for i := 0; ; i++ {
		key := fmt.Sprintf("%s/%d", converge.Lists, i)
		if seen, ok := c.see(key, len(c.queue)); !ok || len(list(seen)) < listLength {
			return key
		}
	}
}

// edit is an edit in the queue.
type edit struct {
	harness.Edit
	key   string
	token string
}

// group is the edits of one intent. Those of a transfer go out in a push of their own.
type group struct {
	intent
	edits []*edit
}

func (g *group) atomic() bool { return g.op == "move" }

// make makes the edits of the n-th group anew, on what the client sees before it.
// It reports whether there is anything left to do.
func (c *Client) make(n int, again bool) bool {
	g := c.queue[n]
	g.edits = nil
	seen, there := c.see(g.key, n)
	switch g.op {
	case "put", "force":
		if again && c.random.IntN(2) == 0 {
			return false // the user has seen what others made and leaves it
		}
		c.add(n, g.key, "put", fmt.Sprintf(`{"token":%q}`, g.token))
		if g.op == "force" {
			e := g.edits[0]
			e.BaseVersion, e.BaseEditID, e.Force = nil, "", true
		}
	case "delete":
		if !there {
			return false
		}
		c.add(n, g.key, "delete", "")
	case "patch":
		c.add(n, g.key, "patch", fmt.Sprintf(`{%q:%q}`, g.field, g.token))
	case "count":
		c.add(n, g.key, "put", fmt.Sprintf(`{"n":%d}`, number(seen, "n")+1))
	case "append":
		items, err := json.Marshal(append(list(seen), g.token))
		if err != nil {
			panic(err) // strings
		}
		c.add(n, g.key, "put", fmt.Sprintf(`{"items":%s}`, items))
	case "move":
		if g.key == g.other {
			return false
		}
		c.add(n, g.key, "put", fmt.Sprintf(`{"balance":%d}`, number(seen, "balance")-g.amount))
		seen, _ = c.see(g.other, n)
		c.add(n, g.other, "put", fmt.Sprintf(`{"balance":%d}`, number(seen, "balance")+g.amount))
	}
	return true
}

// add adds an edit to the n-th group, based on the newest edit of the document that
// still waits, or else on the version that the client holds.
func (c *Client) add(n int, key, op, data string) {
	c.edits++
	collection, id, _ := strings.Cut(key, "/")
	e := &edit{key: key, token: c.queue[n].token}
	if key == c.queue[n].other {
		e.token += " to"
	}
	e.EditID, e.Op, e.Collection, e.ID = fmt.Sprint("e", c.edits), op, collection, id
	if data != "" {
		e.Data = []byte(data)
	}
	if before := c.waiting(key, n); before != nil {
		e.BaseEditID = before.EditID
	} else {
		e.BaseVersion = harness.At(c.base[key].Version)
	}
	c.queue[n].edits = append(c.queue[n].edits, e)
}

// waiting is the newest edit of the document in the first n groups.
func (c *Client) waiting(key string, n int) (newest *edit) {
	for _, g := range c.queue[:n] {
		for _, e := range g.edits {
			if e.key == key {
				newest = e
			}
		}
	}
	return newest
}

// see is the document as the client shows it: what it holds, with the edits of the
// first n groups on top.
func (c *Client) see(key string, n int) (data string, there bool) {
	doc := c.base[key]
	data, there = doc.Data, doc.Version > 0 && !doc.Deleted
	for _, g := range c.queue[:n] {
		for _, e := range g.edits {
			if e.key != key {
				continue
			}
			switch e.Op {
			case "put":
				data, there = string(e.Data), true
			case "patch":
				data = merged(data, string(e.Data))
			case "delete":
				data, there = "", false
			}
		}
	}
	if !there {
		data = ""
	}
	return data, there
}

// merged is a form with a patch on top, in the one way to write it.
func merged(data, patch string) string {
	fields := map[string]string{}
	_ = json.Unmarshal([]byte(data), &fields) // nothing there is an empty form
	over := map[string]string{}
	if err := json.Unmarshal([]byte(patch), &over); err != nil {
		panic(err) // made by wish
	}
	maps.Copy(fields, over)
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err) // strings
	}
	return string(text)
}

func list(data string) []string {
	var doc struct{ Items []string }
	_ = json.Unmarshal([]byte(data), &doc) // nothing there is an empty list
	return doc.Items
}

func number(data, field string) int {
	var doc map[string]int
	_ = json.Unmarshal([]byte(data), &doc) // nothing there is 0
	return doc[field]
}
