// Command soak runs the tests of the guarantees at length and keeps what they came
// to: one line of JSON for each run in results.jsonl, summed up as the table in
// README. `make soak` runs it.
//
//	go run ./tests/soak --part T2 --seeds 1-10
//	go run ./tests/soak --publish
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tidemark/tidemark/tests/harness"
)

// Settings are the flags.
type Settings struct {
	Part    []string `help:"Parts of the test plan to run; all of them unless given." placeholder:"T1,T2"`
	Seeds   string   `help:"Seeds to run each part with, such as 1-10,17; each part has its own unless given."`
	Publish bool     `help:"Run nothing; write the table of all results into README.md."`

	Results string `help:"The file that gets a line for each run." default:"tests/soak/results.jsonl"`
	Failed  string `help:"The folder for what failing runs have printed." default:"tests/soak/failed"`
	Readme  string `help:"The file with the table." default:"README.md"`

	Checks   int           `help:"T1: sequences of actions for each seed and database." default:"500"`
	Steps    int           `help:"T1: actions of a sequence, on average." default:"200"`
	Clients  int           `help:"T2: clients." default:"50"`
	Length   time.Duration `help:"T2: how long they edit." default:"5m"`
	Rounds   int           `help:"T6, T7: rounds of faults; 0: as many as the tests make in a soak."`
	FuzzTime time.Duration `help:"T10: how long each fuzz target is run." default:"10m" name:"fuzztime"`
}

func main() {
	var settings Settings
	kong.Parse(&settings, kong.Name("soak"),
		kong.Description("Runs the tests of the guarantees at length, and sums up what all such runs have found."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, &settings)
	if ctx.Err() != nil {
		err = errors.New("interrupted; what was run to its end is kept")
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, settings *Settings) error {
	if !settings.Publish {
		if err := runAll(ctx, settings); err != nil {
			return err
		}
	}
	results, err := readResults(settings.Results)
	if err != nil {
		return err
	}
	table := tableOf(results)
	if settings.Publish {
		return harness.Publish(settings.Readme, beginMark, endMark, table)
	}
	fmt.Print("\n", table)
	return nil
}
