package report

import (
	"bytes"
	"fmt"
	"html"
	"io"
)

// Sizes of the chart, in its own units; it scales to the width it is given.
const (
	chartWidth  = 860.0
	labelWidth  = 400.0
	barsWidth   = 340.0
	lineHeight  = 30.0
	barHeight   = 14.0
	titleHeight = 44.0
	footHeight  = 36.0
)

// The colors are told apart by lightness too, and what they say also stands in
// words beside each bar.
const chartStyle = `
    .page { fill: #ffffff } .track { fill: #eceff3 } .met { fill: #1f7a6d } .missed { fill: #c4681c }
    .target { stroke: #16202b } .limit { stroke: #7b8794 } text { fill: #16202b } .dim { fill: #5a6673 }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0f1720 } .track { fill: #243040 } .met { fill: #4fc3b0 } .missed { fill: #f0a35e }
      .target { stroke: #f3f6f9 } .limit { stroke: #8492a3 } text { fill: #f3f6f9 } .dim { fill: #a9b5c2 }
    }
    text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif } .head { font-size: 15px; font-weight: 600 } .small { font-size: 12px }
`

// WriteChart draws the shares as horizontal bars: how near each measure comes to
// its limit, with a mark where it must come at least.
func (r *Report) WriteChart(w io.Writer) error {
	rows := r.shares()
	// The limit itself is inside the picture, and so is what exceeds it.
	most := 1.0
	for _, row := range rows {
		most = max(most, row.Share, row.AtLeast)
	}
	c := chart{scale: barsWidth / (most * 1.04)}
	height := titleHeight + float64(len(rows))*lineHeight + footHeight
	c.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" role="img" aria-labelledby="title desc">`, chartWidth, height)
	c.printf(`<title id="title">How near Tidemark comes to the limit of the same machine</title>`)
	c.printf(`<desc id="desc">%s</desc>`, html.EscapeString(r.describe(rows)))
	c.printf("<style>%s</style>", chartStyle)
	c.printf(`<rect class="page" width="%g" height="%g" rx="8"/>`, chartWidth, height)
	c.printf(`<text class="head" x="16" y="28">Share of what the same machine can do at most</text>`)
	for i, row := range rows {
		c.bar(titleHeight+float64(i)*lineHeight, row)
	}
	c.foot(titleHeight+float64(len(rows))*lineHeight, r)
	c.printf("</svg>")
	_, err := w.Write(c.b.Bytes())
	return err
}

// HasShares reports whether there is anything to draw.
func (r *Report) HasShares() bool { return len(r.shares()) > 0 }

// shares are the rows that have a limit.
func (r *Report) shares() []Row {
	var rows []Row
	for _, row := range r.Rows {
		if row.Limit > 0 {
			rows = append(rows, row)
		}
	}
	return rows
}

// describe says in words what the chart shows.
func (r *Report) describe(rows []Row) string {
	var b bytes.Buffer
	for _, row := range rows {
		fmt.Fprintf(&b, "%s: %.2f of %s, at least %.2f. ", row.Title, row.Share, row.LimitName, row.AtLeast)
	}
	return b.String()
}

type chart struct {
	b     bytes.Buffer
	scale float64 // width of a share of 1
}

func (c *chart) printf(format string, args ...any) {
	fmt.Fprintf(&c.b, format, args...)
	c.b.WriteByte('\n')
}

func (c *chart) bar(top float64, row Row) {
	class, word := "met", ""
	if row.Met != nil && !*row.Met {
		class, word = "missed", " below"
	}
	middle := top + lineHeight/2
	y := middle - barHeight/2
	c.printf(`<text x="16" y="%.1f">%s</text>`, middle+4.5, html.EscapeString(row.Title))
	c.printf(`<rect class="track" x="%g" y="%.1f" width="%g" height="%g" rx="3"/>`, labelWidth, y, barsWidth, barHeight)
	c.printf(`<rect class="%s" x="%g" y="%.1f" width="%.1f" height="%g" rx="3"/>`, class, labelWidth, y, row.Share*c.scale, barHeight)
	mark := labelWidth + row.AtLeast*c.scale
	c.printf(`<line class="target" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke-width="2"/>`, mark, mark, y-4, y+barHeight+4)
	c.printf(`<text class="small" x="%g" y="%.1f">%.2f%s</text>`, labelWidth+barsWidth+12, middle+4.5, row.Share, word)
}

// foot draws the line of the limit through all bars, and the legend.
func (c *chart) foot(top float64, r *Report) {
	limit := labelWidth + c.scale
	c.printf(`<line class="limit" x1="%.1f" x2="%.1f" y1="%g" y2="%g" stroke-dasharray="3 3"/>`, limit, limit, titleHeight-4, top+2)
	c.printf(`<text class="dim small" x="%.1f" y="%g" text-anchor="middle">1.00 = the limit</text>`, limit, top+18)
	busy := ""
	if r.Machine.Busy() {
		busy = ", busy before"
	}
	c.printf(`<text class="dim small" x="16" y="%g">| target · %s, %d cores, PostgreSQL %s%s</text>`, top+18,
		html.EscapeString(r.Machine.CPU), r.Machine.Cores, html.EscapeString(r.Postgres), busy)
}
