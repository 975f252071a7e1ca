package main

import (
	"context"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/tidemark/tidemark/cmd/tidemark/top"
	"github.com/tidemark/tidemark/syncer/store"
)

// topCommand watches nodes that run, in a terminal.
type topCommand struct {
	URLs     []string      `arg:"" optional:"" name:"url" help:"Nodes, like http://10.0.0.5:8080. Default: the one at --listen."`
	Token    string        `env:"TIDEMARK_METRICS_TOKEN" placeholder:"TOKEN" help:"A token or an API key that opens /metrics. Not needed without auth."`
	Interval time.Duration `default:"2s" help:"Pause between looks."`
	Spaces   bool          `help:"Show the hottest spaces, too, from --database-url. It goes through the table of spaces once every ten seconds."`
	Once     bool          `help:"Print one frame as text: what happened within the interval."`
}

const (
	minInterval = 100 * time.Millisecond

	// spacesEvery is how often the database is asked, whatever the interval.
	spacesEvery = 10 * time.Second
)

// Run shows what nodes count until somebody types q.
func (c *topCommand) Run(s *Settings, known variables, out output) error {
	options := top.Options{Token: c.Token, Interval: c.Interval}
	if len(c.URLs) == 0 {
		c.URLs = []string{"http://" + s.Listen}
	}
	for _, node := range c.URLs {
		if u, err := url.Parse(node); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return usagef("%q is no URL like http://10.0.0.5:8080", node)
		}
		options.Nodes = append(options.Nodes, strings.TrimSuffix(strings.TrimSuffix(node, "/"), "/metrics"))
	}
	if c.Interval < minInterval {
		return usagef("--interval must be at least %s", minInterval)
	}
	terminal, isTerminal := out.stdout.(*os.File)
	if isTerminal {
		info, err := terminal.Stat()
		isTerminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	if !isTerminal && !c.Once {
		return usagef("this is no terminal: --once prints one frame")
	}
	show := func(ctx context.Context) error {
		if c.Once {
			return top.Once(ctx, options, out.stdout)
		}
		return top.Run(ctx, options, os.Stdin, terminal)
	}
	if c.Spaces {
		return withStore(s, known, func(ctx context.Context, db *store.Store) error {
			options.Spaces = hottest(db)
			return show(ctx)
		})
	}
	if err := known.check(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return show(ctx)
}

// hottest asks the database for the spaces that changed most in the last minute, and
// answers from memory if it did so lately.
func hottest(db *store.Store) func(context.Context, int) ([]top.Space, error) {
	var spaces []top.Space
	var asked time.Time
	var failed error
	return func(ctx context.Context, n int) ([]top.Space, error) {
		if time.Since(asked) < spacesEvery {
			return spaces, failed
		}
		asked = time.Now() // also if it fails: then it has enough to do
		var rows []store.HotSpace
		now, err := db.Now(ctx)
		if err == nil {
			rows, err = db.Hottest(ctx, now.Add(-time.Minute), n)
		}
		spaces, failed = nil, err
		for _, row := range rows {
			spaces = append(spaces, top.Space{Name: row.ID, Head: row.Head, Documents: row.LiveCount, Changed: row.Changed})
		}
		return spaces, failed
	}
}
