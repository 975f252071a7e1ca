package models_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/models"
)

// TestValidName_isItsPattern holds the loops against the patterns that
// openapi.yaml publishes.
func TestValidName_isItsPattern(t *testing.T) {
	t.Parallel()
	name, space := regexp.MustCompile(models.NamePattern), regexp.MustCompile(models.SpacePattern)
	check := func(t interface{ Errorf(string, ...any) }, s string) {
		if got, want := models.ValidName(s), name.MatchString(s); got != want {
			t.Errorf("ValidName(%q) = %v, want %v", s, got, want)
		}
		if got, want := models.ValidSpace(s), space.MatchString(s); got != want {
			t.Errorf("ValidSpace(%q) = %v, want %v", s, got, want)
		}
	}
	for _, n := range []int{0, 1, 62, 63, 64, 127, 128, 129} {
		check(t, strings.Repeat("a", n))
	}
	for c := range 256 {
		check(t, string([]byte{byte(c)}))
		check(t, string([]byte{'a', byte(c)}))
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t, rapid.StringMatching(`[A-Za-z0-9._:\n é-]{0,140}`).Draw(t, "name"))
	})
}
