// Package report turns figures into what people read: a table, a chart, and
// bench.json, whose fields are the types of this package.
package report

import (
	"encoding/json"
	"io"
	"slices"

	"github.com/tidemark/tidemark/tests/load/measure"
	"github.com/tidemark/tidemark/tests/load/scenario"
)

// Report is one run of the bench: bench.json.
type Report struct {
	Started  string          `json:"started"`  // RFC 3339
	Tidemark string          `json:"tidemark"` // version of the server
	Postgres string          `json:"postgres"` // version, empty if none was started
	Machine  measure.Machine `json:"machine"`
	// Deployment is the URL of a deployment that was there before, empty if the
	// bench started everything itself.
	Deployment string  `json:"deployment"`
	Seconds    float64 `json:"seconds"` // length of each measurement
	Rows       []Row   `json:"rows"`
}

// Row is one line of the table. All figures are medians over the rounds.
type Row struct {
	Case  string `json:"case"`
	Title string `json:"title"`
	// Figure is the name under which Value is found in Ours and Limit.
	Figure       string    `json:"figure"`
	Unit         string    `json:"unit"`
	LessIsBetter bool      `json:"less_is_better"`
	Value        float64   `json:"value"`
	Rounds       []float64 `json:"rounds"`

	// Of rows that have a limit.
	LimitName   string    `json:"limit_name,omitempty"`
	Limit       float64   `json:"limit,omitempty"`
	LimitRounds []float64 `json:"limit_rounds,omitempty"`
	// Share is how near Value comes to Limit, 1 being as good: the median of the
	// shares of the single rounds. Of costs it is limit ÷ value.
	Share       float64   `json:"share,omitempty"`
	ShareRounds []float64 `json:"share_rounds,omitempty"`
	AtLeast     float64   `json:"at_least,omitempty"` // target of Share
	Aim         float64   `json:"aim,omitempty"`      // where it should be

	// AtMost bounds Value, in rows without a limit.
	AtMost float64 `json:"at_most,omitempty"`
	None   bool    `json:"none,omitempty"` // Value must be 0
	// Met says whether the target was reached; absent if there is nothing to compare with.
	Met *bool `json:"met,omitempty"`

	Ours         scenario.Figures `json:"ours"`
	LimitFigures scenario.Figures `json:"limit_figures,omitempty"`
}

// NewRow makes the line of one figure of a case from what the rounds brought.
// There is at least one round; limits is empty if the limit was not measured.
func NewRow(c scenario.Case, row scenario.Row, ours, limits []scenario.Figures) Row {
	row = row.Of(ours[0])
	r := Row{
		Case: c.Name, Title: row.Title, Figure: row.Figure, Unit: row.Unit, LessIsBetter: row.LessIsBetter,
		Rounds: column(ours, row.Figure), AtMost: row.AtMost, None: row.None, Ours: medians(ours),
	}
	r.Value = measure.Median(r.Rounds)
	if len(r.Rounds) == 0 {
		return r
	}
	switch {
	case row.None:
		r.Met = ptr(slices.Max(r.Rounds) == 0)
	case row.AtMost > 0:
		r.Met = ptr(r.Value <= row.AtMost)
	case row.AtLeast > 0 && len(column(limits, row.Figure)) == len(r.Rounds):
		r.LimitName, r.AtLeast, r.Aim = c.LimitName, row.AtLeast, row.Aim
		r.LimitFigures, r.LimitRounds = medians(limits), column(limits, row.Figure)
		r.Limit = measure.Median(r.LimitRounds)
		for i, value := range r.Rounds {
			r.ShareRounds = append(r.ShareRounds, measure.Share(value, r.LimitRounds[i], row.LessIsBetter))
		}
		r.Share = measure.Median(r.ShareRounds)
		r.Met = ptr(r.Share >= row.AtLeast)
	}
	return r
}

func ptr(b bool) *bool { return &b }

// column is one figure over the rounds that have it.
func column(rounds []scenario.Figures, figure string) []float64 {
	var values []float64
	for _, round := range rounds {
		if value, ok := round[figure]; ok {
			values = append(values, value)
		}
	}
	return values
}

func medians(rounds []scenario.Figures) scenario.Figures {
	if len(rounds) == 0 {
		return nil
	}
	all := scenario.Figures{}
	for figure := range rounds[0] {
		all[figure] = measure.Median(column(rounds, figure))
	}
	return all
}

// WriteJSON writes bench.json.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(r)
}
