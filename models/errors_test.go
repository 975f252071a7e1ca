package models_test

import (
	"strings"
	"testing"

	"github.com/tidemark/tidemark/models"
)

func TestCut(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                "",
		"abcd":                            "abcd",
		"abcde":                           "abcd…",
		"abcé":                            "abc…",
		"abéx":                            "abé…",
		"a😀":                              "a…",
		strings.Repeat("\x80", 70):        "…",
		"ab" + strings.Repeat("\x80", 70): "a…", // as if they were of the b
	} {
		if got := models.Cut(text, 4); got != want {
			t.Errorf("%q is cut to %q, want %q", text, got, want)
		}
	}
}
