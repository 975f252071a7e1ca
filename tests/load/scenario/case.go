package scenario

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Figures are what one round of a case came to, by name. A figure that could
// not be had is missing.
type Figures map[string]float64

// Names of figures. Each row of a case names the one it reports; all of them
// are in bench.json.
const (
	EditsPerSecond    = "edits_per_s"
	RequestsPerSecond = "requests_per_s"
	P50               = "p50_ms"
	P99               = "p99_ms"
	ServerCPU         = "server_cpu_us"   // per edit or per request
	PostgresCPU       = "postgres_cpu_us" // the same
	ClientCores       = "client_cores"    // what the load client used, in cores
	ServerCores       = "server_cores"
	PostgresCores     = "postgres_cores"
	Conflicts         = "conflicts_percent"
	Refused           = "refused" // pushes that were answered 429 or 503
	Wall              = "wall_ms"
	Cores             = "cores_percent" // server and PostgreSQL, of one core
	Lost              = "lost"
	StreamMemory      = "kilobytes_per_stream"
	PeakMemory        = "peak_megabytes"
)

// Row is one line of the report.
type Row struct {
	Figure       string
	Title        string
	Unit         string
	LessIsBetter bool
	// AtLeast is how near the figure must come to the same figure of the limit:
	// 1 is as good. 0: the row has no limit. Aim is where it should be.
	AtLeast, Aim float64
	// AtMost bounds the figure itself, for rows without a limit.
	AtMost float64
	// None: the figure must be 0.
	None bool
	// Instead is reported where the figure can't be had: of a deployment nobody
	// here can see the processor time.
	Instead *Row
}

// Of returns the row to report of rounds like f.
func (r Row) Of(f Figures) Row {
	if _, ok := f[r.Figure]; !ok && r.Instead != nil {
		return *r.Instead
	}
	return r
}

// Case is one thing that is measured.
type Case struct {
	Group string // by which it is chosen
	Name  string
	// LimitName says what Limit is, for the reader.
	LimitName string
	Rows      []Row
	// Seconds is about how long a round takes, for the progress bar.
	Seconds func(e *Env) float64
	Ours    func(ctx context.Context, e *Env) (Figures, error)
	// Limit may be nil.
	Limit func(ctx context.Context, e *Env) (Figures, error)
	// Needs says what is missing to measure the case, "" if nothing is. It may be nil.
	Needs func(e *Env) string
}

// All returns the cases in the order they run in.
func All() []Case {
	var all []Case
	all = append(all, pushCases()...)
	all = append(all, loneCase(), sqliteCase(), idleCase(), deltaCase(), catchupCase(), pollersCase())
	all = append(all, streamsCases()...)
	all = append(all, crossnodeCases()...)
	all = append(all, memoryCase())
	return all
}

// twice is the time of a case that measures itself and its limit.
func twice(e *Env) float64 { return 2 * (e.Duration + e.warmup()).Seconds() }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Show is the figures of the case's rows, in short.
func (c *Case) Show(f Figures) string { return show(c.Rows, f) }

// ShowLimit is the figures of those rows that have a limit.
func (c *Case) ShowLimit(f Figures) string {
	return show(slices.DeleteFunc(slices.Clone(c.Rows), func(r Row) bool { return r.AtLeast == 0 }), f)
}

func show(rows []Row, f Figures) string {
	var parts []string
	for _, row := range rows {
		row = row.Of(f)
		if value, ok := f[row.Figure]; ok {
			parts = append(parts, fmt.Sprintf("%.4g %s", value, row.Unit))
		}
	}
	return strings.Join(parts, ", ")
}

// ownNodes is what a case needs that starts nodes in ways of its own.
func ownNodes(e *Env) string {
	if e.Stand == nil {
		return "it starts its own nodes"
	}
	return ""
}

// manySubjects is what many streams need: a server bounds those of one subject.
func manySubjects(e *Env) string {
	if e.Stand == nil && e.Secret == "" {
		return "it needs the secret (SECRET), to sign a token for every 20 streams"
	}
	return ""
}

// twoNodes is what it takes to see an edit on another node.
func twoNodes(e *Env) string {
	if e.Stand == nil && len(e.Targets) < 2 {
		return "it needs the URLs of two nodes (URL=…,…)"
	}
	return ""
}
