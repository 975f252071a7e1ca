package wire

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const streamText = "retry: 2000\n\n: heartbeat\n\nid: c1\nevent: changes\ndata: {\"changes\":[]}\n\n" +
	"event: presence\n\n: an event without data is none\n\n" +
	"event: changes\r\ndata:{\"a\":\r\ndata: 1}\r\nid: c2\r\n\r\n" +
	"data\nid\n\n" + "data: last\n\n" + "data: cut off"

type seen struct{ Name, ID, Data string }

var streamEvents = []seen{
	{"changes", "c1", `{"changes":[]}`},
	{"changes", "c2", "{\"a\":\n1}"},
	{"", "", ""},
	{"", "", "last"},
}

// The same stream in chunks of every size, so that each line is cut at each
// place once, and without chunks.
func TestStream_Next(t *testing.T) {
	t.Parallel()
	for size := range 30 {
		target := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if size == 0 {
				writeUnchunked(t, w)
				return
			}
			for rest := streamText; rest != ""; {
				n := min(size, len(rest))
				io.WriteString(w, rest[:n])
				http.NewResponseController(w).Flush()
				rest = rest[n:]
			}
		})
		stream, err := OpenStream(t.Context(), target, target.Get("/", "", "Accept: text/event-stream"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := readAll(stream)
		if !errors.Is(err, io.EOF) {
			t.Errorf("chunks of %d: the stream ended with %v", size, err)
		}
		if diff := cmp.Diff(streamEvents, got); diff != "" {
			t.Errorf("chunks of %d (-want +got):\n%s", size, diff)
		}
		stream.Close()
	}
}

func writeUnchunked(t *testing.T, w http.ResponseWriter) {
	t.Helper()
	raw, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer raw.Close()
	io.WriteString(raw, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"+streamText)
}

func readAll(s *Stream) ([]seen, error) {
	var all []seen
	for {
		event, err := s.Next()
		if err != nil {
			return all, err
		}
		all = append(all, seen{string(event.Name), string(event.ID), string(event.Data)})
	}
}

func TestOpenStream_tellsARefusal(t *testing.T) {
	t.Parallel()
	target := serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTooManyRequests) })
	if _, err := OpenStream(t.Context(), target, target.Get("/", "")); err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("a refused stream is opened with %v", err)
	}
}
