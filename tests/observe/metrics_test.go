package observe_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/tests/harness"
)

// soon bounds what takes milliseconds on a machine with nothing else to do.
const soon = 30 * time.Second

// scrape is what /metrics has printed.
type scrape struct {
	types  map[string]string              // of metrics, by name
	series map[string]float64             // by name and labels, as printed
	values map[string]map[string][]string // of labels, by the name of a sample
}

var (
	sampleLine = regexp.MustCompile(`^([a-z_]+)(?:\{(.*)\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`([a-z_]+)="((?:[^"\\]|\\.)*)"`)
)

// parse reads the text format as far as this server writes it.
func parse(t *testing.T, text string) scrape {
	t.Helper()
	s := scrape{types: map[string]string{}, series: map[string]float64{}, values: map[string]map[string][]string{}}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			s.types[name] = kind
			continue
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("/metrics has the line %q", line)
		}
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Fatalf("/metrics has the line %q", line)
		}
		s.series[line[:strings.LastIndexByte(line, ' ')]] = value
		if s.values[m[1]] == nil {
			s.values[m[1]] = map[string][]string{}
		}
		for _, pair := range labelPair.FindAllStringSubmatch(m[2], -1) {
			s.values[m[1]][pair[1]] = append(s.values[m[1]][pair[1]], pair[2])
		}
	}
	return s
}

// ours are the series that Tidemark makes, sorted.
func (s scrape) ours() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for name := range s.series {
			if strings.HasPrefix(name, "tidemark_") && !yield(name) {
				return
			}
		}
	})
}

// metricsURL is where a server with --metrics-listen says that its metrics are.
func metricsURL(t *testing.T, server *harness.Server) string {
	t.Helper()
	found := regexp.MustCompile(`msg="metrics are shown" url=(\S+)`).FindAllStringSubmatch(server.Log(), -1)
	if len(found) == 0 {
		t.Fatalf("the log does not say where the metrics are:\n%s", server.Log())
	}
	return found[len(found)-1][1]
}

func get(t *testing.T, url string, change func(*http.Request)) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(request)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func metricsOf(t *testing.T, server *harness.Server) scrape {
	t.Helper()
	status, text := get(t, metricsURL(t, server), nil)
	if status != http.StatusOK {
		t.Fatalf("/metrics answers %d", status)
	}
	return parse(t, text)
}

// watched is a server whose metrics can be seen, with the canary on and a webhook.
func watched(t *testing.T, store harness.Store) harness.Options {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(receiver.Close)
	return harness.Options{Store: store, Secret: harness.Secret, Env: []string{
		"TIDEMARK_METRICS_LISTEN=127.0.0.1:0", "TIDEMARK_CANARY=1s",
		"TIDEMARK_WEBHOOK_URL=" + receiver.URL, "TIDEMARK_WEBHOOK_SECRET=whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32)),
	}}
}

// live makes a server do one of everything, in a space and as a subject of this number.
func live(t *testing.T, server *harness.Server, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	space := fmt.Sprint("space-", n)
	client := server.Client(harness.Token(harness.Claims{"sub": fmt.Sprint("subject-", n), "spaces": map[string]string{space: "rw"}}))
	push := func(edits ...harness.Edit) {
		t.Helper()
		if _, err := client.Push(ctx, space, harness.Push{ClientID: fmt.Sprint("client-", n), Edits: edits}); err != nil {
			t.Fatal(err)
		}
	}
	first := harness.Edit{EditID: "e1", Op: "put", Collection: "c", ID: "d1", BaseVersion: harness.At(0), Data: json.RawMessage(`{"a":1}`)}
	push(first)
	push(first) // replayed
	push(
		harness.Edit{EditID: "e2", Op: "put", Collection: "c", ID: "d1", BaseVersion: harness.At(0), Data: json.RawMessage(`{}`)}, // conflict
		harness.Edit{EditID: "e3", Op: "put", Collection: "c", ID: "d2", BaseVersion: harness.At(0), Data: json.RawMessage(`[]`)}, // rejected
		harness.Edit{EditID: "e4", Op: "patch", Collection: "c", ID: "d1", BaseEditID: "e9", Data: json.RawMessage(`{}`)},         // skipped
	)
	_, cursor, err := client.PullAll(ctx, space, harness.Pull{})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := client.Stream(ctx, "/v1/spaces/"+space+"/stream?cursor="+cursor, nil)
	if err != nil {
		t.Fatal(err)
	}
	push(harness.Edit{EditID: "e5", Op: "delete", Collection: "c", ID: "d1", Force: true})
	if _, err := stream.Page(); err != nil {
		t.Fatal(err)
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	page, err := client.Pull(ctx, space, harness.Pull{Cursor: cursor})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"/v1/spaces/" + space + "/changes?cursor=" + page.Cursor,
		"/v1/spaces/" + space + "/changes?cursor=nonsense",
		"/v1/spaces/" + space + "/changes?collections=c&cursor=" + page.Cursor,
		"/v1/heads", "/nowhere/" + space, "/healthz", "/readyz",
	} {
		headers := http.Header{"If-None-Match": {`"` + page.Cursor + `"`}, "User-Agent": {space}}
		if _, err := client.Do(ctx, http.MethodGet, path, headers, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Do(ctx, "PROPFIND", "/v1/heads", nil, nil); err != nil {
		t.Fatal(err)
	}
}

// What the dashboard, the alerts and the table for operators name is there, on both
// stores, and no series is added by what clients send.
func TestMetrics(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, watched(t, store))
		live(t, server, 1)
		var seen scrape
		harness.Until(t, soon, "a stream has ended, and a beat was seen", func() bool {
			seen = metricsOf(t, server)
			return seen.series[`tidemark_streams_ended_total{reason="client"}`] == 1 && seen.series[`tidemark_visibility_seconds_count{from="self"}`] > 0
		})
		for series, want := range map[string]float64{
			`tidemark_push_results_total{outcome="applied"}`: 2, `tidemark_push_results_total{outcome="replayed"}`: 1,
			`tidemark_push_results_total{outcome="conflict"}`: 1, `tidemark_push_results_total{outcome="rejected"}`: 1,
			`tidemark_push_results_total{outcome="skipped"}`: 1, `tidemark_push_seconds_count`: 4,
			`tidemark_cursor_refusals_total{cause="invalid"}`: 1, `tidemark_cursor_refusals_total{cause="filter"}`: 1,
			`tidemark_not_modified_total`: 1, `tidemark_stream_pages_total`: 1, `tidemark_streams{kind="space"}`: 0, `tidemark_streams{kind="socket"}`: 0,
			`tidemark_feed_gaps_total`: 0, `tidemark_head_regressions_total`: 0, `tidemark_ready`: 1, `tidemark_database_durable`: 1,
			`tidemark_requests_total{method="POST",route="/v1/spaces/{space}/push",status="2xx"}`: 4,
			`tidemark_requests_total{method="any",route="other",status="4xx"}`:                    2,
		} {
			if got, there := seen.series[series]; !there || got != want {
				t.Errorf("%s is %v (there: %v), want %v", series, got, there, want)
			}
		}
		for place, expressions := range map[string][]string{"the dashboard": dashboard(t), "the alerts": alerts(t)} {
			if len(expressions) < 10 {
				t.Errorf("%s: only %d expressions were found", place, len(expressions))
			}
			for _, expression := range expressions {
				seen.hold(t, place, expression)
			}
		}
		if diff := cmp.Diff(table(t), seen.table()); diff != "" {
			t.Errorf("the table in deploy/README.md is not what there is (-README +/metrics):\n%s", diff)
		}
		before := seen.ours()
		for n := range 5 {
			live(t, server, 2+n)
		}
		if diff := cmp.Diff(before, metricsOf(t, server).ours()); diff != "" {
			t.Errorf("what clients sent has changed the series:\n%s", diff)
		}
	})
}

// table is what the table for operators says, or should: type and labels of each metric.
func (s scrape) table() map[string]string {
	rows := map[string]string{}
	for name, kind := range s.types {
		if !strings.HasPrefix(name, "tidemark_") {
			continue
		}
		sample := name
		if kind == "histogram" {
			sample += "_count"
		}
		rows[name] = kind + " " + strings.Join(slices.Sorted(maps.Keys(s.values[sample])), ", ")
	}
	return rows
}

var tableRow = regexp.MustCompile("(?m)^\\| `(tidemark_[a-z_]+)` \\| ([a-z]+) \\| ([^|]*?) ?\\| .+ \\|$")

func table(t *testing.T) map[string]string {
	rows := map[string]string{}
	for _, row := range tableRow.FindAllStringSubmatch(deployed(t, "README.md"), -1) {
		rows[row[1]] = row[2] + " " + strings.ReplaceAll(strings.TrimSpace(row[3]), "`", "")
	}
	return rows
}

func deployed(t *testing.T, path string) string {
	t.Helper()
	return harness.File(t, "deploy/"+path)
}

// dashboard returns the queries of all panels.
func dashboard(t *testing.T) (expressions []string) {
	t.Helper()
	var board struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(deployed(t, "grafana/tidemark.json")), &board); err != nil {
		t.Fatal(err)
	}
	for _, panel := range board.Panels {
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("the panel %q asks for nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			expressions = append(expressions, target.Expr)
		}
	}
	return expressions
}

var alertExpr = regexp.MustCompile(`(?m)^ +expr: (.+)$`)

// alerts returns the expressions of all rules; each is one line.
func alerts(t *testing.T) (expressions []string) {
	t.Helper()
	text := deployed(t, "prometheus/alerts.yml")
	for _, found := range alertExpr.FindAllStringSubmatch(text, -1) {
		expressions = append(expressions, found[1])
	}
	if rules := strings.Count(text, "- alert: "); len(expressions) != rules || strings.Count(text, "runbook: ") != rules {
		t.Errorf("there are %d alerts, %d expressions and %d runbooks", rules, len(expressions), strings.Count(text, "runbook: "))
	}
	return expressions
}

var (
	selector = regexp.MustCompile(`\b([a-z]+_[a-z_]+|up)\b(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)(=~?)"([^"]*)"`)
	grouping = regexp.MustCompile(`\bby \(([^)]*)\)`)
)

// scraped are what Prometheus adds by itself.
var scraped = []string{"instance", "job"}

// functions of the language that look like names of metrics.
var functions = []string{"histogram_quantile", "min_over_time"}

// hold fails unless there is every metric that an expression names, with the labels and
// their values.
func (s scrape) hold(t *testing.T, place, expression string) {
	t.Helper()
	var labels []string
	named := 0
	rest := grouping.ReplaceAllString(expression, "")
	for _, m := range selector.FindAllStringSubmatch(rest, -1) {
		name := m[1]
		if slices.Contains(functions, name) || !strings.Contains(rest, name+"{") && !strings.Contains(rest, name+"[") && !regexp.MustCompile(`^`+name+`\b`).MatchString(rest) {
			continue
		}
		if named++; name == "up" {
			continue // it is Prometheus' own
		}
		values, there := s.values[name]
		if !there {
			t.Errorf("%s asks for %s, which /metrics has not got: %s", place, name, expression)
			continue
		}
		labels = append(labels, slices.Collect(maps.Keys(values))...)
		for _, m := range matcher.FindAllStringSubmatch(m[2], -1) {
			if slices.Contains(scraped, m[1]) {
				continue
			}
			for one := range strings.SplitSeq(m[3], "|") {
				// SQLite has pools of other names.
				if !slices.Contains(values[m[1]], one) && m[1] != "pool" {
					t.Errorf("%s asks for %s=%q, which %s has not got: %s", place, m[1], one, name, expression)
				}
			}
		}
	}
	if named == 0 {
		t.Errorf("%s: %s asks for nothing", place, expression)
	}
	for _, m := range grouping.FindAllStringSubmatch(expression, -1) {
		for label := range strings.SplitSeq(m[1], ", ") {
			if !slices.Contains(labels, label) && !slices.Contains(scraped, label) {
				t.Errorf("%s groups by %s, which is no label there: %s", place, label, expression)
			}
		}
	}
}

// All nodes see the beats of all, and a node that is stopped takes its own back.
func TestCanary_severalNodes(t *testing.T) {
	t.Parallel()
	cluster := harness.StartCluster(t, harness.ClusterOptions{Nodes: 3, Node: watched(t, harness.Postgres)})
	for i := range cluster.Len() {
		harness.Until(t, soon, "a node sees the beats of three", func() bool {
			seen := metricsOf(t, cluster.Node(i))
			return seen.series["tidemark_nodes_seen"] == 3 && seen.series[`tidemark_visibility_seconds_count{from="other"}`] > 1 &&
				seen.series[`tidemark_visibility_seconds_count{from="self"}`] > 1 && seen.series[`tidemark_poke_lag_seconds_count`] > 1
		})
	}
	cluster.Node(2).Stop()
	for i := range 2 {
		harness.Until(t, soon, "a node knows that one was stopped", func() bool { return metricsOf(t, cluster.Node(i)).series["tidemark_nodes_seen"] == 2 })
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if out, _, err := cluster.Node(0).Run(ctx, "verify"); err != nil || !strings.HasPrefix(out, "0 spaces verified") {
		t.Errorf("verify says %q, %v: the canary's space is not a user's", out, err)
	}
	token := harness.Token(harness.Claims{"spaces": map[string]string{"*": "rw"}})
	if answer, err := cluster.Node(0).Client(token).Do(ctx, http.MethodGet, "/v1/spaces/_canary/changes", nil, nil); err != nil || answer.Status/100 != 4 {
		t.Errorf("a client that asks for the canary's space gets %d, %v", answer.Status, err)
	}
}

func TestMetricsListen(t *testing.T) {
	t.Parallel()
	token := harness.Token(harness.Claims{"spaces": map[string]string{"s": "r"}})
	withToken := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	t.Run("elsewhere", func(t *testing.T) {
		t.Parallel()
		server := harness.Start(t, watched(t, harness.SQLite))
		url := metricsURL(t, server)
		if status, _ := get(t, strings.TrimSuffix(url, "/metrics")+"/debug/pprof/goroutine?debug=1", nil); status != http.StatusOK {
			t.Errorf("a profile answers %d", status)
		}
		if status, text := get(t, strings.TrimSuffix(url, "/metrics")+"/debug/pprof/cmdline", nil); status == http.StatusOK {
			t.Errorf("the command line is shown, secrets and all: %s", text)
		}
		for _, path := range []string{"/v1/heads", "/", "/readyz"} {
			if status, _ := get(t, strings.TrimSuffix(url, "/metrics")+path, nil); status != http.StatusNotFound {
				t.Errorf("%s beside the metrics answers %d", path, status)
			}
		}
		if status, _ := get(t, url, func(r *http.Request) { r.Host = "evil.example" }); status != http.StatusForbidden {
			t.Errorf("a page that has pointed its name here gets %d", status)
		}
		if status, _ := get(t, server.URL()+"/metrics", withToken); status != http.StatusNotFound {
			t.Errorf("/metrics where everything else is answers %d", status)
		}
	})
	t.Run("with everything else", func(t *testing.T) {
		t.Parallel()
		server := harness.Start(t, harness.Options{Secret: harness.Secret})
		if status, _ := get(t, server.URL()+"/metrics", nil); status != http.StatusUnauthorized {
			t.Errorf("/metrics without a token answers %d", status)
		}
		status, text := get(t, server.URL()+"/metrics", withToken)
		if seen := parse(t, text); status != http.StatusOK || seen.series["tidemark_ready"] != 1 {
			t.Errorf("/metrics with a token answers %d", status)
		} else if n := seen.series[`tidemark_nodes_seen`]; n != 0 {
			t.Errorf("without the canary %v nodes are seen", n)
		}
		if status, _ := get(t, server.URL()+"/debug/pprof/", withToken); status != http.StatusNotFound {
			t.Errorf("profiles where everybody is answer %d", status)
		}
	})
}
