package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/tidemark/tidemark/tests/load/scenario"
)

// WriteTable writes the report as text.
func (r *Report) WriteTable(w io.Writer) error {
	fmt.Fprintln(w)
	if r.Deployment != "" {
		fmt.Fprintf(w, "%s, measured from ", r.Deployment)
	} else {
		fmt.Fprintf(w, "Tidemark %s on ", r.Tidemark)
	}
	fmt.Fprintf(w, "%s, %d cores, %.1f GB; %s; %s", r.Machine.CPU, r.Machine.Cores,
		float64(r.Machine.Memory)/(1<<30), r.Machine.System, r.Machine.Go)
	if r.Postgres != "" {
		fmt.Fprintf(w, "; PostgreSQL %s", r.Postgres)
	}
	fmt.Fprint(w, "\nload averages before: ", r.Machine.Load)
	if r.Machine.Busy() {
		fmt.Fprint(w, " (BUSY: the figures mean little)")
	}
	if r.Deployment == "" {
		fmt.Fprint(w, "; server, database and load client share the machine")
	}
	fmt.Fprint(w, "; medians of the rounds\n\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "measure\tfigure\tlimit\tshare\ttarget\t\tp50\tp99\tCPU/op\tPostgreSQL/op\tclient")
	for i, row := range r.Rows {
		cells := row.cells()
		if i == 0 || r.Rows[i-1].Case != row.Case { // the same for all rows of a case
			cells = append(cells, row.costs()...)
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	return table.Flush()
}

func (r *Row) cells() []string {
	share, limit, figure := "", "", "–"
	if r.Limit > 0 {
		limit, share = number(r.Limit)+" "+r.Unit, fmt.Sprintf("%.2f", r.Share)
	}
	if len(r.Rounds) > 0 {
		figure = number(r.Value) + " " + r.Unit
	}
	return []string{r.Title, figure, limit, share, r.target(), r.verdict()}
}

// costs are what an edit or a poll took: time of its client, and processor time.
func (r *Row) costs() []string {
	client := ""
	if cores, ok := r.Ours[scenario.ClientCores]; ok {
		client = fmt.Sprintf("%.2f cores", cores)
	}
	return []string{
		figureCell(r.Ours, scenario.P50, " ms"), figureCell(r.Ours, scenario.P99, " ms"),
		figureCell(r.Ours, scenario.ServerCPU, " µs"), figureCell(r.Ours, scenario.PostgresCPU, " µs"), client,
	}
}

func (r *Row) target() string {
	switch {
	case r.None:
		return "none"
	case r.AtMost > 0:
		return "at most " + number(r.AtMost) + " " + r.Unit
	case r.AtLeast > 0 && r.Aim > 0:
		return fmt.Sprintf("%.2f (aim %.2f)", r.AtLeast, r.Aim)
	case r.AtLeast > 0:
		return fmt.Sprintf("%.2f", r.AtLeast)
	default:
		return ""
	}
}

func (r *Row) verdict() string {
	switch {
	case r.Met == nil:
		return ""
	case *r.Met:
		return "OK"
	case r.AtMost > 0 || r.None:
		return "ABOVE"
	default:
		return "BELOW"
	}
}

func figureCell(f scenario.Figures, name, unit string) string {
	value, ok := f[name]
	if !ok {
		return ""
	}
	return number(value) + unit
}

// number shows three digits or more: 0.123, 12.3, 12,345.
func number(value float64) string {
	switch {
	case value < 0.1 && value > 0:
		return strconv.FormatFloat(value, 'f', 4, 64)
	case value < 10:
		return strconv.FormatFloat(value, 'f', 2, 64)
	case value < 1000:
		return strconv.FormatFloat(value, 'f', 1, 64)
	}
	digits := strconv.FormatFloat(value, 'f', 0, 64)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}
