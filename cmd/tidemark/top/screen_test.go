package top

import (
	"context"
	"errors"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden frame anew")

var start = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// read makes a reading of what a node would answer.
func read(t *testing.T, text string, at time.Time) answer {
	t.Helper()
	r, err := parse(strings.NewReader(text), at)
	if err != nil {
		t.Fatal(err)
	}
	return answer{reading: &r}
}

const before = `
# TYPE tidemark_build_info gauge
tidemark_build_info{version="v1.2.3"} 1
# TYPE tidemark_push_results_total counter
tidemark_push_results_total{outcome="applied"} 1000
tidemark_push_results_total{outcome="conflict"} 10
# TYPE tidemark_requests_total counter
tidemark_requests_total{method="GET",route="/v1/spaces/{space}/changes",status="2xx"} 300
tidemark_requests_total{method="GET",route="/v1/spaces/{space}/changes",status="5xx"} 2
tidemark_requests_total{method="POST",route="/v1/spaces/{space}/push",status="2xx"} 10
# TYPE tidemark_not_modified_total counter
tidemark_not_modified_total 7
# TYPE tidemark_pages_total counter
tidemark_pages_total{source="tail"} 500
tidemark_pages_total{source="database"} 100
# TYPE tidemark_push_seconds histogram
tidemark_push_seconds_bucket{le="0.001"} 10
tidemark_push_seconds_bucket{le="0.005"} 20
tidemark_push_seconds_bucket{le="+Inf"} 20
tidemark_push_seconds_sum 0.1
tidemark_push_seconds_count 20
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 10
`

const after = `
# TYPE tidemark_build_info gauge
tidemark_build_info{version="v1.2.3"} 1
# TYPE tidemark_push_results_total counter
tidemark_push_results_total{outcome="applied"} 1020
tidemark_push_results_total{outcome="conflict"} 13
# TYPE tidemark_requests_total counter
tidemark_requests_total{method="GET",route="/v1/spaces/{space}/changes",status="2xx"} 400
tidemark_requests_total{method="GET",route="/v1/spaces/{space}/changes",status="5xx"} 2
tidemark_requests_total{method="POST",route="/v1/spaces/{space}/push",status="2xx"} 10
# TYPE tidemark_not_modified_total counter
tidemark_not_modified_total 57
# TYPE tidemark_pages_total counter
tidemark_pages_total{source="tail"} 530
tidemark_pages_total{source="database"} 110
# TYPE tidemark_push_seconds histogram
tidemark_push_seconds_bucket{le="0.001"} 20
tidemark_push_seconds_bucket{le="0.005"} 40
tidemark_push_seconds_bucket{le="+Inf"} 40
tidemark_push_seconds_sum 0.2
tidemark_push_seconds_count 40
# TYPE tidemark_visibility_seconds histogram
tidemark_visibility_seconds_bucket{from="self",le="0.001"} 4
tidemark_visibility_seconds_bucket{from="self",le="+Inf"} 4
tidemark_visibility_seconds_bucket{from="other",le="0.001"} 0
tidemark_visibility_seconds_bucket{from="other",le="+Inf"} 0
# TYPE tidemark_streams gauge
tidemark_streams{kind="space"} 3
tidemark_streams{kind="spaces"} 4
# TYPE tidemark_feed_gaps_total counter
tidemark_feed_gaps_total 0
# TYPE tidemark_panics_total counter
tidemark_panics_total 1
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 11
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 5.2e+07
`

func options() Options {
	return Options{
		Nodes:    []string{"http://10.0.0.5:8080", "http://10.0.0.6:8080"},
		Interval: time.Second,
		Spaces:   (&nobody{}).spaces,
		Now:      func() time.Time { return start },
	}
}

// TestScreen_frame is one frame, whole: rates of two readings, a node that is away,
// figures that no node tells, a promise that is broken.
func TestScreen_frame(t *testing.T) {
	t.Parallel()
	s := newScreen(t.Context(), options())
	later := start.Add(10 * time.Second)
	for _, l := range []looked{
		{at: start, nodes: []answer{read(t, before, start), read(t, before, start)}},
		{at: later, nodes: []answer{read(t, after, later), {err: errors.New("connection refused")}}, spaces: []Space{
			{Name: "home", Head: later.Add(-3 * time.Second).UnixMicro(), Documents: 120, Changed: 7},
			{Name: "quiet", Head: later.Add(-72 * time.Hour).UnixMicro(), Documents: 3},
		}},
	} {
		if _, next := s.Update(l); next == nil {
			t.Error("no further look comes after this one")
		}
	}
	got := s.frame(styles{}, 0)
	const golden = "testdata/frame.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("frame (-want +got), if it is meant so: go test ./cmd/tidemark/top -update\n%s", diff)
	}
	if lines := strings.Count(s.frame(styles{}, 5), "\n"); lines != 5 {
		t.Errorf("a frame for 5 lines has %d", lines)
	}
}

// TestScreen_goesAway: what a node told before it went away is no figure of now.
func TestScreen_goesAway(t *testing.T) {
	t.Parallel()
	s := newScreen(t.Context(), options())
	for i, text := range []string{before, after, ""} {
		at := start.Add(time.Duration(i) * 10 * time.Second)
		first := answer{err: errors.New("away")}
		if text != "" {
			first = read(t, text, at)
		}
		s.take(looked{at: at, nodes: []answer{first, {err: errors.New("away")}}})
	}
	if frame := s.frame(styles{}, 0); !strings.Contains(frame, "edits/s   –") || !strings.Contains(frame, "streams   –") {
		t.Errorf("it shows figures of nodes that are away:\n%s", frame)
	}
}

// TestScreen_returns: a node that was away and started anew counts from zero.
func TestScreen_returns(t *testing.T) {
	t.Parallel()
	s := newScreen(t.Context(), options())
	for i, text := range []string{after, before} {
		at := start.Add(time.Duration(i) * 10 * time.Second)
		s.take(looked{at: at, nodes: []answer{read(t, text, at), {err: errors.New("away")}}})
	}
	if got := s.nodes[0].rate(results); got != 101 {
		t.Errorf("%v edits/s after the node was started, want those that it has counted since: 101", got)
	}
	if got := s.nodes[0].curve(pushTime).quantile(.5); got != .001 {
		t.Errorf("the median is %v s, want that of the new process: 0.001", got)
	}
}

func TestScreen_keys(t *testing.T) {
	t.Parallel()
	s := newScreen(t.Context(), options())
	for _, key := range []tea.KeyPressMsg{{Code: 'q', Text: "q"}, {Code: tea.KeyEscape}, {Code: 'c', Mod: tea.ModCtrl}} {
		_, command := s.Update(key)
		if command == nil {
			t.Errorf("%v does nothing", key)
		} else if got := command(); got != (tea.QuitMsg{}) {
			t.Errorf("%v makes %#v", key, got)
		}
	}
	if _, command := s.Update(tea.KeyPressMsg{Code: 'x', Text: "x"}); command != nil {
		t.Error("x does something")
	}
}

// TestScreen_looks: a look leads to a pause, a pause to a look.
func TestScreen_looks(t *testing.T) {
	t.Parallel()
	o := options()
	o.Nodes, o.Interval = nil, time.Nanosecond
	asked := &nobody{}
	o.Spaces = asked.spaces
	s := newScreen(t.Context(), o)
	message := s.Init()()
	for _, want := range []any{looked{}, due{}, looked{}, due{}} {
		if reflect.TypeOf(message) != reflect.TypeOf(want) {
			t.Fatalf("%#v came, want a %T", message, want)
		}
		_, next := s.Update(message)
		message = next()
	}
	if asked.times != 3 {
		t.Errorf("the database was asked %d times in 3 looks", asked.times)
	}
}

// nobody has no space, and counts how often it is asked.
type nobody struct{ times int }

func (n *nobody) spaces(context.Context, int) ([]Space, error) {
	n.times++
	return nil, nil
}
