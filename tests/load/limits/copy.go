package limits

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// copyStatement makes the same JSON of each document that a page has. The
// members are put together with ||, which is what is fastest:
// json_build_object takes twice as long, and only the id may hold anything
// that would have to be escaped here.
const copyStatement = `COPY (
SELECT '{"collection":"' || collection || '","id":"' || id || '","version":' || version || ',"deleted":' || deleted
    || ',"data":' || data || ',"updated_at":"'
    || to_char(to_timestamp(updated_at / 1000000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
    || '","updated_by":"' || updated_by || '","client_id":"' || client_id || '","edit_id":"' || edit_id || '"}'
FROM bench_documents WHERE space_id = '0' ORDER BY version
) TO STDOUT`

// Copy has psql print the documents of a prepared database as JSON, a line
// each, and returns what psql says it took: without its own start.
func Copy(ctx context.Context, psql, databaseURL string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, psql, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1",
		"--command=\\timing on", "--command=\\o /dev/null", "--command="+copyStatement, databaseURL)
	output, err := command.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("psql: %w\n%s", err, output)
	}
	match := timing.FindSubmatch(output)
	if match == nil {
		return 0, fmt.Errorf("psql told no time: %s", bytes.TrimSpace(output))
	}
	milliseconds, err := strconv.ParseFloat(string(match[1]), 64)
	return time.Duration(milliseconds * float64(time.Millisecond)), err
}

var timing = regexp.MustCompile(`Time: ([0-9.]+) ms`)
