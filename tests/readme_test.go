package tests

import (
	"strings"
	"testing"
)

// TestREADME_example: the page that README shows is the page that the server
// shows at /example, so the one that the browser test runs.
func TestREADME_example(t *testing.T) {
	t.Parallel()
	_, rest, found := strings.Cut(readFile(t, "README.md"), "```html\n")
	if !found {
		t.Fatal("README has no ```html block")
	}
	shown, _, _ := strings.Cut(rest, "```")
	if served := readFile(t, "api/web/example.html"); shown != served {
		t.Errorf("README's example is not api/web/example.html:\n%s\nwant:\n%s", shown, served)
	}
}
