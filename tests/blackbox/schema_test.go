package blackbox_test

import (
	"strings"
	"testing"

	"github.com/tidemark/tidemark/tests/harness"
)

// Commands beside a server of an older release say so, before they ask the database for
// what it has not.
func TestAdmin_olderSchema(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.New(t, harness.Options{Store: store})
		run := func(args ...string) (stderr string, err error) {
			_, stderr, err = server.Run(t.Context(), args...)
			return stderr, err
		}
		for _, args := range [][]string{{"migrate", "up"}, {"verify"}, {"migrate", "down", "3"}} {
			if stderr, err := run(args...); err != nil {
				t.Fatalf("%q: %v\n%s", args, err, stderr)
			}
		}
		for _, args := range [][]string{{"verify"}, {"gc"}, {"key", "list"}, {"space", "retention", "s", "48h"}} {
			stderr, err := run(args...)
			if err == nil || !strings.Contains(stderr, "run tidemark migrate up") || strings.Contains(stderr, "SQLSTATE") {
				t.Errorf("%q: %v\n%s", args, err, stderr)
			}
		}
		if stderr, err := run("migrate", "up"); err != nil {
			t.Errorf("migrate up: %v\n%s", err, stderr)
		}
	})
}
