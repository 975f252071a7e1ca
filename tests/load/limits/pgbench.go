package limits

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark/tidemark/tests/load/wire"
)

// Pgbench is a run of pgbench with a bare multi-row upsert.
type Pgbench struct {
	Program     string
	DatabaseURL string
	Clients     int
	Batch       int
	Spaces      bool // each client writes to a space of its own
	Prefilled   int  // documents that are there
	Duration    time.Duration
	// Name and Dir: script and output stay as Dir/pgbench-Name.{sql,txt}.
	Name, Dir string
	// Latencies asks for the latency of every transaction.
	Latencies bool
}

// PgbenchRun is what came of it.
type PgbenchRun struct {
	EditsPerSecond float64
	Latencies      []time.Duration
}

// Script is what each client does over and over. Half of the rows are new, half
// replace one of the client's own rows: clients that shared rows would deadlock.
// Data and version travel once per statement; versions grow, as Tidemark's do.
func (p *Pgbench) Script() string {
	var b strings.Builder
	b.WriteString("\\set v :v + 1\n")
	per := p.Prefilled / p.Clients
	ids := make([]string, p.Batch)
	updates := p.Batch / 2
	if p.Batch == 1 {
		// Odd turns create, even ones update.
		fmt.Fprintf(&b, "\\set known %d + (random(0, %d) * %d + :client_id) * %d\n", FirstID, per-1, p.Clients, Step(p.Prefilled))
		fmt.Fprintf(&b, "\\set new random(%d, %d)\n", FirstID, LastID)
		b.WriteString("\\set id1 case when :v % 2 = 0 then :known else :new end\n")
	}
	for i := range p.Batch {
		ids[i] = fmt.Sprintf("(:id%d::text)", i+1)
		switch {
		case p.Batch == 1:
		case i < updates:
			// Rows of one statement must differ: each update has a range of its own.
			from, to := per*i/updates, per*(i+1)/updates-1
			fmt.Fprintf(&b, "\\set id%d %d + (random(%d, %d) * %d + :client_id) * %d\n", i+1, FirstID, from, to, p.Clients, Step(p.Prefilled))
		default:
			fmt.Fprintf(&b, "\\set id%d random(%d, %d)\n", i+1, FirstID, LastID)
		}
	}
	space := "'0'"
	if p.Spaces {
		space = ":client_id::text"
	}
	fmt.Fprintf(&b, `INSERT INTO bench_documents (space_id, collection, id, version, data, size, client_id, edit_id, updated_by, updated_at)
SELECT push.space, '%s', row.id, push.version, push.data, %d, 'client', 'client-1', 'subject', push.version
FROM (SELECT %s AS space, :v::bigint AS version, :data::json AS data) AS push,
     (VALUES %s) AS row (id)
ON CONFLICT (space_id, collection, id) DO UPDATE
SET version = excluded.version, data = excluded.data, size = excluded.size, client_id = excluded.client_id,
    edit_id = excluded.edit_id, updated_by = excluded.updated_by, updated_at = excluded.updated_at
`, wire.Collection, wire.DocumentBytes, space, strings.Join(ids, ", "))
	// pgbench ends a statement at a semicolon or at the end of the file.
	return b.String()
}

var tps = regexp.MustCompile(`(?m)^tps = ([0-9.]+) \(without`)

// Run runs pgbench to its end.
func (p *Pgbench) Run(ctx context.Context) (PgbenchRun, error) {
	script := filepath.Join(p.Dir, "pgbench-"+p.Name+".sql")
	if err := os.WriteFile(script, []byte(p.Script()), 0o644); err != nil {
		return PgbenchRun{}, err
	}
	scratch, err := os.MkdirTemp("", "tidemark-pgbench-")
	if err != nil {
		return PgbenchRun{}, err
	}
	defer os.RemoveAll(scratch)
	seconds := max(1, int(p.Duration.Round(time.Second)/time.Second))
	args := []string{
		"--no-vacuum", "--protocol=prepared", "--file=" + script,
		"--client=" + strconv.Itoa(p.Clients), "--jobs=" + strconv.Itoa(min(2, p.Clients)), "--time=" + strconv.Itoa(seconds),
		"--define=v=1000000000", "--define=data=" + string(wire.Document(2)),
	}
	if p.Latencies {
		args = append(args, "--log", "--log-prefix="+filepath.Join(scratch, "latency"))
	}
	ctx, cancel := context.WithTimeout(ctx, p.Duration+time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, p.Program, append(args, p.DatabaseURL)...)
	output, err := command.CombinedOutput()
	if err != nil {
		return PgbenchRun{}, fmt.Errorf("pgbench: %w\n%s", err, output)
	}
	// Without the folders, which are of this machine and this run.
	folders := strings.NewReplacer(filepath.Dir(script)+"/", "", scratch+"/", "")
	shown := folders.Replace("$ pgbench " + strings.Join(args, " ") + "\n" + string(output) + "\n")
	if err := appendFile(strings.TrimSuffix(script, ".sql")+".txt", shown); err != nil {
		return PgbenchRun{}, err
	}
	match := tps.FindSubmatch(output)
	if match == nil {
		return PgbenchRun{}, fmt.Errorf("pgbench told no rate:\n%s", output)
	}
	rate, err := strconv.ParseFloat(string(match[1]), 64)
	if err != nil {
		return PgbenchRun{}, err
	}
	run := PgbenchRun{EditsPerSecond: rate * float64(p.Batch)}
	if p.Latencies {
		run.Latencies, err = readLatencies(scratch)
	}
	return run, err
}

func appendFile(name, text string) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// readLatencies reads pgbench's logs: client, transaction, microseconds, …
func readLatencies(dir string) ([]time.Duration, error) {
	files, err := filepath.Glob(filepath.Join(dir, "latency.*"))
	if err != nil {
		return nil, err
	}
	var all []time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(text) {
			fields := bytes.Fields(line)
			if len(fields) < 3 {
				continue
			}
			microseconds, err := strconv.ParseInt(string(fields[2]), 10, 64)
			if err != nil {
				return nil, fmt.Errorf("pgbench's log: %q", line)
			}
			all = append(all, time.Duration(microseconds)*time.Microsecond)
		}
	}
	return all, nil
}
