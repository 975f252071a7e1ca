package observe_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/tests/harness"
	"github.com/tidemark/tidemark/tests/lifeline"
)

// findPrometheus returns the binary: of the environment, of the system, or the one that
// scripts/promtool.sh has unpacked; "" if there is none.
func findPrometheus(t *testing.T) string {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{os.Getenv("PROMETHEUS"), "prometheus", filepath.Join(root, "bin/tools/prometheus/usr/bin/prometheus")} {
		if name == "" {
			continue
		}
		if found, err := exec.LookPath(name); err == nil {
			return found
		}
	}
	return ""
}

// startPrometheus starts one that scrapes nodes, with the rules that are deployed, and
// returns where it answers. It ends with the test.
func startPrometheus(t *testing.T, binary string, nodes ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tidemark-prometheus-")
	if err != nil {
		t.Fatal(err)
	}
	line, err := lifeline.Guard(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = line.Close() })
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [alerts.yml]\n"+
		"scrape_configs: [{job_name: tidemark, static_configs: [{targets: ['%s']}]}]\n", strings.Join(nodes, "', '"))
	for name, text := range map[string]string{"prometheus.yml": config, "alerts.yml": deployed(t, "prometheus/alerts.yml")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(binary, "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0")
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	lifeline.Detach(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line.Watch(cmd.Process)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		line.Forget(cmd.Process)
	})
	at := ""
	harness.Until(t, soon, "Prometheus says where it listens", func() bool {
		text, err := os.ReadFile(log.Name())
		if err != nil {
			t.Fatal(err)
		}
		if found := regexp.MustCompile(`Listening on"? address=(127\.0\.0\.1:[1-9]\d*)`).FindSubmatch(text); found != nil {
			at = "http://" + string(found[1])
		}
		return at != ""
	})
	harness.Until(t, soon, "Prometheus is ready", func() bool {
		status, _ := get(t, at+"/-/ready", nil)
		return status == http.StatusOK
	})
	return at
}

// ask asks Prometheus' own API.
func ask(ctx context.Context, url string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return errors.New(answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}

// A real Prometheus finds something for every panel of the dashboard, understands every
// alert, and has nothing to alert anybody of.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	binary := findPrometheus(t)
	if binary == "" {
		harness.Need(t, errors.New("there is no Prometheus: sh scripts/promtool.sh fetches it, as make lint does"))
	}
	cluster := harness.StartCluster(t, harness.ClusterOptions{Nodes: 2, Node: watched(t, harness.Postgres)})
	var nodes []string
	for i := range cluster.Len() {
		nodes = append(nodes, strings.TrimSuffix(strings.TrimPrefix(metricsURL(t, cluster.Node(i)), "http://"), "/metrics"))
	}
	prometheus := startPrometheus(t, binary, nodes...)
	query := func(expression string) (results int) {
		t.Helper()
		var data struct{ Result []json.RawMessage }
		if err := ask(t.Context(), prometheus+"/api/v1/query?query="+url.QueryEscape(expression), &data); err != nil {
			t.Fatalf("%s: %v", expression, err)
		}
		return len(data.Result)
	}
	harness.Until(t, soon, "both nodes are scraped", func() bool { return query("up == 1") == 2 })
	for n := range cluster.Len() {
		live(t, cluster.Node(n), n)
	}
	harness.Until(t, soon, "there are samples of after that", func() bool {
		return query(`rate(tidemark_push_results_total{outcome="applied"}[30s]) > 0`) == 2
	})
	for _, expression := range dashboard(t) {
		expression = strings.NewReplacer("$__rate_interval", "30s", "$instance", ".*").Replace(expression)
		if query(expression) == 0 {
			t.Errorf("a panel would be empty: %s", expression)
		}
	}
	var data struct {
		Groups []struct {
			Rules []struct {
				Name, Health, State, LastError string
			}
		}
	}
	evaluated := func() (all bool) {
		if err := ask(t.Context(), prometheus+"/api/v1/rules", &data); err != nil {
			t.Fatal(err)
		}
		for _, group := range data.Groups {
			for _, rule := range group.Rules {
				if rule.Health == "unknown" {
					return false
				}
			}
		}
		return len(data.Groups) > 0
	}
	harness.Until(t, soon, "all rules were evaluated", evaluated)
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			if rule.Health != "ok" || rule.State != "inactive" {
				t.Errorf("%s is %s and %s on two healthy nodes: %s", rule.Name, rule.Health, rule.State, rule.LastError)
			}
		}
	}
}
