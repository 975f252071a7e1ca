package blackbox_test

import (
	"testing"

	"github.com/tidemark/tidemark/tests/harness"
)

// TestServe_diskFullSQLite lets SQLite write no further than the first page of a
// file: only Linux can do that to a process that runs, and without being root.
func TestServe_diskFullSQLite(t *testing.T) {
	t.Parallel()
	server := harness.Start(t, harness.Options{Store: harness.SQLite})
	fullAndFree(t, server, func() { server.LimitFiles(4096) }, func() { server.LimitFiles(0) })
	server.Kill()
	wantIntegrity(t, server.SQLiteFile())
}
