package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/tests/load/measure"
	"github.com/tidemark/tidemark/tests/load/scenario"
)

func rounds(figure string, values ...float64) []scenario.Figures {
	all := make([]scenario.Figures, len(values))
	for i, value := range values {
		all[i] = scenario.Figures{figure: value}
	}
	return all
}

// The share is the median of the shares of the rounds, not the share of the
// medians: a minute in which the whole machine was slow counts for nothing.
func TestNewRow_shareIsOfTheRounds(t *testing.T) {
	t.Parallel()
	c := scenario.Case{Name: "push", LimitName: "pgbench"}
	row := scenario.Row{Figure: "r", Title: "push", Unit: "edits/s", AtLeast: 0.5, Aim: 0.7}
	got := NewRow(c, row, rounds("r", 60, 10, 45), rounds("r", 100, 20, 50))
	met := true
	want := Row{
		Case: "push", Title: "push", Figure: "r", Unit: "edits/s", Value: 45, Rounds: []float64{60, 10, 45},
		LimitName: "pgbench", Limit: 50, LimitRounds: []float64{100, 20, 50},
		Share: 0.6, ShareRounds: []float64{0.6, 0.5, 0.9}, AtLeast: 0.5, Aim: 0.7, Met: &met,
		Ours: scenario.Figures{"r": 45}, LimitFigures: scenario.Figures{"r": 50},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNewRow_verdicts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name         string
		row          scenario.Row
		ours, limits []scenario.Figures
		want         string
	}{
		{"a cost that is near", scenario.Row{LessIsBetter: true, AtLeast: 0.75}, rounds("f", 25), rounds("f", 20), "OK"},
		{"a cost that is far", scenario.Row{LessIsBetter: true, AtLeast: 0.75}, rounds("f", 40), rounds("f", 20), "BELOW"},
		{"exactly the target", scenario.Row{AtLeast: 0.5}, rounds("f", 10), rounds("f", 20), "OK"},
		{"no limit was measured", scenario.Row{AtLeast: 0.5}, rounds("f", 10), nil, ""},
		{"within its budget", scenario.Row{AtMost: 8}, rounds("f", 8), nil, "OK"},
		{"above its budget", scenario.Row{AtMost: 8}, rounds("f", 7, 9, 9), nil, "ABOVE"},
		{"nothing was lost", scenario.Row{None: true}, rounds("f", 0, 0, 0), nil, "OK"},
		{"one was lost in one round", scenario.Row{None: true}, rounds("f", 0, 1, 0), nil, "ABOVE"},
		{"no figure", scenario.Row{AtMost: 8}, rounds("other", 1), nil, ""},
	} {
		test.row.Figure = "f"
		row := NewRow(scenario.Case{}, test.row, test.ours, test.limits)
		if got := row.verdict(); got != test.want {
			t.Errorf("%s: the verdict is %q, want %q", test.name, got, test.want)
		}
	}
}

func example() *Report {
	push := scenario.Case{Name: "push", LimitName: `pgbench & "friends" <bare>`}
	return &Report{
		Started: "2026-11-23T10:00:00Z", Tidemark: "v1", Postgres: "17.1", Seconds: 5,
		Machine: measure.Machine{CPU: "AMD <EPYC> & co", Cores: 2, Memory: 8 << 30, System: "Linux", Go: "go1.26", Load: "0.1 0.1 0.1"},
		Rows: []Row{
			NewRow(push, scenario.Row{Figure: "r", Title: "push < 10 & more", Unit: "edits/s", AtLeast: 0.5}, rounds("r", 12_345), rounds("r", 20_000)),
			NewRow(push, scenario.Row{Figure: "r", Title: "faster than its limit", Unit: "ms", LessIsBetter: true, AtLeast: 1}, rounds("r", 10), rounds("r", 30)),
			NewRow(push, scenario.Row{Figure: "r", Title: "no limit", Unit: "MB", AtMost: 10}, rounds("r", 11), nil),
		},
	}
}

// The chart is read as XML: all text escaped, every bar inside the picture.
func TestReport_WriteChart(t *testing.T) {
	t.Parallel()
	var chart bytes.Buffer
	if err := example().WriteChart(&chart); err != nil {
		t.Fatal(err)
	}
	var texts, bars []string
	decoder := xml.NewDecoder(&chart)
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.CharData:
			texts = append(texts, string(token))
		case xml.StartElement:
			if class := attribute(token, "class"); token.Name.Local == "rect" && (class == "met" || class == "missed") {
				bars = append(bars, class+" "+attribute(token, "width"))
			}
		}
	}
	all := strings.Join(texts, "\n")
	for _, want := range []string{"push < 10 & more", "0.62", "3.00", `pgbench & "friends" <bare>`, "AMD <EPYC> & co", "prefers-color-scheme: dark"} {
		if !strings.Contains(all, want) {
			t.Errorf("the chart does not say %q", want)
		}
	}
	// The longest bar fills its track but for the margin.
	if diff := cmp.Diff([]string{"met 67.3", "met 326.9"}, bars); diff != "" {
		t.Errorf("bars (-want +got):\n%s", diff)
	}
}

func attribute(element xml.StartElement, name string) string {
	for _, a := range element.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// The names in bench.json are what others read: they stay as they are.
func TestReport_WriteJSON(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	if err := example().WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Machine map[string]any
		Rows    []map[string]any
	}
	if err := json.Unmarshal(text.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"case": "push", "title": "push < 10 & more", "figure": "r", "unit": "edits/s", "less_is_better": false,
		"value": 12345.0, "rounds": []any{12345.0}, "limit_name": `pgbench & "friends" <bare>`, "limit": 20000.0,
		"limit_rounds": []any{20000.0}, "share": 0.61725, "share_rounds": []any{0.61725}, "at_least": 0.5, "met": true,
		"ours": map[string]any{"r": 12345.0}, "limit_figures": map[string]any{"r": 20000.0},
	}
	if diff := cmp.Diff(want, got.Rows[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	machine := map[string]any{
		"cpu": "AMD <EPYC> & co", "cores": 2.0, "memory_bytes": 8589934592.0, "system": "Linux", "go": "go1.26", "load_before": "0.1 0.1 0.1",
	}
	if diff := cmp.Diff(machine, got.Machine); diff != "" {
		t.Errorf("machine (-want +got):\n%s", diff)
	}
}

func TestReport_WriteTable(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	if err := example().WriteTable(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"12,345 edits/s", "20,000 edits/s", "0.62", "OK", "11.0 MB", "at most 10.0 MB", "ABOVE", "2 cores, 8.0 GB"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, text.String())
		}
	}
}

// What was measured beside something else says so wherever it is shown.
func TestReport_busyMachine(t *testing.T) {
	t.Parallel()
	for load, busy := range map[string]bool{"0.1 2.0 2.0": false, "2.1 0.1 0.1": true} {
		r := example()
		r.Machine.Load = load
		var table, chart bytes.Buffer
		if err := errors.Join(r.WriteTable(&table), r.WriteChart(&chart)); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(table.String(), "BUSY") != busy || strings.Contains(chart.String(), "busy") != busy {
			t.Errorf("load averages %s: %s\n%s", load, table.String(), chart.String())
		}
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for value, want := range map[float64]string{
		0: "0.00", 0.0123: "0.0123", 1.234: "1.23", 12.34: "12.3", 999.4: "999.4", 1000: "1,000", 1234567: "1,234,567", -5: "-5.00",
	} {
		if got := number(value); got != want {
			t.Errorf("%v is shown as %s, want %s", value, got, want)
		}
	}
}
