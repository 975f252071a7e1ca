package top

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"charm.land/lipgloss/v2"
)

// maxSpaces is how many spaces are shown where there is room.
const maxSpaces = 20

// styles are how a frame is shown; the zero value is plain text.
type styles struct{ title, head, bad lipgloss.Style }

var onTerminal = styles{
	title: lipgloss.NewStyle().Bold(true),
	head:  lipgloss.NewStyle().Faint(true),
	bad:   lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Red),
}

// frame returns what is shown, in at most height lines; 0 is any number.
func (m *screen) frame(s styles, height int) string {
	var lines []string
	lines = append(lines, s.title.Render(m.title()), "")
	lines = append(lines, m.totals(s)...)
	lines = append(lines, "")
	lines = append(lines, m.nodeTable(s)...)
	if m.options.Spaces != nil {
		lines = append(lines, "")
		lines = append(lines, m.spaceTable(s)...)
	}
	if height > 0 && len(lines) > height {
		lines = lines[:height]
	}
	return strings.Join(lines, "\n") + "\n"
}

func (m *screen) title() string {
	return fmt.Sprintf("tidemark top   %d of %d nodes answer   %s", len(m.answering()), len(m.nodes), m.at.Format(time.TimeOnly))
}

// answering are the nodes that answered the last look.
func (m *screen) answering() (nodes []change) {
	for i := range m.nodes {
		if m.nodes[i].err == nil && m.nodes[i].after != nil {
			nodes = append(nodes, m.nodes[i].change)
		}
	}
	return nodes
}

// totals are the figures of all nodes that answer together.
func (m *screen) totals(s styles) []string {
	nodes := m.answering()
	of := func(figure func(change, string) float64, name string) float64 {
		values := make([]float64, len(nodes))
		for i := range nodes {
			values[i] = figure(nodes[i], name)
		}
		return sum(values)
	}
	edits := []string{"edits/s", count(of(change.rate, results))}
	for _, outcome := range outcomes {
		edits = append(edits, outcome+" "+count(of(change.rate, results+"{"+outcome+"}")))
	}
	read := of(change.rate, pages)
	fromMemory := "–"
	if read > 0 {
		fromMemory = fmt.Sprintf("%.0f %%", 100*of(change.rate, pagesOfTails)/read)
	}
	pushed, seen := curve{}, curve{}
	for _, node := range nodes {
		pushed.add(node.curve(pushTime))
		seen.add(node.curve(visibility))
	}
	lines := []string{
		strings.Join(edits, "   "),
		fmt.Sprintf("pulls/s   %s   unchanged %s   pages %s   from memory %s   (streams read pages, too)",
			count(of(change.rate, pulls)), count(of(change.rate, unchanged)), count(read), fromMemory),
		fmt.Sprintf("all/s     %s   5xx %s", count(of(change.rate, requests)), count(of(change.rate, failures))),
		fmt.Sprintf("pushes    p50 %s   p99 %s   waiting %s", duration(pushed.quantile(.5)), duration(pushed.quantile(.99)), whole(of(change.number, waiting))),
		fmt.Sprintf("visible   p50 %s   p99 %s   (from written to seen by streams)", duration(seen.quantile(.5)), duration(seen.quantile(.99))),
		"streams   " + whole(of(change.number, streams)),
	}
	promises, broken := []string{"promises"}, false
	for _, proof := range proofs {
		n := of(change.number, proof.metric)
		promises = append(promises, proof.name+" "+whole(n))
		broken = broken || n > 0
	}
	last := strings.Join(append(promises, " (0 for ever)"), "  ")
	if broken {
		last = s.bad.Render(last)
	}
	return append(lines, last)
}

func (m *screen) nodeTable(s styles) []string {
	rows := [][]string{{"NODE", "VERSION", "EDITS/S", "CONFLICTS/S", "PULLS/S", "STREAMS", "VISIBLE P99", "CPU", "MEMORY"}}
	wrong := map[int]bool{}
	for i := range m.nodes {
		n := &m.nodes[i]
		if n.err != nil {
			wrong[len(rows)] = true
			row := append([]string{n.url}, slices.Repeat([]string{"–"}, len(rows[0])-1)...)
			rows = append(rows, append(row, "does not answer: "+n.err.Error())) // beyond the columns
			continue
		}
		version := "–"
		if n.after != nil && n.after.version != "" {
			version = n.after.version
		}
		rows = append(rows, []string{
			n.url, version, count(n.rate(results)), count(n.rate(results + "{conflict}")), count(n.rate(pulls)), whole(n.number(streams)),
			duration(n.curve(visibility).quantile(.99)), percent(n.rate(cpuTime)), bytes(n.number(memory)),
		})
	}
	return table(s, rows, wrong)
}

func (m *screen) spaceTable(s styles) []string {
	rows := [][]string{{"SPACE", "VERSION", "CHANGED", "IN THE LAST MINUTE", "DOCUMENTS"}}
	for _, space := range m.spaces {
		changed := fmt.Sprint(space.Changed)
		ago := max(m.at.Sub(time.UnixMicro(space.Head)), 0)
		rows = append(rows, []string{space.Name, fmt.Sprint(space.Head), roughly(ago) + " ago", changed, fmt.Sprint(space.Documents)})
	}
	lines := table(s, rows, nil)
	if m.spacesErr != nil {
		lines = append(lines, s.bad.Render("the database does not tell: "+m.spacesErr.Error()))
	}
	return lines
}

// table lays rows out in columns. The first is their heads; wrong are those to be marked.
func table(s styles, rows [][]string, wrong map[int]bool) []string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush() // a strings.Builder takes everything
	lines := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	for i, line := range lines {
		line = strings.TrimRight(line, " ")
		switch {
		case i == 0:
			line = s.head.Render(line)
		case wrong[i]:
			line = s.bad.Render(line)
		}
		lines[i] = line
	}
	return lines
}

// Figures as text; a dash for what is unknown.

func count(v float64) string { return known(v, "%.1f", 1) }

func whole(v float64) string { return known(v, "%.0f", 1) }

func percent(v float64) string { return known(v, "%.0f %%", 100) }

func bytes(v float64) string { return known(v, "%.0f MB", 1e-6) }

func duration(seconds float64) string { return known(seconds, "%.1f ms", 1000) }

func known(v float64, format string, times float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf(format, v*times)
}

// roughly is a duration as people say it.
func roughly(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	default:
		return fmt.Sprintf("%.0f days", d.Hours()/24)
	}
}
