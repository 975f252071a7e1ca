package limits

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/pgtest"
)

// pgbench takes at most 256 values for the variables of a statement, and says
// so only by failing.
func TestPgbench_Script(t *testing.T) {
	t.Parallel()
	uses := regexp.MustCompile(`:[a-z_]+[0-9]*`)
	for _, batch := range []int{1, 10, 100} {
		p := Pgbench{Clients: 32, Batch: batch, Spaces: true, Prefilled: 32_000}
		_, statement, found := strings.Cut(p.Script(), "INSERT")
		if !found {
			t.Fatalf("batch %d: no statement in %s", batch, p.Script())
		}
		statement = strings.NewReplacer("::text", "", "::bigint", "", "::json", "").Replace(statement)
		if used := len(uses.FindAllString(statement, -1)); used > 256 || used != batch+3 {
			t.Errorf("batch %d: the statement uses %d variables, want %d", batch, used, batch+3)
		}
		for i := range batch {
			if strings.Count(p.Script(), fmt.Sprintf("\\set id%d ", i+1)) != 1 {
				t.Errorf("batch %d: id%d is not set", batch, i+1)
			}
		}
	}
}

// program is one of PostgreSQL's own that bench measures with. A fetched archive
// has none, and bench then says so; in CI its absence is a mistake.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := pgtest.Program(name)
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatal(err)
	default:
		t.Skipf("PostgreSQL's programs are not installed: %v", err)
	}
	return path
}

// A short run against a real server: half of the rows must replace one that was
// there, none may be written twice by one statement.
func TestPgbench_Run(t *testing.T) {
	t.Parallel()
	program := program(t, "pgbench")
	databaseURL := pgtest.URL(t)
	const prefilled, clients, batch = 400, 4, 10
	if err := Prepare(t.Context(), databaseURL, prefilled, clients, true); err != nil {
		t.Fatal(err)
	}
	before := rows(t, databaseURL)
	run := Pgbench{
		Program: program, DatabaseURL: databaseURL, Clients: clients, Batch: batch, Spaces: true, Prefilled: prefilled,
		Duration: time.Second, Name: "test", Dir: t.TempDir(), Latencies: true,
	}
	result, err := run.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if result.EditsPerSecond <= 0 || len(result.Latencies) == 0 {
		t.Errorf("pgbench made %v edits/s in %d transactions", result.EditsPerSecond, len(result.Latencies))
	}
	after := rows(t, databaseURL)
	if before != prefilled || after != before+len(result.Latencies)*batch/2 {
		t.Errorf("%d transactions of %d edits made %d rows of %d", len(result.Latencies), batch, after, before)
	}
	if files, _ := filepath.Glob(filepath.Join(run.Dir, "pgbench-test.*")); len(files) != 2 {
		t.Errorf("script and output were not kept: %v", files)
	}
}

func TestCopy(t *testing.T) {
	t.Parallel()
	program := program(t, "psql")
	databaseURL := pgtest.URL(t)
	if err := Prepare(t.Context(), databaseURL, 1000, 1, false); err != nil {
		t.Fatal(err)
	}
	wall, err := Copy(t.Context(), program, databaseURL)
	if err != nil || wall <= 0 {
		t.Errorf("a copy took %v, %v", wall, err)
	}
	if valid := copyIsJSON(t, databaseURL); valid != 1000 {
		t.Errorf("%d of 1000 lines are the JSON of a change", valid)
	}
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	rate, err := SQLite(t.Context(), filepath.Join(t.TempDir(), "limit.db"), 200, 4, 50*time.Millisecond)
	if err != nil || rate <= 0 {
		t.Errorf("%v edits/s, %v", rate, err)
	}
}
