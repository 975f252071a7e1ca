package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2 // a wrong command line or setting; starting again won't help
)

type commands struct {
	Settings

	Serve       serveCommand       `cmd:"" help:"Start the server."`
	Migrate     migrateCommand     `cmd:"" help:"Bring the database's schema to a version."`
	Epoch       epochCommand       `cmd:"" help:"Tell the database that it was put back."`
	Key         keyCommand         `cmd:"" help:"API keys for servers: make, list and revoke them."`
	Revoke      revokeCommand      `cmd:"" help:"Take back tokens before they expire; every node knows within 5 seconds."`
	Audit       auditCommand       `cmd:"" help:"Print who has made or revoked what, the newest first."`
	Verify      verifyCommand      `cmd:"" help:"Prove spaces by their rows: digests, versions, receipts. Exit code 1: there are faults."`
	Gc          gcCommand          `cmd:"" help:"Forget now what is past its retention, as servers do every hour. Give it the retention that they have."`
	Webhook     webhookCommand     `cmd:"" help:"Wake-ups that the webhook's receiver has not taken."`
	Space       spaceCommand       `cmd:"" help:"Set what belongs to one space."`
	Export      exportCommand      `cmd:"" help:"Write spaces as lines of JSON: documents, versions, tombstones, receipts. Beside a server or without one."`
	Import      importCommand      `cmd:"" help:"Take in what an export holds and this database does not, while no server runs on it. Run again it goes on."`
	Copy        copyCommand        `cmd:"" help:"Copy all spaces from one database into another: the way from SQLite to PostgreSQL, and back."`
	Backup      backupCommand      `cmd:"" help:"Copy a SQLite database into a file, beside a server or without one."`
	Restore     restoreCommand     `cmd:"" help:"Put a backup of a SQLite database in its place, after proving it, while no server runs."`
	Stats       statsCommand       `cmd:"" help:"Count what the database holds, and show its largest spaces, those written last and the hot ones."`
	Token       tokenCommand       `cmd:"" help:"Print a token signed with --auth-secret."`
	Conformance conformanceCommand `cmd:"" help:"Hold a deployment, of Tidemark or of another server, against the protocol. Exit code 1: it does not conform."`
	Config      configCommand      `cmd:"" help:"Print the settings in force, secrets hidden."`
	Top         topCommand         `cmd:"" help:"Watch nodes that run, in a terminal: rates, lag, streams, conflicts, hot spaces."`
	Healthcheck healthcheckCommand `cmd:"" help:"Ask a running server whether it is ready."`
	Version     versionCommand     `cmd:"" help:"Print the version."`
}

// output is where commands write. What a script may want goes to stdout.
type output struct{ stdout, stderr io.Writer }

// usageError is an error of whoever wrote the command line or the settings.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run runs one command and returns the exit code. What went wrong is one line.
func run(args []string, stdout, stderr io.Writer) int {
	err := parseAndRun(args, output{stdout, stderr})
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "tidemark:", strings.ReplaceAll(err.Error(), "\n", "; "))
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	return exitFailure
}

func parseAndRun(args []string, out output) error {
	if err := dropEmptyVariables(); err != nil {
		return err
	}
	var c commands
	parser, err := kong.New(&c,
		kong.Name("tidemark"),
		kong.Description("Keeps JSON documents in step between optimistic clients: push, pull, poll."),
		kong.Writers(out.stdout, out.stderr),
		kong.Bind(&c.Settings, out),
	)
	if err != nil {
		return err
	}
	context, err := parser.Parse(args)
	if err != nil {
		return usageError{err}
	}
	return context.Run(knownVariables(parser.Model))
}

// dropEmptyVariables makes an empty variable as good as none: compose files and
// CI set those that have no value.
func dropEmptyVariables() error {
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, variablePrefix) && value == "" {
			if err := os.Unsetenv(name); err != nil {
				return err
			}
		}
	}
	return nil
}
