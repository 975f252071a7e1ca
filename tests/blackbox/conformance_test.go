package blackbox_test

import (
	"strings"
	"testing"

	"github.com/tidemark/tidemark/tests/harness"
)

// TestConformance: the server keeps to the protocol as the kit knows it, with auth and
// without. That the kit bites shows `make teeth`.
func TestConformance(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		t.Run("open", func(t *testing.T) {
			t.Parallel()
			wantConformance(t, harness.Start(t, harness.Options{Store: store}), "")
		})
		t.Run("with auth", func(t *testing.T) {
			t.Parallel()
			token := harness.Token(harness.Claims{"sub": "alice", "spaces": harness.Claims{"conformance-*": "rw"}})
			wantConformance(t, harness.Start(t, harness.Options{Store: store, Secret: harness.Secret}), token)
		})
	})
}

func wantConformance(t *testing.T, server *harness.Server, token string) {
	t.Helper()
	stdout, stderr, err := server.Run(t.Context(), "conformance", server.URL(), "--token", token)
	if err != nil || !strings.HasSuffix(stdout, " checks, 0 faults\n") || strings.Count(stdout, "\n") < 70 {
		t.Errorf("%v\n%s%s", err, stdout, stderr)
	}
}
