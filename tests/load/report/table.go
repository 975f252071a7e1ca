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
	fmt.Fprintf(w, "\nTidemark %s on %s, %d cores, %.1f GB; %s; %s", r.Tidemark, r.Machine.CPU, r.Machine.Cores,
		float64(r.Machine.Memory)/(1<<30), r.Machine.System, r.Machine.Go)
	if r.Postgres != "" {
		fmt.Fprintf(w, "; PostgreSQL %s", r.Postgres)
	}
	fmt.Fprint(w, "\nserver, database and load client share the machine; medians of the rounds\n\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "measure\tfigure\tlimit\tshare\ttarget\t\tp50\tp99\tCPU/op\tPostgreSQL/op\tclient")
	fmt.Fprintln(table, "-------\t------\t-----\t-----\t------\t\t---\t---\t------\t-------------\t------")
	for _, row := range r.Rows {
		fmt.Fprintln(table, strings.Join(row.cells(), "\t"))
	}
	return table.Flush()
}

func (r *Row) cells() []string {
	share, limit := "", ""
	if r.Limit > 0 {
		limit = number(r.Limit) + " " + r.Unit
		share = fmt.Sprintf("%.2f", r.Share)
	}
	figure := "–"
	if len(r.Rounds) > 0 {
		figure = number(r.Value) + " " + r.Unit
	}
	return []string{
		r.Title, figure, limit, share, r.target(), r.verdict(),
		figureCell(r.Ours, scenario.P50, " ms"), figureCell(r.Ours, scenario.P99, " ms"),
		figureCell(r.Ours, scenario.ServerCPU, " µs"), figureCell(r.Ours, scenario.PostgresCPU, " µs"),
		clientCell(r.Ours),
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

// clientCell says how much of the machine the load client itself took.
func clientCell(f scenario.Figures) string {
	cores, ok := f[scenario.ClientCores]
	if !ok {
		return ""
	}
	return fmt.Sprintf("%.2f cores", cores)
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
