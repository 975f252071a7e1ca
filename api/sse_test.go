package api

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/tests/eventstream"
)

// readEvents returns the events of a frame.
func readEvents(t *testing.T, frame string) (events []eventstream.Event, last eventstream.Event) {
	t.Helper()
	r := eventstream.NewReader(strings.NewReader(frame))
	for {
		e, err := r.Next()
		if err != nil {
			return events, r.Last()
		}
		events = append(events, e)
	}
}

func pageFrame(p *models.Page, space, id string) string {
	b := appendPageHead(nil, space)
	b = append(b, pageText(p)...)
	return string(appendID(b, id))
}

func TestEvent(t *testing.T) {
	t.Parallel()
	id, none := "c1", ""
	for _, test := range []struct {
		event event
		want  string
	}{
		{event{name: "bye", data: []byte(`{}`)}, "event: bye\ndata: {}\n\n"},
		{event{name: "bye", data: []byte(`{}`), retry: 1500 * time.Millisecond}, "event: bye\ndata: {}\nretry: 1500\n\n"},
		{event{name: "reset", data: []byte(`{}`), id: &none}, "event: reset\ndata: {}\nid: \n\n"},
		{event{name: "reset", data: []byte("{\n}"), id: &id}, "event: reset\ndata: {\ndata: }\nid: c1\n\n"},
	} {
		if diff := cmp.Diff(test.want, string(test.event.frame())); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test.event, diff)
		}
	}
}

func TestPageFrame(t *testing.T) {
	t.Parallel()
	page := &models.Page{Cursor: "c1", Version: 7, PollAfter: time.Second}
	want := "event: changes\ndata: {\"changes\":[],\"cursor\":\"c1\",\"has_more\":false,\"version\":7,\"poll_after_ms\":1000}\nid: c1\n\n"
	if diff := cmp.Diff(want, pageFrame(page, "", "c1")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want = strings.Replace(strings.Replace(want, "{", `{"space":"s1",`, 1), "id: c1", "id: s1=c1", 1)
	if diff := cmp.Diff(want, pageFrame(page, "s1", "s1=c1")); diff != "" {
		t.Errorf("of several spaces (-want +got):\n%s", diff)
	}
}

// Documents are kept byte for byte, and may have any line end between their tokens.
func TestPageFrame_lineEnds(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		"{}", "{\n}", "{\r}", "{\r\n}", "{\n\r}", "{\r\r\n\n}", "\n{\n\"a\"\r\n:\r1\n}\n", "{\"a\":\"\\r\\n\"}",
		"\r\n\r\n\r\n{}", "{\"a\":\r\n[\n\ndata: \n]}", "{ \n\n \n}",
	} {
		page := &models.Page{Cursor: "c1", Changes: []models.Change{{Collection: "c", ID: "d", Data: json.RawMessage(data)}}}
		events, last := readEvents(t, pageFrame(page, "", "c1"))
		if len(events) != 1 || events[0].Name != "changes" || events[0].ID != "c1" || last.ID != "c1" {
			t.Errorf("%q: got %+v", data, events)
			continue
		}
		want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(page.AppendJSON(nil)))
		if diff := cmp.Diff(want, events[0].Data); diff != "" {
			t.Errorf("%q (-want +got):\n%s", data, diff)
		}
	}
}

// A page that is cut off anywhere neither shows nor moves the client, not even
// one that believes an id at the end of its line.
func TestPageFrame_cutOff(t *testing.T) {
	t.Parallel()
	frame := pageFrame(&models.Page{Cursor: "c1", Changes: []models.Change{{Data: json.RawMessage("{\n}")}}}, "", "c1")
	for end := range len(frame) {
		events, last := readEvents(t, frame[:end])
		if len(events) != 0 || last.ID != "" {
			t.Errorf("%q: got %+v, id %q", frame[:end], events, last.ID)
		}
		if strings.Contains(frame[:end], "id: c1\n") && !strings.Contains(frame[:end], "}\nid") {
			t.Errorf("%q: the id comes before the end of the data", frame[:end])
		}
	}
}

func FuzzPageFrame(f *testing.F) {
	f.Add("{\r\n}", "s1")
	f.Fuzz(func(t *testing.T, data, space string) {
		if strings.ContainsFunc(space, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' }) {
			return // not the name of a space
		}
		page := &models.Page{Cursor: "c1", Changes: []models.Change{{Data: json.RawMessage(data)}}}
		events, last := readEvents(t, pageFrame(page, space, "c1"))
		if len(events) != 1 || last.ID != "c1" || !strings.HasSuffix(events[0].Data, "}") {
			t.Errorf("%q: got %+v", data, events)
		}
	})
}
