package harness

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tidemark/tidemark/tests/lifeline"
)

// EnvBinary names the variable with which a binary is tested that was built
// elsewhere, for example the one of a release.
const EnvBinary = "TIDEMARK_BIN"

// workplace is the folder of this test process: the binary and all data.
type workplace struct {
	dir  string
	line *lifeline.Line
}

var place = sync.OnceValues(func() (workplace, error) {
	dir, err := os.MkdirTemp("", "tidemark-test-")
	if err != nil {
		return workplace{}, err
	}
	line, err := lifeline.Guard(dir)
	if err != nil {
		return workplace{}, errors.Join(err, os.RemoveAll(dir))
	}
	return workplace{dir, line}, nil
})

// binary is the path of the server under test.
var binary = sync.OnceValues(func() (string, error) {
	if given := os.Getenv(EnvBinary); given != "" {
		return filepath.Abs(given)
	}
	return build("tidemark")
})

// crashing is the path of a server that can be armed; see package fault.
var crashing = sync.OnceValues(func() (string, error) { return build("tidemark-faults", "-tags", "faults") })

// Release builds the server as a later release could be: it says that it has this
// version, and brings a migration more, with a number behind all that there are.
func Release(t testing.TB, version, up, down string) (binary string) {
	t.Helper()
	place, err := place()
	if err != nil {
		t.Fatal(err)
	}
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(place.dir, "release-")
	if err != nil {
		t.Fatal(err)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for direction, statements := range map[string]string{"up": up, "down": down} {
		file := filepath.Join(dir, direction+".sql")
		if err := os.WriteFile(file, []byte(statements), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, store := range Stores {
			overlay.Replace[filepath.Join(root, "migrations", string(store), "999999_"+version+"."+direction+".sql")] = file
		}
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	binary, err = build(filepath.Base(dir)+"-tidemark", "-overlay", file, "-ldflags", "-X main.version="+version)
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// build builds the server from this tree.
func build(name string, options ...string) (string, error) {
	place, err := place()
	if err != nil {
		return "", err
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	out := filepath.Join(place.dir, name)
	args := append([]string{"build", "-o", out}, options...)
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "./cmd/tidemark")...)
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, output)
	}
	return out, nil
}

// Root is the module's folder.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}
