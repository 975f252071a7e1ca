package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// File returns the text of a file of this repository.
func File(t testing.TB, name string) string {
	t.Helper()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Between returns the text with what stands between two lines replaced: tables that
// long runs write into the documentation.
func Between(text, begin, end, by string) (string, error) {
	before, rest, begun := strings.Cut(text, begin)
	_, after, ended := strings.Cut(rest, end)
	if !begun || !ended {
		return "", fmt.Errorf("the marks %q and %q are not there", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return before + begin + "\n" + by + "\n" + end + after, nil
}

// Publish does it in a file.
func Publish(name, begin, end, by string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	next, err := Between(string(text), begin, end, by)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return os.WriteFile(name, []byte(next), 0o644)
}
