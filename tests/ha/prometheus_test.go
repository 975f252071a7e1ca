package ha

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemark/tidemark/tests/harness"
)

// watch has Prometheus scrape the nodes, with the alert rules of deploy/prometheus, which
// promtool checks.
func (r *run) watch(nodes []*harness.Server) (up func() bool) {
	r.t.Helper()
	rules := filepath.Join(r.root, "deploy/prometheus/alerts.yml")
	include := ""
	if _, err := os.Stat(rules); err == nil {
		include = fmt.Sprintf("rule_files: [%q]\n", rules)
		check := exec.Command(r.tool("usr/bin/promtool"), "check", "rules", rules)
		check.Env = append(os.Environ(), r.libraries()...)
		out, err := check.CombinedOutput()
		if err != nil {
			r.t.Fatalf("promtool: %v\n%s", err, out)
		}
		r.t.Logf("promtool: %s", out)
	}
	var targets []string
	for _, node := range nodes {
		targets = append(targets, fmt.Sprintf("%q", strings.TrimPrefix(node.URL(), "http://")))
	}
	file := filepath.Join(r.dir, "prometheus.yml")
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\n%sscrape_configs:\n- job_name: tidemark\n  static_configs:\n  - targets: [%s]\n", include, strings.Join(targets, ", "))
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		r.t.Fatal(err)
	}
	address := local(r.freePort())
	r.start("prometheus", nil, nil, r.tool("usr/bin/prometheus"), "--config.file", file,
		"--storage.tsdb.path", filepath.Join(r.dir, "prometheus"), "--web.listen-address", address)
	return func() bool { return healthy(address) == len(nodes) }
}

// healthy is how many targets Prometheus has scraped well.
func healthy(address string) (n int) {
	client := http.Client{Timeout: 2 * time.Second}
	answer, err := client.Get("http://" + address + "/api/v1/targets")
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	var targets struct {
		Data struct {
			ActiveTargets []struct{ Health string }
		}
	}
	if json.NewDecoder(answer.Body).Decode(&targets) != nil {
		return 0
	}
	for _, target := range targets.Data.ActiveTargets {
		if target.Health == "up" {
			n++
		}
	}
	return n
}
