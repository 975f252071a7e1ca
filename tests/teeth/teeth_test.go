package main

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// The patches are held against the code here, so that no change to it makes one of them
// worthless unseen. Whether the tests catch them takes `make teeth`.
func TestTeeth_apply(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	all, err := teeth(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Errorf("there are %d patches, want 20 or more", len(all))
	}
	for _, tooth := range all {
		cmd := exec.CommandContext(t.Context(), "git", "apply", "--check", tooth.patch)
		cmd.Dir = root
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s does not apply: %v\n%s", tooth.name, err, text)
		}
	}
}
