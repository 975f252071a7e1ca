package main

import (
	"context"
	"log/slog"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/memory"
	"github.com/tidemark/tidemark/syncer/broker/postgres"
	"github.com/tidemark/tidemark/syncer/store"
)

// broker returns the kind of broker that the settings choose: what --broker says,
// else what goes with the database.
func (s *Settings) broker() string {
	switch {
	case s.Broker != "":
		return s.Broker
	case store.IsPostgres(s.DatabaseURL):
		return "postgres"
	default:
		return "memory"
	}
}

func (s *Settings) checkBroker() error {
	switch s.broker() {
	case "memory":
		return nil
	case "postgres":
		if !store.IsPostgres(s.DatabaseURL) {
			return usagef("--broker %s needs a PostgreSQL database; with SQLite there is one node, and its broker is memory", s.Broker)
		}
		return nil
	}
	return usagef("--broker must be memory or postgres")
}

// openBroker returns the broker that the settings choose and what closes it. A
// network that is away is no error: the broker goes on trying.
func openBroker(_ context.Context, s *Settings, log *slog.Logger) (syncer.Broker, func() error, error) {
	if s.broker() == "memory" {
		return memory.New(), func() error { return nil }, nil
	}
	b, err := postgres.New(s.DatabaseURL, postgres.Options{Logger: log})
	if err != nil {
		return nil, nil, err
	}
	return b, b.Close, nil
}
