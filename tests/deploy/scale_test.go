package deploy_test

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
)

// What deploy/SCALE.md assumes and was not measured by `make bench`; the page says so, and
// how each was found.
const (
	activeShare    = .1        // of spaces, and so of clients
	clientsOfSpace = 10.       // in each space
	editsPerSecond = 1. / 60   // of a client in an active space
	activePause    = 1.        // seconds between its pulls
	quietPause     = 5.        // seconds between the pulls of others
	headMicros     = 3.3       // PostgreSQL's processor time for one space in a look at heads
	looksPerSecond = 4.        // at the heads of spaces that are followed
	pollBytes      = 766.      // an idle pull and its answer, with headers
	deltaBytes     = 1390.     // a pull that brings one change, likewise
	pushBytes      = 1082.     // a push of one edit, likewise
	busy           = .6        // of its cores a node is planned to use
	coresOfNode    = 4.        // cores of a node
	fewest         = 2.        // nodes, so that one may go
	tailBytes      = 1000.     // of a space that nobody writes to
	rowsOfEdit     = 3.        // rows written: document, client, space
	snapshot       = 100.      // documents of a new client
	routedOnce     = 1_000_000 // clients from which on spaces are routed to one node each
)

// measured are figures of tests/load/results/bench.json.
type measured struct{ idle, delta, push, pushPostgres, event, streamKB, document, documentPostgres float64 }

func bench(t *testing.T) measured {
	t.Helper()
	var results struct {
		Rows []struct {
			Case string
			Ours map[string]float64
		}
	}
	if err := json.Unmarshal([]byte(file(t, "tests/load/results/bench.json")), &results); err != nil {
		t.Fatal(err)
	}
	of := map[string]map[string]float64{}
	for _, row := range results.Rows {
		of[row.Case] = row.Ours
	}
	return measured{
		idle:             of["idle"]["server_cpu_us"],
		delta:            of["delta"]["server_cpu_us"],
		push:             of["push-32-spaces-batch-1"]["server_cpu_us"],
		pushPostgres:     of["push-32-spaces-batch-1"]["postgres_cpu_us"],
		event:            of["streams-10000"]["server_cpu_us"],
		streamKB:         of["streams-10000"]["kilobytes_per_stream"],
		document:         of["catchup"]["server_cpu_us"],
		documentPostgres: of["catchup"]["postgres_cpu_us"],
	}
}

// scaleRows are the rows of the table, each a formula of the number of clients.
func scaleRows(m measured) map[string]func(n float64) string {
	polls := func(n float64) float64 { return n * (activeShare/activePause + (1-activeShare)/quietPause) }
	edits := func(n float64) float64 { return n * activeShare * editsPerSecond }
	deltas := func(n float64) float64 { return edits(n) * (clientsOfSpace - 1) }
	cores := func(n float64) float64 {
		return ((polls(n)-deltas(n))*m.idle + deltas(n)*m.delta + edits(n)*m.push) / 1e6
	}
	nodes := func(n float64) float64 { return max(math.Ceil(cores(n)/(coresOfNode*busy)), fewest) }
	spaces := func(n float64) float64 { return n / clientsOfSpace }
	following := func(n float64) float64 {
		if n >= routedOnce {
			return 1
		}
		return nodes(n)
	}
	heads := func(n float64) float64 { return spaces(n) * following(n) * looksPerSecond * headMicros / 1e6 }
	return map[string]func(n float64) string{
		"P": func(n float64) string { return figure(polls(n)) },
		"E": func(n float64) string { return figure(edits(n)) },
		"D": func(n float64) string { return figure(deltas(n)) },
		"C": func(n float64) string { return figure(cores(n)) },
		"N": func(n float64) string { return whole(nodes(n)) },
		"T": func(n float64) string { return figure(spaces(n) * following(n) / nodes(n) * tailBytes / 1e6) },
		"W": func(n float64) string { return figure(edits(n) * rowsOfEdit) },
		"Q": func(n float64) string { return figure(edits(n) * m.pushPostgres / 1e6) },
		"H": func(n float64) string { return figure(heads(n)) },
		"B": func(n float64) string {
			return figure(8 * ((polls(n)-deltas(n))*pollBytes + deltas(n)*deltaBytes + edits(n)*pushBytes) / 1e6)
		},
		"S": func(n float64) string { return figure(n * snapshot * (m.document + m.documentPostgres) / 1e6) },
		"M": func(n float64) string { return figure(n * m.streamKB / 1e6) },
		"V": func(n float64) string { return figure(edits(n) * clientsOfSpace * m.event / 1e6) },
		"K": func(n float64) string { return whole(max(math.Ceil(n/10_000), fewest)) },
	}
}

// figure writes a number with two digits that count, and no false third.
func figure(v float64) string {
	if v == 0 {
		return "0"
	}
	digits := math.Floor(math.Log10(v))
	if digits < 1 {
		return fmt.Sprintf("%.*f", int(1-digits), v)
	}
	unit := math.Pow(10, digits-1)
	return whole(math.Round(v/unit) * unit)
}

// whole writes a number with commas.
func whole(v float64) string {
	rounded := fmt.Sprintf("%.0f", v)
	for i := len(rounded) - 3; i > 0; i -= 3 {
		rounded = rounded[:i] + "," + rounded[i:]
	}
	return rounded
}

var scaleRow = regexp.MustCompile("(?m)^\\| `([A-Z])` [^|]*\\|([^|]*)\\|([^|]*)\\|([^|]*)\\|[^|]*\\|$")

// TestScale_arithmetic works out the table of deploy/SCALE.md again, from its formulas and
// what was measured: a new bench wants a new table.
func TestScale_arithmetic(t *testing.T) {
	t.Parallel()
	rows := scaleRows(bench(t))
	found := scaleRow.FindAllStringSubmatch(file(t, "deploy/SCALE.md"), -1)
	if len(found) != len(rows) {
		t.Errorf("the table has %d rows, want %d", len(found), len(rows))
	}
	for _, row := range found {
		formula, ok := rows[row[1]]
		if !ok {
			t.Errorf("nobody works out row %s", row[1])
			continue
		}
		for i, n := range []float64{1000, 100_000, 10_000_000} {
			if got, want := strings.TrimSpace(row[2+i]), formula(n); got != want {
				t.Errorf("row %s for %.0f clients says %s, worked out it is %s", row[1], n, got, want)
			}
		}
	}
}
