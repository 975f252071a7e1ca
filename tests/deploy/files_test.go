package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// file reads a file of the repository.
func file(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// find returns what the first group of a pattern matches in a file.
func find(t *testing.T, name, pattern string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(file(t, name))
	if found == nil {
		t.Fatalf("%s has nothing like %s", name, pattern)
	}
	return found[1]
}

// TestFiles_postgresVersion: compose runs the major version that the tests fetch where
// none is installed, and the documentation says which it is.
func TestFiles_postgresVersion(t *testing.T) {
	t.Parallel()
	want := find(t, "docker-compose.yml", `image: postgres:(\d+)-alpine`)
	for name, pattern := range map[string]string{
		"tests/pgtest/binaries.go": `embeddedpostgres\.V(\d+)`,
		"deploy/README.md":         `and (\d+) \(compose;`,
	} {
		if got := find(t, name, pattern); got != want {
			t.Errorf("%s has PostgreSQL %s, docker-compose.yml %s", name, got, want)
		}
	}
}

// TestFiles_releaseFlags: whoever builds a release from a commit gets the same binary.
func TestFiles_releaseFlags(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{
		"Dockerfile":              {"CGO_ENABLED=0", "-trimpath -buildvcs=false", "-s -w -buildid= -X main.version="},
		"scripts/reproducible.sh": {"CGO_ENABLED=0", "-trimpath -buildvcs=false", "-s -w -buildid= -X main.version="},
		".goreleaser.yaml":        {"CGO_ENABLED=0", "[-trimpath, -buildvcs=false]", "-s -w -buildid= -X main.version="},
	} {
		for _, flag := range flags {
			if !strings.Contains(file(t, name), flag) {
				t.Errorf("%s does not build with %s", name, flag)
			}
		}
	}
}

// TestFiles_settings: a setting that is misspelled in a manifest is found here, before it
// stops a server's start.
func TestFiles_settings(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`TIDEMARK_[A-Z_]+[A-Z]`)
	documented := map[string]bool{}
	for line := range strings.SplitSeq(file(t, "README.md"), "\n") {
		if strings.HasPrefix(line, "| `") && strings.Contains(line, "--") {
			documented[name.FindString(line)] = true
		}
	}
	names := []string{"docker-compose.yml", "Dockerfile", "scripts/image-smoke.sh"}
	err := filepath.WalkDir("../../deploy", func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(path, "../../"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, place := range names {
		for _, found := range name.FindAllString(file(t, place), -1) {
			seen++
			// What Kubernetes would set is named as what is not wanted.
			if !documented[found] && !strings.HasPrefix(found, "TIDEMARK_SERVICE_") {
				t.Errorf("%s sets %s, which README's table of settings does not have", place, found)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d settings were found", seen)
	}
}

// TestFiles_compose: what the documentation has operators type for compose is what CI types
// where there is an engine, line by line and in this order.
func TestFiles_compose(t *testing.T) {
	t.Parallel()
	lines := strings.Split(strings.Join(commands(t, "docker compose"), ""), "\n")
	start := len(lines)
	_, upgrade, _ := strings.Cut(file(t, "deploy/README.md"), "\n## Upgrade\n")
	upgrade, _, _ = strings.Cut(upgrade, "\n## ")
	for _, block := range shell.FindAllStringSubmatch(upgrade, -1) {
		if strings.Contains(block[1], "docker compose ") {
			lines = append(lines, strings.Split(block[1], "\n")...)
		}
	}
	if start < 10 || len(lines) < start+5 {
		t.Fatalf("only these were found:\n%s", strings.Join(lines, "\n"))
	}
	workflow := file(t, ".github/workflows/ci.yml")
	for _, line := range lines {
		if line == "" {
			continue
		}
		_, after, found := strings.Cut(workflow, "  "+line+"\n")
		if !found {
			t.Errorf("CI does not type, after what stands before it, %q", line)
			continue
		}
		workflow = after
	}
}
