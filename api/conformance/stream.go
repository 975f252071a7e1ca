package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// event is one of a stream (WHATWG HTML, section 9.2).
type event struct{ name, data, id string }

// stream is an open one.
type stream struct {
	t     *trial
	body  io.Closer
	lines *bufio.Reader
	id    string
}

// eventTimeout bounds the wait for one event.
const eventTimeout = 20 * time.Second

// stream opens a stream; close ends it.
func (t *trial) stream(path string, headers ...string) *stream {
	res, err := t.client.open(t.ctx, http.MethodGet, path, "", headers) //nolint:bodyclose // the stream's close does
	if err != nil {
		t.failf("GET %s: %v", path, err)
	}
	s := &stream{t: t, body: res.Body, lines: bufio.NewReader(res.Body)}
	media := res.Header.Get("Content-Type")
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(media, "text/event-stream") {
		s.close()
		t.failf("GET %s: status %d, Content-Type %q, want a stream of events", path, res.StatusCode, media)
	}
	return s
}

func (s *stream) close() { _ = s.body.Close() }

// next returns the next event.
func (s *stream) next() event {
	late := time.AfterFunc(eventTimeout, s.close)
	defer late.Stop()
	e := event{name: "message"}
	var data []string
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			s.t.failf("a stream ended, or had no event for %v: %v", eventTimeout, err)
		}
		field, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case strings.TrimRight(line, "\r\n") == "" && data != nil:
			e.data, e.id = strings.Join(data, "\n"), s.id
			return e
		case strings.TrimRight(line, "\r\n") == "":
			e.name = "message"
		case field == "event":
			e.name = value
		case field == "data":
			data = append(data, value)
		case field == "id":
			s.id = value
		}
	}
}

// page returns the next page; events of other kinds are passed over.
func (s *stream) page() page {
	for {
		e := s.next()
		switch e.name {
		case "reset", "bye":
			s.t.failf("event %s, want changes: %.200s", e.name, e.data)
		case "changes":
		default:
			continue
		}
		var p page
		if err := json.Unmarshal([]byte(e.data), &p); err != nil {
			s.t.failf("a page: %v in %.200s", err, e.data)
		}
		return p
	}
}

// until reads pages until one is at a version, and returns their changes.
func (s *stream) until(version int64) (changes []change, last page) {
	for {
		p := s.page()
		changes = append(changes, p.Changes...)
		if !p.HasMore && p.Version >= version {
			return changes, p
		}
	}
}

func streaming() []check {
	return []check{
		{name: "a stream brings what is there, and then what comes", run: func(t *trial) {
			v := t.must(t.put("t1", 0, `{}`))
			s := t.stream(t.feed("/stream"))
			defer s.close()
			held := map[string]change{}
			changes, last := s.until(v)
			take(held, changes)
			t.same("the first page", names(changes), []string{"todos/t1"})
			t.proven(last, held)
			t.same("the id", s.id, last.Cursor)
			for i := range 3 {
				v = t.must(t.put(fmt.Sprint("n", i), 0, `{}`))
				changes, last = s.until(v)
				take(held, changes)
				t.same("what comes", names(changes), []string{fmt.Sprint("todos/n", i)})
				t.proven(last, held)
			}
		}},
		{name: "Last-Event-ID goes on where a stream ended", run: func(t *trial) {
			v := t.must(t.put("t1", 0, `{}`))
			s := t.stream(t.feed("/stream"))
			s.until(v)
			id := s.id
			s.close()
			v = t.must(t.put("t2", 0, `{}`))
			s = t.stream(t.feed("/stream"), "Last-Event-ID", id)
			defer s.close()
			changes, _ := s.until(v)
			t.same("changes since", names(changes), []string{"todos/t2"})
		}},
		{name: "a cursor of a poll begins a stream, and the id of a stream goes on as a poll", run: func(t *trial) {
			t.must(t.put("t1", 0, `{}`))
			p := t.head()
			v := t.must(t.put("t2", 0, `{}`))
			s := t.stream(t.feed("/stream", "cursor", p.Cursor))
			defer s.close()
			changes, _ := s.until(v)
			t.same("changes since", names(changes), []string{"todos/t2"})
			t.must(t.put("t3", 0, `{}`))
			t.same("changes after the id", names(t.pull("cursor", s.id).Changes), []string{"todos/t3"})
		}},
		{name: "a cursor that can't be gone on from is a reset", run: func(t *trial) {
			t.must(t.put("t1", 0, `{}`))
			cursor := t.pull("collections", "todos").Cursor
			s := t.stream(t.path("/stream"), "Last-Event-ID", cursor)
			defer s.close()
			e := s.next()
			for e.name != "reset" && e.name != "changes" {
				e = s.next()
			}
			var p problem
			err := json.Unmarshal([]byte(e.data), &p)
			t.is(err == nil && e.name == "reset" && p.Code == "cursor_expired" && p.Cause == "filter" && e.id == "", "got event %q with id %q: %.200s", e.name, e.id, e.data)
		}},
		{name: "one stream carries several spaces", run: func(t *trial) {
			other := &trial{ctx: t.ctx, client: t.client, space: t.space + "-b"}
			v := t.must(t.put("t1", 0, `{}`))
			w := other.must(other.put("t1", 0, `{}`))
			path := "/v1/stream?" + query("space", t.space, "space", other.space)
			s := t.stream(path)
			// reach reads until each space is at a version.
			reach := func(s *stream, want map[string]int64) (got []string) {
				for len(want) > 0 {
					p := s.page()
					for _, name := range names(p.Changes) {
						got = append(got, p.Space+" "+name)
					}
					if v, asked := want[p.Space]; asked && p.Version >= v && !p.HasMore {
						delete(want, p.Space)
					}
				}
				return got
			}
			t.same("changes", len(reach(s, map[string]int64{t.space: v, other.space: w})), 2)
			w = other.must(other.put("t2", 0, `{}`))
			t.same("what comes", reach(s, map[string]int64{other.space: w}), []string{other.space + " todos/t2"})
			id := s.id
			s.close()
			v = t.must(t.put("t3", 0, `{}`))
			s = t.stream(path, "Last-Event-ID", id)
			defer s.close()
			t.same("changes since the id", reach(s, map[string]int64{t.space: v}), []string{t.space + " todos/t3"})
		}},
		{name: "a ticket opens a stream without a token", run: func(t *trial) {
			v := t.must(t.put("t1", 0, `{}`))
			a := t.ask("POST", t.path("/stream-tickets"), "")
			t.is(a.status == http.StatusOK || a.status == http.StatusCreated, "status %d: %s", a.status, a.body)
			var ticket struct {
				Ticket string `json:"ticket"`
			}
			t.parse(a, "application/json", &ticket)
			s := t.stream(t.feed("/stream", "ticket", ticket.Ticket), "Authorization", "")
			defer s.close()
			changes, _ := s.until(v)
			t.same("changes", names(changes), []string{"todos/t1"})
		}},
		{name: "a ticket opens no other space", withToken: true, run: func(t *trial) {
			var ticket struct {
				Ticket string `json:"ticket"`
			}
			t.parse(t.ask("POST", t.path("/stream-tickets"), ""), "application/json", &ticket)
			path := "/v1/spaces/" + t.space + "-other/stream?" + query("ticket", ticket.Ticket)
			ctx, cancel := context.WithTimeout(t.ctx, eventTimeout)
			defer cancel()
			res, err := t.client.open(ctx, http.MethodGet, path, "", []string{"Authorization", ""})
			if err != nil {
				t.failf("%v", err)
			}
			defer func() { _ = res.Body.Close() }()
			t.is(res.StatusCode >= 401 && res.StatusCode <= 404, "a ticket of another space: status %d", res.StatusCode)
		}},
	}
}

func presence() []check {
	type present struct {
		Present []struct {
			ClientID string          `json:"client_id"`
			State    json.RawMessage `json:"state"`
		} `json:"present"`
	}
	who := func(t *trial, a answer) string {
		var p present
		t.read(a, &p)
		list := []string{}
		for _, one := range p.Present {
			list = append(list, one.ClientID+string(one.State))
		}
		return strings.Join(list, " ")
	}
	// wait asks until all nodes have heard of it, as long as an event may take.
	wait := func(t *trial, want string) {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for late := time.After(eventTimeout); ; {
			got := who(t, t.ask("GET", t.path("/presence"), ""))
			if got == want {
				return
			}
			select {
			case <-tick.C:
			case <-late:
				t.failf("present are %q, want %q", got, want)
			}
		}
	}
	return []check{
		{name: "a heartbeat shows who is there, leaving ends it", run: func(t *trial) {
			t.same("who is present", who(t, t.ask("PUT", t.path("/presence/c1"), `{"state":{"n":1},"ttl_s":30}`)), `c1{"n":1}`)
			wait(t, `c1{"n":1}`)
			t.want(t.ask("PUT", t.path("/presence/c2"), `{"state":{},"ttl_s":30}`), http.StatusOK)
			wait(t, `c1{"n":1} c2{}`)
			t.want(t.ask("DELETE", t.path("/presence/c1"), ""), http.StatusNoContent)
			wait(t, `c2{}`)
			t.holds() // it is in no feed
		}},
		{name: "a state is a small object", run: func(t *trial) {
			for _, bad := range []string{`{"state":[]}`, `{"state":{"a":"` + strings.Repeat("x", 1100) + `"}}`, `{"state":{},"ttl_s":0}`, `{"state":{},"x":1}`} {
				a := t.ask("PUT", t.path("/presence/c1"), bad)
				t.is(a.status >= 400 && a.status < 500, "%.40s: status %d", bad, a.status)
				t.problem(a, bad)
			}
			t.same("who is present", who(t, t.ask("GET", t.path("/presence"), "")), "")
		}},
		{name: "streams tell who comes", run: func(t *trial) {
			s := t.stream(t.feed("/stream"))
			defer s.close()
			t.want(t.ask("PUT", t.path("/presence/c1"), `{"state":{"n":1},"ttl_s":30}`), http.StatusOK)
			for {
				if e := s.next(); e.name == "presence" && strings.Contains(e.data, `"c1"`) {
					return
				}
			}
		}},
	}
}
