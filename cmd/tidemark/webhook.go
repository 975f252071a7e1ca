package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/hook"
	"github.com/tidemark/tidemark/syncer/store"
	"github.com/tidemark/tidemark/syncer/wakeup"
)

func (s *Settings) checkWebhook() error {
	switch {
	case s.WebhookURL == "" && s.WebhookSecret != "":
		return usagef("--webhook-secret means nothing without --webhook-url")
	case s.WebhookGiveUp <= 0:
		return usagef("--webhook-give-up must be longer than nothing")
	}
	_, err := s.webhookTarget()
	return err
}

// webhookTarget returns who is told of changes, nil if nobody is.
func (s *Settings) webhookTarget() (*hook.Target, error) {
	if s.WebhookURL == "" {
		return nil, nil
	}
	target, err := hook.New(s.WebhookURL, s.WebhookSecret, 1)
	switch {
	case errors.Is(err, hook.ErrSecret):
		return nil, usagef("--webhook-secret: %w", err)
	case err != nil:
		return nil, usagef("--webhook-url: %w", err)
	}
	return target, nil
}

// wakeups is what there is of a sender in the other parts; without one it is of no effect.
type wakeups struct {
	changed func(space string, version int64)
	close   func()
}

// startWakeups begins to tell the webhook of changes, if there is one.
func (s *Settings) startWakeups(database *store.Store, metrics *prometheus.Registry, log *slog.Logger) (wakeups, error) {
	target, err := s.webhookTarget()
	if err != nil || target == nil {
		return wakeups{close: func() {}}, err
	}
	sender := wakeup.New(target, database, wakeup.Options{GiveUp: s.WebhookGiveUp, Logger: log})
	sender.Start()
	metrics.MustRegister(sender.Collectors()...)
	return wakeups{changed: sender.Changed, close: sender.Close}, nil
}

// webhookCommand is about dead letters.
type webhookCommand struct {
	Dead  webhookDead  `cmd:"" help:"List the wake-ups that were given up."`
	Retry webhookRetry `cmd:"" help:"Have the servers try them again, within a minute."`
}

type webhookDead struct {
	Limit int `default:"50" help:"How many."`
}

// Run lists dead letters.
func (c *webhookDead) Run(s *Settings, known variables, out output) error {
	if c.Limit < 1 {
		return usagef("--limit must be at least 1")
	}
	return withStore(s, known, func(ctx context.Context, db *store.Store) error {
		list, err := db.DeadUndelivered(ctx, c.Limit)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "SPACE\tVERSION\tSINCE\tATTEMPTS\tERROR")
		for _, u := range list {
			fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\n", u.Space, u.Version, when(u.Since), u.Attempts, u.LastError)
		}
		return w.Flush()
	})
}

type webhookRetry struct {
	Spaces []string `arg:"" optional:"" name:"space" help:"Only those of these spaces. Default: all."`
}

// Run makes dead letters due.
func (c *webhookRetry) Run(s *Settings, known variables, out output) error {
	for _, space := range c.Spaces {
		if !models.ValidSpace(space) {
			return usagef("%q is no name of a space", space)
		}
	}
	return withStore(s, known, func(ctx context.Context, db *store.Store) error {
		n, err := db.RetryUndelivered(ctx, time.Now(), c.Spaces)
		if err == nil {
			fmt.Fprintf(out.stdout, "%d spaces are due\n", n)
		}
		return err
	})
}
